package sqlite

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pressly/goose/v3"
	"go.uber.org/goleak"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/ledger"
	"github.com/weir-gateway/weir/server/auth"
	"github.com/weir-gateway/weir/server/store"
	"github.com/weir-gateway/weir/server/store/storetest"
)

// victim names the store that this binary shall write to until it is killed.
const victim = "WEIR_TEST_VICTIM"

func TestMain(m *testing.M) {
	if path := os.Getenv(victim); path != "" {
		fmt.Println(writeForever(path))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

func TestContract(t *testing.T) {
	storetest.Run(t, func(t testing.TB) storetest.Opener {
		path := filepath.Join(t.TempDir(), "data", "weir.db")
		return func(ctx context.Context) (*store.Store, error) { return Open(ctx, path) }
	})
}

func TestWhatAnEarlierWeirAllocatedCounts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.db")
	storetest.EarlierAllocations(t, func(ctx context.Context) (*store.Store, error) { return Open(ctx, path) }, "sqlite", path)
}

func TestTheVersionBeforeWorksBesideThisOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.db")
	folder, err := fs.Sub(migrations, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	storetest.Previous(t, func(ctx context.Context) (*store.Store, error) { return Open(ctx, path) }, "sqlite", path, goose.DialectSQLite3, folder, false)
}

func TestTheAuditLogIsAppendOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.db")
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.FirstKey(t.Context(), auth.Key{Name: "admin", Role: auth.Platform}); err != nil {
		t.Fatal(err)
	}
	if err := s.Shutdown(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, change := range []string{`UPDATE audit SET author_key = 'x'`, `DELETE FROM audit`} {
		if _, err := db.Exec(change); err == nil || !strings.Contains(err.Error(), "rows of audit never") {
			t.Errorf("%s: %v", change, err)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	path := filepath.Join(b.TempDir(), "weir.db")
	storetest.BenchWrite(b, func(ctx context.Context) (*store.Store, error) { return Open(ctx, path) })
}

var month = accounting.Window{ID: "acme/cap/tenant/2026-07", Budget: "cap", Tenant: "acme", Scope: "tenant", Unit: accounting.UnitRequests, Limit: 1 << 40}

func call(id string) ledger.Entry {
	start := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	return ledger.Entry{
		Line: accounting.Line{
			Attempt: accounting.Attempt{RequestID: id, Number: 1, Subject: accounting.Subject{Tenant: "acme"}, Start: start, Deadline: start.Add(time.Minute)},
			End:     start, Outcome: accounting.OutcomeCompleted,
		},
		Settled: []ledger.Settled{{Window: &month, Amount: 3, Uncovered: 3}},
	}
}

// writeForever says which lines it has written, after they were kept.
func writeForever(path string) error {
	s, err := Open(context.Background(), path)
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		e := call(fmt.Sprint("call-", i))
		if err := s.Write(context.Background(), []ledger.Entry{e}); err != nil {
			return err
		}
		fmt.Println(e.Line.RequestID)
	}
}

func TestAKilledProcessLosesNothingItSaidWasKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.db")
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), victim+"="+path)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var said []string
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		said = append(said, lines.Text())
		if len(said) == 20 {
			if _, err := Open(t.Context(), path); !errors.Is(err, store.ErrInUse) || !strings.Contains(err.Error(), filepath.Dir(path)) {
				t.Errorf("a second process on the directory: %v", err)
			}
			child.Process.Kill()
		}
	}
	child.Wait()
	if len(said) < 20 {
		t.Fatalf("the process said only %q", said)
	}
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatalf("after the kill: %v", err)
	}
	defer s.Shutdown()
	for _, id := range said {
		if found, err := s.Lines(t.Context(), id); err != nil || len(found) != 1 {
			t.Errorf("call %s has %d lines, %v", id, len(found), err)
		}
	}
	if off, err := s.Audit(t.Context()); err != nil || len(off) > 0 {
		t.Errorf("audit: %q, %v", off, err)
	}
}

func TestTheFilesAreNobodyElses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "weir ?#%.db")
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown()
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", f.Name(), info.Mode())
		}
		names = append(names, f.Name())
	}
	if got := strings.Join(names, ", "); got != "lock, weir ?#%.db, weir ?#%.db-shm, weir ?#%.db-wal" {
		t.Errorf("files %s", got)
	}
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "5000"} {
		db, err := pool(path, map[string][]string{"_txlock": {"immediate"}, "_synchronous": {"FULL"}, "_foreign_keys": {"1"}}, 1)
		if err != nil {
			t.Fatal(err)
		}
		var got string
		if err := db.QueryRow(`PRAGMA ` + pragma).Scan(&got); err != nil || got != want {
			t.Errorf("pragma %s is %s, %v; want %s", pragma, got, err, want)
		}
		db.Close()
	}
}

func TestWhatCannotBeOpenedSaysWhy(t *testing.T) {
	dir := t.TempDir()
	broken, newer := filepath.Join(dir, "broken", "weir.db"), filepath.Join(dir, "newer", "weir.db")
	if err := os.Mkdir(filepath.Dir(broken), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(broken, []byte(strings.Repeat("this is a letter ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), newer)
	if err != nil {
		t.Fatal(err)
	}
	s.Shutdown()
	db, err := sql.Open("sqlite", newer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`INSERT INTO migrations (version_id, is_applied) VALUES (9999, TRUE); UPDATE compatibility SET oldest = 9999`); err != nil {
		t.Fatal(err)
	}
	db.Close()
	for path, want := range map[string]string{
		broken:                                 "damaged or not a store of weir; restore it from a backup",
		newer:                                  "start the newer weir",
		filepath.Join(broken, "weir.db"):       "choose another path",
		filepath.Join(dir, "broken", ".", "/"): "open the store",
	} {
		s, err := Open(t.Context(), path)
		if err == nil {
			s.Shutdown()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("open %s: %v; want %q in it", path, err, want)
		}
	}
	// What failed to open has given the directory back.
	if _, err := Open(t.Context(), broken); errors.Is(err, store.ErrInUse) {
		t.Errorf("the lock was kept: %v", err)
	}
}
