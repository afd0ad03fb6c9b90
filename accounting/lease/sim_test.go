package lease

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/weir-gateway/weir/accounting"
)

// The simulation is one world in one goroutine: replicas, a store and a network
// between them, all of whose accidents are drawn from one seed.

const (
	simTTL, simSkew, simGrace = 10 * time.Second, time.Second, time.Second
	simKeep                   = 70 * time.Second
	simIdle                   = 3 * time.Second
	simWindow                 = 60 * time.Second
	// Over simTTL one clock gains less than simSkew on another.
	simDrift = 0.02
)

var simEpoch = time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)

// A spec is a budget of the simulation.
type spec struct {
	name, scope string
	limit       int64
	rolls       bool
}

type sim struct {
	rng      *rand.Rand
	t        time.Duration
	model    *model
	replicas []*simReplica
	specs    []spec
	highest  map[string]int64 // the highest limit that a budget ever had
	wished   map[ID]int64     // the most that was ever wished for a lease
	of       map[ID]string    // the window of each lease
	late     []lateMessage
	calls    int
	depth    int
	down     bool // the store
	soft     bool
	storeClk float64
	lines    map[string]*record
	charged  map[string]int64 // by reclaims
	lost     map[ID]bool      // processes whose disk is gone; Number is zero
	tells    bool             // whether it keeps a trace
	trace    []string         // of the last things that happened
	err      error
	endEarly bool // a fault of the gateway: it ends holds before their line is written
	frozen   bool // a fault of the first replica's clock: it stands still
	delivers int  // messages that went wrong, to tell calls that none troubled
	calm     bool // no more accidents
	stats    map[string]int
}

type lateMessage struct {
	due     time.Duration
	from    *simReplica
	deliver func()
	settles bool
}

type simReplica struct {
	sim         *sim
	name        string
	incarnation int64
	holder      *Holder
	running     bool
	cut         bool // off the network
	drift       float64
	offset      time.Duration
	limits      []int64 // as it knows them
	calls       []*simCall
	spool       []*record // closed, not flushed
}

// A simCall is one call and its OPEN record.
type simCall struct {
	id     string
	hold   Hold
	claims []accounting.Claim
	held   []int64 // with top-ups
	opened []Settlement
	busy   bool // being topped up
}

// A record is a CLOSE: a line and its settlements.
type record struct {
	line        string
	windows     []accounting.Window
	settlements []Settlement
	applied     int
	lost        bool
}

func newSim(seed uint64) *sim {
	s := &sim{
		rng: rand.New(rand.NewPCG(seed, 0x1ea5e)), highest: map[string]int64{}, wished: map[ID]int64{}, of: map[ID]string{},
		lines: map[string]*record{}, charged: map[string]int64{}, lost: map[ID]bool{}, stats: map[string]int{},
	}
	s.soft = s.rng.IntN(3) == 0
	s.storeClk = 1 + simDrift*(2*s.rng.Float64()-1)
	s.model = newModel(func() time.Time { return simEpoch.Add(time.Duration(float64(s.t) * s.storeClk)) })
	s.specs = []spec{
		{"cap", "tenant", 60 + s.rng.Int64N(400), false},
		{"minute", "tenant", 30 + s.rng.Int64N(150), true},
		{"key", "key/p/a", 30 + s.rng.Int64N(200), false},
		{"user", "end_user/u", 20 + s.rng.Int64N(60), true},
	}
	for _, b := range s.specs {
		s.highest[b.name] = b.limit
	}
	for i := range 2 + s.rng.IntN(3) {
		r := &simReplica{sim: s, name: fmt.Sprintf("r%d", i)}
		r.drift = 1 + simDrift*(2*s.rng.Float64()-1)
		r.offset = time.Duration(s.rng.Int64N(int64(time.Second))) - 500*time.Millisecond
		s.replicas = append(s.replicas, r)
		r.begin()
	}
	return s
}

