//go:build safetydata

package guard

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/weir-gateway/weir/policy"
)

// Prose holds no secrets.
func TestSecretsInProse(t *testing.T) {
	texts := map[string][]string{}
	var records []struct {
		Text string `json:"full_text"`
	}
	readJSON(t, &records, "presidio-research", "synth_dev.json")
	for _, r := range records {
		texts["presidio-research"] = append(texts["presidio-research"], r.Text)
	}
	f, err := os.Open(filepath.Join(dataFolder(t), "openai-moderation", "samples_dev.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var r struct{ Prompt string }
		if json.Unmarshal(lines.Bytes(), &r) == nil {
			texts["openai-moderation"] = append(texts["openai-moderation"], r.Prompt)
		}
	}
	for name, path := range map[string]string{"xstest": "xstest/xstest_prompts_dev.csv", "coldataset": "coldataset/dev.csv"} {
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
	e := compileText(t, "kind: Policy\nname: p\nsafety: {output: [{guard: secrets, action: flag}]}\n").Resolve(policy.Subject{})
	for name, all := range texts {
		found := 0
		for _, text := range all {
			s := e.Screen()
			s.Write(nil, policy.Piece{Text: text})
			s.End(nil, 0)
			for _, v := range s.Verdicts() {
				found++
				t.Logf("%s: %s", name, v.Category)
			}
		}
		t.Logf("%-18s %d texts, %d findings", name, len(all), found)
		if found > len(all)/1000 {
			t.Errorf("%s: more than one finding in a thousand texts", name)
		}
	}
}
