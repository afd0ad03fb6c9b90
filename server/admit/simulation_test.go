package admit

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"
)

var (
	simSeed  = flag.Uint64("admit.seed", 0, "run only this seed of the simulation")
	simSeeds = flag.Int("admit.seeds", 1000, "how many seeds of the simulation to run")
)

// drawn is a world whose limits are drawn from its seed.
func drawn(seed uint64) *sim {
	s := newSim(seed, Terms{}, 0)
	terms := Terms{N: 1 + s.rng.Int64N(10), Per: time.Second, Burst: 1 + s.rng.Int64N(60)}
	if s.rng.IntN(2) == 0 {
		terms.N, terms.Per = 1+s.rng.Int64N(300), time.Minute
	}
	var most int64
	if s.rng.IntN(2) == 0 {
		most = 1 + s.rng.Int64N(40)
	}
	w := newSim(seed, terms, most)
	w.rng = s.rng
	return w
}

// No stretch of time has more calls than the rate allows, and no more run at
// once than may, whatever happens to replicas, network and store.
func TestSimulation(t *testing.T) {
	seeds, first := *simSeeds, uint64(1)
	if testing.Short() {
		seeds = min(seeds, 100)
	}
	if *simSeed != 0 {
		seeds, first = 1, *simSeed
	}
	stats := map[string]int{}
	for seed := first; seed < first+uint64(seeds); seed++ {
		s := drawn(seed)
		if err := s.run(2 * time.Minute); err != nil {
			t.Fatalf("seed %d, %+v, %d at once: %v\nrun it again with -admit.seed=%d", seed, s.terms, s.most, err, seed)
		}
		stats["admitted"] += s.admission
		for what, n := range s.stats {
			stats[what] += n
		}
	}
	t.Log(seeds, "seeds:", stats)
	for _, what := range []string{"admitted", "refused", "refused since the store is away", "lost", "doubled", "crashed", "down", "cut", "stalled"} {
		if *simSeed == 0 && stats[what] < seeds/20 {
			t.Errorf("%q happened %d times in %d seeds: the simulation has become too tame", what, stats[what], seeds)
		}
	}
}

// Three replicas with three times the demand that a limit allows use 95 to 100 %
// of it over ten minutes, wherever the demand moves. Only where next to nothing
// may come at once it is less: a token that is on its way is one that the bucket
// waits for.
func TestReplicasUseTheWholeRate(t *testing.T) {
	for _, c := range []struct {
		burst, seeds int64
		least        float64
	}{{60, 20, 0.95}, {600, 3, 0.95}, {3, 3, 0.95}, {1, 3, 0.60}} {
		terms := Terms{N: 600, Per: time.Minute, Burst: c.burst}
		spent := 10*time.Second + time.Duration(terms.span(2*c.burst))*time.Microsecond
		least, most, asks := 1.0, 0.0, 0
		for seed := range uint64(c.seeds) {
			s := newSim(seed+1, terms, 0)
			s.calm = true
			s.fault.share = func(state *State, a Ask, now time.Time, ttl time.Duration) Answer {
				asks++
				return state.Ask(a, now, ttl)
			}
			if err := s.run(spent + 10*time.Minute); err != nil {
				t.Fatalf("burst %d, seed %d: %v", c.burst, seed+1, err)
			}
			n := 0
			for _, at := range s.admitted {
				if at > spent {
					n++
				}
			}
			used := float64(n) / 6000
			least, most = min(least, used), max(most, used)
		}
		t.Logf("600/min, burst %d: used are %.2f%% to %.2f%%; %d asks a minute", c.burst, 100*least, 100*most, int64(asks)/c.seeds/10)
		if least < c.least || most > 1+float64(c.burst)/6000 {
			t.Errorf("600/min, burst %d: used are %.2f%% to %.2f%%, not %.0f%% at least", c.burst, 100*least, 100*most, 100*c.least)
		}
	}
}

