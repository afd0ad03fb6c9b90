package admin_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/price"
	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/policy/guard"
	"github.com/weir-gateway/weir/server/admin"
	"github.com/weir-gateway/weir/server/auth"
	"github.com/weir-gateway/weir/server/store"
	"github.com/weir-gateway/weir/server/store/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var platform = auth.Caller{Role: auth.Platform}

// whole is one document of every kind, as the users write them.
const whole = `
kind: Tenant
name: acme
---
kind: Project
tenant: acme
name: search
---
kind: Price
model: m1
currency: USD
effective: 2026-01-01
per_million: {input: 0.50, output: 1.50}
---
kind: Budget
name: cap
tenant: acme
per: tenant
limit: 5 USD
window: total
---
kind: Lexicon
name: prohibited
terms: [zorblatt, 佐布拉特]
---
kind: Policy
name: base
tenant: acme
rates:
  - {per: key, requests: 600/min, concurrent: 64}
safety:
  output:
    - {guard: lexicon, list: prohibited, action: block}
    - {guard: pattern, builtin: email, action: redact}
outputs: {mode: full, sample: 100%}
`

func newAdmin(t testing.TB) (*admin.Admin, *store.Store) {
	t.Helper()
	s, err := sqlite.Open(context.Background(), t.TempDir()+"/weir.db")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Shutdown() })
	live := &admin.Live{Store: s, Keys: s, Factories: guard.All(), Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	if err := live.Refresh(context.Background()); err != nil {
		t.Fatal(err)
	}
	return &admin.Admin{Store: s, Live: live}, s
}

func apply(a *admin.Admin, caller auth.Caller, text string) (admin.Result, error) {
	return a.Apply(context.Background(), auth.Author{Caller: caller}, []admin.Source{{Name: "acme.yaml", Content: text}}, false)
}

func TestDocumentsAreInForceWhenApplyReturns(t *testing.T) {
	a, _ := newAdmin(t)
	result, err := apply(a, platform, whole)
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Changes) != 6 || result.Changes[0].Action != admin.Create {
		t.Errorf("changes %+v", result.Changes)
	}
	if len(result.Warnings) != 0 {
		t.Errorf("warnings %q", result.Warnings)
	}
	s := a.Live.Snapshot()
	if s.Revision != result.Revision || !s.HasTenant("acme") || !s.HasProject("acme", "search") || !s.HasProject("acme", admin.DefaultProject) || s.HasProject("acme", "other") {
		t.Errorf("snapshot %+v", s)
	}
	now := time.Now()
	if _, ok := s.Prices.Find(price.Target{Backend: "any", BackendModel: "m1"}, now); !ok {
		t.Error("the price is not in force")
	}
	if w := s.Budgets.Windows(accounting.Subject{Tenant: "acme", Project: "search", Key: "k"}, "m", now); len(w) != 1 || w[0].Limit != 5_000_000_000 {
		t.Errorf("windows %+v", w)
	}
	if e := s.Policies.Resolve(policy.Subject{Tenant: "acme", Model: "m1"}); len(e.Rates) != 1 || e.Revision != result.Revision {
		t.Errorf("effective policy %+v", e)
	}
}

func TestApplyingTwiceChangesNothing(t *testing.T) {
	a, _ := newAdmin(t)
	first, err := apply(a, platform, whole)
	if err != nil {
		t.Fatal(err)
	}
	// Comments and the style of the YAML are no change.
	second, err := apply(a, platform, "# said again\n"+strings.ReplaceAll(whole, "{input: 0.50, output: 1.50}", "\n  input: 0.50 # per million\n  output: 1.50"))
	if err != nil {
		t.Fatal(err)
	}
	if second.Revision != first.Revision {
		t.Errorf("the revision went from %d to %d for nothing", first.Revision, second.Revision)
	}
	for _, c := range second.Changes {
		if c.Action != admin.Unchanged {
			t.Errorf("%+v changed", c)
		}
	}
}

