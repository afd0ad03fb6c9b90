package route

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/server/backend"
)

var broken = &backend.Error{Class: backend.Failed}

// fail lets a target fail, whether it would be chosen or not.
func fail(m *Model, target, times int, now time.Time) {
	for range times {
		m.Targets[target].state.outstanding.Add(1)
		try := Try{Target: &m.Targets[target], start: now}
		try.Done(now, broken)
	}
}

// chosen are the targets that n calls go to.
func chosen(t *testing.T, m *Model, n int, now time.Time) map[string]int {
	got := map[string]int{}
	for range n {
		try := next(t, tries(t, m, Call{}), now)
		got[try.Name]++
		try.Done(now, context.Canceled) // says nothing of the target
	}
	return got
}

func TestFailuresInARowEject(t *testing.T) {
	m := model(t, Model{Name: "m", Targets: targets(3, nil)})
	fail(m, 1, 4, begin)
	if chosen(t, m, 100, begin)["t1"] == 0 {
		t.Fatal("four failures have ejected a target")
	}
	fail(m, 1, 1, begin)
	if n := chosen(t, m, 100, begin.Add(firstEjection-1))["t1"]; n != 0 {
		t.Fatalf("an ejected target got %d calls", n)
	}
	// Then one call tests it, and no other as long as that has not ended.
	now := begin.Add(firstEjection)
	var probe Try
	others := []Try{}
	for range 100 {
		try := next(t, tries(t, m, Call{}), now)
		if others = append(others, try); try.Name == "t1" {
			if probe.Target != nil {
				t.Fatal("two calls test the target at once")
			}
			probe = try
		}
	}
	if probe.Target == nil || probe.Reason != reasonProbe {
		t.Fatalf("no call of 100 tests the target: %+v", probe)
	}
	probe.Done(now, broken)
	if n := chosen(t, m, 100, now.Add(2*firstEjection-1))["t1"]; n != 0 {
		t.Errorf("after a test that failed it got %d calls: it should stay away twice as long", n)
	}
	for _, try := range others {
		try.Done(now, nil)
	}
	now = now.Add(2 * firstEjection)
	for {
		if probe = next(t, tries(t, m, Call{}), now); probe.Name == "t1" {
			break
		}
		probe.Done(now, nil)
	}
	probe.Answered(now)
	if chosen(t, m, 100, now)["t1"] == 0 {
		t.Error("a target that has answered is not back, although the call goes on")
	}
}

func TestARateOfFailuresEjects(t *testing.T) {
	m := model(t, Model{Name: "m", Targets: targets(2, nil)})
	for i := range 30 {
		fail(m, 0, 2, begin)
		m.Targets[0].state.remember(0)
		if ejected := m.Targets[0].state.until.Load() != 0; ejected != (3*(i+1) > fewCalls-1) {
			t.Fatalf("after %d calls, two of three failed: ejected %v", 3*(i+1), ejected)
		} else if ejected {
			return
		}
	}
	t.Fatal("never ejected")
}

func TestNeverAllAreEjected(t *testing.T) {
	for n, most := range map[int]int{1: 0, 2: 1, 5: 4, 10: 8} {
		m := model(t, Model{Name: "m", Targets: targets(n, nil)})
		for i := range n {
			fail(m, i, 100, begin)
		}
		ejected := 0
		for i := range m.Targets {
			if m.Targets[i].state.until.Load() != 0 {
				ejected++
			}
		}
		if ejected != most {
			t.Errorf("%d of %d are ejected, want %d", ejected, n, most)
		}
	}
}

func TestAnEjectedTargetIsTheLastResort(t *testing.T) {
	m := model(t, Model{Name: "m", Targets: targets(2, func(i int, x *Target) { x.Tags = []string{[]string{"private", "public"}[i]} })})
	fail(m, 0, 5, begin)
	try := next(t, tries(t, m, Call{Only: []policy.Narrowing{{Only: "private"}}}), begin)
	if try.Name != "t0" || try.Reason != reasonLast {
		t.Fatalf("%+v", try)
	}
	try.Done(begin, nil)
	if chosen(t, m, 100, begin)["t0"] == 0 {
		t.Error("it has answered and is not back")
	}
}

