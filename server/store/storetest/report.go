package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/ledger"
	"github.com/weir-gateway/weir/accounting/report"
	"github.com/weir-gateway/weir/server/store"
)

// writeLine puts a line in the ledger that nothing was held for.
func writeLine(t testing.TB, s *store.Store, l accounting.Line) {
	t.Helper()
	if err := s.Write(context.Background(), []ledger.Entry{{Line: l}}); err != nil {
		t.Fatalf("write %s/%d/%d: %v", l.RequestID, l.Attempt.Number, l.Number, err)
	}
}

func priced(l accounting.Line, nanos int64, currency string) accounting.Line {
	m := accounting.Money{Currency: currency, Nanos: nanos}
	l.Cost = &accounting.Cost{ProviderCost: m, Charge: m, PriceVersion: "v"}
	return l
}

func line(call string, number int) accounting.Line {
	return accounting.Line{Attempt: attempt(call, 1), Number: number, End: start, Outcome: accounting.OutcomeCompleted, Source: accounting.SourceProvider}
}

// draws of few values, so that they meet.
var (
	someTenants  = rapid.SampledFrom([]string{"a", "b"})
	someProjects = rapid.SampledFrom([]string{"default", "Search", "ärger", "zoo"})
	someUsers    = rapid.SampledFrom([]string{"", "u1", "u2"})
	someTeams    = rapid.SampledFrom([]string{"", "Blue", "green"})
	someOutcomes = rapid.SampledFrom([]accounting.Outcome{accounting.OutcomeCompleted, accounting.OutcomeFailed, accounting.OutcomeInDoubt, accounting.OutcomeCacheHit})
	someClasses  = rapid.SampledFrom([]accounting.ServiceClass{"", accounting.ServiceStandard, accounting.ServiceFlex})
	someMoney    = rapid.SampledFrom([]string{"", "USD", "CNY"})
	someGroups   = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"tenant", "project", "key", "model", "backend", "outcome", "end_user", "session", "service_class", "labels.team", "labels.cost-center"}), 0, 4, rapid.ID[string])
)

func drawLine(t *rapid.T, run, call, number, correction int) accounting.Line {
	l := line(fmt.Sprintf("call-%d-%d", run, call), correction)
	l.Attempt.Number = number
	l.Subject = accounting.Subject{
		Tenant:  fmt.Sprintf("%s-%d", someTenants.Draw(t, "tenant"), run),
		Project: someProjects.Draw(t, "project"), Key: someProjects.Draw(t, "key"),
		EndUser: someUsers.Draw(t, "end user"), Session: someUsers.Draw(t, "session"),
		Labels: map[string]string{"other": "x"},
	}
	if team := someTeams.Draw(t, "team"); team != "" {
		l.Subject.Labels["team"] = team
	}
	l.Model, l.Backend, l.Outcome = someTeams.Draw(t, "model"), someUsers.Draw(t, "backend"), someOutcomes.Draw(t, "outcome")
	l.ServedClass = someClasses.Draw(t, "class")
	l.Start = start.Add(time.Duration(rapid.IntRange(0, 10).Draw(t, "minute")) * time.Minute)
	for _, m := range accounting.Meters() {
		if rapid.Bool().Draw(t, "known") {
			l.Usage.Set(m, rapid.Int64Range(0, 1<<40).Draw(t, "quantity"))
		}
	}
	if c := someMoney.Draw(t, "currency"); c != "" {
		l = priced(l, rapid.Int64Range(-1<<40, 1<<50).Draw(t, "nanos"), c)
		for range rapid.IntRange(0, 2).Draw(t, "items") {
			amount := accounting.Money{Currency: c, Nanos: rapid.Int64Range(0, 1<<60).Draw(t, "amount")}
			l.Cost.Items = append(l.Cost.Items, accounting.Item{Meter: accounting.Output, Quantity: 1, Price: 1, Amount: amount})
		}
	}
	return l
}

