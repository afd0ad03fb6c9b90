package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/lease"
	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
)

type budgetCommand struct {
	List   budgetListCommand   `cmd:"" help:"Tell how a tenant's budgets stand."`
	Show   budgetShowCommand   `cmd:"" help:"Tell how a budget stands, and what befell it."`
	Adjust budgetAdjustCommand `cmd:"" help:"Raise or lower the limit of a budget's window of now."`
}

type budgetListCommand struct {
	connection
	listOutput
	Tenant string `help:"Tenant whose budgets they are; that of the key where it is absent." placeholder:"NAME"`
}

type budgetShowCommand struct {
	connection
	Name   string `arg:"" help:"Name of the budget."`
	Tenant string `help:"Tenant whose budget it is; that of the key where it is absent." placeholder:"NAME"`
	Output string `short:"o" enum:"table,json" default:"table" help:"table or json."`
}

type budgetAdjustCommand struct {
	connection
	Name   string `arg:"" help:"Name of the budget."`
	Tenant string `required:"" help:"Tenant whose budget it is." placeholder:"NAME"`
	Add    string `required:"" help:"By how much, such as \"5 USD\" or \"1M tokens\"; --add=\"-5 USD\" lowers it." placeholder:"AMOUNT"`
	Reason string `required:"" help:"Why; it is kept." placeholder:"TEXT"`
	Scope  string `help:"Whose window, as weir budget show has it; the tenant's where it is absent." placeholder:"SCOPE"`
	ID     string `help:"Name of the adjustment: sent again it makes no second one. Made up where it is absent." placeholder:"NAME"`
	Output string `short:"o" enum:"text,json" default:"text" help:"text or json."`
}

func (c *budgetListCommand) Run(ctx context.Context, t terminal) error {
	ctx, conn, err := c.dial(ctx, t)
	if err != nil {
		return err
	}
	defer conn.Close()
	client := weirv1.NewAccountingServiceClient(conn)
	var budgets []*weirv1.Budget
	if err := everyPage(func(token string) (string, error) {
		answer, err := client.ListBudgets(ctx, &weirv1.ListBudgetsRequest{Parent: tenantOrOwn(c.Tenant), PageToken: token})
		budgets = append(budgets, answer.GetBudgets()...)
		return answer.GetNextPageToken(), err
	}); err != nil {
		return err
	}
	results := []budgetResult{}
	for _, b := range budgets {
		results = append(results, budgetResultOf(b))
	}
	return c.print(t, list{
		header: windowHeader, rows: windowRows(budgets), empty: "the tenant has no budgets",
		json: struct {
			Budgets []budgetResult `json:"budgets"`
		}{results},
	})
}

func (c *budgetShowCommand) Run(ctx context.Context, t terminal) error {
	ctx, conn, err := c.dial(ctx, t)
	if err != nil {
		return err
	}
	defer conn.Close()
	answer, err := weirv1.NewAccountingServiceClient(conn).GetBudget(ctx, &weirv1.GetBudgetRequest{Name: budgetName(c.Tenant, c.Name)})
	if err != nil {
		return told(err)
	}
	if c.Output == "json" {
		out := struct {
			budgetResult
			Adjustments []adjustmentResult `json:"adjustments"`
			Alerts      []alertResult      `json:"alerts"`
		}{budgetResultOf(answer.Budget), []adjustmentResult{}, []alertResult{}}
		for _, a := range answer.Adjustments {
			out.Adjustments = append(out.Adjustments, adjustmentResultOf(a))
		}
		for _, a := range answer.Alerts {
			out.Alerts = append(out.Alerts, alertResult{a.Scope, a.Window, a.Percent, amountText(a.Spent), amountText(a.Limit), timeText(a.RaiseTime)})
		}
		return printJSON(t.out, out)
	}
	if err := printTable(t, windowHeader, windowRows([]*weirv1.Budget{answer.Budget})); err != nil {
		return err
	}
	for _, a := range answer.Adjustments {
		fmt.Fprintf(t.out, "%s  %s was adjusted by %s by key %s: %s (%s)\n", timeText(a.CreateTime), a.Window, amountText(a.Amount), a.Key, a.Reason, lastSegment(a.Name))
	}
	for _, a := range answer.Alerts {
		fmt.Fprintf(t.out, "%s  %s reached %d%%: %s of %s\n", timeText(a.RaiseTime), a.Window, a.Percent, amountText(a.Spent), amountText(a.Limit))
	}
	return nil
}

