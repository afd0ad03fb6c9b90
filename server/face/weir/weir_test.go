package weir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/weir-gateway/weir/accounting/report"
	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/auth"
	"github.com/weir-gateway/weir/server/backend/simulator"
	"github.com/weir-gateway/weir/server/face"
	"github.com/weir-gateway/weir/server/gateway"
)

func TestGenerate(t *testing.T) {
	h := newHouse(t, "")
	client := weirv1.NewGenerationServiceClient(h.conn)
	var header metadata.MD
	a, err := client.Generate(h.as("member"), ask("sim", "noted\nthink: 想\nsay: 写给 a.b@example.com 吧"), grpc.Header(&header))
	if err != nil {
		t.Fatal(err)
	}
	if a.RequestId == "" || header.Get("x-weir-request-id")[0] != a.RequestId {
		t.Errorf("ids are %q and %v", a.RequestId, header)
	}
	c := a.Candidates[0]
	if len(a.Candidates) != 1 || c.FinishReason != weirv1.FinishReason_FINISH_REASON_STOP || c.Message.Role != weirv1.Role_ROLE_ASSISTANT {
		t.Errorf("candidates are %v", a.Candidates)
	}
	if len(c.Message.Parts) != 2 || c.Message.Parts[0].GetReasoning().GetText() != "想" || c.Message.Parts[1].GetText() != "写给 [EMAIL] 吧" {
		t.Errorf("parts are %v", c.Message.Parts)
	}
	u := a.Usage
	if u.GetInputTokens() == 0 || u.GetReasoningTokens() != 1 || u.GetOutputTokens() != u.GetTextOutputTokens()+1 || u.CacheWrite_5MTokens != nil || u.Source != weirv1.QuantitySource_QUANTITY_SOURCE_PROVIDER {
		t.Errorf("usage is %v", u)
	}
	nanos := 1000*u.GetInputTokens() + 2000*u.GetOutputTokens()
	if a.Cost.GetTotal().GetCurrencyCode() != "USD" || a.Cost.Total.Units != 0 || int64(a.Cost.Total.Nanos) != nanos || a.Cost.PriceVersion == "" {
		t.Errorf("cost is %v for %v", a.Cost, u)
	}
	var sum int64
	for _, l := range a.Cost.GetLines() {
		sum += int64(l.Amount.Nanos)
	}
	if sum != nanos || a.Cost.Lines[0].Meter != "uncached_input_tokens" || a.Cost.Lines[0].UnitPrice != "0.000001" {
		t.Errorf("lines are %v", a.Cost.Lines)
	}
	if len(a.Verdicts) != 2 || a.Verdicts[0].Stage != weirv1.Stage_STAGE_INPUT || a.Verdicts[0].Action != weirv1.Action_ACTION_FLAG ||
		a.Verdicts[1].Action != weirv1.Action_ACTION_REDACT || a.Verdicts[1].GetChannel() != "content" {
		t.Errorf("verdicts are %v", a.Verdicts)
	}
	tg := a.Target
	if tg.RequestedModel != "sim" || tg.Model != "sim" || tg.Backend != "b0" || tg.Attempt != 1 || tg.GetInjectedMaxOutputTokens() != 100 {
		t.Errorf("target is %v", tg)
	}
	if a.Timing.GetTimeToFirstOutput() == nil || a.Timing.GetTotal() == nil || a.Timing.TimeToFirstOutput.AsDuration() > a.Timing.Total.AsDuration() {
		t.Errorf("timing is %v", a.Timing)
	}

	// A model without a price has no cost, and a blocked answer may have no text.
	a, err = client.Generate(h.as("member"), ask("cached", "say: zorblatt"))
	if err != nil {
		t.Fatal(err)
	}
	if a.Cost != nil || a.Candidates[0].FinishReason != weirv1.FinishReason_FINISH_REASON_SAFETY || len(a.Candidates[0].Message.Parts) != 0 || a.Timing.TimeToFirstOutput != nil {
		t.Errorf("answer is %v", a)
	}
}

