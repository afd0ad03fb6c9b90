package main

import (
	"context"
	"database/sql"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
)

// The life of a dead letter, as an operator sees it: the database refuses a line,
// the process is killed and started again, and the line comes in after all.
func TestADeadLetterIsReplayed(t *testing.T) {
	dir := t.TempDir()
	p := serve(t, dir)
	demo, admin := p.key(demoKeyFile), p.key(adminKeyFile)
	p.apply("kind: Budget\nname: cap\ntenant: demo\nlimit: 5 USD\nwindow: month\n")
	change := func(query string) {
		t.Helper()
		db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "weir.db")+"?_pragma=busy_timeout(10000)")
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.ExecContext(context.Background(), query); err != nil {
			t.Fatal(err)
		}
	}
	change(`CREATE TRIGGER odd BEFORE INSERT ON lines BEGIN SELECT RAISE(ABORT, 'it is odd'); END`)
	var told callResult
	p.must(&told, demo, "call", "-o", "json", "-m", "sim-text", "say: hello")
	var dead struct {
		DeadLetters []letterResult `json:"dead_letters"`
	}
	p.must(&struct{}{}, admin, "report", "-o", "json") // which waits for what was settled
	p.must(&dead, admin, "ledger", "dead-letters", "list", "-o", "json")
	if err := p.end(syscall.SIGKILL); err == nil {
		t.Error("a killed process ended well")
	}
	p.start()
	p.must(&dead, admin, "ledger", "dead-letters", "list", "-o", "json")
	if len(dead.DeadLetters) != 1 {
		t.Fatalf("dead letters %+v", dead)
	}
	letter := dead.DeadLetters[0]
	if letter.RequestID != told.RequestID || letter.Attempt != 1 || letter.Tenant != "demo" || letter.Model != "sim-text" || letter.Outcome != "completed" || !strings.Contains(letter.Cause, "it is odd") {
		t.Errorf("dead letter %+v", letter)
	}
	replay := []string{"ledger", "dead-letters", "replay", letter.ID}
	if code, _, failed := p.run(admin, "", replay...); code != exitFailure || !strings.Contains(failed, "still cannot be kept") || !strings.Contains(failed, "it is odd") {
		t.Errorf("while it is odd: %d %s", code, failed)
	}
	if code, out, _ := p.run(admin, "", "ledger", "dead-letters", "replay", "--all"); code != exitFailure || !strings.Contains(out, "still cannot be kept") {
		t.Errorf("all, while it is odd: %d %s", code, out)
	}
	if code, _, failed := p.run(demo, "", replay...); code != exitFailure || !strings.Contains(failed, "the platform's") {
		t.Errorf("as a tenant: %d %s", code, failed)
	}
	if code, _, failed := p.run(admin, "", "ledger", "show", told.RequestID); code != exitFailure || !strings.Contains(failed, "there is no") {
		t.Errorf("a line that is not there: %d %s", code, failed)
	}
	change(`DROP TRIGGER odd`)
	if code, out, failed := p.run(admin, "", replay...); code != exitOK || !strings.Contains(out, "in the ledger now") {
		t.Errorf("replay: %d %s%s", code, out, failed)
	}
	if code, _, failed := p.run(admin, "", replay...); code != exitFailure || !strings.Contains(failed, "there is no deadLetters/"+letter.ID) {
		t.Errorf("replay once more: %d %s", code, failed)
	}
	var shown struct{ Lines []lineResult }
	p.must(&shown, admin, "ledger", "show", told.RequestID, "-o", "json")
	if len(shown.Lines) != 1 || *shown.Lines[0].Cost != *told.Cost || *shown.Lines[0].ProviderCost != *told.Cost || len(shown.Lines[0].Allocations) != 1 {
		t.Fatalf("lines %+v", shown)
	}
	for _, amount := range shown.Lines[0].Allocations {
		if amount != told.Cost.Amount+" USD" {
			t.Errorf("it took %s of the budget; it cost %s", amount, told.Cost.Amount)
		}
	}
	if _, out, _ := p.run(admin, "", "budget", "list", "--tenant", "demo"); !strings.Contains(out, told.Cost.Amount+" USD") {
		t.Errorf("budget %s", out)
	}
	if code, out, failed := p.run(admin, "", "doctor"); code != exitOK {
		t.Errorf("doctor: %d %s%s", code, out, failed)
	}
	if _, out, _ := p.run(admin, "", "audit", "list", "--limit", "1", "-o", "csv"); !strings.Contains(out, ",replay,DeadLetter,demo,"+letter.ID+",") {
		t.Errorf("audit log %s", out)
	}

	// A tenant sees its own, and neither what the provider takes nor, as a member,
	// budgets.
	var theirs struct{ Lines []lineResult }
	p.must(&theirs, demo, "ledger", "list", "--outcome", "completed", "-o", "json")
	if l := theirs.Lines; len(l) != 1 || l[0].RequestID != told.RequestID || l[0].ProviderCost != nil || l[0].Allocations != nil {
		t.Errorf("a member sees %+v", l)
	}
	if _, out, _ := p.run(demo, "", "ledger", "show", told.RequestID); !strings.Contains(out, "cost           "+told.Cost.Amount) || strings.Contains(out, "provider's cost") {
		t.Errorf("a member is shown %s", out)
	}
	if code, _, failed := p.run(demo, "", "budget", "list"); code != exitFailure || !strings.Contains(failed, "may not see budgets") {
		t.Errorf("a member's budgets: %d %s", code, failed)
	}
	if code, _, failed := p.run(admin, "", "budget", "list"); code != exitUsage || !strings.Contains(failed, "belongs to no tenant") {
		t.Errorf("the platform's budgets: %d %s", code, failed)
	}
}

func TestLinesAreCountedByPages(t *testing.T) {
	for _, c := range []struct {
		limit, have int
		want        int32
	}{{0, 0, 1000}, {0, 5000, 1000}, {100, 0, 100}, {100, 40, 60}, {5000, 1000, 1000}} {
		if got := (&ledgerListCommand{Limit: c.limit}).pageSize(c.have); got != c.want {
			t.Errorf("limit %d with %d: a page of %d, want %d", c.limit, c.have, got, c.want)
		}
	}
	if got := usageText(&weirv1.Usage{}); got != "" {
		t.Errorf("no counts are told as %q", got)
	}
}
