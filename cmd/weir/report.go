package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"sort"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/weir-gateway/weir/accounting"
	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/policy"
)

type reportCommand struct {
	connection
	span
	By     []string `default:"tenant,model" help:"Dimensions: tenant, project, key, model, backend, outcome, end_user, session, service_class, labels.KEY." placeholder:"DIMENSION,…"`
	Tenant string   `help:"One tenant; all that the key may see where it is absent." placeholder:"NAME"`
	Output string   `short:"o" enum:"table,json,csv" default:"table" help:"table, json or csv."`
}

// span is the time that a command asks about.
type span struct {
	Since string `help:"How far back, such as 1h or 7d; 24h where neither this nor --from is there." placeholder:"DURATION"`
	From  string `help:"Instead of --since: from when on, such as 2026-01-01 or 2026-01-01T08:00:00Z." placeholder:"TIME"`
	To    string `help:"Until when, exclusive; now where it is absent." placeholder:"TIME"`
}

// reportRow is a row in one currency. Cost is "" where no price is known.
type reportRow struct {
	dimensions     map[string]string
	calls          int64
	input, output  *int64
	cost, currency string
	saved          string // what cache hits have saved of that currency, "" where nothing
	unpriced       int64
}

func (c *reportCommand) Run(ctx context.Context, t terminal) error {
	from, to, err := c.bounds(time.Now())
	if err != nil {
		return usageError(err)
	}
	ctx, conn, err := c.dial(ctx, t)
	if err != nil {
		return err
	}
	defer conn.Close()
	parent := "tenants/-"
	if c.Tenant != "" {
		parent = "tenants/" + c.Tenant
	}
	client := weirv1.NewAccountingServiceClient(conn)
	var rows []reportRow
	totals, saved := map[string]string{}, map[string]string{}
	var horizon time.Time
	for page := ""; ; {
		answer, err := client.QueryCosts(ctx, &weirv1.QueryCostsRequest{
			Parent: parent, StartTime: timestamppb.New(from), EndTime: timestamppb.New(to), GroupBy: c.By, PageToken: page,
		})
		if err != nil {
			return told(err)
		}
		if at := answer.HorizonTime; at != nil && from.Before(at.AsTime()) {
			horizon = at.AsTime()
		}
		for _, row := range answer.Rows {
			rows = append(rows, reportRows(row)...)
		}
		for _, total := range answer.Totals {
			totals[total.CurrencyCode] = moneyOf(total).Decimal()
		}
		for _, total := range answer.SavedTotals {
			saved[total.CurrencyCode] = moneyOf(total).Decimal()
		}
		if page = answer.NextPageToken; page == "" {
			break
		}
	}
	if !horizon.IsZero() {
		fmt.Fprintf(t.err, "weir: calls from before %s are no longer in the ledger (ledger.keep) and not in this report\n", horizon.Format(time.DateOnly))
	}
	switch c.Output {
	case "json":
		return c.printJSON(t.out, rows, totals, saved)
	case "csv":
		return c.printCSV(t.out, rows)
	}
	return c.printTable(t, rows, totals, saved)
}

func (s *span) bounds(now time.Time) (from, to time.Time, err error) {
	to = now.Add(time.Second) // what has just ended is in
	since := 24 * time.Hour
	if s.Since != "" {
		if s.From != "" {
			return from, to, errors.New("--since and --from both say from when on: keep one")
		}
		if since, err = policy.ParseDuration(s.Since); err != nil || since <= 0 {
			return from, to, fmt.Errorf("--since: %q is not a duration: write it as 90m, 24h or 7d", s.Since)
		}
	}
	from = now.Add(-since)
	read := func(text string) (time.Time, error) {
		at, err := parseTime(text)
		if err != nil {
			err = fmt.Errorf("%q is not a time: write it as 2026-01-01 or 2026-01-01T08:00:00Z", text)
		}
		return at, err
	}
	if s.From != "" {
		if from, err = read(s.From); err != nil {
			return from, to, err
		}
	}
	if s.To != "" {
		if to, err = read(s.To); err != nil {
			return from, to, err
		}
	}
	if !from.Before(to) {
		return from, to, errors.New("that covers no time: --from must be before --to")
	}
	return from, to, nil
}

