package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/weir-gateway/weir/accounting/outputlog"
)

var _ outputlog.Store = (*Store)(nil)

// WriteOutputs implements outputlog.Store.
func (s *Store) WriteOutputs(ctx context.Context, records []outputlog.Redacted) error {
	bodies := make([]string, len(records))
	for i, r := range records {
		body, err := json.Marshal(outputBodyOf(r.Record()))
		if err != nil {
			return fmt.Errorf("write output %s: %w", r.Record().RequestID, err)
		}
		bodies[i] = string(body)
	}
	return s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for i, redacted := range records {
			r := redacted.Record()
			_, err := exec(ctx, tx, `INSERT INTO outputs (request_id, tenant, project, model, finish_reason, verdicts, started, expires, body)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING`,
				r.RequestID, r.Subject.Tenant, r.Subject.Project, r.Model, r.Finish, len(r.Verdicts), micros(r.Start), micros(r.Expires), bodies[i])
			if err != nil {
				return err
			}
		}
		return nil
	})
}

const outputColumns = `request_id, tenant, project, model, finish_reason, started, expires, body`

// Outputs implements outputlog.Store.
func (s *Store) Outputs(ctx context.Context, q outputlog.Query) ([]outputlog.Output, error) {
	var args []any
	var where []string
	with := func(condition string, values ...any) {
		for _, v := range values {
			args = append(args, v)
			condition = strings.Replace(condition, "?", fmt.Sprintf("$%d", len(args)), 1)
		}
		where = append(where, condition)
	}
	with("tenant = ?", q.Tenant)
	if !q.From.IsZero() {
		with("started >= ?", micros(q.From))
	}
	if !q.To.IsZero() {
		with("started < ?", micros(q.To))
	}
	if q.Project != "" {
		with("project = ?", q.Project)
	}
	if q.Model != "" {
		with("model = ?", q.Model)
	}
	if q.Finish != "" {
		with("finish_reason = ?", q.Finish)
	}
	switch {
	case q.Verdicts == nil:
	case *q.Verdicts:
		with("verdicts > 0")
	default:
		with("verdicts = 0")
	}
	if q.After != nil {
		with("(started, request_id) < (?, ?)", micros(q.After.Start), q.After.RequestID)
	}
	args = append(args, q.Limit)
	query := fmt.Sprintf(`SELECT %s FROM outputs WHERE %s ORDER BY started DESC, request_id DESC LIMIT $%d`, outputColumns, strings.Join(where, " AND "), len(args))
	return s.outputs(ctx, query, args...)
}

// Output implements outputlog.Store.
func (s *Store) Output(ctx context.Context, tenant, requestID string) (outputlog.Output, error) {
	list, err := s.outputs(ctx, `SELECT `+outputColumns+` FROM outputs WHERE tenant = $1 AND request_id = $2`, tenant, requestID)
	if err == nil && len(list) == 0 {
		err = outputlog.ErrNoOutput
	}
	if err != nil {
		return outputlog.Output{}, err
	}
	return list[0], nil
}

// outputs returns what a query selects, with ratings, from one state.
func (s *Store) outputs(ctx context.Context, query string, args ...any) (list []outputlog.Output, err error) {
	err = s.read(ctx, func(ctx context.Context, tx *sql.Tx) error {
		list = nil
		if err := rows(ctx, tx, query, args, func(r *sql.Rows) error {
			o, err := scanOutput(r)
			list = append(list, o)
			return err
		}); err != nil || len(list) == 0 {
			return err
		}
		at := map[string]int{}
		marks, ids := make([]string, len(list)), make([]any, len(list))
		for i, o := range list {
			at[o.Record.RequestID], ids[i], marks[i] = i, o.Record.RequestID, fmt.Sprintf("$%d", i+1)
		}
		return rows(ctx, tx, `SELECT request_id, id, made, body FROM ratings WHERE request_id IN (`+strings.Join(marks, ", ")+`) ORDER BY made, id`, ids, func(r *sql.Rows) error {
			rating, err := scanRating(r)
			o := &list[at[rating.RequestID]]
			rating.Tenant = o.Record.Subject.Tenant
			o.Ratings = append(o.Ratings, rating)
			return err
		})
	})
	return list, err
}

