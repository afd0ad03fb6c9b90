package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/report"
)

// A sum is what SQL's SUM returns: exact, wider than 64 bits in PostgreSQL,
// and NULL for no rows.
type sum struct {
	n     int64
	known bool
}

// Scan implements sql.Scanner.
func (s *sum) Scan(v any) error {
	var text sql.NullString
	if err := text.Scan(v); err != nil {
		return err
	}
	*s = sum{known: text.Valid}
	if !text.Valid {
		return nil
	}
	n, err := strconv.ParseInt(text.String, 10, 64)
	if err != nil {
		return fmt.Errorf("sum %s: %w", text.String, accounting.ErrOverflow)
	}
	s.n = n
	return nil
}

var dimensionColumns = map[string]string{
	report.Tenant: "tenant", report.Project: "project", report.Key: "key_name", report.Model: "model", report.Backend: "backend",
	report.Outcome: "outcome", report.EndUser: "end_user", report.Session: "session", report.ServiceClass: "served_class",
}

// A summing is a report.Query on its way to SQL.
type summing struct {
	from string // the common table expression "picked"
	args []any
	dims []string // d1, d2 …
}

func (s *Store) summing(q report.Query) *summing {
	m := &summing{}
	var columns strings.Builder
	for i, d := range q.GroupBy {
		m.dims = append(m.dims, fmt.Sprintf("d%d", i+1))
		column := dimensionColumns[d]
		if label, ok := strings.CutPrefix(d, report.LabelPrefix); ok {
			column = "COALESCE(labels ->> CAST(" + m.arg(label) + " AS TEXT), '')"
		}
		fmt.Fprintf(&columns, "%s%s AS d%d, ", column, s.engine.Collate, i+1)
	}
	where := []string{"1 = 1"}
	if q.Tenant != "" {
		where = append(where, "tenant = "+m.arg(q.Tenant))
	}
	where = append(where, between(q.From, q.To, m.arg))
	if !q.From.IsZero() {
		where = append(where, "started >= "+m.arg(micros(q.From)))
	}
	if !q.To.IsZero() {
		where = append(where, "started < "+m.arg(micros(q.To)))
	}
	m.from = "WITH picked AS (SELECT " + columns.String() + "request_id, line, outcome, " + meterColumns + ", currency, charge_nanos, items FROM lines WHERE " + strings.Join(where, " AND ") + ") "
	return m
}

// arg adds an argument and returns its mark.
func (m *summing) arg(v any) string {
	m.args = append(m.args, v)
	return fmt.Sprintf("$%d", len(m.args))
}

// beside compares the dimensions with values: (d1, d2) > ($1, $2).
func (m *summing) beside(op string, values []string) string {
	if len(values) == 0 {
		return "1 = 1"
	}
	marks := make([]string, len(values))
	for i, v := range values {
		marks[i] = m.arg(v)
	}
	return "(" + strings.Join(m.dims, ", ") + ") " + op + " (" + strings.Join(marks, ", ") + ")"
}

// list returns the dimensions followed by what is given.
func (m *summing) list(more ...string) string { return strings.Join(slices.Concat(m.dims, more), ", ") }

// Sum implements report.Store.
func (s *Store) Sum(ctx context.Context, q report.Query) (report.Report, error) {
	if err := q.Validate(); err != nil {
		return report.Report{}, err
	}
	if q.Limit == 0 {
		q.Limit = report.DefaultLimit
	}
	var r report.Report
	err := s.read(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		if r.Horizon, err = horizon(ctx, tx); err != nil {
			return err
		}
		if r.Rows, err = s.sumUsage(ctx, tx, q); err != nil {
			return err
		}
		if len(r.Rows) > q.Limit {
			r.Rows = r.Rows[:q.Limit]
			r.Next = r.Rows[q.Limit-1].Dimensions
		}
		if err := s.sumCosts(ctx, tx, q, r.Rows); err != nil {
			return err
		}
		return s.sumTotals(ctx, tx, q, &r)
	})
	if err != nil {
		return report.Report{}, err
	}
	return r, nil
}

// unpriced counts the lines that somebody would pay for if a price were known.
var unpriced = fmt.Sprintf("COUNT(CASE WHEN currency IS NULL AND outcome NOT IN ('%s', '%s', '%s') THEN 1 END)", accounting.OutcomeFailed, accounting.OutcomeBroken, accounting.OutcomeHedgeLoser)

