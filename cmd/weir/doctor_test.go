package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weir-gateway/weir/accounting/lease"
	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/store/postgres"
	"github.com/weir-gateway/weir/server/store/storetest"
)

// doctor runs weir doctor, which has to end with a code.
func (p *process) doctor(code int) doctorResult {
	p.t.Helper()
	got, out, failed := p.run(p.key(adminKeyFile), "", "doctor", "-o", "json")
	var r doctorResult
	if err := json.Unmarshal([]byte(out), &r); err != nil || got != code {
		p.t.Fatalf("doctor: exit code %d instead of %d: %v %s%s", got, code, err, out, failed)
	}
	return r
}

// A replica that was killed, and whose data folder is gone, takes no budget
// with it.
func TestAReplicaWhoseDiskIsLost(t *testing.T) {
	url := storetest.Postgres(t)
	a := serve(t, t.TempDir(), "--store", url)
	a.apply(acme)
	key := a.createKey("acme", "k1")
	lost := serve(t, t.TempDir(), "--store", url)
	wait := streams(t, lost, key, 4)
	lost.end(syscall.SIGKILL)
	wait()
	if err := os.RemoveAll(lost.data); err != nil {
		t.Fatal(err)
	}

	admin := a.key(adminKeyFile)
	leases := func() (list []leaseResult) {
		t.Helper()
		var out struct{ Leases []leaseResult }
		a.must(&out, admin, "lease", "list", "--tenant", "acme", "-o", "json")
		return out.Leases
	}
	list := leases()
	if len(list) != 1 || list[0].State != "live" || list[0].Budget != "cap" || list[0].Tenant != "acme" || !strings.HasSuffix(list[0].Remaining, " USD") {
		t.Fatalf("leases %+v", list)
	}
	id, remaining := list[0].Lease, list[0].Remaining
	if code, _, failed := a.run(admin, "", "lease", "reclaim", id); code != exitFailure || !strings.Contains(failed, id+" is live") {
		t.Errorf("a live lease: %d %s", code, failed)
	}
	if code, _, failed := a.run(key, "", "lease", "list"); code != exitFailure || !strings.Contains(failed, "platform") {
		t.Errorf("a tenant asks: %d %s", code, failed)
	}

	// What the sweep of a replica does when time has passed.
	s, err := postgres.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	n, err := s.Sweep(t.Context(), lease.Sweep{Grace: -time.Hour, Keep: 24 * time.Hour})
	if err := s.Shutdown(); err != nil {
		t.Error(err)
	}
	if n != 1 || err != nil {
		t.Fatalf("%d leases were forfeited, %v", n, err)
	}
	found := a.doctor(exitWarned)
	for _, c := range found.Checks {
		if (c.Name == "forfeited-leases") != (c.Verdict == "warn") || c.Verdict == "warn" && (len(c.Findings) != 1 || !strings.HasPrefix(c.Findings[0], id+" has "+remaining)) {
			t.Errorf("check %+v", c)
		}
	}
	code, text, failed := a.run(admin, "", "doctor")
	if code != exitWarned || !strings.Contains(text, "warn  forfeited-leases") || !strings.Contains(text, "ok    sums") || !strings.Contains(failed, "forfeited-leases needs a look") {
		t.Errorf("%d %s%s", code, text, failed)
	}

	if told := a.must(nil, admin, "lease", "reclaim", id); !strings.HasPrefix(told, remaining+" of window acme/cap/tenant/total are charged") {
		t.Errorf("told %q", told)
	}
	if told := a.must(nil, admin, "lease", "reclaim", id, "--free"); !strings.Contains(told, id+" is closed already") {
		t.Errorf("told %q", told)
	}
	if r := a.doctor(exitOK); r.Verdict != "ok" {
		t.Errorf("after the reclaim: %+v", r)
	}
	var shown budgetResult
	a.must(&shown, admin, "budget", "show", "cap", "--tenant", "acme", "-o", "json")
	if w := shown.Windows[0]; w.Spent != remaining || w.Held != "0.00 USD" {
		t.Errorf("window %+v; %s was reclaimed", w, remaining)
	}
	if len(leases()) != 0 {
		t.Errorf("leases %+v", leases())
	}
	if out := a.must(nil, admin, "lease", "list"); !strings.Contains(out, "nothing is set aside") {
		t.Errorf("the list is %q", out)
	}
}

func TestTheDoctorIsPlain(t *testing.T) {
	checks := []*weirv1.LedgerCheck{
		{Name: "sums", Verdict: weirv1.LedgerVerdict_LEDGER_VERDICT_BAD, Message: "sums that do not agree: 1", Findings: []string{"window w has spent 1"}},
		{Name: "dead-letters", Verdict: weirv1.LedgerVerdict_LEDGER_VERDICT_OK, Message: "none"},
	}
	var out bytes.Buffer
	if err := printChecks(terminal{out: &out, getenv: func(string) (string, bool) { return "", false }}, checks); err != nil {
		t.Fatal(err)
	}
	want := "BAD   sums          sums that do not agree: 1\n      - window w has spent 1\nok    dead-letters  none\n"
	if out.String() != want {
		t.Errorf("printed\n%s\nwant\n%s", out.String(), want)
	}
	if got := named(checks, weirv1.LedgerVerdict_LEDGER_VERDICT_BAD); got != "sums" {
		t.Errorf("named %s", got)
	}
	for _, words := range marks {
		for _, v := range []string{"ok", "warn", "bad"} {
			if words[v] == "" {
				t.Errorf("no mark for %s", v)
			}
		}
	}
}
