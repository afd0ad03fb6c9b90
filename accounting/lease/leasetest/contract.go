// Package leasetest is the contract of lease.Store as tests, run by the model
// that the simulation proves the protocol with and by every real store. It
// knows no store; it is for tests only.
package leasetest

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/lease"
)

// A Rig is an empty store with what its contract is seen by.
type Rig interface {
	lease.Store
	// Settle inserts a line once and applies its settlements with it.
	Settle(line string, windows []accounting.Window, settlements []lease.Settlement) (wrote bool, err error)
	// Row returns a window's balance; the zero one where there is none.
	Row(window string) (lease.Balance, error)
	// Later moves the store's clock forward.
	Later(time.Duration)
	// Check recomputes what the rows say of each other.
	Check() error
}

// Epoch is the time of the store when a case begins.
var Epoch = time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)

// Run runs every case on a store that open makes.
func Run(t *testing.T, open func(*testing.T) Rig) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, Rig)
	}{
		{"AGrantThatComesTwiceChangesNothing", grantTwice},
		{"AGrantNeverPassesTheLimit", grantLimit},
		{"AGrantLeavesRoomForOthers", grantShare},
		{"ARefusedWantKeepsNoOtherFromItsGrant", grantMixed},
		{"AReturnThatComesTwiceChangesNothing", returnTwice},
		{"ACloseReturnsWhatItsHolderNeverHeardOf", closeUnknownGrant},
		{"AClosedLeaseIsNeverGranted", closedForGood},
		{"ALeaseIsForfeitedAfterItsGraceAndKeepsItsRemainder", forfeited},
		{"ARenewedLeaseIsNotForfeited", renewed},
		{"ASettlementTurnsLeasedIntoSpentWhateverTheState", settledLate},
		{"OverrunIsWhatNoLeaseCoveredPastTheLimit", overrun},
		{"ReleaseEndsEarlierProcessesAndFencesThem", released},
		{"ReclaimChargesOrReturnsTheRemainder", reclaimed},
		{"WhatIsLeftOfAnEndedWindowIsReturned", windowEnds},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t)
			c.run(t, s)
			if err := s.Check(); err != nil {
				t.Error(err)
			}
		})
	}
}

func contractWindow(limit int64) accounting.Window {
	return accounting.Window{ID: "acme/cap/tenant/2026-07", Budget: "cap", Tenant: "acme", Scope: "tenant", Unit: accounting.UnitTokens,
		Start: Epoch, End: Epoch.AddDate(0, 1, 0), Limit: limit}
}

func id(replica string, incarnation, number int64) lease.ID {
	return lease.ID{Replica: replica, Incarnation: incarnation, Number: number}
}

func grant(t *testing.T, s Rig, wants ...lease.Want) []lease.Grant {
	t.Helper()
	grants, err := s.Grant(context.Background(), 30*time.Second, wants)
	if err != nil {
		t.Fatalf("grant: %v", err)
	}
	if len(grants) != len(wants) {
		t.Fatalf("%d grants for %d wants", len(grants), len(wants))
	}
	return grants
}

func giveBack(t *testing.T, s Rig, returns ...lease.Return) {
	t.Helper()
	if err := s.Return(context.Background(), returns); err != nil {
		t.Fatalf("return: %v", err)
	}
}

func sweep(t *testing.T, s Rig, want int) {
	t.Helper()
	if n, err := s.Sweep(context.Background(), lease.Sweep{Grace: 2 * time.Second, Keep: 24 * time.Hour}); err != nil || n != want {
		t.Fatalf("%d leases were forfeited, %v; want %d", n, err, want)
	}
}

func settleOne(t *testing.T, s Rig, line string, w accounting.Window, of lease.Settlement) {
	t.Helper()
	of.Window = w.ID
	if wrote, err := s.Settle(line, []accounting.Window{w}, []lease.Settlement{of}); err != nil || !wrote {
		t.Fatalf("line %s: wrote %v, %v", line, wrote, err)
	}
}

