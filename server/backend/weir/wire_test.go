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

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"pgregory.net/rapid"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/backendtest"
	"github.com/weir-gateway/weir/server/backend/load"
	"github.com/weir-gateway/weir/server/backend/weir"
)

// script answers with events as they stand, and then with an error.
type script struct {
	weirv1.UnimplementedGenerationServiceServer

	events []*weirv1.StreamGenerateResponse
	err    error
	load   *backend.Load // in the trailer
	asked  *weirv1.GenerateRequest
	ctx    context.Context
}

func (s *script) StreamGenerate(in *weirv1.GenerateRequest, out grpc.ServerStreamingServer[weirv1.StreamGenerateResponse]) error {
	s.asked, s.ctx = in, out.Context()
	if s.load != nil {
		out.SetTrailer(metadata.Pairs(load.Trailer, string(load.Append(nil, s.load))))
	}
	for _, e := range s.events {
		if err := out.Send(e); err != nil {
			return err
		}
	}
	return s.err
}

// events reads what the text form of weir.v1 says, one event a string.
func events(t *testing.T, texts ...string) (all []*weirv1.StreamGenerateResponse) {
	t.Helper()
	for _, text := range texts {
		e := &weirv1.StreamGenerateResponse{}
		if err := prototext.Unmarshal([]byte(text), e); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		all = append(all, e)
	}
	return all
}

const (
	started   = `started {request_id: "x" target {model: "m-1"}}`
	quiet     = `delta {text: "quiet"}`
	stop      = `candidate_done {finish_reason: FINISH_REASON_STOP}`
	completed = `completed {usage {input_tokens: 3 output_tokens: 1}}`
)

func hello() *backend.Request {
	return &backend.Request{RequestID: "r1", Model: "m", Candidates: 1,
		Messages: []backend.Message{{Role: backend.User, Parts: []backend.Part{{Channel: backend.Content, Text: "hello"}}}}}
}

// hear makes a call and reads it to its end.
func hear(b *weir.Backend, req *backend.Request) (backendtest.Answer, error) {
	s, err := b.Generate(context.Background(), req)
	if err != nil {
		return backendtest.Answer{}, err
	}
	defer s.Close()
	return backendtest.Read(s, req.Candidates)
}