// reportModel compares reports with sums that are made the obvious way.
func reportModel(t *testing.T, open Opener) {
	s := one(t, open)
	run := 0
	rapid.Check(t, func(r *rapid.T) {
		run++
		var lines []accounting.Line
		for call := range rapid.IntRange(0, 12).Draw(r, "calls") {
			for number := range rapid.IntRange(1, 2).Draw(r, "attempts") {
				for correction := range rapid.IntRange(1, 2).Draw(r, "lines") {
					l := drawLine(r, run, call, number+1, correction)
					lines = append(lines, l)
					writeLine(t, s, l)
				}
			}
		}
		// One tenant's report, or that of all tenants in a span that only
		// this run's lines can lie in: every run has its own tenants, so all
		// tenants are asked for by grouping.
		q := report.Query{GroupBy: someGroups.Draw(r, "group by"), Tenant: fmt.Sprintf("a-%d", run)}
		if rapid.Bool().Draw(r, "from") {
			q.From = start.Add(3 * time.Minute)
		}
		if rapid.Bool().Draw(r, "to") {
			q.To = start.Add(7 * time.Minute)
		}
		want := brute(q, lines)
		var got report.Report
		q.Limit = rapid.IntRange(1, 5).Draw(r, "limit")
		for {
			page, err := s.Sum(context.Background(), q)
			if err != nil {
				r.Fatalf("sum: %v", err)
			}
			if len(page.Rows) > q.Limit {
				r.Fatalf("a page of %d rows; the limit is %d", len(page.Rows), q.Limit)
			}
			got.Rows, got.Totals, got.Saved = append(got.Rows, page.Rows...), page.Totals, page.Saved
			if page.Next == nil {
				break
			}
			q.After = page.Next
		}
		if !reflect.DeepEqual(got, want) {
			r.Fatalf("report by %v\n%+v\nwant\n%+v", q.GroupBy, got, want)
		}
	})
}

func brute(q report.Query, lines []accounting.Line) report.Report {
	type group struct {
		row   report.Row
		calls map[string]bool
		costs map[string]int64
		saved map[string]int64
	}
	groups := map[string]*group{}
	totals, saved := map[string]int64{}, map[string]int64{}
	for _, l := range lines {
		if q.Tenant != "" && l.Subject.Tenant != q.Tenant || !q.From.IsZero() && l.Start.Before(q.From) || !q.To.IsZero() && !l.Start.Before(q.To) {
			continue
		}
		dims := []string{}
		for _, d := range q.GroupBy {
			s := l.Subject
			dims = append(dims, map[string]string{
				"tenant": s.Tenant, "project": s.Project, "key": s.Key, "model": l.Model, "backend": l.Backend, "outcome": string(l.Outcome),
				"end_user": s.EndUser, "session": s.Session, "service_class": string(l.ServedClass), "labels.team": s.Labels["team"], "labels.cost-center": s.Labels["cost-center"],
			}[d])
		}
		id := strings.Join(dims, "\x00")
		g := groups[id]
		if g == nil {
			g = &group{report.Row{Dimensions: dims}, map[string]bool{}, map[string]int64{}, map[string]int64{}}
			groups[id] = g
		}
		g.calls[l.RequestID] = true
		if l.Number == 0 {
			g.row.Attempts++
		}
		for _, m := range accounting.Meters() {
			if n, ok := l.Usage.Get(m); ok {
				before, _ := g.row.Usage.Get(m)
				g.row.Usage.Set(m, before+n)
			}
		}
		if l.Cost == nil {
			if l.Outcome.Charged() {
				g.row.Unpriced++
			}
			continue
		}
		g.costs[l.Cost.Charge.Currency] += l.Cost.Charge.Nanos
		totals[l.Cost.Charge.Currency] += l.Cost.Charge.Nanos
		if m, known := l.Saved(); known {
			g.saved[m.Currency] += m.Nanos
			saved[m.Currency] += m.Nanos
		}
	}
	var r report.Report
	for _, g := range groups {
		g.row.Calls, g.row.Costs, g.row.Saved = int64(len(g.calls)), moneyOf(g.costs), moneyOf(g.saved)
		r.Rows = append(r.Rows, g.row)
	}
	slices.SortFunc(r.Rows, func(a, b report.Row) int { return slices.Compare(a.Dimensions, b.Dimensions) })
	r.Totals, r.Saved = moneyOf(totals), moneyOf(saved)
	return r
}

