package postgres

import (
	"context"
	"database/sql"
	"fmt"
	neturl "net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/ledger"
	"github.com/weir-gateway/weir/accounting/report"
	"github.com/weir-gateway/weir/server/store"
	"github.com/weir-gateway/weir/server/store/storetest"
)

func callOf(at time.Time, n int) ledger.Entry {
	return ledger.Entry{Line: accounting.Line{
		Attempt: accounting.Attempt{RequestID: fmt.Sprintf("%s-7000-8000-%012x", store.IDsFrom(at), n), Number: 1, Subject: accounting.Subject{Tenant: "acme"}, Start: at, Deadline: at},
		End:     at, Outcome: accounting.OutcomeCompleted,
	}}
}

func TestLinesAreInPartitionsOfTheirDay(t *testing.T) {
	url := storetest.Postgres(t)
	s, err := Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	// The day is that of the database's clock, and turns while no one looks.
	now := time.Now()
	write := func(n int) {
		t.Helper()
		for day := -3; day <= 3; day++ {
			if err := s.Write(t.Context(), []ledger.Entry{callOf(now.AddDate(0, 0, day), n)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	tend := func() {
		t.Helper()
		if err := makeDays(t.Context(), db, now); err != nil {
			t.Fatal(err)
		}
	}
	check := func(calls int) {
		t.Helper()
		rows, err := db.QueryContext(t.Context(), `SELECT CAST(tableoid::regclass AS TEXT), COUNT(*) FROM lines GROUP BY 1 ORDER BY 1`)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		var got, want []string
		for rows.Next() {
			var name string
			var n int
			if err := rows.Scan(&name, &n); err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(name, " ", n))
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		for day := -2; day <= 2; day++ {
			want = append(want, fmt.Sprint("lines_", now.UTC().AddDate(0, 0, day).Format("20060102"), " ", calls))
		}
		want = append(want, fmt.Sprint("lines_before ", calls), fmt.Sprint("lines_other ", calls))
		if !slices.Equal(got, want) {
			t.Errorf("lines are in %q; want %q", got, want)
		}
	}
	write(1) // before the days are made
	tend()
	tend()
	check(1)
	write(2)
	check(2)

	// Tomorrow there is one day more, and nothing is left of it in lines_other.
	if err := makeDays(t.Context(), db, now.AddDate(0, 0, 1)); err != nil {
		t.Fatal(err)
	}
	var others int
	if err := db.QueryRow(`SELECT COUNT(*) FROM lines_other`).Scan(&others); err != nil || others != 0 {
		t.Errorf("lines_other has %d lines, %v", others, err)
	}
	var indexes int
	if err := db.QueryRow(`SELECT COUNT(*) FROM pg_indexes WHERE tablename = 'lines_' || $1`, now.UTC().Format("20060102")).Scan(&indexes); err != nil || indexes != 2 {
		t.Errorf("a partition has %d indexes, %v; want 2", indexes, err)
	}
}

// A query that looks at a partition has to lock it, so that of another day
// comes through where today's is locked.
func TestQueriesLookAtTheDaysTheyAskAbout(t *testing.T) {
	url := storetest.Postgres(t)
	hasty, err := neturl.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	options := hasty.Query()
	options.Set("lock_timeout", "1000")
	hasty.RawQuery = options.Encode()
	s, err := Open(t.Context(), hasty.String())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown()
	now := time.Now()
	if _, err := s.Tend(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	long := now.AddDate(0, 0, -5)
	if err := s.Write(t.Context(), []ledger.Entry{callOf(now, 1), callOf(long, 1)}); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := tx.Exec(`LOCK TABLE lines_` + now.UTC().Format("20060102")); err != nil {
		t.Fatal(err)
	}
	sum := func(from, to time.Time) (int64, error) {
		r, err := s.Sum(context.Background(), report.Query{Tenant: "acme", From: from, To: to})
		if err != nil || len(r.Rows) == 0 {
			return 0, err
		}
		return r.Rows[0].Calls, nil
	}
	if n, err := sum(long.Add(-time.Hour), long.Add(time.Hour)); n != 1 || err != nil {
		t.Errorf("a report of another day: %d calls, %v", n, err)
	}
	if lines, err := s.Lines(t.Context(), callOf(long, 1).Line.RequestID); len(lines) != 1 || err != nil {
		t.Errorf("the lines of a call of another day: %d, %v", len(lines), err)
	}
	if err := s.Write(t.Context(), []ledger.Entry{callOf(long, 2)}); err != nil {
		t.Errorf("a line of another day: %v", err)
	}
	if n, err := sum(now.Add(-time.Hour), now.Add(time.Hour)); err == nil || !strings.Contains(err.Error(), "lock timeout") {
		t.Errorf("a report of today, which is locked: %d calls, %v", n, err)
	}
}
