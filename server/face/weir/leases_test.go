package weir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/lease"
	"github.com/weir-gateway/weir/accounting/ledger"
	"github.com/weir-gateway/weir/accounting/spool"
	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
)

const twoBudgets = `---
kind: Budget
name: cap
tenant: acme
limit: 5 USD
window: month
---
kind: Budget
name: tokens
tenant: other
limit: 1M tokens
window: total
`

// forever keeps what is left of windows that have ended.
const forever = 100 * 365 * 24 * time.Hour

// grant leases some of a budget to a replica that is not this one, for a time
// that may be over already.
func (h *house) grant(tenant, budget, replica string, number, amount int64, ttl time.Duration) accounting.Window {
	h.t.Helper()
	w, err := h.Live.Snapshot().Budgets.WindowOf(tenant, budget, "", h.Clock())
	if err != nil {
		h.t.Fatal(err)
	}
	id := lease.ID{Replica: replica, Incarnation: 3, Number: number}
	g, err := h.Store.Grant(h.t.Context(), ttl, []lease.Want{{Lease: id, Window: w, Need: amount, Wish: amount}})
	if err != nil || g[0].Granted != amount {
		h.t.Fatalf("grant %+v, %v", g, err)
	}
	return w
}

func (h *house) forfeit(want int) {
	h.t.Helper()
	if n, err := h.Store.Sweep(h.t.Context(), lease.Sweep{Grace: 2 * time.Second, Keep: forever}); n != want || err != nil {
		h.t.Fatalf("%d leases were forfeited, %v; want %d", n, err, want)
	}
}

// check asks for a check by its name, and returns all of the answer too.
func (h *house) check(name string) (*weirv1.LedgerCheck, *weirv1.CheckLedgerResponse) {
	h.t.Helper()
	answer, err := weirv1.NewAccountingServiceClient(h.conn).CheckLedger(h.as("platform"), &weirv1.CheckLedgerRequest{})
	if err != nil {
		h.t.Fatal(err)
	}
	for _, c := range answer.Checks {
		if c.Name == name {
			return c, answer
		}
	}
	h.t.Fatalf("there is no check %s in %v", name, answer)
	return nil, nil
}

