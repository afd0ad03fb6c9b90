package lease_test

import (
	"slices"
	"testing"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/lease"
)

func TestAModelAndALabelValueHaveWindowsOfTheirOwn(t *testing.T) {
	k := book(t, budget("m", lease.PerModel, lease.Month), budget("l", lease.PerLabel("team"), lease.Month))
	labelled := func(value string) accounting.Subject {
		s := whole
		s.Labels = map[string]string{"team": value, "other": "x"}
		return s
	}
	for _, c := range []struct {
		subject accounting.Subject
		model   string
		want    []string
	}{
		{labelled("blue"), "small", []string{"acme/l/label/team/blue/2026-07", "acme/m/model/small/2026-07"}},
		{labelled("a/b"), "org/large", []string{"acme/l/label/team/a%2Fb/2026-07", "acme/m/model/org%2Flarge/2026-07"}},
		// A label that is empty is a value; one that is missing is none.
		{labelled(""), "small", []string{"acme/l/label/team//2026-07", "acme/m/model/small/2026-07"}},
		{whole, "small", []string{"acme/m/model/small/2026-07"}},
	} {
		if got := ids(k.Windows(c.subject, c.model, noon)); !slices.Equal(got, c.want) {
			t.Errorf("windows of %v on %q: %q; want %q", c.subject.Labels, c.model, got, c.want)
		}
	}
}

func TestABudgetPerCallHasNoWindow(t *testing.T) {
	all, lab, theirs := budget("all", lease.PerCall, ""), budget("lab", lease.PerCall, ""), budget("theirs", lease.PerCall, "")
	lab.Project, theirs.Tenant = "lab", "other"
	k := book(t, all, lab, theirs, budget("cap", lease.PerTenant, lease.Month))
	if got := ids(k.Windows(whole, "m", noon)); !slices.Equal(got, []string{"acme/cap/tenant/2026-07"}) {
		t.Errorf("windows %q", got)
	}
	inLab := whole
	inLab.Project = "lab"
	for want, s := range map[string]accounting.Subject{"all": whole, "all lab": inLab, "": {Tenant: "nobody"}} {
		got := ""
		for i, b := range k.PerCall(s) {
			if i > 0 {
				got += " "
			}
			got += b.Name
		}
		if got != want {
			t.Errorf("budgets per call of %+v: %q; want %q", s, got, want)
		}
	}
	var none *lease.Book
	if got := none.PerCall(whole); len(got) != 0 {
		t.Errorf("budgets per call of no book: %v", got)
	}
}
