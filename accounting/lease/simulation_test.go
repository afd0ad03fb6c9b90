package lease

import (
	"flag"
	"testing"
)

var (
	simSeed  = flag.Uint64("lease.seed", 0, "run only this seed of the simulation, and tell what happens in it")
	simSeeds = flag.Int("lease.seeds", 10_000, "how many seeds of the simulation to run")
)

// The protocol loses nothing and grants nothing twice, whatever happens to its
// replicas, its network and its store.
func TestSimulation(t *testing.T) {
	if *simSeed != 0 {
		s := newSim(*simSeed)
		s.tells = true
		err := s.run()
		t.Logf("\n%s", s.report())
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	seeds := *simSeeds
	if testing.Short() || raceEnabled {
		seeds = min(seeds, 300)
	}
	t.Logf("%d seeds", seeds)
	stats := map[string]int{}
	for seed := range seeds {
		s := newSim(uint64(seed) + 1)
		if err := s.run(); err != nil {
			t.Fatalf("seed %d: %v\nrun it again with -lease.seed=%d, which tells what happened", seed+1, err, seed+1)
		}
		for what, n := range s.stats {
			stats[what] += n
		}
	}
	t.Log(stats)
	for _, what := range []string{"taken", "refused", "failed", "unbacked", "topped up", "settled", "overrun", "crashed", "restarted", "forfeited", "reclaimed"} {
		if stats[what] < seeds/20 {
			t.Errorf("%q happened %d times in %d seeds: the simulation has become too tame", what, stats[what], seeds)
		}
	}
}