// readEvents reads a stream and proves what holds for every one: gapless numbers
// from 1, started first, completed last, no delta behind its candidate's end.
func readEvents(t *testing.T, stream grpc.ServerStreamingClient[weirv1.StreamGenerateResponse]) (texts map[int32]string, finish map[int32]weirv1.FinishReason, completed *weirv1.CompletedEvent, err error) {
	t.Helper()
	texts, finish = map[int32]string{}, map[int32]weirv1.FinishReason{}
	for n := int64(1); ; n++ {
		e, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			if completed == nil {
				t.Error("the stream ended well without completed")
			}
			return texts, finish, completed, nil
		}
		if err != nil {
			return texts, finish, completed, err
		}
		if e.Sequence != n || (e.GetStarted() != nil) != (n == 1) || completed != nil {
			t.Errorf("event %d is %v", n, e)
		}
		switch event := e.Event.(type) {
		case *weirv1.StreamGenerateResponse_Started:
			if event.Started.RequestId == "" || event.Started.Target.GetBackend() != "b0" {
				t.Errorf("started is %v", event.Started)
			}
		case *weirv1.StreamGenerateResponse_Delta:
			d := event.Delta
			if _, over := finish[d.CandidateIndex]; over || d.GetText()+d.GetReasoningText()+d.GetRefusalText()+d.GetSignature().GetData() == "" {
				t.Errorf("delta is %v", d)
			}
			texts[d.CandidateIndex] += d.GetText() + d.GetReasoningText() + d.GetRefusalText()
		case *weirv1.StreamGenerateResponse_CandidateDone:
			finish[event.CandidateDone.CandidateIndex] = event.CandidateDone.FinishReason
		case *weirv1.StreamGenerateResponse_Completed:
			completed = event.Completed
		}
	}
}

// TestTools is a turn of an agent, whole and streamed.
func TestTools(t *testing.T) {
	h := newHouse(t, "")
	client := weirv1.NewGenerationServiceClient(h.conn)
	req := ask("sim", "call: get_weather {\"city\": \"北京\"}\ncall: now")
	req.Tools = []*weirv1.Tool{{Name: "get_weather", ParametersJsonSchema: `{"type": "object"}`}, {Name: "now"}}
	req.ToolChoice = &weirv1.ToolChoice{Mode: weirv1.ToolChoice_MODE_REQUIRED}
	a, err := client.Generate(h.as("member"), req)
	if err != nil {
		t.Fatal(err)
	}
	said := a.Candidates[0]
	if said.FinishReason != weirv1.FinishReason_FINISH_REASON_TOOL_CALLS || len(said.Message.Parts) != 2 {
		t.Fatalf("answer is %v", said)
	}
	first := said.Message.Parts[0].GetToolCall()
	if first.GetId() == "" || first.GetName() != "get_weather" || first.GetArgumentsJson() != `{"city": "北京"}` {
		t.Errorf("call is %v", first)
	}
	stream, err := client.StreamGenerate(h.as("member"), req)
	if err != nil {
		t.Fatal(err)
	}
	var names, arguments []string
	for {
		e, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if start := e.GetDelta().GetToolCall(); start != nil {
			if int(start.Index) != len(names) || start.Id == "" {
				t.Errorf("start is %v", start)
			}
			names, arguments = append(names, start.Name), append(arguments, "")
		}
		if piece := e.GetDelta().GetToolArguments(); piece != nil {
			arguments[piece.Index] += piece.Text
		}
	}
	if !slices.Equal(names, []string{"get_weather", "now"}) || arguments[0] != `{"city": "北京"}` || arguments[1] != "" {
		t.Errorf("streamed are %q %q", names, arguments)
	}

	result := func(id, text string) *weirv1.Message {
		return &weirv1.Message{Role: weirv1.Role_ROLE_TOOL, Parts: []*weirv1.Part{{Data: &weirv1.Part_ToolResult{ToolResult: &weirv1.ToolResult{ToolCallId: id, Text: text}}}}}
	}
	req.ToolChoice = nil
	req.Messages = append(req.Messages, said.Message, result(first.GetId(), "晴"), result("x", "八点"))
	a, err = client.Generate(h.as("member"), req)
	if err != nil || a.Candidates[0].Message.Parts[0].GetText() != "The tool says: 晴 八点" {
		t.Errorf("answer is %v, %v", a, err)
	}

	req.Config = &weirv1.GenerationConfig{ResponseFormat: &weirv1.ResponseFormat{JsonSchema: "no schema"}}
	wrongSchema := proto.CloneOf(req)
	req.Config = nil
	req.Messages[1].Role = weirv1.Role_ROLE_USER
	wrongRole := proto.CloneOf(req)
	req.Tools, req.Messages, req.ToolChoice = nil, req.Messages[:1], &weirv1.ToolChoice{Mode: weirv1.ToolChoice_MODE_NAMED, ToolName: "f"}
	for field, wrong := range map[string]*weirv1.GenerateRequest{"config.response_format": wrongSchema, "messages[1].parts[0]": wrongRole, "tool_choice": req} {
		_, err := client.Generate(h.as("member"), wrong)
		if s := status.Convert(err); s.Code() != codes.InvalidArgument || !strings.Contains(fmt.Sprint(s.Details()), field) {
			t.Errorf("%s: %v %v", field, err, s.Details())
		}
	}
}

