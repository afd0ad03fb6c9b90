package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/lease"
	"github.com/weir-gateway/weir/server/store"
)

// forever keeps what is left of windows that have ended.
const forever = 100 * 365 * 24 * time.Hour

// granted grants a lease that ends after a time, which may be over already.
func granted(t *testing.T, s *store.Store, id lease.ID, w accounting.Window, amount int64, ttl time.Duration) {
	t.Helper()
	g, err := s.Grant(t.Context(), ttl, []lease.Want{{Lease: id, Window: w, Need: amount, Wish: amount}})
	if err != nil || g[0].Granted != amount {
		t.Fatalf("lease %s: %+v, %v", id, g, err)
	}
}

func leasePages(t *testing.T, open Opener) {
	s := one(t, open)
	theirs := window("c", 1000)
	theirs.Tenant = "other"
	var want []string
	for _, w := range []accounting.Window{window("a", 1000), window("b", 1000), theirs} {
		for _, replica := range []string{"r1", "r2"} {
			for number := range int64(3) {
				id := lease.ID{Replica: replica, Incarnation: 1, Number: number + 10*int64(w.ID[0])}
				ttl := time.Minute
				if number == 1 {
					ttl = -time.Minute
				}
				granted(t, s, id, w, 7, ttl)
				want = append(want, w.ID+" "+id.String())
			}
		}
	}
	gone := lease.ID{Replica: "r1", Incarnation: 1, Number: 1}
	granted(t, s, gone, window("a", 1000), 5, time.Minute)
	must(t, s.Return(t.Context(), []lease.Return{{Lease: gone, Window: "a", Returned: 5, Close: true, Granted: 5}}))
	if n, err := s.Sweep(t.Context(), lease.Sweep{Grace: time.Second, Keep: forever}); n != 6 || err != nil {
		t.Fatalf("%d were forfeited, %v", n, err)
	}
	list := func(q lease.Query) (got []string) {
		q.Limit = 2
		for {
			page, err := s.Leases(t.Context(), q)
			must(t, err)
			for _, l := range page {
				got = append(got, l.Window.ID+" "+l.ID.String())
			}
			if len(page) < q.Limit {
				return got
			}
			q.AfterWindow, q.After = page[len(page)-1].Window.ID, page[len(page)-1].ID
		}
	}
	if got := list(lease.Query{}); !slices.Equal(got, want) {
		t.Errorf("all leases: %v; want %v", got, want)
	}
	if got := list(lease.Query{Tenant: "other"}); !slices.Equal(got, want[12:]) {
		t.Errorf("those of a tenant: %v; want %v", got, want[12:])
	}
	if got, want := list(lease.Query{State: lease.Forfeited}), []string{want[1], want[4], want[7], want[10], want[13], want[16]}; !slices.Equal(got, want) {
		t.Errorf("those that are forfeited: %v; want %v", got, want)
	}
	if l, known, err := s.Lease(t.Context(), gone); err != nil || !known || l.State != lease.Closed || l.Remainder() != 0 || l.Window.ID != "a" {
		t.Errorf("a closed lease: %+v %v %v", l, known, err)
	}
	if _, known, err := s.Lease(t.Context(), lease.ID{Replica: "r3", Incarnation: 1, Number: 1}); err != nil || known {
		t.Errorf("a lease that is not there: %v %v", known, err)
	}
}

