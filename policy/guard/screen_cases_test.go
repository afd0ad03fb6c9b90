package guard_test

import (
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/policy/guard"
)

// effective compiles output rules written in YAML, one flow mapping each.
func effective(t fataler, rules ...string) *policy.Effective {
	t.Helper()
	return effectiveAt(t, policy.Output, rules)
}

func effectiveAt(t fataler, stage policy.Stage, rules []string) *policy.Effective {
	t.Helper()
	return compiled(t, stage, rules, guard.All())
}

func compiled(t fataler, stage policy.Stage, rules []string, factories map[string]policy.Factory) *policy.Effective {
	t.Helper()
	text := "kind: Policy\nname: p\nsafety:\n  " + stage.String() + ":\n"
	for _, r := range rules {
		text += "    - " + r + "\n"
	}
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(text), &n); err != nil {
		t.Fatal(err)
	}
	d, err := policy.ParseDocument(&n)
	if err != nil {
		t.Fatal(err)
	}
	set, err := policy.Compile(7, []policy.Document{d}, nil, factories)
	if err != nil {
		t.Fatal(err)
	}
	return set.Resolve(policy.Subject{})
}

func texts(pieces []policy.Piece) string {
	var b strings.Builder
	for _, p := range pieces {
		b.WriteString(p.Text)
	}
	return b.String()
}

// TestCounterExamples keeps the cases that broke earlier designs.
func TestCounterExamples(t *testing.T) {
	for _, c := range []struct {
		name, text, want string
		blocked          bool
		rules            []string
	}{
		{"a later match overlaps an emitted span", "xabcdy", "x[1]y", false, []string{
			`{guard: lexicon, terms: [ab], action: redact, placeholder: "[1]"}`,
			`{guard: lexicon, terms: [bcd], action: redact, placeholder: "[2]"}`}},
		{"the same within one rule", "xabcdy", "x[1]y", false, []string{
			`{guard: lexicon, terms: [ab, bcd], action: redact, placeholder: "[1]"}`}},
		{"a block inside what another rule holds", "me.zorblatt def", "", true, []string{
			`{guard: lexicon, terms: [zorblatt], action: block}`,
			`{guard: pattern, builtin: email, action: redact}`}},
		{"a longer blocked term around the one that decides", "abcb", "a", true, []string{
			`{guard: lexicon, terms: [c, bcb], action: block}`}},
		{"the same as two rules", "abcb", "a", true, []string{
			`{guard: lexicon, terms: [c], action: block}`,
			`{guard: lexicon, terms: [bcb], action: block}`}},
		{"a placeholder waits for the block rule", "aa", "", true, []string{
			`{guard: lexicon, terms: [a], action: redact}`,
			`{guard: lexicon, terms: [aa], action: block}`}},
		{"touching is not overlapping", "abcd", "[1][1]", false, []string{
			`{guard: lexicon, terms: [ab, cd], action: redact, placeholder: "[1]"}`}},
		{"the placeholder of what grows is chosen before it has grown", "abbbb", "[1]", false, []string{
			`{guard: pattern, expr: "a[bc]{1,3}", action: redact, placeholder: "[1]"}`,
			`{guard: pattern, expr: "ab*c", max_length: 4, action: redact, placeholder: "[2]"}`}},
		{"an address in Chinese text", "请联系张三zhang.san@example.com谢谢", "请联系张三[EMAIL]谢谢", false, []string{
			`{guard: pattern, builtin: email, action: redact}`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := effective(t, c.rules...)
			for cut := 0; cut <= len(c.text); cut++ {
				s := e.Screen()
				out := s.Write(nil, policy.Piece{Channel: policy.Content, Text: c.text[:cut]})
				out = s.Write(out, policy.Piece{Channel: policy.Content, Text: c.text[cut:]})
				out = s.End(out, 0)
				if got := texts(out); got != c.want || s.Blocked(0) != c.blocked {
					t.Errorf("cut at %d: got %q, blocked %t; want %q, %t", cut, got, s.Blocked(0), c.want, c.blocked)
				}
			}
		})
	}
}

// TestMatchSpansAnInterruption: content that resumes after another channel is
// the same text.
func TestMatchSpansAnInterruption(t *testing.T) {
	e := effective(t, `{guard: lexicon, terms: [zorblatt], action: redact, placeholder: "[Z]"}`)
	s := e.Screen()
	out := s.Write(nil, policy.Piece{Channel: policy.Content, Text: "a zorb"})
	if got := texts(out); got != "a " {
		t.Fatalf("released %q", got)
	}
	out = s.Write(out, policy.Piece{Channel: policy.Reasoning, Text: "hm"})
	if got := texts(out); got != "a " {
		t.Fatalf("what arrived behind a held tail was released: %q", got)
	}
	out = s.Write(out, policy.Piece{Channel: policy.Content, Text: "latt!"})
	if got := texts(s.End(out, 0)); got != "a [Z]hm!" {
		t.Fatalf("got %q", got)
	}
}

