package storetest

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/ledger"
	"github.com/weir-gateway/weir/server/store"
)

func claimIsHeld(t *testing.T, open Opener) {
	s := one(t, open)
	o := opening("call", claim(window("w", 10), 4))
	mustOpen(t, s, o)
	expect(t, s, "w", 0, 4, 0)
	mustClose(t, s, closing(o, 3), true)
	expect(t, s, "w", 3, 0, 0)

	o = opening("unpaid", claim(window("w", 10), 4))
	mustOpen(t, s, o)
	c := closing(o, 0)
	c.Allocations = nil
	mustClose(t, s, c, true)
	expect(t, s, "w", 3, 0, 0)
}

func claimWithoutRoom(t *testing.T, open Opener) {
	s := one(t, open)
	w := window("w", 10)
	spent := opening("spent", claim(w, 3))
	mustOpen(t, s, spent)
	mustClose(t, s, closing(spent, 3), true)
	mustOpen(t, s, opening("running", claim(w, 2)))

	refused := opening("refused", claim(w, 6))
	var exhausted *accounting.ExhaustedError
	if _, err := s.Open(t.Context(), refused); !errors.As(err, &exhausted) {
		t.Fatalf("a claim without room: %v", err)
	}
	if exhausted.Spent != 3 || exhausted.Held != 2 || exhausted.Claim.Window.ID != "w" || exhausted.Claim.Amount != 6 {
		t.Errorf("the refusal says %+v", exhausted)
	}
	expect(t, s, "w", 3, 2, 0)
	if opens, err := s.Abandoned(t.Context(), start.Add(time.Hour), 10); err != nil || len(opens) != 1 {
		t.Errorf("%d attempts are open, %v; want the running one", len(opens), err)
	}
	// Nothing of it is there, so its number is free.
	mustOpen(t, s, opening("refused", claim(w, 5)))

	// The window of a refused first claim is not there either.
	if _, err := s.Open(t.Context(), opening("first", claim(window("new", 1), 2))); !errors.As(err, &exhausted) {
		t.Fatalf("a claim above the limit: %v", err)
	}
	if _, ok, err := s.Window(t.Context(), "new"); ok || err != nil {
		t.Errorf("a refused claim left its window behind (%t, %v)", ok, err)
	}
	// A claim of exactly the limit fits; one that overflows does not.
	mustOpen(t, s, opening("all", claim(window("new", math.MaxInt64), math.MaxInt64)))
	if _, err := s.Open(t.Context(), opening("more", claim(window("new", math.MaxInt64), math.MaxInt64))); !errors.As(err, &exhausted) {
		t.Errorf("a claim that overflows: %v", err)
	}
	if _, err := s.Open(t.Context(), opening("less", claim(w, -1))); err == nil {
		t.Error("a negative claim was granted")
	}
	if _, err := s.Open(t.Context(), opening("none", claim(window("w", math.MinInt64), 1))); err == nil {
		t.Error("a claim on a negative limit was granted")
	}
}

func allOrNothing(t *testing.T, open Opener) {
	s := one(t, open)
	wide, narrow := window("a-wide", 10), window("b-narrow", 1)
	mustOpen(t, s, opening("one", claim(wide, 1), claim(narrow, 1)))
	var exhausted *accounting.ExhaustedError
	_, err := s.Open(t.Context(), opening("two", claim(wide, 1), claim(narrow, 1)))
	if !errors.As(err, &exhausted) || exhausted.Claim.Window.ID != "b-narrow" {
		t.Fatalf("a claim on a full window: %v", err)
	}
	expect(t, s, "a-wide", 0, 1, 0)
	expect(t, s, "b-narrow", 0, 1, 0)
}

