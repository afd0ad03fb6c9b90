package ledger_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/lease"
	"github.com/weir-gateway/weir/accounting/ledger"
)

func perCall(name string, limit int64, unit accounting.Unit) lease.Budget {
	b := budget(name, lease.PerCall, limit, unit)
	b.Window = ""
	return b
}

func TestABudgetPerCallBoundsWhatOneHoldMayNeed(t *testing.T) {
	s := openStore(t)
	l := newLedger(t, s, budget("cap", lease.PerTenant, 5e9, "USD"), perCall("dear", nanosOf(10, 20), "USD"), perCall("long", 100, accounting.UnitTokens))
	for _, c := range []struct {
		in, out int64
		refused string
	}{{10, 20, ""}, {10, 21, "dear"}, {71, 0, "dear"}, {0, 0, ""}} {
		h, err := l.Hold(t.Context(), attempt(fmt.Sprint("call-", c.in, "-", c.out)), tokens(c.in, c.out), nil)
		var bound *ledger.BoundError
		if c.refused != "" {
			if !errors.As(err, &bound) || bound.Budget != c.refused || bound.Need != nanosOf(c.in, c.out) || !strings.Contains(err.Error(), accounting.FormatAmount("USD", bound.Need)) {
				t.Errorf("%d and %d tokens: %v; want budget %s to refuse", c.in, c.out, err, c.refused)
			}
			continue
		}
		if err != nil {
			t.Errorf("%d and %d tokens: %v", c.in, c.out, err)
			continue
		}
		if _, err := h.Settle(t.Context(), completed(tokens(0, 0))); err != nil {
			t.Error(err)
		}
	}
	cheap := newLedger(t, s, perCall("long", 60, accounting.UnitTokens))
	var bound *ledger.BoundError
	if _, err := cheap.Hold(t.Context(), attempt("long"), tokens(40, 21), nil); !errors.As(err, &bound) || bound.Unit != accounting.UnitTokens || bound.Need != 61 {
		t.Errorf("61 tokens of 60: %v", err)
	}
	// A call that is refused holds nothing.
	expect(t, s, l, cap07, 0, 0, 0)
}

func TestMaxCostBoundsTheAttemptsOfACallTogether(t *testing.T) {
	s := openStore(t)
	l := newLedger(t, s, budget("cap", lease.PerTenant, 5e9, "USD"))
	tally := &ledger.Tally{MaxCost: &accounting.Money{Currency: "USD", Nanos: nanosOf(0, 100)}}
	number := 0
	try := func(out int64) (*ledger.Hold, error) {
		number++
		a := attempt("call")
		a.Number = number
		return l.Hold(t.Context(), a, tokens(0, out), tally)
	}
	grant := func(out int64) *ledger.Hold {
		t.Helper()
		h, err := try(out)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	refuse := func(out, taken int64) {
		t.Helper()
		var bound *ledger.BoundError
		if _, err := try(out); !errors.As(err, &bound) || bound.Budget != "" || bound.Taken != nanosOf(0, taken) || bound.Need != nanosOf(0, out) {
			t.Fatalf("%d tokens: %v (%+v); want a refusal with %d taken", out, err, bound, taken)
		}
	}
	refuse(101, 0)
	first := grant(60)
	refuse(41, 60) // beside the first, which still runs
	second := grant(40)
	// What failed is not charged and gives its room back; what was used stays.
	if _, err := first.Settle(t.Context(), ledger.Result{Outcome: accounting.OutcomeFailed}); err != nil {
		t.Fatal(err)
	}
	if _, err := second.Settle(t.Context(), completed(tokens(0, 30))); err != nil {
		t.Fatal(err)
	}
	if _, err := second.Settle(t.Context(), completed(tokens(0, 30))); err != nil {
		t.Fatal(err)
	}
	refuse(71, 30)
	if _, err := grant(70).Settle(t.Context(), completed(tokens(0, 70))); err != nil {
		t.Fatal(err)
	}
	refuse(1, 100)
	grant(0)
}

func TestAHoldThatTheStoreRefusesLeavesTheTally(t *testing.T) {
	s := openStore(t)
	l := newLedger(t, s, budget("cap", lease.PerTenant, nanosOf(0, 50), "USD"))
	tally := &ledger.Tally{MaxCost: &accounting.Money{Currency: "USD", Nanos: nanosOf(0, 100)}}
	var exhausted *accounting.ExhaustedError
	if _, err := l.Hold(t.Context(), attempt("call"), tokens(0, 90), tally); !errors.As(err, &exhausted) {
		t.Fatalf("90 of 50: %v", err)
	}
	next := attempt("call")
	next.Number = 2
	if _, err := l.Hold(t.Context(), next, tokens(0, 50), tally); err != nil {
		t.Errorf("the refused attempt is still counted: %v", err)
	}
}

func TestMaxCostNeedsAPriceInItsCurrency(t *testing.T) {
	s := openStore(t)
	l := newLedger(t, s)
	for model, want := range map[string]string{"m": "max_cost of this call is in CNY: set it in USD", "nothing": "max_cost of this call limits money"} {
		a := attempt("call")
		a.Model = model
		var unpriced *ledger.UnpricedError
		_, err := l.Hold(t.Context(), a, tokens(1, 1), &ledger.Tally{MaxCost: &accounting.Money{Currency: "CNY", Nanos: 1e9}})
		if !errors.As(err, &unpriced) || !strings.Contains(err.Error(), want) {
			t.Errorf("model %s: %v; want %q in it", model, err, want)
		}
	}
}

// Attempts that run side by side cannot exceed the bound together.
func TestATallyHoldsForAttemptsAtOnce(t *testing.T) {
	s := openStore(t)
	l := newLedger(t, s)
	tally := &ledger.Tally{MaxCost: &accounting.Money{Currency: "USD", Nanos: nanosOf(0, 100)}}
	var group sync.WaitGroup
	granted := make(chan struct{}, 40)
	for i := range 40 {
		group.Go(func() {
			a := attempt("call")
			a.Number = i + 1
			var bound *ledger.BoundError
			switch _, err := l.Hold(t.Context(), a, tokens(0, 7), tally); {
			case err == nil:
				granted <- struct{}{}
			case !errors.As(err, &bound):
				t.Error(err)
			}
		})
	}
	group.Wait()
	if n := len(granted); n != 14 {
		t.Errorf("%d attempts of 7 were granted under 100; want 14", n)
	}
}
