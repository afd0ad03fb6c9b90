package ledger_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/lease"
	"github.com/weir-gateway/weir/accounting/ledger"
	"github.com/weir-gateway/weir/accounting/price"
)

// classed has priority for three times what the standard class costs, and flex for
// half of it.
func classed(t testing.TB) *price.Catalogue {
	t.Helper()
	times := func(halves accounting.Pico) map[accounting.Meter]accounting.Pico {
		return map[accounting.Meter]accounting.Pico{accounting.Input: inputNanos * 500 * halves, accounting.Output: outputNanos * 500 * halves}
	}
	c, err := price.New([]price.Price{{Model: "m", Currency: "USD", PerUnit: times(2),
		Classes: map[accounting.ServiceClass]price.Rates{accounting.ServiceFlex: {PerUnit: times(1)}, accounting.ServicePriority: {PerUnit: times(6)}}}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestASettleIsByTheClassThatServed(t *testing.T) {
	s := openStore(t)
	l := newLedger(t, s, budget("cap", lease.PerTenant, 5e9, "USD"), budget("cny", lease.PerTenant, 5e9, "CNY"))
	catalogue := classed(t)
	l.Prices, l.Exchange = func() *price.Catalogue { return catalogue }, exchange(t, toCNY)
	var spent, spentCNY int64
	for call, c := range map[string]struct {
		asked, served accounting.ServiceClass
		held, charged int64
	}{
		"standard":               {accounting.ServiceStandard, accounting.ServiceStandard, nanosOf(100, 200), nanosOf(10, 20)},
		"standard for priority":  {accounting.ServicePriority, accounting.ServiceStandard, 3 * nanosOf(100, 200), nanosOf(10, 20)},
		"priority unasked":       {"", accounting.ServicePriority, 3 * nanosOf(100, 200), 3 * nanosOf(10, 20)},
		"flex":                   {accounting.ServiceFlex, accounting.ServiceFlex, nanosOf(100, 200), nanosOf(10, 20) / 2},
		"flex, and nothing said": {accounting.ServiceFlex, "", nanosOf(100, 200), nanosOf(10, 20)},
		"no price":               {accounting.ServiceFlex, accounting.ServiceOther, nanosOf(100, 200), -1},
	} {
		asked := attempt(call)
		asked.AskedClass = c.asked
		h, err := l.Hold(t.Context(), asked, tokens(100, 200), nil)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, s, l, cap07, spent, c.held, 0)
		result := completed(tokens(10, 20))
		result.ServedClass = c.served
		cost, err := h.Settle(t.Context(), result)
		counts := c.charged
		if c.charged < 0 { // nobody knows, and what was held stays taken
			counts = c.held
		}
		if err != nil || (cost == nil) != (c.charged < 0) || cost != nil && cost.Charge.Nanos != c.charged {
			t.Errorf("%s: cost %+v, %v; want %d", call, cost, err, c.charged)
		}
		spent, spentCNY = spent+counts, spentCNY+inCNY(t, counts)
		expect(t, s, l, cap07, spent, 0, 0)
		expect(t, s, l, capCNY, spentCNY, 0, 0)
		if line := theLine(t, s, l, call); line.AskedClass != c.asked || line.ServedClass != c.served {
			t.Errorf("line %+v", line)
		}
	}
	// What used more than it could was not held for.
	over := completed(tokens(100, 201))
	over.ServedClass = accounting.ServiceOther
	if cost, err := hold(t, l, "over", tokens(100, 200)).Settle(t.Context(), over); err != nil || cost != nil {
		t.Errorf("cost %+v, %v", cost, err)
	}
	expect(t, s, l, cap07, spent+3*nanosOf(100, 201), 0, 0)
	asked := attempt("unpriced")
	asked.AskedClass = accounting.ServiceScale
	var refused *ledger.UnpricedError
	if _, err := l.Hold(t.Context(), asked, tokens(1, 1), nil); !errors.As(err, &refused) || refused.Class != accounting.ServiceScale || !strings.Contains(err.Error(), "no price for class of service scale") {
		t.Errorf("a class without a price under a budget of money: %v", err)
	}
	l.Budgets = func() *lease.Book { return nil }
	h, err := l.Hold(t.Context(), asked, tokens(1, 1), nil)
	if err != nil {
		t.Fatal(err)
	}
	if cost, err := h.Settle(t.Context(), ledger.Result{Outcome: accounting.OutcomeCompleted, Usage: tokens(1, 1), ServedClass: accounting.ServiceStandard}); err != nil || cost == nil || cost.Charge.Nanos != nanosOf(1, 1) {
		t.Errorf("and served as the standard one without: %+v, %v", cost, err)
	}
}

// An answer that is given again saves what the class costs that served it.
func TestAKnownAnswerIsRatedByItsClass(t *testing.T) {
	s := openStore(t)
	l := newLedger(t, s, budget("cap", lease.PerTenant, 5e9, "USD"))
	catalogue := classed(t)
	l.Prices = func() *price.Catalogue { return catalogue }
	for class, full := range map[accounting.ServiceClass]int64{
		"": nanosOf(10, 20), accounting.ServiceFlex: nanosOf(10, 20) / 2, accounting.ServicePriority: 3 * nanosOf(10, 20), accounting.ServiceScale: -1,
	} {
		call := "known " + string(class)
		h, err := l.HoldKnown(t.Context(), attempt(call), tokens(10, 20), class, 50, nil)
		if unpriced := (*ledger.UnpricedError)(nil); full < 0 && errors.As(err, &unpriced) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Settle(t.Context(), ledger.Result{Outcome: accounting.OutcomeCacheHit, Usage: tokens(10, 20), ServedClass: class}); err != nil {
			t.Fatal(err)
		}
		line := theLine(t, s, l, call)
		saved, known := line.Saved()
		if full < 0 || !known || (line.Cost.Charge.Nanos != full/2 || saved.Nanos != full-full/2) || line.ServedClass != class {
			t.Errorf("class %q: %+v saves %v of %d", class, line, saved, full)
		}
	}
}

// What a process leaves in doubt, or nobody counted, is as dear as it was held.
func TestACallInDoubtHasTheDearestClass(t *testing.T) {
	s, dir := openStore(t), t.TempDir()
	run := func(incarnation int64, left int) *process {
		t.Helper()
		p, inDoubt, err := openLedger(s, s, dir, incarnation, classed(t), book(t, budget("cap", lease.PerTenant, 5e9, "USD")))
		if err != nil || inDoubt != left {
			t.Fatalf("%d in doubt, %v; want %d", inDoubt, err, left)
		}
		return p
	}
	killed := run(1, 0)
	asked := attempt("doubt")
	asked.AskedClass = accounting.ServicePriority
	if _, err := killed.Hold(t.Context(), asked, tokens(10, 20), nil); err != nil {
		t.Fatal(err)
	}
	killed.stop()
	next := run(2, 1)
	defer next.stop()
	want := 3 * nanosOf(10, 20)
	expect(t, s, next, cap07, want, 0, 0)
	if line := theLine(t, s, next, "doubt"); line.AskedClass != accounting.ServicePriority || line.ServedClass != "" || line.Cost.Charge.Nanos != want {
		t.Errorf("line %+v", line)
	}
	h := hold(t, next, "uncounted", tokens(10, 20))
	if cost, err := h.Settle(t.Context(), ledger.Result{Outcome: accounting.OutcomeCompleted}); err != nil || cost.Charge.Nanos != want {
		t.Errorf("cost %+v, %v; want %d", cost, err, want)
	}
}
