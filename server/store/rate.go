package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/weir-gateway/weir/server/admit"
)

// ShareRates implements admit.Store.
func (s *Store) ShareRates(ctx context.Context, ttl time.Duration, asks []admit.Ask) (answers []admit.Answer, err error) {
	// Rows are locked in one order, so that two that ask never wait for each other.
	order := make([]int, len(asks))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(asks[a].Scope, asks[b].Scope) })
	err = s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		answers = make([]admit.Answer, len(asks))
		// A time from before the locks: others may have asked at a later one, and a
		// State takes an earlier for no time at all.
		now, err := s.now(ctx, tx)
		if err != nil {
			return err
		}
		for _, i := range order {
			if answers[i], err = shareRate(ctx, tx, now, ttl, asks[i]); err != nil {
				return fmt.Errorf("rate %s: %w", asks[i].Scope, err)
			}
		}
		return nil
	})
	return answers, err
}

func shareRate(ctx context.Context, tx *sql.Tx, now time.Time, ttl time.Duration, ask admit.Ask) (admit.Answer, error) {
	var text string
	var state admit.State
	err := tx.QueryRowContext(ctx, `INSERT INTO rates (scope, state, idle) VALUES ($1, '{}', 0)
		ON CONFLICT (scope) DO UPDATE SET idle = rates.idle RETURNING state`, ask.Scope).Scan(&text)
	if err == nil {
		err = json.Unmarshal([]byte(text), &state)
	}
	if err != nil {
		return admit.Answer{}, err
	}
	answer := state.Ask(ask, now, ttl)
	kept, err := json.Marshal(&state)
	if err == nil {
		_, err = exec(ctx, tx, `UPDATE rates SET state = $1, idle = $2 WHERE scope = $3`, string(kept), micros(state.Idle()), ask.Scope)
	}
	return answer, err
}

// SweepRates implements admit.Store.
func (s *Store) SweepRates(ctx context.Context) error {
	return s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		now, err := s.now(ctx, tx)
		if err == nil {
			_, err = exec(ctx, tx, `DELETE FROM rates WHERE idle < $1`, micros(now))
		}
		return err
	})
}
