package storetest

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/lease"
	"github.com/weir-gateway/weir/accounting/ledger"
	"github.com/weir-gateway/weir/server/store"
)

func adjustment(id string, w accounting.Window, amount int64) accounting.Adjustment {
	return accounting.Adjustment{ID: id, Window: w, Amount: amount, Reason: "why not", Key: "root", Made: start}
}

func mustAdjust(t *testing.T, s *store.Store, id string, w accounting.Window, amount int64) {
	t.Helper()
	if kept, err := s.Adjust(t.Context(), adjustment(id, w, amount)); err != nil || kept.Amount != amount || kept.ID != id {
		t.Fatalf("adjust: %+v, %v", kept, err)
	}
}

func adjustMovesTheLimit(t *testing.T, open Opener) {
	s := one(t, open)
	w := window("w", 10)
	mustAdjust(t, s, "up", w, 5) // before anything was claimed
	first := opening("a0", claim(w, 15))
	mustTake(t, s, first)
	if got := inExcess(t, s, "a1", claim(w, 1)); got != "refused" {
		t.Errorf("1 beside 15 under 10 and 5 more: %s", got)
	}
	mustAdjust(t, s, "more", w, 2)
	o := opening("b", claim(w, 2))
	mustTake(t, s, o)
	mustSettle(t, s, o, 4) // of two more, none fits
	expect(t, s, "w", 4, 15, 2)
	// Below what is taken, and below zero, nothing is granted, and settles are
	// not refused.
	mustAdjust(t, s, "down", w, -40)
	var exhausted *accounting.ExhaustedError
	if _, err := opening("c", claim(w, 1)).take(t.Context(), s); !errors.As(err, &exhausted) || exhausted.Adjusted != -33 {
		t.Errorf("granted under a limit below zero: %v", err)
	}
	mustSettle(t, s, first, 15)
	expect(t, s, "w", 19, 0, 2)

	// A grace is above the adjusted limit; a shadow tells of it.
	graced, shadow := window("graced", 10), window("shadow", 10)
	graced.Grace, shadow.Shadow = 1, true
	mustAdjust(t, s, "g", graced, -4)
	mustAdjust(t, s, "s", shadow, 3)
	for i, c := range []struct {
		window accounting.Window
		amount int64
		want   string
	}{{graced, 6, "granted"}, {graced, 1, "grace over 6"}, {graced, 1, "refused"}, {shadow, 13, "granted"}, {shadow, 1, "shadow over 13"}} {
		if got := inExcess(t, s, fmt.Sprint("d", i), claim(c.window, c.amount)); got != c.want {
			t.Errorf("%d of window %s: %s; want %s", c.amount, c.window.ID, got, c.want)
		}
	}
	// An alert is of the adjusted limit.
	spend(t, s, "e", window("alerting", 10), 5)
	mustAdjust(t, s, "h", window("alerting", 10), -4)
	if got := noted(t, s, start, ledger.Note{Window: window("alerting", 10), Alerts: []int{80}}); len(got) != 1 {
		t.Errorf("5 of 6 raised no alert at 80%%")
	}
}

