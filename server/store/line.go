package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/ledger"
)

func compare(a, b string) int { return cmp.Compare(a, b) }

// checkAttempt refuses at the start what could not be written at the end: a
// settle must not fail over a label.
func checkAttempt(a accounting.Attempt) error {
	if a.RequestID == "" || a.Number < 1 {
		return fmt.Errorf("attempt %d of call %q: an attempt needs a request id and a number from 1", a.Number, a.RequestID)
	}
	check := func(what, s string) error {
		if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
			return fmt.Errorf("%s %q holds a zero byte or is not UTF-8: send plain text", what, s)
		}
		return nil
	}
	err := errors.Join(
		check("request id", a.RequestID), check("client request id", a.ClientRequestID), check("parent request id", a.ParentRequestID),
		check("purpose", a.Purpose), check("tenant", a.Subject.Tenant), check("project", a.Subject.Project), check("key", a.Subject.Key),
		check("end user", a.Subject.EndUser), check("session", a.Subject.Session),
		check("model", a.Model), check("backend", a.Backend), check("backend model", a.BackendModel))
	for k, v := range a.Subject.Labels {
		err = errors.Join(err, check("label", k), check("label", v))
	}
	return err
}

// An openBody is an open attempt as it is kept. Its names are stored, so they
// never change.
type openBody struct {
	Request       string            `json:"request"`
	Attempt       int               `json:"attempt"`
	ClientRequest string            `json:"client_request,omitempty"`
	ParentRequest string            `json:"parent_request,omitempty"`
	Purpose       string            `json:"purpose,omitempty"`
	Tenant        string            `json:"tenant,omitempty"`
	Project       string            `json:"project,omitempty"`
	Key           string            `json:"key,omitempty"`
	EndUser       string            `json:"end_user,omitempty"`
	Session       string            `json:"session,omitempty"`
	Labels        map[string]string `json:"labels,omitempty"`
	Model         string            `json:"model,omitempty"`
	Backend       string            `json:"backend,omitempty"`
	BackendModel  string            `json:"backend_model,omitempty"`
	Start         int64             `json:"start"`
	Deadline      int64             `json:"deadline"`
	Claims        []claimBody       `json:"claims,omitempty"`
	Bound         accounting.Usage  `json:"bound"`
	Cost          *costBody         `json:"cost,omitempty"`
}

type claimBody struct {
	Window string          `json:"window"`
	Budget string          `json:"budget"`
	Tenant string          `json:"tenant"`
	Scope  string          `json:"scope"`
	Unit   accounting.Unit `json:"unit"`
	Start  *int64          `json:"start,omitempty"`
	End    *int64          `json:"end,omitempty"`
	Limit  int64           `json:"limit"`
	Amount int64           `json:"amount"`
	Series string          `json:"series,omitempty"`
	Since  *int64          `json:"since,omitempty"`
}

type costBody struct {
	Currency string     `json:"currency"`
	Provider int64      `json:"provider"`
	Charge   int64      `json:"charge"`
	Items    []itemBody `json:"items,omitempty"`
	Version  string     `json:"version"`
}

type itemBody struct {
	Meter    string          `json:"meter"`
	Quantity int64           `json:"quantity"`
	Price    accounting.Pico `json:"price"`
	Amount   int64           `json:"amount"`
}

func bodyOf(o ledger.Open) openBody {
	a, s := o.Attempt, o.Attempt.Subject
	b := openBody{
		Request: a.RequestID, Attempt: a.Number, ClientRequest: a.ClientRequestID, ParentRequest: a.ParentRequestID, Purpose: a.Purpose,
		Tenant: s.Tenant, Project: s.Project, Key: s.Key, EndUser: s.EndUser, Session: s.Session, Labels: s.Labels,
		Model: a.Model, Backend: a.Backend, BackendModel: a.BackendModel,
		Start: micros(a.Start), Deadline: micros(a.Deadline), Bound: o.Bound,
	}
	instant := func(t time.Time) *int64 {
		if t.IsZero() {
			return nil
		}
		return new(micros(t))
	}
	for _, c := range o.Claims {
		w := c.Window
		b.Claims = append(b.Claims, claimBody{w.ID, w.Budget, w.Tenant, w.Scope, w.Unit, instant(w.Start), instant(w.End), w.Limit, c.Amount, w.Series, instant(w.Since)})
	}
	if c := o.Cost; c != nil {
		b.Cost = &costBody{c.ProviderCost.Currency, c.ProviderCost.Nanos, c.Charge.Nanos, itemBodies(c.Items), c.PriceVersion}
	}
	return b
}

