package lease_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/lease"
)

func budget(name string, per lease.Scope, window lease.Period) lease.Budget {
	return lease.Budget{Name: name, Tenant: "acme", Per: per, Limit: 5e9, Unit: "USD", Window: window}
}

func book(t testing.TB, budgets ...lease.Budget) *lease.Book {
	t.Helper()
	k, err := lease.NewBook(budgets)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

var (
	noon  = time.Date(2026, 7, 1, 12, 30, 0, 0, time.UTC)
	whole = accounting.Subject{Tenant: "acme", Project: "default", Key: "k1", EndUser: "u1", Session: "s1"}
)

func ids(windows []*accounting.Window) []string {
	list := []string{}
	for _, w := range windows {
		list = append(list, w.ID)
	}
	return list
}

func TestWindowsNameTheirScopeAndPeriod(t *testing.T) {
	filtered := budget("filtered", lease.PerTenant, lease.Total)
	filtered.Project = "search"
	k := book(t, budget("cap", lease.PerTenant, lease.Month), budget("p", lease.PerProject, lease.Week), budget("k", lease.PerKey, lease.Day),
		budget("u", lease.PerEndUser, lease.Hour), budget("s", lease.PerSession, lease.Total), filtered)
	want := []string{"acme/cap/tenant/2026-07", "acme/k/key/default/k1/2026-07-01", "acme/p/project/default/2026-W27", "acme/s/session/s1/total", "acme/u/end_user/u1/2026-07-01T12Z"}
	if got := ids(k.Windows(whole, "m", noon)); !slices.Equal(got, want) {
		t.Errorf("windows %q; want %q", got, want)
	}
	search := whole
	search.Project, search.EndUser, search.Session = "search", "", ""
	want = []string{"acme/cap/tenant/2026-07", "acme/filtered/tenant/total", "acme/k/key/search/k1/2026-07-01", "acme/p/project/search/2026-W27"}
	if got := ids(k.Windows(search, "m", noon)); !slices.Equal(got, want) {
		t.Errorf("windows without end user and session %q; want %q", got, want)
	}
	if got := k.Windows(accounting.Subject{Tenant: "other"}, "m", noon); len(got) != 0 {
		t.Errorf("windows of another tenant %q", ids(got))
	}
	var none *lease.Book
	if got := none.Windows(whole, "m", noon); len(got) != 0 {
		t.Errorf("windows of no book %q", ids(got))
	}
	w := k.Windows(whole, "m", noon)[0]
	if want := (accounting.Window{ID: "acme/cap/tenant/2026-07", Budget: "cap", Tenant: "acme", Scope: "tenant", Unit: "USD", Limit: 5e9,
		Start: time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC), End: time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC)}); *w != want {
		t.Errorf("window %+v; want %+v", w, want)
	}
}

// No name can make its way into the window of another.
func TestNoTwoScopesShareAWindow(t *testing.T) {
	names := rapid.OneOf(rapid.SampledFrom([]string{"a", "a/b", "a%2Fb", "b", "~", "~a", "%", "..", " ", "ä", "total", strings.Repeat("x", 128), strings.Repeat("x", 129), strings.Repeat("x", 1000)}), rapid.String())
	rapid.Check(t, func(t *rapid.T) {
		k, err := lease.NewBook([]lease.Budget{budget("cap", lease.PerKey, lease.Total)})
		if err != nil {
			t.Fatal(err)
		}
		draw := func() accounting.Subject {
			return accounting.Subject{Tenant: "acme", Project: names.Draw(t, "project"), Key: names.Draw(t, "key")}
		}
		a, b := draw(), draw()
		one, two := k.Windows(a, "m", noon)[0].ID, k.Windows(b, "m", noon)[0].ID
		if same := a.Project == b.Project && a.Key == b.Key; same != (one == two) {
			t.Fatalf("%q/%q and %q/%q have windows %q and %q", a.Project, a.Key, b.Project, b.Key, one, two)
		}
		// Nor by looking like the hash of a long one.
		b.Project = "~" + a.Project
		if _, segment, _ := strings.Cut(one, "/key/"); a.Project != b.Project {
			b.Project, _, _ = strings.Cut(segment, "/")
			if two = k.Windows(b, "m", noon)[0].ID; a.Project != b.Project && a.Key == b.Key && one == two {
				t.Fatalf("project %q and project %q have window %q", a.Project, b.Project, one)
			}
		}
		if strings.Count(one, "/") != 5 || len(one) > 1000 {
			t.Fatalf("window id %q", one)
		}
	})
}

func TestWindowsComeInOneOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfNDistinct(rapid.StringN(1, 8, -1), 0, 10, rapid.ID[string]).Draw(t, "names")
		var budgets []lease.Budget
		for _, n := range names {
			budgets = append(budgets, budget(n, rapid.SampledFrom([]lease.Scope{lease.PerTenant, lease.PerKey, lease.PerEndUser}).Draw(t, "per"), lease.Day))
		}
		one, err := lease.NewBook(budgets)
		if err != nil {
			t.Fatal(err)
		}
		slices.Reverse(budgets)
		two, _ := lease.NewBook(budgets)
		a, b := ids(one.Windows(whole, "m", noon)), ids(two.Windows(whole, "m", noon))
		if !slices.Equal(a, b) || !slices.IsSorted(a) || len(a) != len(names) {
			t.Fatalf("windows %q and %q", a, b)
		}
	})
}

// Zones that do unusual things: midnights that are skipped or lived twice,
// half-hour shifts, a skipped day, a change over midnight at one past.
var zones = []string{"UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "America/Havana", "Asia/Beirut", "Africa/Cairo", "Asia/Tehran",
	"Australia/Lord_Howe", "Pacific/Apia", "America/St_Johns", "Asia/Kathmandu", "Pacific/Kiritimati", "Antarctica/Troll", "Asia/Shanghai"}

// Windows of one period leave no gap and do not overlap: each instant is in
// its window, and the instant at which it ends begins the next.
func TestWindowsFollowEachOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom(zones).Draw(t, "zone")
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		at := time.Unix(rapid.Int64Range(0, 2_000_000_000).Draw(t, "at"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanos"))
		if rapid.Bool().Draw(t, "near a change of the clocks") {
			if _, change := at.In(zone).ZoneBounds(); !change.IsZero() {
				at = change.Add(time.Duration(rapid.Int64Range(-7200, 7200).Draw(t, "off")) * time.Second)
			}
		}
		b := budget("cap", lease.PerTenant, rapid.SampledFrom([]lease.Period{lease.Hour, lease.Day, lease.Week, lease.Month}).Draw(t, "window"))
		b.TimeZone = name
		k, err := lease.NewBook([]lease.Budget{b})
		if err != nil {
			t.Fatal(err)
		}
		window := func(at time.Time) accounting.Window { return *k.Windows(whole, "m", at)[0] }
		w := window(at)
		if at.Before(w.Start) || !at.Before(w.End) {
			t.Fatalf("%s is not in its window %s, %s to %s", at.In(zone), w.ID, w.Start.In(zone), w.End.In(zone))
		}
		for what, same := range map[string]accounting.Window{"its start": window(w.Start), "its last instant": window(w.End.Add(-1)), "another zone's clock": window(at.UTC())} {
			if same != w {
				t.Fatalf("window %+v at %s is %+v", w, what, same)
			}
		}
		if next := window(w.End); next.Start != w.End || next.ID == w.ID {
			t.Fatalf("after %+v comes %+v", w, next)
		}
		if before := window(w.Start.Add(-1)); before.End != w.Start || before.ID == w.ID {
			t.Fatalf("before %+v comes %+v", w, before)
		}
		for _, edge := range []time.Time{w.Start, w.End} {
			local := edge.In(zone)
			from, _ := local.ZoneBounds()
			if h, m, s := local.Clock(); !edge.Equal(from) && (m != 0 || s != 0 || b.Window != lease.Hour && h != 0) {
				t.Fatalf("window %s begins or ends at %s", w.ID, local)
			}
		}
	})
}

