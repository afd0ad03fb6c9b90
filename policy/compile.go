package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// Set is every policy of one revision, compiled. It is immutable and safe for
// concurrent use; a call that holds what it resolved never sees another
// revision.
type Set struct {
	revision int64
	policies []compiled // the platform's first, then tenants'; each as given

	mu      sync.RWMutex
	memo    map[scope]*Effective
	sharing map[string]*Effective // by which policies apply: many scopes, few answers
}

// compiled is a document whose rules have their guards.
type compiled struct {
	doc           Document
	input, output []*rule // on text

	inputMedia, outputMedia []*rule
}

// rule is a Rule with its guard, and what a verdict of it says.
type rule struct {
	verdict   Verdict // a template: all but what and where
	action    Action
	guard     Guard
	kinds     []kind // as the guard has them, or as the rule says
	untrusted bool   // not for what the operator wrote himself
	toolArgs  bool   // redacts in the arguments of tool calls too
	strict    *rule  // one that redacts, where it blocks instead
}

// kind is a Kind with the placeholder that stands for it.
type kind struct {
	Kind
	placeholder string
}

// Compile makes a Set. Every problem of every document is returned at once, as
// [Problems] that name the policy and the rule; nothing is half compiled.
//
// Factories are the guards that exist, by the name rules call them.
func Compile(revision int64, docs []Document, lexicons []Lexicon, factories map[string]Factory) (*Set, error) {
	c := compiler{revision: revision, factories: factories, lexicons: map[string]Lexicon{}, shared: map[string]Guard{}}
	for _, l := range lexicons {
		if _, twice := c.lexicons[l.FullName()]; twice {
			c.problems = append(c.problems, Problem{Document: "lexicon " + l.FullName(), Message: "defined twice"})
		}
		c.lexicons[l.FullName()] = l
	}
	set := &Set{revision: revision, memo: map[scope]*Effective{}, sharing: map[string]*Effective{}}
	names := map[string]bool{}
	for _, d := range docs {
		if names[d.FullName()] {
			c.problems = append(c.problems, Problem{Document: "policy " + d.FullName(), Message: "defined twice"})
		}
		names[d.FullName()] = true
		p := compiled{doc: d}
		p.input, p.inputMedia = split(c.rules(d, d.Safety.Input))
		p.output, p.outputMedia = split(c.rules(d, d.Safety.Output))
		if r := unseen(p.output, p.outputMedia, d.FullName(), revision); r != nil {
			p.outputMedia = append(p.outputMedia, r)
		}
		set.policies = append(set.policies, p)
	}
	slices.SortStableFunc(set.policies, func(a, b compiled) int {
		return strings.Compare(a.doc.Tenant, b.doc.Tenant)
	})
	if err := c.problems.Err(); err != nil {
		return nil, err
	}
	return set, nil
}

type compiler struct {
	revision  int64
	factories map[string]Factory
	lexicons  map[string]Lexicon
	shared    map[string]Guard
	problems  Problems
}

func (c *compiler) rules(d Document, rules []Rule) (out []*rule) {
	for _, r := range rules {
		guard, faults := c.guard(d, r)
		for _, p := range faults {
			p.Document = "policy " + d.FullName()
			p.Message = fmt.Sprintf("rule %q: %s", r.ID, p.Message)
			c.problems = append(c.problems, p)
		}
		if len(faults) > 0 {
			continue
		}
		compiled := &rule{action: r.Action, guard: guard, toolArgs: r.ToolArgs == Redact}
		for _, k := range guard.Kinds() {
			if r.Category != "" {
				k.Category = r.Category
			}
			if r.Severity != Unspecified {
				k.Severity = r.Severity
			}
			word := Placeholder(k.Category)
			if r.Placeholder != nil {
				word = *r.Placeholder
			}
			compiled.kinds = append(compiled.kinds, kind{k, word})
		}
		if g, ok := guard.(Untrusted); ok {
			compiled.untrusted = g.UntrustedOnly()
		}
		compiled.verdict = Verdict{
			Guard: r.Guard, Rule: r.ID, Policy: d.FullName(), Revision: c.revision,
			Action: r.Action, Stage: r.Stage, Message: -1, Part: -1,
		}
		compiled.strict = compiled.strictly()
		out = append(out, compiled)
	}
	return out
}

func (c *compiler) guard(d Document, r Rule) (Guard, Problems) {
	factory, ok := c.factories[r.Guard]
	if !ok {
		known := slices.Sorted(maps.Keys(c.factories))
		return nil, Problems{Fault(r.Node, r.Field+".guard", "unknown guard %q%s", r.Guard, suggest(r.Guard, known))}
	}
	guard, err := factory(r.Node, Env{
		Stage: r.Stage,
		Lexicon: func(name string) (Lexicon, bool) {
			if d.Tenant != "" {
				if l, ok := c.lexicons[d.Tenant+"/"+name]; ok {
					return l, true
				}
			}
			l, ok := c.lexicons[name]
			return l, ok && l.Tenant == ""
		},
		Share: func(key string, make func() (Guard, error)) (Guard, error) {
			key = r.Guard + "\x00" + key
			if g, ok := c.shared[key]; ok {
				return g, nil
			}
			g, err := make()
			if err == nil {
				c.shared[key] = g
			}
			return g, err
		},
	})
	faults := Within(r.Field, r.Node, err)
	for i := range faults {
		// A misspelt common key ends up with the guard, which does not know it.
		faults[i].alsoKnown(commonKeys)
	}
	if err == nil && guard == nil {
		faults = Problems{Fault(r.Node, r.Field, "the guard %s made nothing of it", r.Guard)}
	}
	return guard, faults
}

// Placeholder is what replaces text of a category where the rule names no other
// text: the last part of the category in capitals and brackets, so "pii/email"
// becomes [EMAIL]; [REDACTED] where there is no category. It depends on nothing
// else, so the same finding reads the same in every answer.
func Placeholder(category string) string {
	word := strings.TrimRight(category, "/")
	word = strings.ToUpper(word[strings.LastIndexByte(word, '/')+1:])
	if word == "" || !utf8.ValidString(word) {
		word = "REDACTED"
	}
	return "[" + word + "]"
}
