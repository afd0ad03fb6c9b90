package admit

import (
	"container/heap"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/weir-gateway/weir/policy"
)

// The simulation is one world in one goroutine and in modelled time: replicas
// that admit calls, a store, and a network between them, all of whose accidents
// are drawn from one seed.

var simEpoch = time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)

var errLost = errors.New("no answer")

// simSubject is everybody.
var simSubject = policy.Subject{Tenant: "acme"}

type sim struct {
	rng    *rand.Rand
	t      time.Duration
	events events
	serial int

	rates  []policy.BoundRate
	terms  Terms
	size   int64   // mean tokens of a call where terms are of them, else 0
	most   int64   // running at once, 0 for any
	calm   bool    // no accidents
	excess float64 // demand, in rates

	states   map[string]*State
	down     bool
	replicas []*simReplica
	born     int

	// A token bucket that sees every admission conforms where every stretch of
	// time does.
	level     float64
	last      time.Duration
	stats     map[string]int
	admitted  []time.Duration
	used      []usedAt
	err       error
	fault     faults
	admission int
}

// faults are made in the store or in a replica, to see that they are found.
type faults struct {
	share   func(*State, Ask, time.Time, time.Duration) Answer // instead of State.Ask
	replica func(*Limiter, *sim)                               // after an answer
	late    bool                                               // shares are used after their end
}

type simReplica struct {
	limiter *Limiter
	drift   float64
	offset  time.Duration
	demand  float64 // calls in a second
	flying  bool
	crashed bool
	cut     bool // off the network
	stalled bool // it does nothing
	running int64
	waiting []<-chan struct{}
}

type event struct {
	at     time.Duration
	serial int
	do     func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].serial < e[j].serial
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

func (s *sim) after(d time.Duration, do func()) {
	s.serial++
	heap.Push(&s.events, event{s.t + max(0, d), s.serial, do})
}

// between draws a span.
func (s *sim) between(a, b time.Duration) time.Duration {
	return a + time.Duration(s.rng.Int64N(int64(b-a)))
}

func (s *sim) chance(p float64) bool { return !s.calm && s.rng.Float64() < p }

// newTokenSim is a world whose limit is of tokens, of calls that use size of them
// in the mean.
func newTokenSim(seed uint64, terms Terms, size int64) *sim {
	s := newSim(seed, terms, 0)
	s.size = size
	s.rates[0].Rate = policy.Rate{ID: "r", Per: "tenant", Tokens: &policy.Quota{N: terms.N, Per: terms.Per}, TokenBurst: &terms.Burst}
	return s
}

func newSim(seed uint64, terms Terms, most int64) *sim {
	s := &sim{
		rng: rand.New(rand.NewPCG(seed, 0xad317)), terms: terms, most: most, excess: 3, level: float64(terms.Burst),
		states: map[string]*State{}, stats: map[string]int{}, fault: faults{share: (*State).Ask},
	}
	rate := policy.Rate{ID: "r", Per: "tenant", Requests: &policy.Quota{N: terms.N, Per: terms.Per}, Burst: &terms.Burst}
	if most > 0 {
		rate.Concurrent = &most
	}
	s.rates = []policy.BoundRate{{Policy: "base", Rate: rate}}
	return s
}

// run lets the world go on for a span of time.
func (s *sim) run(length time.Duration) error {
	for range 3 {
		s.start()
	}
	s.shift()
	if !s.calm {
		s.after(s.between(0, 20*time.Second), s.accident)
	}
	for len(s.events) > 0 && s.err == nil {
		e := heap.Pop(&s.events).(event)
		if e.at > length {
			return nil
		}
		s.t = e.at
		e.do()
	}
	return s.err
}

// start starts a replica, as the next process.
func (s *sim) start() {
	s.born++
	r := &simReplica{offset: s.between(-time.Hour, time.Hour), drift: 1 + 0.03*(2*s.rng.Float64()-1)}
	// The dummy is only there to be one: the simulation carries flights itself.
	r.limiter = NewReplica(func() time.Time {
		return simEpoch.Add(r.offset + time.Duration(float64(s.t)*r.drift))
	}, dummy{nil}, fmt.Sprintf("r%d", s.born))
	s.replicas = append(s.replicas, r)
	s.after(s.between(0, time.Second), func() { s.call(r) })
	s.after(s.between(0, time.Second), func() { s.tick(r) })
}

type dummy struct{ Store }

