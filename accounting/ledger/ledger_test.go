package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/lease"
	"github.com/weir-gateway/weir/accounting/ledger"
	"github.com/weir-gateway/weir/accounting/price"
	"github.com/weir-gateway/weir/server/store"
	"github.com/weir-gateway/weir/server/store/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var start = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// Prices are whole nanos a token, so that the tests can reckon in their heads.
const (
	inputNanos  = 1000
	outputNanos = 3000
)

func prices(t testing.TB) *price.Catalogue {
	t.Helper()
	c, err := price.New([]price.Price{
		{Model: "m", Currency: "USD", PerUnit: map[accounting.Meter]accounting.Pico{accounting.Input: inputNanos * 1000, accounting.Output: outputNanos * 1000}},
		{Model: "cny", Currency: "CNY", PerUnit: map[accounting.Meter]accounting.Pico{accounting.Input: 1, accounting.Output: 1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func book(t testing.TB, budgets ...lease.Budget) *lease.Book {
	t.Helper()
	k, err := lease.NewBook(budgets)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func budget(name string, per lease.Scope, limit int64, unit accounting.Unit) lease.Budget {
	return lease.Budget{Name: name, Tenant: "acme", Per: per, Limit: limit, Unit: unit, Window: lease.Month}
}

func openStore(t testing.TB) *store.Store {
	t.Helper()
	s, err := sqlite.Open(context.Background(), filepath.Join(t.TempDir(), "weir.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if off, err := s.Audit(context.Background()); err != nil || len(off) > 0 {
			t.Errorf("audit: %q, %v", off, err)
		}
		s.Shutdown()
	})
	return s
}

func newLedger(t testing.TB, s ledger.Store, budgets ...lease.Budget) *ledger.Ledger {
	t.Helper()
	c, k := prices(t), book(t, budgets...)
	return &ledger.Ledger{
		Store: s, Prices: func() *price.Catalogue { return c }, Budgets: func() *lease.Book { return k },
		Now: func() time.Time { return start.Add(time.Second) },
	}
}

func attempt(call string) accounting.Attempt {
	return accounting.Attempt{
		RequestID: call, Number: 1, Subject: accounting.Subject{Tenant: "acme", Project: "default", Key: "k1"},
		Model: "m", Backend: "b", BackendModel: "bm", Start: start, Deadline: start.Add(time.Minute),
	}
}

func tokens(in, out int64) accounting.Usage {
	var u accounting.Usage
	u.Set(accounting.Input, in)
	u.Set(accounting.Output, out)
	return u
}

func nanosOf(in, out int64) int64 { return in*inputNanos + out*outputNanos }

func hold(t testing.TB, l *ledger.Ledger, call string, bound accounting.Usage) *ledger.Hold {
	t.Helper()
	h, err := l.Hold(t.Context(), attempt(call), bound, nil)
	if err != nil {
		t.Fatalf("hold: %v", err)
	}
	return h
}

func completed(u accounting.Usage) ledger.Result {
	return ledger.Result{Outcome: accounting.OutcomeCompleted, Usage: u, Source: accounting.SourceProvider}
}

func expect(t testing.TB, s *store.Store, id string, spent, held, overrun int64) {
	t.Helper()
	w, _, err := s.Window(t.Context(), id)
	if err != nil || w.Spent != spent || w.Held != held || w.Overrun != overrun {
		t.Errorf("window %s: spent %d, held %d, overrun %d, %v; want %d, %d, %d", id, w.Spent, w.Held, w.Overrun, err, spent, held, overrun)
	}
}

func theLine(t testing.TB, s *store.Store, call string) accounting.Line {
	t.Helper()
	lines, err := s.Lines(t.Context(), call)
	if err != nil || len(lines) != 1 {
		t.Fatalf("%d lines, %v; want one", len(lines), err)
	}
	return lines[0]
}

const cap07 = "acme/cap/tenant/2026-07"

func TestAHoldIsTheDearestOutcomeAndASettleWhatWasUsed(t *testing.T) {
	s := openStore(t)
	l := newLedger(t, s, budget("cap", lease.PerTenant, 5e9, "USD"), budget("t", lease.PerKey, 1e6, accounting.UnitTokens), budget("r", lease.PerProject, 10, accounting.UnitRequests))
	h := hold(t, l, "call", tokens(100, 1000))
	expect(t, s, cap07, 0, nanosOf(100, 1000), 0)
	expect(t, s, "acme/t/key/default/k1/2026-07", 0, 1100, 0)
	expect(t, s, "acme/r/project/default/2026-07", 0, 1, 0)
	cost, err := h.Settle(t.Context(), completed(tokens(90, 20)))
	if err != nil || cost.Charge != (accounting.Money{Currency: "USD", Nanos: nanosOf(90, 20)}) {
		t.Fatalf("cost %+v, %v", cost, err)
	}
	expect(t, s, cap07, nanosOf(90, 20), 0, 0)
	expect(t, s, "acme/t/key/default/k1/2026-07", 110, 0, 0)
	expect(t, s, "acme/r/project/default/2026-07", 1, 0, 0)
	// Once.
	again, err := h.Settle(t.Context(), completed(tokens(9, 9)))
	if err != nil || again != cost {
		t.Errorf("settled again: %+v, %v", again, err)
	}
	if line := theLine(t, s, "call"); line.Usage != tokens(90, 20) || line.Source != accounting.SourceProvider || line.Cost.PriceVersion != "m@0001-01-01" {
		t.Errorf("line %+v", line)
	}
}

// A backend that reports 100 prompt tokens, 80 of them cached, and whose price
// knows no cache, costs what 100 input tokens cost, against a budget of tokens
// and one of money alike.
func TestCacheTokensAreNotCountedTwice(t *testing.T) {
	s := openStore(t)
	l := newLedger(t, s, budget("cap", lease.PerTenant, 5e9, "USD"), budget("t", lease.PerTenant, 1e6, accounting.UnitTokens))
	h := hold(t, l, "call", tokens(100, 10))
	u := tokens(20, 10)
	u.Set(accounting.CacheRead, 80)
	if cost, err := h.Settle(t.Context(), completed(u)); err != nil || cost.Charge.Nanos != nanosOf(100, 10) {
		t.Errorf("cost %+v, %v; want %d", cost, err, nanosOf(100, 10))
	}
	expect(t, s, "acme/t/tenant/2026-07", 110, 0, 0)
}

func TestWhoIsNotChargedSpendsNothing(t *testing.T) {
	s := openStore(t)
	l := newLedger(t, s, budget("cap", lease.PerTenant, 5e9, "USD"), budget("r", lease.PerTenant, 10, accounting.UnitRequests))
	broken := hold(t, l, "broken", tokens(100, 1000))
	cost, err := broken.Settle(t.Context(), ledger.Result{Outcome: accounting.OutcomeBroken, Usage: tokens(100, 5), Source: accounting.SourceEstimate})
	if err != nil || cost.Charge.Nanos != 0 || cost.ProviderCost.Nanos != nanosOf(100, 5) {
		t.Errorf("a broken answer: %+v, %v", cost, err)
	}
	failed := hold(t, l, "failed", tokens(100, 1000))
	cost, err = failed.Settle(t.Context(), ledger.Result{Outcome: accounting.OutcomeFailed})
	if err != nil || cost.Charge != (accounting.Money{Currency: "USD"}) || cost.ProviderCost != cost.Charge {
		t.Errorf("a failed attempt: %+v, %v", cost, err)
	}
	expect(t, s, cap07, 0, 0, 0)
	expect(t, s, "acme/r/tenant/2026-07", 0, 0, 0)
	if line := theLine(t, s, "broken"); line.Cost.ProviderCost.Nanos != nanosOf(100, 5) || line.Cost.Charge.Nanos != 0 {
		t.Errorf("line %+v", line)
	}
}

// What nobody counted, and what cannot be true, is charged as it was held.
func TestUsageThatNobodyCountedIsTheHeldAmount(t *testing.T) {
	for name, u := range map[string]accounting.Usage{"unknown": {}, "negative": tokens(-1, 10), "beyond measure": tokens(1<<62, 1<<62)} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t)
			l := newLedger(t, s, budget("cap", lease.PerTenant, 5e9, "USD"), budget("t", lease.PerTenant, 1e6, accounting.UnitTokens))
			h := hold(t, l, "call", tokens(10, 20))
			cost, err := h.Settle(t.Context(), ledger.Result{Outcome: accounting.OutcomeCancelled, Usage: u, Source: accounting.SourceProvider})
			if err != nil || cost.Charge.Nanos != nanosOf(10, 20) {
				t.Errorf("cost %+v, %v", cost, err)
			}
			if line := theLine(t, s, "call"); line.Source != accounting.SourceReservation || line.Usage != tokens(10, 20) {
				t.Errorf("line %+v", line)
			}
			expect(t, s, "acme/t/tenant/2026-07", 30, 0, 0)
		})
	}
	l := newLedger(t, openStore(t))
	for _, bound := range []accounting.Usage{tokens(-1, 0), tokens(0, 1<<62)} {
		if _, err := l.Hold(t.Context(), attempt("call"), bound, nil); err == nil {
			t.Errorf("a bound of %d tokens was held", bound.Tokens())
		}
	}
}

func TestAnUnpricedCallHasNoCostAndNoMoneyBudget(t *testing.T) {
	s := openStore(t)
	unpriced := attempt("call")
	unpriced.Model = "unknown"
	l := newLedger(t, s, budget("t", lease.PerTenant, 1e6, accounting.UnitTokens))
	h, err := l.Hold(t.Context(), unpriced, tokens(1, 1), nil)
	if err != nil {
		t.Fatal(err)
	}
	if cost, err := h.Settle(t.Context(), completed(tokens(1, 1))); cost != nil || err != nil {
		t.Errorf("cost %+v, %v; want none", cost, err)
	}
	expect(t, s, "acme/t/tenant/2026-07", 2, 0, 0)

	l = newLedger(t, s, budget("cap", lease.PerTenant, 5e9, "USD"))
	unpriced.RequestID = "other"
	var refused *ledger.UnpricedError
	if _, err := l.Hold(t.Context(), unpriced, tokens(1, 1), nil); !errors.As(err, &refused) || !strings.Contains(err.Error(), "has no price") {
		t.Errorf("unpriced under a budget of money: %v", err)
	}
	unpriced.Model = "cny"
	if _, err := l.Hold(t.Context(), unpriced, tokens(1, 1), nil); !errors.As(err, &refused) || refused.Priced != "CNY" {
		t.Errorf("priced in another currency: %v", err)
	}
	if opens, err := s.Abandoned(t.Context(), start.Add(time.Hour), 10); err != nil || len(opens) != 0 {
		t.Errorf("a refused attempt is open: %+v, %v", opens, err)
	}
}

func TestAHoldKeepsToThePriceOfItsStart(t *testing.T) {
	s := openStore(t)
	l := newLedger(t, s)
	h := hold(t, l, "call", tokens(100, 100))
	dearer, err := price.New([]price.Price{{Model: "m", Currency: "USD", Version: "dearer", PerUnit: map[accounting.Meter]accounting.Pico{accounting.Input: 1e9, accounting.Output: 1e9}}})
	if err != nil {
		t.Fatal(err)
	}
	l.Prices = func() *price.Catalogue { return dearer }
	l.Budgets = func() *lease.Book { return nil }
	if cost, err := h.Settle(t.Context(), completed(tokens(1, 1))); err != nil || cost.Charge.Nanos != nanosOf(1, 1) {
		t.Errorf("cost %+v, %v; want that of the price at its start", cost, err)
	}
}

func TestAnAttemptIsRecoveredInDoubtOnce(t *testing.T) {
	s := openStore(t)
	l := newLedger(t, s, budget("cap", lease.PerTenant, 5e9, "USD"))
	h := hold(t, l, "call", tokens(10, 20))
	if n, err := l.Recover(t.Context(), start.Add(time.Minute)); n != 0 || err != nil {
		t.Errorf("recovered %d, %v before its deadline has passed", n, err)
	}
	after := start.Add(time.Minute + 1e3)
	var group sync.WaitGroup
	var settled atomic.Int64
	for range 4 {
		group.Go(func() {
			n, err := l.Recover(t.Context(), after)
			if err != nil {
				t.Errorf("recover: %v", err)
			}
			settled.Add(int64(n))
		})
	}
	group.Wait()
	if settled.Load() != 1 {
		t.Errorf("recovered %d times", settled.Load())
	}
	expect(t, s, cap07, nanosOf(10, 20), 0, 0)
	if line := theLine(t, s, "call"); line.Outcome != accounting.OutcomeInDoubt || line.Source != accounting.SourceReservation || line.Usage != tokens(10, 20) || line.Cost.Charge.Nanos != nanosOf(10, 20) || len(line.Cost.Items) != 2 {
		t.Errorf("line %+v", line)
	}
	if _, err := h.Settle(t.Context(), completed(tokens(1, 1))); !errors.Is(err, ledger.ErrSettledElsewhere) {
		t.Errorf("settled after it was found in doubt: %v", err)
	}
	expect(t, s, cap07, nanosOf(10, 20), 0, 0)
}

// faulty fails a Close before or after it is kept, as a lost connection does.
type faulty struct {
	ledger.Store
	before, after func(ledger.Closing) error
}

func (f *faulty) Close(ctx context.Context, c ledger.Closing) (bool, error) {
	if f.before != nil {
		if err := f.before(c); err != nil {
			return false, err
		}
	}
	wrote, err := f.Store.Close(ctx, c)
	if err == nil && f.after != nil {
		if err := f.after(c); err != nil {
			return false, err
		}
	}
	return wrote, err
}

func TestAHoldStandsUntilItsSettleIsKept(t *testing.T) {
	s := openStore(t)
	f := &faulty{Store: s, before: func(ledger.Closing) error { return store.ErrUnavailable }}
	l := newLedger(t, f, budget("cap", lease.PerTenant, 5e9, "USD"))
	h := hold(t, l, "call", tokens(10, 20))
	if _, err := h.Settle(t.Context(), completed(tokens(1, 1))); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("settle without a store: %v", err)
	}
	expect(t, s, cap07, 0, nanosOf(10, 20), 0)
	f.before = nil
	if cost, err := h.Settle(t.Context(), completed(tokens(1, 1))); err != nil || cost.Charge.Nanos != nanosOf(1, 1) {
		t.Errorf("settled later: %+v, %v", cost, err)
	}
	expect(t, s, cap07, nanosOf(1, 1), 0, 0)
}

