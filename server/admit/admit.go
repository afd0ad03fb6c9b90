// Package admit gives a call its place in flight, or says when to come again:
// request rates and concurrency, as the policies of its tenant set them. It
// counts calls; it knows neither money nor text. Each replica counts for
// itself.
package admit

import (
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/weir-gateway/weir/policy"
)

// A LimitError says that a rate leaves no place. Nothing was taken.
type LimitError struct {
	// Subject is whose limit it is, such as "key k1 of tenant acme", Policy and
	// Rule where it is set.
	Subject string
	Policy  string
	Rule    string
	// Limit says what the rule allows.
	Limit string
	// RetryAfter is when there will be a place, if nobody else takes it; for
	// concurrency, which depends on running calls, it is a guess.
	RetryAfter time.Duration
	// Rate is how the request rate stands, nil where the limit is of running
	// calls.
	Rate *Standing
}

// Standing is a request rate at a moment.
type Standing struct {
	// Limit is the burst that the rate allows, Remaining what is left of it now.
	Limit, Remaining int64
	// Reset is how long it takes until all of it is there again.
	Reset time.Duration
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("rule %q of policy %q limits %s to %s: try again in %s", e.Rule, e.Policy, e.Subject, e.Limit, e.RetryAfter.Round(time.Millisecond))
}

// busyRetry is the guess of when a running call ends.
const busyRetry = time.Second

// Limiter keeps the counts. The zero value is not ready: use New. It is safe
// for concurrent use.
type Limiter struct {
	now    func() time.Time
	mu     sync.Mutex
	places map[place]*count
	// sweepAt is how many places there may be before those that nobody holds
	// and that are full again are forgotten.
	sweepAt int
}

// place is one rule at work on one value of what it counts by.
type place struct{ tenant, policy, rule, value string }

type count struct {
	requests *rate.Limiter // nil where the rule has no rate
	quota    policy.Quota
	burst    int64
	inFlight int64
}

const firstSweep = 10_000

// New makes a limiter that nobody has used yet.
func New(now func() time.Time) *Limiter {
	return &Limiter{now: now, places: map[place]*count{}, sweepAt: firstSweep}
}

// Admit takes a place under every rate, or none of them and fails with
// *LimitError. The func it returns gives the place back; it must be called
// once, when the call has ended. What was taken of a request rate stays taken.
func (l *Limiter) Admit(s policy.Subject, rates []policy.BoundRate) (leave func(), err error) {
	if len(rates) == 0 {
		return func() {}, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	taken := make([]*count, 0, len(rates))
	var reserved []*rate.Reservation
	giveBack := func() {
		for _, c := range taken {
			c.inFlight--
		}
		for _, r := range reserved {
			r.CancelAt(now)
		}
	}
	for _, r := range rates {
		value, counts := scope(s, r.Per)
		if !counts {
			continue
		}
		c := l.count(place{r.Tenant, r.Policy, r.ID, value}, r, now)
		refuse := func(limit string, after time.Duration, rate *Standing) error {
			giveBack()
			return &LimitError{Rate: rate, Subject: describe(s, r.Per), Policy: r.Policy, Rule: r.ID, Limit: limit, RetryAfter: after}
		}
		if r.Concurrent != nil && c.inFlight >= *r.Concurrent {
			return nil, refuse(fmt.Sprintf("%d running calls", *r.Concurrent), busyRetry, nil)
		}
		if c.requests != nil {
			reservation := c.requests.ReserveN(now, 1)
			if wait := reservation.DelayFrom(now); wait > 0 {
				reservation.CancelAt(now)
				return nil, refuse("a request rate of "+r.Requests.String(), wait, c.standing(now))
			}
			reserved = append(reserved, reservation)
		}
		c.inFlight++
		taken = append(taken, c)
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, c := range taken {
			c.inFlight--
		}
	}, nil
}

// count returns the count of a place, made to fit the rule as it is now: a
// changed limit takes what was used along.
func (l *Limiter) count(p place, r policy.BoundRate, now time.Time) *count {
	c := l.places[p]
	if c == nil {
		if len(l.places) >= l.sweepAt {
			l.sweep(now)
		}
		c = &count{}
		l.places[p] = c
	}
	if r.Requests == nil {
		c.requests = nil
		return c
	}
	burst := r.Requests.N
	if r.Burst != nil {
		burst = *r.Burst
	}
	perSecond := rate.Limit(float64(r.Requests.N) / r.Requests.Per.Seconds())
	switch {
	case c.requests == nil:
		c.requests = rate.NewLimiter(perSecond, int(burst))
	case c.quota != *r.Requests || c.burst != burst:
		c.requests.SetLimitAt(now, perSecond)
		c.requests.SetBurstAt(now, int(burst))
	}
	c.quota, c.burst = *r.Requests, burst
	return c
}

// standing tells how a place's request rate stands.
func (c *count) standing(now time.Time) *Standing {
	left := c.requests.TokensAt(now)
	missing := float64(c.burst) - left
	return &Standing{
		Limit: c.burst, Remaining: max(0, int64(left)),
		Reset: time.Duration(missing / float64(c.requests.Limit()) * float64(time.Second)),
	}
}

// sweep forgets the places that are as good as new.
func (l *Limiter) sweep(now time.Time) {
	for p, c := range l.places {
		if c.inFlight == 0 && (c.requests == nil || c.requests.TokensAt(now) >= float64(c.burst)) {
			delete(l.places, p)
		}
	}
	l.sweepAt = max(firstSweep, 2*len(l.places))
}

// scope is the value that a rule counts by, and whether the subject has one.
func scope(s policy.Subject, per string) (value string, counts bool) {
	switch per {
	case "tenant":
		return s.Tenant, true
	case "project":
		return s.Tenant + "/" + s.Project, true
	case "key":
		return s.Tenant + "/" + s.Project + "/" + s.Key, true
	case "end_user":
		return s.Tenant + "/" + s.EndUser, s.EndUser != ""
	}
	return "", false
}

func describe(s policy.Subject, per string) string {
	switch per {
	case "project":
		return fmt.Sprintf("project %q of tenant %q", s.Project, s.Tenant)
	case "key":
		return fmt.Sprintf("key %q of tenant %q", s.Key, s.Tenant)
	case "end_user":
		return fmt.Sprintf("end user %q of tenant %q", s.EndUser, s.Tenant)
	}
	return fmt.Sprintf("tenant %q", s.Tenant)
}
