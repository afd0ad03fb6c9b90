package route

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/server/backend"
)

var begin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// model makes a model of a router of its own, whose chance is the same in every
// run.
func model(t testing.TB, m Model) *Model {
	t.Helper()
	source := rand.NewPCG(1, 2)
	r, err := (&Router{fleet: &fleet{}, random: source.Uint64}).Renew([]Model{m})
	if err != nil {
		t.Fatal(err)
	}
	made, _ := r.Plan(m.Name)
	return made
}

// targets makes targets called t0, t1 and so on.
func targets(n int, change func(int, *Target)) []Target {
	all := make([]Target, n)
	for i := range all {
		all[i].Name = fmt.Sprintf("t%d", i)
		if change != nil {
			change(i, &all[i])
		}
	}
	return all
}

func tries(t testing.TB, m *Model, c Call) *Tries {
	t.Helper()
	all, err := m.Tries(&c)
	if err != nil {
		t.Fatal(err)
	}
	return &all
}

func next(t testing.TB, tries *Tries, now time.Time) Try {
	t.Helper()
	try, err := tries.Next(now)
	if err != nil {
		t.Fatal(err)
	}
	return try
}

func TestTiersComeInOrderAndEachTargetOnce(t *testing.T) {
	m := model(t, Model{Name: "m", Targets: targets(5, func(i int, x *Target) { x.Priority = []int{1, 0, 1, 0, 2}[i] })})
	for range 50 {
		var tiers []int
		seen := map[string]bool{}
		for all := tries(t, m, Call{}); ; {
			try := next(t, all, begin)
			if try.Target == nil {
				break
			}
			tiers, seen[try.Name] = append(tiers, try.Priority), true
		}
		if fmt.Sprint(tiers) != "[0 0 1 1 2]" || len(seen) != 5 {
			t.Fatalf("tiers %v, %d targets", tiers, len(seen))
		}
	}
}

func TestLoadFollowsWeightAndWork(t *testing.T) {
	m := model(t, Model{Name: "m", Targets: targets(3, func(i int, x *Target) { x.Weight = []int{1, 2, 7}[i] })})
	got := map[string]int{}
	for range 10_000 {
		try := next(t, tries(t, m, Call{}), begin)
		got[try.Name]++
		// Nothing ends, so the work in flight has to come out by weight.
	}
	for name, want := range map[string]int{"t0": 1000, "t1": 2000, "t2": 7000} {
		if got[name] < want*9/10 || got[name] > want*11/10 {
			t.Errorf("%s has %d of 10000, want about %d", name, got[name], want)
		}
	}
	// A target that does not get its work done gets less of it.
	m = model(t, Model{Name: "m", Targets: targets(4, nil)})
	got = map[string]int{}
	for range 10_000 {
		try := next(t, tries(t, m, Call{}), begin)
		got[try.Name]++
		if try.Name != "t2" {
			try.Done(begin, nil)
		}
	}
	if got["t2"] > 10 {
		t.Errorf("a target that hangs got %d of 10000", got["t2"])
	}
}