func readBody(body string) (ledger.Open, error) {
	var b openBody
	if err := json.Unmarshal([]byte(body), &b); err != nil {
		return ledger.Open{}, fmt.Errorf("open record cannot be read: %w", err)
	}
	o := ledger.Open{
		Attempt: accounting.Attempt{
			RequestID: b.Request, Number: b.Attempt, ClientRequestID: b.ClientRequest, ParentRequestID: b.ParentRequest, Purpose: b.Purpose,
			Subject: accounting.Subject{Tenant: b.Tenant, Project: b.Project, Key: b.Key, EndUser: b.EndUser, Session: b.Session, Labels: b.Labels},
			Model:   b.Model, Backend: b.Backend, BackendModel: b.BackendModel,
			Start: timeOf(b.Start), Deadline: timeOf(b.Deadline),
		},
		Bound: b.Bound,
	}
	instant := func(n *int64) time.Time {
		if n == nil {
			return time.Time{}
		}
		return timeOf(*n)
	}
	for _, c := range b.Claims {
		o.Claims = append(o.Claims, accounting.Claim{Amount: c.Amount, Window: accounting.Window{
			ID: c.Window, Budget: c.Budget, Tenant: c.Tenant, Scope: c.Scope, Unit: c.Unit, Start: instant(c.Start), End: instant(c.End), Limit: c.Limit,
			Series: c.Series, Since: instant(c.Since),
		}})
	}
	if c := b.Cost; c != nil {
		items, err := itemsOf(c.Items, c.Currency)
		if err != nil {
			return ledger.Open{}, err
		}
		o.Cost = &accounting.Cost{
			ProviderCost: accounting.Money{Currency: c.Currency, Nanos: c.Provider}, Charge: accounting.Money{Currency: c.Currency, Nanos: c.Charge},
			Items: items, PriceVersion: c.Version,
		}
	}
	return o, nil
}

func itemBodies(items []accounting.Item) []itemBody {
	var list []itemBody
	for _, i := range items {
		list = append(list, itemBody{i.Meter.String(), i.Quantity, i.Price, i.Amount.Nanos})
	}
	return list
}

func itemsOf(list []itemBody, currency string) ([]accounting.Item, error) {
	var items []accounting.Item
	for _, i := range list {
		m, err := accounting.ParseMeter(i.Meter)
		if err != nil {
			return nil, err
		}
		items = append(items, accounting.Item{Meter: m, Quantity: i.Quantity, Price: i.Price, Amount: accounting.Money{Currency: currency, Nanos: i.Amount}})
	}
	return items, nil
}

// meterColumns stand in the order of accounting.Meters, whose names they have.
const meterColumns = `input, cache_read, cache_write_5m, cache_write_1h, output, reasoning, requests`

const lineColumns = `request_id, attempt, line, client_request_id, parent_request_id, purpose,
	tenant, project, key_name, end_user, session, labels, model, backend, backend_model,
	started, deadline, ended, outcome, quantity_source, ` + meterColumns + `, own_usage,
	currency, provider_nanos, charge_nanos, items, price_version`

var insertLineQuery = func() string {
	marks := make([]string, strings.Count(lineColumns, ",")+1)
	for i := range marks {
		marks[i] = fmt.Sprintf("$%d", i+1)
	}
	return `INSERT INTO lines (` + lineColumns + `) VALUES (` + strings.Join(marks, ", ") + `) ON CONFLICT DO NOTHING`
}()

