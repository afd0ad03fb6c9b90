// Package storetest is what server/store promises, as tests that every engine
// runs in full, each case on a fresh database of the real engine. It knows no
// engine, beyond how to come by a PostgreSQL; it is for tests only.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/lease"
	"github.com/weir-gateway/weir/accounting/lease/leasetest"
	"github.com/weir-gateway/weir/accounting/ledger"
	"github.com/weir-gateway/weir/server/store"
)

// An Opener opens one database, as each replica on it does. Where the engine
// is one process's alone it fails with store.ErrInUse while it is open.
type Opener func(context.Context) (*store.Store, error)

// Run runs every case. Fresh makes an empty database that is gone when the
// test ends.
func Run(t *testing.T, fresh func(testing.TB) Opener) {
	cases := []struct {
		name string
		run  func(*testing.T, Opener)
	}{
		{"ALineIsWrittenOnce", writtenOnce},
		{"ManyWritersWriteOneLine", manyWriters},
		{"WindowsInOppositeOrderDoNotDeadlock", oppositeOrder},
		{"ALineComesBackAsItWasWritten", lineComesBack},
		{"ManyLinesAreOneTransaction", manyLines},
		{"ACorrectionFeedsTheWindows", correction},
		{"ALineWithoutALeaseBringsItsWindows", lineWithoutLease},
		{"ASumThatDoesNotFitIsAnError", overflow},
		{"WhatCannotBeWrittenIsBuried", buried},
		{"ADeadLetterIsReplayedOnce", replayed},
		{"ADeadLetterThatCannotBeKeptStays", stillDead},
		{"LinesAreListed", lineList},
		{"ManyGrantsNeverExceedTheLimit", manyGrants},
		{"WindowsAreListedByTenantAndTime", windowList},
		{"LeasesAreListedInPages", leasePages},
		{"WhoIsSilentAndHoldsLeases", silences},
		{"OverrunsAreOfTheWindowsOfNow", overruns},
		{"ALeaseOfARollingWindowIsReclaimed", reclaimRolling},
		{"ARollingWindowNeverHoldsMoreThanItsLimit", rollingModel},
		{"ClocksThatDisagreeShareARollingWindow", rollingRace},
		{"ARollingWindowOverruns", rollingOverrun},
		{"AGraceAndAShadowGrantAndTell", lenient},
		{"ManyClaimsNeverExceedTheGrace", graceRace},
		{"AThresholdAlertsOnceAWindow", alertsOnce},
		{"ARollingWindowAlertsOnceALength", alertsRolling},
		{"OfManyReplicasOneRaisesAnAlert", alertsRace},
		{"AnAdjustmentMovesTheLimitOfItsWindow", adjustMovesTheLimit},
		{"AnAdjustmentIsMadeOnce", adjustOnce},
		{"AdjustmentsHaveABound", adjustOverflow},
		{"AnAdjustmentLeavesARollingWindow", adjustRolling},
		{"ClaimsAndAdjustmentsMeet", adjustRace},
		{"StandingsAreOfTheWindowsOfNow", standings},
		{"EachApplyIsOneRevision", applyRevision},
		{"ApplyIsAllOrNothing", applyAllOrNothing},
		{"OfManyAppliesOnOneBaseOneWins", applyRace},
		{"DocumentsAreOneConsistentRead", consistentDocuments},
		{"AKeyIsFoundByItsHash", keyByHash},
		{"AKeyNeedsItsProject", keyNeedsProject},
		{"OneFirstKey", firstKey},
		{"KeysComeInPages", keysInPages},
		{"AKeyIsRotatedAndRevoked", keyChanges},
		{"EveryChangeLeavesAnEvent", auditLog},
		{"ManyAsksGetNoMoreThanTheBurst", manyAsks},
		{"AnAskMayComeAgain", askedAgain},
		{"WhatIsOverdrawnIsOwed", overdrawn},
		{"AShareEnds", shareEnds},
		{"RatesAreSweptThatAreAsGoodAsNew", ratesSwept},
		{"AClaimMeetsWhatBecameOfItsKey", claimMeets},
		{"AClaimOfADeadProcessIsTakenOver", claimTakenOver},
		{"OfManyCallsWithOneKeyOneRuns", manyClaims},
		{"ClaimsEnd", claimsEnd},
		{"ReportsAgreeWithAModel", reportModel},
		{"ReportsNeverAddTwoCurrencies", reportCurrencies},
		{"AReportSumThatDoesNotFitIsAnError", reportOverflow},
		{"ReportsSortByBytes", reportOrder},
		{"AnEmptyLedgerHasAnEmptyReport", reportEmpty},
		{"ReportsOfDays", reportsOfDays},
		{"LinesBeyondTheHorizonGo", oldLinesGo},
		{"LinesAreDroppedWhileTheyAreReplayed", dropRace},
		{"AnOutputComesBackAsItWasWritten", outputComesBack},
		{"QueriesOfOutputsAgreeWithAModel", outputModel},
		{"ARatingIsKeptOnce", ratings},
		{"OutputsGoWhenTheyExpire", sweep},
		{"ManyOpenADatabaseAtOnce", manyOpen},
		{"WhatIsWrittenIsThereAfterARestart", restart},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.run(t, fresh(t)) })
	}
	t.Run("LeasesKeepTheirContract", func(t *testing.T) {
		leasetest.Run(t, func(t *testing.T) leasetest.Rig { return &leaseRig{Store: one(t, fresh(t))} })
	})
}