func TestALostReplyChargesNothingTwice(t *testing.T) {
	s := openStore(t)
	f := &faulty{Store: s, after: func(ledger.Closing) error { return store.ErrUnavailable }}
	l := newLedger(t, f, budget("cap", lease.PerTenant, 5e9, "USD"))
	h := hold(t, l, "call", tokens(10, 20))
	if _, err := h.Settle(t.Context(), completed(tokens(1, 1))); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("settle: %v", err)
	}
	f.after = nil
	if _, err := h.Settle(t.Context(), completed(tokens(1, 1))); err != nil && !errors.Is(err, ledger.ErrSettledElsewhere) {
		t.Errorf("settled again: %v", err)
	}
	expect(t, s, cap07, nanosOf(1, 1), 0, 0)
	theLine(t, s, "call")
}

// More attempts than a batch, all but one of which can be settled.
func TestOneAttemptThatCannotBeRecoveredKeepsNoOtherFromIt(t *testing.T) {
	s := openStore(t)
	wrong := errors.New("wrong")
	f := &faulty{Store: s, before: func(c ledger.Closing) error {
		if c.Line.RequestID == "call-0" {
			return wrong
		}
		return nil
	}}
	l := newLedger(t, f, budget("cap", lease.PerTenant, 5e9, "USD"))
	const calls = 250
	for i := range calls {
		hold(t, l, fmt.Sprint("call-", i), tokens(1, 0))
	}
	n, err := l.Recover(t.Context(), start.Add(time.Hour))
	if n != calls-1 || !errors.Is(err, wrong) || !strings.Contains(err.Error(), "call-0") {
		t.Errorf("recovered %d, %v", n, err)
	}
	f.before = func(ledger.Closing) error { return wrong }
	if n, err := l.Recover(t.Context(), start.Add(time.Hour)); n != 0 || !errors.Is(err, wrong) {
		t.Errorf("recovered %d, %v", n, err)
	}
	expect(t, s, cap07, (calls-1)*inputNanos, inputNanos, 0)
}