func adjustOnce(t *testing.T, open Opener) {
	list := replicas(t, open, 2)
	s := list[0]
	w := window("w", 10)
	var group sync.WaitGroup
	for i := range 12 {
		group.Go(func() {
			// All but the first may come later, in another window.
			later := w
			later.ID = fmt.Sprint("w", i%3)
			if kept, err := list[i%len(list)].Adjust(t.Context(), adjustment("top-up", later, 5)); err != nil || kept.Amount != 5 {
				t.Errorf("adjust: %+v, %v", kept, err)
			}
		})
	}
	group.Wait()
	adjusted := int64(0)
	for i := range 3 {
		state, _, err := s.Window(t.Context(), fmt.Sprint("w", i))
		must(t, err)
		adjusted += state.Adjusted
	}
	if adjusted != 5 {
		t.Errorf("12 of one id adjusted by %d; want 5", adjusted)
	}
	other := w
	other.Scope = "key/default/k1"
	for what, a := range map[string]accounting.Adjustment{"amount": adjustment("top-up", w, 6), "scope": adjustment("top-up", other, 5)} {
		if _, err := s.Adjust(t.Context(), a); !errors.Is(err, store.ErrAdjusted) {
			t.Errorf("the id with another %s: %v", what, err)
		}
	}
	// The id is another one in another budget.
	elsewhere := window("v", 10)
	elsewhere.Budget = "other"
	mustAdjust(t, s, "top-up", elsewhere, 7)
	later := adjustment("second", w, -1)
	later.Made = start.Add(time.Second)
	if _, err := s.Adjust(t.Context(), later); err != nil {
		t.Fatal(err)
	}
	entries, err := s.Adjustments(t.Context(), "acme", "cap", 10)
	if err != nil || len(entries) != 2 || entries[0].ID != "second" || entries[1].ID != "top-up" {
		t.Fatalf("adjustments %+v, %v", entries, err)
	}
	want := later
	want.Window = accounting.Window{ID: "w", Budget: "cap", Tenant: "acme", Scope: "tenant", Unit: accounting.UnitRequests}
	if entries[0] != want {
		t.Errorf("adjustment %+v; want %+v", entries[0], want)
	}
}

func adjustOverflow(t *testing.T, open Opener) {
	s := one(t, open)
	w := window("w", math.MaxInt64)
	mustAdjust(t, s, "all", w, 1<<60)
	for i, amount := range []int64{1, math.MaxInt64, math.MinInt64} {
		if _, err := s.Adjust(t.Context(), adjustment(fmt.Sprint("more", i), w, amount)); !errors.Is(err, accounting.ErrOverflow) {
			t.Errorf("adjusted by %d beyond all measure: %v", amount, err)
		}
	}
	if entries, err := s.Adjustments(t.Context(), "acme", "cap", 10); err != nil || len(entries) != 1 {
		t.Errorf("a refused adjustment is kept: %+v, %v", entries, err)
	}
	mustTake(t, s, opening("call", claim(w, math.MaxInt64)))
	var exhausted *accounting.ExhaustedError
	if _, err := opening("next", claim(window("v", 5), math.MaxInt64)).take(t.Context(), s); !errors.As(err, &exhausted) {
		t.Errorf("a claim beyond all measure: %v", err)
	}
}

// adjustRolling has an adjustment leave a rolling window as a use does.
func adjustRolling(t *testing.T, open Opener) {
	s := one(t, open)
	k := rollingBook(t, "r", 10, time.Hour)
	mustAdjust(t, s, "up", bucketAt(k, start), 5)
	late := bucketAt(k, start.Add(40*time.Minute))
	if got := inExcess(t, s, "a", claim(late, 15)); got != "granted" {
		t.Errorf("15 under 10 and 5 more: %s", got)
	}
	o := opening("b", claim(bucketAt(k, start.Add(41*time.Minute)), 0))
	mustTake(t, s, o)
	mustSettle(t, s, o, 2)
	expect(t, s, o.claims[0].Window.ID, 2, 0, 2)
	gone := bucketAt(k, start.Add(101*time.Minute)) // all but b has left
	if got := inExcess(t, s, "c", claim(gone, 9)); got != "refused" {
		t.Errorf("9 beside 2 of 10: %s", got)
	}
	if got := inExcess(t, s, "d", claim(gone, 8)); got != "granted" {
		t.Errorf("8 beside 2 of 10: %s", got)
	}
}

