package storetest

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/lease"
	"github.com/weir-gateway/weir/accounting/ledger"
)

func writtenOnce(t *testing.T, open Opener) {
	s := one(t, open)
	w := window("w", 10)
	take(t, s, 1, w, 9)
	write(t, s, entry("call", 1, w, 2))
	// In doubt, or tried again: the first line stands, also of two in one batch.
	late := entry("call", 1, w, 5)
	late.Line.Outcome = accounting.OutcomeInDoubt
	write(t, s, late)
	write(t, s, entry("other", 1, w, 3), entry("other", 1, w, 4), late)
	expect(t, s, "w", 5, 4, 0)
	lines, err := s.Lines(t.Context(), "call")
	if err != nil || len(lines) != 1 || lines[0].Outcome != accounting.OutcomeCompleted {
		t.Errorf("lines %+v, %v", lines, err)
	}
}

// manyWriters is one spool that several replicas have got hold of.
func manyWriters(t *testing.T, open Opener) {
	list := replicas(t, open, 3)
	w := window("w", 10_000)
	take(t, list[0], 1, w, 2000)
	var group sync.WaitGroup
	for i := range 6 {
		s := list[i%len(list)]
		group.Go(func() {
			for round := range 10 {
				var batch []ledger.Entry
				for n := range 20 {
					batch = append(batch, entry(fmt.Sprintf("call-%d-%d", round, n), 1, w, 5))
				}
				if err := s.Write(t.Context(), batch); err != nil {
					t.Errorf("write: %v", err)
				}
			}
		})
	}
	group.Wait()
	expect(t, list[0], "w", 1000, 1000, 0)
}

// oppositeOrder is batches that name the same windows in other orders.
func oppositeOrder(t *testing.T, open Opener) {
	list := replicas(t, open, 2)
	a, b := window("a", 1<<40), window("b", 1<<40)
	var group sync.WaitGroup
	for i := range 16 {
		s := list[i%len(list)]
		group.Go(func() {
			for round := range 5 {
				e := entry(fmt.Sprintf("call-%d-%d", i, round), 0, a, 1)
				e.Settled = append(e.Settled, entry("", 0, b, 1).Settled[0])
				if i%2 == 0 {
					e.Settled[0], e.Settled[1] = e.Settled[1], e.Settled[0]
				}
				if err := s.Write(t.Context(), []ledger.Entry{e}); err != nil {
					t.Errorf("write: %v", err)
				}
			}
		})
	}
	group.Wait()
	expect(t, list[0], "a", 80, 0, 0)
	expect(t, list[0], "b", 80, 0, 0)
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
			Model:   "m", Backend: "b", BackendModel: "bm", Reason: "the only one", AskedClass: accounting.ServicePriority, Start: start.Add(time.Microsecond), Deadline: start.Add(time.Minute),
		},
		Number: 0, End: start.Add(time.Second), Outcome: accounting.OutcomeBlocked,
		Usage: usage, Source: accounting.SourceEstimate, OwnUsage: own, ServedClass: accounting.ServiceStandard,
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
	write(t, s, ledger.Entry{Line: bare}, ledger.Entry{Line: away})
	lines, err := s.Lines(t.Context(), "call")
	must(t, err)
	if want := []accounting.Line{full, bare}; !reflect.DeepEqual(lines, want) {
		t.Errorf("lines\n%+v\nwant\n%+v", lines, want)
	}
	mixed := full
	mixed.Attempt.Number = 6
	mixed.Cost = &accounting.Cost{ProviderCost: accounting.Money{Currency: "USD"}, Charge: accounting.Money{Currency: "CNY"}}
	refused(t, s.Write(t.Context(), []ledger.Entry{{Line: mixed}}))
}

func refused(t *testing.T, err error) {
	t.Helper()
	var permanent *ledger.RefusedError
	if !errors.As(err, &permanent) {
		t.Errorf("what can never be written: %v", err)
	}
}