func TestAForfeitedLeaseIsFoundAndReclaimed(t *testing.T) {
	h := newHouse(t, twoBudgets)
	client := weirv1.NewAccountingServiceClient(h.conn)
	w := h.grant("acme", "cap", "gone", 1, 1_500_000_000, -time.Minute)
	h.grant("acme", "cap", "gone", 2, 250_000_000, -time.Minute)
	if c, _ := h.check("silent-replicas"); c.Verdict != weirv1.LedgerVerdict_LEDGER_VERDICT_WARN || len(c.Findings) != 1 || !strings.Contains(c.Findings[0], "gone") || !strings.HasSuffix(c.Findings[0], ": 2") {
		t.Errorf("silent: %v", c)
	}
	_, err := client.ReclaimLease(h.as("platform"), &weirv1.ReclaimLeaseRequest{Name: "leases/gone/3/1"})
	if failure(err) != "FailedPrecondition RESOURCE_STATE" || !strings.Contains(err.Error(), "gone/3/1 is live") {
		t.Errorf("a live lease: %v", err)
	}
	h.forfeit(2)
	c, all := h.check("forfeited-leases")
	if c.Verdict != weirv1.LedgerVerdict_LEDGER_VERDICT_WARN || all.Verdict != c.Verdict || fmt.Sprint(c.Findings) != fmt.Sprintf("[gone/3/1 has 1.50 USD of window %s gone/3/2 has 0.25 USD of window %s]", w.ID, w.ID) || !strings.Contains(c.Message, "weir lease reclaim") {
		t.Errorf("forfeited: %v", c)
	}

	taken, err := client.ReclaimLease(h.as("platform"), &weirv1.ReclaimLeaseRequest{Name: "leases/gone/3/1"})
	if err != nil {
		t.Fatal(err)
	}
	if m := taken.Reclaimed.GetMoney(); m.GetUnits() != 1 || m.GetNanos() != 500_000_000 || m.GetCurrencyCode() != "USD" ||
		taken.Lease.State != weirv1.LeaseState_LEASE_STATE_CLOSED || taken.Lease.Remaining.GetMoney().GetUnits() != 0 || taken.Lease.Remaining.GetMoney().GetNanos() != 0 {
		t.Errorf("reclaimed %v", taken)
	}
	lines, err := h.Store.Lines(t.Context(), taken.RequestId)
	if err != nil || len(lines) != 1 {
		t.Fatalf("%d lines, %v", len(lines), err)
	}
	if l := lines[0]; l.Outcome != accounting.OutcomeInDoubt || l.Source != accounting.SourceReservation || l.Subject.Tenant != "acme" || l.Purpose != "lease reclaim" || l.Cost != nil {
		t.Errorf("line %+v", l)
	}
	balance := func(spent, leased int64) {
		t.Helper()
		if s, _, err := h.Store.Window(t.Context(), w.ID); err != nil || s.Spent != spent || s.Leased != leased || s.Overrun != 0 {
			t.Errorf("window %+v, %v; want %d spent and %d leased", s, err, spent, leased)
		}
	}
	balance(1_500_000_000, 250_000_000)
	for _, free := range []bool{false, true} { // which changes nothing
		again, err := client.ReclaimLease(h.as("platform"), &weirv1.ReclaimLeaseRequest{Name: "leases/gone/3/1", Free: free})
		if err != nil || again.RequestId != "" || again.Reclaimed.GetMoney().GetUnits() != 0 || again.Reclaimed.GetMoney().GetNanos() != 0 || again.Lease.State != weirv1.LeaseState_LEASE_STATE_CLOSED {
			t.Errorf("once more: %v, %v", again, err)
		}
		balance(1_500_000_000, 250_000_000)
	}
	freed, err := client.ReclaimLease(h.as("platform"), &weirv1.ReclaimLeaseRequest{Name: "leases/gone/3/2", Free: true})
	if err != nil || freed.Reclaimed.GetMoney().GetNanos() != 250_000_000 || freed.RequestId != "" {
		t.Errorf("freed %v, %v", freed, err)
	}
	balance(1_500_000_000, 0)
	if _, all := h.check("spool"); all.Verdict != weirv1.LedgerVerdict_LEDGER_VERDICT_OK {
		t.Errorf("after the reclaim: %v", all)
	}
}

// What a closed lease has on its way can be reclaimed when it does not come.
func TestWhatIsOnItsWayIsNotReclaimed(t *testing.T) {
	h := newHouse(t, twoBudgets)
	client := weirv1.NewAccountingServiceClient(h.conn)
	now := time.Now()
	h.Clock = func() time.Time { return now }
	w := h.grant("other", "tokens", "r", 1, 1000, time.Minute)
	id := lease.ID{Replica: "r", Incarnation: 3, Number: 1}
	if err := h.Store.Return(t.Context(), []lease.Return{{Lease: id, Window: w.ID, Returned: 900, Close: true, Granted: 1000}}); err != nil {
		t.Fatal(err)
	}
	req := &weirv1.ReclaimLeaseRequest{Name: "leases/r/3/1"}
	if _, err := client.ReclaimLease(h.as("platform"), req); failure(err) != "FailedPrecondition RESOURCE_STATE" {
		t.Errorf("a moment after it was closed: %v", err)
	}
	now = now.Add(2 * time.Minute)
	if got, err := client.ReclaimLease(h.as("platform"), req); err != nil || got.Reclaimed.GetTokens() != 100 || got.RequestId == "" {
		t.Errorf("when it has not come: %v, %v", got, err)
	}
}

