package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
)

type ledgerCommand struct {
	List        ledgerListCommand  `cmd:"" help:"List lines of the ledger: each attempt of each call, newest call first."`
	Show        ledgerShowCommand  `cmd:"" help:"Tell all that the ledger has of a call."`
	DeadLetters deadLettersCommand `cmd:"" help:"List what the ledger could not keep, and try it again."`
}

type ledgerListCommand struct {
	connection
	listOutput
	span
	Tenant  string `help:"Tenant whose calls they are; all that the key may see where it is absent." placeholder:"NAME"`
	Outcome string `help:"Only attempts that ended so: completed, cancelled, blocked, cut, deadline, failed, broken, hedge_loser, cache_hit, in_doubt." placeholder:"OUTCOME"`
	Model   string `help:"Only calls of this model." placeholder:"NAME"`
	Backend string `help:"Only attempts at this backend." placeholder:"NAME"`
	Project string `help:"Only calls of this project." placeholder:"NAME"`
	ByKey   string `name:"by-key" help:"Only calls of the key of this name." placeholder:"NAME"`
	Limit   int    `default:"100" help:"Most lines to list; 0 lists all." placeholder:"N"`
}

type ledgerShowCommand struct {
	connection
	listOutput
	RequestID string `arg:"" help:"Id of the call, as weir call and weir ledger list have it."`
	Tenant    string `help:"Tenant whose call it is; any that the key may see where it is absent." placeholder:"NAME"`
}

// lineResult is a line as -o json prints it. What is not known is absent.
type lineResult struct {
	RequestID       string            `json:"request_id"`
	Attempt         int32             `json:"attempt"`
	Line            int32             `json:"line"`
	ClientRequestID string            `json:"client_request_id,omitempty"`
	ParentRequestID string            `json:"parent_request_id,omitempty"`
	Purpose         string            `json:"purpose,omitempty"`
	Tenant          string            `json:"tenant"`
	Project         string            `json:"project,omitempty"`
	Key             string            `json:"key,omitempty"`
	EndUser         string            `json:"end_user,omitempty"`
	Session         string            `json:"session,omitempty"`
	Labels          map[string]string `json:"labels,omitempty"`
	Model           string            `json:"model,omitempty"`
	Backend         string            `json:"backend,omitempty"`
	BackendModel    string            `json:"backend_model,omitempty"`
	Reason          string            `json:"reason,omitempty"`
	Start           string            `json:"start"`
	Seconds         float64           `json:"seconds"`
	Outcome         string            `json:"outcome"`
	Usage           *usageResult      `json:"usage,omitempty"`
	OwnUsage        *usageResult      `json:"own_usage,omitempty"`
	Cost            *moneyResult      `json:"cost,omitempty"`
	ProviderCost    *moneyResult      `json:"provider_cost,omitempty"`
	SavedCost       *moneyResult      `json:"saved_cost,omitempty"`
	Price           string            `json:"price,omitempty"`
	Allocations     map[string]string `json:"allocations,omitempty"`
}

func lineResultOf(l *weirv1.LedgerLine) lineResult {
	r := lineResult{
		RequestID: lastSegment(l.Call), Attempt: l.Attempt, Line: l.Number, ClientRequestID: l.ClientRequestId, ParentRequestID: l.ParentRequestId, Purpose: l.Purpose,
		Tenant: segmentOf(l.Call, 1), Project: l.Project, Key: l.Key, EndUser: l.EndUser, Session: l.Session, Labels: l.Labels,
		Model: l.Model, Backend: l.Backend, BackendModel: l.BackendModel, Reason: l.Reason,
		Start: timeText(l.StartTime), Seconds: l.EndTime.AsTime().Sub(l.StartTime.AsTime()).Seconds(), Outcome: l.Outcome,
		Usage: usageIfKnown(l.Usage), OwnUsage: usageIfKnown(l.OwnUsage), Cost: moneyIfKnown(l.Cost.GetTotal()), ProviderCost: moneyIfKnown(l.ProviderCost), SavedCost: moneyIfKnown(l.SavedCost), Price: l.Cost.GetPriceVersion(),
	}
	for _, a := range l.Allocations {
		if r.Allocations == nil {
			r.Allocations = map[string]string{}
		}
		r.Allocations[a.Window] = amountText(a.Amount)
	}
	return r
}

