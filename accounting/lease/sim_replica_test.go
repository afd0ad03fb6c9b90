package lease

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weir-gateway/weir/accounting"
)

func (r *simReplica) now() time.Time {
	if r.sim.frozen && r == r.sim.replicas[0] {
		return simEpoch.Add(r.offset)
	}
	return simEpoch.Add(r.offset + time.Duration(float64(r.sim.t)*r.drift))
}

// begin starts the next process of a replica.
func (r *simReplica) begin() {
	r.incarnation++
	var soft func(accounting.Window) bool
	if r.sim.soft {
		soft = func(w accounting.Window) bool { return w.Budget == "minute" }
	}
	h, err := NewHolder(Config{
		Store: &link{r.sim, r}, Now: r.now, Replica: r.name, Incarnation: r.incarnation,
		TTL: simTTL, Skew: simSkew, Grace: simGrace, Idle: simIdle, Keep: simKeep, Timeout: time.Hour, Soft: soft,
	})
	if err != nil {
		r.sim.failf("%v", err)
	}
	r.holder, r.running, r.calls = h, true, nil
	r.learn()
}

// learn brings a replica the limits that are in force.
func (r *simReplica) learn() {
	r.limits = r.limits[:0]
	for _, b := range r.sim.specs {
		r.limits = append(r.limits, b.limit)
	}
}

func (r *simReplica) window(i int) accounting.Window {
	b := r.sim.specs[i]
	w := accounting.Window{ID: "acme/" + b.name + "/" + b.scope + "/total", Budget: b.name, Tenant: "acme", Scope: b.scope, Unit: accounting.UnitTokens, Limit: r.limits[i]}
	if b.rolls {
		n := r.now().Sub(simEpoch) / simWindow
		w.ID = fmt.Sprintf("acme/%s/%s/%d", b.name, b.scope, n)
		w.Start = simEpoch.Add(n * simWindow)
		w.End = w.Start.Add(simWindow)
	}
	return w
}

func (r *simReplica) call() {
	s := r.sim
	if !r.running {
		return
	}
	s.calls++
	c := &simCall{id: fmt.Sprint("c", s.calls)}
	for i := range s.specs {
		if i == 0 || s.chance(60) {
			c.claims = append(c.claims, accounting.Claim{Window: new(r.window(i)), Amount: s.rng.Int64N(25)})
		}
	}
	troubles := s.delivers
	h := r.holder
	err := h.Take(context.Background(), &c.hold, c.claims)
	s.logf("%s takes %s for %s: %v", r.name, amounts(c.claims), c.id, err)
	if h != r.holder || !r.running {
		return // it died meanwhile
	}
	var exhausted *accounting.ExhaustedError
	switch {
	case errors.As(err, &exhausted):
		s.stats["refused"]++
		if troubles == s.delivers {
			r.checkFragment(exhausted.Claim.Window.ID)
		}
		return
	case err != nil:
		s.stats["failed"]++
		return
	}
	s.stats["taken"]++
	if c.hold.Unbacked() {
		s.stats["unbacked"]++
	}
	if s.chance(1) {
		r.crash(true) // before OPEN was written
		return
	}
	for _, claim := range c.claims {
		c.held = append(c.held, claim.Amount)
	}
	r.calls = append(r.calls, c)
	c.write()
	r.checkLive(c, make([]int64, len(c.claims)))
}

func amounts(claims []accounting.Claim) string {
	var b strings.Builder
	for _, c := range claims {
		fmt.Fprintf(&b, "%s:%d ", c.Window.Budget, c.Amount)
	}
	return b.String()
}

// write keeps what the spool knows of an open call.
func (c *simCall) write() {
	c.opened = c.opened[:0]
	for i, claim := range c.claims {
		id, backed := c.hold.Backing(i)
		c.opened = append(c.opened, Settlement{Lease: id, Window: claim.Window.ID, Amount: c.held[i], Uncovered: max(0, c.held[i]-backed)})
	}
}

func (r *simReplica) topUp() {
	s := r.sim
	if !r.running || len(r.calls) == 0 {
		return
	}
	c := r.calls[s.rng.IntN(len(r.calls))]
	more := make([]int64, len(c.claims))
	for i := range more {
		more[i] = s.rng.Int64N(8)
	}
	backed := make([]int64, len(c.claims))
	for i := range backed {
		_, backed[i] = c.hold.Backing(i)
	}
	h := r.holder
	c.busy = true
	err := c.hold.TopUp(context.Background(), more)
	c.busy = false
	s.logf("%s tops up %s by %v: %v", r.name, c.id, more, err)
	if err != nil || h != r.holder || !r.running {
		return
	}
	s.stats["topped up"]++
	for i := range more {
		c.held[i] += more[i]
	}
	c.write()
	r.checkLive(c, backed)
}