func TestStreamGenerate(t *testing.T) {
	h := newHouse(t, "")
	client := weirv1.NewGenerationServiceClient(h.conn)
	var spent int64
	for _, c := range []struct {
		name       string
		req        *weirv1.GenerateRequest
		texts      []string
		finish     weirv1.FinishReason
		candidates int
	}{
		{"text", ask("sim", "say: 你好 world"), []string{"你好 world"}, weirv1.FinishReason_FINISH_REASON_STOP, 1},
		{"channels", ask("sim", "think: 想 \nrefuse: no"), []string{"想 no"}, weirv1.FinishReason_FINISH_REASON_REFUSAL, 1},
		{"blocked", ask("sim", "say: 之前 测试词 之后"), []string{"之前 "}, weirv1.FinishReason_FINISH_REASON_SAFETY, 1},
		{"blocked whole", ask("sim", "say: zorblatt"), nil, weirv1.FinishReason_FINISH_REASON_SAFETY, 1},
		{"two", &weirv1.GenerateRequest{
			Model: "sim", Messages: []*weirv1.Message{say(weirv1.Role_ROLE_USER, "tokens: 3")},
			Config: &weirv1.GenerationConfig{CandidateCount: proto.Int32(2), Seed: proto.Int64(1)},
		}, nil, weirv1.FinishReason_FINISH_REASON_STOP, 2},
		{"length", &weirv1.GenerateRequest{
			Model: "sim", Messages: []*weirv1.Message{say(weirv1.Role_ROLE_USER, "say: one two three")},
			Config: &weirv1.GenerationConfig{MaxOutputTokens: proto.Int32(1)},
		}, []string{"one"}, weirv1.FinishReason_FINISH_REASON_LENGTH, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			stream, err := client.StreamGenerate(h.as("member"), c.req)
			if err != nil {
				t.Fatal(err)
			}
			texts, finish, completed, err := readEvents(t, stream)
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range c.texts {
				if got := strings.TrimSuffix(texts[int32(i)], " "); got != strings.TrimSuffix(want, " ") {
					t.Errorf("text %d is %q", i, got)
				}
			}
			if len(finish) != c.candidates || finish[0] != c.finish {
				t.Errorf("finish is %v", finish)
			}
			if completed.GetUsage() == nil || completed.GetCost() == nil || completed.GetTarget().GetAttempt() != 1 || completed.GetTiming().GetTotal() == nil {
				t.Errorf("completed is %v", completed)
			}
			blocked := c.finish == weirv1.FinishReason_FINISH_REASON_SAFETY
			if (len(completed.Verdicts) > 0) != blocked {
				t.Errorf("verdicts are %v", completed.Verdicts)
			}
			// What completed says is in the ledger.
			h.Sync()
			sums, err := h.Store.Sum(t.Context(), report.Query{})
			if err != nil || len(sums.Totals) != 1 {
				t.Fatalf("the ledger has %+v, %v", sums, err)
			}
			spent += int64(completed.GetCost().GetTotal().GetNanos())
			if sums.Totals[0].Nanos != spent {
				t.Errorf("the ledger has %d nanos, the callers were told of %d", sums.Totals[0].Nanos, spent)
			}
		})
	}
}