func TestLeasesAreListed(t *testing.T) {
	h := newHouse(t, twoBudgets)
	client := weirv1.NewAccountingServiceClient(h.conn)
	for i := range int64(3) {
		h.grant("acme", "cap", "r", i+1, 1000, time.Minute)
	}
	w := h.grant("other", "tokens", "r", 4, 77, time.Minute)
	list := func(parent string) (names []string, last *weirv1.Lease) {
		t.Helper()
		req := &weirv1.ListLeasesRequest{Parent: parent, PageSize: 2}
		for {
			page, err := client.ListLeases(h.as("platform"), req)
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range page.Leases {
				names, last = append(names, l.Name), l
			}
			if req.PageToken = page.NextPageToken; req.PageToken == "" {
				return names, last
			}
		}
	}
	if got, _ := list("tenants/-"); strings.Join(got, " ") != "leases/r/3/1 leases/r/3/2 leases/r/3/3 leases/r/3/4" {
		t.Errorf("all: %v", got)
	}
	got, l := list("tenants/other")
	if len(got) != 1 || l.Name != "leases/r/3/4" || l.Remaining.GetTokens() != 77 || l.Window != w.ID || l.Budget != "tenants/other/budgets/tokens" ||
		l.State != weirv1.LeaseState_LEASE_STATE_LIVE || time.Until(l.ExpireTime.AsTime()) > time.Minute {
		t.Errorf("those of a tenant: %v, %v", got, l)
	}
	first, err := client.ListLeases(h.as("platform"), &weirv1.ListLeasesRequest{Parent: "tenants/-", PageSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		who, want string
		req       *weirv1.ListLeasesRequest
	}{
		{"platform", "InvalidArgument INVALID_REQUEST page_token=", &weirv1.ListLeasesRequest{Parent: "tenants/acme", PageToken: first.NextPageToken}},
		{"platform", "InvalidArgument INVALID_REQUEST parent=LEASES_PARENT", &weirv1.ListLeasesRequest{Parent: "acme"}},
		{"platform", "NotFound RESOURCE_NOT_FOUND", &weirv1.ListLeasesRequest{Parent: "tenants/none"}},
		{"admin", "PermissionDenied PERMISSION_DENIED", &weirv1.ListLeasesRequest{Parent: "tenants/acme"}},
		{"nobody", "Unauthenticated CREDENTIALS_INVALID", &weirv1.ListLeasesRequest{Parent: "tenants/acme"}},
	} {
		if _, err := client.ListLeases(h.as(c.who), c.req); failure(err) != c.want {
			t.Errorf("%s lists %v: %v", c.who, c.req, err)
		}
	}
	for _, c := range []struct{ who, name, want string }{
		{"platform", "leases/r/3/9", "NotFound RESOURCE_NOT_FOUND"},
		{"platform", "leases/r/3/9999999999999999999", "NotFound RESOURCE_NOT_FOUND"},
		{"platform", "leases/r/3", "InvalidArgument INVALID_REQUEST name=LEASE_NAME"},
		{"platform", "leases/r/0/1", "InvalidArgument INVALID_REQUEST name=LEASE_NAME"},
		{"admin", "leases/r/3/1", "PermissionDenied PERMISSION_DENIED"},
	} {
		if _, err := client.ReclaimLease(h.as(c.who), &weirv1.ReclaimLeaseRequest{Name: c.name}); failure(err) != c.want {
			t.Errorf("%s reclaims %s: %v", c.who, c.name, err)
		}
	}
	if _, err := client.CheckLedger(h.as("admin"), &weirv1.CheckLedgerRequest{}); failure(err) != "PermissionDenied PERMISSION_DENIED" {
		t.Errorf("a tenant checks the ledger: %v", err)
	}

	for _, c := range []struct {
		method, path, want string
		code               int
	}{
		{http.MethodGet, "tenants/other/leases", `"leases/r/3/4"`, http.StatusOK},
		{http.MethodPost, "leases/r/3/4:reclaim", "RESOURCE_STATE", http.StatusBadRequest},
		{http.MethodGet, "ledger:check", `"sums"`, http.StatusOK},
	} {
		body := ""
		if c.method == http.MethodPost {
			body = "{}"
		}
		req, err := http.NewRequestWithContext(t.Context(), c.method, h.web.URL+restPath+c.path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+h.secrets["platform"])
		answer, err := h.web.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		said, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != c.code || !strings.Contains(string(said), c.want) {
			t.Errorf("%s %s: %d %s %v", c.method, c.path, answer.StatusCode, said, err)
		}
	}
}

func TestTheLedgerIsChecked(t *testing.T) {
	h := newHouse(t, twoBudgets)
	if _, err := weirv1.NewGenerationServiceClient(h.conn).Generate(h.as("member"), ask("sim", "say: hi")); err != nil {
		t.Fatal(err)
	}
	c, all := h.check("spool")
	if all.Verdict != weirv1.LedgerVerdict_LEDGER_VERDICT_OK || !strings.HasPrefix(c.Message, "0 entries wait for the database, ") || !strings.HasSuffix(c.Message, " of 4.0 MiB used") {
		t.Errorf("sound: %v", all)
	}
	var names []string
	for _, c := range all.Checks {
		names = append(names, c.Name)
	}
	if got := strings.Join(names, " "); got != "sums dead-letters forfeited-leases silent-replicas overruns spool" {
		t.Errorf("checks %s", got)
	}

	w, err := h.Live.Snapshot().Budgets.WindowOf("acme", "cap", "", h.Clock())
	if err != nil {
		t.Fatal(err)
	}
	over := ledger.Entry{
		Line:    accounting.Line{Attempt: accounting.Attempt{RequestID: "call", Number: 1, Subject: accounting.Subject{Tenant: "acme"}}, Outcome: accounting.OutcomeCompleted},
		Settled: []ledger.Settled{{Window: &w, Amount: 6_000_000_000, Uncovered: 6_000_000_000}},
	}
	if err := h.Store.Write(t.Context(), []ledger.Entry{over}); err != nil {
		t.Fatal(err)
	}
	if c, _ := h.check("overruns"); c.Verdict != weirv1.LedgerVerdict_LEDGER_VERDICT_WARN || len(c.Findings) != 1 || !strings.HasPrefix(c.Findings[0], w.ID+" was overrun by 1.") {
		t.Errorf("overrun: %v", c)
	}
	if err := h.Store.Bury(t.Context(), []ledger.DeadLetter{{Attempt: 1}, {Attempt: 2}}); err != nil {
		t.Fatal(err)
	}
	if c, all := h.check("dead-letters"); c.Verdict != weirv1.LedgerVerdict_LEDGER_VERDICT_BAD || all.Verdict != c.Verdict || !strings.Contains(c.Message, "no report: 2.") {
		t.Errorf("dead letters: %v", c)
	}
}

// liar is a store whose sums do not agree.
type liar struct {
	LedgerStore
	off []string
}

func (l liar) Audit(context.Context) ([]string, error) { return l.off, nil }

func TestVerdicts(t *testing.T) {
	var off []string
	for i := range 30 {
		off = append(off, fmt.Sprint("window ", i))
	}
	a := &Accounting{Ledger: liar{off: off}}
	c, err := a.checkSums(t.Context())
	if err != nil || c.Verdict != weirv1.LedgerVerdict_LEDGER_VERDICT_BAD || len(c.Findings) != 21 || c.Findings[20] != "and 10 more" || !strings.Contains(c.Message, ": 30.") {
		t.Errorf("%v, %v", c, err)
	}
	for _, s := range []struct {
		stats  spool.Stats
		broken error
		want   weirv1.LedgerVerdict
		says   string
	}{
		{spool.Stats{MaxBytes: 1 << 30, Bytes: 8 << 20}, nil, weirv1.LedgerVerdict_LEDGER_VERDICT_OK, "0 entries wait for the database, 8.0 MiB of 1024.0 MiB used"},
		{spool.Stats{MaxBytes: 1 << 30, Bytes: 8 << 20, Unflushed: 3, OldestUnflushed: 2 * time.Second}, nil, weirv1.LedgerVerdict_LEDGER_VERDICT_OK, "3 entries wait for the database, the oldest for 2s"},
		{spool.Stats{MaxBytes: 1 << 30, Bytes: 8 << 20, Unflushed: 3, OldestUnflushed: time.Minute}, nil, weirv1.LedgerVerdict_LEDGER_VERDICT_WARN, "the oldest for 1m0s"},
		{spool.Stats{MaxBytes: 100 << 20, Bytes: 80 << 20}, nil, weirv1.LedgerVerdict_LEDGER_VERDICT_WARN, "no call begins"},
		{spool.Stats{MaxBytes: 1 << 30}, errors.New("input/output error"), weirv1.LedgerVerdict_LEDGER_VERDICT_BAD, "input/output error"},
	} {
		a.Spool = func() (spool.Stats, error) { return s.stats, s.broken }
		if c, err := a.checkSpool(t.Context()); err != nil || c.Verdict != s.want || !strings.Contains(c.Message, s.says) {
			t.Errorf("%+v, %v: %v", s.stats, s.broken, c)
		}
	}
}