func manyLines(t *testing.T, open Opener) {
	s := one(t, open)
	w := window("w", 1<<40)
	take(t, s, 1, w, 5000)
	var batch []ledger.Entry
	for i := range 1000 {
		batch = append(batch, entry(fmt.Sprintf("call-%d", i), 1, w, 3))
	}
	write(t, s, batch...)
	expect(t, s, "w", 3000, 2000, 0)
}

func correction(t *testing.T, open Opener) {
	s := one(t, open)
	w := window("w", 10)
	take(t, s, 1, w, 10)
	e := entry("call", 1, w, 8)
	e.Line.Outcome = accounting.OutcomeInDoubt
	write(t, s, e)
	fix := entry("call", 0, w, -5)
	fix.Line.Number, fix.Line.Source, fix.Settled[0].Uncovered = 1, accounting.SourceReconciled, -5
	write(t, s, fix, fix)
	expect(t, s, "w", 3, 2, 0)
}

func lineWithoutLease(t *testing.T, open Opener) {
	s := one(t, open)
	e := entry("call", 0, window("w", 10), 3)
	e.Settled[0].Uncovered = 3
	write(t, s, e)
	expect(t, s, "w", 3, 0, 0)
	// Nobody pays, so nothing is fed and nothing allocated; the lease keeps it.
	w := window("v", 10)
	take(t, s, 1, w, 5)
	free := entry("free", 1, w, 0)
	free.Line.Outcome = accounting.OutcomeFailed
	write(t, s, free)
	expect(t, s, "v", 0, 5, 0)
}

func overflow(t *testing.T, open Opener) {
	s := one(t, open)
	w := window("w", math.MaxInt64)
	write(t, s, entry("a", 0, w, math.MaxInt64-1))
	err := s.Write(t.Context(), []ledger.Entry{entry("b", 0, w, math.MaxInt64-1)})
	refused(t, err)
	if !errors.Is(err, accounting.ErrOverflow) {
		t.Errorf("a sum past 64 bits: %v", err)
	}
	expect(t, s, "w", math.MaxInt64-1, 0, 0)
	if lines, err := s.Lines(t.Context(), "b"); err != nil || len(lines) != 0 {
		t.Errorf("the line that did not fit is there: %v, %v", lines, err)
	}
}

func buried(t *testing.T, open Opener) {
	s := one(t, open)
	must(t, s.Bury(t.Context(), []ledger.DeadLetter{
		{RequestID: "call", Attempt: 1, Time: start, Payload: []byte{0, 1, 0xff}, Cause: "it is \xff damaged"},
		{RequestID: "call", Attempt: 1, Time: start},
	}))
	if n, err := s.DeadLetters(t.Context()); n != 2 || err != nil {
		t.Errorf("%d dead letters, %v", n, err)
	}
}

func windowList(t *testing.T, open Opener) {
	s := one(t, open)
	july, august, forever, theirs := window("b-july", 1), window("c-august", 1), window("a-forever", 1), window("d-theirs", 1)
	august.Start, august.End = july.End, july.End.AddDate(0, 1, 0)
	forever.Start, forever.End = time.Time{}, time.Time{}
	theirs.Tenant = "other"
	for i, w := range []accounting.Window{july, august, forever, theirs} {
		take(t, s, int64(i+1), w, 1)
	}
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
		if want := (accounting.WindowState{Window: forever, Leased: 1}); !reflect.DeepEqual(list[0], want) {
			t.Errorf("window %+v; want %+v", list[0], want)
		}
	}
	if list, err := s.Windows(t.Context(), "acme", july.Start, 1); err != nil || len(list) != 1 {
		t.Errorf("%d windows, %v; want 1", len(list), err)
	}
	leases, err := s.Leases(t.Context(), lease.Query{Tenant: "acme", Limit: 10})
	if err != nil || len(leases) != 3 || leases[0].Window.ID != "a-forever" || leases[0].Remainder() != 1 || leases[0].ID.Number != 3 {
		t.Errorf("leases %+v, %v", leases, err)
	}
}
