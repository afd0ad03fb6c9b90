package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/weir-gateway/weir/policy"
)

// stub is a guard that finds one byte: enough to tell rules apart.
type stub struct{ word string }

func (g stub) Kinds() []policy.Kind {
	return []policy.Kind{{Category: "stub/" + g.word, Severity: policy.Low}}
}
func (g stub) Bound() (int, bool)  { return 0, true }
func (g stub) Open() policy.Stream { return &stubStream{word: g.word} }

type stubStream struct {
	word string
	pos  int64
}

func (s *stubStream) Scan(text string, found []policy.Span) []policy.Span {
	for i := range len(text) {
		s.pos++
		if text[i] == s.word[0] {
			found = append(found, policy.Span{Start: s.pos - 1, End: s.pos, At: s.pos})
		}
	}
	return found
}
func (s *stubStream) Close(found []policy.Span) []policy.Span { return found }
func (s *stubStream) Hold() int64                             { return s.pos }
func (s *stubStream) Live() int64                             { return s.pos }
func (s *stubStream) Copy(from policy.Stream)                 { *s = *from.(*stubStream) }

func factories(made *int) map[string]policy.Factory {
	return map[string]policy.Factory{"stub": func(rule *yaml.Node, env policy.Env) (policy.Guard, error) {
		var raw struct {
			Word string `yaml:"word"`
			List string `yaml:"list"`
		}
		if err := policy.Decode(rule, &raw); err != nil {
			return nil, err
		}
		if raw.List != "" {
			l, ok := env.Lexicon(raw.List)
			if !ok {
				return nil, policy.Fault(rule, "list", "no lexicon %q", raw.List)
			}
			raw.Word = l.Terms[0].Text
		}
		return env.Share(raw.Word, func() (policy.Guard, error) {
			if made != nil {
				*made++
			}
			return stub{raw.Word}, nil
		})
	}}
}

func documents(t testing.TB, texts ...string) (docs []policy.Document) {
	t.Helper()
	for _, text := range texts {
		d, err := policy.ParseDocument(parse(t, "kind: Policy\n"+text))
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, d)
	}
	return docs
}

