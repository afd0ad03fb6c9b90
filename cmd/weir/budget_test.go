package main

import (
	"strings"
	"syscall"
	"testing"
)

func TestABudgetIsToppedUp(t *testing.T) {
	p := serve(t, t.TempDir())
	demo, admin := p.key(demoKeyFile), p.key(adminKeyFile)
	p.apply("kind: Budget\nname: cap\ntenant: demo\nlimit: 0.0001 USD\nwindow: month\nalerts: [1%, 100%]\n")
	ask := []string{"call", "-m", "sim-text", "--max-tokens", "200", "say: hello"}
	if code, _, failed := p.run(demo, "", ask...); code != exitExhausted || !strings.Contains(failed, `budget "cap"`) {
		t.Fatalf("%d %s", code, failed)
	}
	adjust := []string{"budget", "adjust", "cap", "--tenant", "demo", "--add", "0.0003 USD", "--reason", "launch day", "--id", "launch"}
	if code, _, failed := p.run(demo, "", adjust...); code != exitFailure || !strings.Contains(failed, "may not") {
		t.Errorf("a tenant tops up its own budget: %d %s", code, failed)
	}
	p.must(nil, admin, adjust...)
	p.must(nil, admin, adjust...) // once
	var told callResult
	p.must(&told, demo, append([]string{"call", "-o", "json"}, ask[1:]...)...)
	if code, _, failed := p.run(demo, "", "call", "-m", "sim-text", "--max-cost", "0.00001 USD", "--max-tokens", "200", "say: hello"); code != exitExhausted || !strings.Contains(failed, "max_cost of this call is 0.00001 USD") {
		t.Errorf("%d %s", code, failed)
	}
	// The end of the process notes what the second before has left.
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Fatalf("%v\n%s", err, p.log)
	}
	if !strings.Contains(p.log.String(), "which is 1% or more of 0.0004 USD") {
		t.Errorf("no line of the log tells of the alert:\n%s", p.log)
	}
	p.start()
	var shown struct {
		budgetResult
		Adjustments []adjustmentResult
		Alerts      []alertResult
	}
	p.must(&shown, admin, "budget", "show", "cap", "--tenant", "demo", "-o", "json")
	if len(shown.Windows) != 1 || len(shown.Adjustments) != 1 || len(shown.Alerts) != 1 {
		t.Fatalf("%+v", shown)
	}
	w := shown.Windows[0]
	if w.Limit != "0.0004 USD" || w.Adjusted != "0.0003 USD" || w.Spent != told.Cost.Amount+" USD" || w.Held != "0.00 USD" || w.RefusedClaims != 1 {
		t.Errorf("window %+v; the call cost %s", w, told.Cost.Amount)
	}
	if a := shown.Adjustments[0]; a.ID != "launch" || a.Reason != "launch day" || a.Amount != "0.0003 USD" || a.Key == "" {
		t.Errorf("adjustment %+v", a)
	}
	if a := shown.Alerts[0]; a.Percent != 1 || a.Spent != w.Spent {
		t.Errorf("alert %+v", a)
	}
	if _, out, _ := p.run(admin, "", "budget", "list", "--tenant", "demo"); !strings.Contains(out, "cap") || !strings.Contains(out, "0.0004 USD") {
		t.Errorf("the table is %q", out)
	}
	if code, _, failed := p.run(admin, "", "budget", "adjust", "cap", "--tenant", "demo", "--add", "5", "--reason", "r"); code != exitUsage {
		t.Errorf("%d %s", code, failed)
	}
}

// A window is topped up by the names that people see, in any writing.
func TestAWindowOfAChineseNameIsToppedUp(t *testing.T) {
	p := serve(t, t.TempDir())
	admin := p.key(adminKeyFile)
	p.apply("{kind: Budget, name: teams, tenant: demo, per: 'label:team', limit: 1 USD, window: month}")
	p.must(nil, p.key(demoKeyFile), "call", "-m", "sim-text", "--label", "team=搜索", "say: 你好")
	p.must(nil, admin, "budget", "adjust", "teams", "--tenant", "demo", "--scope", "label/team/搜索", "--add", "2 USD", "--reason", "春节")
	var shown struct{ Windows []windowResult }
	p.must(&shown, admin, "budget", "show", "teams", "--tenant", "demo", "-o", "json")
	if len(shown.Windows) != 1 || shown.Windows[0].Adjusted != "2.00 USD" || shown.Windows[0].Limit != "3.00 USD" || strings.HasPrefix(shown.Windows[0].Spent, "0.00 ") {
		t.Errorf("windows %+v", shown.Windows)
	}
	if out := p.must(nil, admin, "budget", "list", "--tenant", "demo"); !strings.Contains(out, "label/team/搜索 ") {
		t.Errorf("the table is %q", out)
	}
}
