package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/lease"
	"github.com/weir-gateway/weir/accounting/lease/leasetest"
	"github.com/weir-gateway/weir/accounting/ledger"
	"github.com/weir-gateway/weir/server/store"
)

// manyGrants is replicas that want, settle and give back at once, while others
// look.
func manyGrants(t *testing.T, open Opener) {
	list := replicas(t, open, 3)
	const limit = 200
	w := window("w", limit)
	done := make(chan struct{})
	var looking sync.WaitGroup
	looking.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			state, ok, err := list[0].Window(t.Context(), "w")
			if err != nil {
				t.Errorf("look: %v", err)
			}
			if ok && state.Spent+state.Leased > limit {
				t.Errorf("seen: spent %d and leased %d exceed the limit %d", state.Spent, state.Leased, limit)
			}
		}
	})
	var replicas sync.WaitGroup
	for r := range 6 {
		s := list[r%len(list)]
		replicas.Go(func() {
			name, chance := fmt.Sprintf("r%d", r), rand.New(rand.NewSource(int64(r)))
			id := lease.ID{Replica: name, Incarnation: 1, Number: 1}
			var granted, used, returned int64
			for call := range 30 {
				need := used + returned + 1 + chance.Int63n(7)
				g, err := s.Grant(t.Context(), time.Minute, []lease.Want{{Lease: id, Window: w, Need: need, Wish: need + chance.Int63n(20)}})
				if err != nil {
					t.Errorf("grant: %v", err)
					return
				}
				if g[0].Granted > granted && g[0].Spent+g[0].Leased > limit {
					t.Errorf("granted up to %d spent and %d leased of %d", g[0].Spent, g[0].Leased, limit)
				}
				if granted = g[0].Granted; granted < need {
					if g[0].Spent+g[0].Leased+need-granted <= limit {
						t.Errorf("refused %d with %d spent and %d leased of %d", need-granted, g[0].Spent, g[0].Leased, limit)
					}
					continue
				}
				e := entry(fmt.Sprintf("call-%d-%d", r, call), 0, w, 1+chance.Int63n(granted-used-returned))
				e.Settled[0].Lease = id
				if err := s.Write(t.Context(), []ledger.Entry{e}); err != nil {
					t.Errorf("write: %v", err)
				}
				if used += e.Settled[0].Amount; chance.Intn(2) == 0 {
					returned = granted - used
					if err := s.Return(t.Context(), []lease.Return{{Lease: id, Window: "w", Returned: returned}}); err != nil {
						t.Errorf("return: %v", err)
					}
				}
			}
		})
	}
	replicas.Wait()
	close(done)
	looking.Wait()
	if state, _, err := list[0].Window(t.Context(), "w"); err != nil || state.Spent < limit/2 || state.Overrun != 0 {
		t.Errorf("window %+v, %v", state, err)
	}
}

// leaseRig is a store with a clock that is ahead: what it does, the same happens
// that long later.
type leaseRig struct {
	*store.Store
	ahead time.Duration
}

func (r *leaseRig) Later(d time.Duration) { r.ahead += d }

// window has its end where the store's present is the rig's first moment.
func (r *leaseRig) window(w accounting.Window) accounting.Window {
	if !w.End.IsZero() {
		w.End = time.Now().Add(w.End.Sub(leasetest.Epoch))
	}
	return w
}

func (r *leaseRig) Grant(ctx context.Context, ttl time.Duration, wants []lease.Want) ([]lease.Grant, error) {
	wants = slices.Clone(wants)
	for i := range wants {
		wants[i].Window = r.window(wants[i].Window)
	}
	return r.Store.Grant(ctx, ttl+r.ahead, wants)
}

func (r *leaseRig) Sweep(ctx context.Context, after lease.Sweep) (int, error) {
	return r.Store.Sweep(ctx, lease.Sweep{Grace: after.Grace - r.ahead, Keep: after.Keep - r.ahead})
}

func (r *leaseRig) Settle(line string, windows []accounting.Window, settlements []lease.Settlement) (bool, error) {
	e := ledger.Entry{Line: accounting.Line{Attempt: attempt(line, 1), Outcome: accounting.OutcomeCompleted}}
	for i, s := range settlements {
		e.Settled = append(e.Settled, ledger.Settled{Window: new(r.window(windows[i])), Lease: s.Lease, Amount: s.Amount, Uncovered: s.Uncovered})
	}
	before, err := r.Store.Lines(context.Background(), line)
	if err != nil {
		return false, err
	}
	return len(before) == 0, r.Store.Write(context.Background(), []ledger.Entry{e})
}

func (r *leaseRig) Row(window string) (lease.Balance, error) {
	w, _, err := r.Store.Window(context.Background(), window)
	return lease.Balance{Spent: w.Spent, Leased: w.Leased, Overrun: w.Overrun}, err
}

func (r *leaseRig) Check() error {
	off, err := r.Store.Audit(context.Background())
	for _, sentence := range off {
		err = errors.Join(err, errors.New(sentence))
	}
	return err
}
