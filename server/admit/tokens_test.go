package admit

import (
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/policy"
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
			return ask(s, a, now, ttl/100)
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

func tokensPerMinute(n, burst int64) policy.BoundRate {
	return policy.BoundRate{Tenant: "acme", Policy: "base", Rate: policy.Rate{
		ID: "t", Per: "key", Tokens: &policy.Quota{N: n, Per: time.Minute}, TokenBurst: &burst,
	}}
}

// What a call used beyond its estimate is waited for, and what it did not use is
// there at once; by a process for itself and by a replica.
func TestACallPaysForTheTokensItUsed(t *testing.T) {
	for name, replica := range map[string]bool{"alone": false, "replica": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := New(time.Now)
				if replica {
					l = replicas(t, &book{}, 1)[0]
				}
				rates := []policy.BoundRate{tokensPerMinute(600, 1000)}
				call := func(used int64) error {
					leave, err := l.Admit(t.Context(), k1, rates, Estimate{Input: 400, MaxOutput: 100})
					if err == nil {
						leave(used)
					}
					return err
				}
				for range 5 { // 500 are taken by each, and come back
					if err := call(10); err != nil {
						t.Fatal(err)
					}
				}
				if err := call(2550); err != nil { // 1600 more than are there
					t.Fatal(err)
				}
				refused := refusalOf(t, call(1))
				if refused.Rate == nil || !refused.Rate.Tokens || refused.Rate.Limit != 1000 || refused.Rate.Remaining != 0 || refused.Rate.Reset < 4*time.Minute {
					t.Errorf("%+v, %+v", refused, refused.Rate)
				}
				if want := 160 * time.Second; refused.RetryAfter < want || refused.RetryAfter > want+time.Second {
					t.Errorf("told to come again in %s, where 1600 tokens take %s", refused.RetryAfter, want)
				}
				time.Sleep(refused.RetryAfter - time.Second)
				again := refusalOf(t, call(1)).RetryAfter
				if again < 500*time.Millisecond || again > time.Second {
					t.Errorf("a second before, told to come again in %s", again)
				}
				time.Sleep(again)
				if err := call(1); err != nil {
					t.Errorf("there was no place at the time that was told: %v", err)
				}
			})
		})
	}
}

// A call that is thought to use more than may come at once is admitted, and waited
// for after it.
func TestALargeCallIsAdmitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := replicas(t, &book{}, 2)
		rates := []policy.BoundRate{tokensPerMinute(60, 100)}
		large := Estimate{Input: 1000}
		leave, err := list[0].Admit(t.Context(), k1, rates, large)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second) // the store hears of it
		for _, l := range list {
			if _, err := l.Admit(t.Context(), k1, rates, Estimate{Input: 1}); err == nil {
				t.Error("a call is admitted while 900 tokens are owed")
			}
		}
		if _, err := list[1].Admit(t.Context(), k1, rates, Estimate{}); err != nil {
			t.Errorf("a call without tokens waits for some: %v", err)
		}
		leave(10)
		time.Sleep(2 * time.Second)
		if leave, err := list[0].Admit(t.Context(), k1, rates, Estimate{Input: 50}); err != nil {
			t.Errorf("what was not used did not come back: %v", err)
		} else {
			leave(50)
		}
	})
}

// Tokens that a call was wrongly thought to use are not there for others, though
// they were overdrawn.
func TestWhatWasOverdrawnForNothingIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := replicas(t, &book{}, 2)
		rates := []policy.BoundRate{tokensPerMinute(1, 60)}
		admitted := 0
		for i := range 10 {
			leave, err := list[i/2%2].Admit(t.Context(), k1, rates, Estimate{Input: 25, MaxOutput: 4000})
			if err == nil {
				admitted++
				time.Sleep(10 * time.Millisecond)
				leave(45)
				time.Sleep(10 * time.Millisecond)
			}
		}
		if admitted != 2 {
			t.Errorf("admitted are %d calls of 45 tokens where 60 may be used at once", admitted)
		}
	})
}

// What answers were like is what the next one is thought to be.
func TestTheEstimateLearns(t *testing.T) {
	sh := &share{kind: tokens}
	e := Estimate{Input: 10, MaxOutput: 4000}
	if n := e.of(sh); n != 10+firstOutput {
		t.Errorf("before any answer %d tokens are thought of", n)
	}
	l := New(newClock().now)
	rates := []policy.BoundRate{tokensPerMinute(1<<40, 1<<40)}
	for range 50 {
		leave, err := l.Admit(ctx, k1, rates, e)
		if err != nil {
			t.Fatal(err)
		}
		leave(10 + 600)
	}
	for _, c := range l.places {
		if n := e.of(c[tokens]); n != 610 {
			t.Errorf("after answers of 600 tokens %d are thought of", n)
		}
		if n := (Estimate{Input: 10, MaxOutput: 50}).of(c[tokens]); n != 60 {
			t.Errorf("of a call that asks for 50 at most, %d are thought of", n)
		}
	}
}

// A process for itself lets no stretch of time use more than the rate allows and
// what is owed at its end.
func TestNoScheduleUsesMoreTokensThanTheRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newClock()
		l := New(c.now)
		n, burst := rapid.Int64Range(1, 10_000).Draw(t, "n"), rapid.Int64Range(1, 2000).Draw(t, "burst")
		rates := []policy.BoundRate{tokensPerMinute(n, burst)}
		var running []Leave
		level, last := float64(burst), c.Time
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			switch rapid.IntRange(0, 2).Draw(t, "step") {
			case 0:
				c.Time = c.Add(time.Duration(rapid.Int64Range(0, int64(20*time.Second)).Draw(t, "wait")))
			case 1:
				e := Estimate{Input: rapid.Int64Range(1, 500).Draw(t, "input"), MaxOutput: rapid.Int64Range(0, 500).Draw(t, "output")}
				if leave, err := l.Admit(ctx, k1, rates, e); err == nil {
					running = append(running, leave)
				}
			case 2:
				if len(running) == 0 {
					continue
				}
				used := rapid.Int64Range(0, 1000).Draw(t, "used")
				running[0](used)
				running = running[1:]
				level = min(float64(burst), level+c.Sub(last).Minutes()*float64(n)) - float64(used)
				last = c.Time
				for _, count := range l.places {
					if owed := max(0, -count[tokens].bucket.Tokens); level+float64(owed) < -1e-6 {
						t.Fatalf("%.3f tokens too many are used, and %d are owed", -level, owed)
					}
				}
			}
		}
	})
}
