package guard

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/weir-gateway/weir/policy"
)

// Secrets makes a guard that finds credentials by the forms that their issuers
// give them. Its keys:
//
//	kinds: [github_token, private_key]  # all where absent
//	except: [jwt]                       # all but these
//	allow: [AKIA…]                      # texts that are no secret, whole and as they are written
//
// A finding's category is secret/KIND and its severity high. What is found is
// the secret and not what it is called: of `password = "…"` the value, of a
// webhook its token, of a URL the password. Values that stand in for a secret
// (YOUR_KEY, ${VAR}, xxxx, changeme) are none.
//
// A private key is found with its first line, and from there to its last line,
// or to the end of the text: nothing of it is held. So are tokens without a
// longest form: one that is longer than what is held goes on to its end.
func Secrets(rule *yaml.Node, env policy.Env) (policy.Guard, error) {
	var raw struct {
		Kinds  []string `yaml:"kinds"`
		Except []string `yaml:"except"`
		Allow  []string `yaml:"allow"`
	}
	if err := policy.Decode(rule, &raw); err != nil {
		return nil, err
	}
	known := secretKinds()
	var ps policy.Problems
	for _, list := range []struct {
		field string
		names []string
	}{{"kinds", raw.Kinds}, {"except", raw.Except}} {
		for i, name := range list.names {
			if !slices.Contains(known, name) {
				ps = append(ps, policy.Fault(rule, fmt.Sprintf("%s[%d]", list.field, i), "unknown kind %q (known: %s)", name, strings.Join(known, ", ")))
			}
		}
	}
	for i, text := range raw.Allow {
		if text == "" {
			ps = append(ps, policy.Fault(rule, fmt.Sprintf("allow[%d]", i), "is empty: remove it, or write the text that is no secret"))
		}
	}
	wanted := func(kind string) bool {
		return (raw.Kinds == nil || slices.Contains(raw.Kinds, kind)) && !slices.Contains(raw.Except, kind)
	}
	if len(ps) == 0 && !slices.ContainsFunc(known, wanted) {
		ps = append(ps, policy.Fault(rule, "kinds", "nothing is left to look for: name some kinds, or leave out kinds and except"))
	}
	if err := ps.Err(); err != nil {
		return nil, err
	}
	for _, list := range [][]string{raw.Kinds, raw.Except, raw.Allow} {
		slices.Sort(list)
	}
	return env.Share(fmt.Sprintf("%t %q %q %q", raw.Kinds == nil, raw.Kinds, raw.Except, raw.Allow), func() (policy.Guard, error) {
		return newSecrets(wanted, raw.Allow)
	})
}

// secretKinds are the names of all kinds, sorted.
func secretKinds() (names []string) {
	for _, r := range secretRules() {
		names = append(names, r.kind)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// secrets is the guard: one automaton waits for the literal text with which
// every secret begins, or which stands before it, and only behind such an
// opening a reader follows the form. Text without openings costs one table
// look-up a byte.
type secrets struct {
	kinds []policy.Kind
	rules []secretRule
	open  *openings
	allow []string
	bound int
	keep  int // bytes of the text that a stream must remember
}

func newSecrets(wanted func(kind string) bool, allow []string) (*secrets, error) {
	g := &secrets{allow: allow}
	place := map[string]int{}
	var lits []literal
	for _, r := range secretRules() {
		if !wanted(r.kind) {
			continue
		}
		id, ok := place[r.kind]
		if !ok {
			id = len(g.kinds)
			place[r.kind] = id
			g.kinds = append(g.kinds, policy.Kind{Category: "secret/" + r.kind, Severity: policy.High})
		}
		r.id = id
		own, err := r.prepare()
		if err != nil {
			return nil, fmt.Errorf("secret %s: %w", r.kind, err)
		}
		for _, l := range own {
			l.rule = len(g.rules)
			lits = append(lits, l)
			g.keep = max(g.keep, len(l.text))
		}
		g.bound = max(g.bound, r.longest)
		g.rules = append(g.rules, r)
	}
	g.bound = max(g.bound, g.keep)
	g.keep += g.bound + 8
	g.open = newOpenings(lits)
	return g, nil
}

// Kinds implements policy.Guard: of two kinds that fit one place the first is
// reported, and those that say less stand behind.
func (g *secrets) Kinds() []policy.Kind { return g.kinds }

// Bound is the longest secret whose end must be seen before it is one. What is
// longer is decided when it has that length.
func (g *secrets) Bound() (int, bool) { return g.bound, true }

// Open starts a channel.
func (g *secrets) Open() policy.Stream { return &secretStream{secrets: g} }
