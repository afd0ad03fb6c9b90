package policy

import (
	"slices"
	"strings"
	"sync/atomic"
)

// Effective is what holds for one scope: every policy that matches, together.
// It is immutable and safe for concurrent use.
type Effective struct {
	Revision int64

	// Policies are the full names of those that apply, the platform's first.
	Policies []string

	// Rates are all limits that apply; each counts on its own.
	Rates []BoundRate

	// Restrictions narrow where a call may go; see [Effective.Narrow].
	Restrictions []BoundRestriction

	// Outputs is the least that any policy allows to keep, field by field.
	// Always filled, but for Keep, which is 0 where no policy sets a term.
	Outputs Outputs

	input, output []*rule // in document order, which settles ties
	trusted       []*rule // of input, those for what the operator wrote himself

	// Those on what is no text, which the others never see.
	inputMedia, outputMedia []*rule

	// clean is the last text of which Clean has told true: most calls ask about
	// the same name.
	clean *atomic.Pointer[string]
}

// BoundRate is a rate and where it comes from: limiter state is keyed by Tenant,
// Policy, Rate.ID and the value of Rate.Per.
type BoundRate struct {
	Rate
	Policy string // the policy's name, without its tenant
	Tenant string // "" where the platform set it
}

// scope is what policies are matched by.
type scope struct{ tenant, project, model string }

// memoLimit bounds how many scopes are remembered. Models are named by callers,
// so without a bound a caller could fill the memory.
const memoLimit = 4096

// Resolve returns what holds for a subject: the platform's policies and its
// tenant's, those that match its project and model. It is cheap, and the answer
// for the same scope is usually the same pointer.
func (s *Set) Resolve(sub Subject) *Effective {
	at := scope{sub.Tenant, sub.Project, sub.Model}
	s.mu.RLock()
	e := s.memo[at]
	s.mu.RUnlock()
	if e != nil {
		return e
	}
	var which []byte // one byte a policy: the key of the answer
	for _, p := range s.policies {
		applies := byte(0)
		if p.doc.applies(at) {
			applies = 1
		}
		which = append(which, applies)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e = s.sharing[string(which)]; e == nil {
		e = s.effective(which)
		if len(s.sharing) >= memoLimit {
			clear(s.sharing)
		}
		s.sharing[string(which)] = e
	}
	if len(s.memo) >= memoLimit {
		clear(s.memo)
	}
	s.memo[at] = e
	return e
}

// Revision is the revision the Set was compiled from.
func (s *Set) Revision() int64 { return s.revision }

func (s *Set) effective(which []byte) *Effective {
	e := &Effective{Revision: s.revision, clean: &atomic.Pointer[string]{}}
	for i, p := range s.policies {
		if which[i] == 0 {
			continue
		}
		e.Policies = append(e.Policies, p.doc.FullName())
		e.input = append(e.input, p.input...)
		for _, r := range p.input {
			if !r.untrusted {
				e.trusted = append(e.trusted, r)
			}
		}
		e.output = append(e.output, p.output...)
		e.inputMedia = append(e.inputMedia, p.inputMedia...)
		e.outputMedia = append(e.outputMedia, p.outputMedia...)
		for _, r := range p.doc.Routing {
			e.Restrictions = append(e.Restrictions, BoundRestriction{Restriction: r, Policy: p.doc.FullName()})
		}
		for _, r := range p.doc.Rates {
			e.Rates = append(e.Rates, BoundRate{Rate: r, Policy: p.doc.Name, Tenant: p.doc.Tenant})
		}
		e.Outputs = e.Outputs.least(p.doc.Outputs)
	}
	if e.Outputs.Mode == "" {
		e.Outputs.Mode, e.Outputs.Sample = DefaultMode, DefaultSample
	}
	return e
}

// least joins what two policies allow to keep. A policy that does not speak
// takes no part.
func (o Outputs) least(other Outputs) Outputs {
	if o.Mode == "" || other.Mode == "" {
		if o.Mode == "" {
			return other
		}
		return o
	}
	if slices.Index(OutputModes, other.Mode) < slices.Index(OutputModes, o.Mode) {
		o.Mode = other.Mode
	}
	o.Sample = min(o.Sample, other.Sample)
	if o.Keep == 0 || other.Keep != 0 && other.Keep < o.Keep {
		o.Keep = other.Keep
	}
	return o
}

func (d Document) applies(at scope) bool {
	if d.Tenant != "" && d.Tenant != at.tenant {
		return false
	}
	return anyGlob(d.Match.Models, at.model) && anyGlob(d.Match.Projects, at.project)
}

func anyGlob(globs []string, name string) bool {
	return len(globs) == 0 || slices.ContainsFunc(globs, func(g string) bool { return matchGlob(g, name) })
}

// matchGlob tells whether name is the glob with each * replaced by some text.
func matchGlob(glob, name string) bool {
	head, rest, star := strings.Cut(glob, "*")
	if !star {
		return glob == name
	}
	name, ok := strings.CutPrefix(name, head)
	if !ok {
		return false
	}
	for {
		// The leftmost place for every middle part leaves the most for the others.
		part, more, star := strings.Cut(rest, "*")
		if !star {
			return strings.HasSuffix(name, part)
		}
		at := strings.Index(name, part)
		if at < 0 {
			return false
		}
		name, rest = name[at+len(part):], more
	}
}

// Clean tells whether the output rules would let a text pass as it is. It is for
// strings beside the answer, such as the name that a backend gives itself: what
// no guard has seen does not pass.
func (e *Effective) Clean(text string) bool {
	if last := e.clean.Load(); last != nil && *last == text {
		return true
	}
	s := e.Screen()
	pieces := s.Write(nil, Piece{Channel: Content, Text: text})
	pieces = s.End(pieces, 0)
	if s.Blocked(0) || join(pieces) != text {
		return false
	}
	e.clean.Store(&text)
	return true
}

// RuleInfo is what can be told of a rule that applies.
type RuleInfo struct {
	Policy string // the full name
	Rule   string
	Stage  Stage
	Guard  string
	Action Action
	Kinds  []Kind
	// Bound is the most bytes of one channel that the rule holds back while it
	// cannot decide; Bounded is false where there is no such number. A rule that
	// does not enforce holds nothing.
	Bound   int
	Bounded bool
}

// Rules tells of every rule that applies, input first, in the order that
// settles ties, those on media after those on text.
func (e *Effective) Rules() []RuleInfo {
	var all []RuleInfo
	for _, r := range slices.Concat(e.input, e.inputMedia, e.output, e.outputMedia) {
		info := RuleInfo{Policy: r.verdict.Policy, Rule: r.verdict.Rule, Stage: r.verdict.Stage, Guard: r.verdict.Guard, Action: r.action, Bounded: true}
		for _, k := range r.kinds {
			info.Kinds = append(info.Kinds, k.Kind)
		}
		if r.action.Enforcing() {
			info.Bound, info.Bounded = r.guard.Bound()
		}
		all = append(all, info)
	}
	return all
}
