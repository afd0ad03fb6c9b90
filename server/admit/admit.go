// Package admit gives a call its place in flight, or says when to come again:
// rates of requests and of tokens, and concurrency, as the policies of its tenant
// set them. It counts; it knows neither money, text nor a database.
//
// A process that has its store for itself counts for itself. Replicas that share
// a store share each limit: the store keeps a bucket, State, and each replica
// holds some of what is in it, share, of which it admits calls without asking
// anybody. It asks for more before that is used up, tells what it used, and
// gives back what it has no use for. A call waits for the store only where the
// share is empty and the store may have more. While the store is away what is
// held is used up, and then calls are refused.
package admit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

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
	// RetryAfter is when there will be a place under every rate, if nobody else
	// takes it: by what a replica last heard of the store. For concurrency, which
	// depends on running calls, it is a guess. Of several rates without a place the
	// error is about the one that takes the longest.
	RetryAfter time.Duration
	// Rate is how the rate stands, nil where the limit is of running calls.
	Rate *Standing
	// Away says that there may be a place, and that the store which knows does
	// not answer. RetryAfter is then when it is asked again.
	Away bool
}

// Standing is a rate at a moment.
type Standing struct {
	// Tokens tells whether the rate is of tokens, not of requests.
	Tokens bool
	// Limit is the burst that the rate allows, Remaining what is left of it now.
	Limit, Remaining int64
	// Reset is how long it takes until all of it is there again.
	Reset time.Duration
}

func (e *LimitError) Error() string {
	why := ""
	if e.Away {
		why = ", of which this replica has used up its share, and the database that has the rest does not answer"
	}
	return fmt.Sprintf("rule %q of policy %q limits %s to %s%s: try again in %s", e.Rule, e.Policy, e.Subject, e.Limit, why, e.RetryAfter.Round(time.Millisecond))
}

// busyRetry is the guess of when a running call ends.
const busyRetry = time.Second

// Limiter keeps the counts. The zero value is not ready: use New or NewReplica.
// It is safe for concurrent use.
type Limiter struct {
	now func() time.Time
	// store is nil where this process counts for itself, and holder names it among
	// the replicas of the store.
	store  Store
	holder string

	mu     sync.Mutex
	places map[place]*count
	// sweepAt is how many places there may be before those that are as good as new
	// are forgotten.
	sweepAt int

	// born counts shares, queue has those that the store should hear of, and wake
	// tells Run of them. Until away the store is not asked; fails is how often in a
	// row it did not answer. ticked is the last tick.
	born   int64
	queue  []*share
	wake   chan struct{}
	away   time.Time
	fails  int
	ticked time.Time

	// air is held while the store is asked, one after the other, and until Close
	// has ended it.
	air    sync.Mutex
	closed bool
}

const firstSweep = 10_000

// New makes a limiter that counts for itself and that nobody has used yet.
func New(now func() time.Time) *Limiter {
	return &Limiter{now: now, places: map[place]*count{}, sweepAt: firstSweep, wake: make(chan struct{}, 1), ticked: now()}
}

// NewReplica makes a limiter that shares its limits with all others on a store.
// No two of them, now or before, have one holder's name. Run has to run beside
// it.
func NewReplica(now func() time.Time, store Store, holder string) *Limiter {
	l := New(now)
	l.store, l.holder = store, holder
	return l
}

// An Estimate is how many tokens a call is thought to use.
type Estimate struct {
	// Input is of the prompt, and MaxOutput the most that is asked for. A call with
	// neither takes nothing of token rates.
	Input, MaxOutput int64
}

// firstOutput is how many tokens an answer is thought to have before any has
// ended, and learn the weight of each that has in the mean.
const (
	firstOutput = 256
	learn       = 1.0 / 16
)

// of is how many tokens a call takes of a share until it has ended: its input,
// and the output that calls had lately. What callers ask for at most is far more
// than they get as a rule, and what running calls hold the rate does not bring.
func (e Estimate) of(sh *share) int64 {
	typical := int64(firstOutput)
	if sh.typical > 0 {
		typical = int64(sh.typical)
	}
	return e.Input + min(max(0, e.MaxOutput), typical)
}

// need is what a call takes of a share.
func (e Estimate) need(sh *share) int64 {
	if sh.kind == tokens {
		return e.of(sh)
	}
	return 1
}

