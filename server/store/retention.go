package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// LeastKeep is the shortest time for which the ledger keeps its lines: longer
// than any call, and than a replica that comes back with its spool is away.
const LeastKeep = 7 * Day

// Tend makes room for the lines of the days around now and drops those that are
// older than keep; 0 keeps all. It returns since when the ledger is whole, zero
// where nothing was ever dropped. Every replica may do it, at any time; what one
// is at work on the others leave to it.
//
// What dropped lines have fed of their windows stays, as one sum a window and
// day, so that what a window has spent can still be recomputed.
func (s *Store) Tend(ctx context.Context, keep time.Duration) (since time.Time, err error) {
	if keep != 0 && keep < LeastKeep {
		return since, fmt.Errorf("lines of the ledger cannot be dropped after %s: keep them for %s or longer", keep, LeastKeep)
	}
	var now time.Time
	err = s.read(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if since, err = horizon(ctx, tx); err != nil {
			return err
		}
		now, err = s.now(ctx, tx)
		return err
	})
	if err == nil && s.engine.MakeDays != nil {
		err = s.engine.MakeDays(ctx, now)
	}
	if err == nil && keep > 0 {
		since, err = s.drop(ctx, DayOf(now.Add(-keep)))
	}
	return since, s.engine.Class(err)
}

// drop archives the lines of calls from before a day, or from before the day to
// which others have gone already.
func (s *Store) drop(ctx context.Context, before time.Time) (time.Time, error) {
	// First nobody writes there any more.
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var there int64
		err := tx.QueryRowContext(ctx, `UPDATE horizon SET before = CASE WHEN before > $1 THEN before ELSE $1 END WHERE id = 1 RETURNING before`, micros(before)).Scan(&there)
		before = timeOf(there)
		return err
	})
	if err == nil && s.engine.DropDays != nil {
		err = s.engine.DropDays(ctx, before, archive)
	}
	for more := true; err == nil && more; {
		more, err = s.dropSome(ctx, IDsFrom(before))
	}
	return before, err
}

// batch is how many lines are dropped in one transaction, where they are not
// dropped by the day.
const batch = 2000

// dropSome archives and deletes some lines of ids below a bound, and tells
// whether there are more.
func (s *Store) dropSome(ctx context.Context, below string) (more bool, err error) {
	f := func(ctx context.Context, tx *sql.Tx) error {
		var first, last string
		err := tx.QueryRowContext(ctx, `SELECT COALESCE(MIN(request_id), ''), COALESCE(MAX(request_id), '') FROM
			(SELECT request_id FROM lines WHERE request_id < $1 ORDER BY request_id LIMIT $2) l`, below, batch).Scan(&first, &last)
		if more = first != ""; err != nil || !more {
			return err
		}
		// All lines of a call are of one day, as its id is.
		end := min(below, last+"~")
		made, known := madeAt(first)
		if known {
			end = min(end, IDsFrom(DayOf(made).Add(Day)))
		}
		if err := archive(ctx, tx, "lines", DayOf(made), first, end); err != nil {
			return err
		}
		_, err = exec(ctx, tx, `DELETE FROM lines WHERE request_id >= $1 AND request_id < $2`, first, end)
		return err
	}
	// On one state, so that what is deleted is what was summed up. Where two do it
	// at once, one fails, and there is nothing left to do for it.
	if s.group != nil {
		err = s.write(ctx, f)
		return more, err
	}
	err = transact(ctx, s.engine.Write, &sql.TxOptions{Isolation: s.engine.Snapshot}, f)
	if err != nil && s.engine.Again(err) {
		return false, nil
	}
	return more, err
}

// Archive keeps what the lines of a day have fed of their windows, which are
// those of a table from one id up to another, before they are dropped. Nobody
// may add lines to them meanwhile.
type Archive func(ctx context.Context, tx *sql.Tx, table string, day time.Time, from, to string) error

// archive is an Archive.
func archive(ctx context.Context, tx *sql.Tx, table string, day time.Time, from, to string) error {
	_, err := exec(ctx, tx, `INSERT INTO archived (window_id, day, amount)
		SELECT f.window_id, $1, CAST(SUM(f.amount) AS BIGINT) FROM (`+fed(table)+`) f WHERE f.request_id >= $2 AND f.request_id < $3 GROUP BY f.window_id
		ON CONFLICT (window_id, day) DO UPDATE SET amount = archived.amount + excluded.amount`, micros(day), from, to)
	if err == nil {
		_, err = exec(ctx, tx, `DELETE FROM allocations WHERE request_id >= $1 AND request_id < $2`, from, to)
	}
	return err
}

// fed is a query for what the lines of a table have fed of their windows. That
// of a Weir from before migration 7 stands in a table of its own.
func fed(table string) string {
	return `SELECT l.request_id, e.key AS window_id, CAST(CAST(e.value AS TEXT) AS BIGINT) AS amount FROM ` + table + ` l, json_each(l.allocations) e
		UNION ALL SELECT request_id, window_id, amount FROM allocations`
}
