package policy

import (
	"slices"

	"go.yaml.in/yaml/v3"
)

// A Restriction narrows where a call may go: where When holds, only to targets
// that have the tag Only.
type Restriction struct {
	When *Condition
	Only string
}

// BoundRestriction is a restriction and the full name of its policy.
type BoundRestriction struct {
	Restriction
	Policy string
}

func parseRestriction(n *yaml.Node, field string) (r Restriction, ps Problems) {
	var raw struct {
		When *yaml.Node `yaml:"when"`
		Only string     `yaml:"only"`
	}
	ps = Within(field, n, Decode(n, &raw))
	if len(ps) > 0 {
		return r, ps
	}
	r.Only = raw.Only
	if r.Only == "" {
		ps = append(ps, Fault(n, field+".only", "is missing: which tag of a backend must a target have?"))
	}
	if raw.When == nil {
		return r, append(ps, Fault(n, field+".when", "is missing: when does this hold? Write true for always"))
	}
	var err error
	r.When, err = newFoundCondition(raw.When.Value)
	return r, append(ps, Within(field+".when", raw.When, err)...)
}

// A Narrowing is a restriction that holds of a call.
type Narrowing struct {
	Policy string // its full name
	Only   string // the tag that a target must have
}

// Narrow tells which restrictions hold of a call in which this was found. A
// target must satisfy all of them. What a rule of action shadow found does not
// count, since such a rule changes nothing. A condition that fails holds: where
// it is not known whether a call may leave, it must not.
func (e *Effective) Narrow(sub Subject, found []Verdict) (out []Narrowing) {
	if len(e.Restrictions) == 0 {
		return nil
	}
	facts := Facts{Subject: sub}
	for _, v := range found {
		if v.Action != Shadow && !slices.Contains(facts.Found, v.Category) {
			facts.Found = append(facts.Found, v.Category)
		}
	}
	for _, r := range e.Restrictions {
		n := Narrowing{Policy: r.Policy, Only: r.Only}
		if holds, err := r.When.Holds(&facts); (holds || err != nil) && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}
