package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/lease"
)

const selectRecord = `SELECT l.replica, l.incarnation, l.number, l.granted, l.returned, l.settled, l.expires, l.state, w.id, w.budget, w.tenant, w.scope, w.unit
	FROM leases l JOIN windows w ON w.id = l.window_id `

func scanRecord(r interface{ Scan(...any) error }) (l lease.Record, err error) {
	var expires int64
	err = r.Scan(&l.ID.Replica, &l.ID.Incarnation, &l.ID.Number, &l.Granted, &l.Returned, &l.Settled, &expires, &l.State,
		&l.Window.ID, &l.Window.Budget, &l.Window.Tenant, &l.Window.Scope, &l.Window.Unit)
	l.Expires = timeOf(expires)
	return l, err
}

// Leases returns the leases that are asked for, those of all windows in one
// order.
func (s *Store) Leases(ctx context.Context, q lease.Query) ([]lease.Record, error) {
	const where = `WHERE (l.state <> 'closed' OR l.granted > l.returned + l.settled) AND ($1 = '' OR w.tenant = $1) AND ($2 = '' OR l.state = $2)
		AND (w.id, l.replica, l.incarnation, l.number) > ($3, $4, $5, $6)
		ORDER BY w.id, l.replica, l.incarnation, l.number LIMIT $7`
	var list []lease.Record
	err := s.read(ctx, func(ctx context.Context, tx *sql.Tx) error {
		list = nil
		args := []any{q.Tenant, string(q.State), q.AfterWindow, q.After.Replica, q.After.Incarnation, q.After.Number, q.Limit}
		return rows(ctx, tx, selectRecord+where, args, func(r *sql.Rows) error {
			l, err := scanRecord(r)
			list = append(list, l)
			return err
		})
	})
	return list, err
}

// Lease returns one lease, whatever its state, and false where it is unknown or
// has no window.
func (s *Store) Lease(ctx context.Context, id lease.ID) (l lease.Record, known bool, err error) {
	err = s.read(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		l, err = scanRecord(tx.QueryRowContext(ctx, selectRecord+`WHERE l.replica = $1 AND l.incarnation = $2 AND l.number = $3`, id.Replica, id.Incarnation, id.Number))
		if known = err == nil; errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return l, known, err
}

// Silences returns the replicas that something is set aside for and whose
// leases have all ended, the longest silent first and up to limit of them.
func (s *Store) Silences(ctx context.Context, limit int) ([]lease.Silence, error) {
	var list []lease.Silence
	err := s.read(ctx, func(ctx context.Context, tx *sql.Tx) error {
		list = nil
		now, err := s.now(ctx, tx)
		if err != nil {
			return err
		}
		return rows(ctx, tx, `SELECT replica, COUNT(CASE WHEN granted > returned + settled THEN 1 END), MAX(expires) FROM leases
			GROUP BY replica HAVING MAX(expires) < $1 AND COUNT(CASE WHEN granted > returned + settled THEN 1 END) > 0
			ORDER BY MAX(expires), replica LIMIT $2`, []any{micros(now), limit}, func(r *sql.Rows) error {
			var one lease.Silence
			var since int64
			err := r.Scan(&one.Replica, &one.Leases, &since)
			one.Since = timeOf(since)
			list = append(list, one)
			return err
		})
	})
	return list, err
}

// Overruns returns the windows that count at a time and of which more was spent
// than their limit allowed, and up to limit of them. A bucket of a rolling
// window counts as long as the window reaches it.
func (s *Store) Overruns(ctx context.Context, at time.Time, limit int) ([]accounting.WindowState, error) {
	return s.windows(ctx, `WHERE overrun > 0 AND (ends IS NULL OR ends + CASE WHEN series = '' THEN 0 ELSE $1 * (ends - starts) END > $2) ORDER BY id LIMIT $3`,
		lease.Buckets, micros(at), limit)
}
