package admit

import (
	"math"
	"math/bits"
	"time"
)

// Terms are what a limit allows: N calls or tokens in each Per and Burst at once; or
// Burst running calls, where N is 0.
type Terms struct {
	N     int64         `json:"n,omitempty"`
	Per   time.Duration `json:"per,omitempty"`
	Burst int64         `json:"burst"`
}

// slots tells whether the limit is of running calls, which come back.
func (t Terms) slots() bool { return t.N == 0 }

// span is how long a rate takes to bring tokens, in microseconds, rounded up.
func (t Terms) span(tokens int64) int64 {
	return mulDiv(tokens, t.Per.Microseconds(), t.N, true)
}

// bucket is a token bucket in whole tokens and microseconds, so that two that
// reckon with one never disagree by a rounding. (A token bucket admits what the
// generic cell rate algorithm of ITU-T I.371 does.)
type bucket struct {
	// Tokens are there at Since, a Unix time; what a rate brought before is in
	// them. Fewer than none are owed.
	Tokens int64 `json:"tokens"`
	Since  int64 `json:"since"`
}

// accrue adds what a rate brought until now, up to most tokens. Fractions stay
// in Since, rounded against whoever asks. A clock that went back brings nothing.
// Where most is less than nothing, since more is held than may be, what is there
// is kept, and what is owed is not paid beyond that.
func (b *bucket) accrue(t Terms, now, most int64) {
	most = max(min(0, b.Tokens), most)
	if now > b.Since {
		grown := mulDiv(now-b.Since, t.N, t.Per.Microseconds(), false)
		if grown >= most-b.Tokens {
			b.Since = now
			b.Tokens = max(b.Tokens, most)
		} else {
			b.Since += t.span(grown)
			b.Tokens += grown
		}
	}
	b.Tokens = min(b.Tokens, most)
}

// wait is how long it takes until there is one token more, and none is owed.
func (b *bucket) wait(t Terms, now int64) time.Duration {
	return micros(max(1, b.Since-now+min(t.span(max(1, 1-b.Tokens)), longestWait.Microseconds())))
}

// longestWait keeps a span of time from overflowing.
const longestWait = 100 * 365 * 24 * time.Hour

func micros(n int64) time.Duration {
	return time.Duration(min(n, longestWait.Microseconds())) * time.Microsecond
}

// mulDiv is a*b/c of numbers that are not negative, or the largest number where
// that does not fit.
func mulDiv(a, b, c int64, up bool) int64 {
	high, low := bits.Mul64(uint64(a), uint64(b))
	if high >= uint64(c) {
		return math.MaxInt64
	}
	n, rest := bits.Div64(high, low, uint64(c))
	if up && rest > 0 {
		n++
	}
	return int64(min(n, math.MaxInt64))
}