func standings(t *testing.T, open Opener) {
	s := one(t, open)
	budgetOf := func(name string, per lease.Scope, window lease.Period) lease.Budget {
		return lease.Budget{Name: name, Tenant: "acme", Per: per, Limit: 10, Unit: accounting.UnitRequests, Window: window}
	}
	k, err := lease.NewBook([]lease.Budget{
		budgetOf("day", lease.PerTenant, lease.Day), budgetOf("each", lease.PerCall, ""), budgetOf("keys", lease.PerKey, lease.Month),
		budgetOf("labels", lease.PerLabel("team"), lease.Total), budgetOf("rolls", lease.PerTenant, lease.Rolling(time.Hour)),
	})
	must(t, err)
	use := func(call, key, team string, at time.Time) {
		t.Helper()
		subject := accounting.Subject{Tenant: "acme", Project: "default", Key: key, Labels: map[string]string{"team": team}}
		o := opening(call)
		for _, w := range k.Windows(subject, "m", at) {
			o.claims = append(o.claims, claim(*w, 2))
		}
		mustTake(t, s, o)
		if call != "runs" {
			mustSettle(t, s, o, 1)
		}
	}
	use("before", "k1", "blue", start.Add(-26*time.Hour))
	use("a", "k1", "blue", start.Add(-30*time.Minute))
	use("b", "k2", "blue", start.Add(-10*time.Minute))
	use("runs", "k2", "red/green", start)
	day, err := k.WindowOf("acme", "day", "", start)
	must(t, err)
	mustAdjust(t, s, "up", day, 3)
	if _, err := s.Note(t.Context(), []ledger.Note{{Window: day, Refused: 2, Exceeded: 1}, {Window: bucketAt(k, start)}}, start); err != nil {
		t.Fatal(err)
	}
	july := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	bucket, err := k.WindowOf("acme", "rolls", "", start)
	must(t, err)
	want := map[string][]lease.Standing{
		"day":  {{Scope: "tenant", Start: july, End: july.AddDate(0, 0, 1), Limit: 10, Adjusted: 3, Spent: 2, Held: 2, Refused: 2, Exceeded: 1}},
		"each": nil,
		"keys": {
			{Scope: "key/default/k2", Start: july, End: july.AddDate(0, 1, 0), Limit: 10, Spent: 1, Held: 2},
			{Scope: "key/default/k1", Start: july, End: july.AddDate(0, 1, 0), Limit: 10, Spent: 1},
		},
		"labels": {{Scope: "label/team/blue", Limit: 10, Spent: 3}, {Scope: "label/team/red%2Fgreen", Limit: 10, Held: 2}},
		"rolls":  {{Scope: "tenant", Start: bucket.Since, End: bucket.End, Rolls: true, Limit: 10, Spent: 2, Held: 2}},
	}
	for _, l := range k.Listings("acme", start) {
		got, err := s.Standings(t.Context(), l, 10)
		if err != nil || !reflect.DeepEqual(got, want[l.Budget.Name]) {
			t.Errorf("budget %s:\n%+v, %v; want\n%+v", l.Budget.Name, got, err, want[l.Budget.Name])
		}
	}
	if got, err := s.Standings(t.Context(), k.Listings("acme", start)[2], 1); err != nil || len(got) != 1 || got[0].Scope != "key/default/k2" {
		t.Errorf("the fullest window: %+v, %v", got, err)
	}
}

// adjustRace has claims and adjustments meet: no claim is granted that the
// limit of its moment has no room for.
func adjustRace(t *testing.T, open Opener) {
	list := replicas(t, open, 2)
	w := window("w", 20)
	var granted atomic.Int64
	var group sync.WaitGroup
	for i := range 16 {
		s := list[i%len(list)]
		group.Go(func() {
			for round := range 4 {
				if i == 0 {
					if _, err := s.Adjust(t.Context(), adjustment(fmt.Sprint("up", round), w, 10)); err != nil {
						t.Errorf("adjust: %v", err)
					}
					continue
				}
				var exhausted *accounting.ExhaustedError
				switch _, err := opening(fmt.Sprint("call-", i, "-", round), claim(w, 3)).take(t.Context(), s); {
				case err == nil:
					granted.Add(3)
				case !errors.As(err, &exhausted):
					t.Errorf("open: %v", err)
				case exhausted.Spent+exhausted.Held+3 <= 20+exhausted.Adjusted:
					t.Errorf("refused although there is room: %v", err)
				}
			}
		})
	}
	group.Wait()
	state, _, err := list[0].Window(t.Context(), "w")
	if err != nil || state.Leased != granted.Load() || state.Leased > 20+state.Adjusted || state.Adjusted != 40 {
		t.Errorf("window %+v, %v; %d were granted", state, err, granted.Load())
	}
}
