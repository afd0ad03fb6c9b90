package lease_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/lease"
)

func TestARollingWindowIsASeriesOfBuckets(t *testing.T) {
	k := book(t, budget("r", lease.PerKey, lease.Rolling(24*time.Hour)))
	w := k.Windows(whole, "m", noon)[0]
	at := func(h, m int) time.Time { return time.Date(2026, 7, 1, h, m, 0, 0, time.UTC) }
	want := accounting.Window{
		ID: "acme/r/key/default/k1/rolling-24h/2026-07-01T12:24:00Z", Series: "acme/r/key/default/k1/rolling-24h",
		Budget: "r", Tenant: "acme", Scope: "key/default/k1", Unit: "USD", Limit: 5e9,
		Start: at(12, 24), End: at(12, 48), Since: at(12, 24).Add(-24 * time.Hour),
	}
	if *w != want {
		t.Errorf("window %+v; want %+v", *w, want)
	}
	// One length is one series, however it is written.
	for _, p := range []lease.Period{"rolling 1d", "rolling 1440m", "rolling  24h0m", "rolling 24h"} {
		if got := book(t, budget("r", lease.PerKey, p)).Windows(whole, "m", noon)[0]; *got != want {
			t.Errorf("%q: window %+v", p, got)
		}
	}
	for period, wrong := range map[lease.Period]string{
		"rolling 59m": "from 1h to 90d", "rolling 91d": "from 1h to 90d", "rolling": "not a window", "rolling day": "from 1h to 90d", "rolling 61m30s": "whole minutes", "rolling -2h": "from 1h",
		"rolling 1.5d": "from 1h", "rolling 99999d": "from 1h",
	} {
		if _, err := lease.NewBook([]lease.Budget{budget("r", lease.PerKey, period)}); err == nil || !strings.Contains(err.Error(), wrong) {
			t.Errorf("%q: %v; want %q in it", period, err, wrong)
		}
	}
	zoned := budget("r", lease.PerKey, lease.Rolling(time.Hour))
	zoned.TimeZone = "Europe/Berlin"
	if _, err := lease.NewBook([]lease.Budget{zoned}); err == nil || !strings.Contains(err.Error(), "leave time_zone out") {
		t.Errorf("a rolling window with a time zone: %v", err)
	}
}

// Whatever began within the length before a use, in any bucket, is summed with
// it; and nothing that began a bucket's width earlier than that is.
func TestTheBucketsThatCountCoverTheWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		length := time.Duration(rapid.Int64Range(60, 90*24*60).Draw(t, "minutes")) * time.Minute
		k, err := lease.NewBook([]lease.Budget{budget("r", lease.PerTenant, lease.Rolling(length))})
		if err != nil {
			t.Fatal(err)
		}
		window := func(at time.Time) accounting.Window { return *k.Windows(whole, "m", at)[0] }
		at := time.Unix(rapid.Int64Range(0, 4_000_000_000).Draw(t, "at"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanos"))
		w := window(at)
		if at.Before(w.Start) || !at.Before(w.End) || w.End.Sub(w.Start) != length/60 {
			t.Fatalf("%s lies in %+v", at, w)
		}
		if next := window(w.End); next.Start != w.End || next.ID == w.ID || next.Series != w.Series {
			t.Fatalf("after %+v comes %+v", w, next)
		}
		earlier := at.Add(-time.Duration(rapid.Int64Range(0, int64(length)-1).Draw(t, "earlier")))
		if b := window(earlier); b.Start.Before(w.Since) {
			t.Fatalf("%s is less than %s before %s, and its bucket is not among those since %s", earlier, length, at, w.Since)
		}
		if b := window(at.Add(-length - length/60)); !b.Start.Before(w.Since) {
			t.Fatalf("bucket %+v counts for %s", b, at)
		}
	})
}
