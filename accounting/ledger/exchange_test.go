package ledger_test

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/lease"
	"github.com/weir-gateway/weir/accounting/ledger"
	"github.com/weir-gateway/weir/accounting/price"
)

func exchange(t testing.TB, rates ...price.FxRate) func() *price.Exchange {
	t.Helper()
	x, err := price.NewExchange(rates)
	if err != nil {
		t.Fatal(err)
	}
	return func() *price.Exchange { return x }
}

const capCNY = "acme/cny/tenant/2026-07"

// 1 USD is 7.1034 CNY.
var toCNY = price.FxRate{From: "USD", To: "CNY", Rate: 7_103_400_000_000}

func inCNY(t testing.TB, nanos int64) int64 {
	t.Helper()
	n, err := toCNY.Convert(nanos)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestABudgetInAnotherCurrencyIsFedByTheRate(t *testing.T) {
	s := openStore(t)
	l := newLedger(t, s, budget("cny", lease.PerTenant, 5e9, "CNY"), budget("cap", lease.PerTenant, 5e9, "USD"))
	var refused *ledger.UnpricedError
	if _, err := l.Hold(t.Context(), attempt("none"), tokens(1, 1), nil); !errors.As(err, &refused) {
		t.Fatalf("without a rate: %v", err)
	}
	l.Exchange = exchange(t, toCNY)
	h := hold(t, l, "call", tokens(100, 1000))
	expect(t, s, l, capCNY, 0, inCNY(t, nanosOf(100, 1000)), 0)
	expect(t, s, l, cap07, 0, nanosOf(100, 1000), 0)
	// The rate is that of the hold, whatever holds when it ends.
	l.Exchange = exchange(t, price.FxRate{From: "USD", To: "CNY", Rate: 1})
	cost, err := h.Settle(t.Context(), completed(tokens(91, 20)))
	if err != nil || cost.Charge != (accounting.Money{Currency: "USD", Nanos: nanosOf(91, 20)}) {
		t.Fatalf("cost %+v, %v", cost, err)
	}
	expect(t, s, l, capCNY, inCNY(t, nanosOf(91, 20)), 0, 0)
	expect(t, s, l, cap07, nanosOf(91, 20), 0, 0)
	if line := theLine(t, s, l, "call"); line.Cost.Charge.Currency != "USD" {
		t.Errorf("line %+v", line)
	}
}

func TestAFullBudgetInAnotherCurrencyRefuses(t *testing.T) {
	s := openStore(t)
	l := newLedger(t, s, budget("cny", lease.PerTenant, inCNY(t, nanosOf(100, 100)), "CNY"))
	l.Exchange = exchange(t, toCNY)
	first := hold(t, l, "first", tokens(100, 100)) // to the last nano
	var exhausted *accounting.ExhaustedError
	if _, err := l.Hold(t.Context(), attempt("second"), tokens(1, 1), nil); !errors.As(err, &exhausted) {
		t.Errorf("beyond the limit: %v", err)
	}
	if _, err := first.Settle(t.Context(), completed(tokens(100, 100))); err != nil {
		t.Fatal(err)
	}
	expect(t, s, l, capCNY, inCNY(t, nanosOf(100, 100)), 0, 0)
}

// What a process leaves in doubt is worth in every window what its opening says,
// though the next process knows no rate.
func TestARateOutlivesItsProcess(t *testing.T) {
	s, dir := openStore(t), t.TempDir()
	budgets := book(t, budget("cny", lease.PerTenant, 5e9, "CNY"))
	run := func(incarnation int64, left int) *process {
		t.Helper()
		p, inDoubt, err := openLedger(s, s, dir, incarnation, prices(t), budgets)
		if err != nil || inDoubt != left {
			t.Fatalf("%d in doubt, %v; want %d", inDoubt, err, left)
		}
		return p
	}
	killed := run(1, 0)
	killed.Exchange = exchange(t, toCNY)
	hold(t, killed, "doubt", tokens(10, 21))
	killed.stop()
	next := run(2, 1)
	defer next.stop()
	expect(t, s, next, capCNY, inCNY(t, nanosOf(10, 21)), 0, 0)
}

func TestACallIsBoundedInAnotherCurrency(t *testing.T) {
	s := openStore(t)
	per := budget("each", lease.PerCall, inCNY(t, nanosOf(100, 100)), "CNY")
	per.Window = ""
	l := newLedger(t, s, per)
	l.Exchange = exchange(t, toCNY)
	tally := &ledger.Tally{MaxCost: &accounting.Money{Currency: "CNY", Nanos: inCNY(t, nanosOf(60, 60))}}
	h, err := l.Hold(t.Context(), attempt("call"), tokens(60, 60), tally)
	if err != nil {
		t.Fatal(err)
	}
	var beyond *ledger.BoundError
	second := attempt("call")
	second.Number = 2
	if _, err := l.Hold(t.Context(), second, tokens(1, 1), tally); !errors.As(err, &beyond) || beyond.Unit != "CNY" || beyond.Taken != inCNY(t, nanosOf(60, 60)) {
		t.Errorf("beyond max_cost: %v", err)
	}
	if _, err := h.Settle(t.Context(), completed(tokens(1, 1))); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Hold(t.Context(), second, tokens(101, 100), &ledger.Tally{}); !errors.As(err, &beyond) || beyond.Budget != "each" {
		t.Errorf("beyond the budget per call: %v", err)
	}
	tally.MaxCost = &accounting.Money{Currency: "EUR", Nanos: 1e9}
	var unpriced *ledger.UnpricedError
	if _, err := l.Hold(t.Context(), second, tokens(1, 1), tally); !errors.As(err, &unpriced) {
		t.Errorf("a currency that no rate leads to: %v", err)
	}
}

// Over any calls: spent is the sum of what each line is worth, to the last nano.
func TestConvertedAmountsAddUp(t *testing.T) {
	s := openStore(t)
	l := newLedger(t, s, budget("cny", lease.PerTenant, 1e15, "CNY"))
	l.Exchange = exchange(t, toCNY)
	n, spent := 0, int64(0)
	rapid.Check(t, func(rt *rapid.T) {
		n++
		counts := rapid.Int64Range(0, 1000)
		in, out := counts.Draw(rt, "in"), counts.Draw(rt, "out")
		h, err := l.Hold(t.Context(), attempt(time.Duration(n).String()), tokens(1000, 1000), nil)
		if err != nil {
			rt.Fatal(err)
		}
		if _, err := h.Settle(t.Context(), completed(tokens(in, out))); err != nil {
			rt.Fatal(err)
		}
		spent += inCNY(t, nanosOf(in, out))
	})
	expect(t, s, l, capCNY, spent, 0, 0)
}
