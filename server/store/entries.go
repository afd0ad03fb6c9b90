package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/lease"
	"github.com/weir-gateway/weir/accounting/ledger"
)

// Write implements ledger.Store. An error that trying again cannot help is a
// *ledger.RefusedError.
func (s *Store) Write(ctx context.Context, entries []ledger.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	if s.engine.Copy != nil {
		err := s.copyNew(ctx, entries)
		if err == nil || !s.engine.Conflict(err) && !s.engine.Again(err) {
			return refusal(ctx, s.engine.Class(err))
		}
	}
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		fresh, err := s.insertLines(ctx, tx, entries)
		if err != nil {
			return err
		}
		if err := refuseArchived(ctx, tx, fresh); err != nil {
			return err
		}
		return settle(ctx, tx, fresh)
	})
	return refusal(ctx, err)
}

// copyNew keeps entries none of which is there, which is almost always so. It
// fails where one is, and then keeps none.
func (s *Store) copyNew(ctx context.Context, entries []ledger.Entry) error {
	list, err := values(entries)
	if err != nil {
		return err
	}
	fresh := make([]*ledger.Entry, len(entries))
	for i := range entries {
		fresh[i] = &entries[i]
	}
	conn, err := s.engine.Write.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	return transact(ctx, conn, nil, func(ctx context.Context, tx *sql.Tx) error {
		if err := s.engine.Copy(ctx, conn, "lines", written, list); err != nil {
			return err
		}
		if err := refuseArchived(ctx, tx, fresh); err != nil {
			return err
		}
		return settle(ctx, tx, fresh)
	})
}

// refusal marks an error that trying again cannot help.
func refusal(ctx context.Context, err error) error {
	if err != nil && !errors.Is(err, ErrUnavailable) && ctx.Err() == nil {
		return &ledger.RefusedError{Err: err}
	}
	return err
}

// account is a window while entries are settled. Beside is what the other
// buckets of its series take of its room.
type account struct {
	lease.Balance
	window          accounting.Window
	limit, adjusted int64
	beside          int64
}

// room is the account's own.
func (a *account) room() room { return room{a.Spent, a.Leased, a.adjusted} }

type slice struct{ remainder, took int64 }

// settle feeds the windows of new lines and takes what they used of their
// leases. It locks every window, in the order of their ids, and then the leases.
func settle(ctx context.Context, tx *sql.Tx, entries []*ledger.Entry) error {
	windows := map[string]*accounting.Window{}
	leases := map[lease.ID]*slice{}
	for _, e := range entries {
		for i := range e.Settled {
			s := &e.Settled[i]
			windows[s.Window.ID] = s.Window
			if s.Lease != (lease.ID{}) {
				leases[s.Lease] = &slice{}
			}
		}
	}
	ids := slices.Sorted(maps.Keys(windows))
	accounts := make([]*account, len(ids))
	byID := make(map[string]*account, len(ids))
	for i, id := range ids {
		a, err := lockWindow(ctx, tx, *windows[id])
		if err != nil {
			return err
		}
		accounts[i], byID[id] = a, a
	}
	for id, l := range leases {
		err := tx.QueryRowContext(ctx, `SELECT granted - returned - settled FROM leases WHERE replica = $1 AND incarnation = $2 AND number = $3`,
			id.Replica, id.Incarnation, id.Number).Scan(&l.remainder)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
	}
	for _, e := range entries {
		for i := range e.Settled {
			s := &e.Settled[i]
			l := leases[s.Lease]
			if l == nil {
				l = &slice{}
			}
			if err := apply(s, byID[s.Window.ID], l, accounts); err != nil {
				return err
			}
		}
	}
	for _, a := range accounts {
		if _, err := exec(ctx, tx, `UPDATE windows SET spent = $1, leased = $2, overrun = $3 WHERE id = $4`, a.Spent, a.Leased, a.Overrun, a.window.ID); err != nil {
			return fmt.Errorf("window %s: %w", a.window.ID, err)
		}
	}
	for id, l := range leases {
		if l.took == 0 {
			continue
		}
		if _, err := exec(ctx, tx, `UPDATE leases SET settled = settled + $1 WHERE replica = $2 AND incarnation = $3 AND number = $4`,
			l.took, id.Replica, id.Incarnation, id.Number); err != nil {
			return fmt.Errorf("lease %s: %w", id, err)
		}
	}
	return nil
}

// apply settles one amount in its window. What that changes in a bucket of a
// rolling window is beside its other buckets.
func apply(s *ledger.Settled, a *account, l *slice, all []*account) error {
	limit, fits := accounting.AddInt64(a.room().limit(a.limit), -a.beside)
	if !fits {
		return fmt.Errorf("window %s: %w", a.window.ID, accounting.ErrOverflow)
	}
	after, covered, err := lease.Settlement{Lease: s.Lease, Window: s.Window.ID, Amount: s.Amount, Uncovered: s.Uncovered}.Apply(a.Balance, l.remainder, limit)
	if err != nil {
		return err
	}
	l.remainder, l.took = l.remainder-covered, l.took+covered
	growth := after.Spent + after.Leased - a.Spent - a.Leased
	a.Balance = after
	if a.window.Series == "" {
		return nil
	}
	for _, other := range all {
		if other != a && other.window.Series == a.window.Series && !a.window.Start.Before(other.window.Since) {
			other.beside += growth
		}
	}
	return nil
}

// lockWindow makes a window where it is not there, keeps others from changing
// it and the rest of its series, and returns how it stands.
func lockWindow(ctx context.Context, tx *sql.Tx, w accounting.Window) (*account, error) {
	if w.Series != "" {
		if err := lockSeries(ctx, tx, w.Series); err != nil {
			return nil, err
		}
	}
	a := account{window: w}
	lock := func() error {
		return tx.QueryRowContext(ctx, `UPDATE windows SET spent = spent WHERE id = $1 RETURNING spent, leased, overrun, limit_amount, adjusted`, w.ID).
			Scan(&a.Spent, &a.Leased, &a.Overrun, &a.limit, &a.adjusted)
	}
	err := lock()
	if errors.Is(err, sql.ErrNoRows) {
		if _, err := insertWindow(ctx, tx, w); err != nil {
			return nil, err
		}
		err = lock()
	}
	if err == nil && w.Series != "" {
		a.beside, err = others(ctx, tx, w)
	}
	if err != nil {
		return nil, fmt.Errorf("window %s: %w", w.ID, err)
	}
	return &a, nil
}

func insertWindow(ctx context.Context, tx *sql.Tx, w accounting.Window) (int64, error) {
	return exec(ctx, tx, `INSERT INTO windows (id, budget, tenant, scope, unit, starts, ends, limit_amount, series) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING`,
		w.ID, w.Budget, w.Tenant, w.Scope, string(w.Unit), nullMicros(w.Start), nullMicros(w.End), w.Limit, w.Series)
}