func scanOutput(r *sql.Rows) (o outputlog.Output, err error) {
	var started, expires int64
	var text string
	record := &o.Record
	if err := r.Scan(&record.RequestID, &record.Subject.Tenant, &record.Subject.Project, &record.Model, &record.Finish, &started, &expires, &text); err != nil {
		return o, err
	}
	record.Start, record.Expires = timeOf(started), timeOf(expires)
	var body outputBody
	if err := json.Unmarshal([]byte(text), &body); err != nil {
		return o, fmt.Errorf("read output %s: %w", record.RequestID, err)
	}
	return o, body.fill(record)
}

// Rate implements outputlog.Store.
func (s *Store) Rate(ctx context.Context, redacted outputlog.RedactedRating) (kept outputlog.Rating, err error) {
	r := redacted.Rating()
	body, err := json.Marshal(ratingBodyOf(r))
	if err != nil {
		return kept, err
	}
	err = s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		// One statement, so that no rating comes behind the sweep of its output.
		n, err := exec(ctx, tx, `INSERT INTO ratings (request_id, id, made, body)
			SELECT request_id, $1, $2, $3 FROM outputs WHERE request_id = $4 AND tenant = $5 ON CONFLICT DO NOTHING`,
			r.ID, micros(r.Made), string(body), r.RequestID, r.Tenant)
		if err != nil {
			return err
		}
		found := false
		err = rows(ctx, tx, `SELECT r.request_id, r.id, r.made, r.body FROM ratings r JOIN outputs o ON o.request_id = r.request_id
			WHERE r.request_id = $1 AND r.id = $2 AND o.tenant = $3`, []any{r.RequestID, r.ID, r.Tenant}, func(row *sql.Rows) (err error) {
			found = true
			kept, err = scanRating(row)
			return err
		})
		switch {
		case err != nil:
			return err
		case !found:
			return outputlog.ErrNoOutput
		case n == 0 && !reflect.DeepEqual(ratingBodyOf(kept), ratingBodyOf(r)):
			return outputlog.ErrRatingTaken
		}
		kept.Tenant = r.Tenant
		return nil
	})
	if err != nil {
		return outputlog.Rating{}, err
	}
	return kept, nil
}

func scanRating(r *sql.Rows) (rating outputlog.Rating, err error) {
	var made int64
	var text string
	if err := r.Scan(&rating.RequestID, &rating.ID, &made, &text); err != nil {
		return rating, err
	}
	rating.Made = timeOf(made)
	var body ratingBody
	if err := json.Unmarshal([]byte(text), &body); err != nil {
		return rating, fmt.Errorf("read rating %s of output %s: %w", rating.ID, rating.RequestID, err)
	}
	body.fill(&rating)
	return rating, nil
}

// SweepOutputs implements outputlog.Store.
func (s *Store) SweepOutputs(ctx context.Context, at time.Time, limit int) (n int64, err error) {
	err = s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		n, err = exec(ctx, tx, `DELETE FROM outputs WHERE request_id IN (SELECT request_id FROM outputs WHERE expires <= $1 ORDER BY expires, request_id LIMIT $2)`, micros(at), limit)
		return err
	})
	return n, err
}

var errBadVerdict = errors.New("an output holds a verdict that this version does not know")

// indexOf finds a name as it is stored.
func indexOf(names []string, name string) (uint8, error) {
	if i := slices.Index(names, name); i >= 0 {
		return uint8(i), nil
	}
	return 0, fmt.Errorf("%w: %q", errBadVerdict, name)
}