func balance(t *testing.T, s Rig, w accounting.Window, want lease.Balance) {
	t.Helper()
	if got, err := s.Row(w.ID); got != want || err != nil {
		t.Fatalf("window has %+v, %v; want %+v", got, err, want)
	}
}

func grantTwice(t *testing.T, s Rig) {
	w := contractWindow(1000)
	want := lease.Want{Lease: id("r", 1, 1), Window: w, Need: 10, Wish: 900}
	for range 3 {
		if g := grant(t, s, want)[0]; g != (lease.Grant{State: lease.Live, Granted: 500, Leased: 500}) { // half the room, as it is alone
			t.Fatalf("grant %+v", g)
		}
	}
	want.Need = 510
	if g := grant(t, s, want)[0]; g.Granted != 750 || g.Leased != 750 {
		t.Fatalf("grant %+v", g)
	}
}

func grantLimit(t *testing.T, s Rig) {
	w := contractWindow(100)
	grant(t, s, lease.Want{Lease: id("a", 1, 1), Window: w, Need: 70, Wish: 70})
	settleOne(t, s, "l", w, lease.Settlement{Lease: id("a", 1, 1), Amount: 50})
	if g := grant(t, s, lease.Want{Lease: id("b", 1, 1), Window: w, Need: 31, Wish: 31})[0]; g != (lease.Grant{State: lease.Live, Spent: 50, Leased: 20}) {
		t.Fatalf("a grant past the limit: %+v", g)
	}
	if g := grant(t, s, lease.Want{Lease: id("b", 1, 1), Window: w, Need: 30, Wish: 30})[0]; g.Granted != 30 {
		t.Fatalf("a grant up to the limit: %+v", g)
	}
	w.Limit = 60 // lowered: nothing more, and nothing is taken away
	if g := grant(t, s, lease.Want{Lease: id("b", 1, 1), Window: w, Need: 31, Wish: 31})[0]; g != (lease.Grant{State: lease.Live, Granted: 30, Spent: 50, Leased: 50}) {
		t.Fatalf("a grant over a lowered limit: %+v", g)
	}
	w.Limit = math.MaxInt64
	if g := grant(t, s, lease.Want{Lease: id("b", 1, 1), Window: w, Need: 1 << 60, Wish: 1 << 60})[0]; g.Granted != 1<<60 {
		t.Fatalf("a grant of a raised limit: %+v", g)
	}
}

func grantShare(t *testing.T, s Rig) {
	w := contractWindow(1200)
	grant(t, s, lease.Want{Lease: id("a", 1, 1), Window: w}, lease.Want{Lease: id("b", 1, 1), Window: w})
	// Three live leases: a wish gets a sixth of the room, a need all of itself.
	if g := grant(t, s, lease.Want{Lease: id("c", 1, 1), Window: w, Need: 1, Wish: 1000})[0]; g.Granted != 200 {
		t.Fatalf("grant %+v; want a sixth of 1200", g)
	}
	if g := grant(t, s, lease.Want{Lease: id("a", 1, 1), Window: w, Need: 1000, Wish: 1000})[0]; g.Granted != 1000 {
		t.Fatalf("grant %+v; want all that is needed", g)
	}
}

func grantMixed(t *testing.T, s Rig) {
	full, free := contractWindow(0), contractWindow(100)
	full.ID, free.ID = "b", "a"
	grants := grant(t, s, lease.Want{Lease: id("r", 1, 1), Window: full, Need: 1, Wish: 1}, lease.Want{Lease: id("r", 1, 2), Window: free, Need: 1, Wish: 1})
	if grants[0] != (lease.Grant{State: lease.Live}) || grants[1] != (lease.Grant{State: lease.Live, Granted: 1, Leased: 1}) {
		t.Fatalf("grants %+v", grants)
	}
}

