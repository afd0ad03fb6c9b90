package feed

import (
	"encoding/json"
	"math/big"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/accounting"
)

var today = time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC)

func TestNumbersAreReadExactly(t *testing.T) {
	for literal, want := range map[string]int64{
		"2.5e-06": 2_500_000, "1e-05": 10_000_000, "3.625E-9": 3625, "0": 0, "0.0": 0, "0e9": 0, "1": 1e12, "1e+3": 1e15, "-1e-12": -1,
		"0.000000000001": 1, "10e-13": 1, "0.00000025000": 250_000, "9223372.036854775807": 9223372036854775807,
	} {
		if n, err := scaled(literal, perUnit); err != nil || n != want {
			t.Errorf("%s: %d, %v; want %d", literal, n, err, want)
		}
	}
	for _, literal := range []string{"1e-13", "2.50000000001e-06", "9223372.036854775808", "1e99999", "1e-99999", "1e", "", "-", ".5", "5.", "0x1", "NaN", "1_0", "1e64", strings.Repeat("9", 100)} {
		if n, err := scaled(literal, perUnit); err == nil {
			t.Errorf("%s is %d", literal, n)
		}
	}
}

// scaled against big.Rat, over what json.Number holds.
func TestNumbersAreReadAsTheyAre(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		literal := rapid.StringMatching(`-?(0|[1-9][0-9]{0,8})(\.[0-9]{1,8})?([eE][-+]?[0-9]{1,2})?`).Draw(t, "literal")
		if !json.Valid([]byte(literal)) {
			t.Fatalf("%s is no JSON", literal)
		}
		places := rapid.SampledFrom([]int{0, perMillion, perThousand, perUnit}).Draw(t, "places")
		exact, ok := new(big.Rat).SetString(literal)
		if !ok {
			t.Fatal(literal)
		}
		exact.Mul(exact, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(places)), nil)))
		n, err := scaled(literal, places)
		switch {
		case err == nil && exact.Cmp(new(big.Rat).SetInt64(n)) != 0:
			t.Fatalf("%s is read as %d", literal, n)
		case err != nil && exact.IsInt() && exact.Num().IsInt64() && !strings.ContainsAny(literal, "eE"):
			t.Fatalf("%s: %v", literal, err)
		}
	})
}

// one reads one row of LiteLLM's form.
func one(t *testing.T, fields string) Row {
	t.Helper()
	rows, err := Read([]byte(`{"openai/m": {"litellm_provider": "openai", "mode": "chat", `+fields+`}}`), today)
	if err != nil || len(rows) != 1 {
		t.Fatalf("%v, %v", rows, err)
	}
	return rows[0]
}

func TestARowIsReadWhole(t *testing.T) {
	r := one(t, `"input_cost_per_token": 3e-06, "output_cost_per_token": 1.5e-05, "cache_read_input_token_cost": 3e-07,
		"cache_creation_input_token_cost": 3.75e-06, "cache_creation_input_token_cost_above_1hr": 6e-06, "input_cost_per_request": 0.001,
		"input_cost_per_token_above_200k_tokens": 6e-06, "output_cost_per_token_above_200k_tokens": 2.25e-05,
		"cache_creation_input_token_cost_above_1hr_above_200k_tokens": 1.2e-05,
		"input_cost_per_token_batches": 1.5e-06, "output_cost_per_token_priority": 3e-05, "input_cost_per_audio_token": 1e-05,
		"search_context_cost_per_query": {"low": 0.01}, "code_interpreter_cost_per_session": 0.0, "max_tokens": 5`)
	if len(r.Refused) > 0 {
		t.Fatal(r.Refused)
	}
	if got, want := strings.Join(r.Unsaid, " "), "input_cost_per_audio_token input_cost_per_token_batches search_context_cost_per_query"; got != want {
		t.Errorf("unsaid %q; want %q", got, want)
	}
	if got, want := r.Document(today, ""), `---
# cache_read has no price above 200k tokens: that below stands
# cache_write_5m has no price above 200k tokens: that below stands
# requests has no price above 200k tokens: that below stands
# priority is left out: it has no price for input
# not in a Price: input_cost_per_audio_token, input_cost_per_token_batches, search_context_cost_per_query
kind: Price
model: m
provider: openai
currency: USD
effective: 2026-08-01
per_million: {input: 3.00, cache_read: 0.30, cache_write_5m: 3.75, cache_write_1h: 6.00, output: 15.00}
per_unit: {requests: 0.001}
tiers:
  - above: 200000
    per_million: {input: 6.00, cache_read: 0.30, cache_write_5m: 3.75, cache_write_1h: 12.00, output: 22.50}
    per_unit: {requests: 0.001}
`; got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	ranged := one(t, `"tiered_pricing": [{"range": [0, 256000.0], "input_cost_per_token": 5e-08, "output_cost_per_token": 4e-07},
		{"range": [2.56e5, 1000000.0], "input_cost_per_token": 2.5e-07, "output_cost_per_token": 2e-06}]`)
	if len(ranged.Refused) > 0 || len(ranged.Tiers) != 1 || ranged.Tiers[0].Above != 256000 || ranged.Tiers[0].PerUnit[accounting.Output] != 2_000_000 || ranged.PerUnit[accounting.Input] != 50_000 {
		t.Errorf("%+v", ranged)
	}
}

