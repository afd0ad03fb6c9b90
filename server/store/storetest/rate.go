package storetest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-gateway/weir/server/admit"
	"github.com/weir-gateway/weir/server/store"
)

// aDay is a rate that brings nothing while a test runs.
func aDay(burst int64) admit.Terms { return admit.Terms{N: 1, Per: 24 * time.Hour, Burst: burst} }

func askFor(t *testing.T, s *store.Store, ttl time.Duration, a admit.Ask) admit.Answer {
	t.Helper()
	answers, err := s.ShareRates(t.Context(), ttl, []admit.Ask{a})
	if err != nil || len(answers) != 1 {
		t.Fatalf("ask: %v, %v", answers, err)
	}
	return answers[0]
}

// manyAsks is replicas that want more than there is of several limits, in
// several orders.
func manyAsks(t *testing.T, open Opener) {
	list := replicas(t, open, 3)
	const burst, scopes = 40, 3
	var granted [scopes]atomic.Int64
	var running sync.WaitGroup
	for r := range 6 {
		s := list[r%len(list)]
		running.Go(func() {
			var mine [scopes]int64
			for round := range 30 {
				var asks []admit.Ask
				for i := range scopes {
					scope := (i*(1+r%2) + r) % scopes // 1 and 2 are no divisors of 3
					asks = append(asks, admit.Ask{Scope: fmt.Sprint("s", scope), Holder: fmt.Sprint("r", r), Terms: aDay(burst), Totals: admit.Totals{Used: mine[scope]}, Want: int64(1 + round%3)})
				}
				answers, err := s.ShareRates(t.Context(), time.Minute, asks)
				if err != nil {
					t.Errorf("ask: %v", err)
					return
				}
				for i, a := range answers {
					scope := (i*(1+r%2) + r) % scopes
					granted[scope].Add(a.Granted - mine[scope])
					mine[scope] = a.Granted
				}
			}
		})
	}
	running.Wait()
	for i := range granted {
		if n := granted[i].Load(); n != burst {
			t.Errorf("granted are %d of %d", n, burst)
		}
	}
}

// askedAgain is asks that come twice, and what a replica gives back.
func askedAgain(t *testing.T, open Opener) {
	s := one(t, open)
	a := admit.Ask{Scope: "s", Holder: "a", Terms: aDay(10), Want: 6}
	if got := askFor(t, s, time.Minute, a); got.Granted != 6 || got.Left != 4 || got.Wait <= 0 || got.Wait > 24*time.Hour {
		t.Errorf("the first is granted %+v", got)
	}
	back := admit.Ask{Scope: "s", Holder: "a", Terms: aDay(10), Totals: admit.Totals{Used: 1, Returned: 3}}
	for range 3 {
		if got := askFor(t, s, time.Minute, back); got.Granted != 6 || got.Left != 7 {
			t.Errorf("what came back three times is %+v", got)
		}
	}
	if got := askFor(t, s, time.Minute, admit.Ask{Scope: "s", Holder: "b", Terms: aDay(10), Want: 100}); got.Granted != 3 || got.Left != 4 {
		t.Errorf("one of two is granted %+v of 7", got)
	}
	if got := askFor(t, s, time.Minute, admit.Ask{Scope: "other", Holder: "b", Terms: aDay(10), Want: 100}); got.Granted != 10 {
		t.Errorf("of another limit it is granted %+v", got)
	}
}

// shareEnds is shares of replicas that are not heard of any more: places to run
// come back, what a rate has brought does not.
func shareEnds(t *testing.T, open Opener) {
	s := one(t, open)
	for _, c := range []struct {
		terms admit.Terms
		want  int64
	}{{admit.Terms{Burst: 5}, 5}, {aDay(5), 0}} {
		scope := fmt.Sprint(c.terms)
		if got := askFor(t, s, time.Microsecond, admit.Ask{Scope: scope, Holder: "dead", Terms: c.terms, Want: 5}); got.Granted != 5 {
			t.Errorf("granted are %+v", got)
		}
		if got := askFor(t, s, time.Minute, admit.Ask{Scope: scope, Holder: "live", Terms: c.terms, Want: 5}); got.Granted != c.want {
			t.Errorf("%+v: granted are %+v after the end of the other share, not %d", c.terms, got, c.want)
		}
	}
}

// ratesSwept is that only what is as good as new is forgotten.
func ratesSwept(t *testing.T, open Opener) {
	s := one(t, open)
	used := admit.Ask{Scope: "used", Holder: "a", Terms: aDay(5), Want: 5}
	held := admit.Ask{Scope: "held", Holder: "a", Terms: admit.Terms{Burst: 5}, Want: 5}
	askFor(t, s, time.Microsecond, used)
	askFor(t, s, time.Minute, held)
	askFor(t, s, time.Microsecond, admit.Ask{Scope: "new", Holder: "a", Terms: admit.Terms{Burst: 5}, Want: 5})
	must(t, s.SweepRates(context.Background()))
	used.Holder, held.Holder = "b", "b"
	if got := askFor(t, s, time.Minute, used); got.Granted != 0 {
		t.Errorf("what was used is forgotten: %+v", got)
	}
	if got := askFor(t, s, time.Minute, held); got.Granted != 0 {
		t.Errorf("what is held is forgotten: %+v", got)
	}
}

// overdrawn is a replica that took more than it was granted, and tells of it more
// than once, and after the end of its share.
func overdrawn(t *testing.T, open Opener) {
	s := one(t, open)
	a := admit.Ask{Scope: "s", Holder: "a", Terms: aDay(10), Want: 6}
	askFor(t, s, time.Microsecond, a)
	told := a.Totals
	a.Want, a.Totals = 0, admit.Totals{Used: 26, Overdrawn: 20}
	for range 3 {
		// 6 it had, and they ended with the share: 20 are owed of which 4 are there.
		a.Told = told
		if got := askFor(t, s, time.Minute, a); got.Granted != 26 || got.Left != -16 || got.Wait <= 16*24*time.Hour || got.Wait > 17*24*time.Hour {
			t.Errorf("who owes 16 stands at %+v", got)
		}
	}
	if got := askFor(t, s, time.Minute, admit.Ask{Scope: "s", Holder: "b", Terms: aDay(10), Want: 5}); got.Granted != 0 {
		t.Errorf("while some are owed another is granted %+v", got)
	}
	a.Told, a.Returned = a.Totals, 0
	if got := askFor(t, s, time.Minute, a); got.Left != -16 {
		t.Errorf("what is owed has become %+v", got)
	}
}
