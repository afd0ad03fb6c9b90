package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/weir-gateway/weir/accounting"
)

type itemBody struct {
	Meter    string          `json:"meter"`
	Quantity int64           `json:"quantity"`
	Price    accounting.Pico `json:"price"`
	Amount   int64           `json:"amount"`
}

// appendItems writes a list of itemBody as JSON. A line has one, so it is written
// by hand; no meter's name has anything to escape.
func appendItems(b []byte, items []accounting.Item) []byte {
	b = append(b, '[')
	for n := range items {
		i := &items[n]
		if n > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, `{"meter":"`...), i.Meter.String()...), `","quantity":`...)
		b = append(strconv.AppendInt(b, i.Quantity, 10), `,"price":`...)
		b = append(strconv.AppendInt(b, int64(i.Price), 10), `,"amount":`...)
		b = append(strconv.AppendInt(b, i.Amount.Nanos, 10), '}')
	}
	return append(b, ']')
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
	tenant, project, key_name, end_user, session, labels, model, backend, backend_model, reason, asked_class,
	started, deadline, ended, outcome, quantity_source, served_class, ` + meterColumns + `, own_usage,
	currency, provider_nanos, charge_nanos, items, price_version`

// appendLine appends the values of lineColumns, each a string, an int64 or nil.
func appendLine(args []any, l *accounting.Line) ([]any, error) {
	if l.Number < 0 {
		return nil, fmt.Errorf("line %d of call %s: lines count from 0", l.Number, l.RequestID)
	}
	labels := []byte("{}")
	var err error
	if len(l.Subject.Labels) > 0 {
		if labels, err = json.Marshal(l.Subject.Labels); err != nil {
			return nil, err
		}
	}
	own, err := l.OwnUsage.MarshalJSON()
	if err != nil {
		return nil, err
	}
	s := l.Subject
	args = append(args,
		l.RequestID, int64(l.Attempt.Number), int64(l.Number), l.ClientRequestID, l.ParentRequestID, l.Purpose,
		s.Tenant, s.Project, s.Key, s.EndUser, s.Session, string(labels), l.Model, l.Backend, l.BackendModel, l.Reason, string(l.AskedClass),
		micros(l.Start), micros(l.Deadline), micros(l.End), string(l.Outcome), string(l.Source), string(l.ServedClass),
	)
	for _, m := range accounting.Meters() {
		if n, known := l.Usage.Get(m); known {
			args = append(args, n)
		} else {
			args = append(args, nil)
		}
	}
	args = append(args, string(own))
	if c := l.Cost; c == nil {
		args = append(args, nil, nil, nil, nil, nil)
	} else {
		if c.Charge.Currency != c.ProviderCost.Currency {
			return nil, fmt.Errorf("line of call %s costs %s and charges %s: one line has one currency", l.RequestID, c.ProviderCost.Currency, c.Charge.Currency)
		}
		var memory [512]byte
		args = append(args, c.Charge.Currency, c.ProviderCost.Nanos, c.Charge.Nanos, string(appendItems(memory[:0], c.Items)), c.PriceVersion)
	}
	return args, nil
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

// scanLine reads lineColumns and what is selected behind them.
func scanLine(r *sql.Rows, more ...any) (accounting.Line, error) {
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
		&s.Tenant, &s.Project, &s.Key, &s.EndUser, &s.Session, &labels, &l.Model, &l.Backend, &l.BackendModel, &l.Reason, &l.AskedClass,
		&started, &deadline, &ended, &l.Outcome, &l.Source, &l.ServedClass,
	}
	for i := range usage {
		into = append(into, &usage[i])
	}
	into = append(into, &own, &currency, &provider, &charge, &items, &version)
	if err := r.Scan(append(into, more...)...); err != nil {
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