// one opens a store for the length of a test, and audits it at the end.
func one(t *testing.T, open Opener) *store.Store {
	t.Helper()
	s, err := open(t.Context())
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		off, err := s.Audit(context.Background())
		if err != nil {
			t.Errorf("audit: %v", err)
		}
		for _, sentence := range off {
			t.Error(sentence)
		}
		if err := s.Shutdown(); err != nil {
			t.Errorf("shut down: %v", err)
		}
	})
	return s
}

// replicas opens stores on one database. Where the engine is one process's
// alone, its goroutines take the places of replicas.
func replicas(t *testing.T, open Opener, n int) []*store.Store {
	t.Helper()
	list := []*store.Store{one(t, open)}
	for len(list) < n {
		s, err := open(t.Context())
		if errors.Is(err, store.ErrInUse) {
			list = append(list, list[0])
			continue
		}
		if err != nil {
			t.Fatalf("open another replica: %v", err)
		}
		t.Cleanup(func() { s.Shutdown() })
		list = append(list, s)
	}
	return list
}

var start = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// window is a window of July with a limit in requests, so that amounts are
// small numbers.
func window(id string, limit int64) accounting.Window {
	return accounting.Window{
		ID: id, Budget: "cap", Tenant: "acme", Scope: "tenant", Unit: accounting.UnitRequests,
		Start: time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC), End: time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC), Limit: limit,
	}
}

func claim(w accounting.Window, amount int64) accounting.Claim {
	return accounting.Claim{Window: &w, Amount: amount}
}

func attempt(call string, number int) accounting.Attempt {
	return accounting.Attempt{
		RequestID: call, Number: number,
		Subject: accounting.Subject{Tenant: "acme", Project: "default", Key: "k1"},
		Model:   "m", Backend: "b", BackendModel: "bm", Start: start, Deadline: start.Add(time.Minute),
	}
}

// An op is an attempt that holds what it needs, each claim by a lease of its own.
type op struct {
	attempt accounting.Attempt
	claims  []accounting.Claim
	leases  []lease.ID
}

var lastLease atomic.Int64

func opening(call string, claims ...accounting.Claim) *op {
	return &op{attempt: attempt(call, 1), claims: claims}
}

