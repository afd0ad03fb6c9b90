package policy_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/weir-gateway/weir/policy"
)

func TestParseDocument(t *testing.T) {
	d, err := policy.ParseDocument(parse(t, `
kind: Policy
name: base
tenant: acme
match: {models: ["gpt-*"], projects: ["*"]}
safety:
  input:
    - {guard: stub, word: x, action: flag}
  output:
    - {guard: stub, word: y, action: block, severity: high, category: a/b}
    - {id: mine, guard: stub, word: z, action: redact, placeholder: ""}
rates:
  - {per: key, requests: 600/min, concurrent: 32}
  - {id: slow, per: end_user, requests: 200k/day, burst: 5}
  - {per: tenant, tokens: 100k/min}
  - {per: tenant, tokens: 1M/h, token_burst: 20000, requests: 1/s}
outputs: {mode: redacted, sample: 0.5%, keep: 183d}
`))
	if err != nil {
		t.Fatal(err)
	}
	if d.FullName() != "acme/base" || d.Match.Models[0] != "gpt-*" {
		t.Errorf("head %+v", d)
	}
	in, out := d.Safety.Input, d.Safety.Output
	if len(in) != 1 || in[0].ID != "input[0]" || in[0].Action != policy.Flag || in[0].Stage != policy.Input || in[0].Placeholder != nil {
		t.Errorf("input %+v", in)
	}
	if len(out) != 2 || out[0].ID != "output[0]" || out[0].Severity != policy.High || out[0].Category != "a/b" || out[1].ID != "mine" || *out[1].Placeholder != "" {
		t.Errorf("output %+v", out)
	}
	if len(out[0].Node.Content) != 2 || out[0].Node.Content[0].Value != "word" {
		t.Errorf("a guard must see its own keys only: %+v", out[0].Node)
	}
	r := d.Rates
	if len(r) != 4 || r[0].ID != "rates[0]" || *r[0].Requests != (policy.Quota{N: 600, Per: time.Minute}) || *r[0].Burst != 600 || *r[0].Concurrent != 32 {
		t.Errorf("rate %+v", r[0])
	}
	if r[1].ID != "slow" || r[1].Requests.N != 200_000 || r[1].Requests.Per != 24*time.Hour || *r[1].Burst != 5 || r[1].Concurrent != nil {
		t.Errorf("rate %+v", r[1])
	}
	if r[2].Requests != nil || r[2].Burst != nil || *r[2].Tokens != (policy.Quota{N: 100_000, Per: time.Minute}) || *r[2].TokenBurst != 100_000 {
		t.Errorf("rate %+v", r[2])
	}
	if r[3].Tokens.N != 1_000_000 || *r[3].TokenBurst != 20_000 || *r[3].Burst != 1 {
		t.Errorf("rate %+v", r[3])
	}
	if d.Outputs != (policy.Outputs{Mode: "redacted", Sample: 5_000, Keep: 183 * 24 * time.Hour}) {
		t.Errorf("outputs %+v", d.Outputs)
	}
}

