package openai

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/weir-gateway/weir/accounting/lease"
	"github.com/weir-gateway/weir/accounting/ledger"
	"github.com/weir-gateway/weir/accounting/price"
	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/policy/guard"
	"github.com/weir-gateway/weir/server/admin"
	"github.com/weir-gateway/weir/server/admit"
	"github.com/weir-gateway/weir/server/auth"
	"github.com/weir-gateway/weir/server/backend/simulator"
	"github.com/weir-gateway/weir/server/gateway"
	"github.com/weir-gateway/weir/server/intercept"
	"github.com/weir-gateway/weir/server/route"
	"github.com/weir-gateway/weir/server/store"
	"github.com/weir-gateway/weir/server/store/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// basics are what every test's Weir has. A token in costs 1 micro-USD, a token
// out 2; the other models have no price.
const basics = `
kind: Tenant
name: acme
---
kind: Price
model: sim
currency: USD
effective: 2026-01-01
per_million: {input: 1, output: 2}
---
kind: Policy
name: base
tenant: acme
safety:
  input:
    - {guard: lexicon, terms: [forbidden, 违禁], action: block, category: test/input}
  output:
    - {guard: lexicon, terms: [zorblatt, 测试词], action: block, category: test/output}
    - {id: mail, guard: pattern, builtin: email, action: redact}
`

// models are those that behave and those that fail.
func models() map[string]simulator.Profile {
	return map[string]simulator.Profile{
		"sim":        {},
		"sim/slow":   {TimeToFirstToken: 40 * time.Second},
		"cut":        {Fault: simulator.FaultCut, FaultAfter: 4},
		"stall":      {Fault: simulator.FaultStall, FaultAfter: 2},
		"overloaded": {Fault: simulator.FaultOverloaded, RetryAfter: 1500 * time.Millisecond},
		"error":      {Fault: simulator.FaultError},
		"small":      {ContextTokens: 50},
		"cached":     {CachedShare: 0.5},
	}
}

// house is this face on a real gateway, a real store and a simulated backend.
type house struct {
	t       *testing.T
	handler http.Handler
	gateway *gateway.Gateway
	admin   *admin.Admin
	log     *logbook
	secret  string
	ended   chan simulator.Ending
	now     func() time.Time
	store   *store.Store
}

type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logbook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func newHouse(t *testing.T, documents string) *house {
	t.Helper()
	ctx := context.Background()
	h := &house{t: t, log: &logbook{}, secret: auth.NewSecret(), ended: make(chan simulator.Ending, 100), now: time.Now}
	kept, err := sqlite.Open(ctx, t.TempDir()+"/weir.db")
	if err != nil {
		t.Fatal(err)
	}
	h.store = kept
	t.Cleanup(func() { kept.Shutdown() })
	log := slog.New(slog.NewTextHandler(h.log, nil))
	live := &admin.Live{Store: kept, Keys: kept, Factories: guard.All(), Log: log}
	if err := live.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	h.admin = &admin.Admin{Store: kept, Live: live}
	h.apply(basics + documents)
	h.key(auth.Key{Tenant: "acme", Project: "default", Name: "k1", Role: auth.Member, Hash: auth.Hash(h.secret)})

	sim, err := simulator.New(simulator.Config{Models: models(), Ended: func(_ string, how simulator.Ending) { h.ended <- how }})
	if err != nil {
		t.Fatal(err)
	}
	var routes []route.Model
	for name := range models() {
		routes = append(routes, route.Model{Name: name, MaxOutputTokens: 100, Targets: []route.Target{{Name: "sim", Backend: sim, Model: name}}})
	}
	router, err := route.New(routes)
	if err != nil {
		t.Fatal(err)
	}
	now := func() time.Time { return h.now() }
	metrics, err := intercept.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	chain := &intercept.Chain{Keys: &auth.Keys{Lookup: live.Lookup, Now: now}, Metrics: metrics, Log: log, Now: now}
	h.gateway = &gateway.Gateway{
		Policies: func() *policy.Set { return live.Snapshot().Policies },
		Router:   func() *route.Router { return router },
		Limiter:  admit.New(now),
		Ledger: &ledger.Ledger{
			Store:   kept,
			Prices:  func() *price.Catalogue { return live.Snapshot().Prices },
			Budgets: func() *lease.Book { return live.Snapshot().Budgets },
			Now:     now,
		},
		MaxDuration: time.Minute,
		Observe:     func(*gateway.Call, *gateway.Answer, error) {},
		Log:         log, Now: now,
	}
	h.handler = New(Config{Gateway: h.gateway, Router: func() *route.Router { return router }, Chain: chain})
	return h
}

func (h *house) apply(documents string) {
	h.t.Helper()
	if _, err := h.admin.Apply(context.Background(), auth.Caller{Role: auth.Platform}, []admin.Source{{Name: "test", Content: documents}}, false); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) key(k auth.Key) {
	h.t.Helper()
	k.Created = time.Now()
	if err := h.store.CreateKey(context.Background(), k); err != nil {
		h.t.Fatal(err)
	}
}

// ask sends a request with the key of the house.
func (h *house) ask(method, path, body string, headers ...string) *httptest.ResponseRecorder {
	h.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+h.secret)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, r)
	return w
}

func (h *house) chat(body string, headers ...string) *httptest.ResponseRecorder {
	h.t.Helper()
	return h.ask(http.MethodPost, "/v1/chat/completions", body, headers...)
}

func bodyOf(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	b, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
