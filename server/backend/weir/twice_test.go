package weir_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/auth"
	"github.com/weir-gateway/weir/server/backend/simulator"
	"github.com/weir-gateway/weir/server/backend/weir"
	face "github.com/weir-gateway/weir/server/face/weir"
	"github.com/weir-gateway/weir/server/gateway/gatewaytest"
	"github.com/weir-gateway/weir/server/intercept"
	"github.com/weir-gateway/weir/server/route"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const tenant = `
kind: Tenant
name: acme
---
kind: Price
model: sim
currency: USD
effective: 2026-01-01
per_million: {input: 1, output: 2}
`

const innerRules = `
---
kind: Policy
name: inner
tenant: acme
safety:
  input: [{guard: lexicon, terms: [forbidden], action: block, category: test/input}]
  output:
    - {id: secret-rule, guard: lexicon, terms: [zorblatt], action: block, category: test/output}
    - {guard: pattern, builtin: email, action: redact, placeholder: '[inner]'}
`

const outerRules = `
---
kind: Policy
name: outer
tenant: acme
safety: {output: [{guard: lexicon, terms: [quux], action: redact, placeholder: '[outer]'}]}
`

// door is a gateway behind its own gRPC port.
type door struct {
	*gatewaytest.House
	address, secret string
	client          weirv1.GenerationServiceClient
}