// Both checks see what grants too much: checks that find no fault would be worth
// nothing.
func TestSimulationFindsFaults(t *testing.T) {
	ask := (*State).Ask
	for name, fault := range map[string]faults{
		"the bucket grows in place of what is held": {share: func(s *State, a Ask, now time.Time, ttl time.Duration) Answer {
			if s.Holdings == nil || s.slots() {
				return ask(s, a, now, ttl)
			}
			all := s.Burst
			s.Burst += s.held()
			a.Terms = s.Terms
			answer := ask(s, a, now, ttl)
			s.Burst = all
			return answer
		}},
		"what has ended leaves before the bucket grows": {share: func(s *State, a Ask, now time.Time, ttl time.Duration) Answer {
			maps.DeleteFunc(s.Holdings, func(_ string, h *Holding) bool { return h.Expires <= now.UnixMicro() })
			return ask(s, a, now, ttl)
		}},
		"what is returned twice comes back twice": {share: func(s *State, a Ask, now time.Time, ttl time.Duration) Answer {
			if h := s.Holdings[a.Holder]; h != nil {
				h.Returned, h.Granted = 0, h.Granted+h.Returned
			}
			return ask(s, a, now, ttl)
		}},
		"what was told as used comes back": {share: func(s *State, a Ask, now time.Time, ttl time.Duration) Answer {
			a.Returned, a.Used = a.Returned+a.Used, 0
			return ask(s, a, now, ttl)
		}},
		"an answer grants one more": {share: func(s *State, a Ask, now time.Time, ttl time.Duration) Answer {
			answer := ask(s, a, now, ttl)
			answer.Granted++
			return answer
		}},
		"the store forgets what it kept": {share: func(s *State, a Ask, now time.Time, ttl time.Duration) Answer {
			if now.UnixMicro()%50 == 0 {
				*s = State{}
			}
			return ask(s, a, now, ttl)
		}},
		"shares end at the store too early": {share: func(s *State, a Ask, now time.Time, ttl time.Duration) Answer {
			return ask(s, a, now, ttl/10)
		}},
		"a replica ignores when a share ends": {share: ask, late: true},
		"a replica does not count all calls": {share: ask, replica: func(l *Limiter, s *sim) {
			for _, c := range l.places {
				for _, sh := range c {
					if sh != nil && sh.sum.Used > 0 && s.rng.IntN(20) == 0 {
						sh.sum.Used--
					}
				}
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			const seeds = 300
			for seed := range uint64(seeds) {
				if fault.replica == nil {
					if err := haggle(seed+1, fault); err != nil {
						t.Logf("haggling, seed %d: %v", seed+1, err)
						return
					}
				}
				s := drawn(seed + 1)
				s.fault = fault
				if err := s.run(2 * time.Minute); err != nil {
					t.Logf("seed %d: %v", seed+1, err)
					return
				}
			}
			t.Errorf("%d seeds found nothing", seeds)
		})
	}
}

// Replicas that want as much as they can get, keep it for as long as they may
// and tell little of it get no more either.
func TestNoHagglingGetsMoreThanTheRate(t *testing.T) {
	for seed := range uint64(3000) {
		if err := haggle(seed+1, faults{share: (*State).Ask}); err != nil {
			t.Fatalf("seed %d: %v", seed+1, err)
		}
	}
}

// haggle is holders without any sense beside the contract of Ask.
func haggle(seed uint64, fault faults) error {
	rng := rand.New(rand.NewPCG(seed, 0x4a661e))
	terms := Terms{N: 1 + rng.Int64N(100), Per: time.Minute, Burst: 1 + rng.Int64N(20)}
	type holder struct {
		Ask
		granted int64
		expires time.Duration
	}
	var (
		state     State
		holders   []*holder
		old       []Ask // that come again
		now, last time.Duration
		level     = float64(terms.Burst)
		spans     = []time.Duration{time.Millisecond, time.Second, 5 * time.Second, TTL}
		fresh     = func() *holder { return &holder{Ask: Ask{Holder: fmt.Sprint(rng.Int64()), Terms: terms}} }
		at        = func() time.Time { return simEpoch.Add(now) }
		free      = func(h *holder) int64 { return h.granted - h.Used - h.Returned }
	)
	for range 3 {
		holders = append(holders, fresh())
	}
	use := func(h *holder, calls int64) error {
		for range min(calls, free(h)) {
			h.Used++
			level = min(float64(terms.Burst), level+(now-last).Minutes()*float64(terms.N)) - 1
			if last = now; level < -1e-6 {
				return fmt.Errorf("at %s a call is more than the rate allows: %.3f too many", now, -level)
			}
		}
		return nil
	}
	for range 400 {
		now += time.Duration(rng.Int64N(int64(spans[rng.IntN(len(spans))])))
		i := rng.IntN(len(holders))
		h := holders[i]
		if now >= h.expires && !fault.late {
			h.Used += max(0, free(h))
		}
		switch rng.IntN(7) {
		case 6: // all of it, at the last moment
			h.Want = terms.Burst
			h.granted, h.expires = fault.share(&state, h.Ask, at(), TTL).Granted, now+TTL
			now += TTL - 2*time.Millisecond
			if err := use(h, terms.Burst); err != nil {
				return err
			}
			now += 3 * time.Millisecond
		case 0, 1: // an ask, whose answer may be lost
			h.Want = rng.Int64N(terms.Burst + 2)
			old = append(old, h.Ask)
			if a := fault.share(&state, h.Ask, at(), TTL); rng.IntN(5) > 0 {
				h.granted, h.expires = a.Granted, now+TTL
			}
		case 2: // one that comes again
			if len(old) > 0 {
				fault.share(&state, old[max(0, len(old)-1-rng.IntN(20))], at(), TTL)
			}
		case 3:
			h.Returned += max(0, free(h)) / 2
		case 4:
			if err := use(h, 1+rng.Int64N(1+max(0, free(h)))); err != nil {
				return err
			}
		case 5:
			if rng.IntN(10) == 0 {
				holders[i] = fresh()
			}
		}
	}
	return nil
}
