package route

import (
	"context"
	"errors"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-gateway/weir/server/backend"
)

// When a target is ejected, and for how long. The history of a target is its
// last 63 calls.
const (
	failuresInARow = 5                // eject
	fewCalls       = 20               // judge no rate of failures by less than these
	firstEjection  = 5 * time.Second  // twice as long each time,
	longest        = 5 * time.Minute  // up to this,
	forgiven       = 10 * time.Minute // and as at first once it has been back so long
	mostEjected    = 0.8              // the share of a model's targets that may be ejected, rounded down
)

// state is what is known of a target. The models that have it share it.
type state struct {
	outstanding atomic.Int64
	// until is when an ejected target may be tested, 0 where it is not ejected;
	// rest is how long it has asked to be left alone. Both in Unix nanoseconds.
	until, rest atomic.Int64
	// spent is until when nothing is left of a limit that its provider sets us, in
	// Unix nanoseconds; load is the last report of how busy it is, nil before one.
	spent   atomic.Int64
	load    atomic.Pointer[report]
	probing atomic.Bool
	// history has a bit for each call, the last one lowest, set where it failed;
	// a set bit above them marks where they begin.
	history atomic.Uint64
	latency atomic.Int64 // until a first sign of life, smoothed, in nanoseconds

	fleet *fleet
	// Under the fleet's lock.
	peers     [][]*state // the targets of each model that has it
	ejections int
	back      int64 // when it came back
	why       string
}

// fleet is all targets. Its lock is taken when one is ejected or comes back.
type fleet struct {
	mu     sync.Mutex
	states map[place]*state
}

type place struct {
	backend, model string
	edition        uint64
}

// join gives the targets of a router their states, and forgets those that it
// does not have.
func (f *fleet) join(r *Router) {
	f.mu.Lock()
	defer f.mu.Unlock()
	old := f.states
	f.states = map[place]*state{}
	for _, name := range r.names {
		m := r.models[name]
		group := make([]*state, len(m.Targets))
		for i := range m.Targets {
			t := &m.Targets[i]
			at := place{t.Name, t.Model, t.Edition}
			s := f.states[at]
			if s == nil {
				if s = old[at]; s == nil {
					s = &state{fleet: f}
					s.history.Store(1)
				}
				s.peers = nil
				f.states[at] = s
			}
			t.state, group[i] = s, s
		}
		for _, s := range group {
			s.peers = append(s.peers, group)
		}
	}
}

// free tells whether calls may go to the target: it neither rests nor has it
// spent a limit nor is it ejected, or it is time for one to test it.
func (s *state) free(at int64) bool {
	if s.rest.Load() > at || s.spent.Load() > at {
		return false
	}
	until := s.until.Load()
	return until == 0 || until <= at && !s.probing.Load()
}

// Answered tells that the backend has said something. A target that was ejected
// is back then.
func (t *Try) Answered(now time.Time) {
	if t.answered {
		return
	}
	t.answered = true
	took := now.Sub(t.start)
	if before := t.state.latency.Load(); before != 0 {
		took = time.Duration(before) + (took-time.Duration(before))/8
	}
	t.state.latency.Store(int64(took))
	if t.ejected {
		t.state.readmit(now)
	}
}

// Done tells how the try ended: by the failure of its backend, or nil where
// that did what it should. It counts once.
func (t *Try) Done(now time.Time, err error) {
	if t.done {
		return
	}
	t.done = true
	s := t.state
	s.outstanding.Add(-1)
	switch sign, rest := judge(err); {
	case rest > 0:
		later(&s.rest, now.Add(rest))
	case sign == well:
		t.Answered(now)
		s.remember(0)
	case sign == ill:
		s.fail(now, string(backend.ClassOf(err)), t.probe && !t.answered)
	}
	if t.probe && !t.answered {
		s.probing.Store(false)
	}
}

// A sign is what the end of a call says of its backend.
type sign uint8

const (
	silent sign = iota
	well
	ill
)

// judge tells what an error says of its backend, and how long that asks to be
// left alone.
func judge(err error) (s sign, rest time.Duration) {
	if err == nil {
		return well, 0
	}
	var e *backend.Error
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), !errors.As(err, &e):
		return silent, 0
	case e.Class == backend.Rejected, e.Class == backend.ContextExceeded:
		return well, 0 // it has read the request, and was right
	case (e.Class == backend.RateLimited || e.Class == backend.Overloaded) && e.RetryAfter > 0:
		return silent, e.RetryAfter
	}
	return ill, 0
}

// later puts a time off.
func later(to *atomic.Int64, t time.Time) {
	at := t.UnixNano()
	for {
		before := to.Load()
		if before >= at || to.CompareAndSwap(before, at) {
			return
		}
	}
}

// remember adds a call to the history.
func (s *state) remember(failed uint64) uint64 {
	for {
		old := s.history.Load()
		next := old<<1 | failed | old&(1<<63)
		if s.history.CompareAndSwap(old, next) {
			return next
		}
	}
}

func (s *state) fail(now time.Time, why string, probe bool) {
	history := s.remember(1)
	if s.until.Load() != 0 && !probe {
		return // it is known already
	}
	calls := bits.Len64(history) - 1
	inARow := min(bits.TrailingZeros64(^history), calls)
	failures := bits.OnesCount64(history) - 1
	if !probe && inARow < failuresInARow && (calls < fewCalls || 2*failures <= calls) {
		return
	}
	s.fleet.mu.Lock()
	defer s.fleet.mu.Unlock()
	if s.until.Load() == 0 && !s.expendable() {
		return
	}
	if s.back != 0 && now.UnixNano()-s.back > int64(forgiven) {
		s.ejections = 0
	}
	length := longest
	if s.ejections < 10 {
		length = min(longest, firstEjection<<s.ejections)
	}
	s.ejections++
	s.back, s.why = 0, why
	s.history.Store(1)
	s.until.Store(now.Add(length).UnixNano())
}

// expendable tells whether every model that has the target keeps enough others.
func (s *state) expendable() bool {
	for _, group := range s.peers {
		ejected := 1
		for _, peer := range group {
			if peer.until.Load() != 0 {
				ejected++
			}
		}
		if ejected > int(mostEjected*float64(len(group))) {
			return false
		}
	}
	return true
}

func (s *state) readmit(now time.Time) {
	s.fleet.mu.Lock()
	defer s.fleet.mu.Unlock()
	s.history.Store(1)
	s.until.Store(0)
	s.back, s.why = now.UnixNano(), ""
	s.probing.Store(false)
}
