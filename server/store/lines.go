package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/report"
)

// ListLines implements report.Store.
func (s *Store) ListLines(ctx context.Context, q report.LineQuery) (list []report.Line, err error) {
	var args []any
	arg := func(v any) string {
		args = append(args, v)
		return fmt.Sprintf("$%d", len(args))
	}
	where := []string{between(q.From, q.To, arg)}
	for _, c := range [...]struct{ column, is string }{
		{"tenant", q.Tenant}, {"request_id", q.RequestID}, {"project", q.Project}, {"key_name", q.Key}, {"model", q.Model}, {"backend", q.Backend}, {"outcome", string(q.Outcome)},
	} {
		if c.is != "" {
			where = append(where, c.column+" = "+arg(c.is))
		}
	}
	if !q.From.IsZero() {
		where = append(where, "started >= "+arg(micros(q.From)))
	}
	if !q.To.IsZero() {
		where = append(where, "started < "+arg(micros(q.To)))
	}
	if at := q.After; at.RequestID != "" {
		id := arg(at.RequestID)
		where = append(where, "request_id <= "+id, "(request_id < "+id+" OR (attempt, line) > ("+arg(at.Attempt)+", "+arg(at.Number)+"))")
	}
	query := `SELECT ` + lineColumns + `, allocations FROM lines WHERE ` + strings.Join(where, " AND ") +
		` ORDER BY request_id DESC, attempt, line LIMIT ` + arg(q.Limit)
	err = s.read(ctx, func(ctx context.Context, tx *sql.Tx) error {
		list = nil
		if err := rows(ctx, tx, query, args, func(r *sql.Rows) error {
			l, err := scanFedLine(r)
			list = append(list, l)
			return err
		}); err != nil {
			return err
		}
		return unitsOf(ctx, tx, list)
	})
	return list, err
}

// scanFedLine reads a line and its allocations, which have no units yet. They
// are NULL where an earlier Weir wrote the line; those of its table allocations
// are for sums alone.
func scanFedLine(r *sql.Rows) (l report.Line, err error) {
	var text sql.NullString
	if l.Line, err = scanLine(r, &text); err != nil || !text.Valid {
		return l, err
	}
	var fed map[string]int64
	if err := json.Unmarshal([]byte(text.String), &fed); err != nil {
		return l, fmt.Errorf("allocations of call %s: %w", l.RequestID, err)
	}
	for id, amount := range fed {
		l.Allocations = append(l.Allocations, accounting.Allocation{Window: id, Amount: amount})
	}
	slices.SortFunc(l.Allocations, func(a, b accounting.Allocation) int { return cmp.Compare(a.Window, b.Window) })
	return l, nil
}

// unitsOf fills in the units of allocations, which are those of their windows.
func unitsOf(ctx context.Context, tx *sql.Tx, lines []report.Line) error {
	units := map[string]accounting.Unit{}
	var ids []any
	var marks []string
	for _, l := range lines {
		for _, a := range l.Allocations {
			if _, seen := units[a.Window]; !seen {
				units[a.Window] = ""
				ids = append(ids, a.Window)
				marks = append(marks, fmt.Sprintf("$%d", len(ids)))
			}
		}
	}
	if len(ids) == 0 {
		return nil
	}
	err := rows(ctx, tx, `SELECT id, unit FROM windows WHERE id IN (`+strings.Join(marks, ", ")+`)`, ids, func(r *sql.Rows) error {
		var id string
		var unit accounting.Unit
		err := r.Scan(&id, &unit)
		units[id] = unit
		return err
	})
	for i := range lines {
		for j := range lines[i].Allocations {
			a := &lines[i].Allocations[j]
			a.Unit = units[a.Window]
		}
	}
	return err
}
