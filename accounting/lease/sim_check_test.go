package lease

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weir-gateway/weir/accounting"
)

var errLost = errors.New("no answer")

// deliver sends one request over the network and returns its answer's error,
// or errLost.
func (s *sim) deliver(from *simReplica, settles bool, request func() error) error {
	if s.calm {
		return request()
	}
	if s.depth == 0 && s.chance(4) { // others go on meanwhile
		s.depth++
		for range 1 + s.rng.IntN(3) {
			if r := s.replicas[s.rng.IntN(len(s.replicas))]; r != from {
				switch s.rng.IntN(3) {
				case 0:
					r.call()
				case 1:
					r.settle()
				case 2:
					r.flush()
				}
			}
		}
		if i := s.rng.IntN(3); i < len(from.calls) && !settles && from.running {
			from.settleCall(i) // ending a hold waits for nobody
		}
		s.depth--
		s.delivers++
	}
	later := func() {
		s.late = append(s.late, lateMessage{due: s.t + time.Duration(s.rng.Int64N(int64(30*time.Second))), from: from, settles: settles, deliver: func() { _ = request() }})
	}
	if from.cut || s.down {
		s.delivers++
		return errLost
	}
	n := s.rng.IntN(100)
	if n < 15 {
		s.delivers++
	}
	switch {
	case n < 3:
		return errLost
	case n < 6:
		_ = request()
		return errLost
	case n < 9:
		later()
		return errLost
	case n < 12:
		_ = request()
		return request()
	case n < 15:
		err := request()
		later()
		return err
	}
	return request()
}

// A link is a replica's way to the store.
type link struct {
	sim *sim
	r   *simReplica
}

func (k *link) Grant(ctx context.Context, ttl time.Duration, wants []Want) (grants []Grant, err error) {
	s := k.sim
	for _, w := range wants {
		s.wished[w.Lease] = max(s.wished[w.Lease], w.Wish)
		s.of[w.Lease] = w.Window.ID
	}
	err = s.deliver(k.r, false, func() error {
		leased := make([]int64, len(wants))
		for i, w := range wants {
			leased[i] = s.model.window(w.Window).Leased
		}
		g, err := s.model.Grant(ctx, ttl, wants)
		if err != nil {
			return err
		}
		grants = g
		for i, want := range wants {
			w := s.model.windows[want.Window.ID]
			if w.Leased > leased[i] && w.Spent+w.Leased > want.Window.Limit {
				s.failf("a grant took window %s past its limit %d: spent %d, leased %d", want.Window.ID, want.Window.Limit, w.Spent, w.Leased)
			}
			if l := s.model.leases[want.Lease]; l != nil && l.granted > s.wished[want.Lease] {
				s.failf("lease %s was granted %d, and nobody wished for more than %d", want.Lease, l.granted, s.wished[want.Lease])
			}
		}
		return nil
	})
	for i, w := range wants {
		s.logf("  %s/%d wants %s %s: %d..%d: %+v %v", k.r.name, k.r.incarnation, w.Lease, w.Window.ID, w.Need, w.Wish, at(grants, i), err)
	}
	if err != nil {
		return nil, err
	}
	return grants, nil
}

func at(grants []Grant, i int) Grant {
	if i < len(grants) {
		return grants[i]
	}
	return Grant{}
}

func (k *link) Return(ctx context.Context, returns []Return) error {
	err := k.sim.deliver(k.r, false, func() error { return k.sim.model.Return(ctx, returns) })
	for _, r := range returns {
		k.sim.logf("  %s/%d returns %+v: %v", k.r.name, k.r.incarnation, r, err)
	}
	return err
}

func (k *link) Sweep(ctx context.Context, after Sweep) (n int, err error) {
	err = k.sim.deliver(k.r, false, func() error {
		var err error
		n, err = k.sim.model.Sweep(ctx, after)
		return err
	})
	if n > 0 {
		k.sim.stats["forfeited"] += n
		k.sim.logf("%d leases are forfeited", n)
	}
	return n, err
}

func (k *link) Release(ctx context.Context, replica string, incarnation int64) error {
	return k.sim.model.Release(ctx, replica, incarnation)
}

func (k *link) Reclaim(ctx context.Context, id ID, charge *accounting.Line) (int64, error) {
	return k.sim.model.Reclaim(ctx, id, charge)
}

// checkFragment fails where a refused hold left something free that nobody else
// can have.
func (r *simReplica) checkFragment(window string) {
	if v, ok := r.holder.shares.Load(window); ok {
		if l := v.(*share).current.Load(); l != nil && l.free.Load() > 0 {
			r.sim.failf("%s was refused by window %s, and keeps %d of it", r.name, window, l.free.Load())
		}
	}
}

