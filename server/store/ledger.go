package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/ledger"
)

// ErrDuplicate says that an attempt was opened or ended before.
var ErrDuplicate = errors.New("the attempt is in the ledger already; a new try takes a new number")

// Open implements ledger.Store.
func (s *Store) Open(ctx context.Context, open ledger.Open) ([]accounting.Excess, error) {
	a := open.Attempt
	if err := checkAttempt(a); err != nil {
		return nil, err
	}
	if err := open.Bound.Check(); err != nil {
		return nil, fmt.Errorf("bound of call %s: %w", a.RequestID, err)
	}
	body, err := json.Marshal(bodyOf(open))
	if err != nil {
		return nil, err
	}
	var excesses []accounting.Excess
	claims := slices.Clone(open.Claims)
	slices.SortFunc(claims, func(a, b accounting.Claim) int { return compare(a.Window.ID, b.Window.ID) })
	err = s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		excesses = nil
		n, err := exec(ctx, tx, `INSERT INTO opens (request_id, attempt, deadline, body) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
			a.RequestID, a.Number, micros(a.Deadline), string(body))
		if err != nil {
			return err
		}
		// Asked after the insert, which has waited for whoever is ending the
		// same attempt.
		var ended int
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM lines WHERE request_id = $1 AND attempt = $2`, a.RequestID, a.Number).Scan(&ended); err != nil {
			return err
		}
		if n == 0 || ended > 0 {
			return fmt.Errorf("call %s, attempt %d: %w", a.RequestID, a.Number, ErrDuplicate)
		}
		for _, c := range claims {
			excess, err := hold(ctx, tx, c)
			if err != nil {
				return err
			}
			if excess != nil {
				excesses = append(excesses, *excess)
			}
		}
		return nil
	})
	return excesses, err
}

// hold claims room in one window, or fails with *accounting.ExhaustedError. It
// tells where it was granted in excess of the limit.
func hold(ctx context.Context, tx *sql.Tx, c accounting.Claim) (*accounting.Excess, error) {
	if c.Amount < 0 || c.Window.Limit < 0 { // below, their difference cannot overflow
		return nil, fmt.Errorf("claim on window %s is negative: %d of %d", c.Window.ID, c.Amount, c.Window.Limit)
	}
	w := c.Window
	if w.Series != "" || w.Grace > 0 || w.Shadow {
		return holdLocked(ctx, tx, c)
	}
	refusal := &accounting.ExhaustedError{Claim: c}
	for {
		// The only guard. The limit is the claim's: the newest that its replica
		// knows of.
		n, err := exec(ctx, tx, `UPDATE windows SET held = held + $1, limit_amount = $2 WHERE id = $3 AND spent + held - adjusted <= $4`,
			c.Amount, w.Limit, w.ID, w.Limit-c.Amount)
		if err != nil || n == 1 {
			return nil, err
		}
		err = tx.QueryRowContext(ctx, `SELECT spent, held, adjusted FROM windows WHERE id = $1`, w.ID).Scan(&refusal.Spent, &refusal.Held, &refusal.Adjusted)
		missing := errors.Is(err, sql.ErrNoRows)
		if err != nil && !missing {
			return nil, err
		}
		// Others go on meanwhile where the engine lets them, so what was read
		// may be newer than what was refused. A refusal must be true of the
		// numbers it gives: while they show room, try again, now with the
		// window made or locked.
		r := room{refusal.Spent, refusal.Held, refusal.Adjusted}
		switch {
		case !r.fits(c.Amount, w.Limit):
			return nil, refusal
		case missing:
			_, err = insertWindow(ctx, tx, w)
		default:
			_, err = exec(ctx, tx, `UPDATE windows SET held = held WHERE id = $1`, w.ID)
		}
		if err != nil {
			return nil, err
		}
	}
}

func insertWindow(ctx context.Context, tx *sql.Tx, w accounting.Window) (int64, error) {
	return exec(ctx, tx, `INSERT INTO windows (id, budget, tenant, scope, unit, starts, ends, limit_amount, series) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING`,
		w.ID, w.Budget, w.Tenant, w.Scope, string(w.Unit), nullMicros(w.Start), nullMicros(w.End), w.Limit, w.Series)
}