func open(t *testing.T, documents string, models map[string][]simulator.Profile) *door {
	t.Helper()
	d := &door{House: gatewaytest.New(t, documents, models)}
	d.Key("", "platform", auth.Platform)
	d.secret = d.Key("acme", "member", auth.Member)
	metrics, err := intercept.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	chain := &intercept.Chain{Keys: &auth.Keys{Lookup: d.Live.Lookup, Now: time.Now}, Metrics: metrics, Log: d.Logger, Now: time.Now}
	s := grpc.NewServer(append(chain.ServerOptions(), grpc.WaitForHandlers(true))...)
	if err := face.Register(s, face.Config{Gateway: d.Gateway, Admin: d.Admin, Reports: d.Store, Budgets: d.Store, Keys: d.Store, Live: d.Live, Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() { defer close(served); _ = s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); <-served })
	d.address = l.Addr().String()
	conn, err := grpc.NewClient(d.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	d.client = weirv1.NewGenerationServiceClient(conn)
	return d
}

// twice is a Weir in front of a Weir.
func twice(t *testing.T) (outer, inner *door) {
	t.Helper()
	inner = open(t, tenant+innerRules, map[string][]simulator.Profile{
		"sim": {{}}, "stall": {{Fault: simulator.FaultStall, FaultAfter: 2}}, "cut": {{Fault: simulator.FaultCut, FaultAfter: 3}},
		"overloaded": {{Fault: simulator.FaultOverloaded, RetryAfter: 3 * time.Second}},
	})
	outer = open(t, tenant+outerRules, nil)
	b, err := weir.New(weir.Config{Name: "inner", URL: "http://" + inner.address, Key: inner.secret, Candidates: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	var models []route.Model
	for _, name := range []string{"sim", "stall", "cut", "overloaded", "missing"} {
		models = append(models, route.Model{Name: name, MaxOutputTokens: gatewaytest.MaxOutputTokens, Targets: []route.Target{{Name: "inner", Backend: b, Model: name}}})
	}
	router, err := route.New(models)
	if err != nil {
		t.Fatal(err)
	}
	outer.Router = func() *route.Router { return router }
	return outer, inner
}

func (d *door) as(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+d.secret)
}

func ask(model, prompt string) *weirv1.GenerateRequest {
	return &weirv1.GenerateRequest{Model: model, Context: &weirv1.RequestContext{EndUser: "ann-of-outer", Labels: map[string]string{"team": "outer-rivers"}},
		Messages: []*weirv1.Message{{Role: weirv1.Role_ROLE_USER, Parts: []*weirv1.Part{{Data: &weirv1.Part_Text{Text: prompt}}}}}}
}

// heard is an answer that was streamed.
type heard struct {
	text, reasoning string
	calls           []*weirv1.ToolCall
	finish          []weirv1.FinishReason
	done            *weirv1.CompletedEvent
}

func (d *door) stream(t *testing.T, req *weirv1.GenerateRequest) (h heard, err error) {
	t.Helper()
	stream, err := d.client.StreamGenerate(d.as(t.Context()), req)
	if err != nil {
		return h, err
	}
	for {
		in, err := stream.Recv()
		if err == io.EOF {
			return h, nil
		}
		if err != nil {
			return h, err
		}
		h.text += in.GetDelta().GetText()
		h.reasoning += in.GetDelta().GetReasoningText()
		if c := in.GetDelta().GetToolCall(); c != nil {
			h.calls = append(h.calls, &weirv1.ToolCall{Id: c.Id, Name: c.Name})
		}
		if a := in.GetDelta().GetToolArguments(); a != nil {
			h.calls[a.Index].ArgumentsJson += a.Text
		}
		if e := in.GetCandidateDone(); e != nil {
			h.finish = append(h.finish, e.FinishReason)
		}
		if e := in.GetCompleted(); e != nil {
			h.done = e
		}
	}
}

func TestWeirInFrontOfWeir(t *testing.T) {
	outer, inner := twice(t)
	// Rules of both hold, and the figures are one.
	req := ask("sim", "think: 想\nsay: 写给 a.b@example.com 和 quux 😀")
	const said = "写给 [inner] 和 [outer] 😀"
	whole, err := outer.client.Generate(outer.as(t.Context()), req)
	if err != nil {
		t.Fatal(err)
	}
	parts := whole.Candidates[0].Message.Parts
	if len(parts) != 2 || parts[0].GetReasoning().GetText() != "想" || parts[1].GetText() != said || whole.Candidates[0].FinishReason != weirv1.FinishReason_FINISH_REASON_STOP {
		t.Errorf("answer is %v", whole.Candidates)
	}
	streamed, err := outer.stream(t, req)
	if err != nil || streamed.text != said || streamed.reasoning != "想" {
		t.Fatalf("%+v, %v", streamed, err)
	}
	direct, err := inner.client.Generate(inner.as(t.Context()), req)
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []*weirv1.Usage{whole.Usage, streamed.done.Usage} {
		if got.GetSource() != weirv1.QuantitySource_QUANTITY_SOURCE_PROVIDER || got.String() != direct.Usage.String() {
			t.Errorf("usage is %v, the inner one's %v", got, direct.Usage)
		}
	}
	// What the inner one found is its own affair.
	for _, v := range whole.Verdicts {
		if v.Policy != "acme/outer" {
			t.Errorf("verdict %v passes", v)
		}
	}
	if len(whole.Verdicts) != 1 || len(direct.Verdicts) != 1 {
		t.Errorf("verdicts are %v, and those of the inner one %v", whole.Verdicts, direct.Verdicts)
	}
	if log := inner.Lines.String(); !strings.Contains(log, whole.RequestId) || strings.Contains(log, "ann-of-outer") || strings.Contains(log, "outer-rivers") {
		t.Errorf("the inner log does not know the outer id %s, or knows whom it was for:\n%s", whole.RequestId, log)
	}
}

func TestToolsThroughTwoWeirs(t *testing.T) {
	outer, _ := twice(t)
	req := ask("sim", "call: get_weather {\"city\": \"北京\"}\ncall: nothing")
	req.Tools = []*weirv1.Tool{{Name: "get_weather", Description: "Tells the weather.", ParametersJsonSchema: `{"type":"object"}`}, {Name: "nothing"}}
	req.ToolChoice = &weirv1.ToolChoice{Mode: weirv1.ToolChoice_MODE_REQUIRED}
	streamed, err := outer.stream(t, req)
	if err != nil || len(streamed.calls) != 2 || streamed.calls[0].ArgumentsJson != `{"city": "北京"}` || streamed.calls[1].Name != "nothing" || streamed.finish[0] != weirv1.FinishReason_FINISH_REASON_TOOL_CALLS {
		t.Fatalf("%+v, %v", streamed, err)
	}
	whole, err := outer.client.Generate(outer.as(t.Context()), req)
	if err != nil || len(whole.Candidates[0].Message.Parts) != 2 {
		t.Fatalf("%v, %v", whole, err)
	}
	req.Messages = append(req.Messages, whole.Candidates[0].Message)
	for i, p := range whole.Candidates[0].Message.Parts {
		req.Messages = append(req.Messages, &weirv1.Message{Role: weirv1.Role_ROLE_TOOL, Parts: []*weirv1.Part{{
			Data: &weirv1.Part_ToolResult{ToolResult: &weirv1.ToolResult{ToolCallId: p.GetToolCall().GetId(), Text: fmt.Sprintf("晴 %d", i), Failed: i == 1}}}}})
	}
	if streamed, err = outer.stream(t, req); err != nil || streamed.text != "The tool says: 晴 0 晴 1" {
		t.Errorf("%+v, %v", streamed, err)
	}
	form := ask("sim", "Say something about rivers.")
	form.Config = &weirv1.GenerationConfig{ResponseFormat: &weirv1.ResponseFormat{Name: "river", JsonSchema: `{"type":"object","properties":{"kind":{"enum":["stream"]}},"required":["kind"]}`}}
	if streamed, err = outer.stream(t, form); err != nil || !json.Valid([]byte(streamed.text)) {
		t.Errorf("%+v, %v", streamed, err)
	}
}

func TestWhatTheInnerWeirCutsOrRefuses(t *testing.T) {
	outer, _ := twice(t)
	streamed, err := outer.stream(t, ask("sim", "say: fine zorblatt"))
	if err != nil || streamed.finish[0] != weirv1.FinishReason_FINISH_REASON_BACKEND_FILTER || strings.Contains(streamed.text, "zorblatt") || len(streamed.done.Verdicts) != 0 {
		t.Errorf("%+v, %v", streamed, err)
	}
	for prompt, want := range map[[2]string]string{
		{"sim", "forbidden"}:                       "INVALID_REQUEST",
		{"overloaded", "hi"}:                       "BACKEND_OVERLOADED",
		{"missing", "hi"}:                          "BACKEND_UNAVAILABLE",
		{"cut", "say: " + strings.Repeat("水", 50)}: "STREAM_BROKEN",
	} {
		_, err := outer.stream(t, ask(prompt[0], prompt[1]))
		reason := ""
		for _, d := range status.Convert(err).Details() {
			switch d := d.(type) {
			case *errdetails.ErrorInfo:
				reason = d.Reason
			case *errdetails.RetryInfo:
				if want == "BACKEND_OVERLOADED" && d.RetryDelay.AsDuration() != 3*time.Second {
					t.Errorf("the wish to be called later is lost: %v", d)
				}
			}
		}
		if reason != want || strings.Contains(err.Error(), "inner") || strings.Contains(err.Error(), "secret-rule") {
			t.Errorf("%v: %v (%s), want %s", prompt, err, reason, want)
		}
	}
}

// The inner Weir hears that the caller of the outer one has gone.
func TestCancellationGoesThroughTwoWeirs(t *testing.T) {
	outer, inner := twice(t)
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := outer.client.StreamGenerate(outer.as(ctx), ask("stall", "say: a b c d e"))
	for err == nil {
		var in *weirv1.StreamGenerateResponse
		if in, err = stream.Recv(); in.GetDelta() != nil {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if how := <-inner.Ended; how != simulator.EndedCancelled {
		t.Errorf("the model's call ended %s", how)
	}
	for err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.Canceled {
		t.Errorf("it ended with %v", err)
	}
}