func (c *budgetAdjustCommand) Run(ctx context.Context, t terminal) error {
	amount, err := signedAmount(c.Add)
	if err != nil {
		return usageError(err)
	}
	if c.ID == "" {
		c.ID = uuid.NewString()
	}
	ctx, conn, err := c.dial(ctx, t)
	if err != nil {
		return err
	}
	defer conn.Close()
	answer, err := weirv1.NewAccountingServiceClient(conn).AdjustBudget(ctx, &weirv1.AdjustBudgetRequest{
		Name: budgetName(c.Tenant, c.Name), Scope: c.Scope, Amount: amount, Reason: c.Reason, AdjustmentId: c.ID,
	})
	if err != nil {
		return told(err)
	}
	if c.Output == "json" {
		return printJSON(t.out, adjustmentResultOf(answer.Adjustment))
	}
	fmt.Fprintf(t.out, "%s is adjusted by %s (%s)\n", answer.Adjustment.Window, amountText(answer.Adjustment.Amount), lastSegment(answer.Adjustment.Name))
	return nil
}

func budgetName(tenant, name string) string { return tenantOrOwn(tenant) + "/budgets/" + name }

// segmentOf returns the n-th segment of a resource name.
func segmentOf(name string, n int) string { return strings.Split(name, "/")[n] }

func lastSegment(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

// signedAmount reads a limit that may be below zero.
func signedAmount(s string) (*weirv1.BudgetAmount, error) {
	digits, negative := strings.CutPrefix(strings.TrimSpace(s), "-")
	n, unit, err := lease.ParseLimit(digits)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, errors.New("--add is zero and would change nothing: say by how much")
	}
	if negative {
		n = -n
	}
	switch unit {
	case accounting.UnitTokens:
		return &weirv1.BudgetAmount{Amount: &weirv1.BudgetAmount_Tokens{Tokens: n}}, nil
	case accounting.UnitRequests:
		return &weirv1.BudgetAmount{Amount: &weirv1.BudgetAmount_Requests{Requests: n}}, nil
	}
	units, nanos := accounting.Money{Currency: string(unit), Nanos: n}.Units()
	return &weirv1.BudgetAmount{Amount: &weirv1.BudgetAmount_Money{Money: &weirv1.Money{CurrencyCode: string(unit), Units: units, Nanos: nanos}}}, nil
}

// amountText is an amount for people and scripts, empty where it is absent.
func amountText(a *weirv1.BudgetAmount) string {
	switch a := a.GetAmount().(type) {
	case *weirv1.BudgetAmount_Tokens:
		return accounting.FormatAmount(accounting.UnitTokens, a.Tokens)
	case *weirv1.BudgetAmount_Requests:
		return accounting.FormatAmount(accounting.UnitRequests, a.Requests)
	case *weirv1.BudgetAmount_Money:
		return moneyOf(a.Money).String()
	}
	return ""
}

func timeText(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return t.AsTime().Format(time.RFC3339)
}

var windowHeader = []string{"budget", "window", "scope", "limit", "adjusted", "spent", "used", "held", "overrun", "refused", "forecast", "ends"}