func TestFailures(t *testing.T) {
	h := newHouse(t, `---
kind: Tenant
name: poor
---
kind: Budget
name: cap
tenant: poor
limit: 0.000001 USD
window: day
`)
	h.key("poor", "poor", auth.Member)
	now := time.Now()
	h.Clock = func() time.Time { return now } // a rest that is asked for does not run down
	client := weirv1.NewGenerationServiceClient(h.conn)
	t.Run("cut", func(t *testing.T) {
		// Of a whole answer nobody has seen anything, so it may be tried again; of
		// a stream somebody has.
		_, err := client.Generate(h.as("member"), ask("cut", "say: canary one two three four"))
		if got := failure(err); got != "Unavailable BACKEND_UNAVAILABLE" {
			t.Errorf("unary: %s", got)
		}
		stream, err := client.StreamGenerate(h.as("member"), ask("cut", "say: canary one two three four"))
		if err != nil {
			t.Fatal(err)
		}
		_, _, _, err = readEvents(t, stream)
		if got := failure(err); got != "Aborted STREAM_BROKEN" || strings.Join(stream.Trailer().Get("grpc-retry-pushback-ms"), ",") != "-1" {
			t.Errorf("streamed: %s %v", got, stream.Trailer())
		}
	})
	for _, c := range []struct {
		name, who string
		req       *weirv1.GenerateRequest
		want      string
		pushback  string
	}{
		{"blocked", "member", ask("sim", "canary 违禁 金丝雀"), "FailedPrecondition INPUT_BLOCKED", "-1"},
		{"model", "member", ask("none", "canary"), "NotFound MODEL_NOT_FOUND", "-1"},
		{"platform", "platform", ask("sim", "canary"), "PermissionDenied PERMISSION_DENIED", "-1"},
		{"nobody", "nobody", ask("sim", "canary"), "Unauthenticated CREDENTIALS_INVALID", "-1"},
		{"budget", "poor", ask("sim", "canary"), "ResourceExhausted BUDGET_EXHAUSTED", "-1"},
		{"overloaded", "member", ask("overloaded", "canary"), "Unavailable BACKEND_OVERLOADED", "1500"},
		{"failed", "member", ask("error", "canary"), "Unavailable BACKEND_UNAVAILABLE", "1000"},
		{"nothing", "member", &weirv1.GenerateRequest{}, "InvalidArgument INVALID_REQUEST model=STRING_MIN_LEN messages=REPEATED_MIN_ITEMS", "-1"},
		{"no part", "member", &weirv1.GenerateRequest{Model: "sim", Messages: []*weirv1.Message{{Role: 9, Parts: []*weirv1.Part{{}}}}}, "InvalidArgument INVALID_REQUEST messages[0].role=ENUM_DEFINED_ONLY messages[0].parts[0].data=REQUIRED", "-1"},
		{"candidates", "member", &weirv1.GenerateRequest{
			Model: "sim", Messages: []*weirv1.Message{say(weirv1.Role_ROLE_USER, "canary")}, Config: &weirv1.GenerationConfig{CandidateCount: proto.Int32(17)},
		}, "InvalidArgument INVALID_REQUEST config.candidate_count=INT32_GTE_LTE", "-1"},
		{"label", "member", &weirv1.GenerateRequest{
			Model: "sim", Messages: []*weirv1.Message{say(weirv1.Role_ROLE_USER, "canary")}, Context: &weirv1.RequestContext{EndUser: strings.Repeat("u", 257)},
		}, "InvalidArgument INVALID_REQUEST context.end_user=STRING_MAX_LEN", "-1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var header, trailer metadata.MD
			_, unary := client.Generate(h.as(c.who), c.req, grpc.Header(&header), grpc.Trailer(&trailer))
			stream, err := client.StreamGenerate(h.as(c.who), c.req)
			if err != nil {
				t.Fatal(err)
			}
			_, _, _, streamed := readEvents(t, stream)
			for how, err := range map[string]error{"unary": unary, "streamed": streamed} {
				if got := failure(err); got != c.want {
					t.Errorf("%s: %s, want %s", how, got, c.want)
				}
				if text := status.Convert(err).String() + fmt.Sprint(status.Convert(err).Details()...); strings.Contains(text, "canary") || strings.Contains(text, "金丝雀") {
					t.Errorf("%s: the error repeats what was sent: %s", how, text)
				}
			}
			if got := strings.Join(trailer.Get("grpc-retry-pushback-ms"), ","); got != c.pushback || len(header.Get("x-weir-request-id")) != 0 {
				t.Errorf("pushback is %q, header %v", got, header)
			}
			if got := strings.Join(stream.Trailer().Get("grpc-retry-pushback-ms"), ","); got != c.pushback {
				t.Errorf("the stream's pushback is %q", got)
			}
		})
	}
	for _, canary := range append([]string{"canary", "金丝雀"}, h.secrets["member"], h.secrets["platform"]) {
		if strings.Contains(h.Lines.String(), canary) {
			t.Errorf("%q is in the log", canary)
		}
	}
}

