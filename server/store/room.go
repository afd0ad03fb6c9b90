package store

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"

	"github.com/weir-gateway/weir/accounting"
)

// room is what the claims of a window are measured against.
type room struct{ spent, held, adjusted int64 }

// taken is what is spent and held together, and whether that is a number.
func (r room) taken() (int64, bool) { return accounting.AddInt64(r.spent, r.held) }

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
	var spent, held, adjusted sum
	err := tx.QueryRowContext(ctx, `SELECT SUM(spent), SUM(held), SUM(adjusted) FROM windows WHERE `+where, args...).Scan(&spent, &held, &adjusted)
	return room{spent.n, held.n, adjusted.n}, err
}

// holdLocked claims room where one statement cannot grant it: in a bucket of a
// rolling window, or where a budget grants what it has no room for, and then
// tells of it. It fails with *accounting.ExhaustedError. Whoever claims has the
// lock of the window, or of its series, until the transaction ends, so that
// what is taken can only fall meanwhile. Of a series all later buckets count
// too: a replica whose clock is behind must see what one whose clock is ahead
// has granted.
func holdLocked(ctx context.Context, tx *sql.Tx, c accounting.Claim) (*accounting.Excess, error) {
	w := c.Window
	if w.Series != "" {
		if err := lockSeries(ctx, tx, w.Series); err != nil {
			return nil, err
		}
	}
	if _, err := insertWindow(ctx, tx, w); err != nil {
		return nil, err
	}
	if _, err := exec(ctx, tx, `UPDATE windows SET held = held WHERE id = $1`, w.ID); err != nil {
		return nil, err
	}
	r, err := readRoom(ctx, tx, w, "")
	if err != nil {
		return nil, err
	}
	var excess *accounting.Excess
	if !r.fits(c.Amount, w.Limit) {
		taken, counts := r.taken()
		covered := r.fits(c.Amount, w.Limit+w.Grace)
		if !counts || !covered && !w.Shadow {
			return nil, &accounting.ExhaustedError{Claim: c, Spent: r.spent, Held: r.held, Adjusted: r.adjusted}
		}
		excess = &accounting.Excess{Window: w, Taken: taken, Amount: c.Amount, Shadow: !covered}
	}
	_, err = exec(ctx, tx, `UPDATE windows SET held = held + $1, limit_amount = $2 WHERE id = $3`, c.Amount, w.Limit, w.ID)
	return excess, err
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

// takenBeside is what the other buckets take of the room of a window that is
// about to grow past its claim, less their adjustments: nothing where it is
// whole by itself. Where they
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
	r, err := readRoom(ctx, tx, w, id)
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
