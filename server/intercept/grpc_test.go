package intercept

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/auth"
	"github.com/weir-gateway/weir/server/face"
	"github.com/weir-gateway/weir/server/gateway"
)

const secret = "weir_canary-secret-of-a-key"

// logbook is a log that a test reads. Lines come from many goroutines; told is
// sent to once a call has left its line.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
	told chan struct{}
}

func newLogbook() *logbook { return &logbook{told: make(chan struct{}, 1000)} }

func (l *logbook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if bytes.Contains(b, []byte(`"msg":"call"`)) {
		defer func() { l.told <- struct{}{} }()
	}
	return l.text.Write(b)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// last returns the line of the call that has just ended.
func (l *logbook) last(t *testing.T) map[string]any {
	t.Helper()
	<-l.told
	lines := strings.Split(strings.TrimSpace(l.String()), "\n")
	var line map[string]any
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &line); err != nil {
		t.Fatal(err)
	}
	return line
}

func newChain(t *testing.T) (*Chain, *logbook, *prometheus.Registry) {
	t.Helper()
	log, registry := newLogbook(), prometheus.NewRegistry()
	metrics, err := NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	lookup := func(_ context.Context, hash [32]byte) (auth.Key, error) {
		switch hash {
		case auth.Hash(secret):
			return auth.Key{Tenant: "acme", Project: "default", Name: "k1", Role: auth.Member, Hash: hash}, nil
		case auth.Hash("away"):
			return auth.Key{}, errors.New("dial tcp 10.0.0.1: no route to host")
		}
		return auth.Key{}, auth.ErrNoKey
	}
	return &Chain{
		Keys: &auth.Keys{Lookup: lookup, Now: time.Now}, Metrics: metrics,
		Log: slog.New(slog.NewJSONHandler(log, nil)), Now: time.Now,
	}, log, registry
}

// generation answers as its funcs say.
type generation struct {
	weirv1.UnimplementedGenerationServiceServer
	unary  func(context.Context) (*weirv1.GenerateResponse, error)
	stream func(grpc.ServerStreamingServer[weirv1.StreamGenerateResponse]) error
}

func (g *generation) Generate(ctx context.Context, _ *weirv1.GenerateRequest) (*weirv1.GenerateResponse, error) {
	return g.unary(ctx)
}

func (g *generation) StreamGenerate(_ *weirv1.GenerateRequest, s grpc.ServerStreamingServer[weirv1.StreamGenerateResponse]) error {
	return g.stream(s)
}

func serve(t *testing.T, chain *Chain, service *generation, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	server := grpc.NewServer(chain.ServerOptions()...)
	weirv1.RegisterGenerationServiceServer(server, service)
	healthv1.RegisterHealthServer(server, health.NewServer())
	chain.Metrics.Methods(server)
	listener := bufconn.Listen(1 << 20)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient("passthrough:weir", append(options,
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func with(ctx context.Context, pairs ...string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, pairs...)
}

func reasonOf(t *testing.T, err error) (codes.Code, string, string) {
	t.Helper()
	st := status.Convert(err)
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return st.Code(), info.Reason, info.Metadata["request_id"]
		}
	}
	return st.Code(), "", ""
}

func TestWhoCalls(t *testing.T) {
	chain, log, _ := newChain(t)
	var caller auth.Caller
	client := weirv1.NewGenerationServiceClient(serve(t, chain, &generation{unary: func(ctx context.Context) (*weirv1.GenerateResponse, error) {
		caller, _ = auth.FromContext(ctx)
		return &weirv1.GenerateResponse{}, nil
	}}))
	for _, c := range []struct {
		name     string
		metadata []string
		code     codes.Code
		reason   string
	}{
		{"bearer", []string{"authorization", "Bearer " + secret}, codes.OK, ""},
		{"small bearer", []string{"authorization", "bearer " + secret}, codes.OK, ""},
		{"x-api-key", []string{"x-api-key", secret}, codes.OK, ""},
		{"nothing", nil, codes.Unauthenticated, "CREDENTIALS_INVALID"},
		{"another key", []string{"authorization", "Bearer weir_canary-other"}, codes.Unauthenticated, "CREDENTIALS_INVALID"},
		{"no bearer", []string{"authorization", secret}, codes.Unauthenticated, "CREDENTIALS_INVALID"},
		{"store away", []string{"x-api-key", "away"}, codes.Unavailable, "STORE_UNAVAILABLE"},
	} {
		t.Run(c.name, func(t *testing.T) {
			caller = auth.Caller{}
			_, err := client.Generate(with(t.Context(), c.metadata...), &weirv1.GenerateRequest{})
			code, reason, _ := reasonOf(t, err)
			if code != c.code || reason != c.reason {
				t.Errorf("got %v %s", code, reason)
			}
			line := log.last(t)
			if code == codes.OK && (caller.Tenant != "acme" || line["tenant"] != "acme" || line["key"] != "k1") {
				t.Errorf("caller is %+v, line %v", caller, line)
			}
			if line["code"] != c.code.String() || line["method"] != weirv1.GenerationService_Generate_FullMethodName {
				t.Errorf("line is %v", line)
			}
			if err != nil && strings.Contains(err.Error(), "10.0.0.1") {
				t.Errorf("the caller is told the cause: %v", err)
			}
		})
	}
	if text := log.String(); strings.Contains(text, "canary") {
		t.Errorf("a secret is in the log:\n%s", text)
	}
	if !strings.Contains(log.String(), "no route to host") {
		t.Error("the log lacks the cause of the store's failure")
	}
}

