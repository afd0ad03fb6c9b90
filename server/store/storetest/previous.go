package storetest

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/weir-gateway/weir/accounting/ledger"
	"github.com/weir-gateway/weir/server/store"
)

// previousMigrations are those that the version before knew. A migration that is
// released does not change, so they make its schema; testdata/previous has the
// statements by which it writes lines. At a release both move on.
var previousMigrations = []string{"00001", "00002", "00003", "00004", "00005", "00006", "00007", "00012"}

//go:embed testdata/previous/*.sql
var previousStatements embed.FS

// A previous is a Weir of the version before, as the database sees it.
type previous struct {
	db      *sql.Conn
	insert  string
	columns []string
	arrays  bool
}

const previousWindow = "acme/cap/tenant/total"

// write writes a line that feeds the window by 1, and tells whether it is new.
func (p *previous) write(ctx context.Context, id string) (fresh bool, err error) {
	known := map[string]any{
		"request_id": id, "attempt": int64(1), "tenant": "acme", "labels": "{}", "own_usage": "{}", "outcome": "completed",
		"allocations": fmt.Sprintf("{%q:1}", previousWindow),
		"input":       nil, "cache_read": nil, "cache_write_5m": nil, "cache_write_1h": nil, "output": nil, "reasoning": nil, "requests": nil,
		"currency": nil, "provider_nanos": nil, "charge_nanos": nil, "items": nil, "price_version": nil,
	}
	var args []any
	for _, column := range p.columns {
		value, set := known[column]
		if !set {
			value = ""
			if slices.Contains([]string{"line", "started", "deadline", "ended"}, column) {
				value = int64(0)
			}
		}
		if p.arrays {
			switch v := value.(type) {
			case string:
				value = []string{v}
			case int64:
				value = []int64{v}
			default:
				value = []*string{nil}
			}
		}
		args = append(args, value)
	}
	tx, err := p.db.BeginTx(ctx, nil)
	if err != nil {
		return false, err
	}
	defer tx.Rollback() // does nothing after Commit
	n, err := tx.ExecContext(ctx, p.insert, args...)
	if err != nil {
		return false, err
	}
	if rows, err := n.RowsAffected(); err != nil || rows == 0 {
		return false, err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE windows SET spent = spent + 1 WHERE id = '`+previousWindow+`'`); err != nil {
		return false, err
	}
	return true, tx.Commit()
}

var mark = regexp.MustCompile(`\$\d+`)

func openPrevious(t *testing.T, db *sql.DB, dialect goose.Dialect) *previous {
	name := map[goose.Dialect]string{goose.DialectPostgres: "postgres", goose.DialectSQLite3: "sqlite"}[dialect]
	text, err := previousStatements.ReadFile(path.Join("testdata/previous", name+".sql"))
	must(t, err)
	p := &previous{insert: string(text), arrays: mark.Match(text)}
	_, list, _ := strings.Cut(p.insert, "(")
	list, _, _ = strings.Cut(list, ")")
	p.columns = strings.Split(list, ", ")
	p.db, err = db.Conn(t.Context())
	must(t, err)
	t.Cleanup(func() { p.db.Close() })
	return p
}

// idOf is a request id that was made at a time.
func idOf(at time.Time, n int) string { return fmt.Sprintf("%s-7000-8000-%012x", store.IDsFrom(at), n) }

// Previous proves that a Weir of the version before and one of now work side by
// side on one database, from the moment that it is migrated: no line is lost,
// none is there twice, the sums agree, and that of before may start again. Driver
// and source are those of the database that open opens; beside tells whether two
// processes may write to it at once.
func Previous(t *testing.T, open Opener, driver, source string, dialect goose.Dialect, migrations fs.FS, beside bool) {
	earlier := fstest.MapFS{}
	files, err := fs.ReadDir(migrations, ".")
	must(t, err)
	for _, f := range files {
		if slices.Contains(previousMigrations, f.Name()[:5]) {
			text, err := fs.ReadFile(migrations, f.Name())
			must(t, err)
			earlier[f.Name()] = &fstest.MapFile{Data: text}
		}
	}
	if len(earlier) != len(previousMigrations) || len(earlier) == len(files) {
		t.Fatalf("%d migrations of %d; want %d", len(earlier), len(files), len(previousMigrations))
	}
	db, err := sql.Open(driver, source)
	must(t, err)
	defer db.Close()
	must(t, store.Migrate(t.Context(), db, dialect, earlier))
	_, err = db.ExecContext(t.Context(), `INSERT INTO windows (id, budget, tenant, scope, unit, limit_amount) VALUES ('`+previousWindow+`', 'cap', 'acme', 'tenant', 'requests', 1000000)`)
	must(t, err)

	old := openPrevious(t, db, dialect)
	now := time.Now()
	written := map[string]bool{}
	byOld := func(id string) {
		t.Helper()
		fresh, err := old.write(t.Context(), id)
		if err != nil || fresh == written[id] {
			t.Errorf("the version before writes %s: new %t, %v", id, fresh, err)
		}
		written[id] = true
	}
	days := []int{-400, -3, -2, -1, 0, 1, 2, 5}
	for _, day := range days {
		byOld(idOf(now.AddDate(0, 0, day), 1))
	}
	byOld("an id without a time")

	// It writes on while the schema changes under it.
	var group sync.WaitGroup
	stop := make(chan struct{})
	var meanwhile []string
	if beside {
		other := openPrevious(t, db, dialect)
		began := make(chan struct{})
		group.Go(func() {
			for n := 0; ; n++ {
				id := idOf(now.AddDate(0, 0, days[n%len(days)]), 1000+n)
				if fresh, err := other.write(context.Background(), id); err != nil || !fresh {
					t.Errorf("the version before writes %s while the schema changes: new %t, %v", id, fresh, err)
					return
				}
				meanwhile = append(meanwhile, id)
				if n == 0 {
					close(began)
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
		<-began
	}
	s := one(t, open)
	_, err = s.Tend(t.Context(), 0)
	must(t, err)

	total := window(previousWindow, 1_000_000)
	total.Start, total.End = time.Time{}, time.Time{}
	byNew := func(id string) {
		t.Helper()
		e := ledger.Entry{Line: line(id, 0), Settled: []ledger.Settled{{Window: &total, Amount: 1, Uncovered: 1}}}
		must(t, s.Write(t.Context(), []ledger.Entry{e}))
		written[id] = true
	}
	for _, id := range slices.Collect(maps.Keys(written)) {
		byNew(id)
		byOld(id)
	}
	for i, day := range days {
		byOld(idOf(now.AddDate(0, 0, day), 2))
		byNew(idOf(now.AddDate(0, 0, day), 2))
		byNew(idOf(now.AddDate(0, 0, day), 3))
		byOld(idOf(now.AddDate(0, 0, day), 3))
		byOld(fmt.Sprint("another id without a time ", i))
	}
	close(stop)
	group.Wait()
	for _, id := range meanwhile {
		written[id] = true
	}
	for id := range written {
		if lines, err := s.Lines(t.Context(), id); err != nil || len(lines) != 1 {
			t.Errorf("call %s has %d lines, %v", id, len(lines), err)
		}
	}
	if w, _, err := s.Window(t.Context(), previousWindow); err != nil || w.Spent != int64(len(written)) {
		t.Errorf("the window has spent %d, %v; want %d", w.Spent, err, len(written))
	}
	// Of the one before a process starts once more, and of one before a change that
	// is not for it none does.
	start := func() error { return store.Migrate(t.Context(), db, dialect, earlier) }
	change := func(query string) {
		_, err := db.ExecContext(t.Context(), query)
		must(t, err)
	}
	must(t, start())
	change(`INSERT INTO migrations (version_id, is_applied) VALUES (9999, TRUE)`)
	must(t, start())
	change(`UPDATE compatibility SET oldest = 9999`)
	if err := start(); err == nil || !strings.Contains(err.Error(), "only a weir that knows version 9999") {
		t.Errorf("a weir that the schema is not for starts: %v", err)
	}
}
