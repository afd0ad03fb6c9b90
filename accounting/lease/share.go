package lease

import (
	"context"
	"math"
	"strings"
	"sync/atomic"
	"time"

	"github.com/weir-gateway/weir/accounting"
)

// most is the largest amount that is held at once. It keeps every total far
// from the end of 64 bits: in nanos it is a billion units of a currency.
const most = 1 << 60

// A lease is what the holder knows of one of its leases. Where
//
//	granted - returned = free + paid + settled + what its open holds hold
//
// the store's remainder is never less than free, the open holds and those
// settlements that are still on their way to it together: each step here
// comes after the store's where room is gained, and before it where it is lost.
type lease struct {
	// free may be held by anybody; it is far below zero once the lease is
	// retired. settled is what ended holds used of it.
	free    atomic.Int64
	settled atomic.Int64
	// debt is what uses took beyond the lease. Their windows have it as spent, so
	// what comes free pays it before anybody holds it again: paid waits to be
	// returned to the store.
	debt, paid atomic.Int64
	// until is when, by the holder's clock, it has to stop.
	until atomic.Int64
	_     [24]byte // the next cores' leases stay out of this cache line

	id     ID
	window string
	// The rest is guarded by the turn of the lease's share. Acked is how much
	// of returned the store has confirmed; renewed is when the last grant that
	// was answered had been asked for.
	granted, returned, acked int64
	renewed                  time.Duration
	// A retired lease has no new holds, and a forfeited one is retired because
	// the store said so. It is closing once its last hold has ended, and closed
	// when the store has heard that.
	retired, forfeited, closing, closed bool
}

// offset is added to free while a lease is retired, so that who has read the
// rest of the lease a moment ago cannot take of it any more.
const offset = -1 << 62

// take holds an amount.
func (l *lease) take(amount int64, now time.Duration) bool {
	if int64(now) >= l.until.Load() {
		return false
	}
	for {
		free := l.free.Load()
		if free < amount {
			return false
		}
		if l.free.CompareAndSwap(free, free-amount) {
			return true
		}
	}
}

// grab takes as much of an amount as is free, whether the lease runs or not:
// for a use that is a fact, or for a hold that the store has to confirm.
func (l *lease) grab(amount int64) int64 {
	for {
		free := l.free.Load()
		part := min(amount, free)
		if part <= 0 {
			return 0
		}
		if l.free.CompareAndSwap(free, free-part) {
			return part
		}
	}
}

// giveBack ends the part of a hold, of which some was used. What was used is
// counted first, so that open never says less than there is.
func (l *lease) giveBack(held, used int64) {
	covered := min(used, held)
	if covered > 0 {
		l.settled.Add(covered)
	}
	if used > covered {
		l.debt.Add(used - covered)
	}
	if held > covered {
		l.put(held - covered)
	}
}

// put frees an amount, but for what pays a debt.
func (l *lease) put(amount int64) {
	for {
		debt := l.debt.Load()
		part := min(amount, debt)
		if part <= 0 {
			break
		}
		if l.debt.CompareAndSwap(debt, debt-part) {
			l.paid.Add(part)
			amount -= part
		}
	}
	l.free.Add(amount)
}

// retire lets nobody take of the lease any more, and revive undoes that.
func (l *lease) retire() { l.retired = true; l.free.Add(offset) }
func (l *lease) revive() { l.retired = false; l.free.Add(-offset) }

// spare is what is free, retired or not.
func (l *lease) spare() int64 {
	free := l.free.Load()
	if l.retired {
		free -= offset
	}
	return free
}

// open is what open holds hold, or more while they end; of a retired lease,
// which no hold can take of, it is zero only where none is open.
func (l *lease) open() int64 {
	out := l.out() // read first, as giveBack adds to free last
	return out - l.settled.Load()
}

// out is what has gone out: what open holds hold and ended ones have used.
func (l *lease) out() int64 { return l.granted - l.returned - l.paid.Load() - l.spare() }

// repay counts what was paid as returned, and says how much that was.
func (l *lease) repay() int64 {
	paid := l.paid.Swap(0)
	l.returned += paid
	return paid
}

// release counts up to an amount of what is free as returned. From then on it
// is the store's, whenever it hears of it.
func (l *lease) release(amount int64) int64 {
	if !l.retired {
		amount = l.grab(amount)
	} else {
		amount = min(amount, l.spare()) // nobody else takes of it
		l.free.Add(-amount)
	}
	l.returned += amount
	return amount
}

// A share is what this replica has of one window.
type share struct {
	// current is the lease that new holds take of; nil where there is none.
	current atomic.Pointer[lease]
	// limit is the window's by which the current lease was granted.
	limit atomic.Int64
	// waiting is the sum of the holds that wait for the turn.
	waiting atomic.Int64
	// tight says that the window had less than was wished when it was last asked.
	tight atomic.Bool

	id     string
	single bool

	// turn is a lock that a call waits for no longer than its context lasts.
	// The rest is guarded by it.
	turn   chan struct{}
	window accounting.Window
	// old leases wait for the end of their holds, and for the store to hear it.
	old     []*lease
	dropped bool

	// The pace: how much has gone out of the current lease when it was last
	// measured, how much goes out a second, and when there last was any use.
	// The rate sizes slices; no money is counted by it.
	out              int64
	rate             float64
	measured, active time.Duration

	// What the store last said that holds for all who were waiting then.
	failed  failure
	refused refusal
}

// never is before every time.
const never = math.MinInt64

type failure struct {
	at  time.Duration
	err error
}

type refusal struct {
	at    time.Duration
	grant Grant
	room  int64 // that was left
}

func newShare(w accounting.Window, now time.Duration) *share {
	s := &share{
		id: w.ID, single: single(w),
		turn: make(chan struct{}, 1), window: w, measured: now, active: now,
		failed: failure{at: never}, refused: refusal{at: never},
	}
	s.limit.Store(w.Limit)
	return s
}

// single tells of windows that are never leased ahead of a hold: those of scopes
// of which there are so many that no replica should keep more of them than it
// holds, buckets of rolling windows, which are as many, and those that may grant
// what they have no room for, where each call is to be told of.
func single(w accounting.Window) bool {
	return strings.HasPrefix(w.Scope, string(PerEndUser)+"/") || strings.HasPrefix(w.Scope, string(PerSession)+"/") ||
		w.Series != "" || w.Shadow || w.Grace > 0
}

func (s *share) lock(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		return nil
	default:
	}
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *share) tryLock() bool {
	select {
	case s.turn <- struct{}{}:
		return true
	default:
		return false
	}
}

func (s *share) unlock() { <-s.turn }

// leave retires the current lease, if there is one.
func (s *share) leave() {
	if l := s.current.Load(); l != nil {
		s.current.Store(nil)
		l.retire()
		s.old = append(s.old, l)
		s.out = 0
	}
}

// slice is how much the share should have free: three times what goes out
// from one renewal to the next.
func (s *share) slice(renew time.Duration) int64 {
	if s.single {
		return 0
	}
	return int64(math.Min(3*s.rate*renew.Seconds(), most))
}

// measure learns the pace.
func (s *share) measure(now time.Duration) {
	var out int64
	if l := s.current.Load(); l != nil {
		out = l.out()
		if out != s.out || l.open() > 0 {
			s.active = now
		}
	}
	if dt := now - s.measured; dt > 0 {
		pace := float64(max(0, out-s.out)) / dt.Seconds()
		s.rate += (pace - s.rate) / 4
		s.measured = now
	}
	s.out = out
}