// windowRows has a row for each window, and one for a budget that has none now.
func windowRows(budgets []*weirv1.Budget) (rows [][]string) {
	for _, b := range budgets {
		name, window := lastSegment(b.Name), b.Window
		if window == "" {
			window = b.Per
		}
		if b.Mode == weirv1.BudgetMode_BUDGET_MODE_SHADOW {
			name += " (shadow)"
		}
		if len(b.Windows) == 0 {
			rows = append(rows, []string{name, window, "-", amountText(b.Limit), "", "", "", "", "", "", "", ""})
		}
		for _, s := range b.Windows {
			used, forecast := "", ""
			if s.SpentPercent != nil {
				used = fmt.Sprintf("%d%%", *s.SpentPercent)
			}
			if s.Forecast != nil {
				forecast = fmt.Sprintf("%s (at %d%%)", amountText(s.Forecast), s.GetElapsedPercent())
			}
			rows = append(rows, []string{
				name, window, scopeText(s.Scope), amountText(s.Limit), amountText(s.Adjusted), amountText(s.Spent), used, amountText(s.Held), amountText(s.Overrun),
				strconv.FormatInt(s.RefusedClaims, 10), forecast, timeText(s.EndTime),
			})
		}
	}
	return rows
}

// scopeText shows the names of a scope as they are, where that leaves no doubt
// which they are; weir budget adjust takes both ways to write them.
func scopeText(scope string) string {
	names := strings.Split(scope, "/")
	for i, name := range names {
		if plain, err := url.PathUnescape(name); err == nil && !strings.ContainsAny(plain, "/%") {
			names[i] = plain
		}
	}
	return strings.Join(names, "/")
}

// The results are what -o json prints; amounts are texts such as "5.00 USD".

type budgetResult struct {
	Name    string         `json:"name"`
	Project string         `json:"project,omitempty"`
	Per     string         `json:"per"`
	Limit   string         `json:"limit"`
	Window  string         `json:"window,omitempty"`
	Mode    string         `json:"mode"`
	Windows []windowResult `json:"windows"`
}

type windowResult struct {
	Scope          string `json:"scope"`
	Start          string `json:"start,omitempty"`
	End            string `json:"end,omitempty"`
	Limit          string `json:"limit"`
	Adjusted       string `json:"adjusted"`
	Spent          string `json:"spent"`
	Held           string `json:"held"`
	Overrun        string `json:"overrun"`
	RefusedClaims  int64  `json:"refused_claims"`
	ExceededClaims int64  `json:"exceeded_claims"`
	SpentPercent   *int64 `json:"spent_percent"`
	Forecast       string `json:"forecast,omitempty"`
	ElapsedPercent *int32 `json:"elapsed_percent,omitempty"`
}

type adjustmentResult struct {
	ID     string `json:"id"`
	Scope  string `json:"scope"`
	Window string `json:"window"`
	Amount string `json:"amount"`
	Reason string `json:"reason"`
	Key    string `json:"key"`
	Time   string `json:"time"`
}

type alertResult struct {
	Scope   string `json:"scope"`
	Window  string `json:"window"`
	Percent int32  `json:"percent"`
	Spent   string `json:"spent"`
	Limit   string `json:"limit"`
	Time    string `json:"time"`
}

func budgetResultOf(b *weirv1.Budget) budgetResult {
	out := budgetResult{
		Name: lastSegment(b.Name), Project: b.Project, Per: b.Per, Limit: amountText(b.Limit), Window: b.Window,
		Mode: enumWord(b.Mode.String(), "BUDGET_MODE_"), Windows: []windowResult{},
	}
	for _, w := range b.Windows {
		out.Windows = append(out.Windows, windowResult{
			w.Scope, timeText(w.StartTime), timeText(w.EndTime), amountText(w.Limit), amountText(w.Adjusted), amountText(w.Spent), amountText(w.Held),
			amountText(w.Overrun), w.RefusedClaims, w.ExceededClaims, w.SpentPercent, amountText(w.Forecast), w.ElapsedPercent,
		})
	}
	return out
}

func adjustmentResultOf(a *weirv1.BudgetAdjustment) adjustmentResult {
	return adjustmentResult{lastSegment(a.Name), a.Scope, a.Window, amountText(a.Amount), a.Reason, a.Key, timeText(a.CreateTime)}
}
