package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-gateway/weir/accounting/price"
)

func TestWhoseABackendIs(t *testing.T) {
	for want, list := range map[string][]BackendConfig{
		"openai":    {{URL: "https://api.openai.com/v1"}, {URL: "https://API.OpenAI.com:443/v1"}, {URL: "http://127.0.0.1:8000/v1", Provider: "openai"}},
		"anthropic": {{URL: "https://api.anthropic.com/v1"}},
		"alibaba":   {{URL: "https://dashscope-intl.aliyuncs.com/compatible-mode/v1"}},
		"": {
			{URL: "http://127.0.0.1:8000/v1"}, {URL: "http://api.openai.com/v1"}, {URL: "https://api.openai.com:8443/v1"}, {URL: "https://api.openai.com.example.org/v1"},
			{URL: "https://api.openai.com/v1", Provider: "none"}, {URL: "https://dashscope.aliyuncs.com/compatible-mode/v1"}, {}, {URL: "://"},
		},
	} {
		for _, b := range list {
			if got := b.provider(); got != want {
				t.Errorf("%s (%s) is of %q; want %q", b.URL, b.Provider, got, want)
			}
		}
	}
	// Every provider that a host is of has prices.
	defaults, err := price.Defaults()
	if err != nil {
		t.Fatal(err)
	}
	priced := map[string]bool{}
	for _, p := range defaults {
		priced[p.Provider] = true
	}
	for host, name := range providerHosts {
		if !priced[name] {
			t.Errorf("%s is of %s, which has no default price", host, name)
		}
	}
	if field, _ := (BackendConfig{Kind: "openai", URL: "http://h", Provider: "Open AI"}).check(); field != "provider" {
		t.Errorf("a provider that is no name is told of %q", field)
	}
}

func TestWhichClassesABackendCanBeAskedFor(t *testing.T) {
	for _, c := range []struct {
		config BackendConfig
		wrong  bool
	}{
		{BackendConfig{Kind: "openai", Dialect: "openai", ServiceClass: "flex"}, false},
		{BackendConfig{Kind: "openai", Dialect: "azure", ServiceClass: "standard"}, false},
		{BackendConfig{Kind: "anthropic", ServiceClass: "standard"}, false},
		{BackendConfig{Kind: "openai", ServiceClass: "flex"}, true},
		{BackendConfig{Kind: "openai", Dialect: "openai", ServiceClass: "batch"}, true},
		{BackendConfig{Kind: "anthropic", ServiceClass: "priority"}, true},
		{BackendConfig{Kind: "weir", ServiceClass: "standard"}, true},
	} {
		c.config.URL = "http://h"
		if field, _ := c.config.check(); (field == "service_class") != c.wrong {
			t.Errorf("%+v: %q is wrong", c.config, field)
		}
	}
}

const priceFile = `{
	"openai/m1": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05,
		"input_cost_per_token_above_200k_tokens": 5e-06, "output_cost_per_token_above_200k_tokens": 1.5e-05, "input_cost_per_audio_token": 1e-05},
	"openai/m2": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 0.25, "output_cost_per_token": 1},
	"groq/m3": {"litellm_provider": "groq", "mode": "chat", "input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06,
		"input_cost_per_token_flex": 5e-07, "output_cost_per_token_flex": 1e-06}
}`

const otherFile = `{"openai": {"models": {"m1": {"cost": {"input": 2.5, "output": 10}}}}, "groq": {"models": {"m3": {"cost": {"input": 1.5, "output": 2}}}}}`

func TestImportedPricesAreApplied(t *testing.T) {
	dir := t.TempDir()
	file, other := filepath.Join(dir, "prices.json"), filepath.Join(dir, "other.json")
	for name, text := range map[string]string{file: priceFile, other: otherFile} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	code, documents, refused := runWith(nil, "", "price", "import", file, "--effective", "2026-01-01")
	if code != exitWarned || !strings.Contains(refused, "openai   m2     input costs 0.25 USD for one") {
		t.Errorf("exit code %d, %s", code, refused)
	}
	if !strings.Contains(documents, "# not in a Price: input_cost_per_audio_token\n") {
		t.Errorf("what a Price cannot say is not told in\n%s", documents)
	}
	p := serve(t, filepath.Join(dir, "data"))
	p.apply(documents)
	var shown priceResult
	p.must(&shown, p.key(adminKeyFile), "price", "show", "m1@provider:openai@2026-01-01", "-o", "json")
	if shown.Source != "document" || shown.UnitPrices["uncached_input_tokens"] != "0.0000025" || len(shown.Tiers) != 1 || shown.Tiers[0].Above != 200000 {
		t.Errorf("shown %+v", shown)
	}
	table := p.must(nil, p.key(adminKeyFile), "price", "list", "--source", "document")
	if !strings.Contains(table, "m3@provider:groq@2026-01-01") || strings.Contains(table, "default/") {
		t.Errorf("listed\n%s", table)
	}
	p.must(&shown, p.key(adminKeyFile), "price", "show", "m3@provider:groq@2026-01-01", "-o", "json")
	if len(shown.Classes) != 1 || shown.Classes[0].Class != "flex" || shown.Classes[0].UnitPrices["text_output_tokens"] != "0.000001" || !strings.Contains(table, "USD       flex ") {
		t.Errorf("shown %+v, listed\n%s", shown, table)
	}
	if table := p.must(nil, p.key(adminKeyFile), "price", "list", "-m", "gpt-4o", "-o", "csv"); !strings.Contains(table, "/openai/gpt-4o,default,provider openai,USD,standard,0,") {
		t.Errorf("listed\n%s", table)
	}

	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--provider", "groq"}, exitOK, "model: m3"},
		{[]string{"--provider", "groq", "--backend", "mine"}, exitOK, "backend: mine\n"},
		{[]string{"--provider", "groq", "--against", other}, exitWarned, "input costs 1.00 here and 1.50 in other.json, a factor of 1.50"},
		{[]string{"-m", "m[13]", "--against", other, "-o", "csv"}, exitWarned, "passed,openai,m1,agrees with other.json"},
		{[]string{"-m", "m1", "-o", "json"}, exitOK, `"not_in_a_price": [`},
		{[]string{"-m", "nothing"}, exitUsage, "has no such model"},
		{[]string{"-m", "["}, exitUsage, "is no pattern"},
		{[]string{"--effective", "soon"}, exitUsage, "2026-01-01"},
		{[]string{"--against", filepath.Join(dir, "none")}, exitUsage, "cannot read"},
	} {
		code, out, failed := runWith(nil, "", append([]string{"price", "import", file}, c.args...)...)
		if code != c.code || !strings.Contains(out+failed, c.want) {
			t.Errorf("%q: exit code %d, %s%s; want %d and %q", c.args, code, out, failed, c.code, c.want)
		}
	}
	if code, _, failed := runWith(nil, "no prices", "price", "import", "-"); code != exitUsage || !strings.Contains(failed, "not a file of prices") {
		t.Errorf("no JSON: %d %s", code, failed)
	}
}
