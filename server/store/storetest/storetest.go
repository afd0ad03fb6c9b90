// Package storetest is what server/store promises, as tests that every engine
// runs in full, each case on a fresh database of the real engine. It knows no
// engine, beyond how to come by a PostgreSQL; it is for tests only.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/weir-gateway/weir/accounting"
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
		{"AClaimIsHeldUntilItsAttemptEnds", claimIsHeld},
		{"AClaimWithoutRoomKeepsNothing", claimWithoutRoom},
		{"AllWindowsHaveRoomOrNoneIsHeld", allOrNothing},
		{"ManyClaimsNeverExceedTheLimit", manyClaims},
		{"ClaimsInOppositeOrderDoNotDeadlock", oppositeOrder},
		{"AnAttemptIsOpenedOnce", openedOnce},
		{"AnAttemptIsEndedOnce", endedOnce},
		{"ManyEndersWriteOneLine", manyEnders},
		{"ALineComesBackAsItWasWritten", lineComesBack},
		{"ASettleIsNeverRefused", settleIsNeverRefused},
		{"OverrunIsWhatNoClaimCovered", overrun},
		{"ALoweredLimitGrantsNothing", loweredLimit},
		{"ACorrectionFeedsTheWindowsAndEndsNothing", correction},
		{"ALineWithoutAnOpenRecordBringsItsWindows", lineWithoutOpen},
		{"AbandonedAttemptsComeOldestFirst", abandoned},
		{"TextThatNoLineCanKeepIsRefusedAtOnce", unwritable},
		{"ASumThatDoesNotFitIsAnError", overflow},
		{"WindowsAreListedByTenantAndTime", windowList},
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
		{"ReportsAgreeWithAModel", reportModel},
		{"ReportsNeverAddTwoCurrencies", reportCurrencies},
		{"AReportSumThatDoesNotFitIsAnError", reportOverflow},
		{"ReportsSortByBytes", reportOrder},
		{"AnEmptyLedgerHasAnEmptyReport", reportEmpty},
		{"ManyOpenADatabaseAtOnce", manyOpen},
		{"WhatIsWrittenIsThereAfterARestart", restart},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.run(t, fresh(t)) })
	}
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
	return accounting.Claim{Window: w, Amount: amount}
}

func attempt(call string, number int) accounting.Attempt {
	return accounting.Attempt{
		RequestID: call, Number: number,
		Subject: accounting.Subject{Tenant: "acme", Project: "default", Key: "k1"},
		Model:   "m", Backend: "b", BackendModel: "bm", Start: start, Deadline: start.Add(time.Minute),
	}
}

func opening(call string, claims ...accounting.Claim) ledger.Open {
	return ledger.Open{Attempt: attempt(call, 1), Claims: claims}
}

// closing ends an opening with line 0 that feeds each claimed window amount.
func closing(o ledger.Open, amount int64) ledger.Closing {
	c := ledger.Closing{
		Line:   accounting.Line{Attempt: o.Attempt, End: start.Add(time.Second), Outcome: accounting.OutcomeCompleted, Source: accounting.SourceProvider},
		Claims: o.Claims,
	}
	for _, claim := range o.Claims {
		c.Allocations = append(c.Allocations, accounting.Allocation{Window: claim.Window.ID, Unit: claim.Window.Unit, Amount: amount})
	}
	return c
}

// expect compares a window with what it should be.
func expect(t *testing.T, s *store.Store, id string, spent, held, overrun int64) {
	t.Helper()
	w, ok, err := s.Window(t.Context(), id)
	if err != nil {
		t.Fatalf("window %s: %v", id, err)
	}
	got := fmt.Sprintf("spent %d, held %d, overrun %d", w.Spent, w.Held, w.Overrun)
	want := fmt.Sprintf("spent %d, held %d, overrun %d", spent, held, overrun)
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

func mustOpen(t *testing.T, s *store.Store, o ledger.Open) {
	t.Helper()
	if excesses, err := s.Open(t.Context(), o); err != nil || len(excesses) > 0 {
		t.Fatalf("open: %v, in excess: %v", err, excesses)
	}
}

func mustClose(t *testing.T, s *store.Store, c ledger.Closing, want bool) {
	t.Helper()
	wrote, err := s.Close(t.Context(), c)
	if err != nil || wrote != want {
		t.Fatalf("close: wrote %t, %v; want %t", wrote, err, want)
	}
}
