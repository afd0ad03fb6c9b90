package postgres

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/ledger"
	"github.com/weir-gateway/weir/server/auth"
	"github.com/weir-gateway/weir/server/store"
	"github.com/weir-gateway/weir/server/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(storetest.Main(m)) }

func TestContract(t *testing.T) {
	storetest.Run(t, func(t testing.TB) storetest.Opener {
		url := storetest.Postgres(t)
		return func(ctx context.Context) (*store.Store, error) { return Open(ctx, url) }
	})
}

func BenchmarkWrite(b *testing.B) {
	url := storetest.Postgres(b)
	storetest.BenchWrite(b, func(ctx context.Context) (*store.Store, error) { return Open(ctx, url) })
}

func TestWhatAnEarlierWeirAllocatedCounts(t *testing.T) {
	url := storetest.Postgres(t)
	storetest.EarlierAllocations(t, func(ctx context.Context) (*store.Store, error) { return Open(ctx, url) }, "pgx", url)
}

func TestTheVersionBeforeWorksBesideThisOne(t *testing.T) {
	url := storetest.Postgres(t)
	folder, err := fs.Sub(migrations, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	storetest.Previous(t, func(ctx context.Context) (*store.Store, error) { return Open(ctx, url) }, "pgx", url, goose.DialectPostgres, folder, true)
}

func TestTheAuditLogIsAppendOnly(t *testing.T) {
	url := storetest.Postgres(t)
	s, err := Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown()
	if _, err := s.FirstKey(t.Context(), auth.Key{Name: "admin", Role: auth.Platform}); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, change := range []string{`UPDATE audit SET author_key = 'x'`, `DELETE FROM audit`, `TRUNCATE audit`} {
		if _, err := db.Exec(change); err == nil || !strings.Contains(err.Error(), "rows of audit never") {
			t.Errorf("%s: %v", change, err)
		}
	}
}

func TestWhatCannotBeOpenedSaysWhyWithoutThePassword(t *testing.T) {
	good, err := url.Parse(storetest.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	const secret = "Passw0rd-that-nobody-may-see"
	with := func(change func(*url.URL)) string {
		u := *good
		change(&u)
		return u.String()
	}
	s, err := Open(t.Context(), good.String())
	if err != nil {
		t.Fatal(err)
	}
	s.Shutdown()
	db, err := sql.Open("pgx", good.String())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`INSERT INTO migrations (version_id, is_applied) VALUES (9999, TRUE); UPDATE compatibility SET oldest = 9999`); err != nil {
		t.Fatal(err)
	}
	own, _ := good.User.Password()
	for name, c := range map[string]struct {
		url, want   string
		unavailable bool
	}{
		"a newer schema":      {good.String(), "start the newer weir", false},
		"a wrong password":    {with(func(u *url.URL) { u.User = url.UserPassword(u.User.Username(), secret) }), "does not accept the password of user", false},
		"no such database":    {with(func(u *url.URL) { u.Path = "/nowhere" }), `has no database "nowhere": make it with createdb nowhere`, false},
		"an unreachable host": {with(func(u *url.URL) { u.Host = "127.0.0.1:1"; u.User = url.UserPassword("u", secret) }), "PostgreSQL at 127.0.0.1:1 does not answer", true},
		"no URL":              {"postgres://u:" + secret + "@host:port/db", "write it as postgres://USER:PASSWORD@HOST", false},
		"a bad escape":        {"postgres://u:" + secret + "%zz@host/db", "special characters", false},
		"a bad option":        {with(func(u *url.URL) { u.RawQuery = "sslmode=" + secret }), "write it as", false},
	} {
		s, err := Open(t.Context(), c.url)
		if err == nil {
			s.Shutdown()
			t.Errorf("%s: opened", name)
			continue
		}
		if !strings.Contains(err.Error(), c.want) || errors.Is(err, store.ErrUnavailable) != c.unavailable {
			t.Errorf("%s: %v; want %q in it, unavailable: %t", name, err, c.want, c.unavailable)
		}
		if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), own) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: the error holds a password or several lines: %q", name, err)
		}
	}
}