// insertLine writes a line and returns 1, or 0 where it is there already.
func insertLine(ctx context.Context, tx *sql.Tx, l accounting.Line) (int64, error) {
	if l.Number < 0 {
		return 0, fmt.Errorf("line %d of call %s: lines count from 0", l.Number, l.RequestID)
	}
	labels := l.Subject.Labels
	if labels == nil {
		labels = map[string]string{}
	}
	labelsText, err := json.Marshal(labels)
	if err != nil {
		return 0, err
	}
	own, err := json.Marshal(l.OwnUsage)
	if err != nil {
		return 0, err
	}
	s := l.Subject
	args := []any{
		l.RequestID, l.Attempt.Number, l.Number, l.ClientRequestID, l.ParentRequestID, l.Purpose,
		s.Tenant, s.Project, s.Key, s.EndUser, s.Session, string(labelsText), l.Model, l.Backend, l.BackendModel,
		micros(l.Start), micros(l.Deadline), micros(l.End), string(l.Outcome), string(l.Source),
	}
	for _, m := range accounting.Meters() {
		n, known := l.Usage.Get(m)
		args = append(args, sql.NullInt64{Int64: n, Valid: known})
	}
	args = append(args, string(own))
	if c := l.Cost; c == nil {
		args = append(args, nil, nil, nil, nil, nil)
	} else {
		if c.Charge.Currency != c.ProviderCost.Currency {
			return 0, fmt.Errorf("line of call %s costs %s and charges %s: one line has one currency", l.RequestID, c.ProviderCost.Currency, c.Charge.Currency)
		}
		items, err := json.Marshal(itemBodies(c.Items))
		if err != nil {
			return 0, err
		}
		args = append(args, c.Charge.Currency, c.ProviderCost.Nanos, c.Charge.Nanos, string(items), c.PriceVersion)
	}
	return exec(ctx, tx, insertLineQuery, args...)
}

// Lines returns the lines of a call, by attempt and number.
func (s *Store) Lines(ctx context.Context, requestID string) ([]accounting.Line, error) {
	var lines []accounting.Line
	err := s.read(ctx, func(ctx context.Context, tx *sql.Tx) error {
		lines = nil
		return rows(ctx, tx, `SELECT `+lineColumns+` FROM lines WHERE request_id = $1 ORDER BY attempt, line`, []any{requestID}, func(r *sql.Rows) error {
			l, err := scanLine(r)
			lines = append(lines, l)
			return err
		})
	})
	return lines, err
}

func scanLine(r *sql.Rows) (accounting.Line, error) {
	var (
		l                        accounting.Line
		labels, own              string
		started, deadline, ended int64
		usage                    = make([]sql.NullInt64, len(accounting.Meters()))
		currency, items, version sql.NullString
		provider, charge         sql.NullInt64
	)
	s := &l.Subject
	into := []any{
		&l.RequestID, &l.Attempt.Number, &l.Number, &l.ClientRequestID, &l.ParentRequestID, &l.Purpose,
		&s.Tenant, &s.Project, &s.Key, &s.EndUser, &s.Session, &labels, &l.Model, &l.Backend, &l.BackendModel,
		&started, &deadline, &ended, &l.Outcome, &l.Source,
	}
	for i := range usage {
		into = append(into, &usage[i])
	}
	if err := r.Scan(append(into, &own, &currency, &provider, &charge, &items, &version)...); err != nil {
		return l, err
	}
	l.Start, l.Deadline, l.End = timeOf(started), timeOf(deadline), timeOf(ended)
	for i, m := range accounting.Meters() {
		if usage[i].Valid {
			l.Usage.Set(m, usage[i].Int64)
		}
	}
	if err := json.Unmarshal([]byte(labels), &s.Labels); err != nil {
		return l, err
	}
	if len(s.Labels) == 0 {
		s.Labels = nil
	}
	if err := json.Unmarshal([]byte(own), &l.OwnUsage); err != nil {
		return l, err
	}
	if !currency.Valid {
		return l, nil
	}
	var list []itemBody
	if err := json.Unmarshal([]byte(items.String), &list); err != nil {
		return l, err
	}
	priced, err := itemsOf(list, currency.String)
	l.Cost = &accounting.Cost{
		ProviderCost: accounting.Money{Currency: currency.String, Nanos: provider.Int64}, Charge: accounting.Money{Currency: currency.String, Nanos: charge.Int64},
		Items: priced, PriceVersion: version.String,
	}
	return l, err
}