// shrink gives back part of a hold, once the spool knows what is left.
func (r *simReplica) shrink() {
	s := r.sim
	if !r.running || len(r.calls) == 0 {
		return
	}
	c := r.calls[s.rng.IntN(len(r.calls))]
	if c.busy {
		return
	}
	less := make([]int64, len(c.claims))
	for i := range less {
		less[i] = s.rng.Int64N(c.held[i] + 1)
	}
	if s.shrinkEarly {
		c.hold.Shrink(less)
		if r.call(); !r.running {
			return
		}
		if s.chance(20) {
			r.crash(true)
			return
		}
	}
	for i := range less {
		id, backed := c.hold.Backing(i)
		c.held[i] -= less[i]
		if !s.shrinkEarly {
			backed = max(0, backed-less[i])
		}
		c.opened[i] = Settlement{Lease: id, Window: c.claims[i].Window.ID, Amount: c.held[i], Uncovered: max(0, c.held[i]-backed)}
	}
	s.logf("%s shrinks %s by %v", r.name, c.id, less)
	s.stats["shrunk"]++
	if s.shrinkEarly {
		return
	}
	if !s.calm && s.chance(3) {
		r.crash(true)
		return
	}
	c.hold.Shrink(less)
}

func (r *simReplica) settle() {
	if r.running && len(r.calls) > 0 {
		r.settleCall(r.sim.rng.IntN(len(r.calls)))
	}
}

func (r *simReplica) settleCall(i int) {
	s := r.sim
	c := r.calls[i]
	if c.busy {
		return
	}
	used := make([]int64, len(c.claims))
	for i := range used {
		used[i] = s.rng.Int64N(c.held[i] + 1)
		if s.chance(3) {
			used[i] = c.held[i] + s.rng.Int64N(10)
		}
	}
	r.calls = slices.Delete(r.calls, i, i+1)
	var rec record
	rec.line = c.id
	for _, claim := range c.claims {
		rec.windows = append(rec.windows, *claim.Window)
	}
	rec.settlements = c.hold.Settle(used, nil)
	if s.endEarly {
		c.hold.End()
	}
	if !s.calm && s.chance(3) {
		s.logf("%s dies as it settles %s", r.name, c.id)
		r.calls = append(r.calls, c)
		r.crash(true)
		return
	}
	if s.endEarly && !s.calm && s.depth == 0 && s.chance(50) { // others run before the line is written
		s.depth++
		r.calls = append(r.calls, c)
		r.call()
		if !r.running { // it died of it
			s.depth--
			return
		}
		if s.chance(20) {
			r.crash(true)
			s.depth--
			return
		}
		r.calls = slices.DeleteFunc(r.calls, func(x *simCall) bool { return x == c })
		s.depth--
	}
	s.lines[rec.line] = &rec
	r.spool = append(r.spool, &rec)
	s.logf("%s settles %s at %v", r.name, c.id, used)
	s.stats["settled"]++
	c.hold.End()
}

// flush delivers the oldest records.
func (r *simReplica) flush() {
	for range 1 + r.sim.rng.IntN(4) {
		if !r.running || len(r.spool) == 0 || !r.flushOne() {
			return
		}
	}
}

func (r *simReplica) flushOne() bool {
	s := r.sim
	rec := r.spool[0]
	err := s.deliver(r, true, func() error { return s.apply(rec) })
	if err != nil {
		return false
	}
	r.spool = r.spool[1:]
	return true
}

func (s *sim) apply(rec *record) error {
	before := map[string]Balance{}
	for i, st := range rec.settlements {
		before[st.Window] = s.model.window(rec.windows[i]).Balance
	}
	wrote, err := s.model.settle(rec.line, rec.windows, rec.settlements)
	if wrote {
		if rec.applied++; rec.applied > 1 {
			s.failf("line %s was counted %d times", rec.line, rec.applied)
		}
	}
	for _, st := range rec.settlements {
		w := s.model.windows[st.Window]
		over := w.Overrun - before[st.Window].Overrun
		if over > 0 && st.Uncovered == 0 && !w.forgiven {
			s.failf("line %s overran window %s by %d, although its lease covered all of it", rec.line, st.Window, over)
		}
		if over > 0 {
			s.stats["overrun"]++
		}
	}
	return err
}

func (r *simReplica) tick() {
	if r.running {
		_ = r.holder.Tick(context.Background())
	}
}

// crash ends a process. What its spool has stays, unless the disk is lost.
func (r *simReplica) crash(disk bool) {
	s := r.sim
	if !r.running {
		return
	}
	r.running = false
	s.logf("%s/%d crashes with its disk: %v", r.name, r.incarnation, disk)
	s.stats["crashed"]++
	if disk {
		return
	}
	for _, rec := range r.spool {
		rec.lost = true
	}
	r.calls, r.spool = nil, nil
	s.late = slices.DeleteFunc(s.late, func(m lateMessage) bool { return m.from == r && m.settles })
	for i := range r.incarnation { // the records of those before it were on the same disk
		s.lost[ID{Replica: r.name, Incarnation: i + 1}] = true
	}
	r.begin()
}

// restart replays the spool, and then lets go of the leases before it.
func (r *simReplica) restart() {
	s := r.sim
	if r.running {
		return
	}
	for _, c := range r.calls {
		rec := &record{line: c.id, settlements: c.opened}
		for _, claim := range c.claims {
			rec.windows = append(rec.windows, *claim.Window)
		}
		s.lines[rec.line] = rec
		r.spool = append(r.spool, rec)
		s.logf("%s finds %s in doubt: %v", r.name, c.id, c.opened)
	}
	r.calls = nil
	for len(r.spool) > 0 {
		if !r.flushOne() {
			return // the next try goes on
		}
	}
	next := r.incarnation + 1
	if s.deliver(r, false, func() error { return s.model.Release(context.Background(), r.name, next) }) != nil {
		return
	}
	s.logf("%s/%d starts", r.name, next)
	s.stats["restarted"]++
	r.begin()
}
