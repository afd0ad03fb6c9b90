package store

import (
	"context"
	"database/sql"
	"fmt"
	"math"

	"github.com/weir-gateway/weir/accounting"
)

// room is what the claims of a window are measured against.
type room struct{ spent, leased, adjusted int64 }

// taken is what is spent and leased together, and whether that is a number.
func (r room) taken() (int64, bool) { return accounting.AddInt64(r.spent, r.leased) }

// limit is what may be taken where a budget's limit is so.
func (r room) limit(base int64) int64 {
	if n, fits := accounting.AddInt64(base, r.adjusted); fits {
		return n
	}
	return math.MaxInt64 // a limit is not negative, so only upwards
}

// fits tells whether there is room for an amount under a budget's limit.
func (r room) fits(amount, base int64) bool {
	taken, ok := r.taken()
	if !ok {
		return false
	}
	sum, ok := accounting.AddInt64(taken, amount)
	return ok && sum <= r.limit(base)
}

// readRoom reads a window's room, or what the buckets of its series share, all
// but one.
func readRoom(ctx context.Context, tx *sql.Tx, w accounting.Window, without string) (room, error) {
	where, args := `id = $1`, []any{w.ID}
	if w.Series != "" {
		where, args = `series = $1 AND starts >= $2 AND id <> $3`, []any{w.Series, micros(w.Since), without}
	}
	var spent, leased, adjusted sum
	err := tx.QueryRowContext(ctx, `SELECT SUM(spent), SUM(leased), SUM(adjusted) FROM windows WHERE `+where, args...).Scan(&spent, &leased, &adjusted)
	return room{spent.n, leased.n, adjusted.n}, err
}

// lockSeries makes transactions on one series come one after the other, so that
// what its buckets sum to does not change meanwhile. Of a series all later
// buckets count too: a replica whose clock is behind must see what one whose
// clock is ahead has been granted. Series are locked where their buckets are in
// the order of windows' ids, which keeps that order free of circles.
func lockSeries(ctx context.Context, tx *sql.Tx, series string) error {
	if _, err := exec(ctx, tx, `INSERT INTO series (id) VALUES ($1) ON CONFLICT DO NOTHING`, series); err != nil {
		return err
	}
	_, err := exec(ctx, tx, `UPDATE series SET id = id WHERE id = $1`, series)
	return err
}

// others are what the other buckets of a rolling window take of the room that a
// bucket shares with them, less their adjustments.
func others(ctx context.Context, tx *sql.Tx, w accounting.Window) (int64, error) {
	r, err := readRoom(ctx, tx, w, w.ID)
	if err != nil {
		return 0, err
	}
	taken, counts := r.taken()
	net, fits := accounting.AddInt64(taken, -r.adjusted)
	if !counts || !fits {
		return 0, fmt.Errorf("series %s: %w", w.Series, accounting.ErrOverflow)
	}
	return net, nil
}