// shift moves the demand between the replicas.
func (s *sim) shift() {
	rate := float64(s.terms.N) / s.terms.Per.Seconds()
	var weights []float64
	var sum float64
	for range s.replicas {
		w := 0.02 + s.rng.Float64()*float64(s.rng.IntN(2))
		weights = append(weights, w)
		sum += w
	}
	factor := s.excess
	if !s.calm {
		factor *= []float64{0, 0.02, 0.1, 0.3, 1, 5}[s.rng.IntN(6)]
	}
	factor /= float64(max(1, s.size))
	for i, r := range s.replicas {
		r.demand = factor * rate * weights[i] / sum
	}
	s.after(s.between(time.Second, 20*time.Second), s.shift)
}

// call is one call at a replica, and the next one.
func (s *sim) call(r *simReplica) {
	if r.crashed {
		return
	}
	gap := time.Second
	if r.demand > 0 {
		gap = time.Duration(min(2, s.rng.ExpFloat64()/r.demand) * float64(time.Second))
	}
	s.after(gap, func() { s.call(r) })
	if r.stalled || r.demand == 0 {
		return
	}
	s.try(r)
	s.depart(r)
}

func (s *sim) try(r *simReplica) {
	estimate := Estimate{}
	if s.size > 0 {
		estimate = Estimate{Input: 1 + s.rng.Int64N(s.size), MaxOutput: 8 * s.size}
	}
	leave, flight, err := r.limiter.try(simSubject, s.rates, estimate)
	switch {
	case err != nil:
		s.stats["refused"]++
		refused := err.(*LimitError)
		if refused.Away {
			s.stats["refused since the store is away"]++
		}
		if refused.RetryAfter <= 0 {
			s.err = fmt.Errorf("at %s a call is to come again in %s", s.t, refused.RetryAfter)
		}
	case flight != nil:
		r.waiting = append(r.waiting, flight)
	case s.size > 0:
		s.admission++
		s.spend(r, leave, estimate.Input)
	default:
		s.admit(r, leave)
	}
}

// spend is a call that uses tokens, as many as are only known in the end: about
// half of them are output, and of some far more.
func (s *sim) spend(r *simReplica, leave Leave, input int64) {
	used := input
	switch s.rng.IntN(16) {
	case 0: // it fails
		used = 0
	case 1:
		used += 4 * s.size
	default:
		used += s.rng.Int64N(s.size)
	}
	lasts := 5 * time.Second
	if s.chance(0.02) {
		lasts = 60 * time.Second
	}
	s.after(s.between(0, lasts), func() {
		if r.crashed {
			return
		}
		leave(used)
		s.use(used)
		s.depart(r)
	})
}

// use counts the tokens of a call that has ended. In every stretch of time no
// more are used than the rate allows and what is owed at its end.
func (s *sim) use(used int64) {
	s.level = min(float64(s.terms.Burst), s.level+(s.t-s.last).Seconds()*float64(s.terms.N)/s.terms.Per.Seconds()) - float64(used)
	s.last = s.t
	owed := s.owed()
	if owed > 0 {
		s.stats["owed"]++
	}
	if s.level+float64(owed) < -1e-6 {
		s.err = fmt.Errorf("at %s %.3f tokens more than the rate allows are used, and %d are owed", s.t, -s.level, owed)
	}
	s.used = append(s.used, usedAt{s.t, used})
}

type usedAt struct {
	at     time.Duration
	tokens int64
}

// owed is what the store has less than nothing, and what replicas have overdrawn
// of which it has not heard.
func (s *sim) owed() int64 {
	var owed int64
	for _, state := range s.states {
		owed += max(0, -state.Tokens)
	}
	for _, r := range s.replicas {
		owed += s.untold(r)
	}
	return owed
}

func (s *sim) untold(r *simReplica) int64 {
	var n int64
	for _, c := range r.limiter.places {
		if sh := c[tokens]; sh != nil {
			heard := sh.told.Overdrawn
			if state := s.states[sh.scope]; state != nil && state.Holdings[sh.holder] != nil {
				heard = max(heard, state.Holdings[sh.holder].Overdrawn)
			}
			n += sh.sum.Overdrawn - heard
		}
	}
	return n
}

