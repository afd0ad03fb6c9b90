package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/weir-gateway/weir/accounting/ledger"
	"github.com/weir-gateway/weir/server/admin"
	"github.com/weir-gateway/weir/server/auth"
)

// Bury implements ledger.Store. What is buried already is not once more: a
// process that was killed may not have told its spool.
func (s *Store) Bury(ctx context.Context, letters []ledger.DeadLetter) error {
	return s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for _, l := range letters {
			if l.Payload == nil {
				l.Payload = []byte{}
			}
			var there int
			if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM dead_letters WHERE request_id = $1 AND attempt = $2 AND payload = $3`, l.RequestID, l.Attempt, l.Payload).Scan(&there); err != nil {
				return err
			}
			if there > 0 {
				continue
			}
			if _, err := exec(ctx, tx, `INSERT INTO dead_letters (request_id, attempt, written, payload, cause) VALUES ($1, $2, $3, $4, $5)`,
				l.RequestID, l.Attempt, micros(l.Time), l.Payload, strings.ToValidUTF8(l.Cause, "\uFFFD")); err != nil {
				return err
			}
		}
		return nil
	})
}

// DeadLetters counts what could not be kept in the ledger.
func (s *Store) DeadLetters(ctx context.Context) (n int64, err error) {
	err = s.read(ctx, func(ctx context.Context, tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM dead_letters`).Scan(&n)
	})
	return n, err
}

const letterColumns = `id, request_id, attempt, written, payload, cause`

func scanLetter(r interface{ Scan(...any) error }) (l ledger.DeadLetter, err error) {
	var written int64
	err = r.Scan(&l.ID, &l.RequestID, &l.Attempt, &written, &l.Payload, &l.Cause)
	l.Time = timeOf(written)
	return l, err
}

// Letters returns up to limit dead letters, by id, behind one.
func (s *Store) Letters(ctx context.Context, after int64, limit int) (list []ledger.DeadLetter, err error) {
	err = s.read(ctx, func(ctx context.Context, tx *sql.Tx) error {
		list = nil
		return rows(ctx, tx, `SELECT `+letterColumns+` FROM dead_letters WHERE id > $1 ORDER BY id LIMIT $2`, []any{after, limit}, func(r *sql.Rows) error {
			l, err := scanLetter(r)
			list = append(list, l)
			return err
		})
	})
	return list, err
}

// Replay writes what a dead letter says as Write does, and deletes it, in one
// transaction, which the audit log has too. It tells whether anything was
// counted: a line that is in the ledger already is not once more. Where the
// letter is gone it fails with ledger.ErrNoLetter, and with a
// *ledger.RefusedError where it still cannot be kept; then it stays as it was.
func (s *Store) Replay(ctx context.Context, by auth.Author, id int64) (letter ledger.DeadLetter, counted bool, err error) {
	err = s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		counted = false
		revision, err := bump(ctx, tx)
		if err != nil {
			return err
		}
		letter, err = scanLetter(tx.QueryRowContext(ctx, `DELETE FROM dead_letters WHERE id = $1 RETURNING `+letterColumns, id))
		if errors.Is(err, sql.ErrNoRows) {
			return ledger.ErrNoLetter
		}
		if err != nil {
			return err
		}
		entry, err := letter.Entry(by.At)
		if err != nil {
			return err
		}
		fresh, err := s.insertLines(ctx, tx, []ledger.Entry{entry})
		if err != nil {
			return err
		}
		if err := refuseArchived(ctx, tx, fresh); err != nil {
			return err
		}
		if err := settle(ctx, tx, fresh); err != nil {
			return err
		}
		counted = len(fresh) > 0
		return writeEvent(ctx, tx, admin.Event{
			Position: admin.Position{Revision: revision, Number: 1}, Author: by, Action: "replay",
			Kind: "DeadLetter", Tenant: entry.Line.Subject.Tenant, Name: strconv.FormatInt(id, 10),
			After: fmt.Sprintf("request_id: %s\nattempt: %d\ncounted: %t\n", letter.RequestID, letter.Attempt, counted),
		})
	})
	if errors.Is(err, ledger.ErrNoLetter) {
		return letter, false, ledger.ErrNoLetter
	}
	return letter, counted, refusal(ctx, err)
}