func TestWhatIsNotToBeBelievedIsRefused(t *testing.T) {
	const in, out = `"input_cost_per_token": 1e-06, `, `"output_cost_per_token": 4e-06`
	for fields, want := range map[string]string{
		`"input_cost_per_token": 0.135, "output_cost_per_token": 0.54`:                   "more than anybody asks for",
		`"input_cost_per_token": -1e-06, ` + out:                                         "negative",
		in + `"output_cost_per_token": 0.0001`:                                           "output costs 100.00 times the input",
		in + `"output_cost_per_token": 1e-07`:                                            "input costs 10.00 times the output",
		in + `"output_cost_per_token": 0`:                                                "the output 0",
		`"input_cost_per_token": 0, "output_cost_per_token": 0`:                          "cost 0",
		`"input_cost_per_token": 1e-06`:                                                  "output has no price",
		out:                                                                              "input has no price",
		in + out + `, "cache_read_input_token_cost": 2e-06`:                              "cache_read costs 2.00 times the input",
		in + out + `, "cache_creation_input_token_cost": 5e-06`:                          "more than 4 times the input",
		in + out + `, "input_cost_per_token_above_200k_tokens": 5e-07`:                   "cheaper than below",
		in + out + `, "input_cost_per_token_batches": 2e-06`:                             "costs more as batches",
		in + out + `, "output_cost_per_token_priority": 1e-06`:                           "costs less with priority",
		`"input_cost_per_token": 1.0000000000001e-06, ` + out:                            "decimal places",
		in + out + `, "mode": "x"`:                                                       "there twice",
		in + out + `, "tiered_pricing": [{"range": [0], "input_cost_per_token": 1e-06}]`: "without a range",
	} {
		r := one(t, fields)
		if !strings.Contains(strings.Join(r.Refused, "; "), want) {
			t.Errorf("%s: refused for %q; want %q", fields, r.Refused, want)
		}
	}
	for text, want := range map[string]string{
		`{"m": {"mode": "chat", ` + in + out + `}}`:                                        "names no provider",
		`{"m": {"litellm_provider": "p", ` + in + out + `}}`:                               "names no mode",
		`{"m": {"litellm_provider": "p", "mode": "telepathy", ` + in + out + `}}`:          "unknown mode",
		`{"m": {"litellm_provider": "p", "mode": "ocr", "ocr_cost_per_page": 1}}`:          "no meter",
		`{"m\nkind: Tenant": {"litellm_provider": "p", "mode": "chat", ` + in + out + `}}`: "control characters",
		`{"m": {"litellm_provider": "p", "mode": "chat", ` + in + out + `}, "p/m": {"litellm_provider": "p", "mode": "chat", "input_cost_per_token": 2e-06, ` + out + `}}`: "other prices for it",
	} {
		rows, err := Read([]byte(text), today)
		if err != nil || len(rows) != 1 || !strings.Contains(strings.Join(rows[0].Refused, "; "), want) {
			t.Errorf("%s: %+v, %v; want %q", text, rows, err, want)
		}
	}
	for _, text := range []string{"", "x", "5", `{"a": {}, "a": {}}`, `{"a": {}`, `{} {}`, `[{"models": []}]`, `["a"]`} {
		if rows, err := Read([]byte(text), today); err == nil {
			t.Errorf("%s is read as %+v", text, rows)
		}
	}
}

