// Package store keeps what Weir must not forget, in SQL that SQLite and
// PostgreSQL both speak: the ledger with its budget windows, the output log,
// documents, keys, claims of idempotency keys and what replicas share of rates. It implements the Store
// interfaces of accounting/ledger, accounting/lease, accounting/report,
// accounting/outputlog, server/auth, server/admin, server/admit and
// server/idempotency on one database. It knows no engine by name, makes no prices and
// decides no policy; the packages below it open an engine and say what its
// errors mean.
//
// Of the ledger it keeps these promises, and Audit looks them over:
//
//   - What a budget window has spent is the sum of its allocations.
//   - What is leased of a window is the sum of what remains of its leases.
//   - A window is adjusted by the sum of its adjustments.
//   - A lease grows only where spent + leased + growth <= limit + adjusted, and
//     where the window is lenient (a grace, a shadow) the excess is told. Grant,
//     under the lock of the window or its series, is the only guard. No
//     constraint refuses a settlement.
//   - A line is there once, never changes, and has fed its windows once. Where it
//     is dropped for its age, what it fed stays in the sums of its windows, and it
//     cannot be written again.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/weir-gateway/weir/accounting/lease"
	"github.com/weir-gateway/weir/accounting/ledger"
	"github.com/weir-gateway/weir/accounting/report"
	"github.com/weir-gateway/weir/server/admin"
	"github.com/weir-gateway/weir/server/admit"
	"github.com/weir-gateway/weir/server/auth"
	"github.com/weir-gateway/weir/server/idempotency"
)

// ErrUnavailable is the class of errors of a database that cannot be asked
// now: it is away, starting, full or overloaded. Whether a transaction that
// ended so was kept is unknown. Trying again later may help.
var ErrUnavailable = errors.New("the store is not available")

// ErrInUse says that another Weir has the data directory.
var ErrInUse = errors.New("the data directory is in use")

// An Engine is a database as the engine's package opened it, migrated.
type Engine struct {
	// Name is for messages.
	Name string
	// Write is for transactions that change something, Read for the others.
	// They may be the same.
	Write, Read *sql.DB
	// Grouped lets writes that wait for each other share one commit, for an
	// engine with one writer whose commits are dear.
	Grouped bool
	// Arrays says that the engine unnests arrays, so that one request can carry
	// many rows. Without them each row is a statement, as befits an engine in
	// this process.
	Arrays bool
	// Copy puts rows, of which the values follow each other, into columns of a table,
	// in the transaction of a connection, for less than a statement costs. Where one
	// is there already it fails, which Conflict tells. Both are nil where the engine
	// has no such way.
	Copy     func(ctx context.Context, conn *sql.Conn, table string, columns []string, values []any) error
	Conflict func(error) bool
	// Snapshot is the isolation at which several reads see one state.
	Snapshot sql.IsolationLevel
	// Clock is an expression for the database's time in microseconds of Unix time,
	// empty where the database is this process's alone.
	Clock string
	// ItemSum is an expression for the sum of the amounts of a line's items, in the
	// column items, NULL where there are none.
	ItemSum string
	// Collate is appended to texts so that they sort by their bytes.
	Collate string
	// MakeDays makes room for the lines of the days around now, and DropDays drops
	// those of whole days from before a time, each archived in the transaction that
	// drops it. Both are nil where the engine does not keep lines by the day.
	MakeDays func(ctx context.Context, now time.Time) error
	DropDays func(ctx context.Context, before time.Time, archive Archive) error
	// Again tells whether a transaction that failed so may just run again.
	Again func(error) bool
	// Class returns the error with its class: ErrUnavailable,
	// accounting.ErrOverflow, or none.
	Class func(error) error
	// Close gives everything back.
	Close func() error
}

// Store keeps everything in one database. It is safe for concurrent use.
type Store struct {
	engine Engine
	group  *group
}

var (
	_ ledger.Store     = (*Store)(nil)
	_ ledger.NoteStore = (*Store)(nil)
	_ lease.Store      = (*Store)(nil)
	_ report.Store     = (*Store)(nil)
	_ auth.Store       = (*Store)(nil)
	_ admin.Store      = (*Store)(nil)
	_ admit.Store      = (*Store)(nil)

	_ idempotency.Store = (*Store)(nil)
)