func TestHealthNeedsNoKey(t *testing.T) {
	chain, log, _ := newChain(t)
	conn := serve(t, chain, &generation{})
	if _, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{}); err != nil {
		t.Errorf("health: %v", err)
	}
	log.last(t)
	// Its own errors stay its own.
	_, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{Service: "unknown"})
	if code, reason, _ := reasonOf(t, err); code != codes.NotFound || reason != "" {
		t.Errorf("health of an unknown service: %v", err)
	}
}

func TestRequestID(t *testing.T) {
	chain, log, _ := newChain(t)
	fail := false
	var trail face.Trail
	service := &generation{
		unary: func(ctx context.Context) (*weirv1.GenerateResponse, error) {
			trail = *face.TrailOf(ctx)
			if fail {
				return nil, &gateway.Error{Reason: gateway.BackendOverloaded, Message: "full", RetryAfter: 2 * time.Second}
			}
			return &weirv1.GenerateResponse{}, nil
		},
		stream: func(s grpc.ServerStreamingServer[weirv1.StreamGenerateResponse]) error {
			trail = *face.TrailOf(s.Context())
			if err := s.Send(&weirv1.StreamGenerateResponse{Sequence: 1}); err != nil || !fail {
				return err
			}
			return &gateway.Error{Reason: gateway.StreamBroken, Message: "broke"}
		},
	}
	client := weirv1.NewGenerationServiceClient(serve(t, chain, service))
	ctx := with(t.Context(), "x-api-key", secret, "x-request-id", "theirs-1"+strings.Repeat("x", 200))

	var header, trailer metadata.MD
	if _, err := client.Generate(ctx, &weirv1.GenerateRequest{}, grpc.Header(&header), grpc.Trailer(&trailer)); err != nil {
		t.Fatal(err)
	}
	id := strings.Join(header["x-weir-request-id"], ",")
	if u, err := uuid.Parse(id); err != nil || u.Version() != 7 || id != trail.RequestID {
		t.Errorf("header has id %q, the call %q", id, trail.RequestID)
	}
	if len(trail.ClientRequestID) != 128 || !strings.HasPrefix(trail.ClientRequestID, "theirs-1x") {
		t.Errorf("the client's id is %q", trail.ClientRequestID)
	}
	if line := log.last(t); line["request_id"] != id || line["client_request_id"] != trail.ClientRequestID {
		t.Errorf("line is %v", line)
	}

	stream, err := client.StreamGenerate(ctx, &weirv1.GenerateRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	if header, _ := stream.Header(); strings.Join(header["x-weir-request-id"], ",") != trail.RequestID {
		t.Errorf("header of the stream is %v", header)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	log.last(t)

	// An error without an answer is trailers alone, else no client tries again.
	fail = true
	_, err = client.Generate(ctx, &weirv1.GenerateRequest{}, grpc.Header(&header), grpc.Trailer(&trailer))
	code, reason, id := reasonOf(t, err)
	if code != codes.Unavailable || reason != "BACKEND_OVERLOADED" || id != trail.RequestID {
		t.Errorf("error is %v %s %s", code, reason, id)
	}
	if strings.Join(trailer["x-weir-request-id"], ",") != trail.RequestID || strings.Join(trailer["grpc-retry-pushback-ms"], ",") != "2000" {
		t.Errorf("trailer is %v", trailer)
	}
	if line := log.last(t); line["reason"] != "BACKEND_OVERLOADED" || line["level"] != "WARN" {
		t.Errorf("line is %v", line)
	}

	stream, err = client.StreamGenerate(ctx, &weirv1.GenerateRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = stream.Recv()
	}
	if code, reason, _ := reasonOf(t, err); code != codes.Aborted || reason != "STREAM_BROKEN" {
		t.Errorf("error is %v", err)
	}
	if p := stream.Trailer()["grpc-retry-pushback-ms"]; strings.Join(p, ",") != "-1" {
		t.Errorf("pushback is %v", p)
	}
}

// A client whose service config retries UNAVAILABLE must get its second try,
// which it does only where the first answer had no header.
func TestClientsCanRetry(t *testing.T) {
	chain, _, _ := newChain(t)
	tries := 0
	fail := func() error {
		if tries++; tries == 1 {
			return &gateway.Error{Reason: gateway.BackendUnavailable, Message: "away", RetryAfter: time.Millisecond}
		}
		return nil
	}
	service := &generation{
		unary: func(context.Context) (*weirv1.GenerateResponse, error) { return &weirv1.GenerateResponse{}, fail() },
		stream: func(s grpc.ServerStreamingServer[weirv1.StreamGenerateResponse]) error {
			if err := fail(); err != nil {
				return err
			}
			return s.Send(&weirv1.StreamGenerateResponse{Sequence: 1})
		},
	}
	const config = `{"methodConfig": [{"name": [{}], "retryPolicy": {
		"maxAttempts": 3, "initialBackoff": "0.001s", "maxBackoff": "0.001s", "backoffMultiplier": 1, "retryableStatusCodes": ["UNAVAILABLE"]}}]}`
	client := weirv1.NewGenerationServiceClient(serve(t, chain, service, grpc.WithDefaultServiceConfig(config)))
	ctx := with(t.Context(), "x-api-key", secret)
	if _, err := client.Generate(ctx, &weirv1.GenerateRequest{}); err != nil || tries != 2 {
		t.Errorf("unary: %v after %d tries", err, tries)
	}
	tries = 0
	stream, err := client.StreamGenerate(ctx, &weirv1.GenerateRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil || tries != 2 {
		t.Errorf("stream: %v after %d tries", err, tries)
	}
}

func TestPanicsAndForeignErrors(t *testing.T) {
	chain, log, _ := newChain(t)
	var fail func() error
	service := &generation{
		unary: func(context.Context) (*weirv1.GenerateResponse, error) { return nil, fail() },
		stream: func(grpc.ServerStreamingServer[weirv1.StreamGenerateResponse]) error {
			return fail()
		},
	}
	client := weirv1.NewGenerationServiceClient(serve(t, chain, service))
	ctx := with(t.Context(), "x-api-key", secret)
	for name, f := range map[string]func() error{
		"panic":              func() error { panic("canary of a panic") },
		"unlisted":           func() error { return errors.New("canary of an error") },
		"status of a driver": func() error { return status.Error(codes.NotFound, "canary of a backend") },
	} {
		t.Run(name, func(t *testing.T) {
			fail = f
			_, unary := client.Generate(ctx, &weirv1.GenerateRequest{})
			unaryLine := log.last(t)
			stream, err := client.StreamGenerate(ctx, &weirv1.GenerateRequest{})
			if err != nil {
				t.Fatal(err)
			}
			_, streamed := stream.Recv()
			for _, c := range []struct {
				err  error
				line map[string]any
			}{{unary, unaryLine}, {streamed, log.last(t)}} {
				code, reason, id := reasonOf(t, c.err)
				if code != codes.Internal || reason != "INTERNAL" || id == "" || !strings.Contains(c.err.Error(), id) {
					t.Errorf("told %v", c.err)
				}
				if strings.Contains(c.err.Error(), "canary") {
					t.Errorf("the caller is told %v", c.err)
				}
				if c.line["level"] != "ERROR" || c.line["request_id"] != id || !strings.Contains(c.line["error"].(string), "canary") {
					t.Errorf("line is %v", c.line)
				}
			}
		})
	}
	if !strings.Contains(log.String(), "intercept.(*generation).Generate") {
		t.Error("the log lacks the stack of the panic")
	}
}

// What a caller has done wrong is in its own hands, and may quote what it sent.
func TestFailuresOfTheCallerAreLoggedByReasonAlone(t *testing.T) {
	chain, log, _ := newChain(t)
	client := weirv1.NewGenerationServiceClient(serve(t, chain, &generation{unary: func(context.Context) (*weirv1.GenerateResponse, error) {
		return nil, face.Invalid("messages", "canary 金丝雀")
	}}))
	if _, err := client.Generate(with(t.Context(), "x-api-key", secret), &weirv1.GenerateRequest{}); status.Code(err) != codes.InvalidArgument {
		t.Fatal(err)
	}
	if line := log.last(t); line["reason"] != "INVALID_REQUEST" || line["level"] != "INFO" {
		t.Errorf("line is %v", line)
	}
	if text := log.String(); strings.Contains(text, "canary") || strings.Contains(text, "金丝雀") {
		t.Errorf("the log holds content:\n%s", text)
	}
}

func TestMetricsCountARefusedCall(t *testing.T) {
	chain, log, registry := newChain(t)
	client := weirv1.NewGenerationServiceClient(serve(t, chain, &generation{unary: func(context.Context) (*weirv1.GenerateResponse, error) {
		return nil, &gateway.Error{Reason: gateway.BudgetExhausted, Message: "none left"}
	}}))
	if _, err := client.Generate(with(t.Context(), "x-api-key", secret), &weirv1.GenerateRequest{}); err == nil {
		t.Fatal("no error")
	}
	log.last(t)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, f := range families {
		if f.GetName() != "grpc_server_handled_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if labels["grpc_method"] == "Generate" && labels["grpc_code"] == "ResourceExhausted" {
				found = m.GetCounter().GetValue() == 1
			}
		}
	}
	if !found {
		t.Error("the refused call is not counted by its code")
	}
	if _, err := NewMetrics(registry); err == nil {
		t.Error("metrics can be registered twice")
	}
}