// A cache's writes that cost nothing are not free: who says 0 does not price
// them apart.
func TestCheapWritesAreRatedAsInput(t *testing.T) {
	r := one(t, `"input_cost_per_token": 1e-06, "output_cost_per_token": 4e-06, "cache_creation_input_token_cost": 0.0`)
	if _, ok := r.PerUnit[accounting.CacheWrite5m]; ok || len(r.Refused) > 0 || len(r.Notes) != 1 {
		t.Errorf("%+v", r)
	}
}

func TestFilesAgreeOrDiffer(t *testing.T) {
	source := func(name, text string) *Source {
		rows, err := Read([]byte(text), today)
		if err != nil {
			t.Fatal(err)
		}
		return NewSource(name, rows)
	}
	genai := source("genai", `[{"id": "openai", "models": [
		{"id": "m-family", "match": {"or": [{"starts_with": "m"}, {"regex": "^q$"}]}, "prices": [{"prices": {"input_mtok": 2, "output_mtok": 8}}, {"constraint": {"start_date": "2026-07-01"}, "prices": {"input_mtok": 1, "output_mtok": 4}}, {"constraint": {"start_date": "2026-09-01"}, "prices": {"input_mtok": 3, "output_mtok": 9}}]},
		{"id": "n", "match": {"equals": "n"}, "prices": {"input_mtok": {"base": 0.5, "tiers": [{"start": 1000, "price": 1}]}, "output_mtok": 4}},
		{"id": "night", "match": {"equals": "night"}, "prices": [{"prices": {"input_mtok": 1, "output_mtok": 4}}, {"constraint": {"start_time": "00:30:00Z"}, "prices": {"input_mtok": 2, "output_mtok": 4}}]}]}]`)
	dev := source("dev", `{"openai": {"models": {"n": {"cost": {"input": 1, "output": 4, "cache_read": 0.1}}, "o": {"cost": {"input": 0.25, "output": 4}}}}}`)
	for model, want := range map[string]struct{ verdict, factor string }{
		"m": {"agrees with genai", ""}, "n": {"agrees with dev", "2.00"}, "o": {"differs", "4.00"}, "p": {"nowhere else", ""}, "night": {"nowhere else", ""},
	} {
		r := one(t, `"input_cost_per_token": 1e-06, "output_cost_per_token": 4e-06`)
		r.Model = model
		a := Compare(r, []*Source{genai, dev})
		factor := ""
		for _, d := range a.Differences {
			factor = d.Factor()
		}
		if a.String() != want.verdict || factor != want.factor || a.Differs() != (want.verdict == "differs") {
			t.Errorf("%s: %s, %q; want %+v", model, a, factor, want)
		}
		if (a.Changes == "2026-09-01") != (model == "m") {
			t.Errorf("%s changes on %q", model, a.Changes)
		}
	}
}

// FuzzRead reads what anybody may publish: what passes is a price that can be
// applied, and its document has no line of the file's making.
func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"openai/m": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05, "input_cost_per_token_above_200k_tokens": 5e-06, "input_cost_per_token_batches": 1e-06, "x_cost\nkind": 3}}`))
	f.Add([]byte(`{"q": {"litellm_provider": "dashscope", "mode": "chat", "tiered_pricing": [{"range": [0, 1e3], "input_cost_per_token": 1e-7, "output_cost_per_token": 1e-7}, {"range": [1e3, 1e4], "input_cost_per_token": 2e-7}]}}`))
	f.Add([]byte(`[{"id": "google", "models": [{"id": "g", "match": {"or": [{"contains": "g"}]}, "prices": {"input_mtok": {"base": 1, "tiers": [{"start": 5, "price": 2}]}, "output_mtok": 3}}]}]`))
	f.Add([]byte(`{"xai": {"models": {"x": {"cost": {"input": 1, "output": 2.5, "tiers": [{"tier": {"size": 9}, "input": 2}]}}}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		rows, err := Read(data, today)
		if err != nil {
			return
		}
		source := NewSource("itself", rows)
		for _, r := range rows {
			if len(r.Refused) > 0 {
				continue
			}
			p := r.price()
			if err := p.Validate(); err != nil {
				t.Fatalf("%+v passed: %v", r, err)
			}
			if a := Compare(r, []*Source{source}); len(a.Differences) > 0 {
				t.Fatalf("%s differs from itself: %v", r.Name, a.Differences)
			}
			kinds := 0
			for line := range strings.Lines(r.Document(today, "")) {
				if strings.HasPrefix(line, "kind:") {
					kinds++
				}
			}
			if kinds != 1 {
				t.Fatalf("%d documents in\n%s", kinds, r.Document(today, ""))
			}
		}
	})
}