func usageIfKnown(u *weirv1.Usage) *usageResult {
	if u == nil {
		return nil
	}
	r := usageResultOf(u)
	return &r
}

func moneyIfKnown(m *weirv1.Money) *moneyResult {
	if m == nil {
		return nil
	}
	return &moneyResult{moneyOf(m).Decimal(), m.CurrencyCode}
}

var lineHeader = []string{"start", "request_id", "attempt", "tenant", "key", "model", "backend", "outcome", "input_tokens", "output_tokens", "source", "cost", "reason"}

// lineCells has the cells of a row. A correction is told by its number.
func lineCells(l *weirv1.LedgerLine) []string {
	attempt := strconv.Itoa(int(l.Attempt))
	if l.Number > 0 {
		attempt += "." + strconv.Itoa(int(l.Number))
	}
	input, output, source, cost := "", "", "", ""
	if u := l.Usage; u != nil {
		source = enumWord(u.Source.String(), "QUANTITY_SOURCE_")
		input, output = countText(u.InputTokens), countText(u.OutputTokens)
	}
	if l.Cost != nil {
		cost = moneyOf(l.Cost.Total).String()
	}
	return []string{
		timeText(l.StartTime), lastSegment(l.Call), attempt, segmentOf(l.Call, 1), l.Key, l.Model, l.Backend, l.Outcome, input, output, source, cost, l.Reason,
	}
}

func countText(n *int64) string {
	if n == nil {
		return ""
	}
	return strconv.FormatInt(*n, 10)
}

func linesList(lines []*weirv1.LedgerLine, empty string) list {
	l := list{header: lineHeader, empty: empty}
	results := []lineResult{}
	for _, line := range lines {
		results = append(results, lineResultOf(line))
		l.rows = append(l.rows, lineCells(line))
	}
	l.json = struct {
		Lines []lineResult `json:"lines"`
	}{results}
	return l
}

func (c *ledgerListCommand) Run(ctx context.Context, t terminal) error {
	from, to, err := c.bounds(time.Now())
	if err != nil {
		return usageError(err)
	}
	if c.Limit < 0 {
		return usageError(fmt.Errorf("--limit is %d: it must be 0, for all, or more", c.Limit))
	}
	ctx, conn, err := c.dial(ctx, t)
	if err != nil {
		return err
	}
	defer conn.Close()
	client := weirv1.NewAccountingServiceClient(conn)
	var lines []*weirv1.LedgerLine
	more := false
	if err := everyPage(func(token string) (string, error) {
		answer, err := client.ListLines(ctx, &weirv1.ListLinesRequest{
			Parent: tenantOrOwn(c.Tenant), PageToken: token, PageSize: c.pageSize(len(lines)),
			Filter: &weirv1.LineFilter{
				StartTime: timestamppb.New(from), EndTime: timestamppb.New(to),
				Outcome: c.Outcome, Model: c.Model, Backend: c.Backend, Project: c.Project, Key: c.ByKey,
			},
		})
		lines = append(lines, answer.GetLines()...)
		if c.Limit > 0 && len(lines) >= c.Limit {
			more = answer.GetNextPageToken() != ""
			return "", err
		}
		return answer.GetNextPageToken(), err
	}); err != nil {
		return err
	}
	if more {
		fmt.Fprintf(t.err, "weir: there are more than these %d lines: raise --limit, or narrow --since\n", len(lines))
	}
	return c.print(t, linesList(lines, "no lines of this kind in this time"))
}

// pageSize is how many lines to ask for when there are some already.
func (c *ledgerListCommand) pageSize(have int) int32 {
	const most = 1000
	if c.Limit == 0 {
		return most
	}
	return int32(min(c.Limit-have, most))
}

