package admit

import (
	"context"
	"maps"
	"time"
)

// A Store keeps the States of limits that several replicas share, each under
// its scope. It is safe for concurrent use.
type Store interface {
	// ShareRates does State.Ask for each of the asks, by the store's own clock,
	// and keeps what came of it: all or, where it fails, perhaps none. Nobody
	// else sees or changes a State meanwhile. The answers are in the order of the
	// asks, of which no two are about one scope.
	ShareRates(ctx context.Context, ttl time.Duration, asks []Ask) ([]Answer, error)
	// SweepRates forgets the States that are as good as new.
	SweepRates(ctx context.Context) error
}

// Totals are what became of a share. They only grow, so that an ask may be lost,
// late or doubled.
type Totals struct {
	// Used is what has gone for good: calls admitted, tokens that calls used, and
	// what was left when the share had ended. Returned is what the replica will not
	// use.
	Used     int64 `json:"used"`
	Returned int64 `json:"returned"`
	// Overdrawn is what the replica took without a grant, since it learnt too late
	// how many tokens a call uses. It is owed: until the rate has brought it, nobody
	// is granted more.
	Overdrawn int64 `json:"overdrawn,omitempty"`
}

// An Ask is what a replica tells of its share of a limit, and what it wants.
type Ask struct {
	Scope string
	// Holder names the share; no two shares ever have one name.
	Holder string
	Terms  Terms
	Totals
	// Told is what the store is known to have heard of them.
	Told Totals
	// Want is how much more the replica can use.
	Want int64
}

// An Answer is how a share stands.
type Answer struct {
	// Granted is a total like those of the ask, and has what was overdrawn: the
	// replica has what is neither used nor returned of it.
	Granted int64
	// Left is what others may still have, less than nothing where a rate is owed
	// some, and Wait how long it takes until a rate brings one more.
	Left int64
	Wait time.Duration
}

// State is a limit over all replicas: a bucket, and what each of them holds of
// it. Always
//
//	tokens + held by all <= burst
//
// and only the rate, by the store's clock, adds to that sum, so that in any
// stretch of time T no more than N*T/Per + Burst calls are admitted: not by the
// time at which tokens were granted, but at which they are used. Whoever holds a
// token keeps the bucket from growing in its place. What is overdrawn moves from
// the bucket, which may then have less than nothing, to what is held; so no more
// than N*T/Per + Burst and what is owed at the end are used. What a replica holds is
// forgotten, and not given back, when its share ends; the replica stops using it
// earlier.
//
// The zero value is a limit that nobody has used. It is kept as JSON.
type State struct {
	Terms
	bucket
	Holdings map[string]*Holding `json:"holdings"`
}

// Holding is the share of one replica. It holds Granted - Used - Returned.
type Holding struct {
	Granted int64 `json:"granted"`
	Totals
	// Expires is in microseconds of Unix time.
	Expires int64 `json:"expires"`
}

func (h *Holding) held() int64 { return h.Granted - h.Used - h.Returned }

// held is what all replicas hold together.
func (s *State) held() int64 {
	var n int64
	for _, h := range s.Holdings {
		n += h.held()
	}
	return n
}

// Ask tells the limit of a share, and grants the share more: all that it wants
// where the rest is enough for each replica to want as much, else its part.
func (s *State) Ask(a Ask, at time.Time, ttl time.Duration) Answer {
	now := at.UnixMicro()
	if s.Holdings == nil {
		*s = State{Terms: a.Terms, bucket: bucket{a.Terms.Burst, now}, Holdings: map[string]*Holding{}}
	}
	// First of all, since until now everything was held that is told and ends now.
	if !s.slots() && !a.Terms.slots() {
		s.accrue(s.Terms, now, s.Burst-s.held())
	}
	s.Terms = a.Terms
	maps.DeleteFunc(s.Holdings, func(_ string, h *Holding) bool { return h.Expires <= now })

	h := s.Holdings[a.Holder]
	if h == nil {
		// What it had is gone, save what it has overdrawn since it was heard of.
		h = &Holding{Granted: a.Told.Used + a.Returned, Totals: Totals{a.Told.Used, a.Returned, a.Told.Overdrawn}}
		s.Holdings[a.Holder] = h
	}
	h.Expires = max(h.Expires, now+ttl.Microseconds())
	owed := max(0, a.Overdrawn-h.Overdrawn)
	s.Tokens -= owed
	held := h.held() + owed
	used := min(held, max(0, a.Used-h.Used))
	back := min(held-used, max(0, a.Returned-h.Returned)) // no more than was held
	h.Totals = Totals{max(h.Used, a.Used), max(h.Returned, a.Returned), max(h.Overdrawn, a.Overdrawn)}
	h.Granted = h.Used + h.Returned + held - used - back

	free := s.Burst - s.held()
	if s.slots() {
		s.Tokens = free
	} else {
		s.Tokens = min(s.Tokens+back, max(0, free))
	}
	part := max(1, s.Tokens/int64(len(s.Holdings)))
	grow := max(0, min(a.Want, s.Tokens, part))
	h.Granted += grow
	s.Tokens -= grow
	if s.slots() {
		return Answer{Granted: h.Granted, Left: max(0, s.Tokens)}
	}
	return Answer{Granted: h.Granted, Left: s.Tokens, Wait: s.wait(s.Terms, now)}
}

// Idle is when the limit will be as good as new, if nobody uses it.
func (s *State) Idle() time.Time {
	var at int64
	for _, h := range s.Holdings {
		at = max(at, h.Expires)
	}
	if !s.slots() {
		// What is held then ends, and only then the bucket grows to the full.
		at += min(s.span(s.Burst-s.Tokens), 1<<53)
	}
	return time.UnixMicro(at)
}