func TestParseDocumentProblems(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"kind", "kind: Polcy\nname: a", `line 1: kind: want kind: Policy, got "Polcy"`},
		{"name", "kind: Policy", `line 1: name: a name is missing: what do verdicts and changes call this document?`},
		{"slash", "kind: Policy\nname: a/b", `line 1: name: want at most 200 bytes without spaces and slashes, got "a/b"`},
		{"glob", "kind: Policy\nname: a\nmatch: {models: ['']}", `line 1: match.models[0]: is empty and would match nothing: write "*" for everything, or remove it`},
		{"routing without a condition", "kind: Policy\nname: a\nrouting:\n  - {only: private}", `line 4: routing[0].when: is missing: when does this hold? Write true for always`},
		{"tokens", "kind: Policy\nname: a\nrates:\n  - {per: key, tokens: 200k}", `line 4: rates[0].tokens: want a quota such as 600/min, got "200k"`},
		{"token burst", "kind: Policy\nname: a\nrates:\n  - {per: key, requests: 1/s, token_burst: 3}", `line 4: rates[0].token_burst: needs tokens: it is how many of them may be used at once`},
		{"no token burst", "kind: Policy\nname: a\nrates:\n  - {per: key, tokens: 1/s, token_burst: 0}", `line 4: rates[0].token_burst: want at least 1, got 0: nothing would ever pass`},
		{"no limit", "kind: Policy\nname: a\nrates:\n  - {per: key}", `line 4: rates[0]: limits nothing: say requests, tokens or concurrent`},
		{"scope", "kind: Policy\nname: a\nrates:\n  - {per: enduser, requests: 1/s}", `line 4: rates[0].per: unknown scope "enduser", did you mean "end_user"? (known: tenant, project, key, end_user)`},
		{"unit", "kind: Policy\nname: a\nrates:\n  - {per: key, requests: 1/sec}", `line 4: rates[0].requests: unknown unit "sec" in "1/sec" (known: s, min, h, day)`},
		{"quota", "kind: Policy\nname: a\nrates:\n  - {per: key, requests: 60}", `line 4: rates[0].requests: want a quota such as 600/min, got "60"`},
		{"zero", "kind: Policy\nname: a\nrates:\n  - {per: key, requests: 0/s}", `line 4: rates[0].requests: want a whole number greater than zero before the slash of "0/s", such as 600/min or 200k/min`},
		{"burst", "kind: Policy\nname: a\nrates:\n  - {per: key, concurrent: 1, burst: 3}", `line 4: rates[0].burst: needs requests: it is how many of them may come at once (that of tokens is token_burst)`},
		{"mode", "kind: Policy\nname: a\noutputs: {mode: redact}", `line 3: outputs.mode: unknown mode "redact", did you mean "redacted"? (known: none, metadata, redacted, full)`},
		{"sample", "kind: Policy\nname: a\noutputs: {sample: 0.1}", `line 3: outputs.sample: want a share from 0% to 100% with at most four decimals, such as 10% or 0.5%, got "0.1"`},
		{"action", "kind: Policy\nname: a\nsafety:\n  output:\n    - {guard: x, action: blck}", `line 5: safety.output[0].action: unknown action "blck", did you mean "block"? (known: shadow, flag, redact, block)`},
		{"no action", "kind: Policy\nname: a\nsafety:\n  output:\n    - {guard: x}", `line 5: safety.output[0].action: is missing: shadow, flag, redact or block`},
		{"no guard", "kind: Policy\nname: a\nsafety:\n  output:\n    - {action: flag}", `line 5: safety.output[0].guard: is missing: which guard looks at the text?`},
		{"twice", "kind: Policy\nname: a\nsafety:\n  output:\n    - {guard: x, action: flag, action: block}", `line 5: safety.output[0].action: given twice (first on line 5)`},
		{"same id", "kind: Policy\nname: a\nsafety:\n  output:\n    - {id: x, guard: x, action: flag}\n    - {id: x, guard: x, action: flag}", `line 6: safety.output[1]: the id "x" is taken by safety.output[0]`},
		{"placeholder", "kind: Policy\nname: a\nsafety:\n  output:\n    - {guard: x, action: block, placeholder: y}", `line 5: safety.output[0].placeholder: only action: redact puts a placeholder, not block`},
		{"all", "kind: Policy\nnam: a\nsafety: {outputs: []}", "line 1: name: a name is missing: what do verdicts and changes call this document?\n" +
			"line 2: nam: unknown field, did you mean \"name\"? (known: kind, match, name, outputs, rates, routing, safety, tenant)\n" +
			"line 3: safety.outputs: unknown field, did you mean \"output\"? (known: input, output)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := policy.ParseDocument(parse(t, c.text)); err == nil || err.Error() != c.want {
				t.Errorf("got\n%v\nwant\n%s", err, c.want)
			}
		})
	}
}

func TestParseLexicon(t *testing.T) {
	yes := true
	l, err := policy.ParseLexicon(parse(t, "kind: Lexicon\nname: bad\ncategory: test/words\nseverity: low\nterms:\n- zorblatt\n- {term: 测试词, category: test/词, severity: high, whole_word: true}"))
	if err != nil || l.FullName() != "bad" || l.Severity != policy.Low || l.Category != "test/words" {
		t.Errorf("%+v, %v", l, err)
	}
	if want := []policy.Term{{Text: "zorblatt"}, {Text: "测试词", Category: "test/词", Severity: policy.High, WholeWord: &yes}}; !reflect.DeepEqual(l.Terms, want) {
		t.Errorf("%+v", l.Terms)
	}
	for text, want := range map[string]string{
		"kind: Lexicon\nname: a":                                                         `line 1: terms: no terms: a list that finds nothing is a mistake`,
		"kind: Lexicon\nname: a\nterms: [b, 7]":                                          `line 3: terms[1]: want text, got the number 7: quote it ("7")`,
		"kind: Lexicon\nname: a\nterms: [b, '']":                                         `line 3: terms[1]: is empty`,
		"kind: Lexicon\nname: a\nterms: [b, ]\nx: y":                                     `line 4: x: unknown field (known: category, file, kind, name, severity, tenant, terms)`,
		"kind: Lexicon\nname: a\nterms:\n- b\n- {category: c}":                           `line 5: terms[1].term: is empty: write the word or phrase to look for`,
		"kind: Lexicon\nname: a\nterms:\n- {term: b, at: 3}":                             `line 4: terms[0].at: unknown field (known: category, severity, term, whole_word)`,
		"kind: Lexicon\nname: a\nterms:\n- {term: b,\n   severity: grave}":               `line 5: terms[0].severity: unknown severity "grave" (known: low, medium, high)`,
		"kind: Lexicon\nname: a\nterms: [" + strings.Repeat("b", policy.MaxTerm+1) + "]": `line 3: terms[0]: want at most 1024 bytes, got 1025`,
		"kind: Lexicon\nname: a\nfile: w.txt":                                            `line 3: file: is read by weir apply and weir policy from beside the document: send the terms themselves`,
	} {
		if _, err := policy.ParseLexicon(parse(t, text)); err == nil || err.Error() != want {
			t.Errorf("got\n%v\nwant\n%s", err, want)
		}
	}
}
