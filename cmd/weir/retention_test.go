package main

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/ledger"
	"github.com/weir-gateway/weir/server/store"
	"github.com/weir-gateway/weir/server/store/sqlite"
)

// TestOldLinesGoAndTheLedgerStaysSound starts a Weir on a ledger with a call of
// two days, of which one is too old to be kept.
func TestOldLinesGoAndTheLedgerStaysSound(t *testing.T) {
	const rest = "\nbackends: [{name: sim, kind: simulator}]\nmodels: [{name: sim-text, targets: [{backend: sim, model: sim-text}]}]\n"
	file := filepath.Join(t.TempDir(), "weir.yaml")
	config := func(keep string) {
		t.Helper()
		if err := os.WriteFile(file, []byte("ledger: {keep: "+keep+"}"+rest), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config("6d")
	if code, _, failed := runWith(nil, "", "serve", "--config", file); code != exitUsage || !strings.Contains(failed, "line 1: ledger.keep: 144h0m0s is too short") {
		t.Errorf("%d %s", code, failed)
	}

	data := t.TempDir()
	s, err := sqlite.Open(t.Context(), filepath.Join(data, "weir.db"))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	window := accounting.Window{ID: "acme/cap/tenant/total", Budget: "cap", Tenant: "acme", Scope: "tenant", Unit: accounting.UnitRequests, Limit: 100}
	for _, day := range []int{-20, -3} {
		at := now.AddDate(0, 0, day)
		l := accounting.Line{
			Attempt: accounting.Attempt{RequestID: store.IDsFrom(at) + "-7000-8000-000000000001", Number: 1, Subject: accounting.Subject{Tenant: "acme"}, Start: at, Deadline: at},
			End:     at, Outcome: accounting.OutcomeCompleted,
		}
		if err := s.Write(context.Background(), []ledger.Entry{{Line: l, Settled: []ledger.Settled{{Window: &window, Amount: 1, Uncovered: 1}}}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Shutdown(); err != nil {
		t.Fatal(err)
	}

	config("10d")
	p := serve(t, data, "--config", file)
	admin := p.key(adminKeyFile)
	deadline, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	horizon := store.DayOf(now.Add(-10 * store.Day)).Format(time.DateOnly)
	for !strings.Contains(p.log.String(), "day="+horizon) {
		if deadline.Err() != nil {
			t.Fatalf("nothing was dropped:\n%s", p.log)
		}
	}
	for since, want := range map[string]string{
		"720h": "weir: calls from before " + horizon + " are no longer in the ledger (ledger.keep) and not in this report\n",
		"100h": "",
	} {
		code, out, told := p.run(admin, "", "report", "--since", since, "--by", "tenant", "-o", "csv")
		if code != exitOK || told != want || !strings.Contains(out, "\nacme,1,") {
			t.Errorf("report: %d %q %q; want %q", code, out, told, want)
		}
	}
	if code, out, failed := p.run(admin, "", "doctor"); code != exitOK {
		t.Errorf("doctor: %d %s %s", code, out, failed)
	}
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}

	// What was dropped is what the sums would miss without it.
	db, err := sql.Open("sqlite", filepath.Join(data, "weir.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`UPDATE archived SET amount = 2`); err != nil {
		t.Fatal(err)
	}
	db.Close()
	p.start()
	if code, out, _ := p.run(admin, "", "doctor"); code != exitFailure || !strings.Contains(out, "has spent 2, and its allocations sum to 3") {
		t.Errorf("doctor of a wrong archive: %d %s", code, out)
	}
}
