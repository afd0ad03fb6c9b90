package weir

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/weir-gateway/weir/accounting/lease"
	"github.com/weir-gateway/weir/accounting/ledger"
	"github.com/weir-gateway/weir/accounting/price"
	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
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
// out 2; the model cached has no price.
const basics = `
kind: Tenant
name: acme
---
kind: Tenant
name: other
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
    - {guard: lexicon, terms: [noted], action: flag}
  output:
    - {guard: lexicon, terms: [zorblatt, 测试词], action: block, category: test/output}
    - {id: mail, guard: pattern, builtin: email, action: redact}
`

func models() map[string]simulator.Profile {
	return map[string]simulator.Profile{
		"sim":        {},
		"cached":     {CachedShare: 0.5},
		"cut":        {Fault: simulator.FaultCut, FaultAfter: 4},
		"stall":      {Fault: simulator.FaultStall, FaultAfter: 2},
		"overloaded": {Fault: simulator.FaultOverloaded, RetryAfter: 1500 * time.Millisecond},
		"error":      {Fault: simulator.FaultError},
	}
}

// house is this face on a real gateway, a real store and a simulated backend,
// behind a real gRPC server.
type house struct {
	t       *testing.T
	conn    *grpc.ClientConn
	store   *store.Store
	log     *logbook
	secrets map[string]string // by name of the key
	ended   chan simulator.Ending
	gateway *gateway.Gateway
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
	h := &house{t: t, log: &logbook{}, secrets: map[string]string{}, ended: make(chan simulator.Ending, 100)}
	var err error
	if h.store, err = sqlite.Open(ctx, t.TempDir()+"/weir.db"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.store.Shutdown() })
	log := slog.New(slog.NewTextHandler(h.log, nil))
	live := &admin.Live{Store: h.store, Keys: h.store, Factories: guard.All(), Log: log}
	if err := live.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	documentsOf := &admin.Admin{Store: h.store, Live: live}
	if _, err := documentsOf.Apply(ctx, auth.Caller{Role: auth.Platform}, []admin.Source{{Name: "test", Content: basics + documents}}, false); err != nil {
		t.Fatal(err)
	}
	h.secrets["platform"] = auth.NewSecret()
	if _, err := h.store.FirstKey(ctx, auth.Key{Name: "platform", Role: auth.Platform, Hash: auth.Hash(h.secrets["platform"]), Created: time.Now()}); err != nil {
		t.Fatal(err)
	}
	h.key("member", "acme", auth.Member)
	h.key("admin", "acme", auth.Admin)

	sim, err := simulator.New(simulator.Config{Models: models(), Ended: func(_ string, how simulator.Ending) { h.ended <- how }})
	if err != nil {
		t.Fatal(err)
	}
	var routes []route.Model
	for name := range models() {
		routes = append(routes, route.Model{Name: name, MaxOutputTokens: 100, Targets: []route.Target{{Name: "b", Backend: sim, Model: name}}})
	}
	router, err := route.New(routes)
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := intercept.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	chain := &intercept.Chain{Keys: &auth.Keys{Lookup: live.Lookup, Now: time.Now}, Metrics: metrics, Log: log, Now: time.Now}
	h.gateway = &gateway.Gateway{
		Policies: func() *policy.Set { return live.Snapshot().Policies },
		Router:   func() *route.Router { return router },
		Limiter:  admit.New(time.Now),
		Ledger: &ledger.Ledger{
			Store:   h.store,
			Prices:  func() *price.Catalogue { return live.Snapshot().Prices },
			Budgets: func() *lease.Book { return live.Snapshot().Budgets },
			Now:     time.Now,
		},
		MaxDuration: time.Minute,
		Observe:     func(*gateway.Call, *gateway.Answer, error) {},
		Log:         log, Now: time.Now,
	}
	server := grpc.NewServer(append(chain.ServerOptions(), grpc.WaitForHandlers(true))...)
	if err := Register(server, Config{Gateway: h.gateway, Admin: documentsOf, Reports: h.store, Keys: h.store, Live: live, Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	listener := bufconn.Listen(1 << 20)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	h.conn, err = grpc.NewClient("passthrough:weir",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.conn.Close() })
	return h
}

// key makes a key in a tenant's project default.
func (h *house) key(name, tenant string, role auth.Role) {
	h.t.Helper()
	h.secrets[name] = auth.NewSecret()
	if err := h.store.CreateKey(context.Background(), auth.Key{
		Tenant: tenant, Project: "default", Name: name, Role: role, Hash: auth.Hash(h.secrets[name]), Created: time.Now(),
	}); err != nil {
		h.t.Fatal(err)
	}
}

// as is a context that calls with a key.
func (h *house) as(name string) context.Context { return h.bearer(h.secrets[name]) }

func (h *house) bearer(secret string) context.Context {
	return metadata.AppendToOutgoingContext(h.t.Context(), "authorization", "Bearer "+secret)
}

func say(role weirv1.Role, text string) *weirv1.Message {
	return &weirv1.Message{Role: role, Parts: []*weirv1.Part{{Data: &weirv1.Part_Text{Text: text}}}}
}

func ask(model, prompt string) *weirv1.GenerateRequest {
	return &weirv1.GenerateRequest{Model: model, Messages: []*weirv1.Message{say(weirv1.Role_ROLE_USER, prompt)}}
}

// failure is what a caller is told: code, reason, and the fields that are wrong.
func failure(err error) string {
	st := status.Convert(err)
	told := []string{st.Code().String()}
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			told = append(told, d.Reason)
		case *errdetails.BadRequest:
			for _, v := range d.FieldViolations {
				told = append(told, v.Field+"="+v.Reason)
			}
		}
	}
	return strings.Join(told, " ")
}