func TestRequestOnTheWire(t *testing.T) {
	s := &script{events: events(t, started, `candidate_done {}`, `candidate_done {candidate_index: 1}`, completed)}
	b := listen(t, s, false, nil)
	half, k, most, seed, yes := 0.5, 3, 9, int64(7), true
	part := func(c backend.Channel, text string) backend.Part { return backend.Part{Channel: c, Text: text} }
	req := hello()
	req.Messages = append(req.Messages,
		backend.Message{Role: backend.Developer, Name: "ops", Parts: []backend.Part{part(backend.Content, "a"), part(backend.Content, "水")}},
		backend.Message{Role: backend.Assistant, Parts: []backend.Part{part(backend.Reasoning, "r"), part(backend.Refusal, "no"), {Channel: backend.Arguments, Text: "{}", CallID: "c1", Tool: "f"}}},
		backend.Message{Role: backend.ToolRole, Parts: []backend.Part{{Channel: backend.Result, Text: "one", CallID: "c1", Tool: "f", Failed: true}}},
		backend.Message{Role: backend.System})
	req.Temperature, req.TopP, req.TopK, req.FrequencyPenalty, req.PresencePenalty = &half, &half, &k, &half, &half
	req.MaxOutputTokens, req.Stop, req.Seed, req.Candidates = &most, []string{"x"}, &seed, 2
	req.Tools = []backend.Tool{{Name: "f", Description: "does f", Parameters: json.RawMessage(`{"type":"object"}`), Strict: &yes}, {Name: "g"}}
	req.Choice, req.ParallelCalls = &backend.ToolChoice{Mode: backend.ToolNamed, Tool: "f"}, &yes
	req.Format = &backend.Format{Name: "n", Description: "d", Schema: json.RawMessage(`{"type":"object"}`), Strict: &yes}
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(context.Background(), "x-left-over", "of another part"), time.Hour)
	defer cancel()
	stream, err := b.Generate(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if _, err := backendtest.Read(stream, 2); err != io.EOF {
		t.Fatal(err)
	}
	want := &weirv1.GenerateRequest{}
	if err := prototext.Unmarshal([]byte(`model: "m"
		messages {role: ROLE_USER parts {text: "hello"}}
		messages {role: ROLE_DEVELOPER name: "ops" parts {text: "a"} parts {text: "水"}}
		messages {role: ROLE_ASSISTANT parts {reasoning {text: "r"}} parts {refusal {text: "no"}} parts {tool_call {id: "c1" name: "f" arguments_json: "{}"}}}
		messages {role: ROLE_TOOL parts {tool_result {tool_call_id: "c1" name: "f" text: "one" failed: true}}}
		messages {role: ROLE_SYSTEM parts {text: ""}}
		tools {name: "f" description: "does f" parameters_json_schema: '{"type":"object"}' strict: true} tools {name: "g"}
		tool_choice {mode: MODE_NAMED tool_name: "f" parallel: true}
		config {temperature: 0.5 top_p: 0.5 top_k: 3 frequency_penalty: 0.5 presence_penalty: 0.5 max_output_tokens: 9 stop_sequences: "x" seed: 7 candidate_count: 2
			response_format {name: "n" description: "d" json_schema: '{"type":"object"}' strict: true}}`), want); err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(s.asked, want) {
		t.Errorf("request is\n%v\nwant\n%v", s.asked, want)
	}
	md, _ := metadata.FromIncomingContext(s.ctx)
	if fmt.Sprint(md.Get("authorization"), md.Get("x-request-id"), md.Get("x-left-over")) != "[Bearer "+testKey+"] [r1] []" {
		t.Errorf("metadata is %v", md)
	}
	if _, set := s.ctx.Deadline(); !set {
		t.Error("the deadline does not reach the server")
	}
	// What is not said is absent, which is not zero.
	if _, err := hear(listen(t, s, false, func(c *weir.Config) { c.Key = "" }), &backend.Request{Model: "m", Messages: hello().Messages, Candidates: 2}); err != io.EOF {
		t.Fatal(err)
	}
	if err := prototext.Unmarshal([]byte(`model: "m" messages {role: ROLE_USER parts {text: "hello"}} config {candidate_count: 2}`), want); err != nil {
		t.Fatal(err)
	}
	md, _ = metadata.FromIncomingContext(s.ctx)
	if !proto.Equal(s.asked, want) || len(md.Get("authorization"))+len(md.Get("x-request-id")) > 0 {
		t.Errorf("request is\n%v\nwant\n%v\nmetadata is %v", s.asked, want, md)
	}
}