func TestWhatIsKnownSurvivesANewConfiguration(t *testing.T) {
	r, err := New([]Model{{Name: "m", Targets: targets(2, nil)}})
	if err != nil {
		t.Fatal(err)
	}
	m, _ := r.Plan("m")
	fail(m, 0, 5, begin)
	r, err = r.Renew([]Model{{Name: "m", Targets: targets(3, nil)}, {Name: "other", Targets: targets(1, nil)}})
	if err != nil {
		t.Fatal(err)
	}
	m, _ = r.Plan("m")
	if n := chosen(t, m, 100, begin)["t0"]; n != 0 {
		t.Errorf("an ejected target got %d calls after a new configuration", n)
	}
	r, err = r.Renew([]Model{{Name: "m", Targets: targets(2, func(_ int, x *Target) { x.Edition = 2 })}})
	if err != nil {
		t.Fatal(err)
	}
	m, _ = r.Plan("m")
	if chosen(t, m, 100, begin)["t0"] == 0 {
		t.Error("a target whose backend was configured anew is still ejected")
	}
}

func TestRejectionsSayThatABackendIsWell(t *testing.T) {
	m := model(t, Model{Name: "m", Targets: targets(2, nil)})
	for _, err := range []error{&backend.Error{Class: backend.Rejected}, &backend.Error{Class: backend.ContextExceeded}, context.Canceled, context.DeadlineExceeded} {
		for range 30 {
			try := next(t, tries(t, m, Call{}), begin)
			try.Done(begin, err)
			try.Done(begin, broken) // counts once
		}
	}
	for i := range m.Targets {
		if s := m.Targets[i].state; s.until.Load() != 0 || s.outstanding.Load() != 0 {
			t.Errorf("t%d is ejected or has work: %d", i, s.outstanding.Load())
		}
	}
}

// Many calls at once leave nothing behind: no work that nobody does, no test that
// never ends.
func TestManyCallsAtOnce(t *testing.T) {
	r, err := New([]Model{{Name: "m", Targets: targets(8, nil)}})
	if err != nil {
		t.Fatal(err)
	}
	m, _ := r.Plan("m")
	var clock atomic.Int64
	now := func() time.Time { return begin.Add(time.Duration(clock.Add(int64(50 * time.Millisecond)))) }
	outcomes := []error{nil, nil, nil, broken, broken, context.Canceled, &backend.Error{Class: backend.Overloaded, RetryAfter: time.Second}, &backend.Error{Class: backend.Rejected}}
	var running sync.WaitGroup
	for worker := range 8 {
		running.Go(func() {
			for i := range 500 {
				all, err := m.Tries(&Call{})
				if err != nil {
					t.Error(err)
					return
				}
				for {
					try, err := all.Next(now())
					if err != nil || try.Target == nil {
						break
					}
					if (i+worker)%3 == 0 {
						try.Answered(now())
					}
					outcome := outcomes[(i*7+worker*3+all.Left())%len(outcomes)]
					try.Done(now(), outcome)
					if outcome == nil || !all.Again(now()) {
						break
					}
				}
				if i%100 == 0 {
					r.Standings(now())
				}
			}
		})
	}
	running.Wait()
	later := now().Add(time.Hour)
	for range 100 {
		try := next(t, tries(t, m, Call{}), later)
		try.Done(later, nil)
	}
	for _, s := range r.Standings(later) {
		if s.Outstanding != 0 || !s.EjectedUntil.IsZero() {
			t.Errorf("%s: %d in flight, ejected until %v", s.Name, s.Outstanding, s.EjectedUntil)
		}
	}
}
