package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/weir-gateway/weir/accounting"
)

// holdInSeries claims room in a bucket of a rolling window, or fails with
// *accounting.ExhaustedError. Whoever claims in a series has its lock until the
// transaction ends, so that what the buckets sum to can only fall meanwhile.
// All later buckets count too: a replica whose clock is behind must see what
// one whose clock is ahead has granted.
func holdInSeries(ctx context.Context, tx *sql.Tx, c accounting.Claim) error {
	w := c.Window
	if err := lockSeries(ctx, tx, w.Series); err != nil {
		return err
	}
	spent, held, err := takenInSeries(ctx, tx, w, "")
	if err != nil {
		return err
	}
	if taken, fits := accounting.AddInt64(spent, held); !fits || taken > w.Limit-c.Amount {
		return &accounting.ExhaustedError{Claim: c, Spent: spent, Held: held}
	}
	if _, err := insertWindow(ctx, tx, w); err != nil {
		return err
	}
	_, err = exec(ctx, tx, `UPDATE windows SET held = held + $1, limit_amount = $2 WHERE id = $3`, c.Amount, w.Limit, w.ID)
	return err
}

// lockSeries makes transactions on one series come one after the other. Series
// are locked where their buckets are in the order of windows' ids, which keeps
// that order free of circles.
func lockSeries(ctx context.Context, tx *sql.Tx, series string) error {
	if _, err := exec(ctx, tx, `INSERT INTO series (id) VALUES ($1) ON CONFLICT DO NOTHING`, series); err != nil {
		return err
	}
	_, err := exec(ctx, tx, `UPDATE series SET id = id WHERE id = $1`, series)
	return err
}

// takenInSeries sums the buckets that a bucket shares its room with, but one.
func takenInSeries(ctx context.Context, tx *sql.Tx, w accounting.Window, without string) (int64, int64, error) {
	var spent, held sum
	err := tx.QueryRowContext(ctx, `SELECT SUM(spent), SUM(held) FROM windows WHERE series = $1 AND starts >= $2 AND id <> $3`,
		w.Series, micros(w.Since), without).Scan(&spent, &held)
	return spent.n, held.n, err
}

// takenBeside is what the other buckets take of the room of a window that is
// about to grow past its claim: nothing where it is whole by itself. Where they
// take some it locks the series, so that no two settles take the same room.
func takenBeside(ctx context.Context, tx *sql.Tx, id string, growth int64, claims []accounting.Claim) (int64, error) {
	i := slices.IndexFunc(claims, func(c accounting.Claim) bool { return c.Window.ID == id && c.Window.Series != "" })
	if i < 0 || growth <= 0 {
		return 0, nil
	}
	w := claims[i].Window
	if err := lockSeries(ctx, tx, w.Series); err != nil {
		return 0, err
	}
	spent, held, err := takenInSeries(ctx, tx, w, id)
	if err != nil {
		return 0, err
	}
	taken, fits := accounting.AddInt64(spent, held)
	if !fits {
		return 0, fmt.Errorf("series %s: %w", w.Series, accounting.ErrOverflow)
	}
	return taken, nil
}