func TestStreams(t *testing.T) {
	done := func(reason string) string { return "candidate_done {finish_reason: FINISH_REASON_" + reason + "}" }
	call := `delta {tool_call {index: 0 id: "c" name: "f"}}`
	for name, c := range map[string]struct {
		events []string
		class  backend.Class // empty for a whole answer
		finish backend.FinishReason
	}{
		"whole":                  {[]string{started, quiet, stop, completed}, "", backend.FinishStop},
		"stop sequence":          {[]string{started, quiet, done("STOP_SEQUENCE"), completed}, "", backend.FinishStop},
		"length":                 {[]string{started, quiet, done("LENGTH"), completed}, "", backend.FinishLength},
		"budget":                 {[]string{started, quiet, done("BUDGET"), completed}, "", backend.FinishLength},
		"deadline":               {[]string{started, quiet, done("DEADLINE"), completed}, "", backend.FinishLength},
		"safety":                 {[]string{started, quiet, done("SAFETY"), completed}, "", backend.FinishBackendFilter},
		"filter":                 {[]string{started, quiet, done("BACKEND_FILTER"), completed}, "", backend.FinishBackendFilter},
		"refusal":                {[]string{started, quiet, done("REFUSAL"), completed}, "", backend.FinishRefusal},
		"tools":                  {[]string{started, quiet, call, done("TOOL_CALLS"), completed}, "", backend.FinishToolCalls},
		"tools, none called":     {[]string{started, quiet, done("TOOL_CALLS"), completed}, "", backend.FinishUnknown},
		"unknown":                {[]string{started, quiet, `candidate_done {}`, completed}, "", backend.FinishUnknown},
		"a later reason":         {[]string{started, quiet, `candidate_done {finish_reason: 99}`, completed}, "", backend.FinishUnknown},
		"no start":               {[]string{quiet, stop, completed}, "", backend.FinishStop},
		"its backend broke":      {[]string{started, quiet, done("BACKEND_ERROR"), completed}, backend.Broken, ""},
		"OK without completed":   {[]string{started, quiet, stop}, backend.Broken, backend.FinishStop},
		"nothing":                {nil, backend.Broken, ""},
		"completed, no finish":   {[]string{started, quiet, completed}, backend.Protocol, ""},
		"text after the end":     {[]string{started, quiet, stop, quiet}, backend.Protocol, backend.FinishStop},
		"finished twice":         {[]string{started, quiet, stop, stop}, backend.Protocol, backend.FinishStop},
		"no such candidate":      {[]string{started, quiet, `delta {candidate_index: 1 text: "x"}`}, backend.Protocol, ""},
		"started late":           {[]string{quiet, started}, backend.Protocol, ""},
		"call of the wrong turn": {[]string{started, quiet, `delta {tool_call {index: 1 id: "c" name: "f"}}`}, backend.Protocol, ""},
		"call without a name":    {[]string{started, quiet, `delta {tool_call {id: "c"}}`}, backend.Protocol, ""},
		"arguments of no call":   {[]string{started, quiet, `delta {tool_arguments {text: "{}"}}`}, backend.Protocol, ""},
		"arguments before all":   {[]string{started, quiet, call, `delta {tool_arguments {index: -1 text: "{}"}}`}, backend.Protocol, ""},
	} {
		a, err := hear(listen(t, &script{events: events(t, c.events...)}, false, nil), hello())
		if c.class == "" && err != io.EOF || c.class != "" && (err == io.EOF || backend.ClassOf(err) != c.class) {
			t.Errorf("%s: it ends with %v, want class %q", name, err, c.class)
			continue
		}
		if err != io.EOF && (strings.Contains(err.Error(), "quiet") || !strings.Contains(err.Error(), "inner: ")) {
			t.Errorf("%s: error %v shows text, or does not name the backend", name, err)
		}
		if len(a.Candidates) > 0 && (a.Candidates[0].Content != "quiet" || a.Candidates[0].Finish != c.finish) {
			t.Errorf("%s: answer is %+v (%s)", name, a.Candidates[0], c.finish)
		}
		if c.class == "" && (a.Used != 1 || a.Model != "m-1" && name != "no start") {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

func TestFailuresAreClassified(t *testing.T) {
	wait := durationpb.New(3 * time.Second)
	for _, c := range []struct {
		wire
		code   codes.Code
		reason string
		class  backend.Class
	}{
		{wire{}, codes.InvalidArgument, "INVALID_REQUEST", backend.Rejected},
		{wire{}, codes.FailedPrecondition, "INPUT_BLOCKED", backend.Rejected},
		{wire{}, codes.InvalidArgument, "CONTEXT_LENGTH_EXCEEDED", backend.ContextExceeded},
		{wire{}, codes.NotFound, "MODEL_NOT_FOUND", backend.ModelMissing},
		{wire{}, codes.Unauthenticated, "CREDENTIALS_INVALID", backend.Credentials},
		{wire{}, codes.ResourceExhausted, "RATE_LIMIT_EXCEEDED", backend.RateLimited},
		{wire{}, codes.ResourceExhausted, "BUDGET_EXHAUSTED", backend.RateLimited},
		{wire{}, codes.Unavailable, "BACKEND_OVERLOADED", backend.Overloaded},
		{wire{}, codes.Unavailable, "BACKEND_UNAVAILABLE", backend.Failed},
		{wire{}, codes.DeadlineExceeded, "DEADLINE_EXCEEDED", backend.Failed},
		{wire{}, codes.Canceled, "READER_STALLED", backend.Broken},
		{wire{}, codes.Internal, "INTERNAL", backend.Failed},
		{wire{}, codes.Unavailable, "OF_A_LATER_VERSION", backend.Unreachable},
		{wire{bare: true}, codes.Unavailable, "", backend.Unreachable},
		{wire{bare: true}, codes.PermissionDenied, "", backend.Credentials},
		{wire{bare: true}, codes.ResourceExhausted, "", backend.RateLimited},
		{wire{bare: true}, codes.InvalidArgument, "", backend.Rejected},
		{wire{bare: true}, codes.NotFound, "", backend.ModelMissing},
		{wire{bare: true}, codes.Unimplemented, "", backend.Protocol},
		{wire{bare: true}, codes.Canceled, "", backend.Broken},
		{wire{bare: true}, codes.Unknown, "", backend.Failed},
	} {
		_, err := hear(listen(t, &script{err: c.fail(c.code, c.reason, "no\nkey "+testKey, wait)}, false, nil), hello())
		e, ok := err.(*backend.Error)
		if !ok || e.Class != c.class || e.Status != int(c.code) || (e.RetryAfter != 3*time.Second) != c.bare {
			t.Errorf("%s %s: %v, want class %s", c.code, c.reason, err, c.class)
		}
		if strings.Contains(err.Error(), testKey) || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%s %s: it says %q", c.code, c.reason, err)
		}
	}
	// After output, what is gone is the answer.
	_, err := hear(listen(t, &script{events: events(t, started, quiet), err: status.Error(codes.Unavailable, "")}, false, nil), hello())
	if backend.ClassOf(err) != backend.Broken {
		t.Errorf("%v", err)
	}
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	for _, url := range []string{"http://" + address, "https://" + address} {
		b, err := weir.New(weir.Config{Name: "inner", URL: url, Key: testKey})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		if _, err := hear(b, hello()); backend.ClassOf(err) != backend.Unreachable || strings.Contains(err.Error(), testKey) {
			t.Errorf("%v", err)
		}
		if all := fmt.Sprintf("%v %#v %+v", b, weir.Config{Name: "x", Key: testKey}, weir.Config{Name: "x", Key: testKey}); strings.Contains(all, testKey) {
			t.Errorf("it shows as %s", all)
		}
	}
}

// Whatever the buckets say, the meters sum to the totals.
func TestMetersSumToTheTotals(t *testing.T) {
	s := &script{}
	b := listen(t, s, false, nil)
	rapid.Check(t, func(rt *rapid.T) {
		n := func(name string) *int64 {
			return rapid.Ptr(rapid.Int64Range(-3, 20), true).Draw(rt, name)
		}
		u := &weirv1.Usage{InputTokens: n("input"), OutputTokens: n("output"), UncachedInputTokens: n("uncached"), CacheReadTokens: n("read"), CacheWrite_5MTokens: n("5m"), CacheWrite_1HTokens: n("1h"), TextOutputTokens: n("text"), ReasoningTokens: n("reasoning")}
		s.events = append(events(t, started, stop), &weirv1.StreamGenerateResponse{Event: &weirv1.StreamGenerateResponse_Completed{Completed: &weirv1.CompletedEvent{Usage: u}}})
		a, err := hear(b, hello())
		if err != io.EOF || a.Usage.Check() != nil {
			rt.Fatalf("%v, %v", a.Usage, err)
		}
		in, _ := a.Usage.InputTokens()
		out, _ := a.Usage.OutputTokens()
		if u.InputTokens != nil && *u.InputTokens >= 0 && in != *u.InputTokens || u.OutputTokens != nil && *u.OutputTokens >= 0 && out != *u.OutputTokens {
			rt.Fatalf("meters sum to %d and %d, the usage is %v", in, out, u)
		}
	})
}

func TestValidateNamesTheField(t *testing.T) {
	for want, change := range map[string]func(*weir.Config){
		"has no name":              func(c *weir.Config) { c.Name = "" },
		"url is empty":             func(c *weir.Config) { c.URL = "" },
		"url cannot be read":       func(c *weir.Config) { c.URL = "http://a:pw%zz@h" },
		"url holds a user":         func(c *weir.Config) { c.URL = "http://me:s3cret@h:1" },
		"does not start with http": func(c *weir.Config) { c.URL = "grpc://h:1" },
		"has no host":              func(c *weir.Config) { c.URL = "http://" },
		"has more than a port":     func(c *weir.Config) { c.URL = "http://h:1/v1?key=s3cret" },
		"key has a space":          func(c *weir.Config) { c.Key = "s3cret\n" },
		"candidates are 17":        func(c *weir.Config) { c.Candidates = 17 },
		"max output tokens are -1": func(c *weir.Config) { c.MaxOutputTokens = -1 },
	} {
		c := weir.Config{Name: "east", URL: "https://weir.example.org:8443", Key: "wk-1"}
		change(&c)
		_, err := weir.New(c)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("error is %v, want one that says %q", err, want)
		}
	}
}

// A report comes with the trailer, after an answer and after a failure, and is
// told once.
func TestReportOfLoad(t *testing.T) {
	two := 2.0
	for name, end := range map[string]error{"answer": nil, "failure": status.Error(codes.Internal, "it broke")} {
		t.Run(name, func(t *testing.T) {
			script := &script{events: events(t, started, quiet), err: end, load: &backend.Load{Waiting: &two}}
			if end == nil {
				script.events = append(script.events, events(t, stop, completed)...)
			}
			stream, err := listen(t, script, false, nil).Generate(t.Context(), hello())
			if err != nil {
				t.Fatal(err)
			}
			defer stream.Close()
			if early := stream.(backend.Signaller).Signals(); early.Load != nil {
				t.Errorf("before the end: %+v", early)
			}
			for err == nil {
				_, err = stream.Recv()
			}
			md, _ := metadata.FromIncomingContext(script.ctx)
			if said := stream.(backend.Signaller).Signals(); said.Load == nil || *said.Load.Waiting != 2 || len(md.Get(load.Ask)) != 1 {
				t.Errorf("%+v, asked with %v", said, md)
			}
			if again := stream.(backend.Signaller).Signals(); again.Load != nil {
				t.Errorf("told again: %+v", again)
			}
		})
	}
}

// keyed refuses all keys but one.
type keyed struct {
	script
	asked []string
}

func (k *keyed) StreamGenerate(in *weirv1.GenerateRequest, out grpc.ServerStreamingServer[weirv1.StreamGenerateResponse]) error {
	key := metadata.ValueFromIncomingContext(out.Context(), "authorization")[0]
	if k.asked = append(k.asked, key); key != "Bearer sk-good" {
		return status.Error(codes.Unauthenticated, key+" is unknown")
	}
	return k.script.StreamGenerate(in, out)
}

func TestARefusedKeyIsReplacedOnce(t *testing.T) {
	for keys, want := range map[string]string{
		"sk-good": "", "sk-old sk-good": "", "sk-old": "Bearer [secret] is unknown", "sk-old sk-older sk-good": "Bearer [secret] is unknown",
	} {
		server := &keyed{script: script{events: events(t, started, quiet, stop, completed)}}
		left := strings.Fields(keys)
		b := listen(t, server, false, func(c *weir.Config) {
			c.KeyFrom = func(_ context.Context, refused string) (string, error) {
				if len(left) > 1 && left[0] == refused {
					left = left[1:]
				}
				return left[0], nil
			}
		})
		_, err := hear(b, hello())
		if most := min(2, len(strings.Fields(keys))); len(server.asked) != most {
			t.Errorf("%s: the server was asked with %q", keys, server.asked)
		}
		if (err == io.EOF) != (want == "") || err != io.EOF && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "sk-")) {
			t.Errorf("%s: %v", keys, err)
		}
	}
}
