package lease

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-gateway/weir/accounting"
)

// slow is a store that takes its time, as a network does.
type slow struct {
	*model
	takes time.Duration
	asked atomic.Int64
	down  atomic.Bool
}

func (s *slow) Grant(ctx context.Context, ttl time.Duration, wants []Want) ([]Grant, error) {
	s.asked.Add(1)
	select {
	case <-time.After(s.takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if s.down.Load() {
		return nil, errors.New("connection refused")
	}
	return s.model.Grant(ctx, ttl, wants)
}

func newSlow(t *testing.T, takes time.Duration) (*slow, *Holder) {
	s := &slow{model: newModel(time.Now), takes: takes}
	c := Defaults()
	c.Store, c.Replica, c.Incarnation = s, "r", 1
	h, err := NewHolder(c)
	if err != nil {
		t.Fatal(err)
	}
	return s, h
}

// Those who come while one is asking share its answer, whatever it is.
func TestAThousandCallsAtOnceAskAFewTimes(t *testing.T) {
	for name, c := range map[string]struct {
		limit int64
		down  bool
		took  int64
	}{
		"room": {limit: 1 << 40, took: 1000}, "some room": {limit: 5000, took: 500}, "no room": {limit: 5}, "no store": {limit: 1 << 40, down: true},
	} {
		synctest.Test(t, func(t *testing.T) {
			s, h := newSlow(t, 10*time.Millisecond)
			s.down.Store(c.down)
			w := capWindow("cap", c.limit)
			var took atomic.Int64
			var wg sync.WaitGroup
			start := time.Now()
			for range 1000 {
				wg.Go(func() {
					var hold Hold
					if h.Take(context.Background(), &hold, []accounting.Claim{{Window: &w, Amount: 10}}) == nil {
						took.Add(1)
					}
				})
			}
			wg.Wait()
			if took.Load() != c.took {
				t.Errorf("%s: %d of 1000 took; want %d", name, took.Load(), c.took)
			}
			t.Logf("%s: asked %d times, %v", name, s.asked.Load(), time.Since(start))
			if s.asked.Load() > 20 {
				t.Errorf("%s: the store was asked %d times", name, s.asked.Load())
			}
		})
	}
}

func TestACallWaitsNoLongerThanItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, h := newSlow(t, time.Hour)
		w := capWindow("cap", 100)
		start := time.Now()
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				var hold Hold
				err := h.Take(ctx, &hold, []accounting.Claim{{Window: &w, Amount: 10}})
				if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrUnavailable) || time.Since(start) != time.Second {
					t.Errorf("after %v: %v", time.Since(start), err)
				}
			})
		}
		wg.Wait()
		var hold Hold
		if err := h.Take(context.Background(), &hold, []accounting.Claim{{Window: &w, Amount: 10}}); !errors.Is(err, ErrUnavailable) || time.Since(start) != 3*time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	})
}

func TestRunKeepsLeasesUntilItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, h := newSlow(t, time.Millisecond)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		var failed atomic.Int64
		go func() {
			h.Run(ctx, time.Second, func(error) { failed.Add(1) })
			close(done)
		}()
		var hold Hold
		if err := h.Take(ctx, &hold, []accounting.Claim{{Window: new(capWindow("cap", 100)), Amount: 10}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		if l := s.leases[id("r", 1, 1)]; l.state != Live || failed.Load() != 0 {
			t.Errorf("lease %+v, %d failures", l, failed.Load())
		}
		s.down.Store(true)
		time.Sleep(time.Minute)
		if failed.Load() == 0 {
			t.Error("no failure was told")
		}
		cancel()
		<-done
		hold.End()
	})
}

// Many goroutines on several replicas: nothing is lost, and nothing is granted
// twice, while all of it goes on at once.
func TestManyAtOnce(t *testing.T) {
	m := newModel(time.Now)
	windows := []accounting.Window{capWindow("a", 40_000), capWindow("b", 30_000), capWindow("c", 1_000_000)}
	windows[1].Scope = "session/s"
	var holders []*Holder
	for r := range 3 {
		c := Defaults()
		c.Store, c.Replica, c.Incarnation, c.Idle = m, fmt.Sprint("r", r), 1, time.Microsecond
		h, err := NewHolder(c)
		if err != nil {
			t.Fatal(err)
		}
		holders = append(holders, h)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var calls, ticks sync.WaitGroup
	var used [3]atomic.Int64
	var exhausted atomic.Int64
	for r, h := range holders {
		ticks.Go(func() {
			for ctx.Err() == nil {
				if err := h.Tick(context.Background()); err != nil {
					t.Error(err)
				}
			}
		})
		for g := range 6 {
			calls.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(r), uint64(g)))
				var hold Hold
				for i := range 300 {
					var claims []accounting.Claim
					var in []int
					for w := range windows {
						if rng.IntN(3) > 0 {
							claims = append(claims, accounting.Claim{Window: &windows[w], Amount: rng.Int64N(40)})
							in = append(in, w)
						}
					}
					err := h.Take(ctx, &hold, claims)
					if err != nil {
						exhausted.Add(1)
						continue
					}
					uses := make([]int64, len(claims))
					more := make([]int64, len(claims))
					for i := range claims {
						uses[i], more[i] = rng.Int64N(claims[i].Amount+1), rng.Int64N(5)
					}
					_ = hold.TopUp(ctx, more)
					settlements := hold.Settle(uses, nil)
					for k, s := range settlements {
						used[in[k]].Add(uses[k])
						if s.Uncovered != 0 {
							t.Errorf("settlement %+v", s)
						}
					}
					var of []accounting.Window
					for _, w := range in {
						of = append(of, windows[w])
					}
					if _, err := m.settle(fmt.Sprint(r, g, i), of, settlements); err != nil {
						t.Error(err)
					}
					hold.End()
				}
			})
		}
	}
	calls.Wait()
	cancel()
	ticks.Wait()
	for _, h := range holders {
		if err := h.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.check(); err != nil {
		t.Error(err)
	}
	for i, w := range windows {
		if b := m.windows[w.ID].Balance; b != (Balance{Spent: used[i].Load()}) || b.Spent > w.Limit {
			t.Errorf("window %s has %+v; its calls used %d", w.ID, b, used[i].Load())
		}
	}
	if exhausted.Load() == 0 {
		t.Error("no window was exhausted, so nothing was tried near a limit")
	}
}
