package store

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/ledger"
)

// Note implements ledger.NoteStore, in one transaction.
func (s *Store) Note(ctx context.Context, notes []ledger.Note, at time.Time) ([]accounting.Alert, error) {
	notes = slices.Clone(notes)
	// In one order, as claims are taken.
	slices.SortFunc(notes, func(a, b ledger.Note) int { return cmp.Compare(a.Window.ID, b.Window.ID) })
	var alerts []accounting.Alert
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		alerts = nil
		for _, n := range notes {
			if err := count(ctx, tx, n); err != nil {
				return err
			}
			raised, err := raise(ctx, tx, n, at)
			if err != nil {
				return err
			}
			alerts = append(alerts, raised...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return alerts, nil
}

// count adds up what a window refused and exceeded. It brings a window that is
// not there: it may have refused all that was ever claimed in it.
func count(ctx context.Context, tx *sql.Tx, n ledger.Note) error {
	if n.Refused == 0 && n.Exceeded == 0 {
		return nil
	}
	if _, err := insertWindow(ctx, tx, n.Window); err != nil {
		return err
	}
	_, err := exec(ctx, tx, `UPDATE windows SET refused = refused + $1, exceeded = exceeded + $2 WHERE id = $3`, n.Refused, n.Exceeded, n.Window.ID)
	return err
}

// raise returns the alerts that the spending of a window calls for and that
// nobody has raised before.
func raise(ctx context.Context, tx *sql.Tx, n ledger.Note, at time.Time) ([]accounting.Alert, error) {
	w := n.Window
	if len(n.Alerts) == 0 {
		return nil, nil
	}
	if w.Series != "" {
		// Two buckets of it must not raise one alert each.
		if err := lockSeries(ctx, tx, w.Series); err != nil {
			return nil, err
		}
	}
	room, err := readRoom(ctx, tx, w, "")
	if err != nil {
		return nil, err
	}
	a := accounting.Alert{
		Window: cmp.Or(w.Series, w.ID), Tenant: w.Tenant, Budget: w.Budget, Scope: w.Scope, Unit: w.Unit,
		Spent: room.spent, Limit: room.limit(w.Limit), Raised: at,
	}
	var since int64
	if w.Series != "" {
		since = micros(w.Since)
	}
	var list []accounting.Alert
	for _, percent := range slices.Sorted(slices.Values(n.Alerts)) {
		if !accounting.Reaches(a.Spent, a.Limit, percent) {
			break
		}
		var there int
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM alerts WHERE series = $1 AND percent = $2 AND starts >= $3`, a.Window, percent, since).Scan(&there); err != nil {
			return nil, err
		}
		if there > 0 {
			continue
		}
		var starts int64
		if w.Series != "" {
			starts = micros(w.Start)
		}
		wrote, err := exec(ctx, tx, `INSERT INTO alerts (series, percent, starts, tenant, budget, scope, unit, spent, limit_amount, raised)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING`,
			a.Window, percent, starts, a.Tenant, a.Budget, a.Scope, string(a.Unit), a.Spent, a.Limit, micros(at))
		if err != nil {
			return nil, err
		}
		if wrote == 1 {
			a.Percent = percent
			list = append(list, a)
		}
	}
	return list, nil
}

// Alerts returns a budget's alerts, newest first, and up to limit of them.
func (s *Store) Alerts(ctx context.Context, tenant, budget string, limit int) ([]accounting.Alert, error) {
	var list []accounting.Alert
	err := s.read(ctx, func(ctx context.Context, tx *sql.Tx) error {
		list = nil
		return rows(ctx, tx, `SELECT series, percent, tenant, budget, scope, unit, spent, limit_amount, raised FROM alerts
			WHERE tenant = $1 AND budget = $2 ORDER BY raised DESC, percent DESC, series LIMIT $3`, []any{tenant, budget, limit}, func(r *sql.Rows) error {
			var a accounting.Alert
			var raised int64
			err := r.Scan(&a.Window, &a.Percent, &a.Tenant, &a.Budget, &a.Scope, &a.Unit, &a.Spent, &a.Limit, &raised)
			a.Raised = timeOf(raised)
			list = append(list, a)
			return err
		})
	})
	return list, err
}