// manyClaims also has two replicas meet on a window that neither has made yet.
func manyClaims(t *testing.T, open Opener) {
	list := replicas(t, open, 2)
	const workers, rounds, limit = 64, 4, 100
	w := window("w", limit)
	var granted, refused atomic.Int64
	var workersGroup sync.WaitGroup
	for i := range workers {
		s := list[i%len(list)]
		workersGroup.Go(func() {
			for round := range rounds {
				o := opening(fmt.Sprintf("call-%d-%d", i, round), claim(w, 7))
				_, err := s.Open(t.Context(), o)
				var exhausted *accounting.ExhaustedError
				switch {
				case errors.As(err, &exhausted):
					refused.Add(1)
					if exhausted.Spent+exhausted.Held+7 <= limit {
						t.Errorf("refused with %d spent and %d held of %d", exhausted.Spent, exhausted.Held, limit)
					}
					continue
				case err != nil:
					t.Errorf("open: %v", err)
					continue
				}
				granted.Add(1)
				if round%2 == 0 {
					if wrote, err := s.Close(t.Context(), closing(o, 1)); err != nil || !wrote {
						t.Errorf("close: %t, %v", wrote, err)
					}
				}
			}
		})
	}
	done := make(chan struct{})
	var observer sync.WaitGroup
	observer.Go(func() {
		for {
			state, _, err := list[0].Window(t.Context(), "w")
			if err != nil {
				t.Errorf("observe: %v", err)
			}
			if state.Spent+state.Held > limit {
				t.Errorf("seen: spent %d and held %d exceed the limit %d", state.Spent, state.Held, limit)
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	workersGroup.Wait()
	close(done)
	observer.Wait()
	if granted.Load() == 0 || refused.Load() == 0 {
		t.Errorf("%d granted and %d refused: the test proves nothing", granted.Load(), refused.Load())
	}
}

func oppositeOrder(t *testing.T, open Opener) {
	list := replicas(t, open, 2)
	a, b := window("a", 1<<40), window("b", 1<<40)
	var group sync.WaitGroup
	for i := range 32 {
		s := list[i%len(list)]
		group.Go(func() {
			for round := range 5 {
				claims := []accounting.Claim{claim(a, 1), claim(b, 1)}
				if i%2 == 0 {
					claims[0], claims[1] = claims[1], claims[0]
				}
				o := opening(fmt.Sprintf("call-%d-%d", i, round), claims...)
				if _, err := s.Open(t.Context(), o); err != nil {
					t.Errorf("open: %v", err)
				}
				if wrote, err := s.Close(t.Context(), closing(o, 1)); err != nil || !wrote {
					t.Errorf("close: %t, %v", wrote, err)
				}
			}
		})
	}
	group.Wait()
	expect(t, list[0], "a", 160, 0, 0)
	expect(t, list[0], "b", 160, 0, 0)
}

func openedOnce(t *testing.T, open Opener) {
	s := one(t, open)
	w := window("w", 10)
	o := opening("call", claim(w, 1))
	mustOpen(t, s, o)
	if _, err := s.Open(t.Context(), o); !errors.Is(err, store.ErrDuplicate) {
		t.Errorf("opened twice: %v", err)
	}
	mustClose(t, s, closing(o, 1), true)
	if _, err := s.Open(t.Context(), o); !errors.Is(err, store.ErrDuplicate) {
		t.Errorf("opened after its end: %v", err)
	}
	expect(t, s, "w", 1, 0, 0)
	next := o
	next.Attempt.Number = 2
	mustOpen(t, s, next)
	expect(t, s, "w", 1, 1, 0)

	var group sync.WaitGroup
	var opened atomic.Int64
	for range 8 {
		group.Go(func() {
			_, err := s.Open(t.Context(), opening("race", claim(w, 1)))
			if err == nil {
				opened.Add(1)
			} else if !errors.Is(err, store.ErrDuplicate) {
				t.Errorf("open: %v", err)
			}
		})
	}
	group.Wait()
	if opened.Load() != 1 {
		t.Errorf("opened %d times", opened.Load())
	}
	expect(t, s, "w", 1, 2, 0)
	if _, err := s.Open(t.Context(), opening("", claim(w, 1))); err == nil {
		t.Error("an attempt without a request id was opened")
	}
}

func endedOnce(t *testing.T, open Opener) {
	s := one(t, open)
	w := window("w", 10)
	other := opening("other", claim(w, 4))
	mustOpen(t, s, other)
	o := opening("call", claim(w, 5))
	mustOpen(t, s, o)
	mustClose(t, s, closing(o, 2), true)
	// In doubt, or tried again: the first line stands, and the other's claim too.
	late := closing(o, 5)
	late.Line.Outcome = accounting.OutcomeInDoubt
	mustClose(t, s, late, false)
	expect(t, s, "w", 2, 4, 0)
	lines, err := s.Lines(t.Context(), "call")
	if err != nil || len(lines) != 1 || lines[0].Outcome != accounting.OutcomeCompleted {
		t.Errorf("lines %+v, %v", lines, err)
	}
}

// manyEnders is a settle that meets the recovery of several replicas.
func manyEnders(t *testing.T, open Opener) {
	list := replicas(t, open, 3)
	w := window("w", 1000)
	for round := range 10 {
		o := opening(fmt.Sprintf("call-%d", round), claim(w, 5))
		mustOpen(t, list[0], o)
		var group sync.WaitGroup
		var wrote atomic.Int64
		for i := range 6 {
			s := list[i%len(list)]
			group.Go(func() {
				ok, err := s.Close(t.Context(), closing(o, 5))
				if err != nil {
					t.Errorf("close: %v", err)
				}
				if ok {
					wrote.Add(1)
				}
			})
		}
		group.Wait()
		if wrote.Load() != 1 {
			t.Fatalf("round %d: %d wrote the line", round, wrote.Load())
		}
	}
	expect(t, list[0], "w", 50, 0, 0)
}

func lineComesBack(t *testing.T, open Opener) {
	s := one(t, open)
	var usage, own accounting.Usage
	usage.Set(accounting.Input, 0) // zero is not absent
	usage.Set(accounting.CacheRead, math.MaxInt64)
	usage.Set(accounting.Output, 7)
	own.Set(accounting.Output, 8)
	full := accounting.Line{
		Attempt: accounting.Attempt{
			RequestID: "call", Number: 3, ClientRequestID: "theirs", ParentRequestID: "parent", Purpose: "judge",
			Subject: accounting.Subject{Tenant: "acme", Project: "p", Key: "k", EndUser: "ü'; DROP TABLE lines", Session: "s", Labels: map[string]string{"team": "blue", "": "\"{}"}},
			Model:   "m", Backend: "b", BackendModel: "bm", Start: start.Add(time.Microsecond), Deadline: start.Add(time.Minute),
		},
		Number: 0, End: start.Add(time.Second), Outcome: accounting.OutcomeBlocked,
		Usage: usage, Source: accounting.SourceEstimate, OwnUsage: own,
		Cost: &accounting.Cost{
			ProviderCost: accounting.Money{Currency: "USD", Nanos: 1<<62 + 1}, Charge: accounting.Money{Currency: "USD", Nanos: -5},
			Items:        []accounting.Item{{Meter: accounting.Output, Quantity: 7, Price: math.MaxInt64, Amount: accounting.Money{Currency: "USD", Nanos: 1<<62 + 1}}},
			PriceVersion: "m@2026-01-01",
		},
	}
	bare := accounting.Line{Attempt: attempt("call", 4), End: start, Outcome: accounting.OutcomeFailed, Source: accounting.SourceGateway}
	// In another zone it is the same instant.
	away := full
	away.Start = full.Start.In(time.FixedZone("away", 3600))
	mustClose(t, s, ledger.Closing{Line: bare}, true)
	mustClose(t, s, ledger.Closing{Line: away}, true)
	lines, err := s.Lines(t.Context(), "call")
	must(t, err)
	if want := []accounting.Line{full, bare}; !reflect.DeepEqual(lines, want) {
		t.Errorf("lines\n%+v\nwant\n%+v", lines, want)
	}

	// An open record comes back whole as well.
	forever := window("w", 5)
	forever.End = time.Time{}
	o := ledger.Open{Attempt: full.Attempt, Claims: []accounting.Claim{claim(forever, 2)}, Bound: usage, Cost: full.Cost}
	o.Attempt.Number = 5
	mustOpen(t, s, o)
	opens, err := s.Abandoned(t.Context(), start.Add(time.Hour), 10)
	must(t, err)
	if want := []ledger.Open{o}; !reflect.DeepEqual(opens, want) {
		t.Errorf("opens\n%+v\nwant\n%+v", opens, want)
	}
	mixed := full
	mixed.Attempt.Number = 6
	mixed.Cost = &accounting.Cost{ProviderCost: accounting.Money{Currency: "USD"}, Charge: accounting.Money{Currency: "CNY"}}
	if _, err := s.Close(t.Context(), ledger.Closing{Line: mixed}); err == nil {
		t.Error("a line of two currencies was written")
	}
}

func settleIsNeverRefused(t *testing.T, open Opener) {
	s := one(t, open)
	w := window("w", 10)
	o := opening("call", claim(w, 10))
	mustOpen(t, s, o)
	mustClose(t, s, closing(o, 25), true)
	expect(t, s, "w", 25, 0, 15)
	var exhausted *accounting.ExhaustedError
	if _, err := s.Open(t.Context(), opening("next", claim(w, 0))); !errors.As(err, &exhausted) {
		t.Errorf("a window past its limit granted a claim: %v", err)
	}
}

func overrun(t *testing.T, open Opener) {
	s := one(t, open)
	w := window("w", 10)
	a, b := opening("a", claim(w, 4)), opening("b", claim(w, 4))
	mustOpen(t, s, a)
	mustOpen(t, s, b)
	// Above its claim, and the free room covers it.
	mustClose(t, s, closing(a, 6), true)
	expect(t, s, "w", 6, 4, 0)
	// Above its claim, and only a part of what no claim covers is past the limit.
	c := opening("c", claim(w, 0))
	mustOpen(t, s, c)
	mustClose(t, s, closing(b, 3), true)
	expect(t, s, "w", 9, 0, 0)
	mustClose(t, s, closing(c, 4), true)
	expect(t, s, "w", 13, 0, 3)

	// All of it is.
	d, e := opening("d", claim(window("v", 10), 4)), opening("e", claim(window("v", 10), 6))
	mustOpen(t, s, d)
	mustOpen(t, s, e)
	mustClose(t, s, closing(d, 9), true)
	expect(t, s, "v", 9, 6, 5)
	// Past the limit, and its claim covers it: no overrun of its own.
	mustClose(t, s, closing(e, 6), true)
	expect(t, s, "v", 15, 0, 5)
}

func loweredLimit(t *testing.T, open Opener) {
	s := one(t, open)
	o := opening("call", claim(window("w", 10), 8))
	mustOpen(t, s, o)
	var exhausted *accounting.ExhaustedError
	if _, err := s.Open(t.Context(), opening("lower", claim(window("w", 5), 1))); !errors.As(err, &exhausted) {
		t.Errorf("granted under a lowered limit: %v", err)
	}
	mustOpen(t, s, opening("higher", claim(window("w", 20), 12)))
	state, _, err := s.Window(t.Context(), "w")
	if err != nil || state.Limit != 20 {
		t.Errorf("the window's limit is %d, %v; want the newest claim's", state.Limit, err)
	}
}

func correction(t *testing.T, open Opener) {
	s := one(t, open)
	w := window("w", 10)
	o := opening("call", claim(w, 8))
	mustOpen(t, s, o)
	c := closing(o, 8)
	c.Line.Outcome = accounting.OutcomeInDoubt
	mustClose(t, s, c, true)
	fix := closing(o, -5)
	fix.Line.Number, fix.Line.Source = 1, accounting.SourceReconciled
	mustClose(t, s, fix, true)
	mustClose(t, s, fix, false)
	expect(t, s, "w", 3, 0, 0)

	// A correction does not end an attempt that still runs.
	running := opening("running", claim(w, 2))
	mustOpen(t, s, running)
	fix = closing(running, 1)
	fix.Line.Number = 1
	mustClose(t, s, fix, true)
	expect(t, s, "w", 4, 2, 0)
}

func lineWithoutOpen(t *testing.T, open Opener) {
	s := one(t, open)
	o := opening("call", claim(window("w", 10), 4))
	mustClose(t, s, closing(o, 3), true)
	expect(t, s, "w", 3, 0, 0)
	c := closing(opening("other"), 0)
	c.Allocations = []accounting.Allocation{{Window: "nowhere", Unit: accounting.UnitRequests, Amount: 1}}
	if _, err := s.Close(t.Context(), c); err == nil {
		t.Error("a line fed a window that no claim names")
	}
	if lines, err := s.Lines(t.Context(), "other"); err != nil || len(lines) != 0 {
		t.Errorf("the refused line is there: %v, %v", lines, err)
	}
}

func abandoned(t *testing.T, open Opener) {
	s := one(t, open)
	for i, deadline := range []int{5, 3, 4, 1, 2} {
		o := opening(fmt.Sprintf("call-%d", i))
		o.Attempt.Deadline = start.Add(time.Duration(deadline) * time.Second)
		mustOpen(t, s, o)
	}
	opens, err := s.Abandoned(t.Context(), start.Add(4*time.Second), 2)
	must(t, err)
	if len(opens) != 2 || opens[0].Attempt.RequestID != "call-3" || opens[1].Attempt.RequestID != "call-4" {
		t.Errorf("abandoned %+v; want call-3 and call-4", opens)
	}
	opens, err = s.Abandoned(t.Context(), start.Add(4*time.Second), 10)
	if err != nil || len(opens) != 3 {
		t.Errorf("%d abandoned, %v; a deadline that is now is not past", len(opens), err)
	}
	mustClose(t, s, closing(opens[0], 0), true)
	if opens, err = s.Abandoned(t.Context(), start.Add(time.Hour), 10); err != nil || len(opens) != 4 {
		t.Errorf("%d abandoned, %v; want all but the ended one", len(opens), err)
	}
}

func unwritable(t *testing.T, open Opener) {
	s := one(t, open)
	for name, spoil := range map[string]func(*accounting.Attempt, string){
		"end user":          func(a *accounting.Attempt, v string) { a.Subject.EndUser = v },
		"label":             func(a *accounting.Attempt, v string) { a.Subject.Labels = map[string]string{"k": v} },
		"label's key":       func(a *accounting.Attempt, v string) { a.Subject.Labels = map[string]string{v: ""} },
		"client request id": func(a *accounting.Attempt, v string) { a.ClientRequestID = v },
		"model":             func(a *accounting.Attempt, v string) { a.Model = v },
	} {
		for _, v := range []string{"a\x00b", "a\xffb"} {
			o := opening("call", claim(window("w", 10), 1))
			spoil(&o.Attempt, v)
			if _, err := s.Open(t.Context(), o); err == nil {
				t.Errorf("%s %q was taken; no line could keep it", name, v)
			}
		}
	}
}

func overflow(t *testing.T, open Opener) {
	s := one(t, open)
	w := window("w", math.MaxInt64)
	a, b := opening("a", claim(w, 1)), opening("b", claim(w, 1))
	mustOpen(t, s, a)
	mustOpen(t, s, b)
	mustClose(t, s, closing(a, math.MaxInt64-1), true)
	if wrote, err := s.Close(t.Context(), closing(b, math.MaxInt64-1)); wrote || !errors.Is(err, accounting.ErrOverflow) {
		t.Errorf("a sum past 64 bits: %t, %v", wrote, err)
	}
	expect(t, s, "w", math.MaxInt64-1, 1, 0)
	if lines, err := s.Lines(t.Context(), "b"); err != nil || len(lines) != 0 {
		t.Errorf("the line that did not fit is there: %v, %v", lines, err)
	}
}

func windowList(t *testing.T, open Opener) {
	s := one(t, open)
	july, august, forever, theirs := window("b-july", 1), window("c-august", 1), window("a-forever", 1), window("d-theirs", 1)
	august.Start, august.End = july.End, july.End.AddDate(0, 1, 0)
	forever.Start, forever.End = time.Time{}, time.Time{}
	theirs.Tenant = "other"
	mustOpen(t, s, opening("call", claim(july, 1), claim(august, 1), claim(forever, 1), claim(theirs, 1)))
	for _, c := range []struct {
		at   time.Time
		want []string
	}{
		{july.Start, []string{"a-forever", "b-july"}},
		{july.End, []string{"a-forever", "c-august"}},
		{july.Start.Add(-time.Microsecond), []string{"a-forever"}},
	} {
		list, err := s.Windows(t.Context(), "acme", c.at, 10)
		must(t, err)
		var ids []string
		for _, w := range list {
			ids = append(ids, w.ID)
		}
		if !reflect.DeepEqual(ids, c.want) {
			t.Errorf("windows at %s: %v; want %v", c.at, ids, c.want)
		}
		if want := (accounting.WindowState{Window: forever, Held: 1}); !reflect.DeepEqual(list[0], want) {
			t.Errorf("window %+v; want %+v", list[0], want)
		}
	}
	if list, err := s.Windows(t.Context(), "acme", july.Start, 1); err != nil || len(list) != 1 {
		t.Errorf("%d windows, %v; want 1", len(list), err)
	}
}
