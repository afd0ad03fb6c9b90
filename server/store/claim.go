package store

import (
	"context"
	"crypto/hmac"
	"database/sql"
	"errors"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/server/idempotency"
)

// ClaimKey implements idempotency.Store.
func (s *Store) ClaimKey(ctx context.Context, c idempotency.Claim) (found idempotency.Standing, err error) {
	err = s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		now, err := s.now(ctx, tx)
		if err != nil {
			return err
		}
		busy, expires := micros(now.Add(c.Busy)), micros(now.Add(c.Keep))
		var (
			asks, answer         []byte
			requestID, replica   string
			incarnation, expired int64
			busyUntil            sql.NullInt64
		)
		// The claim is locked by it, whoever's it is.
		err = tx.QueryRowContext(ctx, `INSERT INTO claims (id, asks, request_id, replica, incarnation, busy, expires) VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (id) DO UPDATE SET expires = claims.expires
			RETURNING asks, request_id, replica, incarnation, busy, expires, answer`,
			c.ID[:], c.Asks, c.RequestID, c.Replica, c.Incarnation, busy, expires).
			Scan(&asks, &requestID, &replica, &incarnation, &busyUntil, &expired, &answer)
		if err != nil {
			return err
		}
		found = idempotency.Standing{RequestID: requestID}
		switch {
		case requestID == c.RequestID:
			return nil
		case expired <= micros(now):
		case !hmac.Equal(asks, c.Asks):
			found.State = idempotency.Other
			return nil
		case !busyUntil.Valid:
			found.State, found.Answer = idempotency.Answered, answer
			return nil
		default:
			over := busyUntil.Int64 <= micros(now)
			if !over {
				if over, err = fenced(ctx, tx, replica, incarnation); err != nil {
					return err
				}
			}
			if !over {
				found.State = idempotency.Running
				return nil
			}
			if answered, err := wasAnswered(ctx, tx, requestID); err != nil || answered {
				found.State = idempotency.Answered
				return err
			}
		}
		found = idempotency.Standing{RequestID: c.RequestID}
		_, err = exec(ctx, tx, `UPDATE claims SET asks = $1, request_id = $2, replica = $3, incarnation = $4, busy = $5, expires = $6, answer = NULL WHERE id = $7`,
			c.Asks, c.RequestID, c.Replica, c.Incarnation, busy, expires, c.ID[:])
		return err
	})
	return found, err
}

// fenced tells whether a newer process of a replica has taken over. It does so
// when it has brought to the store what the one before had settled.
func fenced(ctx context.Context, tx *sql.Tx, replica string, incarnation int64) (bool, error) {
	var newest int64
	err := tx.QueryRowContext(ctx, `SELECT incarnation FROM replicas WHERE replica = $1`, replica).Scan(&newest)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return newest > incarnation, err
}

// wasAnswered tells whether the ledger has an attempt of a call of which the
// caller can have the answer.
func wasAnswered(ctx context.Context, tx *sql.Tx, requestID string) (bool, error) {
	var n int64
	err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM lines WHERE request_id = $1 AND outcome IN ($2, $3, $4, $5)`, requestID,
		string(accounting.OutcomeCompleted), string(accounting.OutcomeBlocked), string(accounting.OutcomeCut), string(accounting.OutcomeCacheHit)).Scan(&n)
	return n > 0, err
}

// AnswerKey implements idempotency.Store.
func (s *Store) AnswerKey(ctx context.Context, id [32]byte, requestID string, sealed []byte) error {
	return s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := exec(ctx, tx, `UPDATE claims SET busy = NULL, answer = $1 WHERE id = $2 AND request_id = $3`, sealed, id[:], requestID)
		return err
	})
}

// ReleaseKey implements idempotency.Store.
func (s *Store) ReleaseKey(ctx context.Context, id [32]byte, requestID string) error {
	return s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := exec(ctx, tx, `DELETE FROM claims WHERE id = $1 AND request_id = $2 AND busy IS NOT NULL`, id[:], requestID)
		return err
	})
}

// SweepClaims implements idempotency.Store.
func (s *Store) SweepClaims(ctx context.Context) (n int64, err error) {
	err = s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		now, err := s.now(ctx, tx)
		if err == nil {
			n, err = exec(ctx, tx, `DELETE FROM claims WHERE expires <= $1`, micros(now))
		}
		return err
	})
	return n, err
}
