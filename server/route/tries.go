package route

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"time"

	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/server/backend"
)

// A Call is what decides where a call may go.
type Call struct {
	Subject policy.Subject
	Request *backend.Request
	// Only are tags that a target must have, all of them.
	Only []policy.Narrowing
	// Price tells what a target costs, for conditions that ask; nil where nobody
	// knows.
	Price func(t *Target, model string) (policy.Price, bool)
}

// Tries are the targets of one call in the order in which they are tried. Each
// is chosen when it is asked for, by how things stand then, and comes once, unless
// it is given back. It is used by one goroutine.
type Tries struct {
	model *Model
	left  set
	key   uint64
	begun bool
}

// A Try is one target that serves a call now. It counts as work of the target
// until Done.
type Try struct {
	*Target
	// Reason is why this one, in words for people.
	Reason string

	place          int // of the target in its model
	start          time.Time
	ejected        bool // it was when it was chosen
	probe          bool // and this is the one call that tests it
	answered, done bool
}

// A NoTargetError tells that a model has no target that may take a call.
type NoTargetError struct {
	Model string
	// Narrowed are the restrictions that left none; empty where the conditions
	// of the targets did.
	Narrowed []policy.Narrowing
}

func (e *NoTargetError) Error() string {
	if len(e.Narrowed) == 0 {
		return fmt.Sprintf("no target of model %q takes this call: the conditions (when) of its targets let it go to none", e.Model)
	}
	n := e.Narrowed[0]
	if len(e.Narrowed) == 1 {
		return fmt.Sprintf("policy %q lets this call go only to backends with the tag %q, and model %q has none: use a model that has, or leave out what was found", n.Policy, n.Only, e.Model)
	}
	tags := make([]string, len(e.Narrowed))
	for i, n := range e.Narrowed {
		tags[i] = fmt.Sprintf("%q (policy %q)", n.Only, n.Policy)
	}
	return fmt.Sprintf("this call may go only to backends with all of the tags %s, and model %q has none: use a model that has, or leave out what was found", tags, e.Model)
}

// A RestingError tells that every target that is left asked to be left alone.
type RestingError struct {
	Model string
	// After is how long the first of them will.
	After time.Duration
}

func (e *RestingError) Error() string {
	return fmt.Sprintf("every target of model %q has asked for a rest", e.Model)
}

// Tries returns the targets that may take the call. It fails with a
// *NoTargetError where there are none.
func (m *Model) Tries(c *Call) (Tries, error) {
	t := Tries{model: m, left: first(len(m.Targets)), key: m.key(c)}
	if m.conditional {
		asked := *c // conditions keep it, and only they need it to be kept
		t.left = m.willing(&asked)
		if t.left.empty() {
			return t, &NoTargetError{Model: m.Name}
		}
	}
	if len(c.Only) > 0 {
		for i := range m.Targets {
			for _, n := range c.Only {
				if !slices.Contains(m.Targets[i].Tags, n.Only) {
					t.left.remove(i)
				}
			}
		}
		if t.left.empty() {
			return t, &NoTargetError{Model: m.Name, Narrowed: slices.Clone(c.Only)}
		}
	}
	return t, nil
}

// willing are the targets whose conditions hold. One that fails does not hold.
func (m *Model) willing(c *Call) (all set) {
	facts := policy.Facts{Subject: c.Subject}
	for i := range m.Targets {
		t := &m.Targets[i]
		if t.When != nil {
			facts.Region, facts.Tags = t.Region, t.Tags
			if c.Price != nil {
				facts.Price = func() (policy.Price, bool) { return c.Price(t, m.Name) }
			}
			if holds, err := t.When.Holds(&facts); err != nil || !holds {
				continue
			}
		}
		all.add(i)
	}
	return all
}

// Find returns the target of a backend and its name for the model, where that may
// take the call and has not been tried; else nil.
func (t *Tries) Find(backend, model string) *Target {
	for i := range t.model.Targets {
		if target := &t.model.Targets[i]; t.left.has(i) && target.Name == backend && target.Model == model {
			return target
		}
	}
	return nil
}

// Left is how many targets have not been tried.
func (t *Tries) Left() int { return t.left.count() }

// Again tells whether the call may go to a backend once more after one has
// failed it: there is another target, and the model's budget of retries has
// room for it. Then it is one less.
func (t *Tries) Again(now time.Time) bool {
	return !t.left.empty() && t.model.retries.take(now)
}

// Next chooses a target and counts the call as its work. The Try is without a
// target where all have been tried; there is a *RestingError where those that
// are left wish to be left alone.
func (t *Tries) Next(now time.Time) (Try, error) {
	if !t.begun {
		t.begun = true
		t.model.retries.call()
	}
	at := now.UnixNano()
	for {
		i, reason := t.choose(at)
		if i < 0 {
			i, reason = t.lastResort(at)
		}
		if i < 0 {
			return Try{}, t.resting(at)
		}
		try := Try{Target: &t.model.Targets[i], Reason: reason, place: i, start: now}
		if until := try.state.until.Load(); until != 0 {
			try.ejected = true
			try.probe = until <= at && try.state.probing.CompareAndSwap(false, true)
			if reason != reasonLast {
				if !try.probe {
					continue // another call has begun to test it: choose again
				}
				try.Reason = reasonProbe
			}
		}
		t.left.remove(i)
		try.state.outstanding.Add(1)
		return try, nil
	}
}