// New returns a store on an engine, which it owns from then on.
func New(e Engine) *Store {
	s := &Store{engine: e}
	if e.Grouped {
		s.group = newGroup(e.Write)
	}
	return s
}

// Shutdown waits for running transactions and gives the database back.
func (s *Store) Shutdown() error { return s.engine.Close() }

// Ping asks the database for a sign of life.
func (s *Store) Ping(ctx context.Context) error {
	_, err := s.Revision(ctx)
	return err
}

// most is how often a transaction is tried that others got in the way of.
const most = 10

// write runs f in a transaction, which is kept where f returns nil. It may run
// f several times, so f sets what it returns anew each time.
func (s *Store) write(ctx context.Context, f func(context.Context, *sql.Tx) error) error {
	if s.group != nil {
		return s.engine.Class(s.group.do(ctx, f))
	}
	for try := 1; ; try++ {
		err := transact(ctx, s.engine.Write, nil, f)
		if err == nil || try == most || !s.engine.Again(err) {
			return s.engine.Class(err)
		}
		// Those who collided must not collide again.
		pause := time.NewTimer(rand.N(time.Millisecond << try))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return ctx.Err()
		}
	}
}

// read runs f on one state of the database.
func (s *Store) read(ctx context.Context, f func(context.Context, *sql.Tx) error) error {
	return s.engine.Class(transact(ctx, s.engine.Read, &sql.TxOptions{ReadOnly: true, Isolation: s.engine.Snapshot}, f))
}

// beginner is a database or one connection to it.
type beginner interface {
	BeginTx(context.Context, *sql.TxOptions) (*sql.Tx, error)
}

func transact(ctx context.Context, db beginner, o *sql.TxOptions, f func(context.Context, *sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, o)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after Commit
	if err := f(ctx, tx); err != nil {
		return err
	}
	return tx.Commit()
}

// exec runs a statement and returns how many rows it touched.
func exec(ctx context.Context, tx *sql.Tx, query string, args ...any) (int64, error) {
	r, err := tx.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// rows calls scan for each row of a query.
func rows(ctx context.Context, tx *sql.Tx, query string, args []any, scan func(*sql.Rows) error) error {
	r, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer r.Close()
	for r.Next() {
		if err := scan(r); err != nil {
			return err
		}
	}
	return r.Err()
}

// Times are kept as microseconds, and the zero time as none.

func micros(t time.Time) int64 { return t.UnixMicro() }

func timeOf(micros int64) time.Time { return time.UnixMicro(micros).UTC() }

func nullMicros(t time.Time) sql.NullInt64 {
	if t.IsZero() {
		return sql.NullInt64{}
	}
	return sql.NullInt64{Int64: micros(t), Valid: true}
}

func nullTime(n sql.NullInt64) time.Time {
	if !n.Valid {
		return time.Time{}
	}
	return timeOf(n.Int64)
}

// now is the time by which leases end.
func (s *Store) now(ctx context.Context, tx *sql.Tx) (time.Time, error) {
	if s.engine.Clock == "" {
		return time.Now(), nil
	}
	var at int64
	err := tx.QueryRowContext(ctx, `SELECT `+s.engine.Clock).Scan(&at)
	return timeOf(at), err
}

// Revision implements admin.Store.
func (s *Store) Revision(ctx context.Context) (int64, error) {
	var n int64
	err := s.engine.Read.QueryRowContext(ctx, `SELECT value FROM revision WHERE id = 1`).Scan(&n)
	if err != nil {
		return 0, s.engine.Class(fmt.Errorf("read the revision: %w", err))
	}
	return n, nil
}

// bump takes the lock on the revision, so that changes of documents and keys
// come one after the other, and returns the new one.
func bump(ctx context.Context, tx *sql.Tx) (int64, error) {
	var n int64
	err := tx.QueryRowContext(ctx, `UPDATE revision SET value = value + 1 WHERE id = 1 RETURNING value`).Scan(&n)
	return n, err
}
