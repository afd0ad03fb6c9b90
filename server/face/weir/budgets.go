package weir

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/lease"
	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/auth"
	"github.com/weir-gateway/weir/server/face"
)

// BudgetStore keeps how budgets stand and what adjusts them. Its methods are
// safe for concurrent use.
type BudgetStore interface {
	// Standings returns how the windows of a listing stand, those of which most
	// is taken first, and up to limit of them.
	Standings(ctx context.Context, l lease.Listing, limit int) ([]lease.Standing, error)
	// Adjust keeps an adjustment, once for each id. Where the id stands for
	// another one it fails with an error for which Taken is true.
	Adjust(ctx context.Context, a accounting.Adjustment) (accounting.Adjustment, error)
	// Adjustments and Alerts return those of a budget, newest first, and up to
	// limit of them.
	Adjustments(ctx context.Context, tenant, budget string, limit int) ([]accounting.Adjustment, error)
	Alerts(ctx context.Context, tenant, budget string, limit int) ([]accounting.Alert, error)
}

const (
	listWindows = 10  // of each budget in a list
	getWindows  = 100 // of a budget by itself
	getEntries  = 100
)

// ListBudgets tells how a tenant's budgets stand.
func (a *Accounting) ListBudgets(ctx context.Context, req *weirv1.ListBudgetsRequest) (*weirv1.ListBudgetsResponse, error) {
	tenant := segment(req.GetParent(), 1)
	if err := a.maySee(ctx, tenant, tenantType, req.GetParent()); err != nil {
		return nil, err
	}
	page, err := openPage("budgets "+req.GetParent(), req, 1, mostPage)
	if err != nil {
		return nil, err
	}
	a.Settled(ctx)
	now := a.Now()
	out := &weirv1.ListBudgetsResponse{}
	for _, l := range a.Book().Listings(tenant, now) {
		if l.Budget.Name <= page.after[0] {
			continue
		}
		if len(out.Budgets) == page.size {
			out.NextPageToken, err = page.token(segment(out.Budgets[page.size-1].Name, 3))
			return out, err
		}
		b, err := a.budget(ctx, l, now, listWindows)
		if err != nil {
			return nil, err
		}
		out.Budgets = append(out.Budgets, b)
	}
	return out, nil
}

// GetBudget tells how a budget stands, and what befell it.
func (a *Accounting) GetBudget(ctx context.Context, req *weirv1.GetBudgetRequest) (*weirv1.GetBudgetResponse, error) {
	tenant, name := segment(req.GetName(), 1), segment(req.GetName(), 3)
	if err := a.maySee(ctx, tenant, budgetType, req.GetName()); err != nil {
		return nil, err
	}
	a.Settled(ctx)
	now := a.Now()
	for _, l := range a.Book().Listings(tenant, now) {
		if l.Budget.Name != name {
			continue
		}
		b, err := a.budget(ctx, l, now, getWindows)
		if err != nil {
			return nil, err
		}
		adjustments, err := a.Budgets.Adjustments(ctx, tenant, name, getEntries)
		if err != nil {
			return nil, a.away(err)
		}
		alerts, err := a.Budgets.Alerts(ctx, tenant, name, getEntries)
		if err != nil {
			return nil, a.away(err)
		}
		out := &weirv1.GetBudgetResponse{Budget: b}
		for _, e := range adjustments {
			out.Adjustments = append(out.Adjustments, adjustment(e))
		}
		for _, e := range alerts {
			out.Alerts = append(out.Alerts, &weirv1.BudgetAlert{
				Scope: e.Scope, Window: e.Window, Percent: int32(e.Percent),
				Spent: amount(e.Unit, e.Spent), Limit: amount(e.Unit, e.Limit), RaiseTime: timestamppb.New(e.Raised),
			})
		}
		return out, nil
	}
	return nil, missing(budgetType, req.GetName())
}

// AdjustBudget raises or lowers the limit of one window.
func (a *Accounting) AdjustBudget(ctx context.Context, req *weirv1.AdjustBudgetRequest) (*weirv1.AdjustBudgetResponse, error) {
	tenant, name := segment(req.GetName(), 1), segment(req.GetName(), 3)
	if err := a.maySee(ctx, tenant, budgetType, req.GetName()); err != nil {
		return nil, err
	}
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	if !caller.IsPlatform() {
		return nil, &face.DeniedError{Why: "only the platform's key may adjust a budget, as it alone may apply one"}
	}
	now := a.Now()
	if !a.hasBudget(tenant, name, now) {
		return nil, missing(budgetType, req.GetName())
	}
	window, err := a.Book().WindowOf(tenant, name, req.GetScope(), now)
	if err != nil {
		return nil, face.Invalid("scope", "%v", err)
	}
	n, err := amountIn(window.Unit, req.GetAmount())
	if err != nil {
		return nil, face.Invalid("amount", "%v", err)
	}
	kept, err := a.Budgets.Adjust(ctx, accounting.Adjustment{
		ID: req.GetAdjustmentId(), Window: window, Amount: n, Reason: req.GetReason(), Key: caller.Key, Made: now,
	})
	switch {
	case a.Taken(err):
		return nil, &face.ExistsError{Resource: face.Resource{Type: "weir.v1/BudgetAdjustment", Name: req.GetName() + "/adjustments/" + req.GetAdjustmentId()}, Err: err}
	case errors.Is(err, accounting.ErrOverflow):
		return nil, face.Invalid("amount", "the adjustments of one window may not come to that much: apply the budget with another limit")
	case err != nil:
		return nil, a.away(err)
	}
	return &weirv1.AdjustBudgetResponse{Adjustment: adjustment(kept)}, nil
}