// TestBlockEndsOneCandidate: the others go on, and one that has ended says
// nothing more, however it ended.
func TestBlockEndsOneCandidate(t *testing.T) {
	e := effective(t, `{guard: lexicon, terms: [zorblatt], action: block, category: test/word}`)
	s := e.Screen()
	var out []policy.Piece
	for _, p := range []policy.Piece{
		{Candidate: 0, Channel: policy.Content, Text: "one zorb"},
		{Candidate: 1, Channel: policy.Content, Text: "two zorb"},
		{Candidate: 0, Channel: policy.Content, Text: "latt three"},
		{Candidate: 0, Channel: policy.Reasoning, Text: "four"},
		{Candidate: 1, Channel: policy.Content, Text: "a"},
	} {
		out = s.Write(out, p)
	}
	out = s.End(out, 1)
	if got := texts(s.Write(out, policy.Piece{Candidate: 1, Text: "late"})); got != "one two zorba" {
		t.Errorf("released %q", got)
	}
	if n := len(s.End(s.End(nil, 0), 1)); n != 0 || s.Held() != 0 {
		t.Errorf("%d pieces after the end, %d bytes held", n, s.Held())
	}
	if !s.Blocked(0) || s.Blocked(1) || s.Blocked(2) {
		t.Error("the wrong candidate is blocked")
	}
	v := s.Verdicts()
	if len(v) != 1 || v[0].Candidate != 0 || v[0].Start != 4 || v[0].End != 12 || v[0].Category != "test/word" || v[0].Revision != 7 {
		t.Errorf("verdicts %+v", v)
	}
}

// TestCancelInMidHold: what a caller who goes away has received is what was
// released; nothing of what was held is in it or comes out by itself.
func TestCancelInMidHold(t *testing.T) {
	s := effective(t, `{guard: pattern, builtin: email, action: redact}`).Screen()
	out := s.Write(nil, policy.Piece{Channel: policy.Content, Text: "mail zhang.san@exam"})
	if got := texts(out); got != "mail " || s.Held() != len("zhang.san@exam") {
		t.Errorf("released %q, %d held", got, s.Held())
	}
	if v := s.Verdicts(); len(v) != 0 {
		t.Errorf("half a match is a finding: %+v", v)
	}
}

// TestFlagAndShadowDoNotHold: they find the same and delay nothing.
func TestFlagAndShadowDoNotHold(t *testing.T) {
	e := effective(t, `{guard: lexicon, terms: [zorblatt], action: flag}`, `{guard: lexicon, terms: [orb], action: shadow}`)
	s := e.Screen()
	for _, text := range []string{"a zor", "blatt", "!"} {
		if got := texts(s.Write(nil, policy.Piece{Text: text})); got != text {
			t.Errorf("wrote %q, released %q", text, got)
		}
	}
	if n, ok := s.Bound(); n != 0 || !ok {
		t.Errorf("bound %d", n)
	}
	if v := s.Verdicts(); len(v) != 2 || v[0].Start != 2 || v[0].Action != policy.Flag || v[1].Action != policy.Shadow {
		t.Errorf("verdicts %+v", v)
	}
}

// TestContainedMatchIsNoFinding, even where it is decided later than the match
// that contains it, which is settled by then.
func TestContainedMatchIsNoFinding(t *testing.T) {
	e := effective(t, `{guard: pattern, expr: 'abc|c\b', action: flag}`)
	for cut := range len("abc d") {
		s := e.Screen()
		s.Write(nil, policy.Piece{Text: "abc d"[:cut]})
		s.Write(nil, policy.Piece{Text: "abc d"[cut:]})
		s.End(nil, 0)
		if v := s.Verdicts(); len(v) != 1 || v[0].Start != 0 || v[0].End != 3 {
			t.Errorf("cut at %d: %+v", cut, v)
		}
	}
}

// TestLongText: a text that is read in several strides is one text, wherever
// the strides happen to end.
func TestLongText(t *testing.T) {
	e := effective(t, `{guard: lexicon, terms: [zorblatt], action: redact, placeholder: _}`, `{guard: pattern, expr: '\d', action: redact, placeholder: "#"}`)
	for pad := range 12 {
		filler := strings.Repeat("x", pad) + strings.Repeat("中", 10_920) // 32,760 bytes
		s := e.Screen()
		out := s.Write(nil, policy.Piece{Text: filler + "zorblatt" + filler + strings.Repeat("7", 50_000)})
		want := filler + "_" + filler + strings.Repeat("#", 50_000)
		if got := texts(s.End(out, 0)); got != want {
			t.Errorf("pad %d: %d bytes, want %d", pad, len(got), len(want))
		}
	}
}

// fataler is what a *testing.T and a *rapid.T have in common here.
type fataler interface {
	Helper()
	Fatal(args ...any)
}
