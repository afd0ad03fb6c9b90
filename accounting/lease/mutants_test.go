package lease

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Each fault of a store, of a clock or of a gateway that breaks its part of the
// contract is seen by the simulation: a check that finds none of them would be
// worth nothing.
func TestSimulationFindsFaults(t *testing.T) {
	for _, c := range []struct {
		fault string
		set   func(*sim)
	}{
		{"a grant that comes twice is granted twice", func(s *sim) { s.model.faults.grantsAgain = true }},
		{"a grant does not look at what is leased", func(s *sim) { s.model.faults.ignoresLeased = true }},
		{"a process that was replaced is granted", func(s *sim) { s.model.faults.noFence = true }},
		{"a return that comes twice is returned twice", func(s *sim) { s.model.faults.returnsAgain = true }},
		{"a close returns what settlements are on their way for", func(s *sim) { s.model.faults.returnSettled = true }},
		{"a close forgets a grant whose answer was lost", func(s *sim) { s.model.faults.forgetsUnknown = true }},
		{"a close of an unknown lease is not remembered", func(s *sim) { s.model.faults.noTombstone = true }},
		{"a forfeit frees what remains", func(s *sim) { s.model.faults.forfeitFrees = true }},
		{"a line that comes twice is counted twice", func(s *sim) { s.model.faults.settlesAgain = true }},
		{"a settlement of an ended lease leaves leased as it was", func(s *sim) { s.model.faults.settledStaysLeased = true }},
		{"overrun is not counted", func(s *sim) { s.model.faults.overrunIgnored = true }},
		{"a replica's clock stands still", func(s *sim) { s.frozen = true }},
		{"a hold ends before its line is written", func(s *sim) { s.endEarly = true }},
		{"a hold shrinks before that is written", func(s *sim) { s.shrinkEarly = true }},
	} {
		t.Run(c.fault, func(t *testing.T) {
			const seeds = 1000
			for seed := range uint64(seeds) {
				s := newSim(seed + 1)
				c.set(s)
				if err := s.run(); err != nil {
					t.Logf("seed %d: %v", seed+1, err)
					return
				}
			}
			t.Errorf("%d seeds found nothing", seeds)
		})
	}
}

// So is each fault of the holder. They are made in its source, which a build
// with an overlay compiles instead, so that none of them needs a place in it.
func TestSimulationFindsFaultsOfTheHolder(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("each fault is a build of its own: run it without -short and -race")
	}
	for _, c := range []struct{ fault, file, old, new string }{
		{"it ignores when its lease expires", "share.go", "if int64(now) >= l.until.Load() {", "if l.until.Load() == 0 {"},
		{"it believes that a lease lasts longer than it does", "acquire.go", "h.config.TTL - h.config.Skew", "2*h.config.TTL"},
		{"it takes the total of an answer for an increase", "acquire.go", "max(0, g.Granted-l.granted)", "g.Granted"},
		{"it uses a lease that is not live", "acquire.go", "if g.State != Live {", "if false {"},
		{"a refused hold keeps its fragment", "acquire.go", "errors.As(err, &exhausted) {", "errors.As(err, &exhausted) && false {"},
		{"a refused hold keeps what it got elsewhere", "acquire.go", "if n := &needs[i]; n.done && n.lease != nil {", "if n := &needs[i]; n.done && n.lease == nil {"},
		{"it closes leases while holds are open", "acquire.go", "l.closing = l.retired && l.open() == 0", "l.closing = l.retired"},
		{"it forgets a lease whose end the store has not confirmed", "acquire.go", "if err := h.config.Store.Return(ctx, returns); err != nil {\n\t\treturn err\n\t}", "_ = h.config.Store.Return(ctx, returns)"},
		{"it forgets a lease of which it has heard nothing", "acquire.go", "if l.closing || l.returned > l.acked {", "if l.closing && l.granted > 0 || l.returned > l.acked {"},
		{"it returns what it goes on to use", "share.go", "amount = l.grab(amount)", "amount = max(0, min(amount, l.free.Load()))"},
		{"a settle gives back what was used", "share.go", "l.put(held - covered)", "l.put(held)"},
		{"a settle beyond its hold does not pay from the lease", "hold.go", "p.held += p.lease.grab(beyond)", "p.held += beyond"},
		{"an overdrawn lease pays twice", "share.go", "\t\t\tamount -= part\n", ""},
		{"what an overdrawn lease pays is not returned", "share.go", "l.returned += paid", "_ = paid"},
		{"a hold that shrinks gives back more than it had", "hold.go", "\t\t\tp.held -= amount\n", ""},
		{"a failed top-up keeps a part", "hold.go", "case n == nil:\n\t\t\tp.lease.put(amount)", "case n == nil:"},
	} {
		t.Run(c.fault, func(t *testing.T) {
			source, err := os.ReadFile(c.file)
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(source), c.old); n != 1 {
				t.Fatalf("%s has %q %d times; a fault is made in one place", c.file, c.old, n)
			}
			dir := t.TempDir()
			here, err := filepath.Abs(c.file)
			if err != nil {
				t.Fatal(err)
			}
			faulty, overlay := filepath.Join(dir, c.file), filepath.Join(dir, "overlay.json")
			list, err := json.Marshal(map[string]map[string]string{"Replace": {here: faulty}})
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(faulty, []byte(strings.Replace(string(source), c.old, c.new, 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(overlay, list, 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.CommandContext(t.Context(), "go", "test", "-overlay", overlay, "-vet=off", "-count=1", "-run", "^TestSimulation$", ".").CombinedOutput()
			_, found, ok := strings.Cut(string(out), "simulation_test.go")
			if err == nil || !ok || !strings.Contains(found, "run it again with") {
				t.Fatalf("the seeds of TestSimulation found nothing: %v\n%s", err, out)
			}
			line, _, _ := strings.Cut(found[strings.Index(found, "seed "):], "\n")
			t.Log(line)
		})
	}
}