func (c *ledgerShowCommand) Run(ctx context.Context, t terminal) error {
	ctx, conn, err := c.dial(ctx, t)
	if err != nil {
		return err
	}
	defer conn.Close()
	answer, err := weirv1.NewAccountingServiceClient(conn).GetCall(ctx, &weirv1.GetCallRequest{Name: tenantOrOwn(c.Tenant) + "/calls/" + c.RequestID})
	if err != nil {
		return told(err)
	}
	lines := answer.Call.GetLines()
	if c.Output != "table" {
		return c.print(t, linesList(lines, ""))
	}
	for i, l := range lines {
		if i > 0 {
			fmt.Fprintln(t.out)
		}
		var rows [][]string
		for _, fact := range lineFacts(l) {
			if fact[1] != "" {
				rows = append(rows, fact[:])
			}
		}
		if err := columns(t.out, rows); err != nil {
			return err
		}
	}
	return nil
}

// lineFacts is all of a line, for a person.
func lineFacts(l *weirv1.LedgerLine) [][2]string {
	r := lineResultOf(l)
	attempt := strconv.Itoa(int(l.Attempt))
	if l.Number > 0 {
		attempt += fmt.Sprintf(", correction %d", l.Number)
	}
	facts := [][2]string{
		{"attempt", attempt}, {"outcome", l.Outcome}, {"model", l.Model}, {"backend", l.Backend}, {"backend model", l.BackendModel}, {"reason", l.Reason},
		{"start", r.Start}, {"took", time.Duration(r.Seconds * float64(time.Second)).Round(time.Millisecond).String()},
		{"tenant", r.Tenant}, {"project", l.Project}, {"key", l.Key}, {"end user", l.EndUser}, {"session", l.Session}, {"labels", labelsText(l.Labels)},
		{"client's id", l.ClientRequestId}, {"made for", strings.TrimSpace(l.ParentRequestId + " " + l.Purpose)},
		{"usage", usageText(l.Usage)}, {"own count", usageText(l.OwnUsage)},
	}
	cost := "no price is known"
	if l.Cost != nil {
		cost = moneyOf(l.Cost.Total).String()
	}
	facts = append(facts, [2]string{"cost", cost}, [2]string{"price", r.Price})
	for _, item := range l.Cost.GetLines() {
		facts = append(facts, [2]string{"", fmt.Sprintf("%s: %d at %s, %s", item.Meter, item.Quantity, item.UnitPrice, moneyOf(item.Amount))})
	}
	if l.ProviderCost != nil {
		facts = append(facts, [2]string{"provider's cost", moneyOf(l.ProviderCost).String()})
	}
	if l.SavedCost != nil {
		facts = append(facts, [2]string{"saved", moneyOf(l.SavedCost).String()})
	}
	for i, a := range l.Allocations {
		name := ""
		if i == 0 {
			name = "budgets"
		}
		facts = append(facts, [2]string{name, fmt.Sprintf("%s of %s", amountText(a.Amount), a.Window)})
	}
	return facts
}

func labelsText(labels map[string]string) string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		all = append(all, key+"="+labels[key])
	}
	return strings.Join(all, ", ")
}

// usageText is a usage for people, empty where nobody counted.
func usageText(u *weirv1.Usage) string {
	if u == nil {
		return ""
	}
	var all []string
	for _, of := range []struct {
		n    *int64
		what string
	}{
		{u.InputTokens, "tokens in"}, {u.CacheReadTokens, "of them from a cache"}, {u.OutputTokens, "tokens out"}, {u.ReasoningTokens, "of them reasoning"},
	} {
		if of.n != nil {
			all = append(all, fmt.Sprintf("%d %s", *of.n, of.what))
		}
	}
	text := strings.Join(all, ", ")
	if source := enumWord(u.Source.String(), "QUANTITY_SOURCE_"); source != "" {
		text += " (" + source + ")"
	}
	return text
}