// checkLive fails where a hold grew from a lease that the store had ended.
func (r *simReplica) checkLive(c *simCall, before []int64) {
	for i := range c.claims {
		id, backed := c.hold.Backing(i)
		if backed <= before[i] {
			continue
		}
		if l := r.sim.model.leases[id]; l == nil || l.state != Live {
			r.sim.failf("%s took of lease %s of window %s, which is not live", r.name, id, c.claims[i].Window.ID)
		}
	}
}

// check looks at the whole world.
func (s *sim) check() {
	if err := s.model.check(); err != nil {
		s.failf("%v", err)
	}
	for _, w := range s.model.windows {
		if w.Spent+w.Leased > s.highest[w.window.Budget]+w.Overrun {
			s.failf("window %s: spent %d and leased %d exceed limit %d and overrun %d", w.window.ID, w.Spent, w.Leased, s.highest[w.window.Budget], w.Overrun)
		}
	}
	// What remains of a lease covers all that may still be made of it.
	claims := map[ID]int64{}
	for _, r := range s.replicas {
		for _, c := range r.calls {
			for _, o := range c.opened {
				claims[o.Lease] += o.Amount - o.Uncovered
			}
		}
		for _, rec := range r.spool {
			if rec.applied > 0 {
				continue
			}
			for _, o := range rec.settlements {
				claims[o.Lease] += o.Amount - o.Uncovered
			}
		}
		if !r.running {
			continue
		}
		for _, sh := range r.holder.all() {
			if l := sh.current.Load(); l != nil {
				claims[l.id] += l.spare()
			}
			for _, l := range sh.old {
				claims[l.id] += l.spare()
			}
		}
	}
	delete(claims, ID{})
	for id, n := range claims {
		var remainder int64
		if w := s.model.windows[s.of[id]]; w != nil && w.forgiven {
			continue
		}
		if l := s.model.leases[id]; l != nil {
			remainder = l.remainder()
		}
		if n > remainder {
			s.failf("lease %s has %d left, and its replica may still use %d of it", id, remainder, n)
		}
	}
}

// quiesce lets all accidents end and all work be done.
func (s *sim) quiesce() {
	s.logf("all accidents end")
	s.calm, s.down = true, false
	for _, r := range s.replicas {
		r.cut = false
	}
	s.arrive(1 << 62)
	for _, r := range s.replicas {
		r.restart()
		for len(r.calls) > 0 {
			r.settle()
		}
		for len(r.spool) > 0 {
			r.flush()
		}
		if err := r.holder.Close(context.Background()); err != nil {
			s.failf("close %s: %v", r.name, err)
		}
	}
	s.t += 2*simTTL + simGrace
	for range 3 {
		_, _ = s.model.Sweep(context.Background(), Sweep{Grace: simGrace, Keep: simKeep})
		s.reclaim()
	}
	s.check()
	for _, r := range s.replicas {
		if len(r.calls) > 0 || len(r.spool) > 0 || !r.running {
			s.failf("%s has not come to rest: running %v, %d calls, %d records", r.name, r.running, len(r.calls), len(r.spool))
		}
		if n := len(r.holder.all()); n > 0 {
			s.failf("%s remembers %d windows of which it has nothing", r.name, n)
		}
	}
	spent := map[string]int64{}
	for window, n := range s.charged {
		spent[window] += n
	}
	for line, rec := range s.lines {
		if rec.applied != 1 && !rec.lost {
			s.failf("line %s was counted %d times", line, rec.applied)
		}
		for _, o := range rec.settlements {
			spent[o.Window] += o.Amount * int64(rec.applied)
		}
	}
	for id, w := range s.model.windows {
		if w.Leased != 0 {
			s.failf("all is done, and window %s still has leased %d", id, w.Leased)
		}
		if w.Spent != spent[id] {
			s.failf("window %s has spent %d, and its calls used %d", id, w.Spent, spent[id])
		}
	}
	s.takeAll()
}

// takeAll shows that nothing was lost: what is left can all be held.
func (s *sim) takeAll() {
	r := s.replicas[0]
	r.learn()
	for i := range s.specs {
		w := r.window(i)
		left := w.Limit
		if m := s.model.windows[w.ID]; m != nil {
			left -= m.Spent
		}
		if left <= 0 {
			continue
		}
		var err error
		for range 100 {
			var hold Hold
			if err = r.holder.Take(context.Background(), &hold, []accounting.Claim{{Window: &w, Amount: left}}); err == nil {
				return
			}
			if exhausted := (*accounting.ExhaustedError)(nil); errors.As(err, &exhausted) {
				break
			}
		}
		s.failf("all is done, and window %s does not give the %d that it has left: %v", w.ID, left, err)
	}
}

// run runs a seed to its end and returns what went wrong, with the last things
// that happened.
func (s *sim) run() error {
	for range 160 {
		s.step()
		s.check()
		if s.err != nil {
			return s.err
		}
	}
	s.quiesce()
	return s.err
}

func (s *sim) report() string {
	text := ""
	for _, line := range s.trace {
		text += line + "\n"
	}
	return fmt.Sprintf("%s%v", text, s.stats)
}