// take gets the room of all claims or of none, as a replica does.
func (o *op) take(ctx context.Context, s *store.Store) ([]accounting.Excess, error) {
	var excesses []accounting.Excess
	o.leases = nil
	for _, c := range o.claims {
		id := leaseID(lastLease.Add(1))
		g, err := s.Grant(ctx, time.Minute, []lease.Want{{Lease: id, Window: *c.Window, Need: c.Amount, Wish: c.Amount}})
		if err == nil && g[0].Granted < c.Amount {
			err = &accounting.ExhaustedError{Claim: c, Spent: g[0].Spent, Held: g[0].Leased, Adjusted: g[0].Adjusted}
		}
		if err != nil {
			return nil, errors.Join(err, o.release(ctx, s, nil))
		}
		o.leases = append(o.leases, id)
		if g[0].Excess != nil {
			excesses = append(excesses, *g[0].Excess)
		}
	}
	return excesses, nil
}

// release closes the leases, of which some was used that is on its way.
func (o *op) release(ctx context.Context, s *store.Store, used []int64) error {
	var returns []lease.Return
	for i, id := range o.leases {
		r := lease.Return{Lease: id, Window: o.claims[i].Window.ID, Returned: o.claims[i].Amount, Close: true, Granted: o.claims[i].Amount}
		if used != nil {
			r.Returned -= min(used[i], r.Returned)
		}
		returns = append(returns, r)
	}
	return s.Return(ctx, returns)
}

// settle ends the attempt: each of its windows is fed an amount.
func (o *op) settle(ctx context.Context, s *store.Store, amount int64) error {
	e := ledger.Entry{Line: accounting.Line{Attempt: o.attempt, End: start.Add(time.Second), Outcome: accounting.OutcomeCompleted, Source: accounting.SourceProvider}}
	var used []int64
	for i, c := range o.claims {
		e.Settled = append(e.Settled, ledger.Settled{Window: c.Window, Lease: o.leases[i], Amount: amount, Uncovered: max(0, amount-c.Amount)})
		used = append(used, amount)
	}
	if err := s.Write(ctx, []ledger.Entry{e}); err != nil {
		return err
	}
	return o.release(ctx, s, used)
}

func mustTake(t *testing.T, s *store.Store, o *op) {
	t.Helper()
	excesses, err := o.take(t.Context(), s)
	if err != nil || len(excesses) > 0 {
		t.Fatalf("take: %v, with excesses %v", err, excesses)
	}
}

func mustSettle(t *testing.T, s *store.Store, o *op, amount int64) {
	t.Helper()
	must(t, o.settle(t.Context(), s, amount))
}

// entry is a call that used an amount of one window, of the lease of that number;
// 0 is of none.
func entry(call string, number int64, w accounting.Window, amount int64) ledger.Entry {
	settled := ledger.Settled{Window: &w, Amount: amount}
	if number > 0 {
		settled.Lease = leaseID(number)
	}
	return ledger.Entry{
		Line:    accounting.Line{Attempt: attempt(call, 1), End: start.Add(time.Second), Outcome: accounting.OutcomeCompleted, Source: accounting.SourceProvider},
		Settled: []ledger.Settled{settled},
	}
}

func leaseID(number int64) lease.ID { return lease.ID{Replica: "r", Incarnation: 1, Number: number} }

// take leases exactly that much of a window.
func take(t *testing.T, s *store.Store, number int64, w accounting.Window, amount int64) {
	t.Helper()
	grants, err := s.Grant(t.Context(), time.Minute, []lease.Want{{Lease: leaseID(number), Window: w, Need: amount, Wish: amount}})
	if err != nil || grants[0].Granted != amount {
		t.Fatalf("grant: %+v, %v", grants, err)
	}
}

func write(t *testing.T, s *store.Store, entries ...ledger.Entry) {
	t.Helper()
	must(t, s.Write(t.Context(), entries))
}

// expect compares a window with what it should be.
func expect(t *testing.T, s *store.Store, id string, spent, leased, overrun int64) {
	t.Helper()
	w, ok, err := s.Window(t.Context(), id)
	if err != nil {
		t.Fatalf("window %s: %v", id, err)
	}
	got := fmt.Sprintf("spent %d, leased %d, overrun %d", w.Spent, w.Leased, w.Overrun)
	want := fmt.Sprintf("spent %d, leased %d, overrun %d", spent, leased, overrun)
	if got != want || !ok {
		t.Errorf("window %s (there: %t): %s; want %s", id, ok, got, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