// sumUsage returns one row more than the limit where there are more.
func (s *Store) sumUsage(ctx context.Context, tx *sql.Tx, q report.Query) ([]report.Row, error) {
	m := s.summing(q)
	columns := []string{"COUNT(DISTINCT request_id)", "COUNT(CASE line WHEN 0 THEN 1 END)", unpriced}
	for _, c := range accounting.Meters() {
		columns = append(columns, "SUM("+c.String()+")")
	}
	query := m.from + "SELECT " + m.list(columns...) + " FROM picked WHERE " + m.beside(">", q.After)
	if len(m.dims) > 0 {
		query += " GROUP BY " + m.list()
	}
	query += " HAVING COUNT(*) > 0"
	if len(m.dims) > 0 {
		query += " ORDER BY " + m.list()
	}
	query += " LIMIT " + m.arg(q.Limit+1)

	var list []report.Row
	err := rows(ctx, tx, query, m.args, func(r *sql.Rows) error {
		row := report.Row{Dimensions: make([]string, len(m.dims))}
		usage := make([]sum, len(accounting.Meters()))
		into := pointers(row.Dimensions)
		into = append(into, &row.Calls, &row.Attempts, &row.Unpriced)
		into = append(into, pointers(usage)...)
		if err := r.Scan(into...); err != nil {
			return err
		}
		for i, c := range accounting.Meters() {
			if usage[i].known {
				row.Usage.Set(c, usage[i].n)
			}
		}
		list = append(list, row)
		return nil
	})
	return list, err
}

// saved is what a line has saved, as accounting.Line.Saved, NULL where that is
// nothing of it.
func (s *Store) saved() string {
	return fmt.Sprintf("CASE outcome WHEN '%s' THEN COALESCE(%s, 0) - charge_nanos END", accounting.OutcomeCacheHit, s.engine.ItemSum)
}

// sumCosts fills in the costs of a page, and what was saved.
func (s *Store) sumCosts(ctx context.Context, tx *sql.Tx, q report.Query, page []report.Row) error {
	if len(page) == 0 {
		return nil
	}
	m := s.summing(q)
	query := m.from + "SELECT " + m.list("currency", "SUM(charge_nanos)", "SUM("+s.saved()+")") + " FROM picked WHERE currency IS NOT NULL AND " +
		m.beside(">", q.After) + " AND " + m.beside("<=", page[len(page)-1].Dimensions) +
		" GROUP BY " + m.list("currency") + " ORDER BY " + m.list("currency")
	at := 0
	return rows(ctx, tx, query, m.args, func(r *sql.Rows) error {
		dims := make([]string, len(m.dims))
		var currency string
		var charge, saved sum
		if err := r.Scan(append(pointers(dims), &currency, &charge, &saved)...); err != nil {
			return err
		}
		// Both queries come in the same order.
		for at < len(page) && !slices.Equal(page[at].Dimensions, dims) {
			at++
		}
		if at == len(page) {
			return fmt.Errorf("costs of %q belong to no row of the report", dims)
		}
		page[at].Costs = append(page[at].Costs, accounting.Money{Currency: currency, Nanos: charge.n})
		if saved.known {
			page[at].Saved = append(page[at].Saved, accounting.Money{Currency: currency, Nanos: saved.n})
		}
		return nil
	})
}

// sumTotals fills in the charges of all pages, and what was saved.
func (s *Store) sumTotals(ctx context.Context, tx *sql.Tx, q report.Query, to *report.Report) error {
	q.GroupBy, to.Totals, to.Saved = nil, nil, nil
	m := s.summing(q)
	return rows(ctx, tx, m.from+"SELECT currency, SUM(charge_nanos), SUM("+s.saved()+") FROM picked WHERE currency IS NOT NULL GROUP BY currency ORDER BY currency", m.args, func(r *sql.Rows) error {
		var currency string
		var charge, saved sum
		err := r.Scan(&currency, &charge, &saved)
		to.Totals = append(to.Totals, accounting.Money{Currency: currency, Nanos: charge.n})
		if saved.known {
			to.Saved = append(to.Saved, accounting.Money{Currency: currency, Nanos: saved.n})
		}
		return err
	})
}

func pointers[T any](values []T) []any {
	list := make([]any, len(values))
	for i := range values {
		list[i] = &values[i]
	}
	return list
}