// Leave ends a call, which has used so many tokens. It is called once.
type Leave func(used int64)

// Admit takes a place under every rate, or none of them and fails with
// *LimitError, or with the context's error where it ended before the store had
// answered. What was taken of a request rate stays taken when the call leaves; of
// a token rate stays what it used.
//
// A call needs one token to be admitted, however large it is, and takes its
// estimate, so that small ones never keep a large one out. What was not there is
// overdrawn: the rate brings it before anybody is admitted again.
func (l *Limiter) Admit(ctx context.Context, s policy.Subject, rates []policy.BoundRate, estimate Estimate) (Leave, error) {
	if len(rates) == 0 {
		return func(int64) {}, nil
	}
	for {
		leave, flight, err := l.try(s, rates, estimate)
		if flight == nil {
			return leave, err
		}
		select {
		case <-flight:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// try admits a call, refuses it, or returns the end of the flight after which
// it has to try again.
func (l *Limiter) try(s policy.Subject, rates []policy.BoundRate, estimate Estimate) (leave Leave, flight <-chan struct{}, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, alone := l.now(), l.store == nil
	var space [8]*share
	shares, lacking := space[:0], false
	var refusal *LimitError
	for i := range rates {
		r := &rates[i]
		p, counts := placeOf(s, r)
		if !counts {
			continue
		}
		for _, sh := range l.count(p, r, now) {
			if sh == nil || sh.kind == tokens && estimate == (Estimate{}) {
				continue
			}
			shares = append(shares, sh)
			if sh.free(now, alone) > 0 {
				continue
			}
			e := l.refusal(sh, now)
			if e == nil {
				lacking = true
			} else if refusal == nil || e.RetryAfter > refusal.RetryAfter {
				refusal = e
				refusal.Subject, refusal.Policy, refusal.Rule = describe(s, r.Per), r.Policy, r.ID
			}
		}
	}
	if refusal != nil {
		return nil, nil, refusal
	}
	if lacking {
		for _, sh := range shares {
			if sh.free(now, alone) <= 0 {
				sh.waiting += estimate.need(sh)
				flight = l.enqueue(sh)
			}
		}
		return nil, flight, nil
	}
	var running []taken
	for _, sh := range shares {
		n := estimate.need(sh)
		sh.take(n, alone)
		if sh.kind != requests {
			running = append(running, taken{sh, n, sh.ended})
		}
		if !alone && sh.due(now) {
			l.enqueue(sh)
		}
	}
	if running == nil {
		return func(int64) {}, nil, nil
	}
	return func(used int64) {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, t := range running {
			if t.share.kind == slots {
				t.share.running--
			} else {
				l.settle(t, used, max(0, used-estimate.Input))
			}
		}
	}, nil, nil
}

// taken is what a running call has of a share.
type taken struct {
	share *share
	n     int64
	ended int64 // as the share's was
}

// settle puts the tokens that a call used in the place of those that it took.
func (l *Limiter) settle(t taken, used, output int64) {
	sh, now := t.share, l.now()
	sh.calls--
	if output > 0 {
		if sh.typical == 0 {
			sh.typical = float64(output)
		}
		sh.typical += learn * (float64(output) - sh.typical)
	}
	if l.store == nil {
		sh.free(now, true) // what the rate brought while the call ran
		sh.running -= t.n
		sh.bucket.Tokens += t.n - used
		return
	}
	if !now.Before(sh.expires) {
		sh.drop()
	}
	if t.ended == sh.ended {
		sh.running -= t.n
	} // else what it took is gone with the share, and may be there again for others
	sh.sum.Used += used
	sh.cover()
	repaid := sh.repay(t.n - used)
	if repaid || sh.due(now) {
		l.enqueue(sh)
	}
}

// refusal says why a share that is empty has no place for a call, or nothing
// where the store may have one.
func (l *Limiter) refusal(sh *share, now time.Time) *LimitError {
	e := &LimitError{}
	switch {
	case l.store == nil && sh.kind != slots:
		e.RetryAfter = sh.bucket.wait(sh.terms, now.UnixMicro())
	case l.store == nil:
		e.RetryAfter = busyRetry
	case now.Before(sh.askAt) && !sh.askAt.Before(l.away):
		e.RetryAfter = sh.askAt.Sub(now)
	case now.Before(l.away):
		e.Away, e.RetryAfter = true, l.away.Sub(now)
	default:
		return nil
	}
	if sh.kind == slots {
		e.Limit = fmt.Sprintf("%d running calls", sh.terms.Burst)
		e.RetryAfter = max(e.RetryAfter, busyRetry)
		return e
	}
	e.Limit = "a request rate of "
	if sh.kind == tokens {
		e.Limit = "a token rate of "
		if sh.running >= sh.terms.Burst { // the rate brings nothing before one of them has ended
			e.RetryAfter = max(e.RetryAfter, busyRetry)
		}
	}
	e.Limit += policy.Quota{N: sh.terms.N, Per: sh.terms.Per}.String()
	left := sh.left
	if l.store == nil {
		left = sh.bucket.Tokens
	}
	e.Rate = &Standing{Tokens: sh.kind == tokens, Limit: sh.terms.Burst, Remaining: max(0, left), Reset: micros(sh.terms.span(sh.terms.Burst - left))}
	return e
}

// count returns the shares of a place, made to fit the rule as it is now: a
// changed limit takes what was used along.
func (l *Limiter) count(p place, r *policy.BoundRate, now time.Time) *count {
	c := l.places[p]
	if c == nil {
		if l.store == nil && len(l.places) >= l.sweepAt {
			l.sweep(now)
		}
		c = &count{}
		l.places[p] = c
	}
	for kind, sh := range c {
		terms, limits := termsOf(r, kind)
		switch {
		case !limits:
			c[kind] = nil
		case sh == nil:
			c[kind] = &share{terms: terms, kind: kind, bucket: bucket{terms.Burst, now.UnixMicro()}}
			if l.store != nil {
				l.born++
				c[kind].scope, c[kind].holder = p.scope(kind), fmt.Sprintf("%s/%d", l.holder, l.born)
			}
		case sh.terms != terms:
			sh.free(now, l.store == nil) // what the old terms brought
			sh.terms, sh.askAt = terms, time.Time{}
		}
	}
	return c
}

// sweep forgets the places of one who counts for itself that are as good as new.
func (l *Limiter) sweep(now time.Time) {
	for p, c := range l.places {
		used := func(sh *share) bool { return sh != nil && (sh.running > 0 || sh.free(now, true) < sh.terms.Burst) }
		if !slices.ContainsFunc(c[:], used) {
			delete(l.places, p)
		}
	}
	l.sweepAt = max(firstSweep, 2*len(l.places))
}

// termsOf is one of the limits of a rate, and whether it has it.
func termsOf(r *policy.BoundRate, kind int) (Terms, bool) {
	switch {
	case kind == slots && r.Concurrent != nil:
		return Terms{Burst: *r.Concurrent}, true
	case kind == requests && r.Requests != nil:
		return termsOfQuota(*r.Requests, r.Burst), true
	case kind == tokens && r.Tokens != nil:
		return termsOfQuota(*r.Tokens, r.TokenBurst), true
	}
	return Terms{}, false
}

func termsOfQuota(q policy.Quota, burst *int64) Terms {
	t := Terms{N: q.N, Per: q.Per, Burst: q.N}
	if burst != nil {
		t.Burst = *burst
	}
	return t
}

// placeOf is where a rate counts a subject, and whether it does.
func placeOf(s policy.Subject, r *policy.BoundRate) (place, bool) {
	p := place{tenant: r.Tenant, policy: r.Policy, rule: r.ID, per: r.Per, subject: s.Tenant}
	switch r.Per {
	case "tenant":
		return p, true
	case "project":
		p.project = s.Project
		return p, true
	case "key":
		p.project, p.value = s.Project, s.Key
		return p, true
	case "end_user":
		p.value = s.EndUser
		return p, s.EndUser != ""
	}
	return p, false
}

// scope names one of the counts of a place in a store, in a way that no two
// share.
func (p *place) scope(kind int) string {
	parts := []string{p.tenant, p.policy, p.rule, kinds[kind], p.per, p.subject, p.project, p.value}
	for i, part := range parts {
		if len(part) > longestName {
			sum := sha256.Sum256([]byte(part))
			part = "~" + hex.EncodeToString(sum[:])
		} else {
			part = url.PathEscape(part)
		}
		parts[i] = part
	}
	return strings.Join(parts, "/")
}

// longestName is from how many bytes on a name gives way to its hash.
const longestName = 100

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