func (s *sim) admit(r *simReplica, leave Leave) {
	s.admission++
	s.level = min(float64(s.terms.Burst), s.level+(s.t-s.last).Seconds()*float64(s.terms.N)/s.terms.Per.Seconds()) - 1
	s.last = s.t
	if s.level < -1e-6 {
		s.err = fmt.Errorf("at %s, call %d is more than the rate allows: %.3f too many", s.t, s.admission, -s.level)
	}
	s.admitted = append(s.admitted, s.t)
	if s.most == 0 {
		leave(0)
		return
	}
	r.running++
	var running int64
	for _, r := range s.replicas {
		running += r.running
	}
	if running > s.most {
		s.err = fmt.Errorf("at %s %d calls run, and at most %d may", s.t, running, s.most)
	}
	s.after(s.between(0, 5*time.Second), func() {
		if !r.crashed {
			r.running--
			leave(0)
		}
	})
}

func (s *sim) tick(r *simReplica) {
	if r.crashed {
		return
	}
	if r.flying || r.stalled {
		s.after(100*time.Millisecond, func() { s.tick(r) })
		return
	}
	r.limiter.tick()
	s.depart(r)
	s.after(tickEvery, func() { s.tick(r) })
}

// depart sends what a replica has to tell, which may be lost, late or doubled.
func (s *sim) depart(r *simReplica) {
	if r.crashed || r.flying {
		return
	}
	f := r.limiter.depart()
	if f == nil {
		return
	}
	r.flying = true
	landed := false
	land := func(answers []Answer, err error) {
		if landed || r.crashed {
			return
		}
		landed, r.flying = true, false
		if err != nil {
			s.stats["lost"]++
		}
		r.limiter.arrive(f, answers, err)
		if s.fault.replica != nil {
			s.fault.replica(r.limiter, s)
		}
		var waiting []<-chan struct{}
		waiting, r.waiting = r.waiting, nil
		for _, w := range waiting {
			select {
			case <-w:
				s.try(r)
			default:
				r.waiting = append(r.waiting, w)
			}
		}
		s.depart(r)
	}
	s.after(flightTime, func() { land(nil, errLost) })
	deliver := func() {
		if s.down || r.cut {
			return
		}
		answers := s.share(f.asks)
		if !s.chance(0.01) {
			s.after(s.between(0, 5*time.Millisecond), func() {
				if !r.cut {
					land(answers, nil)
				}
			})
		}
	}
	if s.chance(0.01) {
		return
	}
	delay := s.between(0, 5*time.Millisecond)
	if s.chance(0.01) {
		delay = s.between(0, 10*time.Second)
	}
	s.after(delay, deliver)
	if s.chance(0.02) {
		s.stats["doubled"]++
		s.after(s.between(0, 60*time.Second), deliver)
	}
}

// share is the store.
func (s *sim) share(asks []Ask) []Answer {
	now := simEpoch.Add(s.t)
	var answers []Answer
	for _, a := range asks {
		state := s.states[a.Scope]
		if state == nil || state.Idle().Before(now) {
			state = &State{}
			s.states[a.Scope] = state
		}
		answers = append(answers, s.fault.share(state, a, now, TTL))
		if held := state.held(); state.Tokens+held > state.Burst || held < 0 || state.Tokens < 0 && s.size == 0 {
			s.err = fmt.Errorf("at %s the store has %d tokens, and %d are held, of %d", s.t, state.Tokens, held, state.Burst)
		}
	}
	return answers
}

// accident breaks something for a while.
func (s *sim) accident() {
	longest := 10 * time.Second
	if s.most == 0 {
		longest = 50 * time.Second // shares end meanwhile
	}
	switch s.rng.IntN(4) {
	case 3:
		s.stats["stalled"]++
		r := s.replicas[s.rng.IntN(len(s.replicas))]
		r.stalled = true
		s.after(s.between(0, longest), func() { r.stalled = false })
	case 0:
		s.stats["crashed"]++
		i := s.rng.IntN(len(s.replicas))
		s.level += float64(s.untold(s.replicas[i])) // nobody will ever hear of that
		s.replicas[i].crashed, s.replicas[i].running = true, 0
		s.replicas = append(s.replicas[:i], s.replicas[i+1:]...)
		s.start()
		s.replicas[len(s.replicas)-1].demand = s.excess * float64(s.terms.N) / s.terms.Per.Seconds() / float64(max(1, s.size))
	case 1:
		s.stats["down"]++
		s.down = true
		s.after(s.between(0, longest), func() { s.down = false })
	case 2:
		s.stats["cut"]++
		r := s.replicas[s.rng.IntN(len(s.replicas))]
		r.cut = true
		s.after(s.between(0, longest), func() { r.cut = false })
	}
	s.after(s.between(longest, 2*longest), s.accident)
}