func TestDaysThatAreNotLikeOthers(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, c := range []struct{ zone, at, id, start, end string }{
		// 23 and 25 hours.
		{"Europe/Berlin", "2026-03-29T12:00:00+02:00", "2026-03-29", "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00"},
		{"Europe/Berlin", "2026-10-25T12:00:00+01:00", "2026-10-25", "2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00"},
		// The clocks skip midnight.
		{"Africa/Cairo", "2026-04-24T12:00:00+03:00", "2026-04-24", "2026-04-24T01:00:00+03:00", "2026-04-25T00:00:00+03:00"},
		// They go back to 23:00 at midnight.
		{"Africa/Cairo", "2026-10-29T23:30:00+02:00", "2026-10-29", "2026-10-29T00:00:00+03:00", "2026-10-30T00:00:00+02:00"},
		// They go back to 00:00 at 01:00: the day begins the first time.
		{"America/Havana", "2026-11-01T12:00:00-05:00", "2026-11-01", "2026-11-01T00:00:00-04:00", "2026-11-02T00:00:00-05:00"},
		// They went back over midnight at 00:01: a day begins once.
		{"America/St_Johns", "2006-10-28T23:30:00-03:30", "2006-10-29", "2006-10-29T00:00:00-02:30", "2006-10-30T00:00:00-03:30"},
		// There was no 30 December 2011.
		{"Pacific/Apia", "2011-12-29T12:00:00-10:00", "2011-12-29", "2011-12-29T00:00:00-10:00", "2011-12-31T00:00:00+14:00"},
	} {
		b := budget("cap", lease.PerTenant, lease.Day)
		b.TimeZone = c.zone
		w := book(t, b).Windows(whole, "m", at(c.at))[0]
		if w.ID != "acme/cap/tenant/"+c.id || !w.Start.Equal(at(c.start)) || !w.End.Equal(at(c.end)) {
			t.Errorf("%s at %s: %s from %s to %s; want %s from %s to %s", c.zone, c.at, w.ID, w.Start, w.End, c.id, c.start, c.end)
		}
	}
	// The hour that is lived twice is two windows.
	b := budget("cap", lease.PerTenant, lease.Hour)
	b.TimeZone = "Europe/Berlin"
	k := book(t, b)
	first, second := k.Windows(whole, "m", at("2026-10-25T02:30:00+02:00"))[0], k.Windows(whole, "m", at("2026-10-25T02:30:00+01:00"))[0]
	if first.ID != "acme/cap/tenant/2026-10-25T02+0200" || second.ID != "acme/cap/tenant/2026-10-25T02+0100" || first.End != second.Start {
		t.Errorf("windows %+v and %+v", first, second)
	}
	// And one that the clocks cut short ends there.
	b.TimeZone = "America/St_Johns"
	cut := book(t, b).Windows(whole, "m", at("2006-10-29T00:00:30-02:30"))[0]
	if want := at("2006-10-29T00:01:00-02:30"); !cut.End.Equal(want) {
		t.Errorf("window %+v; want it to end at %s", cut, want)
	}
	// The year of a week is that of its Thursday.
	if w := book(t, budget("cap", lease.PerTenant, lease.Week)).Windows(whole, "m", at("2027-01-02T00:00:00Z"))[0]; w.ID != "acme/cap/tenant/2026-W53" {
		t.Errorf("window %s", w.ID)
	}
}

func TestWrongBudgetsAreRefused(t *testing.T) {
	with := func(change func(*lease.Budget)) []lease.Budget {
		b := budget("cap", lease.PerTenant, lease.Month)
		change(&b)
		return []lease.Budget{b}
	}
	for want, list := range map[string][]lease.Budget{
		"has no name":                       with(func(b *lease.Budget) { b.Name = "" }),
		"has no tenant":                     with(func(b *lease.Budget) { b.Tenant = "" }),
		"its limit is negative":             with(func(b *lease.Budget) { b.Limit = -1 }),
		"use tenant, project, key":          with(func(b *lease.Budget) { b.Per = "planet" }),
		"use total, hour, day":              with(func(b *lease.Budget) { b.Window = "year" }),
		"has no window":                     with(func(b *lease.Budget) { b.Window = "" }),
		"leave its window out":              with(func(b *lease.Budget) { b.Per = lease.PerCall }),
		`"label:Team" is nothing`:           with(func(b *lease.Budget) { b.Per = lease.PerLabel("Team") }),
		`"label:" is nothing`:               with(func(b *lease.Budget) { b.Per = lease.PerLabel("") }),
		"use a currency":                    with(func(b *lease.Budget) { b.Unit = "bytes" }),
		`"Mars/Olympus" is not a time zone`: with(func(b *lease.Budget) { b.TimeZone = "Mars/Olympus" }),
		"differs from machine to machine":   with(func(b *lease.Budget) { b.TimeZone = "Local" }),
		"is there twice":                    slices.Concat(with(func(*lease.Budget) {}), with(func(b *lease.Budget) { b.Per = lease.PerKey })),
	} {
		if _, err := lease.NewBook(list); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q in it", err, want)
		}
	}
	other := budget("cap", lease.PerTenant, lease.Month)
	other.Tenant = "other"
	book(t, budget("cap", lease.PerTenant, lease.Month), other)
}

