package main

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	metricsv1 "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	metricv1 "go.opentelemetry.io/proto/otlp/metrics/v1"
	spanv1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
)

// collector receives OTLP over both protocols, as a real one does.
type collector struct {
	tracev1.UnimplementedTraceServiceServer
	metricsv1.UnimplementedMetricsServiceServer
	grpc, http string

	mu      sync.Mutex
	spans   []*spanv1.Span
	metrics []*metricv1.Metric
	text    strings.Builder // of all that came
	tokens  []string        // the header authorization of each export
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	tracev1.RegisterTraceServiceServer(s, c)
	metricsv1.RegisterMetricsServiceServer(s, metricsOf{c})
	go s.Serve(listener)
	t.Cleanup(s.Stop)
	web := httptest.NewServer(c)
	t.Cleanup(web.Close)
	c.grpc, c.http = "http://"+listener.Addr().String(), web.URL
	return c
}

func (c *collector) keep(m proto.Message, token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text.WriteString(prototext.Format(m))
	c.tokens = append(c.tokens, token)
	switch m := m.(type) {
	case *tracev1.ExportTraceServiceRequest:
		for _, r := range m.ResourceSpans {
			for _, s := range r.ScopeSpans {
				c.spans = append(c.spans, s.Spans...)
			}
		}
	case *metricsv1.ExportMetricsServiceRequest:
		c.metrics = nil // cumulative: the last export has all
		for _, r := range m.ResourceMetrics {
			for _, s := range r.ScopeMetrics {
				c.metrics = append(c.metrics, s.Metrics...)
			}
		}
	}
}

func tokenOf(ctx context.Context) string {
	return strings.Join(metadata.ValueFromIncomingContext(ctx, "authorization"), ",")
}

func (c *collector) Export(ctx context.Context, m *tracev1.ExportTraceServiceRequest) (*tracev1.ExportTraceServiceResponse, error) {
	c.keep(m, tokenOf(ctx))
	return &tracev1.ExportTraceServiceResponse{}, nil
}

type metricsOf struct{ *collector }

func (c metricsOf) Export(ctx context.Context, m *metricsv1.ExportMetricsServiceRequest) (*metricsv1.ExportMetricsServiceResponse, error) {
	c.keep(m, tokenOf(ctx))
	return &metricsv1.ExportMetricsServiceResponse{}, nil
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var m proto.Message
	switch r.URL.Path {
	case "/v1/traces":
		m = &tracev1.ExportTraceServiceRequest{}
	case "/v1/metrics":
		m = &metricsv1.ExportMetricsServiceRequest{}
	default:
		http.NotFound(w, r)
		return
	}
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		body, _ = gzip.NewReader(r.Body)
	}
	data, _ := io.ReadAll(body)
	if err := proto.Unmarshal(data, m); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.keep(m, r.Header.Get("Authorization"))
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// attributes are those of a span or a point, by name.
func attributes(all []*commonv1.KeyValue) map[string]string {
	m := map[string]string{}
	for _, a := range all {
		m[a.Key] = strings.TrimSpace(prototext.MarshalOptions{}.Format(a.Value))
		switch v := a.Value.Value.(type) {
		case *commonv1.AnyValue_StringValue:
			m[a.Key] = v.StringValue
		case *commonv1.AnyValue_IntValue:
			m[a.Key] = fmt.Sprint(v.IntValue)
		case *commonv1.AnyValue_BoolValue:
			m[a.Key] = fmt.Sprint(v.BoolValue)
		}
	}
	return m
}