func TestAnUpdateIsShownLineByLine(t *testing.T) {
	a, _ := newAdmin(t)
	if _, err := apply(a, platform, whole); err != nil {
		t.Fatal(err)
	}
	result, err := a.Apply(context.Background(), auth.Author{Caller: platform}, []admin.Source{{Name: "b.yaml", Content: "kind: Budget\nname: cap\ntenant: acme\nper: tenant\nlimit: 7 USD\nwindow: total\n"}}, true)
	if err != nil {
		t.Fatal(err)
	}
	if want := "- limit: 5 USD\n+ limit: 7 USD\n"; len(result.Changes) != 1 || result.Changes[0].Diff != want {
		t.Errorf("%+v, want the diff %q", result.Changes, want)
	}
	if w := a.Live.Snapshot().Budgets.Windows(accounting.Subject{Tenant: "acme"}, "m", time.Now()); w[0].Limit != 5_000_000_000 {
		t.Error("validate only has changed the budget")
	}
}

func TestWrongDocumentsNameLineFieldAndCure(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"not YAML":            {"kind: [", []string{"acme.yaml", "not YAML"}},
		"not a mapping":       {"- a\n- b\n", []string{"line 1", "kind: Tenant"}},
		"no kind":             {"name: x\n", []string{"kind: missing", "Tenant, Project"}},
		"unknown kind":        {"kind: Tenent\nname: x\n", []string{"line 1", "Tenent", "known are Tenant"}},
		"unknown field":       {"kind: Tenant\nname: acme\nnmae: x\n", []string{"line 3", "nmae", "name"}},
		"bad name":            {"kind: Tenant\nname: Acme Inc\n", []string{"line 2: name", "lower-case"}},
		"no name":             {"kind: Tenant\n", []string{"name", "missing"}},
		"no tenant":           {"kind: Policy\nname: p\ntenant: ghost\n", []string{"tenant: there is no tenant", "ghost", "kind: Tenant"}},
		"float money":         {"kind: Price\nmodel: m\ncurrency: USD\neffective: 2026-01-01\nper_million: {input: 1e-3}\n", []string{"line 5", "input", "plain decimal"}},
		"too exact":           {"kind: Price\nmodel: m\ncurrency: USD\neffective: 2026-01-01\nper_million: {input: 0.0000001}\n", []string{"6 decimal places"}},
		"bad meter":           {"kind: Price\nmodel: m\ncurrency: USD\neffective: 2026-01-01\nper_million: {inptu: 1}\n", []string{"inptu", "input"}},
		"bad date":            {"kind: Price\nmodel: m\ncurrency: USD\neffective: soon\nper_million: {input: 1}\n", []string{"line 4: effective", "2026-01-01"}},
		"bad currency":        {"kind: Price\nmodel: m\ncurrency: dollars\neffective: 2026-01-01\nper_million: {input: 1}\n", []string{"line 3: currency", "ISO 4217"}},
		"bad limit":           {"kind: Tenant\nname: acme\n---\nkind: Budget\nname: b\ntenant: acme\nlimit: lots\nwindow: total\n", []string{"line 7: limit", "lots"}},
		"bad window":          {"kind: Tenant\nname: acme\n---\nkind: Budget\nname: b\ntenant: acme\nlimit: 5 tokens\nwindow: fortnight\n", []string{"fortnight", "total, hour, day"}},
		"bad mode":            {"kind: Tenant\nname: acme\n---\nkind: Budget\nname: b\ntenant: acme\nlimit: 5 tokens\nwindow: day\nmode: soft\n", []string{"soft", "enforce or shadow"}},
		"bad grace":           {"kind: Tenant\nname: acme\n---\nkind: Budget\nname: b\ntenant: acme\nlimit: 5 tokens\nwindow: day\ngrace: 10\n", []string{"line 9: grace", "80%"}},
		"bad alerts":          {"kind: Tenant\nname: acme\n---\nkind: Budget\nname: b\ntenant: acme\nlimit: 5 tokens\nwindow: day\nalerts: [50%, half]\n", []string{"line 9: alerts", "half"}},
		"unmeetable currency": {"kind: Tenant\nname: acme\n---\nkind: Budget\nname: b\ntenant: acme\nlimit: 5 CNY\nwindow: total\n", []string{"CNY", "apply a Price in CNY"}},
		"a bad rate":          {"kind: FxRate\nfrom: USD\nto: CNY\nrate: 7.1e0\neffective: 2026-01-01\n", []string{"line 4: rate", "plain decimal"}},
		"a rate of nothing":   {"kind: FxRate\nfrom: USD\nto: CNY\nrate: 0\neffective: 2026-01-01\n", []string{"line 4: rate", "above zero"}},
		"a rate to itself":    {"kind: FxRate\nfrom: USD\nto: USD\nrate: 1\neffective: 2026-01-01\n", []string{"line 3: to", "two currencies"}},
		"a rate from where":   {"kind: FxRate\nfrom: dollars\nto: CNY\nrate: 1\neffective: 2026-01-01\n", []string{"line 2: from", "ISO 4217"}},
		"the other direction": {"kind: Tenant\nname: acme\n---\nkind: FxRate\nfrom: CNY\nto: USD\nrate: 0.14\neffective: 2026-01-01\n---\nkind: Price\nmodel: m\ncurrency: USD\neffective: 2026-01-01\nper_million: {input: 1}\n---\nkind: Budget\nname: b\ntenant: acme\nlimit: 5 CNY\nwindow: total\n", []string{"line 16: limit", "an FxRate to it"}},
		"a cheaper tier":      {"kind: Price\nmodel: m\ncurrency: USD\neffective: 2026-01-01\nper_million: {input: 1}\ntiers: [{above: 5, per_million: {input: 0.5}}]\n", []string{"line 6: tiers", "cheaper"}},
		"a bad tier":          {"kind: Price\nmodel: m\ncurrency: USD\neffective: 2026-01-01\nper_million: {input: 1}\ntiers: [{above: 5, per_million: {inptu: 2}}]\n", []string{"line 6: tiers", "above 5", "inptu"}},
		"a class of none":     {"kind: Price\nmodel: m\ncurrency: USD\neffective: 2026-01-01\nper_million: {input: 1}\nclasses: {express: {per_million: {input: 2}}}\n", []string{"line 6: classes", "express", "flex"}},
		"half a class":        {"kind: Price\nmodel: m\ncurrency: USD\neffective: 2026-01-01\nper_million: {input: 1, output: 2}\nclasses: {flex: {per_million: {input: 2}}}\n", []string{"line 6: classes", "flex", "output is named by one"}},
		"a class's tiers":     {"kind: Price\nmodel: m\ncurrency: USD\neffective: 2026-01-01\nper_million: {input: 1}\ntiers: [{above: 5, per_million: {input: 2}}]\nclasses: {flex: {per_million: {input: 2}}}\n", []string{"line 7: classes", "0 tiers and the standard class 1"}},
		"tiers of no mode":    {"kind: Price\nmodel: m\ncurrency: USD\neffective: 2026-01-01\nper_million: {input: 1}\ntiers: [{above: 5, per_million: {input: 2}}]\ntier_mode: steep\n", []string{"line 6: tiers", "steep", "marginal"}},
		"two owners":          {"kind: Price\nmodel: m\nbackend: b\nprovider: p\ncurrency: USD\neffective: 2026-01-01\nper_million: {input: 1}\n", []string{"line 4: provider", "keep one"}},
		"unknown list":        {"kind: Policy\nname: p\nsafety: {output: [{guard: lexicon, list: ghost, action: block}]}\n", []string{"line 3", "ghost"}},
		"a file of terms":     {"kind: Lexicon\nname: l\nfile: w.txt\n", []string{"line 3", "file", "weir apply"}},
		"a term of no grade":  {"kind: Lexicon\nname: l\nterms:\n  - {term: x, severity: grave}\n", []string{"line 4", "terms[0].severity", "grave", "high"}},
		"unknown guard":       {"kind: Policy\nname: p\nsafety: {output: [{guard: magic, action: block}]}\n", []string{"line 3", "magic", "lexicon"}},
		"bad expression":      {"kind: Policy\nname: p\nsafety: {output: [{guard: pattern, expr: '(', action: block}]}\n", []string{"line 3", "expr"}},
		"twice":               {"kind: Tenant\nname: acme\n---\nkind: Tenant\nname: acme\n", []string{"line 4", "twice", "line 1"}},
		"half wrong":          {"kind: Tenant\nname: acme\n---\nkind: Tenant\nname: '!'\n", []string{"line 5"}},
	} {
		t.Run(name, func(t *testing.T) {
			a, s := newAdmin(t)
			_, err := apply(a, platform, c.text)
			var invalid *admin.InvalidError
			if !errors.As(err, &invalid) {
				t.Fatalf("%v, want an InvalidError", err)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
			if kept, revision, err := s.Documents(context.Background()); err != nil || len(kept) != 0 || revision != a.Live.Snapshot().Revision {
				t.Errorf("something was applied all the same: %v %v", kept, err)
			}
		})
	}
}

