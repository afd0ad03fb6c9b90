package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/weir-gateway/weir/accounting"
)

const windowColumns = `id, budget, tenant, scope, unit, starts, ends, limit_amount, series, adjusted, spent, leased, overrun`

func scanWindow(r interface{ Scan(...any) error }) (w accounting.WindowState, err error) {
	var starts, ends sql.NullInt64
	err = r.Scan(&w.ID, &w.Budget, &w.Tenant, &w.Scope, &w.Unit, &starts, &ends, &w.Limit, &w.Series, &w.Adjusted, &w.Spent, &w.Leased, &w.Overrun)
	w.Start, w.End = nullTime(starts), nullTime(ends)
	return w, err
}

func windowOf(ctx context.Context, tx *sql.Tx, id string) (accounting.Window, error) {
	w, err := scanWindow(tx.QueryRowContext(ctx, `SELECT `+windowColumns+` FROM windows WHERE id = $1`, id))
	return w.Window, err
}

// Window returns a window as it stands, and false where nothing was ever
// leased of it.
func (s *Store) Window(ctx context.Context, id string) (accounting.WindowState, bool, error) {
	list, err := s.windows(ctx, `WHERE id = $1`, id)
	if err != nil || len(list) == 0 {
		return accounting.WindowState{}, false, err
	}
	return list[0], true, nil
}

// Windows returns a tenant's windows that a time lies in, sorted by id, and up
// to limit of them. Windows of which nothing was ever leased are not kept.
func (s *Store) Windows(ctx context.Context, tenant string, at time.Time, limit int) ([]accounting.WindowState, error) {
	return s.windows(ctx, `WHERE tenant = $1 AND (starts IS NULL OR starts <= $2) AND (ends IS NULL OR ends > $2) ORDER BY id LIMIT $3`, tenant, micros(at), limit)
}

func (s *Store) windows(ctx context.Context, where string, args ...any) ([]accounting.WindowState, error) {
	var list []accounting.WindowState
	err := s.read(ctx, func(ctx context.Context, tx *sql.Tx) error {
		list = nil
		return rows(ctx, tx, `SELECT `+windowColumns+` FROM windows `+where, args, func(r *sql.Rows) error {
			w, err := scanWindow(r)
			list = append(list, w)
			return err
		})
	})
	return list, err
}

// Audit recomputes what windows and leases say from what they stand on, and
// returns a sentence for each that is off.
func (s *Store) Audit(ctx context.Context) ([]string, error) {
	var off []string
	err := s.read(ctx, func(ctx context.Context, tx *sql.Tx) error {
		off = nil
		const leases = `SELECT replica, incarnation, number, granted - returned - settled FROM leases WHERE granted < returned + settled`
		if err := rows(ctx, tx, leases, nil, func(r *sql.Rows) error {
			var l leaseRow
			var rest int64
			err := r.Scan(&l.id.Replica, &l.id.Incarnation, &l.id.Number, &rest)
			off = append(off, fmt.Sprintf("lease %s has a remainder of %d", l.id, rest))
			return err
		}); err != nil {
			return err
		}
		const adjustments = `SELECT w.id, w.adjusted, COALESCE(a.amount, 0) FROM windows w
			LEFT JOIN (SELECT window_id, SUM(amount) AS amount FROM adjustments GROUP BY window_id) a ON a.window_id = w.id
			WHERE w.adjusted <> COALESCE(a.amount, 0) ORDER BY w.id`
		if err := rows(ctx, tx, adjustments, nil, func(r *sql.Rows) error {
			var w accounting.WindowState
			var adjusted sum
			err := r.Scan(&w.ID, &w.Adjusted, &adjusted)
			off = append(off, fmt.Sprintf("window %s is adjusted by %d, and its adjustments sum to %d", w.ID, w.Adjusted, adjusted.n))
			return err
		}); err != nil {
			return err
		}
		windows := `WITH fed (request_id, window_id, amount) AS (` + fed("lines") + `
				UNION ALL SELECT '', window_id, amount FROM archived)
			SELECT w.id, w.spent, w.leased, COALESCE(a.amount, 0), COALESCE(l.remainder, 0) FROM windows w
			LEFT JOIN (SELECT window_id, SUM(amount) AS amount FROM fed GROUP BY window_id) a ON a.window_id = w.id
			LEFT JOIN (SELECT window_id, SUM(granted - returned - settled) AS remainder FROM leases GROUP BY window_id) l ON l.window_id = w.id
			WHERE w.spent <> COALESCE(a.amount, 0) OR w.leased <> COALESCE(l.remainder, 0) ORDER BY w.id`
		return rows(ctx, tx, windows, nil, func(r *sql.Rows) error {
			var w accounting.WindowState
			var allocated, remainder sum
			if err := r.Scan(&w.ID, &w.Spent, &w.Leased, &allocated, &remainder); err != nil {
				return err
			}
			if w.Spent != allocated.n {
				off = append(off, fmt.Sprintf("window %s has spent %d, and its allocations sum to %d", w.ID, w.Spent, allocated.n))
			}
			if w.Leased != remainder.n {
				off = append(off, fmt.Sprintf("window %s has leased %d, and the remainders of its leases sum to %d", w.ID, w.Leased, remainder.n))
			}
			return nil
		})
	})
	return off, err
}