// Close implements ledger.Store. What it frees are the claims that the open
// record keeps, not those that the caller remembers.
func (s *Store) Close(ctx context.Context, closing ledger.Closing) (wrote bool, err error) {
	if err := checkAttempt(closing.Line.Attempt); err != nil {
		return false, err
	}
	err = s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		wrote = false
		changes := map[string]*change{}
		at := func(window string) *change {
			if changes[window] == nil {
				changes[window] = &change{}
			}
			return changes[window]
		}
		claims, err := endOpen(ctx, tx, closing.Line)
		if err != nil {
			return err
		}
		for _, c := range claims {
			at(c.Window.ID).freed = c.Amount
		}
		n, err := insertLine(ctx, tx, closing.Line)
		if err != nil {
			return err
		}
		if n == 1 {
			wrote = true
			for _, a := range closing.Allocations {
				at(a.Window).fed = a.Amount
			}
		}
		claims = append(claims, closing.Claims...)
		// In one order, as Open does, so that two never wait for each other.
		for _, id := range slices.Sorted(maps.Keys(changes)) {
			if err := changes[id].apply(ctx, tx, id, claims); err != nil {
				return err
			}
		}
		if !wrote {
			return nil
		}
		for _, a := range closing.Allocations {
			if _, err := exec(ctx, tx, `INSERT INTO allocations (request_id, attempt, line, window_id, unit, amount) VALUES ($1, $2, $3, $4, $5, $6)`,
				closing.Line.RequestID, closing.Line.Attempt.Number, closing.Line.Number, a.Window, string(a.Unit), a.Amount); err != nil {
				return err
			}
		}
		return nil
	})
	return wrote && err == nil, err
}

// endOpen removes an attempt's open record, if it is there, and returns the
// claims that end with it. A correction ends nothing.
func endOpen(ctx context.Context, tx *sql.Tx, line accounting.Line) ([]accounting.Claim, error) {
	if line.Number != 0 {
		return nil, nil
	}
	var body string
	err := tx.QueryRowContext(ctx, `DELETE FROM opens WHERE request_id = $1 AND attempt = $2 RETURNING body`, line.RequestID, line.Attempt.Number).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	open, err := readBody(body)
	return open.Claims, err
}

// A change is what the end of an attempt does to one window.
type change struct{ freed, fed int64 }

// apply never refuses: what was used was used. Overrun grows by what the use
// exceeds its claim by, as far as that lies past the limit.
func (c *change) apply(ctx context.Context, tx *sql.Tx, id string, claims []accounting.Claim) error {
	growth, ok := accounting.AddInt64(c.fed, -c.freed)
	if !ok {
		return fmt.Errorf("window %s: %w", id, accounting.ErrOverflow)
	}
	beside, err := takenBeside(ctx, tx, id, growth, claims)
	if err != nil {
		return err
	}
	past, ok := accounting.AddInt64(growth, beside)
	if !ok {
		return fmt.Errorf("window %s: %w", id, accounting.ErrOverflow)
	}
	for range 2 {
		n, err := exec(ctx, tx, `UPDATE windows SET
				spent = spent + $1,
				held = held - $2,
				overrun = overrun + CASE
					WHEN spent + held + $3 - adjusted <= limit_amount THEN 0
					WHEN spent + held + $3 - adjusted - limit_amount < $4 THEN spent + held + $3 - adjusted - limit_amount
					ELSE $4 END
			WHERE id = $5`, c.fed, c.freed, past, max(growth, 0), id)
		if err != nil {
			return fmt.Errorf("window %s: %w", id, err)
		}
		if n == 1 {
			return nil
		}
		// An attempt that no open record was kept of brings its windows along.
		i := slices.IndexFunc(claims, func(c accounting.Claim) bool { return c.Window.ID == id })
		if i < 0 {
			break
		}
		if _, err := insertWindow(ctx, tx, claims[i].Window); err != nil {
			return err
		}
	}
	return fmt.Errorf("the line feeds window %s, which no claim names", id)
}

// Abandoned implements ledger.Store.
func (s *Store) Abandoned(ctx context.Context, before time.Time, limit int) ([]ledger.Open, error) {
	var opens []ledger.Open
	err := s.read(ctx, func(ctx context.Context, tx *sql.Tx) error {
		opens = nil
		return rows(ctx, tx, `SELECT body FROM opens WHERE deadline < $1 ORDER BY deadline, request_id, attempt LIMIT $2`, []any{micros(before), limit}, func(r *sql.Rows) error {
			var body string
			if err := r.Scan(&body); err != nil {
				return err
			}
			open, err := readBody(body)
			opens = append(opens, open)
			return err
		})
	})
	return opens, err
}