func returnTwice(t *testing.T, s Rig) {
	w := contractWindow(100)
	grant(t, s, lease.Want{Lease: id("r", 1, 1), Window: w, Need: 50, Wish: 50})
	for _, returned := range []int64{20, 20, 10, 20} { // the third was late
		giveBack(t, s, lease.Return{Lease: id("r", 1, 1), Window: w.ID, Returned: returned})
		balance(t, s, w, lease.Balance{Leased: 30})
	}
	// What was returned is granted again only for a higher total.
	if g := grant(t, s, lease.Want{Lease: id("r", 1, 1), Window: w, Need: 60, Wish: 60})[0]; g.Granted != 60 || g.Leased != 40 {
		t.Fatalf("grant %+v", g)
	}
}

func closeUnknownGrant(t *testing.T, s Rig) {
	w := contractWindow(100)
	grant(t, s, lease.Want{Lease: id("r", 1, 1), Window: w, Need: 50, Wish: 50})
	// The holder knows of 30, of which 10 were used and are on their way.
	for range 2 {
		giveBack(t, s, lease.Return{Lease: id("r", 1, 1), Window: w.ID, Returned: 20, Close: true, Granted: 30})
		balance(t, s, w, lease.Balance{Leased: 10})
	}
	settleOne(t, s, "l", w, lease.Settlement{Lease: id("r", 1, 1), Amount: 10})
	balance(t, s, w, lease.Balance{Spent: 10})
}

func closedForGood(t *testing.T, s Rig) {
	w := contractWindow(100)
	giveBack(t, s, lease.Return{Lease: id("r", 1, 1), Window: w.ID, Close: true}) // unknown
	giveBack(t, s, lease.Return{Lease: id("r", 1, 2), Window: w.ID, Returned: 5}) // unknown, and stays so
	if g := grant(t, s, lease.Want{Lease: id("r", 1, 1), Window: w, Need: 5, Wish: 5})[0]; g != (lease.Grant{State: lease.Closed}) {
		t.Fatalf("grant %+v", g)
	}
	if g := grant(t, s, lease.Want{Lease: id("r", 1, 2), Window: w, Need: 5, Wish: 5})[0]; g != (lease.Grant{State: lease.Live, Granted: 5, Leased: 5}) {
		t.Fatalf("grant %+v", g)
	}
}

func forfeited(t *testing.T, s Rig) {
	w := contractWindow(100)
	grant(t, s, lease.Want{Lease: id("r", 1, 1), Window: w, Need: 40, Wish: 40}, lease.Want{Lease: id("r", 1, 2), Window: w})
	s.Later(31 * time.Second)
	sweep(t, s, 0)
	s.Later(2 * time.Second)
	sweep(t, s, 1) // the other has nothing to forfeit
	balance(t, s, w, lease.Balance{Leased: 40})
	for number, state := range map[int64]lease.State{1: lease.Forfeited, 2: lease.Closed} {
		if g := grant(t, s, lease.Want{Lease: id("r", 1, number), Window: w, Need: 41, Wish: 41})[0]; g.State != state || g.Leased != 40 {
			t.Fatalf("grant %+v; want state %s", g, state)
		}
	}
	giveBack(t, s, lease.Return{Lease: id("r", 1, 1), Window: w.ID, Returned: 15}) // its holder is back
	balance(t, s, w, lease.Balance{Leased: 25})
	giveBack(t, s, lease.Return{Lease: id("r", 1, 1), Window: w.ID, Returned: 40, Close: true, Granted: 40})
	balance(t, s, w, lease.Balance{})
}

func renewed(t *testing.T, s Rig) {
	w := contractWindow(100)
	for range 5 {
		grant(t, s, lease.Want{Lease: id("r", 1, 1), Window: w, Need: 1, Wish: 1})
		s.Later(30 * time.Second)
		sweep(t, s, 0)
	}
	if _, err := s.Grant(context.Background(), time.Second, []lease.Want{{Lease: id("r", 1, 1), Window: w, Need: 1, Wish: 1}}); err != nil {
		t.Fatal(err)
	}
	grant(t, s, lease.Want{Lease: id("r", 1, 1), Window: w, Need: 1, Wish: 1})
	if _, err := s.Grant(context.Background(), time.Second, []lease.Want{{Lease: id("r", 1, 1), Window: w, Need: 1, Wish: 1}}); err != nil {
		t.Fatal(err)
	}
	s.Later(20 * time.Second)
	sweep(t, s, 0) // no renewal makes a lease shorter
}