func TestOneProcessMigratesAtATime(t *testing.T) {
	url := storetest.Postgres(t)
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	other, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := lockSchema(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	opened := make(chan error, 1)
	go func() {
		s, err := Open(t.Context(), url)
		if err == nil {
			s.Shutdown()
		}
		opened <- err
	}()
	for waits := 0; waits == 0; {
		if err := db.QueryRow(`SELECT COUNT(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
			AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`).Scan(&waits); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-opened:
			t.Fatalf("opened while another migrates: %v", err)
		default:
		}
	}
	var tables int
	if err := db.QueryRow(`SELECT COUNT(*) FROM pg_tables WHERE schemaname = 'public'`).Scan(&tables); err != nil || tables != 0 {
		t.Errorf("%d tables, %v, while another migrates", tables, err)
	}
	if err := unlockSchema(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if err := <-opened; err != nil {
		t.Errorf("opened after another has migrated: %v", err)
	}
}

// A wire passes bytes on to a server until it is cut.
type wire struct {
	listener net.Listener
	to       string

	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

func (w *wire) run() {
	for {
		in, err := w.listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", w.to)
		if err != nil {
			in.Close()
			continue
		}
		w.mu.Lock()
		if w.cut {
			in.Close()
			out.Close()
		}
		w.conns = append(w.conns, in, out)
		w.mu.Unlock()
		go io.Copy(in, out)
		go io.Copy(out, in)
	}
}

func (w *wire) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	if cut {
		for _, c := range w.conns {
			c.Close()
		}
		w.conns = nil
	}
}

func TestALostConnectionIsUnavailableUntilItIsBack(t *testing.T) {
	u, err := url.Parse(storetest.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: listener, to: u.Host}
	go w.run()
	defer listener.Close()
	defer w.set(true)
	u.Host = listener.Addr().String()
	s, err := Open(t.Context(), u.String())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown()

	start := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	attempt := accounting.Attempt{RequestID: "call", Number: 1, Start: start, Deadline: start.Add(time.Minute)}
	line := []ledger.Entry{{Line: accounting.Line{Attempt: attempt, End: start, Outcome: accounting.OutcomeCompleted}}}
	w.set(true)
	var permanent *ledger.RefusedError
	if err := s.Write(t.Context(), line); !errors.Is(err, store.ErrUnavailable) || errors.As(err, &permanent) {
		t.Errorf("write while the database is away: %v", err)
	}
	if err := s.Ping(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("ping while the database is away: %v", err)
	}
	if _, err := s.KeyByHash(t.Context(), [32]byte{}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("find a key while the database is away: %v", err)
	}
	w.set(false)
	if err := s.Write(t.Context(), line); err != nil {
		t.Errorf("write after the database is back: %v", err)
	}
}

func TestADeadlockIsTriedAgain(t *testing.T) {
	u := storetest.Postgres(t)
	db, err := sql.Open("pgx", u)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	begin := func(lock int) *sql.Tx {
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(`SET LOCAL deadlock_timeout = '10ms'`); err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(`SELECT pg_advisory_xact_lock($1)`, lock); err != nil {
			t.Fatal(err)
		}
		return tx
	}
	one, two := begin(1), begin(2)
	errs := make(chan error, 2)
	cross := func(tx *sql.Tx, lock int) {
		_, err := tx.Exec(`SELECT pg_advisory_xact_lock($1)`, lock)
		tx.Rollback()
		errs <- err
	}
	go cross(one, 2)
	go cross(two, 1)
	err = errors.Join(<-errs, <-errs)
	if !again(err) || !errors.Is(class(err), store.ErrUnavailable) {
		t.Errorf("a deadlock is not tried again: %v", err)
	}
	if again(errors.New("other")) || again(nil) {
		t.Error("anything is tried again")
	}
}