func silences(t *testing.T, open Opener) {
	s := one(t, open)
	w := window("w", 1000)
	id := func(replica string, number int64) lease.ID {
		return lease.ID{Replica: replica, Incarnation: 1, Number: number}
	}
	granted(t, s, id("alive", 1), w, 5, -time.Hour)
	granted(t, s, id("alive", 2), w, 5, time.Hour)
	granted(t, s, id("gone", 1), w, 5, -time.Hour)
	granted(t, s, id("gone", 2), w, 5, -2*time.Hour)
	granted(t, s, id("longer", 1), w, 5, -3*time.Hour)
	granted(t, s, id("empty", 1), w, 5, -time.Hour)
	must(t, s.Return(t.Context(), []lease.Return{{Lease: id("empty", 1), Window: "w", Returned: 5, Close: true, Granted: 5}}))
	told := func() (got []string) {
		list, err := s.Silences(t.Context(), 10)
		must(t, err)
		for _, one := range list {
			got = append(got, fmt.Sprint(one.Replica, " ", one.Leases, " ", time.Since(one.Since).Round(time.Hour)))
		}
		return got
	}
	// Whether they are forfeited makes no difference.
	want := []string{"longer 1 3h0m0s", "gone 2 1h0m0s"}
	if got := told(); !slices.Equal(got, want) {
		t.Errorf("silent: %v; want %v", got, want)
	}
	if _, err := s.Sweep(t.Context(), lease.Sweep{Grace: time.Second, Keep: forever}); err != nil {
		t.Fatal(err)
	}
	if got := told(); !slices.Equal(got, want) {
		t.Errorf("silent after the sweep: %v; want %v", got, want)
	}
	for number := range int64(2) {
		if _, err := s.Reclaim(t.Context(), id("gone", number+1), nil); err != nil {
			t.Fatal(err)
		}
	}
	if got := told(); !slices.Equal(got, want[:1]) {
		t.Errorf("silent after the reclaim: %v; want %v", got, want[:1])
	}
}

func overruns(t *testing.T, open Opener) {
	s := one(t, open)
	july, ended, rolling := window("july", 10), window("june", 10), window("rolling", 10)
	ended.Start, ended.End = july.Start.AddDate(0, -1, 0), july.Start
	rolling.Series, rolling.Start, rolling.End = "series", july.Start, july.Start.Add(time.Hour)
	for i, w := range []accounting.Window{july, ended, rolling, window("sound", 100)} {
		write(t, s, entry(fmt.Sprintf("call-%d", i), 0, w, 12))
	}
	told := func(at time.Time) (got []string) {
		list, err := s.Overruns(t.Context(), at, 10)
		must(t, err)
		for _, w := range list {
			got = append(got, fmt.Sprint(w.ID, " ", w.Overrun))
		}
		return got
	}
	for _, c := range []struct {
		after time.Duration
		want  []string
	}{
		{time.Minute, []string{"july 2", "rolling 2"}},
		{60 * time.Hour, []string{"july 2", "rolling 2"}},
		{61 * time.Hour, []string{"july 2"}},
		{31 * 24 * time.Hour, nil},
	} {
		if got := told(july.Start.Add(c.after)); !slices.Equal(got, c.want) {
			t.Errorf("after %s: %v; want %v", c.after, got, c.want)
		}
	}
}

// What is reclaimed counts in the bucket that it was leased of, in no other, and
// overruns nothing.
func reclaimRolling(t *testing.T, open Opener) {
	s := one(t, open)
	k := rollingBook(t, "cap", 100, 24*time.Hour)
	earlier, later := bucketAt(k, start), bucketAt(k, start.Add(2*time.Hour))
	granted(t, s, lease.ID{Replica: "gone", Incarnation: 1, Number: 1}, earlier, 60, -time.Hour)
	granted(t, s, lease.ID{Replica: "r", Incarnation: 1, Number: 1}, later, 40, time.Hour)
	if n, err := s.Sweep(t.Context(), lease.Sweep{Grace: time.Second, Keep: forever}); n != 1 || err != nil {
		t.Fatalf("%d were forfeited, %v", n, err)
	}
	charge := entry("reclaim", 0, earlier, 0).Line
	if n, err := s.Reclaim(t.Context(), lease.ID{Replica: "gone", Incarnation: 1, Number: 1}, &charge); n != 60 || err != nil {
		t.Fatalf("reclaimed %d, %v", n, err)
	}
	expect(t, s, earlier.ID, 60, 0, 0)
	expect(t, s, later.ID, 0, 40, 0)
}
