package admit

import (
	"time"
)

// place is one rule at work on one value of what it counts by.
type place struct {
	tenant, policy, rule         string
	per, subject, project, value string
}

// count has the shares of a place: of its running calls and of its rate, each
// nil where the rule has no such limit. Running calls come first, since a call
// that finds no place to run has no use for the rate.
type count [2]*share

const slots = 0

// share is what this replica may admit of a limit. Where there is no store that
// others share, it is the whole limit: a bucket of its own.
type share struct {
	// slots tells whether the limit is of running calls, which come back.
	slots   bool
	terms   Terms
	bucket  bucket
	running int64

	// What follows is for a share of a Store's limit.

	scope, holder string
	// Totals, as in Ask and Answer, and how much of them the store was told.
	granted, used, returned int64
	toldUsed, toldReturned  int64
	// expires is when what is left of it is used no more, and askAt the earliest
	// time at which the store may have more.
	expires, askAt time.Time
	// left is what the store last said that others may have.
	left int64

	// taken counts calls since the last tick, low is the least that was free since
	// then, pace is calls in a second.
	taken, low int64
	pace       float64

	// waiting is how many calls wait for the flight, in which the share is asked
	// for more; nil where it is not queued.
	waiting int64
	flight  chan struct{}
}

// told is what a share said of itself in a flight.
type told struct {
	share          *share
	used, returned int64
	flight         chan struct{}
}

// free is how many calls the share admits now.
func (s *share) free(now time.Time, alone bool) int64 {
	switch {
	case alone && s.slots:
		return s.terms.Burst - s.running
	case alone:
		s.bucket.accrue(s.terms, now.UnixMicro(), s.terms.Burst)
		return s.bucket.Tokens
	case !now.Before(s.expires):
		return 0
	}
	return s.rest()
}

// rest is what is left of what was granted; less than nothing where the share
// had ended, and been given to others, while its calls were running.
func (s *share) rest() int64 { return s.granted - s.used - s.returned - s.running }

// take uses one of what is free.
func (s *share) take(alone bool) {
	switch {
	case s.slots:
		s.running++
	case alone:
		s.bucket.Tokens--
	default:
		s.used++
	}
	s.taken++
	s.low = min(s.low, s.rest())
}

// drop gives up what is free of a share that has ended: the store forgets it.
func (s *share) drop() {
	s.used += max(0, s.rest())
}

// horizon is for how long a share of a rate is to last: so short that what it
// has, at the pace of the whole limit, is an eighth of what may come at once.
func (s *share) horizon() time.Duration {
	return time.Duration(min(longestHorizon.Microseconds(), s.terms.span(s.terms.Burst)/8)) * time.Microsecond
}

// poll is how soon a store that had nothing left is asked again.
func (s *share) poll() time.Duration {
	if s.slots {
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
	if s.slots {
		return min(s.running/2, s.terms.Burst/8)
	}
	return max(int64(s.pace*s.horizon().Seconds()), min(s.taken-1, s.terms.Burst/8))
}

// due tells whether the store should hear of the share now, after a call.
func (s *share) due(now time.Time) bool {
	if !s.slots && 4*(s.used-s.toldUsed) >= s.terms.Burst {
		return true // what is used and not told keeps the bucket from growing
	}
	return 2*s.free(now, false) < s.wish() && !now.Before(s.askAt)
}

// tick looks at a share after a span of time, and tells whether the store
// should hear of it.
func (s *share) tick(now time.Time, since time.Duration) bool {
	free := s.free(now, false)
	s.pace = (s.pace + float64(s.taken)/since.Seconds()) / 2
	surplus := min(s.low, free)
	if !s.slots {
		surplus = free - int64(2*s.pace*s.horizon().Seconds())
	}
	s.returned += max(0, surplus)
	s.taken, s.low = 0, max(0, free-max(0, surplus))
	return s.returned > s.toldReturned || free < 0 || s.running > 0 && s.expires.Sub(now) < renewAt
}

// ask is what the share tells the store.
func (s *share) ask(now time.Time) Ask {
	return Ask{
		Scope: s.scope, Holder: s.holder, Terms: s.terms, Used: s.used, Returned: s.returned,
		Want: max(0, s.waiting+s.wish()-s.free(now, false)),
	}
}
