package route

import (
	"testing"
	"time"

	"github.com/weir-gateway/weir/server/backend"
)

func f(v float64) *float64 { return &v }

// share is how many of n calls that all go on one target of two gets.
func share(t *testing.T, m *Model, name string, n int, now time.Time) (got int, reason string) {
	for range n {
		try := next(t, tries(t, m, Call{}), now)
		if try.Name == name {
			got++
		}
		reason = try.Reason
	}
	return got, reason
}

func TestAReportOfLoadCounts(t *testing.T) {
	for name, c := range map[string]struct {
		load backend.Load
		want int // of 100 calls to that target of two, which all stay
	}{
		"says nothing of use": {backend.Load{}, 50},
		"idle":                {backend.Load{Running: f(0), Waiting: f(0), Utilization: f(0)}, 50},
		"full":                {backend.Load{Utilization: f(1)}, 33},
		"works for others":    {backend.Load{Running: f(40)}, 30},
		"a queue":             {backend.Load{Waiting: f(20)}, 30},
		"far beyond full":     {backend.Load{Utilization: f(97)}, 8},
	} {
		t.Run(name, func(t *testing.T) {
			m := model(t, Model{Name: "m", Targets: targets(2, nil)})
			m.Targets[0].state.hear(begin, backend.Signals{Load: &c.load})
			got, reason := share(t, m, "t0", 100, begin)
			if got < c.want-1 || got > c.want+1 {
				t.Errorf("it got %d of 100 calls, want about %d", got, c.want)
			}
			if reason != reasonLoad {
				t.Errorf("reason %q", reason)
			}
		})
	}
}

// Our own calls are not counted twice, and a server that is never asked again
// is not avoided for ever.
func TestAReportOfLoadIsOfItsMoment(t *testing.T) {
	m := model(t, Model{Name: "m", Targets: targets(2, nil)})
	share(t, m, "t0", 20, begin)
	m.Targets[0].state.hear(begin, backend.Signals{Load: &backend.Load{Running: f(10)}}) // all ours
	if got, _ := share(t, m, "t0", 100, begin); got < 49 || got > 51 {
		t.Errorf("a server that works for us alone got %d of 100 calls", got)
	}
	m = model(t, Model{Name: "m", Targets: targets(2, nil)})
	m.Targets[0].state.hear(begin, backend.Signals{Load: &backend.Load{Running: f(1000)}})
	if got, _ := share(t, m, "t0", 100, begin.Add(stale)); got != 0 {
		t.Errorf("a server in full work got %d calls", got)
	}
	if got, reason := share(t, m, "t0", 300, begin.Add(stale+1)); got < 190 || reason != reasonBusy {
		t.Errorf("with a report of long ago it got %d of 300 calls (%s), want those that the other one has ahead", got, reason)
	}
}

func TestABackendsLoadIsThatOfAllItsTargets(t *testing.T) {
	two := targets(2, nil)
	r, err := New([]Model{{Name: "m", Targets: two}, {Name: "n", Targets: two[:1]}})
	if err != nil {
		t.Fatal(err)
	}
	r.Hear("t0", begin, &backend.Load{Waiting: f(3), Utilization: f(0.5)})
	r.Hear("nobody", begin, &backend.Load{Waiting: f(3)})
	for _, s := range r.Standings(begin) {
		if (s.Load != nil) != (s.Name == "t0") || s.Load != nil && (*s.Load.Waiting != 3 || !s.LoadTime.Equal(begin)) {
			t.Errorf("%s: %+v", s.Name, s.Load)
		}
	}
	m, _ := r.Plan("m")
	next(t, tries(t, m, Call{}), begin)
	if l := m.Load(begin); *l.Running != 1 || *l.Waiting != 3 || *l.Utilization != 0.5 {
		t.Errorf("the model has %v %v %v", *l.Running, *l.Waiting, *l.Utilization)
	}
	if l := m.Load(begin.Add(stale + 1)); l.Waiting != nil || l.Utilization != nil {
		t.Errorf("a report of long ago is passed on: %+v", l)
	}
}

func TestASpentLimitIsObeyedWhileThereAreOthers(t *testing.T) {
	m := model(t, Model{Name: "m", Targets: targets(2, func(i int, x *Target) { x.Priority = i })})
	try := next(t, tries(t, m, Call{}), begin)
	try.Hear(begin, backend.Signals{Spent: 30 * time.Second})
	try.Hear(begin, backend.Signals{Spent: 5 * time.Second}) // of another limit
	try.Done(begin, nil)
	if got := chosen(t, m, 20, begin.Add(30*time.Second-1)); got["t0"] != 0 {
		t.Errorf("calls went where nothing is left: %v", got)
	}
	if s := (&Target{Name: "t0", state: m.Targets[0].state}).standing(begin); !s.SpentUntil.Equal(begin.Add(30 * time.Second)) {
		t.Errorf("it is told that the limit is spent until %v", s.SpentUntil)
	}
	if got := chosen(t, m, 20, begin.Add(30*time.Second)); got["t0"] != 20 {
		t.Errorf("after the reset calls went to %v", got)
	}
	// Where no other is left, it is asked, and says itself whether it means it.
	all := tries(t, m, Call{})
	if a, b := next(t, all, begin), next(t, all, begin); a.Name != "t1" || b.Name != "t0" || b.Reason != reasonSpent || b.ejected {
		t.Errorf("%s, then %s: %s", a.Name, b.Name, b.Reason)
	}
	fail(m, 1, failuresInARow, begin) // ejected is worse than spent
	if try := next(t, tries(t, m, Call{}), begin); try.Name != "t0" || m.Targets[1].state.until.Load() == 0 {
		t.Errorf("%s: %s", try.Name, try.Reason)
	}
}

func BenchmarkPlanByLoad(b *testing.B) {
	r, err := New([]Model{{Name: "m", Targets: targets(100, nil)}})
	if err != nil {
		b.Fatal(err)
	}
	for i := range 100 {
		r.Hear(targets(100, nil)[i].Name, begin, &backend.Load{Running: f(float64(i)), Waiting: f(1), Utilization: f(0.5)})
	}
	b.ReportAllocs()
	for b.Loop() {
		m, _ := r.Plan("m")
		all, err := m.Tries(&Call{})
		if err != nil {
			b.Fatal(err)
		}
		try, err := all.Next(begin)
		if err != nil {
			b.Fatal(err)
		}
		try.Done(begin, nil)
	}
}
