package lease

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-gateway/weir/accounting"
)

// Config says how a Holder keeps its leases. All replicas on one store should
// have the same times.
type Config struct {
	Store Store
	// Now tells the time, with a monotonic reading as time.Now has. Nil is
	// time.Now, and costs each hold less.
	Now func() time.Time

	// Replica names a place with a spool of its own. Incarnation counts the
	// processes that ran there, from 1: the holder of a higher one fences all
	// before it.
	Replica     string
	Incarnation int64

	// TTL is how long a lease lasts without being renewed, by the store's
	// clock. The holder stops Skew before, by its own, which covers what one
	// clock may gain on the other in that time; their settings do not matter,
	// since each measures only spans. The store forfeits Grace after.
	TTL, Skew, Grace time.Duration
	// Idle is after how long without use a lease is given back.
	Idle time.Duration
	// Keep is how long after its end the store knows of a lease: longer than
	// any request, any call and any spool that waits to be replayed.
	Keep time.Duration
	// Timeout is how long the store may take to answer.
	Timeout time.Duration

	// Soft tells whether calls pass unheld and flagged when the store cannot
	// be reached and the window's slice is empty or expired. Nil is never:
	// then they are refused. No store that answers is overridden by it.
	Soft func(accounting.Window) bool
}

// Defaults returns a configuration that lacks what only its owner knows: Store,
// Replica and Incarnation. Soft are the budgets in shadow, which refuse nothing.
func Defaults() Config {
	return Config{
		TTL: 30 * time.Second, Skew: 2 * time.Second, Grace: 2 * time.Second,
		Idle: 5 * time.Second, Keep: 24 * time.Hour, Timeout: 2 * time.Second,
		Soft: func(w accounting.Window) bool { return w.Shadow },
	}
}

// Validate tells what is wrong with a configuration.
func (c *Config) Validate() error {
	switch {
	case c.Store == nil:
		return errors.New("a holder of leases needs a store")
	case c.Replica == "":
		return errors.New("a holder of leases needs the name of its replica, one that no other replica has")
	case c.Incarnation < 1:
		return fmt.Errorf("replica %q: incarnation %d is below 1: count the processes of a replica from 1", c.Replica, c.Incarnation)
	case c.Skew < 0 || c.Grace < 0 || c.TTL <= 2*c.Skew:
		return fmt.Errorf("replica %q: a lease of %v, stopped %v before its end, could not be renewed in time: let it last longer", c.Replica, c.TTL, c.Skew)
	case c.Idle < 0 || c.Keep < c.TTL || c.Timeout <= 0:
		return fmt.Errorf("replica %q: idle %v must not be negative, keep %v not below a lease's %v, and timeout %v above zero", c.Replica, c.Idle, c.Keep, c.TTL, c.Timeout)
	}
	return nil
}

// ErrUnavailable says that a hold needs the store, which cannot be reached.
var ErrUnavailable = errors.New("the budget cannot be asked now, and this replica has nothing left of it")

// A Holder owns a replica's leases and takes holds of them. It is safe for
// concurrent use.
type Holder struct {
	config Config
	start  time.Time

	shares sync.Map // window id to *share
	mu     sync.Mutex
	order  []*share // the same, as they came, guarded by mu

	number atomic.Int64 // of the last lease
	swept  atomic.Int64
}

// NewHolder makes a holder that has no leases yet. Its owner calls Tick or Run,
// and Close in the end.
func NewHolder(c Config) (*Holder, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	h := &Holder{config: c}
	h.start = h.now()
	return h, nil
}

func (h *Holder) now() time.Time {
	if h.config.Now == nil {
		return time.Now()
	}
	return h.config.Now()
}

// elapsed is the holder's clock: the time since it was made.
func (h *Holder) elapsed() time.Duration {
	if h.config.Now == nil {
		return time.Since(h.start) // reads one clock, where time.Now reads two
	}
	return h.config.Now().Sub(h.start)
}

func errAmount(window string, amount int64) error {
	return fmt.Errorf("claim on window %s: %d is negative, or more than can be held", window, amount)
}

// Take holds the amounts of all claims or of none. Where this replica has the
// room it takes neither a lock nor memory nor time on the network; where a
// window lacks it, it waits for one grant for all that do.
//
// It fails with *accounting.ExhaustedError where a window has no room, with
// ErrUnavailable where the store cannot be asked, with *FencedError where the
// replica has a newer process, and with the context's error. Then nothing is
// held, and the hold is the zero one again.
func (h *Holder) Take(ctx context.Context, hold *Hold, claims []accounting.Claim) error {
	hold.reset(h)
	now := h.elapsed()
	lacking := 0
	for i := range claims {
		c := &claims[i]
		if c.Amount < 0 || c.Amount > most {
			hold.End()
			return errAmount(c.Window.ID, c.Amount)
		}
		if v, ok := h.shares.Load(c.Window.ID); ok {
			s := v.(*share)
			// Another limit is the business of the slow path.
			if l := s.current.Load(); l != nil && s.limit.Load() == c.Window.Limit && l.take(c.Amount, now) {
				hold.parts = append(hold.parts, part{share: s, lease: l, held: c.Amount})
				continue
			}
		}
		hold.parts = append(hold.parts, part{})
		lacking++
	}
	if lacking == 0 {
		return nil
	}
	return h.takeSlowly(ctx, hold, claims, lacking)
}

func (h *Holder) takeSlowly(ctx context.Context, hold *Hold, claims []accounting.Claim, lacking int) error {
	needs := make([]need, 0, lacking)
	for i := range hold.parts {
		if hold.parts[i].lease == nil {
			needs = append(needs, need{index: i, amount: claims[i].Amount, share: h.share(claims[i].Window), window: claims[i].Window})
		}
	}
	if err := h.acquire(ctx, needs); err != nil {
		hold.End()
		return err
	}
	for _, n := range needs {
		p := &hold.parts[n.index]
		p.share, p.lease = n.share, n.lease
		if n.excess != nil {
			hold.excesses = append(hold.excesses, *n.excess)
		}
		if n.lease == nil {
			hold.unbacked = true
			continue
		}
		p.held = n.amount
	}
	return nil
}

// Tight tells whether a window had less room than was wished when this replica
// last asked for some.
func (h *Holder) Tight(window string) bool {
	v, ok := h.shares.Load(window)
	return ok && v.(*share).tight.Load()
}

// share finds the share of a window, or makes one.
func (h *Holder) share(w *accounting.Window) *share {
	if v, ok := h.shares.Load(w.ID); ok {
		return v.(*share)
	}
	s := newShare(*w, h.elapsed())
	h.mu.Lock()
	defer h.mu.Unlock()
	if v, loaded := h.shares.LoadOrStore(w.ID, s); loaded {
		return v.(*share)
	}
	h.order = append(h.order, s)
	return s
}