// talkative is a backend that answers with canaries, on model broken with a
// failure that holds one, and tells whose trace each request says it is of.
func talkative(t *testing.T, parents chan<- string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		parents <- r.Header.Get("Traceparent")
		body, _ := io.ReadAll(r.Body)
		if strings.Contains(string(body), `"broken"`) {
			http.Error(w, `{"error":{"message":"canary-failure"}}`, http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for _, event := range []string{
			`{"model":"m-2026","choices":[{"index":0,"delta":{"role":"assistant","content":"canary-answer 金丝雀"}}]}`,
			`{"model":"m-2026","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":"look","arguments":"{\"for\":\"canary-arguments\"}"}}]}}]}`,
			`{"model":"m-2026","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}`,
			`{"model":"m-2026","choices":[],"usage":{"prompt_tokens":12,"completion_tokens":7,"total_tokens":19,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":2}}}`,
			`[DONE]`,
		} {
			fmt.Fprintf(w, "data: %s\n\n", event)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL + "/v1"
}

// traceOf is the trace that the callers of these tests belong to.
const (
	traceOf  = "4bf92f3577b34da6a3ce929d0e0e4736"
	parentOf = "00-" + traceOf + "-00f067aa0ba902b7-01"
)

func TestTelemetryFollowsACallAndHoldsNoContent(t *testing.T) {
	for _, protocol := range []string{overGRPC, overHTTP} {
		t.Run(strings.ReplaceAll(protocol, "/", "-"), func(t *testing.T) {
			c := newCollector(t)
			parents := make(chan string, 10)
			config := `
backends:
  - {name: b1, kind: openai, url: "` + talkative(t, parents) + `"}
models:
  - {name: sim-text, targets: [{backend: b1, model: broken}, {backend: b1, model: m, priority: 1}]}
`
			if protocol == overGRPC {
				config += "telemetry: {otlp: {endpoint: \"" + c.grpc + "\", protocol: grpc, headers: {authorization: token-1}, sample: 0}}\n"
			}
			p := &process{t: t, data: t.TempDir(), args: []string{"--config", file(t, "weir.yaml", config)}}
			if protocol == overHTTP {
				p.env = []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + c.http, "OTEL_EXPORTER_OTLP_HEADERS=authorization=token-1", "OTEL_SERVICE_NAME=weir-eu"}
			}
			p.start()
			t.Cleanup(p.kill)
			p.apply(strings.Replace(acme, "model: sim-text", "model: sim-text\nbackend: b1", 1))
			key := p.createKey("acme", "k1")

			conn, err := grpc.NewClient(p.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			ctx := metadata.AppendToOutgoingContext(t.Context(), "x-api-key", key, "traceparent", parentOf)
			say := func(text string) *weirv1.GenerateRequest {
				message := func(role weirv1.Role, text string) *weirv1.Message {
					return &weirv1.Message{Role: role, Parts: []*weirv1.Part{{Data: &weirv1.Part_Text{Text: text}}}}
				}
				return &weirv1.GenerateRequest{Model: "sim-text", Messages: []*weirv1.Message{
					message(weirv1.Role_ROLE_SYSTEM, "canary-system"), message(weirv1.Role_ROLE_USER, text),
				}}
			}
			client := weirv1.NewGenerationServiceClient(conn)
			answer, err := client.Generate(ctx, say("canary-prompt 金丝雀"))
			if err != nil || !strings.Contains(answer.String(), "canary-answer") || !strings.Contains(answer.String(), "canary-arguments") {
				t.Fatalf("%v %v", answer, err)
			}
			post := func(path, body string) string {
				r, err := http.NewRequest(http.MethodPost, "http://"+p.http+path, strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Authorization", "Bearer "+key)
				r.Header.Set("Traceparent", parentOf)
				answer, err := http.DefaultClient.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				defer answer.Body.Close()
				said, err := io.ReadAll(answer.Body)
				if err != nil {
					t.Fatal(err)
				}
				return string(said)
			}
			blocked, err := protojson.Marshal(say("canary-blocked classified"))
			if err != nil {
				t.Fatal(err)
			}
			if said := post("/weir/v1/generate", string(blocked)); !strings.Contains(said, "INPUT_BLOCKED") {
				t.Fatal(said)
			}
			if said := post("/v1/chat/completions", `{"model":"sim-text","stream":true,"messages":[{"role":"user","content":"canary-http"}]}`); !strings.Contains(said, "canary-answer") {
				t.Fatal(said)
			}
			if err := p.end(syscall.SIGTERM); err != nil { // what is left is sent
				t.Fatal(err)
			}
			if !strings.Contains(p.log.String(), "trace_id="+traceOf) {
				t.Errorf("the log names no trace:\n%s", p.log)
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			c.checkSpans(t, parents)
			c.checkMetrics(t)
			for _, secret := range []string{"canary", "金丝雀", key} {
				if strings.Contains(c.text.String(), secret) {
					t.Errorf("%q is in the telemetry:\n%s", secret, c.text.String())
				}
			}
			if !slices.Equal(slices.Compact(c.tokens), []string{"token-1"}) {
				t.Errorf("tokens of the exports: %q", c.tokens)
			}
			if protocol == overHTTP && !strings.Contains(c.text.String(), "weir-eu") {
				t.Error("OTEL_SERVICE_NAME is not heard")
			}
		})
	}
}

// checkSpans checks the spans of two calls of two attempts, and of a blocked
// one.
func (c *collector) checkSpans(t *testing.T, parents <-chan string) {
	t.Helper()
	byName := map[string][]*spanv1.Span{}
	ids := map[string]*spanv1.Span{}
	for _, s := range c.spans {
		if fmt.Sprintf("%x", s.TraceId) != traceOf {
			continue // of the calls that set the tenant up
		}
		byName[s.Name] = append(byName[s.Name], s)
		ids[fmt.Sprintf("%x", s.SpanId)] = s
	}
	for name, want := range map[string]int{
		"weir.v1.GenerationService/Generate": 2, "POST /v1/chat/completions": 1,
		"guard input": 3, "chat broken": 2, "chat m": 2, "settle": 4,
	} {
		if len(byName[name]) != want {
			t.Errorf("%d spans %q, want %d", len(byName[name]), name, want)
		}
	}
	if t.Failed() {
		t.Fatal(c.text.String())
	}
	root := byName["weir.v1.GenerationService/Generate"][0]
	if got := attributes(root.Attributes); root.Kind != spanv1.Span_SPAN_KIND_SERVER || fmt.Sprintf("%x", root.ParentSpanId) != "00f067aa0ba902b7" ||
		got["rpc.system.name"] != "grpc" || got["rpc.response.status_code"] != "OK" || got["weir.tenant"] != "acme" {
		t.Errorf("%v", root)
	}
	attempt := byName["chat m"][0]
	got := attributes(attempt.Attributes)
	for name, want := range map[string]string{
		"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "m", "gen_ai.response.model": "m-2026",
		"gen_ai.request.stream": "true", "gen_ai.usage.input_tokens": "12", "gen_ai.usage.output_tokens": "7",
		"gen_ai.usage.cache_read.input_tokens": "4", "gen_ai.usage.reasoning.output_tokens": "2",
		"weir.attempt": "2", "weir.backend": "b1", "weir.model": "sim-text", "weir.outcome": "completed", "weir.cost.currency": "USD", "error.type": "",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	if attempt.Kind != spanv1.Span_SPAN_KIND_CLIENT || ids[fmt.Sprintf("%x", attempt.ParentSpanId)] == nil || got["gen_ai.response.time_to_first_chunk"] == "" || !strings.Contains(got["gen_ai.response.finish_reasons"], "tool_calls") {
		t.Errorf("%v", attempt)
	}
	failed := byName["chat broken"][0]
	if got := attributes(failed.Attributes); got["error.type"] != "backend_unavailable" || failed.Status.GetCode() != spanv1.Status_STATUS_CODE_ERROR || failed.Status.GetMessage() != "" {
		t.Errorf("%v", failed)
	}
	blocked := 0
	for _, s := range byName["guard input"] {
		if attributes(s.Attributes)["error.type"] == "input_blocked" {
			blocked++
		}
	}
	if blocked != 1 {
		t.Errorf("%d blocked inputs", blocked)
	}
	for range 4 { // each request to the backend names the span of its attempt
		parent := <-parents
		fields := strings.Split(parent, "-")
		if len(fields) != 4 || fields[1] != traceOf || ids[fields[2]] == nil || !strings.HasPrefix(ids[fields[2]].Name, "chat ") {
			t.Errorf("the backend was told of the trace %q", parent)
		}
	}
}

// checkMetrics checks names, units and sums.
func (c *collector) checkMetrics(t *testing.T) {
	t.Helper()
	got := map[string]string{}
	for _, m := range c.metrics {
		var n int64
		for _, p := range m.GetSum().GetDataPoints() {
			n += p.GetAsInt()
		}
		for _, p := range m.GetHistogram().GetDataPoints() {
			n += int64(p.Count)
		}
		got[m.Name] = fmt.Sprintf("%d %s", n, m.Unit)
	}
	for name, want := range map[string]string{
		"gen_ai.client.inference.duration":                      "4 s", // attempts
		"gen_ai.client.inference.time_to_first_chunk":           "2 s",
		"gen_ai.client.inference.usage.input_tokens":            "24 {token}",
		"gen_ai.client.inference.usage.output_tokens":           "14 {token}",
		"gen_ai.client.inference.usage.cache_read.input_tokens": "8 {token}",
		"gen_ai.client.inference.usage.reasoning.output_tokens": "4 {token}",
		"weir.cost.charge":   "33000 {nano}",
		"weir.cost.provider": "33000 {nano}",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
}

func TestTelemetryIsOffAndItsMistakesAreNamed(t *testing.T) {
	env := func(pairs ...string) func(string) (string, bool) {
		return func(name string) (string, bool) {
			i := slices.Index(pairs, name)
			if i < 0 {
				return "", false
			}
			return pairs[i+1], true
		}
	}
	const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT"
	at := OTLPConfig{Endpoint: "http://127.0.0.1:4318"}
	for _, c := range []struct {
		config OTLPConfig
		env    func(string) (string, bool)
		want   string
		fails  string
	}{
		{OTLPConfig{}, env(), "", ""},
		{at, env(), overHTTP, ""},
		{OTLPConfig{}, env(endpoint, "http://127.0.0.1:4318"), overHTTP, ""},
		{OTLPConfig{}, env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:4318"), overHTTP, ""},
		{OTLPConfig{}, env("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://127.0.0.1:4318"), "", ""},
		{at, env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), overGRPC, ""},
		{at, env("OTEL_SDK_DISABLED", "true"), "", ""},
		{at, env("OTEL_TRACES_EXPORTER", "none"), "", ""},
		{at, env("OTEL_TRACES_EXPORTER", "zipkin"), "", "known are otlp and none"},
		{at, env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"), "", "known are grpc and http/protobuf"},
	} {
		got, err := c.config.wanted(traceSignal, c.env)
		if got != c.want || (err != nil) != (c.fails != "") || err != nil && !strings.Contains(err.Error(), c.fails) {
			t.Errorf("%+v: %q %v, want %q", c.config, got, err, c.want)
		}
	}
	for config, want := range map[string]string{
		"{endpoint: \"127.0.0.1:4317\"}":                  "telemetry.otlp.endpoint",
		"{endpoint: \"http://user:secret@127.0.0.1:1\"}":  "telemetry.otlp.endpoint",
		"{endpoint: \"http://a:1\", protocol: http/json}": "telemetry.otlp.protocol",
		"{endpoint: \"http://a:1\", sample: 1.5}":         "telemetry.otlp.sample",
	} {
		_, _, err := loadConfig(file(t, "weir.yaml", "backends: [{name: s, kind: simulator}]\nmodels: [{name: sim-text, targets: [{backend: s}]}]\ntelemetry: {otlp: "+config+"}\n"), env())
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), ":3:") && !strings.Contains(err.Error(), "line 3") || strings.Contains(err.Error(), "secret@") {
			t.Errorf("%s: %v", config, err)
		}
	}
}