// reportRows gives a row of the answer one line a currency.
func reportRows(row *weirv1.CostRow) []reportRow {
	one := reportRow{dimensions: row.Dimensions, calls: row.Calls, unpriced: row.UnpricedCalls}
	if u := row.Usage; u != nil { // absent where only attempts failed, of which nobody counts
		one.input, one.output = u.InputTokens, u.OutputTokens
	}
	if len(row.Costs) == 0 {
		return []reportRow{one}
	}
	var rows []reportRow
	for _, cost := range row.Costs {
		one.cost, one.currency, one.saved = moneyOf(cost).Decimal(), cost.CurrencyCode, ""
		for _, saved := range row.SavedCosts {
			if saved.CurrencyCode == cost.CurrencyCode {
				one.saved = moneyOf(saved).Decimal()
			}
		}
		rows = append(rows, one)
	}
	return rows
}

func moneyOf(m *weirv1.Money) accounting.Money {
	return accounting.Money{Currency: m.GetCurrencyCode(), Nanos: m.GetUnits()*1_000_000_000 + int64(m.GetNanos())}
}

func (c *reportCommand) printJSON(w io.Writer, rows []reportRow, totals, saved map[string]string) error {
	out := struct {
		Rows  []map[string]any  `json:"rows"`
		Total map[string]string `json:"total"`
		Saved map[string]string `json:"saved,omitempty"`
	}{Rows: []map[string]any{}, Total: totals, Saved: saved}
	for _, r := range rows {
		row := map[string]any{"calls": r.calls, "cost": nil, "currency": nil}
		for k, v := range r.dimensions {
			row[k] = v
		}
		if r.input != nil {
			row["input_tokens"] = *r.input
		}
		if r.output != nil {
			row["output_tokens"] = *r.output
		}
		if r.currency != "" {
			row["cost"], row["currency"] = r.cost, r.currency
		}
		if r.saved != "" {
			row["saved"] = r.saved
		}
		if r.unpriced > 0 {
			row["unpriced_calls"] = r.unpriced
		}
		out.Rows = append(out.Rows, row)
	}
	return printJSON(w, out)
}

func (c *reportCommand) header() []string {
	return append(append([]string{}, c.By...), "calls", "input_tokens", "output_tokens", "cost", "currency", "saved")
}

func (c *reportCommand) cells(r reportRow) []string {
	count := func(n *int64) string {
		if n == nil {
			return ""
		}
		return fmt.Sprint(*n)
	}
	var cells []string
	for _, d := range c.By {
		cells = append(cells, r.dimensions[d])
	}
	return append(cells, fmt.Sprint(r.calls), count(r.input), count(r.output), r.cost, r.currency, r.saved)
}

func (c *reportCommand) printCSV(w io.Writer, rows []reportRow) error {
	out := csv.NewWriter(w)
	out.Write(c.header())
	for _, r := range rows {
		out.Write(c.cells(r))
	}
	out.Flush()
	return out.Error()
}

func (c *reportCommand) printTable(t terminal, rows []reportRow, totals, saved map[string]string) error {
	if len(rows) == 0 {
		fmt.Fprintln(t.out, "no calls in this time")
		return nil
	}
	shown := len(c.By) + 5
	if len(saved) > 0 {
		shown++ // what is saved, where something is
	}
	var cells [][]string
	unpriced := int64(0)
	for _, r := range rows {
		unpriced += r.unpriced
		cells = append(cells, c.cells(r)[:shown])
	}
	currencies := make([]string, 0, len(totals))
	for currency := range totals {
		currencies = append(currencies, currency)
	}
	sort.Strings(currencies)
	for _, currency := range currencies {
		total := make([]string, len(c.By)+3, len(c.By)+6)
		total[0] = "TOTAL"
		cells = append(cells, append(total, totals[currency], currency, saved[currency])[:shown])
	}
	if err := printTable(t, c.header()[:shown], cells); err != nil {
		return err
	}
	if unpriced > 0 {
		fmt.Fprintf(t.out, "%d calls have no price and are not in the total: apply a document of kind Price for their models\n", unpriced)
	}
	return nil
}
