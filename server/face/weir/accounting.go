package weir

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/weir-gateway/weir/accounting/lease"
	"github.com/weir-gateway/weir/accounting/price"
	"github.com/weir-gateway/weir/accounting/report"
	"github.com/weir-gateway/weir/accounting/spool"
	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/auth"
	"github.com/weir-gateway/weir/server/face"
)

// Accounting answers weir.v1.AccountingService.
type Accounting struct {
	weirv1.UnimplementedAccountingServiceServer

	// Settled waits until what was settled can be seen, or for a moment at most.
	Settled func(context.Context)
	// Sum is that of a report.Store. Where the store is away it fails with
	// *face.UnavailableError.
	Sum func(context.Context, report.Query) (report.Report, error)
	// Lines is ListLines of a report.Store, and fails alike.
	Lines func(context.Context, report.LineQuery) ([]report.Line, error)
	// HasTenant tells whether there is a tenant of that name.
	HasTenant func(name string) bool

	// Prices returns those that are in force.
	Prices func() *price.Catalogue
	// Book returns the budgets that are in force, and Budgets keeps how they
	// stand.
	Book    func() *lease.Book
	Budgets BudgetStore
	// Ledger keeps the leases; Spool tells how this replica's spool stands, and
	// why it is broken where it is.
	Ledger LedgerStore
	Spool  func() (spool.Stats, error)
	// Letters keeps what the ledger could not.
	Letters LetterStore
	// Taken tells whether Adjust failed since the id is another adjustment's.
	Taken func(error) bool
	// Away returns an error of Budgets as *face.UnavailableError where the store
	// is away; nil returns it as it is.
	Away func(error) error
	Now  func() time.Time
}

func (a *Accounting) away(err error) error {
	if a.Away == nil {
		return err
	}
	return a.Away(err)
}

// everyTenant is what AIP-159 calls all tenants.
const everyTenant = "-"

// QueryCosts sums what calls cost.
func (a *Accounting) QueryCosts(ctx context.Context, req *weirv1.QueryCostsRequest) (*weirv1.QueryCostsResponse, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	q := report.Query{
		From: req.GetStartTime().AsTime(), To: req.GetEndTime().AsTime(),
		GroupBy: req.GetGroupBy(), Limit: pageSize(req.GetPageSize(), report.DefaultLimit, report.MaxLimit),
	}
	if q.Tenant, err = a.tenant(caller, segment(req.GetParent(), 1)); err != nil {
		return nil, err
	}
	if q.After, err = readPage(req); err != nil {
		return nil, err
	}
	if err := q.Validate(); err != nil {
		return nil, face.Invalid("group_by", "%v", err)
	}
	a.Settled(ctx)
	sums, err := a.Sum(ctx, q)
	if err != nil {
		return nil, err
	}
	out := &weirv1.QueryCostsResponse{}
	if !sums.Horizon.IsZero() {
		out.HorizonTime = timestamppb.New(sums.Horizon)
	}
	for _, r := range sums.Rows {
		out.Rows = append(out.Rows, row(q.GroupBy, r))
	}
	for _, m := range sums.Totals {
		out.Totals = append(out.Totals, face.Money(m))
	}
	for _, m := range sums.Saved {
		out.SavedTotals = append(out.SavedTotals, face.Money(m))
	}
	if sums.Next != nil {
		if out.NextPageToken, err = writePage(req, sums.Next); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// tenant is whose costs a caller may see: its own, and the platform everyone's.
// Empty means all. Asking for all, a tenant gets all that it may see: its own.
func (a *Accounting) tenant(caller auth.Caller, asked string) (string, error) {
	switch {
	case !caller.IsPlatform():
		if asked == everyTenant {
			return caller.Tenant, nil
		}
		if asked != caller.Tenant {
			return "", missing(tenantType, "tenants/"+asked)
		}
	case asked == everyTenant:
		return "", nil
	case !a.HasTenant(asked):
		return "", missing(tenantType, "tenants/"+asked)
	}
	return asked, nil
}

func row(groupBy []string, r report.Row) *weirv1.CostRow {
	out := &weirv1.CostRow{
		Dimensions: map[string]string{}, Calls: r.Calls, Attempts: r.Attempts,
		Usage: face.Usage(r.Usage, ""), UnpricedCalls: r.Unpriced,
	}
	for i, name := range groupBy {
		if r.Dimensions[i] != "" {
			out.Dimensions[name] = r.Dimensions[i]
		}
	}
	for _, m := range r.Costs {
		out.Costs = append(out.Costs, face.Money(m))
	}
	for _, m := range r.Saved {
		out.SavedCosts = append(out.SavedCosts, face.Money(m))
	}
	return out
}

// costPage is what a page token says: where to go on, in which report.
type costPage struct {
	After  []string `json:"after"`
	Report []byte   `json:"report"`
}

// reportID tells reports apart, since a token of one makes no sense in another.
func reportID(req *weirv1.QueryCostsRequest) ([]byte, error) {
	text, err := json.Marshal([]any{req.GetParent(), req.GetStartTime().AsTime(), req.GetEndTime().AsTime(), req.GetGroupBy()})
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	return sum[:8], nil
}

func writePage(req *weirv1.QueryCostsRequest, after []string) (string, error) {
	id, err := reportID(req)
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(costPage{After: after, Report: id})
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(text), nil
}

func readPage(req *weirv1.QueryCostsRequest) ([]string, error) {
	if req.GetPageToken() == "" {
		return nil, nil
	}
	foreign := face.Invalid("page_token", "it is not of this report: send next_page_token of the page before, with all other fields the same")
	text, err := base64.RawURLEncoding.DecodeString(req.GetPageToken())
	if err != nil {
		return nil, foreign
	}
	var p costPage
	if err := json.Unmarshal(text, &p); err != nil {
		return nil, foreign
	}
	id, err := reportID(req)
	if err != nil {
		return nil, err
	}
	if string(id) != string(p.Report) || len(p.After) != len(req.GetGroupBy()) {
		return nil, foreign
	}
	return p.After, nil
}