func TestConditionsAndTagsNarrow(t *testing.T) {
	when := func(text string) *policy.Condition {
		c, err := policy.NewTargetCondition(text)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	m := model(t, Model{Name: "m", Targets: []Target{
		{Name: "gold", When: when(`labels.tier == "gold"`), Tags: []string{"private"}},
		{Name: "acme", When: when(`caller.tenant == "acme" && region == "eu"`), Region: "eu"},
	}})
	plan := func(c Call) string {
		all, err := m.Tries(&c)
		if err != nil {
			return err.Error()
		}
		var names []string
		for {
			try := next(t, &all, begin)
			if try.Target == nil {
				return strings.Join(names, " ")
			}
			names = append(names, try.Name)
			try.Done(begin, nil)
		}
	}
	gold := map[string]string{"tier": "gold"}
	private := []policy.Narrowing{{Policy: "base", Only: "private"}}
	for _, c := range []struct {
		call Call
		want string
	}{
		{Call{Subject: policy.Subject{Tenant: "acme"}}, "acme"},
		{Call{Subject: policy.Subject{Labels: gold}}, "gold"},
		{Call{Subject: policy.Subject{Tenant: "acme", Labels: gold}, Only: private}, "gold"},
		{Call{Subject: policy.Subject{Tenant: "other"}}, `no target of model "m" takes this call`},
		{Call{Subject: policy.Subject{Tenant: "acme"}, Only: private}, `policy "base" lets this call go only to backends with the tag "private"`},
	} {
		if got := plan(c.call); !strings.HasPrefix(got, c.want) {
			t.Errorf("%+v: %s, want %s", c.call, got, c.want)
		}
	}
}

func prompt(text string) *backend.Request {
	return &backend.Request{Messages: []backend.Message{{Role: backend.User, Parts: []backend.Part{{Channel: backend.Content, Text: text}}}}}
}

func TestAffinity(t *testing.T) {
	sessions := model(t, Model{Name: "m", Affinity: SessionAffinity, Targets: targets(5, nil)})
	prefixes := model(t, Model{Name: "m", Affinity: PrefixAffinity, Targets: targets(5, nil)})
	spread := map[string]bool{}
	for i := range 100 {
		session := Call{Subject: policy.Subject{Tenant: "a", Session: fmt.Sprint(i)}}
		start := strings.Repeat(fmt.Sprint("第", i, "个 system prompt "), 100)
		var s, p string
		for turn := range 3 {
			try := next(t, tries(t, sessions, session), begin)
			if try.Done(begin, nil); turn > 0 && try.Name != s {
				t.Fatalf("session %d moved from %s to %s", i, s, try.Name)
			}
			s, spread[try.Name] = try.Name, true
			try = next(t, tries(t, prefixes, Call{Request: prompt(start + fmt.Sprint(turn))}), begin)
			if try.Done(begin, nil); turn > 0 && try.Name != p {
				t.Fatalf("prefix %d moved from %s to %s", i, p, try.Name)
			}
			p = try.Name
		}
	}
	if len(spread) != 5 {
		t.Errorf("100 sessions are on %d of 5 targets", len(spread))
	}
	// One session that has more to do than its target may have goes elsewhere.
	got := map[string]int{}
	for range 100 {
		got[next(t, tries(t, sessions, Call{Subject: policy.Subject{Session: "busy"}}), begin).Name]++
	}
	for name, n := range got {
		if n > 26 {
			t.Errorf("%s has %d of 100 calls in flight, more than a fair share and a quarter", name, n)
		}
	}
}

// A target that goes takes only its own keys with it, whatever the weights.
func TestAffinityMovesNoMoreThanItMust(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		n := rapid.IntRange(2, 12).Draw(r, "targets")
		all := targets(n, func(i int, x *Target) { x.Weight = rapid.IntRange(1, 5).Draw(r, "weight") })
		gone := rapid.IntRange(0, n-1).Draw(r, "gone")
		fewer := append(append([]Target{}, all[:gone]...), all[gone+1:]...)
		before := model(t, Model{Name: "m", Affinity: SessionAffinity, Targets: all})
		after := model(t, Model{Name: "m", Affinity: SessionAffinity, Targets: fewer})
		call := Call{Subject: policy.Subject{Session: rapid.String().Filter(func(s string) bool { return s != "" }).Draw(r, "session")}}
		was, is := next(t, tries(t, before, call), begin).Name, next(t, tries(t, after, call), begin).Name
		if was != is && was != all[gone].Name {
			r.Fatalf("it moved from %s to %s when %s went", was, is, all[gone].Name)
		}
	})
}

func TestRetriesHaveABudget(t *testing.T) {
	m := model(t, Model{Name: "m", Targets: targets(2, nil)})
	again := func(calls int, now time.Time) (n int) {
		for range calls {
			all := tries(t, m, Call{})
			try := next(t, all, now)
			try.Done(now, nil)
			if all.Again(now) {
				n++
			}
		}
		return n
	}
	if n := again(10_000, begin); n < 2000 || n > 2010 {
		t.Errorf("%d retries of 10000 calls at once, want a fifth and the 10 that were saved", n)
	}
	if n := again(5, begin.Add(4*time.Second)); n != 5 {
		t.Errorf("%d retries of 5 calls four seconds later, want all", n)
	}
	all := tries(t, m, Call{})
	next(t, all, begin)
	next(t, all, begin)
	if all.Again(begin.Add(time.Hour)) {
		t.Error("there is a retry although no target is left")
	}
}

func TestARestIsObeyed(t *testing.T) {
	m := model(t, Model{Name: "m", Targets: targets(2, nil)})
	limited := &backend.Error{Class: backend.RateLimited, RetryAfter: 30 * time.Second}
	for i := range 2 {
		try := next(t, tries(t, m, Call{}), begin)
		if i == 1 && try.Reason != reasonOnly {
			t.Errorf("reason %q", try.Reason)
		}
		try.Done(begin, fmt.Errorf("wrapped: %w", limited))
	}
	var resting *RestingError
	if _, err := tries(t, m, Call{}).Next(begin.Add(10 * time.Second)); !errors.As(err, &resting) || resting.After != 20*time.Second {
		t.Fatalf("%v", err)
	}
	if try := next(t, tries(t, m, Call{}), begin.Add(30*time.Second)); try.Target == nil {
		t.Error("no target after the rest")
	}
}

func BenchmarkPlan(b *testing.B) {
	for name, affinity := range map[string]Affinity{"none": NoAffinity, "session": SessionAffinity, "prefix": PrefixAffinity} {
		for kind, weight := range map[string]func(int, *Target){"even": nil, "weighted": func(i int, x *Target) { x.Weight = 1 + i%3 }} {
			b.Run(name+"/"+kind, func(b *testing.B) {
				r, err := New([]Model{{Name: "m", Affinity: affinity, Targets: targets(100, weight)}})
				if err != nil {
					b.Fatal(err)
				}
				call := Call{Subject: policy.Subject{Tenant: "acme", Session: "s1"}, Request: prompt(strings.Repeat("You are a helpful assistant. ", 40))}
				b.ReportAllocs()
				for b.Loop() {
					m, _ := r.Plan("m")
					all, err := m.Tries(&call)
					if err != nil {
						b.Fatal(err)
					}
					try, err := all.Next(begin)
					if err != nil {
						b.Fatal(err)
					}
					try.Done(begin, nil)
				}
			})
		}
	}
}
