package storetest

import (
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/weir-gateway/weir/accounting/ledger"
	"github.com/weir-gateway/weir/server/store"
)

// EarlierAllocations proves that what a line has fed counts where a Weir from
// before migration 7 wrote it. Driver and source are those of the database that
// open opens.
func EarlierAllocations(t *testing.T, open Opener, driver, source string) {
	s, err := open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown()
	w := window("acme/cap/tenant/2026-07", 100)
	for _, call := range []string{"earlier", "now"} {
		e := ledger.Entry{Line: line(call, 1), Settled: []ledger.Settled{{Window: &w, Amount: 7, Uncovered: 7}}}
		if err := s.Write(t.Context(), []ledger.Entry{e}); err != nil {
			t.Fatal(err)
		}
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	change := func(query string) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), query); err != nil {
			t.Fatal(err)
		}
	}
	audit := func(want string) {
		t.Helper()
		off, err := s.Audit(t.Context())
		if got := strings.Join(off, "\n"); err != nil || got != want {
			t.Errorf("the audit says %q, %v; want %q", got, err, want)
		}
	}
	audit("")
	change(`UPDATE lines SET allocations = NULL WHERE request_id = 'earlier'`)
	audit("window acme/cap/tenant/2026-07 has spent 14, and its allocations sum to 7")
	change(`INSERT INTO allocations (request_id, attempt, line, window_id, unit, amount)
		SELECT request_id, attempt, line, 'acme/cap/tenant/2026-07', 'requests', 7 FROM lines WHERE request_id = 'earlier'`)
	audit("")
	change(`UPDATE lines SET allocations = '{"acme/cap/tenant/2026-07":9}' WHERE request_id = 'now'`)
	audit("window acme/cap/tenant/2026-07 has spent 14, and its allocations sum to 16")
	change(`UPDATE lines SET allocations = '{"acme/cap/tenant/2026-07":7}' WHERE request_id = 'now'`)

	// It counts as well when the line is dropped for its age.
	old := ofDay(time.Now(), -20, 1)
	write(t, s, ledger.Entry{Line: line(old, 1), Settled: []ledger.Settled{{Window: &w, Amount: 7, Uncovered: 7}}})
	change(`UPDATE lines SET allocations = NULL WHERE request_id = '` + old + `'`)
	change(`INSERT INTO allocations (request_id, attempt, line, window_id, unit, amount) VALUES ('` + old + `', 1, 1, 'acme/cap/tenant/2026-07', 'requests', 7)`)
	audit("")
	if _, err := s.Tend(t.Context(), 8*store.Day); err != nil {
		t.Fatal(err)
	}
	audit("")
	var left int
	if err := db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM allocations`).Scan(&left); err != nil || left != 1 {
		t.Errorf("%d rows of allocations are left, %v; want that of the other line", left, err)
	}
}
