package ledger_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/lease"
	"github.com/weir-gateway/weir/accounting/ledger"
	"github.com/weir-gateway/weir/accounting/price"
	"github.com/weir-gateway/weir/accounting/spool"
	"github.com/weir-gateway/weir/server/store"
	"github.com/weir-gateway/weir/server/store/sqlite"
)

func TestMain(m *testing.M) {
	if raceEnabled {
		// The database is twenty times slower with the detector, which looks for
		// races and not for sums. A flag that is given goes before this.
		if err := flag.Set("rapid.checks", "10"); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

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

// A process is a ledger as one Weir runs it: on a spool of its own, whose
// entries go to the store beside the calls.
type process struct {
	*ledger.Ledger
	stop func()
}

// openLedger runs the next process of a replica, whose spool is in a folder.
// What the one before left there is in the store when it returns, and inDoubt
// says how many attempts that one did not end. Entries go to a store that may
// be a faulty s.
func openLedger(s *store.Store, to ledger.Store, dir string, incarnation int64, prices *price.Catalogue, budgets *lease.Book) (p *process, inDoubt int, err error) {
	log, _, err := spool.Open(spool.Config{Dir: dir, Replica: "r", Incarnation: uint64(incarnation), SegmentBytes: 256 << 10, MaxBytes: 4 << 20})
	if err != nil {
		return nil, 0, err
	}
	c := lease.Defaults()
	c.Store, c.Replica, c.Incarnation = s, "r", incarnation
	c.Timeout = time.Minute // a slow machine is not a store that is away
	leases, err := lease.NewHolder(c)
	if err != nil {
		return nil, 0, errors.Join(err, log.Close())
	}
	l := &ledger.Ledger{
		Store: to, Leases: leases, Spool: log, Durability: spool.Relaxed,
		Prices: func() *price.Catalogue { return prices }, Budgets: func() *lease.Book { return budgets },
		Now: func() time.Time { return start.Add(time.Second) }, Log: slog.New(slog.DiscardHandler),
	}
	inDoubt, err = l.Recover(context.Background())
	if err == nil {
		err = s.Release(context.Background(), "r", incarnation)
	}
	if err != nil {
		return nil, 0, errors.Join(err, log.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { l.Run(ctx) })
	p = &process{Ledger: l, stop: func() {
		cancel()
		running.Wait()
		_ = log.Close() // a test may have closed it
	}}
	return p, inDoubt, nil
}

func newLedger(t testing.TB, s *store.Store, budgets ...lease.Budget) *process {
	t.Helper()
	p, _, err := openLedger(s, s, t.TempDir(), 1, prices(t), book(t, budgets...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.stop)
	return p
}

func id(call string) string { return uuid.NewSHA1(uuid.NameSpaceOID, []byte(call)).String() }

func attempt(call string) accounting.Attempt {
	return accounting.Attempt{
		RequestID: id(call), Number: 1, Subject: accounting.Subject{Tenant: "acme", Project: "default", Key: "k1"},
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

func hold(t testing.TB, l *process, call string, bound accounting.Usage) *ledger.Hold {
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

// rest waits until the store has what was settled, and gives back what no
// running call holds of the leases.
func (p *process) rest(t testing.TB) {
	t.Helper()
	if err := errors.Join(p.Sync(t.Context()), p.Leases.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
}

// expect compares a window with what it should be while nobody calls: leased is
// then what running calls hold.
func expect(t testing.TB, s *store.Store, l *process, id string, spent, leased, overrun int64) {
	t.Helper()
	l.rest(t)
	w, _, err := s.Window(t.Context(), id)
	if err != nil || w.Spent != spent || w.Leased != leased || w.Overrun != overrun {
		t.Errorf("window %s: spent %d, leased %d, overrun %d, %v; want %d, %d, %d", id, w.Spent, w.Leased, w.Overrun, err, spent, leased, overrun)
	}
}

func theLine(t testing.TB, s *store.Store, l *process, call string) accounting.Line {
	t.Helper()
	l.rest(t)
	lines, err := s.Lines(t.Context(), id(call))
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
	expect(t, s, l, cap07, 0, nanosOf(100, 1000), 0)
	expect(t, s, l, "acme/t/key/default/k1/2026-07", 0, 1100, 0)
	expect(t, s, l, "acme/r/project/default/2026-07", 0, 1, 0)
	cost, err := h.Settle(t.Context(), completed(tokens(90, 20)))
	if err != nil || cost.Charge != (accounting.Money{Currency: "USD", Nanos: nanosOf(90, 20)}) {
		t.Fatalf("cost %+v, %v", cost, err)
	}
	expect(t, s, l, cap07, nanosOf(90, 20), 0, 0)
	expect(t, s, l, "acme/t/key/default/k1/2026-07", 110, 0, 0)
	expect(t, s, l, "acme/r/project/default/2026-07", 1, 0, 0)
	// Once.
	again, err := h.Settle(t.Context(), completed(tokens(9, 9)))
	if err != nil || again != cost {
		t.Errorf("settled again: %+v, %v", again, err)
	}
	if line := theLine(t, s, l, "call"); line.Usage != tokens(90, 20) || line.Source != accounting.SourceProvider || line.Cost.PriceVersion != "m@0001-01-01" {
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
	expect(t, s, l, "acme/t/tenant/2026-07", 110, 0, 0)
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
	expect(t, s, l, cap07, 0, 0, 0)
	expect(t, s, l, "acme/r/tenant/2026-07", 0, 0, 0)
	if line := theLine(t, s, l, "broken"); line.Cost.ProviderCost.Nanos != nanosOf(100, 5) || line.Cost.Charge.Nanos != 0 {
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
			if line := theLine(t, s, l, "call"); line.Source != accounting.SourceReservation || line.Usage != tokens(10, 20) {
				t.Errorf("line %+v", line)
			}
			expect(t, s, l, "acme/t/tenant/2026-07", 30, 0, 0)
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
	expect(t, s, l, "acme/t/tenant/2026-07", 2, 0, 0)

	l = newLedger(t, s, budget("cap", lease.PerTenant, 5e9, "USD"))
	unpriced.RequestID = id("other")
	var refused *ledger.UnpricedError
	if _, err := l.Hold(t.Context(), unpriced, tokens(1, 1), nil); !errors.As(err, &refused) || !strings.Contains(err.Error(), "has no price") {
		t.Errorf("unpriced under a budget of money: %v", err)
	}
	unpriced.Model = "cny"
	if _, err := l.Hold(t.Context(), unpriced, tokens(1, 1), nil); !errors.As(err, &refused) || refused.Priced != "CNY" {
		t.Errorf("priced in another currency: %v", err)
	}
	if live := l.Spool.Stats().Live; live != 0 {
		t.Errorf("%d refused attempts are open", live)
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

func TestWhatAProcessLeavesIsTakenUpOnce(t *testing.T) {
	s, dir := openStore(t), t.TempDir()
	prices, budgets := prices(t), book(t, budget("cap", lease.PerTenant, 5e9, "USD"))
	run := func(incarnation int64, left int) *process {
		t.Helper()
		p, inDoubt, err := openLedger(s, s, dir, incarnation, prices, budgets)
		if err != nil || inDoubt != left {
			t.Fatalf("%d in doubt, %v; want %d", inDoubt, err, left)
		}
		return p
	}
	killed := run(1, 0)
	h := hold(t, killed, "doubt", tokens(10, 20))
	if _, err := hold(t, killed, "done", tokens(10, 20)).Settle(t.Context(), completed(tokens(1, 1))); err != nil {
		t.Fatal(err)
	}
	killed.stop()
	if _, err := h.Settle(t.Context(), completed(tokens(1, 1))); err == nil {
		t.Error("an entry was settled that nothing carries to the store")
	}
	next := run(2, 1)
	expect(t, s, next, cap07, nanosOf(11, 21), 0, 0)
	if line := theLine(t, s, next, "doubt"); line.Outcome != accounting.OutcomeInDoubt || line.Source != accounting.SourceReservation || line.Usage != tokens(10, 20) || line.Cost.Charge.Nanos != nanosOf(10, 20) || len(line.Cost.Items) != 2 {
		t.Errorf("line %+v", line)
	}
	if line := theLine(t, s, next, "done"); line.Outcome != accounting.OutcomeCompleted || line.Usage != tokens(1, 1) {
		t.Errorf("line %+v", line)
	}
	next.stop()
	last := run(3, 0)
	defer last.stop()
	expect(t, s, last, cap07, nanosOf(11, 21), 0, 0)
}

// faulty fails a Write before or after it is kept, as a lost connection does.
type faulty struct {
	*store.Store
	before, after func([]ledger.Entry) error
}

func (f *faulty) Write(ctx context.Context, entries []ledger.Entry) error {
	if f.before != nil {
		if err := f.before(entries); err != nil {
			return err
		}
	}
	err := f.Store.Write(ctx, entries)
	if err == nil && f.after != nil {
		err = f.after(entries)
	}
	return err
}

func runOn(t testing.TB, f *faulty, budgets ...lease.Budget) *process {
	t.Helper()
	p, _, err := openLedger(f.Store, f, t.TempDir(), 1, prices(t), book(t, budgets...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.stop)
	return p
}

// A call does not wait for the store, and the store gets the entry once: where
// it was away, and where it had the entry and its reply was lost.
func TestTheStoreMayBeAwayForAWhile(t *testing.T) {
	for _, lost := range []bool{false, true} {
		s := openStore(t)
		back := make(chan struct{})
		asked := make(chan struct{}, 100)
		away := func([]ledger.Entry) error {
			asked <- struct{}{}
			select {
			case <-back:
				return nil
			default:
				return store.ErrUnavailable
			}
		}
		f := &faulty{Store: s, before: away}
		if lost {
			f.before, f.after = nil, away
		}
		l := runOn(t, f, budget("cap", lease.PerTenant, 5e9, "USD"))
		cost, err := hold(t, l, "call", tokens(10, 20)).Settle(t.Context(), completed(tokens(1, 1)))
		if err != nil || cost.Charge.Nanos != nanosOf(1, 1) {
			t.Errorf("settled without the store: %+v, %v", cost, err)
		}
		<-asked
		<-asked
		close(back)
		expect(t, s, l, cap07, nanosOf(1, 1), 0, 0)
		theLine(t, s, l, "call")
	}
}

func TestASettleCanWaitForTheStore(t *testing.T) {
	s := openStore(t)
	asked, back := make(chan struct{}, 100), make(chan struct{})
	f := &faulty{Store: s, before: func([]ledger.Entry) error { asked <- struct{}{}; <-back; return nil }}
	l := runOn(t, f, budget("cap", lease.PerTenant, 5e9, "USD"))
	l.Durability = spool.Store
	h := hold(t, l, "call", tokens(10, 20))
	ctx, cancel := context.WithCancel(t.Context())
	waited := make(chan error)
	go func() {
		_, err := h.Settle(ctx, completed(tokens(1, 1)))
		waited <- err
	}()
	<-asked
	cancel()
	if err := <-waited; !errors.Is(err, context.Canceled) {
		t.Errorf("settled while the store was away: %v", err)
	}
	close(back)
	// What is written is written: another Settle waits for the first.
	if cost, err := h.Settle(t.Context(), completed(tokens(9, 9))); err != nil || cost.Charge.Nanos != nanosOf(1, 1) {
		t.Errorf("settled again: %+v, %v", cost, err)
	}
	if w, _, err := s.Window(t.Context(), cap07); err != nil || w.Spent != nanosOf(1, 1) {
		t.Errorf("settled, and the store has %d, %v", w.Spent, err)
	}
}

// What can never be written keeps nothing else from it, and is not lost.
func TestWhatCannotBeWrittenIsBuried(t *testing.T) {
	s := openStore(t)
	begun := make(chan struct{})
	wrong := &ledger.RefusedError{Err: errors.New("wrong")}
	f := &faulty{Store: s, before: func(entries []ledger.Entry) error {
		<-begun
		if slices.ContainsFunc(entries, func(e ledger.Entry) bool { return e.Line.RequestID == id("call-7") }) {
			return wrong
		}
		return nil
	}}
	l := runOn(t, f, budget("cap", lease.PerTenant, 5e9, "USD"))
	const calls = 50
	for i := range calls {
		if _, err := hold(t, l, fmt.Sprint("call-", i), tokens(1, 0)).Settle(t.Context(), completed(tokens(1, 0))); err != nil {
			t.Fatal(err)
		}
	}
	garbage := spool.Key{Request: uuid.NewSHA1(uuid.NameSpaceOID, []byte("garbage")), Attempt: 1}
	if err := l.Spool.WriteOpen(garbage, []byte("?")); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Spool.WriteClose(t.Context(), garbage, []byte("?"), nil, spool.Relaxed); err != nil {
		t.Fatal(err)
	}
	close(begun)
	if _, err := hold(t, l, "last", tokens(1, 0)).Settle(t.Context(), completed(tokens(1, 0))); err != nil {
		t.Fatal(err)
	}
	if err := l.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, err := s.DeadLetters(t.Context()); n != 2 || err != nil {
		t.Errorf("%d dead letters, %v; want 2", n, err)
	}
	w, _, err := s.Window(t.Context(), cap07)
	if err != nil || w.Spent != calls*inputNanos {
		t.Errorf("spent %d, %v; want %d", w.Spent, err, calls*inputNanos)
	}
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
			if w, _, err := s.Window(t.Context(), cap07); err != nil || w.Spent+w.Leased > limit {
				t.Errorf("spent %d and held %d of %d, %v", w.Spent, w.Leased, limit, err)
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
