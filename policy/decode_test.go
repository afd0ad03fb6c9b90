package policy_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/weir-gateway/weir/policy"
)

func parse(t testing.TB, text string) *yaml.Node {
	t.Helper()
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(text), &n); err != nil {
		t.Fatal(err)
	}
	return &n
}

type level int

func (l *level) UnmarshalText(text []byte) error {
	if _, err := fmt.Sscanf(string(text), "L%d", l); err != nil {
		return errors.New("want a level such as L3")
	}
	return nil
}

type pair struct{ left, right string }

func (p *pair) UnmarshalYAML(n *yaml.Node) error {
	var raw struct {
		Left  string `yaml:"left"`
		Right string `yaml:"right"`
	}
	err := policy.Decode(n, &raw)
	p.left, p.right = raw.Left, raw.Right
	return err
}

type base struct {
	Name string `yaml:"name"`
}

type everything struct {
	base   `yaml:",inline"`
	Count  int               `yaml:"count"`
	Share  float64           `yaml:"share"`
	On     bool              `yaml:"on"`
	Wait   time.Duration     `yaml:"wait"`
	Since  time.Time         `yaml:"since"`
	Level  level             `yaml:"level"`
	Pair   *pair             `yaml:"pair"`
	Pairs  []pair            `yaml:"pairs"`
	Tags   map[string]string `yaml:"tags"`
	Limit  *int64            `yaml:"limit"`
	Raw    yaml.Node         `yaml:"raw"`
	Any    any               `yaml:"any"`
	Hidden string            `yaml:"-"`
	Plain  string
}

func TestDecode(t *testing.T) {
	v := everything{Plain: "kept"}
	err := policy.Decode(parse(t, `
name: n
count: 3
share: 2
on: true
wait: 183d
since: 2026-01-31T12:00:00Z
level: L4
pair: {left: a, right: b}
pairs: [{left: c}]
tags: {x: y}
limit: 7
raw: {free: [form]}
any: [1, two]
plain:
`), &v)
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintln(v.Name, v.Count, v.Share, v.On, v.Wait, v.Since.Year(), v.Level, *v.Pair, v.Pairs, v.Tags, *v.Limit, v.Raw.Line, v.Any, v.Plain)
	if want := "n 3 2 true 4392h0m0s 2026 4 {a b} [{c }] map[x:y] 7 13 [1 two] kept\n"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestDecodeNamesEveryProblem(t *testing.T) {
	var v everything
	err := policy.Decode(parse(t, `name: 10
cuont: 3
count: many
share: x
on: 'true'
wait: 3 weeks
level: high
pair: {left: a, rigth: b}
pairs: [{left: a}, {left: [1]}]
tags: {x: y, x: z}
limit: 1.5
count: 4
plain: [a]
`), &v)
	want := `line 1: name: want text, got the number 10: quote it ("10")
line 2: cuont: unknown field, did you mean "count"? (known: any, count, level, limit, name, on, pair, pairs, plain, raw, share, since, tags, wait)
line 3: count: want a whole number, got the text "many"
line 4: share: want a number, got the text "x"
line 5: on: want true or false, got the text "true"
line 6: wait: want a duration such as 90s, 12h or 183d, got "3 weeks"
line 7: level: want a level such as L3
line 8: pair.rigth: unknown field, did you mean "right"? (known: left, right)
line 9: pairs[1].left: want text, got a list
line 10: tags.x: given twice (first on line 10)
line 11: limit: want a whole number, got the number 1.5
line 12: count: given twice (first on line 3)
line 13: plain: want text, got a list`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	var ps policy.Problems
	if !errors.As(err, &ps) || ps[1].Field != "cuont" || ps[1].Line != 2 || ps[1].Column != 1 {
		t.Errorf("problems %+v", ps)
	}
}

func TestDecodeRefusesAliases(t *testing.T) {
	var v map[string]map[string]string
	err := policy.Decode(parse(t, "a: &x {k: v}\nb: *x\nc: {<<: *x}\n"), &v)
	want := `line 2: b: aliases are not supported: write the value of *x out
line 3: c: merge keys (<<) are not supported: write the fields out`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestDecodeEmpty(t *testing.T) {
	var v everything
	if err := policy.Decode(parse(t, ""), &v); err == nil || !strings.Contains(err.Error(), "empty") {
		t.Errorf("got %v", err)
	}
	if err := policy.Decode(parse(t, "- a"), &v); err == nil || err.Error() != "line 1: want a mapping, got a list" {
		t.Errorf("got %v", err)
	}
}

// FuzzDocuments: no text makes the parsers panic, and what is refused says why.
func FuzzDocuments(f *testing.F) {
	f.Add("kind: Policy\nname: a\nsafety: {output: [{guard: x, action: block}]}\nrates: [{per: key, requests: 1/s}]\noutputs: {sample: 10%}")
	f.Add("kind: Lexicon\nname: a\nterms: [b]")
	f.Add("a: &x [*x]")
	f.Fuzz(func(t *testing.T, text string) {
		var n yaml.Node
		if yaml.Unmarshal([]byte(text), &n) != nil {
			return
		}
		_, err := policy.ParseDocument(&n)
		_, err2 := policy.ParseLexicon(&n)
		for _, err := range []error{err, err2} {
			var ps policy.Problems
			if err != nil && (!errors.As(err, &ps) || len(ps) == 0 || ps[0].Message == "") {
				t.Errorf("an error without a reason: %#v", err)
			}
		}
		var any struct {
			A map[string][]*struct{ B *int }
		}
		_ = policy.Decode(&n, &any)
	})
}