func settledLate(t *testing.T, s Rig) {
	w := contractWindow(100)
	grant(t, s, lease.Want{Lease: id("r", 1, 1), Window: w, Need: 40, Wish: 40}, lease.Want{Lease: id("r", 1, 2), Window: w, Need: 30, Wish: 30})
	settleOne(t, s, "live", w, lease.Settlement{Lease: id("r", 1, 1), Amount: 10})
	balance(t, s, w, lease.Balance{Spent: 10, Leased: 60})
	if wrote, err := s.Settle("live", []accounting.Window{w}, []lease.Settlement{{Lease: id("r", 1, 1), Window: w.ID, Amount: 10}}); wrote || err != nil {
		t.Fatalf("a line that is there already: wrote %v, %v", wrote, err)
	}
	balance(t, s, w, lease.Balance{Spent: 10, Leased: 60})
	s.Later(time.Minute)
	sweep(t, s, 2)
	settleOne(t, s, "forfeited", w, lease.Settlement{Lease: id("r", 1, 1), Amount: 10})
	balance(t, s, w, lease.Balance{Spent: 20, Leased: 50})
	giveBack(t, s, lease.Return{Lease: id("r", 1, 1), Window: w.ID, Returned: 15, Close: true, Granted: 40})
	settleOne(t, s, "closed", w, lease.Settlement{Lease: id("r", 1, 1), Amount: 5})
	balance(t, s, w, lease.Balance{Spent: 25, Leased: 30})
	settleOne(t, s, "unknown", w, lease.Settlement{Lease: id("r", 1, 9), Amount: 5})
	balance(t, s, w, lease.Balance{Spent: 30, Leased: 30})
}

func overrun(t *testing.T, s Rig) {
	w := contractWindow(100)
	grant(t, s, lease.Want{Lease: id("a", 1, 1), Window: w, Need: 60, Wish: 60}, lease.Want{Lease: id("b", 1, 1), Window: w, Need: 30, Wish: 30})
	settleOne(t, s, "in room", w, lease.Settlement{Lease: id("a", 1, 1), Amount: 65, Uncovered: 5})
	balance(t, s, w, lease.Balance{Spent: 65, Leased: 30})
	settleOne(t, s, "past the limit", w, lease.Settlement{Lease: id("b", 1, 1), Amount: 42, Uncovered: 12})
	balance(t, s, w, lease.Balance{Spent: 107, Overrun: 7})
	settleOne(t, s, "no lease", w, lease.Settlement{Amount: 3, Uncovered: 3})
	balance(t, s, w, lease.Balance{Spent: 110, Overrun: 10})
	settleOne(t, s, "a correction", w, lease.Settlement{Amount: -20, Uncovered: -20})
	balance(t, s, w, lease.Balance{Spent: 90, Overrun: 10})
	_, err := s.Settle("too much", []accounting.Window{w}, []lease.Settlement{{Window: w.ID, Amount: math.MaxInt64, Uncovered: math.MaxInt64}})
	if !errors.Is(err, accounting.ErrOverflow) {
		t.Fatalf("a sum that does not fit: %v", err)
	}
	balance(t, s, w, lease.Balance{Spent: 90, Overrun: 10})
}