func TestAPriceNeverChanges(t *testing.T) {
	a, _ := newAdmin(t)
	if _, err := apply(a, platform, whole); err != nil {
		t.Fatal(err)
	}
	price := "kind: Price\nmodel: m1\ncurrency: USD\neffective: 2026-01-01\nper_million: {input: 0.60, output: 1.50}\n"
	if _, err := apply(a, platform, price); err == nil || !strings.Contains(err.Error(), "later effective date") {
		t.Errorf("%v", err)
	}
	if _, err := apply(a, platform, strings.ReplaceAll(price, "2026-01-01", "2026-02-01")); err != nil {
		t.Errorf("a price from a later day on was refused: %v", err)
	}
}

func TestAnFxRateNeverChangesAndMeetsABudget(t *testing.T) {
	a, _ := newAdmin(t)
	rate := "kind: FxRate\nfrom: USD\nto: CNY\nrate: 7.1034\neffective: 2026-01-01\n"
	budget := "---\nkind: Budget\nname: b\ntenant: acme\nlimit: 5 CNY\nwindow: total\n"
	if _, err := apply(a, platform, whole+"\n---\n"+rate+budget); err != nil {
		t.Fatal(err)
	}
	if r, ok := a.Live.Snapshot().Exchange.Find("USD", "CNY", time.Now()); !ok || r.Rate != 7_103_400_000_000 {
		t.Errorf("in force is %v, %t", r, ok)
	}
	other := strings.ReplaceAll(rate, "7.1034", "7.2")
	if _, err := apply(a, platform, other); err == nil || !strings.Contains(err.Error(), "an exchange rate never changes") || !strings.Contains(err.Error(), "USD-CNY@2026-01-01") {
		t.Errorf("%v", err)
	}
	if _, err := apply(a, platform, strings.ReplaceAll(other, "2026-01-01", "2026-02-01")); err != nil {
		t.Errorf("a rate from a later day on was refused: %v", err)
	}
	var forbidden *admin.ForbiddenError
	if _, err := apply(a, auth.Caller{Tenant: "acme", Role: auth.Admin, Key: "k"}, strings.ReplaceAll(rate, "2026-01-01", "2026-03-01")); !errors.As(err, &forbidden) {
		t.Errorf("a tenant's admin applied a rate: %v", err)
	}
}

