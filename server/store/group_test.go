package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"
	_ "modernc.org/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// notes opens a database with a table to write to, and returns what is in it.
func notes(t *testing.T) (*sql.DB, func() string) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "notes.db")+"?_txlock=immediate&_journal_mode=WAL")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	if _, err := db.Exec(`CREATE TABLE notes (note TEXT PRIMARY KEY)`); err != nil {
		t.Fatal(err)
	}
	return db, func() string {
		var all sql.NullString
		if err := db.QueryRow(`SELECT group_concat(note, ' ' ORDER BY note) FROM notes`).Scan(&all); err != nil {
			t.Fatal(err)
		}
		return all.String
	}
}

func note(text string) func(context.Context, *sql.Tx) error {
	return func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO notes (note) VALUES (?)`, text)
		return err
	}
}

// gather queues jobs, so that they share one commit, and then runs them.
func gather(g *group, jobs ...*job) []error {
	for _, j := range jobs {
		j.done = make(chan error, 1)
		g.jobs <- j
	}
	g.turn <- struct{}{}
	g.run()
	var errs []error
	for _, j := range jobs {
		errs = append(errs, <-j.done)
	}
	return errs
}

func TestATransactionThatFailsTakesNoOtherWithIt(t *testing.T) {
	db, all := notes(t)
	g := newGroup(db)
	wrong := errors.New("wrong")
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	errs := gather(g,
		&job{ctx: t.Context(), run: note("a")},
		&job{ctx: t.Context(), run: func(ctx context.Context, tx *sql.Tx) error {
			if err := note("undone")(ctx, tx); err != nil {
				t.Errorf("write: %v", err)
			}
			return wrong
		}},
		&job{ctx: gone, run: note("gone")},
		&job{ctx: t.Context(), run: note("a")}, // breaks the primary key
		&job{ctx: t.Context(), run: note("b")},
	)
	if errs[0] != nil || errs[1] != wrong || errs[2] != context.Canceled || errs[3] == nil || errs[4] != nil {
		t.Errorf("errors %v", errs)
	}
	if got := all(); got != "a b" {
		t.Errorf("kept %q; want %q", got, "a b")
	}
}

// SQLite rolls a whole transaction back when it runs out of disk, for example.
// What ran before must not be called kept, and what comes after must not
// commit by itself.
func TestATransactionThatIsLostIsLostForAll(t *testing.T) {
	db, all := notes(t)
	g := newGroup(db)
	errs := gather(g,
		&job{ctx: t.Context(), run: note("a")},
		&job{ctx: t.Context(), run: func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, `ROLLBACK`)
			return err
		}},
		&job{ctx: t.Context(), run: note("b")},
	)
	for i, err := range errs {
		if err == nil {
			t.Errorf("transaction %d is said to be kept", i)
		}
	}
	if got := all(); got != "" {
		t.Errorf("kept %q; want nothing", got)
	}
	if err := g.do(t.Context(), note("c")); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if got := all(); got != "c" {
		t.Errorf("kept %q; want %q", got, "c")
	}
}

func TestAPanicLeavesNobodyWaiting(t *testing.T) {
	db, all := notes(t)
	g := newGroup(db)
	bystander := &job{ctx: t.Context(), run: note("a"), done: make(chan error, 1)}
	g.jobs <- bystander
	func() {
		defer func() {
			if recover() == nil {
				t.Error("who panicked does not see it")
			}
		}()
		g.do(t.Context(), func(context.Context, *sql.Tx) error { panic("bug") })
	}()
	if err := <-bystander.done; err == nil {
		t.Error("the bystander's transaction is said to be kept")
	}
	if err := g.do(t.Context(), note("b")); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if got := all(); got != "b" {
		t.Errorf("kept %q; want %q", got, "b")
	}
}

func TestManyWritersAreAllAnswered(t *testing.T) {
	db, _ := notes(t)
	g := newGroup(db)
	var group sync.WaitGroup
	for i := range 2 * crowd {
		group.Go(func() {
			if err := g.do(t.Context(), note(fmt.Sprint(i))); err != nil {
				t.Errorf("write %d: %v", i, err)
			}
		})
	}
	group.Wait()
	var n int
	if err := db.QueryRow(`SELECT COUNT(*) FROM notes`).Scan(&n); err != nil || n != 2*crowd {
		t.Errorf("%d kept, %v; want %d", n, err, 2*crowd)
	}
}

func TestTransactionsThatCollideAreTriedAgain(t *testing.T) {
	db, all := notes(t)
	collision, wrong := errors.New("collision"), errors.New("wrong")
	s := New(Engine{Write: db, Again: func(err error) bool { return err == collision }, Class: func(err error) error { return err }})
	for _, c := range []struct {
		failures, runs int
		failure, want  error
	}{
		{0, 1, collision, nil},
		{3, 4, collision, nil},
		{most, most, collision, collision},
		{1, 1, wrong, wrong},
	} {
		runs := 0
		err := s.write(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
			runs++
			if err := note(fmt.Sprint(c.failures, c.failure))(ctx, tx); err != nil {
				return err
			}
			if runs <= c.failures {
				return c.failure
			}
			return nil
		})
		if err != c.want || runs != c.runs {
			t.Errorf("%d times %v: %v after %d runs; want %v after %d", c.failures, c.failure, err, runs, c.want, c.runs)
		}
	}
	if got := all(); got != "0 collision 3 collision" {
		t.Errorf("kept %q", got)
	}
}