const windowColumns = `id, budget, tenant, scope, unit, starts, ends, limit_amount, series, adjusted, spent, held, overrun`

// Window returns a window as it stands, and false where nothing was ever
// claimed in it.
func (s *Store) Window(ctx context.Context, id string) (accounting.WindowState, bool, error) {
	list, err := s.windows(ctx, `WHERE id = $1`, id)
	if err != nil || len(list) == 0 {
		return accounting.WindowState{}, false, err
	}
	return list[0], true, nil
}

// Windows returns a tenant's windows that a time lies in, sorted by id, and up
// to limit of them. Windows in which nothing was ever claimed are not kept.
func (s *Store) Windows(ctx context.Context, tenant string, at time.Time, limit int) ([]accounting.WindowState, error) {
	return s.windows(ctx, `WHERE tenant = $1 AND (starts IS NULL OR starts <= $2) AND (ends IS NULL OR ends > $2) ORDER BY id LIMIT $3`, tenant, micros(at), limit)
}

func (s *Store) windows(ctx context.Context, where string, args ...any) ([]accounting.WindowState, error) {
	var list []accounting.WindowState
	err := s.read(ctx, func(ctx context.Context, tx *sql.Tx) error {
		list = nil
		return rows(ctx, tx, `SELECT `+windowColumns+` FROM windows `+where, args, func(r *sql.Rows) error {
			var w accounting.WindowState
			var starts, ends sql.NullInt64
			err := r.Scan(&w.ID, &w.Budget, &w.Tenant, &w.Scope, &w.Unit, &starts, &ends, &w.Limit, &w.Series, &w.Adjusted, &w.Spent, &w.Held, &w.Overrun)
			w.Start, w.End = nullTime(starts), nullTime(ends)
			list = append(list, w)
			return err
		})
	})
	return list, err
}

// Audit recomputes what the windows say from the lines and the open attempts,
// and returns a sentence for each that is off.
func (s *Store) Audit(ctx context.Context) ([]string, error) {
	var off []string
	err := s.read(ctx, func(ctx context.Context, tx *sql.Tx) error {
		off = nil
		held := map[string]int64{}
		err := rows(ctx, tx, `SELECT body FROM opens`, nil, func(r *sql.Rows) error {
			var body string
			if err := r.Scan(&body); err != nil {
				return err
			}
			open, err := readBody(body)
			for _, c := range open.Claims {
				held[c.Window.ID] += c.Amount
			}
			return err
		})
		if err != nil {
			return err
		}
		const sums = `SELECT w.id, w.adjusted, SUM(a.amount) FROM windows w LEFT JOIN adjustments a ON a.window_id = w.id GROUP BY w.id, w.adjusted ORDER BY w.id`
		err = rows(ctx, tx, sums, nil, func(r *sql.Rows) error {
			var w accounting.WindowState
			var adjusted sum
			if err := r.Scan(&w.ID, &w.Adjusted, &adjusted); err != nil {
				return err
			}
			if w.Adjusted != adjusted.n {
				off = append(off, fmt.Sprintf("window %s is adjusted by %d, and its adjustments sum to %d", w.ID, w.Adjusted, adjusted.n))
			}
			return nil
		})
		if err != nil {
			return err
		}
		const query = `SELECT w.id, w.spent, w.held, w.overrun, SUM(a.amount) FROM windows w LEFT JOIN allocations a ON a.window_id = w.id
			GROUP BY w.id, w.spent, w.held, w.overrun ORDER BY w.id`
		return rows(ctx, tx, query, nil, func(r *sql.Rows) error {
			var w accounting.WindowState
			var allocated sum
			if err := r.Scan(&w.ID, &w.Spent, &w.Held, &w.Overrun, &allocated); err != nil {
				return err
			}
			if w.Spent != allocated.n {
				off = append(off, fmt.Sprintf("window %s has spent %d, and its allocations sum to %d", w.ID, w.Spent, allocated.n))
			}
			if w.Held != held[w.ID] {
				off = append(off, fmt.Sprintf("window %s holds %d, and its open attempts claim %d", w.ID, w.Held, held[w.ID]))
			}
			return nil
		})
	})
	return off, err
}