// Reasons.
const (
	reasonOnly    = "the only one of its tier that can be had"
	reasonBusy    = "least busy of two drawn by weight"
	reasonLoad    = "least busy of two drawn by weight, by their own word too"
	reasonSession = "serves this session"
	reasonPrefix  = "serves prompts that begin like this"
	reasonMoved   = "nearest that is free of those that serve prompts or sessions like this"
	reasonProbe   = "tests whether an ejected target is back"
	reasonLast    = "ejected, but no other is left"
	reasonSpent   = "its provider's rate limit is used up, but no other is left"
)

// choose returns a target of the first tier that has one that can be had, or -1.
func (t *Tries) choose(at int64) (int, string) {
	m := t.model
	for _, tier := range m.tiers {
		var free set
		var found, weights, last int
		var outstanding int64
		for i := tier.from; i < tier.to; i++ {
			if target := &m.Targets[i]; t.left.has(i) && target.state.free(at) {
				free.add(i)
				found, weights, last = found+1, weights+target.Weight, i
				outstanding += target.state.outstanding.Load()
			}
		}
		switch {
		case found == 0:
			continue
		case found == 1:
			return last, reasonOnly
		case t.key != 0:
			return m.nearest(tier, free, t.key, outstanding, weights)
		}
		return m.lessBusy(tier, free, weights, at)
	}
	return -1, ""
}

// nearest returns the target that belongs to the key, or where that is
// overloaded the next one that is not.
func (m *Model) nearest(tier tier, free set, key uint64, outstanding int64, weights int) (int, string) {
	home, nearest := -1, -1
	homeRank, nearestRank := math.Inf(1), math.Inf(1)
	for i := tier.from; i < tier.to; i++ {
		if !free.has(i) {
			continue
		}
		target := &m.Targets[i]
		rank := target.rank(key, nearestRank) // which is never below homeRank
		if rank < homeRank {
			home, homeRank = i, rank
		}
		if rank < nearestRank && !overloaded(target.state.outstanding.Load(), outstanding, target.Weight, weights) {
			nearest, nearestRank = i, rank
		}
	}
	switch {
	case nearest >= 0 && nearest != home:
		return nearest, reasonMoved
	case m.Affinity == SessionAffinity:
		return home, reasonSession
	}
	return home, reasonPrefix
}

// lessBusy draws two targets by weight and returns the one that has less to do
// for its weight ("the power of two choices", Mitzenmacher, 2001).
func (m *Model) lessBusy(tier tier, free set, weights int, at int64) (int, string) {
	a := m.draw(tier, free, weights)
	free.remove(a)
	x := &m.Targets[a]
	b := m.draw(tier, free, weights-x.Weight)
	y := &m.Targets[b]
	xWork, xSays := x.state.work(at)
	yWork, ySays := y.state.work(at)
	reason := reasonBusy
	if xSays || ySays {
		reason = reasonLoad
	}
	if yWork*float64(x.Weight) < xWork*float64(y.Weight) {
		return b, reason
	}
	return a, reason
}

func (m *Model) draw(tier tier, free set, weights int) int {
	at := int(m.random() % uint64(weights))
	last := -1
	for i := tier.from; i < tier.to; i++ {
		if !free.has(i) {
			continue
		}
		last = i
		if at -= m.Targets[i].Weight; at < 0 {
			break
		}
	}
	return last
}

// lastResort returns a target that has spent a limit and is not ejected, or the
// ejected one that is to come back first, or -1: one that may fail is better than
// a call that fails for sure. What is left of a limit is a word of the past, and
// a provider that means it says so again, with a Retry-After.
func (t *Tries) lastResort(at int64) (int, string) {
	best := -1
	for i := range t.model.Targets {
		s := t.model.Targets[i].state
		if t.left.has(i) && s.rest.Load() <= at && (best < 0 || s.until.Load() < t.model.Targets[best].state.until.Load()) {
			best = i
		}
	}
	if best >= 0 && t.model.Targets[best].state.until.Load() == 0 {
		return best, reasonSpent
	}
	return best, reasonLast
}

// resting is why no target is left.
func (t *Tries) resting(at int64) error {
	var first int64
	for i := range t.model.Targets {
		if rest := t.model.Targets[i].state.rest.Load(); t.left.has(i) && (first == 0 || rest < first) {
			first = rest
		}
	}
	if first == 0 {
		return nil
	}
	return &RestingError{Model: t.model.Name, After: max(time.Millisecond, time.Duration(first-at))}
}

// set is a set of targets, by place.
type set [MaxTargets / 64]uint64

func first(n int) (s set) {
	for i := 0; n > 0; i++ {
		s[i] = ^uint64(0)
		if n < 64 {
			s[i] = 1<<n - 1
		}
		n -= 64
	}
	return s
}

func (s *set) has(i int) bool { return s[i/64]>>(i%64)&1 == 1 }
func (s *set) add(i int)      { s[i/64] |= 1 << (i % 64) }
func (s *set) remove(i int)   { s[i/64] &^= 1 << (i % 64) }
func (s *set) empty() bool    { return *s == set{} }

func (s *set) count() (n int) {
	for _, word := range s {
		n += bits.OnesCount64(word)
	}
	return n
}
