package weir

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/status"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/auth"
)

const budgets = `---
kind: Budget
name: cap
tenant: acme
limit: 5 USD
window: month
time_zone: Europe/Berlin
mode: shadow
alerts: [50%, 100%]
grace: 10%
cut: true
---
kind: Budget
name: keys
tenant: acme
per: key
limit: 1M tokens
window: rolling 7d
---
kind: Budget
name: each
tenant: acme
project: default
per: call
limit: 2 requests
---
kind: Budget
name: theirs
tenant: other
limit: 5 USD
window: total
`

func usd(units int64, nanos int32) *weirv1.BudgetAmount {
	return &weirv1.BudgetAmount{Amount: &weirv1.BudgetAmount_Money{Money: &weirv1.Money{CurrencyCode: "USD", Units: units, Nanos: nanos}}}
}

func topUp(name, id string, amount *weirv1.BudgetAmount) *weirv1.AdjustBudgetRequest {
	return &weirv1.AdjustBudgetRequest{Name: name, Amount: amount, Reason: "a good month", AdjustmentId: id}
}

func TestBudgets(t *testing.T) {
	h := newHouse(t, budgets)
	h.key("neighbour", "other", auth.Admin)
	at := time.Date(2026, 7, 11, 6, 0, 0, 0, time.UTC)
	h.Clock = func() time.Time { return at }
	client := weirv1.NewAccountingServiceClient(h.conn)
	a, err := weirv1.NewGenerationServiceClient(h.conn).Generate(h.as("member"), ask("sim", "say: hi"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.AdjustBudget(h.as("platform"), topUp("tenants/acme/budgets/cap", "july", usd(-1, 0))); err != nil {
		t.Fatal(err)
	}
	h.Sync()
	if err := h.Ledger.Leases.Close(t.Context()); err != nil { // which keeps some room for the next call
		t.Fatal(err)
	}
	got, err := client.GetBudget(h.as("admin"), &weirv1.GetBudgetRequest{Name: "tenants/acme/budgets/cap"})
	if err != nil {
		t.Fatal(err)
	}
	b := got.Budget
	if b.Name != "tenants/acme/budgets/cap" || b.Per != "tenant" || b.Limit.GetMoney().GetUnits() != 5 || b.Window != "month" || b.TimeZone != "Europe/Berlin" ||
		b.Mode != weirv1.BudgetMode_BUDGET_MODE_SHADOW || b.GracePercent != 10 || fmt.Sprint(b.AlertPercents) != "[50 100]" || !b.Cut || len(b.Windows) != 1 {
		t.Errorf("budget is %v", b)
	}
	w, spent := b.Windows[0], int64(a.Cost.GetTotal().GetNanos())
	if w.Scope != "tenant" || w.Limit.GetMoney().GetUnits() != 4 || w.Adjusted.GetMoney().GetUnits() != -1 || int64(w.Spent.GetMoney().GetNanos()) != spent ||
		w.Held.GetMoney().GetNanos() != 0 || w.GetSpentPercent() != 0 || w.StartTime.AsTime() != time.Date(2026, 6, 30, 22, 0, 0, 0, time.UTC) {
		t.Errorf("window is %v; %d nanos were spent", w, spent)
	}
	// Ten days and eight hours of the 31 days of July in Berlin.
	if want := spent * 31 * 24 / (10*24 + 8); int64(w.Forecast.GetMoney().GetNanos()) != want || w.GetElapsedPercent() != 33 {
		t.Errorf("forecast is %v at %d%%; want %d", w.Forecast, w.GetElapsedPercent(), want)
	}
	if len(got.Adjustments) != 1 || got.Adjustments[0].Name != "tenants/acme/budgets/cap/adjustments/july" || got.Adjustments[0].Reason != "a good month" ||
		got.Adjustments[0].Key != "platform" || got.Adjustments[0].Window != "acme/cap/tenant/2026-07" || !got.Adjustments[0].CreateTime.AsTime().Equal(at) {
		t.Errorf("adjustments are %v", got.Adjustments)
	}

	// Pages hold each budget once, by name.
	var names []string
	req := &weirv1.ListBudgetsRequest{Parent: "tenants/acme", PageSize: 2}
	for {
		page, err := client.ListBudgets(h.as("admin"), req)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range page.Budgets {
			names = append(names, fmt.Sprint(b.Name, " ", len(b.Windows)))
		}
		if req.PageToken = page.NextPageToken; req.PageToken == "" {
			break
		}
	}
	if want := "tenants/acme/budgets/cap 1, tenants/acme/budgets/each 0, tenants/acme/budgets/keys 1"; strings.Join(names, ", ") != want {
		t.Errorf("budgets are %q", names)
	}
	first, _ := client.ListBudgets(h.as("platform"), &weirv1.ListBudgetsRequest{Parent: "tenants/acme", PageSize: 1})
	for _, bad := range []*weirv1.ListBudgetsRequest{{Parent: "tenants/other", PageToken: first.NextPageToken}, {Parent: "tenants/acme", PageToken: "?"}} {
		if _, err := client.ListBudgets(h.as("platform"), bad); failure(err) != "InvalidArgument INVALID_REQUEST page_token=" {
			t.Errorf("a token of another list: %v", err)
		}
	}
}

func TestWhoMaySeeAndAdjustBudgets(t *testing.T) {
	h := newHouse(t, budgets)
	h.key("neighbour", "other", auth.Admin)
	client := weirv1.NewAccountingServiceClient(h.conn)
	const none = "NotFound RESOURCE_NOT_FOUND"
	const denied = "PermissionDenied PERMISSION_DENIED"
	for _, c := range []struct{ who, tenant, see, adjust string }{
		{"platform", "acme", "OK", "OK"},
		{"platform", "none", none, none},
		{"admin", "acme", "OK", denied},
		{"member", "acme", denied, denied},
		{"neighbour", "acme", none, none},
		{"neighbour", "none", none, none},
		{"nobody", "acme", "Unauthenticated CREDENTIALS_INVALID", "Unauthenticated CREDENTIALS_INVALID"},
	} {
		name := "tenants/" + c.tenant + "/budgets/cap"
		_, err := client.ListBudgets(h.as(c.who), &weirv1.ListBudgetsRequest{Parent: "tenants/" + c.tenant})
		if got := failure(err); got != c.see {
			t.Errorf("%s lists those of %s: %s", c.who, c.tenant, got)
		}
		_, err = client.GetBudget(h.as(c.who), &weirv1.GetBudgetRequest{Name: name})
		if got := failure(err); got != c.see {
			t.Errorf("%s gets one of %s: %s", c.who, c.tenant, got)
		}
		_, err = client.AdjustBudget(h.as(c.who), topUp(name, "up", usd(1, 0)))
		if got := failure(err); got != c.adjust {
			t.Errorf("%s adjusts one of %s: %s", c.who, c.tenant, got)
		}
	}
	_, theirs := client.GetBudget(h.as("admin"), &weirv1.GetBudgetRequest{Name: "tenants/other/budgets/theirs"})
	_, missing := client.GetBudget(h.as("admin"), &weirv1.GetBudgetRequest{Name: "tenants/other/budgets/nobody"})
	if a, b := status.Convert(theirs).Message(), status.Convert(missing).Message(); strings.ReplaceAll(a, "theirs", "nobody") != b {
		t.Errorf("another tenant's budget is told apart from one that is not there: %q and %q", a, b)
	}
}

func TestAdjustmentsThatMakeNoSense(t *testing.T) {
	h := newHouse(t, budgets)
	client := weirv1.NewAccountingServiceClient(h.conn)
	tokens := &weirv1.BudgetAmount{Amount: &weirv1.BudgetAmount_Tokens{Tokens: 1000}}
	cap := "tenants/acme/budgets/cap"
	scoped := topUp("tenants/acme/budgets/keys", "k", tokens)
	scoped.Scope = "key/default/member"
	if _, err := client.AdjustBudget(h.as("platform"), scoped); err != nil {
		t.Errorf("the window of a key: %v", err)
	}
	if _, err := client.AdjustBudget(h.as("platform"), topUp(cap, "once", usd(1, 0))); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		name string
		req  *weirv1.AdjustBudgetRequest
		want string
	}{
		{"once more", topUp(cap, "once", usd(1, 0)), "OK"},
		{"another amount", topUp(cap, "once", usd(2, 0)), "AlreadyExists RESOURCE_EXISTS"},
		{"another unit", topUp(cap, "a", tokens), "InvalidArgument INVALID_REQUEST amount="},
		{"no unit", topUp(cap, "a", &weirv1.BudgetAmount{}), "InvalidArgument INVALID_REQUEST amount="},
		{"nothing", topUp(cap, "a", usd(0, 0)), "InvalidArgument INVALID_REQUEST amount="},
		{"too much", topUp(cap, "a", usd(5_000_000_000, 0)), "InvalidArgument INVALID_REQUEST amount="},
		{"beyond 64 bits", topUp(cap, "a", usd(1<<60, 0)), "InvalidArgument INVALID_REQUEST amount="},
		{"no scope", topUp("tenants/acme/budgets/keys", "a", tokens), "InvalidArgument INVALID_REQUEST scope="},
		{"per call", topUp("tenants/acme/budgets/each", "a", tokens), "InvalidArgument INVALID_REQUEST scope="},
		{"no budget", topUp("tenants/acme/budgets/none", "a", tokens), "NotFound RESOURCE_NOT_FOUND"},
		{"no reason", &weirv1.AdjustBudgetRequest{Name: cap, Amount: usd(1, 0), AdjustmentId: "a"}, "InvalidArgument INVALID_REQUEST reason=STRING_MIN_LEN"},
		{"no id", &weirv1.AdjustBudgetRequest{Name: cap, Amount: usd(1, 0), Reason: "r"}, "InvalidArgument INVALID_REQUEST adjustment_id=ADJUSTMENT_ID"},
		{"no name", topUp("acme/cap", "a", usd(1, 0)), "InvalidArgument INVALID_REQUEST name=BUDGET_NAME"},
	} {
		if _, err := client.AdjustBudget(h.as("platform"), c.req); failure(err) != c.want {
			t.Errorf("%s: %s; want %s (%v)", c.name, failure(err), c.want, err)
		}
	}
	got, err := client.GetBudget(h.as("platform"), &weirv1.GetBudgetRequest{Name: cap})
	if err != nil || got.Budget.Windows[0].Adjusted.GetMoney().GetUnits() != 1 || len(got.Adjustments) != 1 {
		t.Errorf("%v, %v; want an adjustment of 1 USD", got, err)
	}
}