// maySee refuses who may not see a tenant's budgets.
func (a *Accounting) maySee(ctx context.Context, tenant, kind, name string) error {
	caller, err := callerOf(ctx)
	if err != nil {
		return err
	}
	return allowed(caller, a.HasTenant, tenant, kind, name, auth.Role.Accounts, "see budgets", "admin, viewer or billing")
}

func (a *Accounting) hasBudget(tenant, name string, at time.Time) bool {
	for _, l := range a.Book().Listings(tenant, at) {
		if l.Budget.Name == name {
			return true
		}
	}
	return false
}

func (a *Accounting) budget(ctx context.Context, l lease.Listing, now time.Time, windows int) (*weirv1.Budget, error) {
	b := l.Budget
	out := &weirv1.Budget{
		Name: fmt.Sprintf("tenants/%s/budgets/%s", b.Tenant, b.Name), Project: b.Project, Per: string(b.Per), Limit: amount(b.Unit, b.Limit),
		Window: string(b.Window), TimeZone: b.TimeZone, Mode: weirv1.BudgetMode_BUDGET_MODE_ENFORCE, GracePercent: int32(b.Grace), Cut: b.Cut,
	}
	if b.Mode == lease.Shadow {
		out.Mode = weirv1.BudgetMode_BUDGET_MODE_SHADOW
	}
	for _, percent := range b.Alerts {
		out.AlertPercents = append(out.AlertPercents, int32(percent))
	}
	standings, err := a.Budgets.Standings(ctx, l, windows)
	if err != nil {
		return nil, a.away(err)
	}
	if len(standings) == 0 && b.Per == lease.PerTenant {
		standings = []lease.Standing{{Scope: string(b.Per), Start: l.Start, End: l.End, Rolls: l.Bucket > 0, Limit: b.Limit}}
	}
	for _, s := range standings {
		out.Windows = append(out.Windows, standing(b.Unit, s, now))
	}
	return out, nil
}

func standing(unit accounting.Unit, s lease.Standing, now time.Time) *weirv1.BudgetWindow {
	out := &weirv1.BudgetWindow{
		Scope: s.Scope, Limit: amount(unit, s.Effective()), Adjusted: amount(unit, s.Adjusted),
		Spent: amount(unit, s.Spent), Held: amount(unit, s.Held), Overrun: amount(unit, s.Overrun),
		RefusedClaims: s.Refused, ExceededClaims: s.Exceeded,
	}
	if !s.Start.IsZero() {
		out.StartTime = timestamppb.New(s.Start)
	}
	if !s.End.IsZero() && !s.Rolls {
		out.EndTime = timestamppb.New(s.End)
	}
	if percent, ok := s.Percent(); ok {
		out.SpentPercent = &percent
	}
	if n, elapsed, ok := s.Forecast(now); ok {
		percent := int32(elapsed)
		out.Forecast, out.ElapsedPercent = amount(unit, n), &percent
	}
	return out
}

func adjustment(e accounting.Adjustment) *weirv1.BudgetAdjustment {
	w := e.Window
	return &weirv1.BudgetAdjustment{
		Name:  fmt.Sprintf("tenants/%s/budgets/%s/adjustments/%s", w.Tenant, w.Budget, e.ID),
		Scope: w.Scope, Window: w.ID, Amount: amount(w.Unit, e.Amount), Reason: e.Reason, Key: e.Key, CreateTime: timestamppb.New(e.Made),
	}
}

// amount is an amount of a budget's unit as weir.v1 tells it.
func amount(unit accounting.Unit, n int64) *weirv1.BudgetAmount {
	switch unit {
	case accounting.UnitTokens:
		return &weirv1.BudgetAmount{Amount: &weirv1.BudgetAmount_Tokens{Tokens: n}}
	case accounting.UnitRequests:
		return &weirv1.BudgetAmount{Amount: &weirv1.BudgetAmount_Requests{Requests: n}}
	}
	return &weirv1.BudgetAmount{Amount: &weirv1.BudgetAmount_Money{Money: face.Money(accounting.Money{Currency: string(unit), Nanos: n})}}
}

// amountIn reads an amount that must be in a budget's unit, and not nothing.
func amountIn(unit accounting.Unit, a *weirv1.BudgetAmount) (n int64, err error) {
	var given accounting.Unit
	switch a := a.GetAmount().(type) {
	case *weirv1.BudgetAmount_Tokens:
		given, n = accounting.UnitTokens, a.Tokens
	case *weirv1.BudgetAmount_Requests:
		given, n = accounting.UnitRequests, a.Requests
	case *weirv1.BudgetAmount_Money:
		m, err := face.AmountOf(a.Money)
		if err != nil {
			return 0, err
		}
		given, n = accounting.Unit(m.Currency), m.Nanos
	}
	switch {
	case given != unit:
		return 0, fmt.Errorf("the budget counts %s: give an amount of that", unit)
	case n == 0:
		return 0, errors.New("it is zero and would change nothing: say by how much")
	}
	return n, nil
}