func TestMetadataComplementsTheContext(t *testing.T) {
	h := newHouse(t, "")
	client := weirv1.NewGenerationServiceClient(h.conn)
	ctx := metadata.AppendToOutgoingContext(h.as("member"), "x-weir-label-team", "search", "x-weir-labels", "team=other, tier=gold", "x-weir-labels", "where=%E4%B8%8A%E6%B5%B7%2CCN", "x-weir-project", "default", "x-weir-session", "s1", "x-weir-end-user", "u1")
	req := ask("sim", "say: hi")
	req.Context = &weirv1.RequestContext{Labels: map[string]string{"team": "own"}, EndUser: "own"}
	if _, err := client.Generate(ctx, req); err != nil {
		t.Fatal(err)
	}
	costs, err := weirv1.NewAccountingServiceClient(h.conn).QueryCosts(h.as("member"), costsOf("tenants/acme", "labels.team", "labels.tier", "labels.where", "end_user", "session", "key"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"labels.team": "own", "labels.tier": "gold", "labels.where": "上海,CN", "end_user": "own", "session": "s1", "key": "member"}
	if len(costs.Rows) != 1 || fmt.Sprint(costs.Rows[0].Dimensions) != fmt.Sprint(want) {
		t.Errorf("rows are %v", costs.Rows)
	}
	for _, c := range []struct{ header, value string }{
		{"x-weir-label-9", "v"}, {"x-weir-labels", "team"}, {"x-weir-labels", "9=v"}, {"x-weir-labels", "a=%E4%BD"},
		{"x-weir-labels", "a=%zz"}, {"x-weir-labels", "a=1,a=2"}, {"x-weir-end-user", strings.Repeat("u", 257)}, {"x-weir-project", "other"},
	} {
		_, err = client.Generate(metadata.AppendToOutgoingContext(h.as("member"), c.header, c.value), ask("sim", "hi"))
		if got := failure(err); got != "InvalidArgument INVALID_REQUEST "+c.header+"=" {
			t.Errorf("%s: %q: %s", c.header, c.value, got)
		}
	}
}

func TestMaxCost(t *testing.T) {
	h := newHouse(t, "")
	client := weirv1.NewGenerationServiceClient(h.conn)
	money := func(currency string, units int64, nanos int32) *weirv1.RequestContext {
		return &weirv1.RequestContext{MaxCost: &weirv1.Money{CurrencyCode: currency, Units: units, Nanos: nanos}}
	}
	for _, c := range []struct {
		name    string
		context *weirv1.RequestContext
		header  string
		want    string
	}{
		{"enough", money("USD", 1, 0), "", "OK"},
		{"enough in the header", nil, "1 USD", "OK"},
		{"little", money("USD", 0, 1000), "", "ResourceExhausted BUDGET_EXHAUSTED"},
		{"little in the header", nil, "0.000001 USD", "ResourceExhausted BUDGET_EXHAUSTED"},
		{"the request wins", money("USD", 1, 0), "0.000001 USD", "OK"},
		{"another currency", money("CNY", 1, 0), "", "FailedPrecondition UNPRICED_MODEL"},
		{"negative", money("USD", 0, -1), "", "InvalidArgument INVALID_REQUEST context.max_cost=CONTEXT_MAX_COST"},
		{"no currency", money("", 1, 0), "", "InvalidArgument INVALID_REQUEST context.max_cost.currency_code=STRING_PATTERN"},
		{"too much", money("USD", 1<<62, 0), "", "InvalidArgument INVALID_REQUEST context.max_cost="},
		{"not an amount", nil, "5", "InvalidArgument INVALID_REQUEST x-weir-max-cost="},
		{"negative in the header", nil, "-1 USD", "InvalidArgument INVALID_REQUEST x-weir-max-cost="},
	} {
		ctx, req := h.as("member"), ask("sim", "say: hi")
		req.Context = c.context
		if c.header != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, "x-weir-max-cost", c.header)
		}
		if _, err := client.Generate(ctx, req); failure(err) != c.want {
			t.Errorf("%s: %s; want %s", c.name, failure(err), c.want)
		}
	}
}

