package admit

import (
	"time"
)

// place is one rule at work on one value of what it counts by.
type place struct {
	tenant, policy, rule         string
	per, subject, project, value string
}

// count has the shares of a place: of its running calls and of its rates, each
// nil where the rule has no such limit. Running calls come first, since a call
// that finds no place to run has no use for the rates.
type count [3]*share

// The kinds of shares.
const (
	slots = iota
	requests
	tokens
)

// kinds are what a limit is of, in the scopes of a store.
var kinds = [...]string{slots: "concurrent", requests: "requests", tokens: "tokens"}

// share is what this replica may admit of a limit. Where there is no store that
// others share, it is the whole limit: a bucket of its own.
type share struct {
	kind   int
	terms  Terms
	bucket bucket
	// running is what running calls keep: their places, or the tokens that they
	// are thought to use.
	running int64
	// calls is how many running calls the share has to hear the end of, and ended
	// how often it ended before one of them; typical is the mean output of calls.
	// These are for tokens alone.
	calls, ended int64
	typical      float64

	// What follows is for a share of a Store's limit.

	scope, holder string
	// Totals, as in Ask and Answer, and how much of them the store was told.
	granted   int64
	sum, told Totals
	// expires is when what is left of it is used no more, and askAt the earliest
	// time at which the store may have more.
	expires, askAt time.Time
	// left is what the store last said that others may have.
	left int64

	// taken counts calls, or their tokens, since the last tick, low is the least
	// that was free since then, pace is how many it takes in a second.
	taken, low int64
	pace       float64

	// waiting is what calls want that wait for the flight, in which the share is
	// asked for more; nil where it is not queued.
	waiting int64
	flight  chan struct{}
}

// told is what a share said of itself in a flight.
type told struct {
	share  *share
	sum    Totals
	flight chan struct{}
}

// free is how many calls, or tokens, the share has for more calls.
func (s *share) free(now time.Time, alone bool) int64 {
	switch {
	case alone && s.kind == slots:
		return s.terms.Burst - s.running
	case alone:
		s.bucket.accrue(s.terms, now.UnixMicro(), s.terms.Burst-s.running)
		return s.bucket.Tokens
	case !now.Before(s.expires):
		return 0
	}
	return s.rest()
}

// rest is what is left of what was granted or overdrawn; less than nothing where
// the share had ended, and been given to others, while its calls were running.
func (s *share) rest() int64 {
	return s.granted + s.sum.Overdrawn - s.told.Overdrawn - s.sum.Used - s.sum.Returned - s.running
}

// take uses n of what is free, or all of that and overdraws.
func (s *share) take(n int64, alone bool) {
	switch {
	case s.kind == slots:
		s.running += n
	case s.kind == tokens:
		s.running += n
		s.calls++
		if alone {
			s.bucket.Tokens -= n
		} else {
			s.cover()
		}
	case alone:
		s.bucket.Tokens -= n
	default:
		s.sum.Used += n
	}
	s.taken += n
	s.low = min(s.low, s.rest())
}

// cover overdraws what was taken and is not there.
func (s *share) cover() { s.sum.Overdrawn += max(0, -s.rest()) }

// repay gives back what a call did not use, where some is owed: else what a call
// was wrongly thought to use, and was overdrawn, would be there for more of them.
// It tells whether there was any.
func (s *share) repay(n int64) bool {
	n = min(n, s.rest())
	if n <= 0 || s.left >= 0 && s.sum.Overdrawn == s.told.Overdrawn {
		return false
	}
	s.sum.Returned += n
	return true
}

// drop gives up what is left of a share that has ended: the store forgets it, and
// with it the tokens of its running calls.
func (s *share) drop() {
	if s.kind == tokens {
		s.sum.Used += s.running
		s.running = 0
		s.ended++
	}
	s.sum.Used += max(0, s.rest())
}

// idle tells whether a share that has ended can be forgotten.
func (s *share) idle() bool {
	return s.running == 0 && s.calls == 0 && s.flight == nil && s.sum.Overdrawn == s.told.Overdrawn
}

// horizon is for how long a share of a rate is to last: so short that what it
// has, at the pace of the whole limit, is an eighth of what may come at once.
func (s *share) horizon() time.Duration {
	return time.Duration(min(longestHorizon.Microseconds(), s.terms.span(s.terms.Burst)/8)) * time.Microsecond
}

// poll is how soon a store that had nothing left is asked again.
func (s *share) poll() time.Duration {
	if s.kind == slots {
		return longestPoll
	}
	return min(longestPoll, max(shortestPoll, 2*s.horizon()))
}

const (
	longestHorizon = 10 * time.Second

	shortestPoll = 10 * time.Millisecond
	longestPoll  = 250 * time.Millisecond
)

// wish is how much a share wants to have free.
func (s *share) wish() int64 {
	if s.kind == slots {
		return min(s.running/2, s.terms.Burst/8)
	}
	return max(int64(s.pace*s.horizon().Seconds()), min(s.taken-1, s.terms.Burst/8))
}

// due tells whether the store should hear of the share now, after a call.
func (s *share) due(now time.Time) bool {
	if s.kind != slots && 4*(s.sum.Used-s.told.Used) >= s.terms.Burst {
		return true // what is used and not told keeps the bucket from growing
	}
	if s.sum.Overdrawn > s.told.Overdrawn {
		return true // others still have what is owed
	}
	return 2*s.free(now, false) < s.wish() && !now.Before(s.askAt)
}

// tick looks at a share after a span of time, and tells whether the store
// should hear of it.
func (s *share) tick(now time.Time, since time.Duration) bool {
	free := s.free(now, false)
	s.pace = (s.pace + float64(s.taken)/since.Seconds()) / 2
	surplus := min(s.low, free)
	if s.kind != slots {
		surplus = free - int64(2*s.pace*s.horizon().Seconds())
	}
	s.sum.Returned += max(0, surplus)
	s.taken, s.low = 0, max(0, free-max(0, surplus))
	return s.sum.Returned > s.told.Returned || s.sum.Overdrawn > s.told.Overdrawn || free < 0 || s.running > 0 && s.expires.Sub(now) < renewAt
}

// ask is what the share tells the store.
func (s *share) ask(now time.Time) Ask {
	return Ask{
		Scope: s.scope, Holder: s.holder, Terms: s.terms, Totals: s.sum, Told: s.told,
		Want: max(0, s.waiting+s.wish()-s.free(now, false)),
	}
}
