package weir

import (
	"strings"
	"testing"

	"github.com/weir-gateway/weir/accounting"
	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
)

// A name may leave it to the key whose it is, where it does not mean all tenants.
func TestANameMayLeaveItToTheKey(t *testing.T) {
	h := newHouse(t, strings.ReplaceAll(possessions, "TENANT", "acme")+strings.ReplaceAll(possessions, "TENANT", "other"))
	budgets, keys := weirv1.NewAccountingServiceClient(h.conn), weirv1.NewTenantServiceClient(h.conn)
	one, err := budgets.GetBudget(h.as("admin"), &weirv1.GetBudgetRequest{Name: "tenants/-/budgets/cap"})
	if err != nil || one.Budget.Name != "tenants/acme/budgets/cap" {
		t.Errorf("budget %v, %v", one, err)
	}
	list, err := budgets.ListBudgets(h.as("admin"), &weirv1.ListBudgetsRequest{Parent: "tenants/-", PageSize: 1})
	if err != nil || len(list.Budgets) != 1 || list.Budgets[0].Name != "tenants/acme/budgets/cap" {
		t.Fatalf("budgets %v, %v", list, err)
	}
	// It is one list, whoever is named how.
	rest, err := budgets.ListBudgets(h.as("admin"), &weirv1.ListBudgetsRequest{Parent: "tenants/acme", PageToken: list.NextPageToken})
	if err != nil || len(rest.Budgets) != 1 || rest.Budgets[0].Name != "tenants/acme/budgets/tokens" {
		t.Errorf("rest %v, %v", rest, err)
	}
	made, err := keys.CreateKey(h.as("admin"), &weirv1.CreateKeyRequest{Parent: "tenants/-/projects/default", KeyId: "k", Key: &weirv1.Key{Role: weirv1.KeyRole_KEY_ROLE_MEMBER}})
	if err != nil || made.Key.Name != "tenants/acme/projects/default/keys/k" {
		t.Errorf("key %v, %v", made, err)
	}
	_, err = budgets.ListBudgets(h.as("platform"), &weirv1.ListBudgetsRequest{Parent: "tenants/-"})
	if failure(err) != "InvalidArgument INVALID_REQUEST parent=" || !strings.Contains(err.Error(), "the platform's key belongs to no tenant") {
		t.Errorf("as platform: %v", err)
	}
	_, err = budgets.ListBudgets(h.as("admin"), &weirv1.ListBudgetsRequest{Parent: "tenants/-x"})
	if failure(err) != "InvalidArgument INVALID_REQUEST parent=BUDGETS_PARENT" {
		t.Errorf("a name that begins alike: %v", err)
	}
	// Where it does mean all tenants, it is not what is wrong.
	_, err = budgets.ListLines(h.as("platform"), &weirv1.ListLinesRequest{Parent: "tenants/-", Filter: &weirv1.LineFilter{Outcome: "odd"}})
	if failure(err) != "InvalidArgument INVALID_REQUEST filter.outcome=LINE_FILTER_OUTCOME" {
		t.Errorf("another field is wrong: %v", err)
	}
	for _, o := range accounting.Outcomes() {
		if _, err = budgets.ListLines(h.as("platform"), &weirv1.ListLinesRequest{Parent: "tenants/-", Filter: &weirv1.LineFilter{Outcome: string(o)}}); err != nil {
			t.Errorf("outcome %s: %v", o, err)
		}
	}
	if _, err = budgets.ListBudgets(h.as("member"), &weirv1.ListBudgetsRequest{Parent: "tenants/-"}); failure(err) != no {
		t.Errorf("as member: %v", err)
	}
}

func TestPageSize(t *testing.T) {
	for said, want := range map[int32]int{0: 50, 1: 1, 200: 200, 201: 200, 1 << 30: 200} {
		if got := pageSize(said, 50, 200); got != want {
			t.Errorf("page_size %d is a page of %d, want %d", said, got, want)
		}
	}
}