func TestClassesOfServiceAreRead(t *testing.T) {
	const standard = `"input_cost_per_token": 2e-06, "cache_read_input_token_cost": 2e-07, "output_cost_per_token": 8e-06,
		"input_cost_per_token_above_272k_tokens": 4e-06, "output_cost_per_token_above_272k_tokens": 1.2e-05`
	r := one(t, standard+`, "input_cost_per_token_flex": 1e-06, "cache_read_input_token_cost_flex": 1e-07, "output_cost_per_token_flex": 4e-06,
		"input_cost_per_token_above_272k_tokens_flex": 2e-06, "output_cost_per_token_above_272k_tokens_flex": 6e-06,
		"input_cost_per_token_priority": 4e-06, "output_cost_per_token_priority": 1.6e-05`)
	if got, want := r.Document(today, ""), `---
# cache_read has no price above 272k tokens: that below stands
# cache_read has no price as flex above 272k tokens: that of the standard class stands
# priority is left out: it has no price for input above 272k tokens
kind: Price
model: m
provider: openai
currency: USD
effective: 2026-08-01
per_million: {input: 2.00, cache_read: 0.20, output: 8.00}
tiers:
  - above: 272000
    per_million: {input: 4.00, cache_read: 0.20, output: 12.00}
classes:
  flex:
    per_million: {input: 1.00, cache_read: 0.10, output: 4.00}
    tiers:
      - above: 272000
        per_million: {input: 2.00, cache_read: 0.20, output: 6.00}
`; got != want || len(r.Refused) > 0 {
		t.Errorf("refused for %q\n%s\nwant\n%s", r.Refused, got, want)
	}
	for fields, want := range map[string]string{
		`"input_cost_per_token_flex": 3e-06, "output_cost_per_token_flex": 4e-06`: "input costs more as flex",
		`"input_cost_per_token_priority": 3e-06, "output_cost_per_token_priority": 8e-06, ` +
			`"input_cost_per_token_above_272k_tokens_priority": 3e-06, "output_cost_per_token_above_272k_tokens_priority": 2e-05`: "input above 272k tokens costs less with priority",
		`"input_cost_per_token_priority": 0.135, "output_cost_per_token_priority": 0.54, ` +
			`"input_cost_per_token_above_272k_tokens_priority": 0.135, "output_cost_per_token_above_272k_tokens_priority": 0.54`: "as priority costs 0.135 USD for one",
	} {
		if r := one(t, standard+", "+fields); !strings.Contains(strings.Join(r.Refused, "\n"), want) {
			t.Errorf("%s: refused for %q; want %q", fields, r.Refused, want)
		}
	}

	rows, err := Read([]byte(`{"openai": {"models": {"m": {"cost": {"input": 2, "output": 8},
		"experimental": {"modes": {"fast": {"cost": {"input": 5, "output": 16}, "provider": {"body": {"service_tier": "priority"}}}, "odd": {"cost": {"input": 9}}}}}}}}`), today)
	if err != nil || len(rows) != 1 || rows[0].Classes[accounting.ServicePriority].PerUnit[accounting.Input] != 5_000_000 || strings.Join(rows[0].Unsaid, " ") != "modes.odd" {
		t.Fatalf("%+v, %v", rows, err)
	}
	ours := one(t, `"input_cost_per_token": 2e-06, "output_cost_per_token": 8e-06, "input_cost_per_token_priority": 4e-06, "output_cost_per_token_priority": 1.6e-05`)
	a := Compare(ours, []*Source{NewSource("other", rows)})
	if len(a.Differences) != 1 || a.Differences[0].String() != "input as priority costs 4.00 here and 5.00 in other, a factor of 1.25" || !a.Differs() {
		t.Errorf("%+v", a)
	}
}
