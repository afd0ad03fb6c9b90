package lease_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/lease"
)

func TestAWindowCarriesHowItsBudgetDealsWithItsLimit(t *testing.T) {
	strict, lenient := budget("strict", lease.PerTenant, lease.Month), budget("lenient", lease.PerTenant, lease.Month)
	strict.Mode = lease.Enforce
	lenient.Mode, lenient.Grace, lenient.Alerts = lease.Shadow, 10, []int{80, 50}
	k := book(t, strict, lenient)
	w := k.Windows(whole, "m", noon)
	if w[0].Budget != "lenient" || !w[0].Shadow || w[0].Grace != 5e8 || w[1].Shadow || w[1].Grace != 0 {
		t.Errorf("windows %+v and %+v", *w[0], *w[1])
	}
	if got := k.Alerts("acme", "lenient"); !slices.Equal(got, []int{80, 50}) {
		t.Errorf("alerts %v", got)
	}
	var none *lease.Book
	if len(k.Alerts("acme", "strict"))+len(k.Alerts("other", "lenient"))+len(none.Alerts("acme", "lenient")) > 0 {
		t.Error("a budget without alerts has some")
	}
}

func TestModesThatMakeNoSenseAreRefused(t *testing.T) {
	for want, change := range map[string]func(*lease.Budget){
		"not a mode":              func(b *lease.Budget) { b.Mode = "strict" },
		"use at most 100%":        func(b *lease.Budget) { b.Grace = 101 },
		"overflows":               func(b *lease.Budget) { b.Limit, b.Grace = math.MaxInt64, 1 },
		"use 1% to 1000%":         func(b *lease.Budget) { b.Alerts = []int{0} },
		"an alert at 1001%":       func(b *lease.Budget) { b.Alerts = []int{1001} },
		"two alerts at 50%":       func(b *lease.Budget) { b.Alerts = []int{50, 80, 50} },
		"use at most 10":          func(b *lease.Budget) { b.Alerts = []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11} },
		"no window to alert of":   func(b *lease.Budget) { b.Per, b.Window, b.Alerts = lease.PerCall, "", []int{50} },
		"a request cannot be cut": func(b *lease.Budget) { b.Unit, b.Cut = accounting.UnitRequests, true },
	} {
		b := budget("cap", lease.PerTenant, lease.Month)
		change(&b)
		if _, err := lease.NewBook([]lease.Budget{b}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q in it", err, want)
		}
	}
	for s, want := range map[string]int{"50%": 50, " 1000% ": 1000, "0%": 0} {
		if n, err := lease.ParsePercent(s); err != nil || n != want {
			t.Errorf("%q reads %d, %v", s, n, err)
		}
	}
	for _, s := range []string{"", "50", "%", "-1%", "1.5%", "5 %", "99999999999%"} {
		if n, err := lease.ParsePercent(s); err == nil {
			t.Errorf("%q reads %d", s, n)
		}
	}
}
