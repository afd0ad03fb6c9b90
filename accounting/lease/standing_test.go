package lease_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/accounting/lease"
)

func TestAForecastGoesOnAsItWas(t *testing.T) {
	month := lease.Standing{Start: noon.AddDate(0, 0, 0), End: noon.Add(100 * time.Hour), Limit: 100, Spent: 30}
	for hours, want := range map[int][2]int64{1: {3000, 1}, 50: {60, 50}, 75: {40, 75}, 100: {30, 100}} {
		if n, elapsed, ok := month.Forecast(noon.Add(time.Duration(hours) * time.Hour)); !ok || n != want[0] || elapsed != want[1] {
			t.Errorf("after %d hours: %d at %d%%, %t; want %v", hours, n, elapsed, ok, want)
		}
	}
	rolling, total, big := month, month, month
	rolling.Rolls = true
	total.Start, total.End = time.Time{}, time.Time{}
	big.Spent = math.MaxInt64
	for what, s := range map[string]lease.Standing{"rolling": rolling, "total": total, "too much": big} {
		if n, _, ok := s.Forecast(noon.Add(time.Hour)); ok {
			t.Errorf("a window that is %s has a forecast of %d", what, n)
		}
	}
	for _, at := range []time.Time{noon, noon.Add(-time.Hour), noon.Add(101 * time.Hour)} {
		if n, _, ok := month.Forecast(at); ok {
			t.Errorf("at %s: a forecast of %d", at, n)
		}
	}
}

func TestPercentIsOfWhatMayBeTaken(t *testing.T) {
	for _, c := range []struct {
		limit, adjusted, spent int64
		want                   int64 // -1 for none
	}{{10, 0, 5, 50}, {10, 10, 5, 25}, {10, 0, 0, 0}, {3, 0, 2, 66}, {10, -5, 10, 200}, {10, -10, 1, -1}, {0, 0, 1, -1}, {math.MaxInt64, 1 << 60, math.MaxInt64, 100}} {
		got, ok := lease.Standing{Limit: c.limit, Adjusted: c.adjusted, Spent: c.spent}.Percent()
		if !ok {
			got = -1
		}
		if got != c.want {
			t.Errorf("%+v: %d%%", c, got)
		}
	}
}

// The scope that a window has is the one by which it is found again.
func TestAWindowIsFoundByItsScope(t *testing.T) {
	scopes := []lease.Scope{lease.PerTenant, lease.PerProject, lease.PerKey, lease.PerModel, lease.PerEndUser, lease.PerSession, lease.PerLabel("team")}
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.StringN(1, 300, -1)
		s := whole
		s.Project, s.Key, s.EndUser, s.Session = names.Draw(t, "project"), names.Draw(t, "key"), names.Draw(t, "end user"), names.Draw(t, "session")
		s.Labels = map[string]string{"team": names.Draw(t, "team")}
		b := budget("cap", rapid.SampledFrom(scopes).Draw(t, "per"), rapid.SampledFrom([]lease.Period{lease.Total, lease.Day, lease.Rolling(time.Hour)}).Draw(t, "window"))
		k, err := lease.NewBook([]lease.Budget{b})
		if err != nil {
			t.Fatal(err)
		}
		want := k.Windows(s, names.Draw(t, "model"), noon)[0]
		if got, err := k.WindowOf("acme", "cap", want.Scope, noon); err != nil || got != *want {
			t.Fatalf("scope %q: %+v, %v; want %+v", want.Scope, got, err, want)
		}
		l := k.Listings("acme", noon)[0]
		if !strings.HasPrefix(want.Scope, l.Scope) || !l.Many && want.Scope != l.Scope {
			t.Fatalf("listing %+v leaves out window %+v", l, want)
		}
	})
}

// People write names as they are, and mean the window that calls count in.
func TestAWindowIsFoundByNamesAsTheyAreWritten(t *testing.T) {
	k := book(t, budget("l", lease.PerLabel("team"), lease.Day), budget("u", lease.PerEndUser, lease.Day))
	s := whole
	for _, name := range []string{"搜索", "two words", "100%", strings.Repeat("长", 60), "plain"} {
		s.EndUser, s.Labels = name, map[string]string{"team": name}
		for _, w := range k.Windows(s, "m", noon) {
			budget, scope := "l", "label/team/"+name
			if w.Scope[0] == 'e' {
				budget, scope = "u", "end_user/"+name
			}
			if got, err := k.WindowOf("acme", budget, scope, noon); err != nil || got != *w {
				t.Errorf("scope %q: %+v, %v; want %+v", scope, got, err, *w)
			}
		}
	}
}

func TestScopesThatABudgetDoesNotHave(t *testing.T) {
	each := budget("each", lease.PerCall, "")
	k := book(t, budget("cap", lease.PerTenant, lease.Day), budget("k", lease.PerKey, lease.Day), budget("l", lease.PerLabel("team"), lease.Day), each)
	for _, c := range [][3]string{
		{"cap", "tenants", "its scopes are tenant"}, {"cap", "key/a/b", "its scopes are tenant"}, {"k", "", "its scopes are key/NAME/NAME"}, {"k", "key/a", "its scopes are key/NAME/NAME"},
		{"k", "key/a/b/c", "its scopes"}, {"l", "label/other/a", "its scopes are label/team/NAME"}, {"l", "label/team/" + strings.Repeat("x", 600), "its scopes"},
		{"each", "", "has no window"}, {"none", "", "no budget"},
	} {
		if w, err := k.WindowOf("acme", c[0], c[1], noon); err == nil || !strings.Contains(err.Error(), c[2]) {
			t.Errorf("scope %q of %s: %+v, %v", c[1], c[0], w, err)
		}
	}
}
