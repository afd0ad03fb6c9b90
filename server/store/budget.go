package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/lease"
)

// ErrAdjusted says that an adjustment's id stands for another one.
var ErrAdjusted = errors.New("the id stands for another adjustment already: choose another")

// mostAdjusted bounds what the adjustments of a window sum to, so that no sum
// with them can overflow: about 1.1 billion units of money.
const mostAdjusted = 1 << 60

// Adjust keeps an adjustment and moves the room of its window, in one
// transaction. Where its id is there already, with the same amount and scope,
// it changes nothing and returns what is there; else it fails with
// ErrAdjusted.
func (s *Store) Adjust(ctx context.Context, a accounting.Adjustment) (accounting.Adjustment, error) {
	var kept accounting.Adjustment
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		w := a.Window
		n, err := exec(ctx, tx, `INSERT INTO adjustments (tenant, budget, id, window_id, scope, unit, amount, reason, key_name, made)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING`,
			w.Tenant, w.Budget, a.ID, w.ID, w.Scope, string(w.Unit), a.Amount, a.Reason, a.Key, micros(a.Made))
		if err != nil {
			return err
		}
		list, err := adjustments(ctx, tx, `WHERE tenant = $1 AND budget = $2 AND id = $3`, w.Tenant, w.Budget, a.ID)
		if err != nil {
			return err
		}
		if kept = list[0]; n == 0 {
			if kept.Amount != a.Amount || kept.Window.Scope != w.Scope || kept.Window.Unit != w.Unit {
				return ErrAdjusted
			}
			return nil
		}
		if _, err := insertWindow(ctx, tx, w); err != nil {
			return err
		}
		// Locked, so that the sum cannot change between the look and the change.
		if _, err := exec(ctx, tx, `UPDATE windows SET adjusted = adjusted WHERE id = $1`, w.ID); err != nil {
			return err
		}
		var before int64
		if err := tx.QueryRowContext(ctx, `SELECT adjusted FROM windows WHERE id = $1`, w.ID).Scan(&before); err != nil {
			return err
		}
		if sum, fits := accounting.AddInt64(before, a.Amount); !fits || sum > mostAdjusted || sum < -mostAdjusted {
			return fmt.Errorf("adjustments of window %s: %w", w.ID, accounting.ErrOverflow)
		}
		_, err = exec(ctx, tx, `UPDATE windows SET adjusted = adjusted + $1 WHERE id = $2`, a.Amount, w.ID)
		return err
	})
	return kept, err
}

// Adjustments returns a budget's adjustments, newest first, and up to limit of
// them. Of their windows they have id, budget, tenant, scope and unit.
func (s *Store) Adjustments(ctx context.Context, tenant, budget string, limit int) ([]accounting.Adjustment, error) {
	var list []accounting.Adjustment
	err := s.read(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		list, err = adjustments(ctx, tx, `WHERE tenant = $1 AND budget = $2 ORDER BY made DESC, id LIMIT $3`, tenant, budget, limit)
		return err
	})
	return list, err
}

func adjustments(ctx context.Context, tx *sql.Tx, where string, args ...any) ([]accounting.Adjustment, error) {
	var list []accounting.Adjustment
	err := rows(ctx, tx, `SELECT tenant, budget, id, window_id, scope, unit, amount, reason, key_name, made FROM adjustments `+where, args, func(r *sql.Rows) error {
		var a accounting.Adjustment
		var made int64
		w := &a.Window
		err := r.Scan(&w.Tenant, &w.Budget, &a.ID, &w.ID, &w.Scope, &w.Unit, &a.Amount, &a.Reason, &a.Key, &made)
		a.Made = timeOf(made)
		list = append(list, a)
		return err
	})
	return list, err
}

// Standings returns how the windows of a listing stand, those of which most is
// taken first, and up to limit of them. Windows that nothing ever befell are
// not kept.
func (s *Store) Standings(ctx context.Context, l lease.Listing, limit int) ([]lease.Standing, error) {
	b := l.Budget
	if b.Per == lease.PerCall {
		return nil, nil
	}
	from, to := l.Scope, l.Scope+"\x01" // no scope holds a control character
	if l.Many {
		to = l.Scope[:len(l.Scope)-1] + "0" // what sorts behind the slash
	}
	args := []any{b.Tenant, b.Name, string(b.Unit), from, to, limit}
	where := `starts IS NULL AND series = ''`
	switch {
	case l.Bucket > 0:
		where = `starts >= $7 AND ends - starts = $8 AND series <> ''`
		args = append(args, micros(l.Start), l.Bucket.Microseconds())
	case !l.Start.IsZero():
		where = `starts = $7 AND ends = $8 AND series = ''`
		args = append(args, micros(l.Start), micros(l.End))
	}
	var list []lease.Standing
	err := s.read(ctx, func(ctx context.Context, tx *sql.Tx) error {
		list = nil
		return rows(ctx, tx, `SELECT scope, SUM(adjusted), SUM(spent), SUM(leased), SUM(overrun), SUM(refused), SUM(exceeded) FROM windows
			WHERE tenant = $1 AND budget = $2 AND unit = $3 AND scope >= $4 AND scope < $5 AND `+where+`
			GROUP BY scope ORDER BY SUM(spent) + SUM(leased) DESC, scope LIMIT $6`, args, func(r *sql.Rows) error {
			var sums [6]sum
			one := lease.Standing{Start: l.Start, End: l.End, Rolls: l.Bucket > 0, Limit: b.Limit}
			err := r.Scan(&one.Scope, &sums[0], &sums[1], &sums[2], &sums[3], &sums[4], &sums[5])
			one.Adjusted, one.Spent, one.Held = sums[0].n, sums[1].n, sums[2].n
			one.Overrun, one.Refused, one.Exceeded = sums[3].n, sums[4].n, sums[5].n
			list = append(list, one)
			return err
		})
	})
	return list, err
}
