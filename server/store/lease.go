package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/lease"
	"github.com/weir-gateway/weir/accounting/ledger"
)

// leaseRow is a lease as it is kept.
type leaseRow struct {
	id                         lease.ID
	window                     string
	granted, returned, settled int64
	expires                    int64
	state                      lease.State
	known                      bool // it is there
}

func (l *leaseRow) remainder() int64 { return l.granted - l.returned - l.settled }

const leaseColumns = `replica, incarnation, number, window_id, granted, returned, settled, expires, state`

func (l *leaseRow) scan(r interface{ Scan(...any) error }) error {
	return r.Scan(&l.id.Replica, &l.id.Incarnation, &l.id.Number, &l.window, &l.granted, &l.returned, &l.settled, &l.expires, &l.state)
}

// readLease returns a lease, or false where it is unknown. Its window is locked,
// so nobody else changes it.
func readLease(ctx context.Context, tx *sql.Tx, id lease.ID) (l leaseRow, ok bool, err error) {
	err = l.scan(tx.QueryRowContext(ctx, `SELECT `+leaseColumns+` FROM leases WHERE replica = $1 AND incarnation = $2 AND number = $3`, id.Replica, id.Incarnation, id.Number))
	if errors.Is(err, sql.ErrNoRows) {
		return leaseRow{id: id}, false, nil
	}
	l.known = err == nil
	return l, l.known, err
}

func (l *leaseRow) keep(ctx context.Context, tx *sql.Tx) error {
	_, err := exec(ctx, tx, `INSERT INTO leases (`+leaseColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (replica, incarnation, number) DO UPDATE SET granted = excluded.granted, returned = excluded.returned,
			settled = excluded.settled, expires = excluded.expires, state = excluded.state`,
		l.id.Replica, l.id.Incarnation, l.id.Number, l.window, l.granted, l.returned, l.settled, l.expires, string(l.state))
	return err
}

// fence raises the newest incarnation of a replica, or fails where there is a
// newer one.
func fence(ctx context.Context, tx *sql.Tx, replica string, incarnation int64) error {
	n, err := exec(ctx, tx, `INSERT INTO replicas (replica, incarnation) VALUES ($1, $2)
		ON CONFLICT (replica) DO UPDATE SET incarnation = excluded.incarnation WHERE replicas.incarnation <= excluded.incarnation`, replica, incarnation)
	if err != nil || n == 1 {
		return err
	}
	fenced := &lease.FencedError{Replica: replica}
	if err := tx.QueryRowContext(ctx, `SELECT incarnation FROM replicas WHERE replica = $1`, replica).Scan(&fenced.Incarnation); err != nil {
		return err
	}
	return fenced
}

// Grant implements lease.Store.
func (s *Store) Grant(ctx context.Context, ttl time.Duration, wants []lease.Want) (grants []lease.Grant, err error) {
	if len(wants) == 0 {
		return nil, nil
	}
	order := make([]int, len(wants))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(wants[a].Window.ID, wants[b].Window.ID) })
	err = s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		grants = make([]lease.Grant, len(wants))
		first := wants[0].Lease
		if err := fence(ctx, tx, first.Replica, first.Incarnation); err != nil {
			return err
		}
		now, err := s.now(ctx, tx)
		if err != nil {
			return err
		}
		for _, i := range order {
			if grants[i], err = grant(ctx, tx, now.Add(ttl), &wants[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return grants, err
}

func grant(ctx context.Context, tx *sql.Tx, until time.Time, want *lease.Want) (lease.Grant, error) {
	w := &want.Window
	a, err := lockWindow(ctx, tx, *w)
	if err != nil {
		return lease.Grant{}, err
	}
	l, known, err := readLease(ctx, tx, want.Lease)
	if err != nil {
		return lease.Grant{}, err
	}
	if !known {
		l.window, l.state = w.ID, lease.Live
	}
	r := a.room()
	if w.Series != "" {
		if r, err = readRoom(ctx, tx, *w, ""); err != nil {
			return lease.Grant{}, err
		}
	}
	answer := lease.Grant{State: l.state, Granted: l.granted, Spent: r.spent, Leased: r.leased, Adjusted: r.adjusted}
	if l.state != lease.Live {
		return answer, nil
	}
	l.expires = max(l.expires, micros(until))
	grow, excess, err := growth(ctx, tx, want, &l, r)
	if err != nil {
		return lease.Grant{}, err
	}
	l.granted += grow
	if err := l.keep(ctx, tx); err != nil || grow == 0 {
		return answer, err
	}
	answer.Granted, answer.Leased, answer.Excess = l.granted, r.leased+grow, excess
	// The only statement that adds to leased.
	_, err = exec(ctx, tx, `UPDATE windows SET leased = leased + $1, limit_amount = $2 WHERE id = $3`, grow, w.Limit, w.ID)
	return answer, err
}

// growth is how much a lease may grow by, and by what its window then exceeds
// its limit.
func growth(ctx context.Context, tx *sql.Tx, want *lease.Want, l *leaseRow, r room) (int64, *accounting.Excess, error) {
	w := &want.Window
	least := want.Need - l.granted
	if least <= 0 {
		return 0, nil, nil
	}
	taken, counts := r.taken()
	if !r.fits(least, w.Limit) {
		covered := r.fits(least, w.Limit+w.Grace)
		if !counts || !covered && !w.Shadow {
			return 0, nil, nil
		}
		return least, &accounting.Excess{Window: *w, Taken: taken, Amount: least, Shadow: !covered}, nil
	}
	var live int64
	if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM leases WHERE window_id = $1 AND state = 'live'`, w.ID).Scan(&live); err != nil {
		return 0, nil, err
	}
	if !l.known {
		live++ // this one, which is not there yet
	}
	free := r.limit(w.Limit) - taken // not negative, since the need fits
	return max(least, min(want.Wish-l.granted, free/(2*max(live, 1)))), nil, nil
}

