package ledger_test

import (
	"errors"
	"testing"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/lease"
)

func TestACallThatMayBeCutBeginsSmallAndGrowsToTheLimit(t *testing.T) {
	s, dir := openStore(t), t.TempDir()
	prices, budgets := prices(t), book(t, cutting(budget("t", lease.PerTenant, 200, accounting.UnitTokens)), budget("cap", lease.PerTenant, 5e9, "USD"))
	l, _, err := openLedger(s, s, dir, 1, prices, budgets)
	if err != nil {
		t.Fatal(err)
	}
	const window = "acme/t/tenant/2026-07"
	h := hold(t, l, "call", tokens(10, 1000))
	expect(t, s, l, window, 0, 10+32, 0)
	expect(t, s, l, cap07, 0, nanosOf(10, 1000), 0) // this budget does not cut
	cover := func(output, covered int64) {
		t.Helper()
		if err := h.Cover(t.Context(), output); err != nil {
			t.Fatalf("cover %d: %v", output, err)
		}
		if n, all := h.Covers(); n != covered || all {
			t.Errorf("%d are covered for %d, all: %t; want %d", n, output, all, covered)
		}
	}
	cover(10, 32)
	cover(50, 50+32)
	cover(100, 100+32)
	cover(125, 125+33) // a quarter of what there was
	cover(150, 150+39)
	cover(175, 189) // no room for so many more
	cover(189, 189)
	cover(190, 190)
	expect(t, s, l, window, 0, 200, 0)
	var exhausted *accounting.ExhaustedError
	if err := h.Cover(t.Context(), 191); !errors.As(err, &exhausted) {
		t.Errorf("cover what is not there: %v", err)
	}
	cover(190, 190)

	// After a crash it has used what it was let have, and not more.
	l.stop()
	l, inDoubt, err := openLedger(s, s, dir, 2, prices, budgets)
	if err != nil || inDoubt != 1 {
		t.Fatalf("%d in doubt, %v", inDoubt, err)
	}
	defer l.stop()
	expect(t, s, l, window, 200, 0, 0)
	expect(t, s, l, cap07, nanosOf(10, 190), 0, 0)
	if line := theLine(t, s, l, "call"); line.Usage != tokens(10, 190) || line.Cost.Charge.Nanos != nanosOf(10, 190) {
		t.Errorf("line %+v", line)
	}
	if _, err := l.Hold(t.Context(), attempt("late"), tokens(1, 1000), nil); !errors.As(err, &exhausted) {
		t.Errorf("hold of an exhausted budget: %v", err)
	}
}

// Only budgets that say so let a call begin small.
func TestABudgetThatDoesNotCutRefusesTheWhole(t *testing.T) {
	s := openStore(t)
	l := newLedger(t, s, cutting(budget("t", lease.PerTenant, 1e6, accounting.UnitTokens)), budget("u", lease.PerTenant, 200, accounting.UnitTokens))
	var exhausted *accounting.ExhaustedError
	if _, err := l.Hold(t.Context(), attempt("call"), tokens(10, 1000), nil); !errors.As(err, &exhausted) || exhausted.Claim.Window.Budget != "u" {
		t.Errorf("hold: %v", err)
	}
	h := hold(t, l, "small", tokens(10, 100))
	if n, all := h.Covers(); n != 100 || !all {
		t.Errorf("%d are covered, all: %t", n, all)
	}
}