// Default prices hold without a document, and meet the currency of a budget.
func TestDefaultPricesAreInForce(t *testing.T) {
	a, _ := newAdmin(t)
	a.Live.Defaults = []price.Price{{Model: "m9", Provider: "p", Default: true, Currency: "CHF", PerUnit: map[accounting.Meter]accounting.Pico{accounting.Input: 1}, Version: "default/m9"}}
	if _, err := apply(a, platform, whole+"---\nkind: Budget\nname: b\ntenant: acme\nlimit: 5 CHF\nwindow: total\n"); err != nil {
		t.Fatal(err)
	}
	if p, ok := a.Live.Snapshot().Prices.Find(price.Target{Backend: "b", Provider: "p", BackendModel: "m9"}, time.Now()); !ok || p.Version != "default/m9" {
		t.Errorf("%v, %t", p, ok)
	}
}

func TestATenantsAdminAppliesItsOwnPoliciesOnly(t *testing.T) {
	a, _ := newAdmin(t)
	if _, err := apply(a, platform, whole+"---\nkind: Tenant\nname: globex\n"); err != nil {
		t.Fatal(err)
	}
	own := auth.Caller{Tenant: "acme", Project: "default", Key: "k", Role: auth.Admin}
	for text, allowed := range map[string]bool{
		"kind: Policy\nname: mine\ntenant: acme\n":                                               true,
		"kind: Lexicon\nname: mine\ntenant: acme\nterms: [x]\n":                                  true,
		"kind: Project\nname: mine\ntenant: acme\n":                                              true,
		"kind: Policy\nname: floor\n":                                                            false,
		"kind: Policy\nname: theirs\ntenant: globex\n":                                           false,
		"kind: Policy\nname: theirs\ntenant: nobody\n":                                           false,
		"kind: Tenant\nname: more\n":                                                             false,
		"kind: Budget\nname: cap\ntenant: acme\nlimit: 500 USD\nwindow: total\n":                 false,
		"kind: Price\nmodel: m\ncurrency: USD\neffective: 2026-01-01\nper_million: {input: 0}\n": false,
	} {
		_, err := apply(a, own, text)
		var forbidden *admin.ForbiddenError
		if got := err == nil; got != allowed || (!allowed && !errors.As(err, &forbidden)) {
			t.Errorf("%q: %v, allowed should be %v", text, err, allowed)
		}
	}
	member := auth.Caller{Tenant: "acme", Role: auth.Member}
	if _, err := apply(a, member, "kind: Policy\nname: mine\ntenant: acme\n"); err == nil {
		t.Error("a member applied a policy")
	}
}