func compile(t testing.TB, texts ...string) *policy.Set {
	t.Helper()
	set, err := policy.Compile(9, documents(t, texts...), nil, factories(nil))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestCompileNamesEveryProblem(t *testing.T) {
	docs := documents(t,
		"name: a\nsafety:\n  output:\n    - {guard: stub, word: x, acton: 1, action: block}\n    - {id: typo, guard: stbu, action: flag}",
		"name: b\ntenant: t\nsafety:\n  input:\n    - {guard: stub, list: nowhere, action: flag}",
		"name: b\ntenant: t")
	_, err := policy.Compile(1, docs, []policy.Lexicon{{Name: "l"}, {Name: "l"}}, factories(nil))
	want := `lexicon l: defined twice
policy a: line 5: safety.output[0].acton: rule "output[0]": unknown field, did you mean "action"? (known: action, category, guard, id, list, placeholder, severity, tool_args, word)
policy a: line 6: safety.output[1].guard: rule "typo": unknown guard "stbu", did you mean "stub"? (known: stub)
policy t/b: defined twice
policy t/b: line 6: safety.input[0].list: rule "input[0]": no lexicon "nowhere"`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

// TestLexiconOfTheTenant: a rule finds its tenant's list before the platform's,
// and never another tenant's.
func TestLexiconOfTheTenant(t *testing.T) {
	lists := []policy.Lexicon{
		{Name: "l", Terms: []policy.Term{{Text: "p"}}}, {Name: "l", Tenant: "t", Terms: []policy.Term{{Text: "q"}}}, {Name: "own", Tenant: "t", Terms: []policy.Term{{Text: "r"}}},
	}
	rule := "\nsafety: {output: [{guard: stub, list: l, action: redact, placeholder: _}]}"
	docs := documents(t, "name: floor"+rule, "name: a\ntenant: t"+rule)
	set, err := policy.Compile(1, docs, lists, factories(nil))
	if err != nil {
		t.Fatal(err)
	}
	if got := screened(set.Resolve(policy.Subject{Tenant: "t"}), "pqr"); got != "__r" {
		t.Errorf("tenant t: %q", got)
	}
	if got := screened(set.Resolve(policy.Subject{Tenant: "u"}), "pqr"); got != "_qr" {
		t.Errorf("tenant u: %q", got)
	}
	foreign := documents(t, "name: a\ntenant: u\nsafety: {output: [{guard: stub, list: own, action: flag}]}", "name: b\nsafety: {output: [{guard: stub, list: t/own, action: flag}]}")
	if _, err := policy.Compile(1, foreign, lists, factories(nil)); err == nil || strings.Count(err.Error(), "no lexicon") != 2 {
		t.Errorf("another tenant's list was found: %v", err)
	}
}

func screened(e *policy.Effective, text string) string {
	s := e.Screen()
	out := s.End(s.Write(nil, policy.Piece{Channel: policy.Content, Text: text}), 0)
	var b strings.Builder
	for _, p := range out {
		b.WriteString(p.Text)
	}
	return b.String()
}

func TestSharedGuardsAreMadeOnce(t *testing.T) {
	made := 0
	rule := "\nsafety: {output: [{guard: stub, word: x, action: flag}, {guard: stub, word: x, action: block}]}"
	if _, err := policy.Compile(1, documents(t, "name: a"+rule, "name: b"+rule), nil, factories(&made)); err != nil || made != 1 {
		t.Errorf("made %d, %v", made, err)
	}
}

func TestResolve(t *testing.T) {
	set := compile(t,
		"name: own\ntenant: t\nmatch: {projects: [web]}\noutputs: {mode: full, keep: 10d}\nrates: [{per: key, requests: 1/s}]",
		"name: floor\noutputs: {sample: 10%, mode: redacted, keep: 20d}\nrates: [{per: tenant, concurrent: 4}]",
		"name: big\nmatch: {models: ['gpt-*-large', 'x*y*z']}\noutputs: {mode: none}",
		"name: silent\ntenant: u")
	for _, c := range []struct {
		sub      policy.Subject
		policies []string
		outputs  policy.Outputs
	}{
		{policy.Subject{}, []string{"floor"}, policy.Outputs{Mode: "redacted", Sample: 100_000, Keep: 480 * time.Hour}},
		{policy.Subject{Tenant: "t", Project: "web"}, []string{"floor", "t/own"}, policy.Outputs{Mode: "redacted", Sample: 100_000, Keep: 240 * time.Hour}},
		{policy.Subject{Tenant: "t", Project: "api"}, []string{"floor"}, policy.Outputs{Mode: "redacted", Sample: 100_000, Keep: 480 * time.Hour}},
		{policy.Subject{Tenant: "u", Model: "gpt-5-large"}, []string{"floor", "big", "u/silent"}, policy.Outputs{Mode: "none", Sample: 100_000, Keep: 480 * time.Hour}},
		{policy.Subject{Model: "xyz"}, []string{"floor", "big"}, policy.Outputs{Mode: "none", Sample: 100_000, Keep: 480 * time.Hour}},
		{policy.Subject{Model: "xyzy"}, []string{"floor"}, policy.Outputs{Mode: "redacted", Sample: 100_000, Keep: 480 * time.Hour}},
	} {
		e := set.Resolve(c.sub)
		if !slices.Equal(e.Policies, c.policies) || e.Outputs != c.outputs || e.Revision != 9 {
			t.Errorf("%+v: %v %+v", c.sub, e.Policies, e.Outputs)
		}
		if set.Resolve(c.sub) != e {
			t.Errorf("%+v: not remembered", c.sub)
		}
	}
	r := set.Resolve(policy.Subject{Tenant: "t", Project: "web"}).Rates
	if len(r) != 2 || r[0].Policy != "floor" || r[0].Tenant != "" || r[1].Policy != "own" || r[1].Tenant != "t" || r[1].ID != "rates[0]" {
		t.Errorf("rates %+v", r)
	}
	none, err := policy.Compile(1, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if o := none.Resolve(policy.Subject{}).Outputs; o != (policy.Outputs{Mode: "metadata", Sample: 1_000_000}) {
		t.Errorf("no policy at all: %+v", o)
	}
}

// TestResolveIsBounded: callers who name ever new models do not fill the memory,
// and many may ask at once.
func TestResolveIsBounded(t *testing.T) {
	set := compile(t, "name: a\nmatch: {models: ['m1*']}")
	var wait sync.WaitGroup
	for g := range 4 {
		wait.Go(func() {
			for i := range 5000 {
				e := set.Resolve(policy.Subject{Model: fmt.Sprintf("m%d-%d", g, i)})
				if want := map[bool]int{true: 1, false: 0}[g == 1]; len(e.Policies) != want {
					t.Errorf("m%d-%d: %v", g, i, e.Policies)
				}
			}
		})
	}
	wait.Wait()
	if n := set.Remembered(); n > 4096 {
		t.Errorf("%d scopes remembered", n)
	}
}

func TestJudgeInput(t *testing.T) {
	set := compile(t, "name: a\nsafety:\n  input:\n    - {guard: stub, word: r, action: redact}\n    - {guard: stub, word: b, action: block}\n    - {guard: stub, word: s, action: shadow}\n  output:\n    - {guard: stub, word: o, action: block}")
	e := set.Resolve(policy.Subject{})
	res := e.JudgeInput([]policy.InputText{{Message: 0, Part: 0, Text: "o r\xff"}, {Message: 2, Part: 1, Text: "s"}})
	if !slices.Equal(res.Texts, []string{"o [R]\uFFFD", "s"}) || res.Blocked || len(res.Verdicts) != 2 {
		t.Fatalf("%+v", res)
	}
	v := res.Verdicts[0]
	if v.Message != 0 || v.Part != 0 || v.Stage != policy.Input || v.Start != 2 || v.End != 3 || v.Rule != "input[0]" || v.Policy != "a" || v.Category != "stub/r" || v.Severity != policy.Low || v.Revision != 9 || v.Guard != "stub" || v.Action != policy.Redact {
		t.Errorf("%+v", v)
	}
	if v := res.Verdicts[1]; v.Message != 2 || v.Part != 1 || v.Action != policy.Shadow {
		t.Errorf("%+v", v)
	}
	res = e.JudgeInput([]policy.InputText{{Text: "r"}, {Message: 1, Text: "xbr"}, {Message: 2, Text: "r"}})
	if !res.Blocked || !slices.Equal(res.Texts, []string{"[R]", "x", ""}) || len(res.Verdicts) != 2 || res.Verdicts[1].Message != 1 {
		t.Errorf("%+v", res)
	}
}

// TestVerdictsAreBounded: an answer that is nothing but matches is counted to
// the end and listed in part.
func TestVerdictsAreBounded(t *testing.T) {
	set := compile(t, "name: a\nsafety: {output: [{guard: stub, word: x, action: flag}]}")
	s := set.Resolve(policy.Subject{}).Screen()
	s.Write(nil, policy.Piece{Text: strings.Repeat("x", 100_000)})
	s.End(nil, 0)
	vs := s.Verdicts()
	if len(vs) != 256 || vs[255].More != 100_000-256 || vs[254].More != 0 {
		t.Errorf("%d listed, %d more", len(vs), vs[len(vs)-1].More)
	}
	if v := vs[7]; v.Message != -1 || v.Part != -1 || v.Stage != policy.Output || v.Start != 7 {
		t.Errorf("%+v", v)
	}
}

func TestPlaceholder(t *testing.T) {
	for category, want := range map[string]string{
		"": "[REDACTED]", "pii/email": "[EMAIL]", "secrets": "[SECRETS]", "pii/cn_resident_id": "[CN_RESIDENT_ID]", "a/": "[A]", "涉密/地名": "[地名]",
	} {
		if got := policy.Placeholder(category); got != want {
			t.Errorf("%q: %s, want %s", category, got, want)
		}
	}
}