func TestLimitsReadAsTheyAreMeant(t *testing.T) {
	for s, want := range map[string]struct {
		n int64
		u accounting.Unit
	}{
		"5 USD": {5e9, "USD"}, "0.25 CNY": {25e7, "CNY"}, "1M tokens": {1e6, "tokens"}, "1.5M tokens": {15e5, "tokens"}, "20k requests": {20_000, "requests"},
		"1000 requests": {1000, "requests"}, "2B tokens": {2e9, "tokens"}, "0 USD": {0, "USD"}, " 7  tokens ": {7, "tokens"}, "0.001k tokens": {1, "tokens"},
		"9223372036854775807 tokens": {math.MaxInt64, "tokens"},
	} {
		if n, u, err := lease.ParseLimit(s); err != nil || n != want.n || u != want.u {
			t.Errorf("%q reads %d %s, %v; want %+v", s, n, u, err, want)
		}
	}
	for _, s := range []string{"", "5", "USD", "5USD", "-5 USD", "-1 tokens", "1.5 tokens", "1.0005k tokens", "M tokens", "1m tokens", "1kk tokens", "1.k tokens", ".5k tokens", "5 dollars", "1k USD", "5 USD a month", "1e3 tokens", "0.0000000001 USD"} {
		if n, u, err := lease.ParseLimit(s); err == nil {
			t.Errorf("%q reads %d %s", s, n, u)
		}
	}
	for _, s := range []string{"9223372036854775808 tokens", "9300000000B tokens", "9223372037 USD"} {
		if _, _, err := lease.ParseLimit(s); !errors.Is(err, accounting.ErrOverflow) {
			t.Errorf("%q: %v; want an overflow", s, err)
		}
	}
}

func BenchmarkWindows(b *testing.B) {
	k := book(b, budget("cap", lease.PerTenant, lease.Month), budget("k", lease.PerKey, lease.Day))
	b.ReportAllocs()
	for b.Loop() {
		k.Windows(whole, "m", noon)
	}
}

// A book keeps windows for those who ask next. It gives what a book gives that
// has kept none, whoever asks, and whenever.
func TestKeptWindowsAreThoseThatWouldBeMade(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var budgets []lease.Budget
		for i, per := range []lease.Scope{lease.PerTenant, lease.PerProject, lease.PerKey, lease.PerModel, lease.PerEndUser, lease.PerSession, lease.PerLabel("team")} {
			period := rapid.SampledFrom([]lease.Period{lease.Total, lease.Hour, lease.Day, lease.Rolling(time.Hour)}).Draw(t, "window")
			budgets = append(budgets, budget(fmt.Sprint("b", i), per, period))
		}
		kept, err := lease.NewBook(budgets)
		if err != nil {
			t.Fatal(err)
		}
		name := rapid.SampledFrom([]string{"", "a", "b", "a/b"})
		for range rapid.IntRange(1, 20).Draw(t, "calls") {
			s := accounting.Subject{
				Tenant: "acme", Project: name.Draw(t, "project"), Key: name.Draw(t, "key"), EndUser: name.Draw(t, "end user"), Session: name.Draw(t, "session"),
				Labels: map[string]string{"team": name.Draw(t, "team")},
			}
			model, at := name.Draw(t, "model"), noon.Add(time.Duration(rapid.IntRange(-90, 90).Draw(t, "minutes"))*time.Minute)
			made, err := lease.NewBook(budgets)
			if err != nil {
				t.Fatal(err)
			}
			got, want := kept.Windows(s, model, at), made.Windows(s, model, at)
			if !slices.EqualFunc(got, want, func(a, b *accounting.Window) bool { return *a == *b }) {
				t.Fatalf("%+v of model %q at %s: windows %q; want %q", s, model, at, ids(got), ids(want))
			}
		}
	})
}

// End users are many: a book keeps some of their windows, and makes the others.
func TestABookKeepsSomeWindows(t *testing.T) {
	k := book(t, budget("u", lease.PerEndUser, lease.Month))
	of := func(user int) *accounting.Window {
		return k.Windows(accounting.Subject{Tenant: "acme", EndUser: fmt.Sprint(user)}, "m", noon)[0]
	}
	kept := 0
	for user := range 1000 {
		if w := of(user); *w != *of(user) || w.Scope != fmt.Sprint("end_user/", user) {
			t.Fatalf("windows %+v and %+v", w, of(user))
		}
	}
	for user := range 1000 {
		if first, second := of(user), of(user); first == second {
			kept++
		}
	}
	if kept != 256 {
		t.Errorf("%d windows are kept", kept)
	}
}