func (s *sim) logf(format string, a ...any) {
	if !s.tells {
		return
	}
	s.trace = append(s.trace, fmt.Sprintf("%8.3fs ", s.t.Seconds())+fmt.Sprintf(format, a...))
	if len(s.trace) > 400 {
		s.trace = slices.Delete(s.trace, 0, 200)
	}
}

func (s *sim) failf(format string, a ...any) {
	if s.err == nil {
		s.err = fmt.Errorf(format, a...)
		s.logf("FAILED: %v", s.err)
	}
}

func (s *sim) chance(percent int) bool { return s.rng.IntN(100) < percent }

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

// step lets one thing happen.
func (s *sim) step() {
	r := s.replicas[s.rng.IntN(len(s.replicas))]
	switch n := s.rng.IntN(100); {
	case n < 22:
		r.call()
	case n < 34:
		r.topUp()
	case n < 56:
		r.settle()
	case n < 66:
		r.flush()
	case n < 74:
		r.tick()
	case n < 90:
		s.pass(s.someTime())
	case n < 92:
		r.cut = !r.cut && s.chance(50)
		s.logf("%s off the network: %v", r.name, r.cut)
	case n < 93:
		s.down = s.chance(25)
		s.logf("store down: %v", s.down)
	case n < 94:
		r.crash(s.chance(25))
	case n < 96:
		r.restart()
	case n < 97:
		s.changeLimit()
	case n < 99:
		r.learn()
	default:
		s.reclaim()
	}
}

func (s *sim) someTime() time.Duration {
	switch n := s.rng.IntN(20); {
	case n == 0:
		return time.Duration(s.rng.Int64N(int64(40 * time.Second)))
	case n < 4:
		return time.Duration(s.rng.Int64N(int64(8 * time.Second)))
	}
	return time.Duration(s.rng.Int64N(int64(1500 * time.Millisecond)))
}

// pass lets time go by, and what is due arrive.
func (s *sim) pass(d time.Duration) {
	for d > 0 {
		part := min(d, time.Second)
		s.t += part
		d -= part
		s.arrive(s.t)
		for _, r := range s.replicas {
			if s.chance(60) {
				r.tick()
			}
		}
	}
}

func (s *sim) arrive(until time.Duration) {
	for i := 0; i < len(s.late); {
		if m := s.late[i]; m.due <= until {
			s.late = slices.Delete(s.late, i, i+1)
			s.logf("a late message of %s arrives", m.from.name)
			m.deliver()
			continue
		}
		i++
	}
}

func (s *sim) changeLimit() {
	b := &s.specs[s.rng.IntN(len(s.specs))]
	b.limit = max(0, b.limit+s.rng.Int64N(121)-60)
	s.highest[b.name] = max(s.highest[b.name], b.limit)
	s.logf("limit of %s is %d", b.name, b.limit)
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
			c.claims = append(c.claims, accounting.Claim{Window: r.window(i), Amount: s.rng.Int64N(25)})
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
		rec.windows = append(rec.windows, claim.Window)
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
			rec.windows = append(rec.windows, claim.Window)
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

// reclaim is what an operator does about a lost disk.
func (s *sim) reclaim() {
	for _, id := range s.model.sortedLeases() {
		l := s.model.leases[id]
		if l.state == Live || l.remainder() == 0 || !s.lost[ID{Replica: id.Replica, Incarnation: id.Incarnation}] {
			continue
		}
		var line *accounting.Line
		if s.chance(50) {
			line = &accounting.Line{Attempt: accounting.Attempt{RequestID: "reclaim " + id.String()}}
		}
		n, err := s.model.Reclaim(context.Background(), id, line)
		if err != nil {
			s.failf("reclaim %s: %v", id, err)
		}
		if line != nil {
			s.charged[l.window] += n
		}
		s.logf("%d of lease %s is reclaimed", n, id)
		s.stats["reclaimed"]++
	}
}
