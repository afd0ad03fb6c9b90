package lease

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
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
	rng         *rand.Rand
	t           time.Duration
	model       *model
	replicas    []*simReplica
	specs       []spec
	highest     map[string]int64 // the highest limit that a budget ever had
	wished      map[ID]int64     // the most that was ever wished for a lease
	of          map[ID]string    // the window of each lease
	late        []lateMessage
	calls       int
	depth       int
	down        bool // the store
	soft        bool
	storeClk    float64
	lines       map[string]*record
	charged     map[string]int64 // by reclaims
	lost        map[ID]bool      // processes whose disk is gone; Number is zero
	tells       bool             // whether it keeps a trace
	trace       []string         // of the last things that happened
	err         error
	endEarly    bool // a fault of the gateway: it ends holds before their line is written
	shrinkEarly bool // another: it shrinks holds before that is written
	frozen      bool // a fault of the first replica's clock: it stands still
	delivers    int  // messages that went wrong, to tell calls that none troubled
	calm        bool // no more accidents
	stats       map[string]int
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

// step lets one thing happen.
func (s *sim) step() {
	r := s.replicas[s.rng.IntN(len(s.replicas))]
	switch n := s.rng.IntN(100); {
	case n < 22:
		r.call()
	case n < 31:
		r.topUp()
	case n < 34:
		r.shrink()
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