func TestManyHoldsNeverExceedABudget(t *testing.T) {
	s := openStore(t)
	// Twenty calls of this bound fit at once; what they leave is spent again.
	limit := 20 * nanosOf(10, 20)
	l := newLedger(t, s, budget("cap", lease.PerTenant, limit, "USD"), budget("t", lease.PerKey, 1e9, accounting.UnitTokens))
	var group sync.WaitGroup
	var refused atomic.Int64
	for i := range 64 {
		group.Go(func() {
			h, err := l.Hold(t.Context(), attempt(fmt.Sprint("call-", i)), tokens(10, 20), nil)
			var exhausted *accounting.ExhaustedError
			if errors.As(err, &exhausted) {
				refused.Add(1)
				return
			}
			if err != nil {
				t.Errorf("hold: %v", err)
				return
			}
			if w, _, err := s.Window(t.Context(), cap07); err != nil || w.Spent+w.Held > limit {
				t.Errorf("spent %d and held %d of %d, %v", w.Spent, w.Held, limit, err)
			}
			if i%3 != 0 {
				if _, err := h.Settle(t.Context(), completed(tokens(10, 18))); err != nil {
					t.Errorf("settle: %v", err)
				}
			}
		})
	}
	group.Wait()
	if refused.Load() == 0 {
		t.Error("nothing was refused: the test proves nothing")
	}
}
