//go:build safetydata

package guard

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weir-gateway/weir/policy"
)

// dataFolder is where the development sets are; make safety sets it.
func dataFolder(t *testing.T) string {
	t.Helper()
	folder := os.Getenv("WEIR_SAFETY_DATA")
	if folder == "" {
		t.Fatal("WEIR_SAFETY_DATA names no folder with the development sets: run make safety where they are")
	}
	return folder
}

func readJSON(t *testing.T, v any, path ...string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(append([]string{dataFolder(t)}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatal(err)
	}
}

type count struct{ right, wrong, missed int }

func (c count) precision() float64 { return float64(c.right) / float64(max(1, c.right+c.wrong)) }

func (c count) recall() float64 { return float64(c.right) / float64(max(1, c.right+c.missed)) }

// Precision and recall on synthetic English sentences. A finding counts where
// it overlaps a labelled span of its entity.
func TestPIIOnDevelopmentData(t *testing.T) {
	var records []struct {
		Text  string `json:"full_text"`
		Spans []struct {
			Type  string `json:"entity_type"`
			Start int    `json:"start_position"`
			End   int    `json:"end_position"`
		}
	}
	readJSON(t, &records, "presidio-research", "synth_dev.json")
	labels := map[string]string{
		"CREDIT_CARD": "credit_card", "EMAIL_ADDRESS": "email", "IBAN_CODE": "iban", "IP_ADDRESS": "ip_address",
		"US_SSN": "us_ssn", "DOMAIN_NAME": "url", "PHONE_NUMBER": "phone",
	}
	e := compileText(t, "kind: Policy\nname: p\nsafety: {output: [{guard: pii, entities: [credit_card, email, iban, ip_address, us_ssn, url, phone], action: flag}]}\n").Resolve(policy.Subject{})
	outside := map[string]int{}
	counts := map[string]*count{}
	for _, name := range labels {
		counts[name] = &count{}
	}
	for _, r := range records {
		offset := make([]int, 0, len(r.Text)+1) // of each code point
		for i := range r.Text {
			offset = append(offset, i)
		}
		offset = append(offset, len(r.Text))
		s := e.Screen()
		s.Write(nil, policy.Piece{Text: r.Text})
		s.End(nil, 0)
		found := s.Verdicts()
		hit := make([]bool, len(found))
		for _, span := range r.Spans {
			name, known := labels[span.Type]
			if !known {
				outside[span.Type]++
				continue
			}
			seen := false
			for i, v := range found {
				if v.Category == "pii/"+name && int(v.Start) < offset[span.End] && offset[span.Start] < int(v.End) {
					seen, hit[i] = true, true
				}
			}
			if seen {
				counts[name].right++
			} else {
				counts[name].missed++
				t.Logf("missed %s %q", name, r.Text[offset[span.Start]:offset[span.End]])
			}
		}
		for i, v := range found {
			if name := strings.TrimPrefix(v.Category, "pii/"); !hit[i] {
				counts[name].wrong++
				t.Logf("wrong %s %q in %.80q", name, r.Text[v.Start:v.End], r.Text)
			}
		}
	}
	var all, phone count
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		c := counts[name]
		t.Logf("%-12s right %d wrong %d missed %d: precision %.3f, recall %.3f", name, c.right, c.wrong, c.missed, c.precision(), c.recall())
		sum := &all
		if name == "phone" { // told by grouping alone: reported, and not in the sum
			sum = &phone
		}
		sum.right, sum.wrong, sum.missed = sum.right+c.right, sum.wrong+c.wrong, sum.missed+c.missed
	}
	precision, recall := all.precision(), all.recall()
	t.Logf("with check digits or an exact form: precision %.3f, recall %.3f", precision, recall)
	both := count{all.right + phone.right, all.wrong + phone.wrong, all.missed + phone.missed}
	t.Logf("and with telephone numbers: precision %.3f, recall %.3f", both.precision(), both.recall())
	t.Logf("labels without a form, which are not looked for: %v", outside)
	if precision < 0.95 || recall < 0.95 {
		t.Error("below 0.95")
	}
}

// TestPIIInProse tells what the default entities find where hardly anything is
// labelled: in tweets, posts and prompts. Each finding is logged.
func TestPIIInProse(t *testing.T) {
	find := compilePII(t, "")
	for name, all := range prose(t) {
		if name == "presidio-research" || strings.Contains(name, "whois") {
			continue // full of it
		}
		kinds := map[string]int{}
		for _, text := range all {
			for _, f := range find(strings.ToValidUTF8(text, "\uFFFD")) {
				kind, _, _ := strings.Cut(f, ":")
				kinds[kind]++
				if kind != "email" { // they are
					t.Logf("%s: %s", name, f)
				}
			}
		}
		t.Logf("%-45s %6d texts, found %v", name, len(all), kinds)
		for kind, n := range kinds {
			if kind != "email" && n > len(all)/1000+1 {
				t.Errorf("%s: %s: more than one finding in a thousand texts", name, kind)
			}
		}
	}
}