func TestAnotherReplicaSeesAChange(t *testing.T) {
	a, s := newAdmin(t)
	other := &admin.Live{Store: s, Keys: s, Factories: guard.All(), Log: a.Live.Log}
	if err := other.Refresh(context.Background()); err != nil {
		t.Fatal(err)
	}
	before := other.Snapshot()
	if _, err := apply(a, platform, whole); err != nil {
		t.Fatal(err)
	}
	if other.Snapshot() != before {
		t.Fatal("a snapshot changed by itself")
	}
	if err := other.Refresh(context.Background()); err != nil || !other.Snapshot().HasTenant("acme") {
		t.Errorf("the change did not arrive: %v", err)
	}
	same := other.Snapshot()
	if err := other.Refresh(context.Background()); err != nil || other.Snapshot() != same {
		t.Error("nothing changed, and the snapshot was made anew")
	}
}

func TestAKeyIsForgottenWithTheRevision(t *testing.T) {
	a, s := newAdmin(t)
	if _, err := apply(a, platform, whole); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	key := auth.Key{Tenant: "acme", Project: "search", Name: "k1", Role: auth.Member, Hash: auth.Hash("secret"), Created: time.Now()}
	if _, err := a.Live.Lookup(ctx, key.Hash); !errors.Is(err, auth.ErrNoKey) {
		t.Fatalf("%v", err)
	}
	if err := s.CreateKey(ctx, key, auth.Author{}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if k, err := a.Live.Lookup(ctx, key.Hash); err != nil || k.Name != "k1" {
			t.Fatalf("%+v %v", k, err)
		}
	}
	before := a.Live.Snapshot()
	if err := a.Live.Refresh(ctx); err != nil || a.Live.Snapshot() == before {
		t.Errorf("a new key has not moved the revision, so no replica would learn of one that is revoked: %v", err)
	}
}

// away is a store that cannot be reached.
type away struct {
	admin.Store
	asked chan struct{}
}

func (a away) Revision(ctx context.Context) (int64, error) {
	select {
	case a.asked <- struct{}{}:
	case <-ctx.Done():
	}
	return 0, errors.New("no route to host")
}

func TestWhatWasInForceStaysWhileTheStoreIsAway(t *testing.T) {
	a, s := newAdmin(t)
	if _, err := apply(a, platform, whole); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		asked := make(chan struct{})
		a.Live.Store, a.Live.Reached = away{s, asked}, func() { t.Error("the store is away and was reached") }
		done := make(chan struct{})
		go func() { a.Live.Poll(ctx, time.Second); close(done) }()
		<-asked
		<-asked
		if !a.Live.Snapshot().HasTenant("acme") {
			t.Error("what was in force is gone")
		}
		cancel()
		<-done
	})
}

// What is applied is what is kept, whatever the order and however often.
func TestTheLastApplyWins(t *testing.T) {
	a, s := newAdmin(t)
	if _, err := apply(a, platform, whole); err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.StringMatching(`[1-9][0-9]{0,3}(\.[0-9]{1,9})? USD`).Draw(t, "limit")
		text := "kind: Budget\nname: cap\ntenant: acme\nlimit: " + limit + "\nwindow: total\n"
		if _, err := apply(a, platform, text); err != nil {
			t.Fatal(err)
		}
		money, err := accounting.ParseAmount(limit)
		if err != nil {
			t.Fatal(err)
		}
		if w := a.Live.Snapshot().Budgets.Windows(accounting.Subject{Tenant: "acme"}, "m", time.Now()); w[0].Limit != money.Nanos {
			t.Fatalf("limit %d, applied %s", w[0].Limit, limit)
		}
		kept, _, err := s.Documents(context.Background())
		if err != nil || len(kept) != 6 {
			t.Fatalf("%d documents: %v", len(kept), err)
		}
	})
}
