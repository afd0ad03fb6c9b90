package weir

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
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

	"github.com/weir-gateway/weir/accounting/outputlog"
	"github.com/weir-gateway/weir/accounting/spool"
	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/policy/guard"
	"github.com/weir-gateway/weir/server/auth"
	"github.com/weir-gateway/weir/server/backend/simulator"
	"github.com/weir-gateway/weir/server/gateway/gatewaytest"
	"github.com/weir-gateway/weir/server/intercept"
	"github.com/weir-gateway/weir/server/store"
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
		"embed":      {Dimensions: 8},
		"cut":        {Fault: simulator.FaultCut, FaultAfter: 4},
		"stall":      {Fault: simulator.FaultStall, FaultAfter: 2},
		"overloaded": {Fault: simulator.FaultOverloaded, RetryAfter: 1500 * time.Millisecond},
		"error":      {Fault: simulator.FaultError},
	}
}

// house is this face on a whole gateway, behind a real gRPC server.
type house struct {
	*gatewaytest.House
	t       *testing.T
	conn    *grpc.ClientConn
	web     *httptest.Server  // the same services over HTTP
	secrets map[string]string // by name of the key
}

func newHouse(t *testing.T, documents string) *house {
	t.Helper()
	targets := map[string][]simulator.Profile{}
	for name, profile := range models() {
		targets[name] = []simulator.Profile{profile}
	}
	h := &house{t: t, House: gatewaytest.New(t, basics+documents, targets), secrets: map[string]string{}}
	h.secrets["platform"] = h.Key("", "platform", auth.Platform)
	h.key("member", "acme", auth.Member)
	h.key("admin", "acme", auth.Admin)
	metrics, err := intercept.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	chain := &intercept.Chain{Keys: &auth.Keys{Lookup: h.Live.Lookup, Now: time.Now}, Metrics: metrics, Log: h.Logger, Now: time.Now, StallTimeout: 100 * time.Millisecond}
	redactor, err := outputlog.NewRedactor(guard.All())
	if err != nil {
		t.Fatal(err)
	}
	outputs := outputlog.New(h.Store, redactor, func(outputlog.Fate, int) {}, h.Logger, time.Now)
	h.Record = outputs.Record
	running, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { outputs.Run(running); close(ended) }()
	t.Cleanup(func() { stop(); <-ended })
	server := grpc.NewServer(append(chain.ServerOptions(), grpc.WaitForHandlers(true))...)
	web := grpc.NewServer(append(chain.ServerOptions(), grpc.WaitForHandlers(true))...)
	for _, s := range []*grpc.Server{server, web} {
		if err := Register(s, Config{
			Gateway: h.Gateway, Admin: h.Admin, Reports: h.Store, Budgets: h.Store, Keys: h.Store, Live: h.Live, Now: func() time.Time { return h.Clock() },
			Outputs: h.Store, Log: outputs, Redactor: redactor,
			Ledger: h.Store, Letters: h.Store, Spool: func() (spool.Stats, error) { return h.Ledger.Spool.Stats(), h.Ledger.Spool.Err() },
			Taken: func(err error) bool { return errors.Is(err, store.ErrAdjusted) },
		}); err != nil {
			t.Fatal(err)
		}
	}
	mux := http.NewServeMux()
	if err := Mount(mux, web, 1<<20, chain.Web); err != nil {
		t.Fatal(err)
	}
	h.web = httptest.NewUnstartedServer(mux)
	h.web.EnableHTTP2 = true
	h.web.StartTLS()
	t.Cleanup(func() { h.web.Close(); web.Stop() })
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
	h.secrets[name] = h.Key(tenant, name, role)
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