// Return implements lease.Store.
func (s *Store) Return(ctx context.Context, returns []lease.Return) error {
	ordered := slices.SortedStableFunc(slices.Values(returns), func(a, b lease.Return) int { return cmp.Compare(a.Window, b.Window) })
	return s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		now, err := s.now(ctx, tx)
		if err != nil {
			return err
		}
		for i := range ordered {
			if err := giveBack(ctx, tx, now, &ordered[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

func giveBack(ctx context.Context, tx *sql.Tx, now time.Time, r *lease.Return) error {
	// The window is locked first, as everywhere.
	if _, err := exec(ctx, tx, `UPDATE windows SET spent = spent WHERE id = $1`, r.Window); err != nil {
		return err
	}
	l, known, err := readLease(ctx, tx, r.Lease)
	if err != nil || known && l.state == lease.Closed || !known && !r.Close {
		return err
	}
	if !known {
		l = leaseRow{id: r.Lease, window: r.Window, expires: micros(now), state: lease.Closed}
		return l.keep(ctx, tx)
	}
	back := max(0, r.Returned-l.returned)
	if r.Close {
		l.state = lease.Closed
		back += max(0, l.granted-r.Granted)
	}
	return release(ctx, tx, &l, back)
}

// release returns part of a lease to its window, and keeps the lease.
func release(ctx context.Context, tx *sql.Tx, l *leaseRow, back int64) error {
	l.returned += back
	if err := l.keep(ctx, tx); err != nil || back == 0 {
		return err
	}
	_, err := exec(ctx, tx, `UPDATE windows SET leased = leased - $1 WHERE id = $2`, back, l.window)
	return err
}

// Sweep implements lease.Store.
func (s *Store) Sweep(ctx context.Context, after lease.Sweep) (forfeited int, err error) {
	var now time.Time
	if err := s.read(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		now, err = s.now(ctx, tx)
		return err
	}); err != nil {
		return 0, err
	}
	steps := []struct {
		where string
		args  []any
		do    func(ctx context.Context, tx *sql.Tx, l *leaseRow) error
	}{
		{`state = 'live' AND expires < $1`, []any{micros(now.Add(-after.Grace))}, func(ctx context.Context, tx *sql.Tx, l *leaseRow) error {
			if l.state = lease.Closed; l.remainder() > 0 {
				l.state = lease.Forfeited
				forfeited++
			}
			return l.keep(ctx, tx)
		}},
		{`state <> 'live' AND granted > returned + settled AND window_id IN (SELECT id FROM windows WHERE ends < $1)`, []any{micros(now.Add(-after.Keep))}, func(ctx context.Context, tx *sql.Tx, l *leaseRow) error {
			l.state = lease.Closed
			return release(ctx, tx, l, l.remainder())
		}},
		{`state = 'closed' AND granted = returned + settled AND expires < $1`, []any{micros(now.Add(-after.Keep))}, func(ctx context.Context, tx *sql.Tx, l *leaseRow) error {
			_, err := exec(ctx, tx, `DELETE FROM leases WHERE replica = $1 AND incarnation = $2 AND number = $3`, l.id.Replica, l.id.Incarnation, l.id.Number)
			return err
		}},
	}
	for _, step := range steps {
		// Which leases are due is asked in a read of its own, so that a sweep that
		// finds none writes nothing.
		var due []leaseRow
		if err := s.read(ctx, func(ctx context.Context, tx *sql.Tx) error {
			due = nil
			return rows(ctx, tx, `SELECT `+leaseColumns+` FROM leases WHERE `+step.where+` ORDER BY window_id, replica, incarnation, number LIMIT `+sweepLimit, step.args, func(r *sql.Rows) error {
				var l leaseRow
				err := l.scan(r)
				due = append(due, l)
				return err
			})
		}); err != nil {
			return forfeited, err
		}
		if len(due) == 0 {
			continue
		}
		before := forfeited
		if err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
			forfeited = before
			for i := range due {
				if err := onLease(ctx, tx, &due[i], step.where, step.args, step.do); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return before, err
		}
	}
	return forfeited, nil
}

const sweepLimit = `256`

// onLease does something to a lease under the lock of its window, where the
// condition still holds.
func onLease(ctx context.Context, tx *sql.Tx, l *leaseRow, where string, args []any, do func(context.Context, *sql.Tx, *leaseRow) error) error {
	if _, err := exec(ctx, tx, `UPDATE windows SET spent = spent WHERE id = $1`, l.window); err != nil {
		return err
	}
	args = append(slices.Clone(args), l.id.Replica, l.id.Incarnation, l.id.Number)
	err := l.scan(tx.QueryRowContext(ctx, `SELECT `+leaseColumns+` FROM leases WHERE `+where+` AND replica = $2 AND incarnation = $3 AND number = $4`, args...))
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return do(ctx, tx, l)
}

// Release implements lease.Store.
func (s *Store) Release(ctx context.Context, replica string, incarnation int64) error {
	return s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := fence(ctx, tx, replica, incarnation); err != nil {
			return err
		}
		var left []leaseRow
		const where = `incarnation < $1 AND state <> 'closed'`
		if err := rows(ctx, tx, `SELECT `+leaseColumns+` FROM leases WHERE `+where+` AND replica = $2 ORDER BY window_id, incarnation, number`, []any{incarnation, replica}, func(r *sql.Rows) error {
			var l leaseRow
			err := l.scan(r)
			left = append(left, l)
			return err
		}); err != nil {
			return err
		}
		for i := range left {
			if err := onLease(ctx, tx, &left[i], where, []any{incarnation}, func(ctx context.Context, tx *sql.Tx, l *leaseRow) error {
				l.state = lease.Closed
				return release(ctx, tx, l, l.remainder())
			}); err != nil {
				return err
			}
		}
		return nil
	})
}

// Reclaim implements lease.Store.
func (s *Store) Reclaim(ctx context.Context, id lease.ID, charge *accounting.Line) (rest int64, err error) {
	err = s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		rest = 0
		l, known, err := readLease(ctx, tx, id)
		if err != nil {
			return err
		}
		if !known {
			return lease.ErrLive
		}
		if l.state == lease.Closed && l.remainder() == 0 {
			return nil // its window may not even be there
		}
		w, err := windowOf(ctx, tx, l.window)
		if err != nil {
			return err
		}
		if _, err := lockWindow(ctx, tx, w); err != nil {
			return err
		}
		if l, _, err = readLease(ctx, tx, id); err != nil {
			return err
		}
		if l.state == lease.Live {
			return lease.ErrLive
		}
		rest = l.remainder()
		l.state = lease.Closed
		if rest == 0 {
			return l.keep(ctx, tx)
		}
		if charge == nil {
			return release(ctx, tx, &l, rest)
		}
		if err := l.keep(ctx, tx); err != nil {
			return err
		}
		entry := ledger.Entry{Line: *charge, Settled: []ledger.Settled{{Window: &w, Lease: id, Amount: rest}}}
		fresh, err := s.insertLines(ctx, tx, []ledger.Entry{entry})
		if err != nil {
			return err
		}
		return settle(ctx, tx, fresh)
	})
	return rest, err
}
