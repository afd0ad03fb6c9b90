package postgres

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"time"

	"github.com/weir-gateway/weir/server/store"
)

// around is how many days before and after today have a partition of their own.
// Lines of all others are in lines_other, and those from before there were
// partitions in lines_before.
const around = 2

// A partition has the lines of the ids from one up to another.
type partition struct{ name, from, to string }

// bounds are those of a partition in PostgreSQL's words. The default one has none.
var bounds = regexp.MustCompile(`FROM \((?:MINVALUE|'([^']*)')\) TO \('([^']*)'\)`)

// partitions returns those of lines, but for the default one.
func partitions(ctx context.Context, tx *sql.Tx) (list []partition, err error) {
	rows, err := tx.QueryContext(ctx, `SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i
		JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'lines'::regclass ORDER BY c.relname`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var p partition
		var text string
		if err := rows.Scan(&p.name, &text); err != nil {
			return nil, err
		}
		if found := bounds.FindStringSubmatch(text); found != nil {
			p.from, p.to = found[1], found[2]
			list = append(list, p)
		}
	}
	return list, rows.Err()
}

// daysLock names the lock under which one replica at a time changes partitions:
// "days".
const daysLock int64 = 0x64617973

// alone runs f in a transaction of whoever changes partitions, once more where
// another got in its way. It waits only a moment for a lock, since whoever comes
// for the table then waits behind it.
func alone(ctx context.Context, db *sql.DB, f func(*sql.Tx) error) error {
	err := aloneOnce(ctx, db, f)
	if err != nil && again(err) {
		err = aloneOnce(ctx, db, f)
	}
	return err
}

func aloneOnce(ctx context.Context, db *sql.DB, f func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after Commit
	if _, err := tx.ExecContext(ctx, `SET LOCAL lock_timeout = '2s'`); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, daysLock); err != nil {
		return err
	}
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// missing returns the partitions that the days around a time have not yet.
func missing(list []partition, now time.Time) (days []partition) {
	for n := -around; n <= around; n++ {
		day := store.DayOf(now).AddDate(0, 0, n)
		p := partition{"lines_" + day.Format("20060102"), store.IDsFrom(day), store.IDsFrom(day.Add(store.Day))}
		covered := false
		for _, there := range list {
			covered = covered || there.from <= p.from && p.to <= there.to
		}
		if !covered {
			days = append(days, p)
		}
	}
	return days
}

// makeDays makes the partitions of the days around a time. Lines of those days
// that came earlier move in.
func makeDays(ctx context.Context, db *sql.DB, now time.Time) error {
	for more := true; more; {
		err := alone(ctx, db, func(tx *sql.Tx) error {
			list, err := partitions(ctx, tx)
			if err != nil {
				return err
			}
			days := missing(list, now)
			if more = len(days) > 1; len(days) == 0 {
				return nil
			}
			return makeDay(ctx, tx, days[0])
		})
		if err != nil {
			return fmt.Errorf("make the partitions of the ledger: %w", err)
		}
	}
	return nil
}

// makeDay makes one. Who writes waits meanwhile: a line that was on its way to
// lines_other could be refused there, and readers of other days go on.
func makeDay(ctx context.Context, tx *sql.Tx, p partition) error {
	for _, statement := range []string{
		`LOCK TABLE lines IN SHARE ROW EXCLUSIVE MODE`,
		fmt.Sprintf(`CREATE TABLE %s (LIKE lines INCLUDING ALL)`, p.name),
		fmt.Sprintf(`WITH moved AS (DELETE FROM lines_other WHERE request_id >= '%s' AND request_id < '%s' RETURNING *) INSERT INTO %s SELECT * FROM moved`, p.from, p.to, p.name),
		fmt.Sprintf(`ALTER TABLE lines ATTACH PARTITION %s FOR VALUES FROM ('%s') TO ('%s')`, p.name, p.from, p.to),
	} {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// dropDays drops the partitions of which every line is from before a time.
func dropDays(ctx context.Context, db *sql.DB, before time.Time, archive store.Archive) error {
	for more := true; more; {
		err := alone(ctx, db, func(tx *sql.Tx) error {
			more = false
			list, err := partitions(ctx, tx)
			if err != nil {
				return err
			}
			for _, p := range list {
				if p.to > store.IDsFrom(before) {
					continue
				}
				more = true
				return dropDay(ctx, tx, p, archive)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("drop old partitions of the ledger: %w", err)
		}
	}
	return nil
}

// dropDay archives and drops a partition. While it is summed up nobody writes to
// it, and all others go on; lines is locked only for the moment of the drop.
func dropDay(ctx context.Context, tx *sql.Tx, p partition, archive store.Archive) error {
	if _, err := tx.ExecContext(ctx, `LOCK TABLE `+p.name+` IN SHARE MODE`); err != nil {
		return err
	}
	if err := archive(ctx, tx, p.name, store.TimeOf(p.to).Add(-store.Day), p.from, p.to); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `DROP TABLE `+p.name)
	return err
}
