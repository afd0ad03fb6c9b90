package openai

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/weir-gateway/weir/server/auth"
	"github.com/weir-gateway/weir/server/backend/simulator"
	"github.com/weir-gateway/weir/server/gateway/gatewaytest"
	"github.com/weir-gateway/weir/server/intercept"
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
		"embed":      {Dimensions: 8},
	}
}

// house is this face on a whole gateway.
type house struct {
	*gatewaytest.House
	t       *testing.T
	handler http.Handler
	secret  string
}

func newHouse(t *testing.T, documents string) *house {
	t.Helper()
	targets := map[string][]simulator.Profile{}
	for name, profile := range models() {
		targets[name] = []simulator.Profile{profile}
	}
	h := &house{t: t, House: gatewaytest.New(t, basics+documents, targets)}
	h.secret = h.Key("acme", "k1", auth.Member)
	metrics, err := intercept.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	chain := &intercept.Chain{Keys: &auth.Keys{Lookup: h.Live.Lookup, Now: h.Now}, Metrics: metrics, Log: h.Logger, Now: h.Now}
	h.handler = New(Config{Gateway: h.Gateway, Router: h.Router, Chain: chain})
	return h
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