// A caller that goes away ends the call at the backend.
func TestACallerThatLeaves(t *testing.T) {
	h := newHouse(t, "")
	ctx, cancel := context.WithCancel(h.as("member"))
	defer cancel()
	stream, err := weirv1.NewGenerationServiceClient(h.conn).StreamGenerate(ctx, ask("stall", "say: one two three"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // started and a delta come before the model has stalled
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if how := <-h.Ended; how != simulator.EndedCancelled {
		t.Errorf("the call ended %s at the backend", how)
	}
}

func costsOf(parent string, groupBy ...string) *weirv1.QueryCostsRequest {
	return &weirv1.QueryCostsRequest{
		Parent: parent, GroupBy: groupBy,
		StartTime: timestamppb.New(time.Now().Add(-time.Hour)), EndTime: timestamppb.New(time.Now().Add(time.Hour)),
	}
}

// A caller that leaves a stream unread is told so where it reads on after all,
// and pays for what was generated.
func TestACallerThatDoesNotRead(t *testing.T) {
	h := newHouse(t, "")
	settled := make(chan struct{})
	h.Gateway.Observe = func(*gateway.Call, *gateway.Answer, error) { close(settled) }
	prompt := "say: " + strings.Repeat("river ", 40_000) // more than all windows hold
	req := ask("sim", prompt)
	most := int32(100_000)
	req.Config = &weirv1.GenerationConfig{MaxOutputTokens: &most}
	stream, err := weirv1.NewGenerationServiceClient(h.conn).StreamGenerate(h.as("member"), req)
	if err != nil {
		t.Fatal(err)
	}
	if how := <-h.Ended; how != simulator.EndedCancelled {
		t.Errorf("the call ended %s at the backend", how)
	}
	<-settled
	for err == nil {
		_, err = stream.Recv()
	}
	if got := failure(err); got != "Canceled READER_STALLED" || !strings.Contains(err.Error(), "was not read for 100ms") {
		t.Errorf("told %s: %v", got, err)
	}
	costs, err := weirv1.NewAccountingServiceClient(h.conn).QueryCosts(h.as("member"), costsOf("tenants/acme", "outcome"))
	if err != nil {
		t.Fatal(err)
	}
	if len(costs.Rows) != 1 || costs.Rows[0].Dimensions["outcome"] != "cancelled" || costs.Rows[0].Usage.GetOutputTokens() < 100 || costs.Rows[0].Costs[0].Nanos == 0 {
		t.Errorf("rows are %v", costs.Rows)
	}
}

func TestQueryCosts(t *testing.T) {
	h := newHouse(t, "")
	h.key("neighbour", "other", auth.Admin)
	generation, client := weirv1.NewGenerationServiceClient(h.conn), weirv1.NewAccountingServiceClient(h.conn)
	for _, call := range [][2]string{{"member", "sim"}, {"admin", "sim"}, {"neighbour", "sim"}, {"member", "cached"}} {
		if _, err := generation.Generate(h.as(call[0]), ask(call[1], "say: hi")); err != nil {
			t.Fatal(err)
		}
	}

	// Whose costs who may see.
	for _, c := range []struct {
		who, parent string
		calls       int64 // -1 for an error
		want        string
	}{
		{"member", "tenants/acme", 3, ""},
		{"admin", "tenants/acme", 3, ""},
		{"neighbour", "tenants/other", 1, ""},
		{"platform", "tenants/acme", 3, ""},
		{"platform", "tenants/-", 4, ""},
		{"admin", "tenants/other", -1, "NotFound RESOURCE_NOT_FOUND"},
		{"admin", "tenants/none", -1, "NotFound RESOURCE_NOT_FOUND"},
		{"platform", "tenants/none", -1, "NotFound RESOURCE_NOT_FOUND"},
		{"admin", "tenants/-", 3, ""}, // all that it may see
		{"nobody", "tenants/acme", -1, "Unauthenticated CREDENTIALS_INVALID"},
	} {
		costs, err := client.QueryCosts(h.as(c.who), costsOf(c.parent))
		if c.calls < 0 {
			if got := failure(err); got != c.want {
				t.Errorf("%s of %s: %s, want %s", c.who, c.parent, got, c.want)
			}
			continue
		}
		if err != nil || len(costs.Rows) != 1 || costs.Rows[0].Calls != c.calls {
			t.Errorf("%s of %s: %v, %v", c.who, c.parent, costs, err)
		}
	}
	_, exists := client.QueryCosts(h.as("admin"), costsOf("tenants/other"))
	_, missing := client.QueryCosts(h.as("admin"), costsOf("tenants/none"))
	if a, b := status.Convert(exists).Message(), status.Convert(missing).Message(); strings.ReplaceAll(a, "other", "none") != b {
		t.Errorf("another tenant is told apart from one that is not there: %q and %q", a, b)
	}

	// Pages, and what is not known.
	req := costsOf("tenants/acme", "model", "key")
	req.PageSize = 1
	var rows []*weirv1.CostRow
	for {
		page, err := client.QueryCosts(h.as("admin"), req)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Rows) != 1 || len(page.Totals) != 1 || page.Totals[0].CurrencyCode != "USD" {
			t.Errorf("page is %v", page)
		}
		rows = append(rows, page.Rows...)
		if req.PageToken = page.NextPageToken; req.PageToken == "" {
			break
		}
		if len(rows) == 1 {
			foreign := proto.CloneOf(req)
			foreign.GroupBy = []string{"key", "model"}
			_, err := client.QueryCosts(h.as("admin"), foreign)
			if got := failure(err); got != "InvalidArgument INVALID_REQUEST page_token=" {
				t.Errorf("a token of another report: %s", got)
			}
			foreign.PageToken = "?"
			_, err = client.QueryCosts(h.as("admin"), foreign)
			if got := failure(err); got != "InvalidArgument INVALID_REQUEST page_token=" {
				t.Errorf("no token at all: %s", got)
			}
		}
	}
	if len(rows) != 3 || rows[0].Dimensions["model"] != "cached" || rows[0].UnpricedCalls != 1 || len(rows[0].Costs) != 0 || rows[1].UnpricedCalls != 0 || rows[1].Costs[0].Nanos == 0 {
		t.Errorf("rows are %v", rows)
	}
	if rows[0].Usage.CacheReadTokens == nil || rows[1].Usage.GetOutputTokens() == 0 {
		t.Errorf("usage is %v and %v", rows[0].Usage, rows[1].Usage)
	}

	bad := costsOf("tenants/acme")
	bad.StartTime = nil
	_, err := client.QueryCosts(h.as("admin"), bad)
	if got := failure(err); got != "InvalidArgument INVALID_REQUEST start_time=REQUIRED" {
		t.Errorf("a bad request: %s", got)
	}
	_, err = client.QueryCosts(h.as("admin"), costsOf("tenants/acme", "colour"))
	if got := failure(err); got != "InvalidArgument INVALID_REQUEST group_by=" || !strings.Contains(err.Error(), "group by tenant, project") {
		t.Errorf("a bad dimension: %s %v", got, err)
	}
}

func TestApplyDocuments(t *testing.T) {
	h := newHouse(t, "")
	client := weirv1.NewAdminServiceClient(h.conn)
	apply := func(who, content string, validateOnly bool) (*weirv1.ApplyDocumentsResponse, error) {
		return client.ApplyDocuments(h.as(who), &weirv1.ApplyDocumentsRequest{
			Sources: []*weirv1.DocumentSource{{Name: "a.yaml", Content: content}}, ValidateOnly: validateOnly,
		})
	}
	const strict = "kind: Policy\nname: strict\ntenant: acme\nsafety:\n  output:\n    - {guard: lexicon, terms: [quux], action: block}\n"
	trial, err := apply("admin", strict, true)
	if err != nil || len(trial.Changes) != 1 || trial.Changes[0].Action != weirv1.ChangeAction_CHANGE_ACTION_CREATED {
		t.Fatalf("a trial: %v, %v", trial, err)
	}
	said := func() weirv1.FinishReason {
		a, err := weirv1.NewGenerationServiceClient(h.conn).Generate(h.as("member"), ask("sim", "say: quux"))
		if err != nil {
			t.Fatal(err)
		}
		return a.Candidates[0].FinishReason
	}
	if f := said(); f != weirv1.FinishReason_FINISH_REASON_STOP {
		t.Errorf("a trial is in force: %v", f)
	}
	done, err := apply("admin", "kind: Project\ntenant: acme\nname: search\n---\n"+strict, false)
	if err != nil || done.Revision <= trial.Revision || len(done.Changes) != 2 || done.Changes[0].Kind != "Policy" || done.Changes[0].Tenant != "acme" || done.Changes[0].Name != "strict" {
		t.Fatalf("applied: %v, %v", done, err)
	}
	// It is in force when the call returns.
	if f := said(); f != weirv1.FinishReason_FINISH_REASON_SAFETY {
		t.Errorf("what was applied is not in force: %v", f)
	}
	again, err := apply("admin", strict, false)
	if err != nil || again.Revision != done.Revision || again.Changes[0].Action != weirv1.ChangeAction_CHANGE_ACTION_UNCHANGED {
		t.Errorf("again: %v, %v", again, err)
	}
	changed, err := apply("admin", strings.Replace(strict, "block", "flag", 1), false)
	if err != nil || changed.Changes[0].Action != weirv1.ChangeAction_CHANGE_ACTION_UPDATED || !strings.Contains(changed.Changes[0].Diff, "flag") {
		t.Errorf("changed: %v, %v", changed, err)
	}

	_, err = apply("admin", "kind: Policy\nname: strict\ntenant: acme\nsafety:\n  output:\n    - {guard: none, action: block}\n", false)
	if got := failure(err); !strings.HasPrefix(got, "InvalidArgument INVALID_REQUEST a.yaml:6: safety.output[0].guard=") {
		t.Errorf("a bad document: %s", got)
	}
	for _, c := range [][3]string{
		{"member", strict, "PermissionDenied PERMISSION_DENIED"},
		{"admin", strings.Replace(strict, "tenant: acme", "tenant: other", 1), "PermissionDenied PERMISSION_DENIED"},
		{"admin", "kind: Tenant\nname: mine\n", "PermissionDenied PERMISSION_DENIED"},
		{"nobody", strict, "Unauthenticated CREDENTIALS_INVALID"},
	} {
		_, err := apply(c[0], c[1], false)
		if got := failure(err); got != c[2] {
			t.Errorf("%s: %s, want %s", c[0], got, c[2])
		}
	}
	_, err = client.ApplyDocuments(h.as("admin"), &weirv1.ApplyDocumentsRequest{})
	if got := failure(err); got != "InvalidArgument INVALID_REQUEST sources=REPEATED_MIN_ITEMS" {
		t.Errorf("no document: %s", got)
	}
}

func TestCreateKey(t *testing.T) {
	h := newHouse(t, "")
	client := weirv1.NewTenantServiceClient(h.conn)
	create := func(who, parent, id string, role weirv1.KeyRole) (*weirv1.CreateKeyResponse, error) {
		return client.CreateKey(h.as(who), &weirv1.CreateKeyRequest{Parent: parent, KeyId: id, Key: &weirv1.Key{Role: role}})
	}
	const own = "tenants/acme/projects/default"
	made, err := create("admin", own, "k2", weirv1.KeyRole_KEY_ROLE_MEMBER)
	if err != nil {
		t.Fatal(err)
	}
	if made.Key.Name != own+"/keys/k2" || made.Key.Role != weirv1.KeyRole_KEY_ROLE_MEMBER || made.Key.CreateTime == nil || made.Secret == "" {
		t.Errorf("made %v", made)
	}
	// The secret works at once, and says who calls.
	costs, err := weirv1.NewAccountingServiceClient(h.conn).QueryCosts(h.bearer(made.Secret), costsOf("tenants/acme"))
	if err != nil {
		t.Errorf("the new key: %v, %v", costs, err)
	}
	kept, err := h.Store.KeyByHash(t.Context(), auth.Hash(made.Secret))
	if err != nil || kept.Tenant != "acme" || kept.Project != "default" || kept.Name != "k2" || kept.Role != auth.Member {
		t.Errorf("kept %+v, %v", kept, err)
	}
	if made, err := create("platform", "tenants/other/projects/default", "k1", weirv1.KeyRole_KEY_ROLE_ADMIN); err != nil {
		t.Errorf("the platform for any tenant: %v", err)
	} else if kept, err := h.Store.KeyByHash(t.Context(), auth.Hash(made.Secret)); err != nil || kept.Role != auth.Admin {
		t.Errorf("kept %+v, %v", kept, err)
	}

	for _, c := range []struct {
		who, parent, id string
		want            string
	}{
		{"admin", own, "k2", "AlreadyExists RESOURCE_EXISTS"},
		{"member", own, "k3", "PermissionDenied PERMISSION_DENIED"},
		{"admin", "tenants/other/projects/default", "k3", "NotFound RESOURCE_NOT_FOUND"},
		{"admin", "tenants/none/projects/default", "k3", "NotFound RESOURCE_NOT_FOUND"},
		{"admin", "tenants/acme/projects/none", "k3", "NotFound RESOURCE_NOT_FOUND"},
		{"platform", "tenants/none/projects/default", "k3", "NotFound RESOURCE_NOT_FOUND"},
		{"nobody", own, "k3", "Unauthenticated CREDENTIALS_INVALID"},
	} {
		_, err := create(c.who, c.parent, c.id, weirv1.KeyRole_KEY_ROLE_MEMBER)
		if got := failure(err); got != c.want {
			t.Errorf("%s in %s: %s, want %s", c.who, c.parent, got, c.want)
		}
	}
	_, exists := create("admin", "tenants/other/projects/default", "k3", weirv1.KeyRole_KEY_ROLE_MEMBER)
	_, missing := create("admin", "tenants/none/projects/default", "k3", weirv1.KeyRole_KEY_ROLE_MEMBER)
	if a, b := status.Convert(exists).Message(), status.Convert(missing).Message(); strings.ReplaceAll(a, "other", "none") != b {
		t.Errorf("another tenant is told apart from one that is not there: %q and %q", a, b)
	}
	_, err = client.CreateKey(h.as("admin"), &weirv1.CreateKeyRequest{Parent: "acme", KeyId: "Bad_Name"})
	if got := failure(err); got != "InvalidArgument INVALID_REQUEST parent=KEY_PARENT key_id=KEY_ID key=REQUIRED" {
		t.Errorf("a bad request: %s", got)
	}
	if strings.Contains(h.Lines.String(), made.Secret) {
		t.Error("the secret is in the log")
	}
}

// Where the store is away, an operator's call is told to come again.
func TestTheStoreIsAway(t *testing.T) {
	away, other := errors.New("canary: no route to host"), errors.New("another")
	c := Config{Away: func(err error) bool { return errors.Is(err, away) }}
	for _, test := range []struct {
		config Config
		err    error
		want   gateway.Reason
	}{{c, away, face.StoreUnavailable}, {c, other, face.Internal}, {Config{}, away, face.Internal}} {
		f := face.Explain(test.config.away("the keys", test.err), "id")
		if f.Reason != test.want || strings.Contains(f.Message, "canary") {
			t.Errorf("%v is told as %s: %s", test.err, f.Reason, f.Message)
		}
	}
	if err := c.away("the keys", nil); err != nil {
		t.Errorf("no error is told as %v", err)
	}
}

func TestRolesAndReasonsAreAllMapped(t *testing.T) {
	for n, name := range weirv1.Role_name {
		if _, ok := roles[weirv1.Role(n)]; !ok && n != 0 {
			t.Errorf("%s has no role of the neutral form", name)
		}
	}
	var told []weirv1.FinishReason
	for _, w := range finishReasons {
		told = append(told, w)
	}
	slices.Sort(told)
	if len(slices.Compact(told)) != len(finishReasons) {
		t.Errorf("two reasons are told alike: %v", finishReasons)
	}
}