func released(t *testing.T, s Rig) {
	w := contractWindow(100)
	grant(t, s, lease.Want{Lease: id("r", 1, 1), Window: w, Need: 40, Wish: 40})
	grant(t, s, lease.Want{Lease: id("other", 1, 1), Window: w, Need: 10, Wish: 10})
	settleOne(t, s, "l", w, lease.Settlement{Lease: id("r", 1, 1), Amount: 15})
	for range 2 {
		if err := s.Release(context.Background(), "r", 2); err != nil {
			t.Fatal(err)
		}
		balance(t, s, w, lease.Balance{Spent: 15, Leased: 10})
	}
	var fenced *lease.FencedError
	_, err := s.Grant(context.Background(), time.Minute, []lease.Want{{Lease: id("r", 1, 2), Window: w, Need: 1, Wish: 1}})
	if !errors.As(err, &fenced) || fenced.Incarnation != 2 || fenced.Replica != "r" {
		t.Fatalf("a grant to a process that was replaced: %v", err)
	}
	if err := s.Release(context.Background(), "r", 1); !errors.As(err, &fenced) {
		t.Fatalf("a release by a process that was replaced: %v", err)
	}
	grant(t, s, lease.Want{Lease: id("r", 3, 1), Window: w, Need: 1, Wish: 1}) // fences too
	if _, err := s.Grant(context.Background(), time.Minute, []lease.Want{{Lease: id("r", 2, 1), Window: w}}); !errors.As(err, &fenced) {
		t.Fatalf("a grant to a process that was replaced: %v", err)
	}
	balance(t, s, w, lease.Balance{Spent: 15, Leased: 11})
}

func reclaimed(t *testing.T, s Rig) {
	w := contractWindow(100)
	grant(t, s, lease.Want{Lease: id("r", 1, 1), Window: w, Need: 40, Wish: 40}, lease.Want{Lease: id("r", 1, 2), Window: w, Need: 30, Wish: 30}, lease.Want{Lease: id("r", 1, 3), Window: w, Need: 20, Wish: 20})
	giveBack(t, s, lease.Return{Lease: id("r", 1, 3), Window: w.ID, Returned: 15, Close: true, Granted: 20}) // 5 were on their way
	line := &accounting.Line{Attempt: accounting.Attempt{RequestID: "018f0000-0000-7000-8000-000000000001", Number: 1}, Outcome: accounting.OutcomeInDoubt, Source: accounting.SourceReservation}
	for _, unknown := range []lease.ID{id("r", 1, 1), id("r", 1, 7)} {
		if _, err := s.Reclaim(context.Background(), unknown, line); !errors.Is(err, lease.ErrLive) {
			t.Fatalf("reclaim of lease %s: %v", unknown, err)
		}
	}
	s.Later(time.Hour)
	sweep(t, s, 2)
	balance(t, s, w, lease.Balance{Leased: 75})
	reclaim := func(number, want int64, line *accounting.Line, after lease.Balance) {
		t.Helper()
		if n, err := s.Reclaim(context.Background(), id("r", 1, number), line); err != nil || n != want {
			t.Fatalf("reclaimed %d, %v; want %d", n, err, want)
		}
		balance(t, s, w, after)
	}
	reclaim(1, 40, line, lease.Balance{Spent: 40, Leased: 35})
	reclaim(1, 0, line, lease.Balance{Spent: 40, Leased: 35})
	reclaim(2, 30, nil, lease.Balance{Spent: 40, Leased: 5})
	reclaim(3, 5, nil, lease.Balance{Spent: 40})
}

func windowEnds(t *testing.T, s Rig) {
	w := contractWindow(100)
	grant(t, s, lease.Want{Lease: id("r", 1, 1), Window: w, Need: 40, Wish: 40})
	s.Later(w.End.Sub(Epoch))
	sweep(t, s, 1)
	s.Later(24*time.Hour - time.Minute)
	sweep(t, s, 0)
	balance(t, s, w, lease.Balance{Leased: 40})
	s.Later(2 * time.Minute)
	sweep(t, s, 0)
	balance(t, s, w, lease.Balance{})
	settleOne(t, s, "later still", w, lease.Settlement{Lease: id("r", 1, 1), Amount: 10})
	balance(t, s, w, lease.Balance{Spent: 10})
}
