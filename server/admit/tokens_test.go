package admit

import (
	"testing"
	"time"
)

// drawnTokens is a world whose limit is of tokens, drawn from its seed.
func drawnTokens(seed uint64) *sim {
	s := newSim(seed, Terms{}, 0)
	terms := Terms{N: 1 + s.rng.Int64N(1000), Per: time.Second, Burst: 1 + s.rng.Int64N(20_000)}
	if s.rng.IntN(2) == 0 {
		terms.N, terms.Per = 1+s.rng.Int64N(100_000), time.Minute
	}
	// From many small calls at once to single ones larger than the burst.
	w := newTokenSim(seed, terms, 1+terms.Burst/[]int64{1, 3, 10, 100}[s.rng.IntN(4)])
	w.rng = s.rng
	return w
}

// In no stretch of time are more tokens used than the rate allows and what is
// owed at its end, whatever happens to replicas, network and store.
func TestSimulationOfTokens(t *testing.T) {
	seeds, first := *simSeeds, uint64(1)
	if testing.Short() {
		seeds = min(seeds, 100)
	}
	if *simSeed != 0 {
		seeds, first = 1, *simSeed
	}
	stats := map[string]int{}
	for seed := first; seed < first+uint64(seeds); seed++ {
		s := drawnTokens(seed)
		if err := s.run(2 * time.Minute); err != nil {
			t.Fatalf("seed %d, %+v, calls of %d: %v\nrun it again with -admit.seed=%d", seed, s.terms, s.size, err, seed)
		}
		stats["admitted"] += s.admission
		for what, n := range s.stats {
			stats[what] += n
		}
	}
	t.Log(seeds, "seeds:", stats)
	for _, what := range []string{"admitted", "refused", "refused since the store is away", "lost", "doubled", "crashed", "down", "cut", "stalled", "owed"} {
		if *simSeed == 0 && stats[what] < seeds/20 {
			t.Errorf("%q happened %d times in %d seeds: the simulation has become too tame", what, stats[what], seeds)
		}
	}
}

func TestSimulationOfTokensFindsFaults(t *testing.T) {
	ask := (*State).Ask
	// each changes the shares of a replica after an answer.
	each := func(change func(*share)) func(*Limiter, *sim) {
		return func(l *Limiter, s *sim) {
			for _, c := range l.places {
				if sh := c[tokens]; sh != nil && s.rng.IntN(20) == 0 {
					change(sh)
				}
			}
		}
	}
	for name, fault := range map[string]faults{
		"the store forgives what is owed": {share: func(s *State, a Ask, now time.Time, ttl time.Duration) Answer {
			answer := ask(s, a, now, ttl)
			s.Tokens = max(0, s.Tokens)
			return answer
		}},
		"the store does not hear of what is overdrawn": {share: func(s *State, a Ask, now time.Time, ttl time.Duration) Answer {
			answer := ask(s, a, now, ttl)
			h := s.Holdings[a.Holder]
			s.Tokens += max(0, min(h.held(), a.Overdrawn-a.Told.Overdrawn))
			return answer
		}},
		"a share that has ended takes what it owes along": {share: func(s *State, a Ask, now time.Time, ttl time.Duration) Answer {
			if h := s.Holdings[a.Holder]; h == nil || h.Expires <= now.UnixMicro() {
				a.Told = a.Totals
			}
			return ask(s, a, now, ttl)
		}},
		"the bucket grows in place of what runs": {share: func(s *State, a Ask, now time.Time, ttl time.Duration) Answer {
			if s.Holdings == nil {
				return ask(s, a, now, ttl)
			}
			all := s.Burst
			s.Burst += s.held()
			a.Terms = s.Terms
			answer := ask(s, a, now, ttl)
			s.Burst = all
			return answer
		}},
		"an answer grants more": {share: func(s *State, a Ask, now time.Time, ttl time.Duration) Answer {
			answer := ask(s, a, now, ttl)
			answer.Granted += s.Burst/10 + 1
			return answer
		}},
		"shares end at the store too early": {share: func(s *State, a Ask, now time.Time, ttl time.Duration) Answer {
			return ask(s, a, now, ttl/10)
		}},
		"estimates come back and the use is not counted": {share: ask, replica: each(func(sh *share) {
			sh.running = 0
		})},
		"a replica forgets what it has overdrawn": {share: ask, replica: each(func(sh *share) {
			sh.told.Overdrawn, sh.granted = sh.sum.Overdrawn, sh.granted+sh.sum.Overdrawn-sh.told.Overdrawn
			sh.granted += sh.terms.Burst / 10
		})},
		"a replica uses less than it does": {share: ask, replica: each(func(sh *share) { sh.sum.Used -= sh.sum.Used / 10 })},
	} {
		t.Run(name, func(t *testing.T) {
			const seeds = 300
			for seed := range uint64(seeds) {
				s := drawnTokens(seed + 1)
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

// Three replicas with three times the demand that a limit allows use 95 to 100 %
// of it over ten minutes; what is owed for a while is paid.
func TestReplicasUseTheWholeTokenRate(t *testing.T) {
	for _, c := range []struct {
		burst, size, seeds int64
	}{{100_000, 1000, 10}, {100_000, 10_000, 10}, {20_000, 1000, 10}} {
		terms := Terms{N: 100_000, Per: time.Minute, Burst: c.burst}
		const warm = 3 * time.Minute
		least, most := 2.0, 0.0
		for seed := range uint64(c.seeds) {
			s := newTokenSim(seed+1, terms, c.size)
			s.calm = true
			if err := s.run(warm + 10*time.Minute); err != nil {
				t.Fatalf("burst %d, seed %d: %v", c.burst, seed+1, err)
			}
			var n int64
			for _, u := range s.used {
				if u.at > warm {
					n += u.tokens
				}
			}
			used := float64(n) / (10 * 100_000)
			least, most = min(least, used), max(most, used)
		}
		t.Logf("100k/min, burst %d, calls of %d: used are %.2f%% to %.2f%%", c.burst, c.size, 100*least, 100*most)
		if over := float64(c.burst) / 1e6; least < 0.95 || most > 1+over {
			t.Errorf("100k/min, burst %d, calls of %d: used are %.2f%% to %.2f%%, not 95%% to %.0f%%", c.burst, c.size, 100*least, 100*most, 100+100*over)
		}
	}
}
