package storetest

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/ledger"
	"github.com/weir-gateway/weir/server/store"
)

// inExcess opens an attempt and returns how its claim was granted.
func inExcess(t *testing.T, s *store.Store, call string, c accounting.Claim) string {
	t.Helper()
	excesses, err := opening(call, c).take(t.Context(), s)
	var exhausted *accounting.ExhaustedError
	switch {
	case errors.As(err, &exhausted):
		return "refused"
	case err != nil:
		t.Fatal(err)
	case len(excesses) == 0:
		return "granted"
	}
	e := excesses[0]
	if len(excesses) > 1 || e.Window != *c.Window || e.Amount != c.Amount {
		t.Errorf("excesses %+v of claim %+v", excesses, c)
	}
	how := "grace"
	if e.Shadow {
		how = "shadow"
	}
	return fmt.Sprintf("%s over %d", how, e.Taken)
}

func lenient(t *testing.T, open Opener) {
	s := one(t, open)
	graced, shadow, both, rolling := window("graced", 10), window("shadow", 10), window("both", 10), window("rolling", 10)
	graced.Grace, both.Grace = 2, 2
	shadow.Shadow, both.Shadow = true, true
	rolling.Grace, rolling.Series, rolling.Since = 2, "series", rolling.Start
	for i, c := range []struct {
		window accounting.Window
		amount int64
		want   string
	}{
		{graced, 8, "granted"}, {graced, 2, "granted"}, {graced, 1, "grace over 10"}, {graced, 2, "refused"}, {graced, 1, "grace over 11"}, {graced, 1, "refused"},
		{shadow, 10, "granted"}, {shadow, 1, "shadow over 10"}, {shadow, 90, "shadow over 11"},
		{both, 11, "grace over 0"}, {both, 1, "grace over 11"}, {both, 1, "shadow over 12"},
		{rolling, 10, "granted"}, {rolling, 2, "grace over 10"}, {rolling, 1, "refused"},
	} {
		if got := inExcess(t, s, fmt.Sprint("call-", i), claim(c.window, c.amount)); got != c.want {
			t.Errorf("%d of window %s: %s; want %s", c.amount, c.window.ID, got, c.want)
		}
	}
	expect(t, s, "graced", 0, 12, 0)
	expect(t, s, "shadow", 0, 101, 0)
}

// graceRace has replicas fill a window with a grace at once.
func graceRace(t *testing.T, open Opener) {
	list := replicas(t, open, 2)
	w := window("w", 50)
	w.Grace = 7
	var group sync.WaitGroup
	for i := range 32 {
		s := list[i%len(list)]
		group.Go(func() {
			for round := range 2 {
				var exhausted *accounting.ExhaustedError
				if _, err := opening(fmt.Sprint("call-", i, "-", round), claim(w, 3)).take(t.Context(), s); err != nil && !errors.As(err, &exhausted) {
					t.Errorf("open: %v", err)
				}
			}
		})
	}
	group.Wait()
	expect(t, list[0], "w", 0, 57, 0)
}

// spend has a window spend an amount that it has room for.
func spend(t *testing.T, s *store.Store, call string, w accounting.Window, amount int64) {
	t.Helper()
	o := opening(call, claim(w, amount))
	mustTake(t, s, o)
	mustSettle(t, s, o, amount)
}

func noted(t *testing.T, s *store.Store, at time.Time, notes ...ledger.Note) (percents []int) {
	t.Helper()
	alerts, err := s.Note(t.Context(), notes, at)
	must(t, err)
	for _, a := range alerts {
		percents = append(percents, a.Percent)
	}
	return percents
}

func alertsOnce(t *testing.T, open Opener) {
	s := one(t, open)
	w := window("w", 10)
	check := func(want ...int) {
		t.Helper()
		if got := noted(t, s, start, ledger.Note{Window: w, Alerts: []int{100, 50, 80}}); !slices.Equal(got, want) {
			t.Errorf("alerts at %v; want %v", got, want)
		}
	}
	check() // nothing was spent
	spend(t, s, "a", w, 4)
	check()
	spend(t, s, "b", w, 1)
	check(50)
	check()
	spend(t, s, "c", w, 5)
	check(80, 100)
	check()
	list, err := s.Alerts(t.Context(), "acme", "cap", 2)
	must(t, err)
	want := []accounting.Alert{
		{Window: "w", Tenant: "acme", Budget: "cap", Scope: "tenant", Unit: accounting.UnitRequests, Percent: 100, Spent: 10, Limit: 10, Raised: start},
		{Window: "w", Tenant: "acme", Budget: "cap", Scope: "tenant", Unit: accounting.UnitRequests, Percent: 80, Spent: 10, Limit: 10, Raised: start},
	}
	if !reflect.DeepEqual(list, want) {
		t.Errorf("alerts %+v; want %+v", list, want)
	}
	if other, err := s.Alerts(t.Context(), "other", "cap", 10); err != nil || len(other) > 0 {
		t.Errorf("another tenant has alerts %v, %v", other, err)
	}
	// The next window alerts anew.
	w.ID = "next"
	spend(t, s, "d", w, 5)
	check(50)
}

func alertsRolling(t *testing.T, open Opener) {
	s := one(t, open)
	k := rollingBook(t, "r", 10, time.Hour)
	check := func(minutes int, want ...int) {
		t.Helper()
		at := start.Add(time.Duration(minutes) * time.Minute)
		if got := noted(t, s, at, ledger.Note{Window: bucketAt(k, at), Alerts: []int{50}}); !slices.Equal(got, want) {
			t.Errorf("after %d minutes: alerts at %v; want %v", minutes, got, want)
		}
	}
	spend(t, s, "a", bucketAt(k, start), 3)
	check(0)
	spend(t, s, "b", bucketAt(k, start.Add(20*time.Minute)), 3)
	check(20, 50)
	check(21)
	spend(t, s, "c", bucketAt(k, start.Add(50*time.Minute)), 3)
	check(50)
	check(65) // the first has left the window, and six are in it
	spend(t, s, "d", bucketAt(k, start.Add(85*time.Minute)), 3)
	check(85, 50) // the first alert is more than a length ago
}

// alertsRace has replicas find one threshold at once.
func alertsRace(t *testing.T, open Opener) {
	list := replicas(t, open, 3)
	k := rollingBook(t, "r", 10, time.Hour)
	plain := window("w", 10)
	spend(t, list[0], "a", plain, 10)
	spend(t, list[0], "b", bucketAt(k, start), 10)
	var mu sync.Mutex
	var raised []string
	var group sync.WaitGroup
	for i := range 12 {
		s := list[i%len(list)]
		group.Go(func() {
			// Each comes from a bucket of its own.
			rolling := bucketAt(k, start.Add(time.Duration(i)*time.Minute))
			alerts, err := s.Note(t.Context(), []ledger.Note{{Window: plain, Alerts: []int{50, 100}}, {Window: rolling, Alerts: []int{50}}}, start)
			if err != nil {
				t.Errorf("note: %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, a := range alerts {
				raised = append(raised, fmt.Sprint(a.Window, " ", a.Percent))
			}
		})
	}
	group.Wait()
	slices.Sort(raised)
	if want := []string{"acme/r/tenant/rolling-1h 50", "w 100", "w 50"}; !slices.Equal(raised, want) {
		t.Errorf("alerts %q; want %q", raised, want)
	}
}