func moneyOf(sums map[string]int64) []accounting.Money {
	var list []accounting.Money
	for c, n := range sums {
		list = append(list, accounting.Money{Currency: c, Nanos: n})
	}
	slices.SortFunc(list, func(a, b accounting.Money) int { return cmp.Compare(a.Currency, b.Currency) })
	return list
}

func reportCurrencies(t *testing.T, open Opener) {
	s := one(t, open)
	writeLine(t, s, priced(line("a", 0), 3, "USD"))
	writeLine(t, s, priced(line("b", 0), 5, "CNY"))
	writeLine(t, s, priced(line("b", 1), -1, "USD"))
	writeLine(t, s, line("c", 0))
	got, err := s.Sum(t.Context(), report.Query{})
	must(t, err)
	costs := []accounting.Money{{Currency: "CNY", Nanos: 5}, {Currency: "USD", Nanos: 2}}
	want := report.Report{Rows: []report.Row{{Dimensions: []string{}, Calls: 3, Attempts: 3, Costs: costs, Unpriced: 1}}, Totals: costs}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("report %+v; want %+v", got, want)
	}
	if _, err := s.Sum(t.Context(), report.Query{GroupBy: []string{"colour"}}); err == nil || !strings.Contains(err.Error(), `"colour"`) {
		t.Errorf("an unknown dimension: %v", err)
	}
}

func reportOverflow(t *testing.T, open Opener) {
	s := one(t, open)
	l := line("a", 0)
	l.Usage.Set(accounting.Input, math.MaxInt64)
	writeLine(t, s, priced(l, math.MaxInt64, "USD"))
	got, err := s.Sum(t.Context(), report.Query{})
	if err != nil || got.Totals[0].Nanos != math.MaxInt64 {
		t.Errorf("the largest sum: %+v, %v", got, err)
	}
	writeLine(t, s, priced(line("b", 0), 1, "USD"))
	if got, err := s.Sum(t.Context(), report.Query{}); !errors.Is(err, accounting.ErrOverflow) {
		t.Errorf("money past 64 bits: %+v, %v", got, err)
	}
	writeLine(t, s, priced(line("b", 1), -1, "USD"))
	l = line("c", 0)
	l.Usage.Set(accounting.Input, 1)
	writeLine(t, s, l)
	if got, err := s.Sum(t.Context(), report.Query{}); !errors.Is(err, accounting.ErrOverflow) {
		t.Errorf("usage past 64 bits: %+v, %v", got, err)
	}
}

func reportOrder(t *testing.T, open Opener) {
	s := one(t, open)
	names := []string{"", "B", "Z", "a", "a b", "a-b", "aB", "ab", "b", "ä"}
	for i, name := range names {
		l := line(fmt.Sprint("call-", i), 0)
		l.Model, l.Subject.Labels = name, map[string]string{"team": name}
		writeLine(t, s, l)
	}
	for _, by := range []string{report.Model, "labels.team"} {
		var got []string
		q := report.Query{GroupBy: []string{by}, Limit: 3}
		for {
			page, err := s.Sum(t.Context(), q)
			must(t, err)
			for _, row := range page.Rows {
				got = append(got, row.Dimensions[0])
			}
			if q.After = page.Next; page.Next == nil {
				break
			}
		}
		if !slices.Equal(got, names) {
			t.Errorf("rows by %s: %q; want %q", by, got, names)
		}
	}
}

func reportEmpty(t *testing.T, open Opener) {
	s := one(t, open)
	for _, by := range [][]string{nil, {report.Tenant}, {"labels.team"}} {
		if got, err := s.Sum(t.Context(), report.Query{GroupBy: by}); err != nil || !reflect.DeepEqual(got, report.Report{}) {
			t.Errorf("report by %v: %+v, %v", by, got, err)
		}
	}
}
