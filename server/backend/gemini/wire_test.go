package gemini_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"

	pb "cloud.google.com/go/ai/generativelanguage/apiv1beta/generativelanguagepb"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/backendtest"
	"github.com/weir-gateway/weir/server/backend/gemini"
)

// scripted is a server that says what it is told to.
type scripted struct {
	pb.UnimplementedGenerativeServiceServer
	pb.UnimplementedModelServiceServer

	answer []string // responses as JSON
	got    *pb.GenerateContentRequest
}

func (s *scripted) StreamGenerateContent(in *pb.GenerateContentRequest, out pb.GenerativeService_StreamGenerateContentServer) error {
	s.got = in
	for _, text := range s.answer {
		r := new(pb.GenerateContentResponse)
		if err := protojson.Unmarshal([]byte(text), r); err != nil {
			return err
		}
		_ = out.Send(r)
	}
	return nil
}

const ends = `{"candidates": [{"index": 0, "finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5}}`

func text(role backend.Role, s string) backend.Message {
	return backend.Message{Role: role, Parts: []backend.Part{{Channel: backend.Content, Text: s}}}
}

func generate(t *testing.T, b *gemini.Backend, req *backend.Request) (events []backend.Event, err error) {
	t.Helper()
	s, err := b.Generate(t.Context(), req)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	for {
		e, err := s.Recv()
		if err != nil {
			return events, err
		}
		events = append(events, e)
	}
}

// The request as the API's reference has it, with all that can be said.
func TestRequest(t *testing.T) {
	s := &scripted{answer: []string{ends}}
	b := listen(t, s, nil)
	f, k, most, seed, top := 0.5, 40, 100, int64(7), 3
	req := &backend.Request{
		Model: "gemini-x", Candidates: 2, Temperature: &f, TopP: &f, TopK: &k, FrequencyPenalty: &f, PresencePenalty: &f, MaxOutputTokens: &most, Stop: []string{"END"}, Seed: &seed,
		Logprobs: &top, Reasoning: &backend.ReasoningWish{Effort: backend.EffortLow}, Format: &backend.Format{Name: "lost", Schema: json.RawMessage(`{"type": "object"}`)},
		Tools:  []backend.Tool{{Name: "f", Description: "d", Parameters: json.RawMessage(`{"type": "object", "additionalProperties": false}`)}, {Name: "g"}},
		Choice: &backend.ToolChoice{Mode: backend.ToolNamed, Tool: "f"},
		Vendor: backend.VendorOptions{"gemini": json.RawMessage(`{"safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_ONLY_HIGH"}]}`), "openai": json.RawMessage(`{"x": 1}`)},
		Messages: []backend.Message{
			text(backend.System, "Be brief."),
			{Role: backend.User, Name: "ada", Parts: []backend.Part{
				{Channel: backend.Content, Text: "What is this?"},
				{Channel: backend.Content, Media: &backend.Media{Modality: backend.Image, Type: "image/png", Data: []byte("png")}},
				{Channel: backend.Content, Media: &backend.Media{Modality: backend.Video, URL: "https://example.org/v.mp4"}}}},
			{Role: backend.Assistant, Parts: []backend.Part{
				{Channel: backend.Reasoning, Text: "unsigned"},
				{Channel: backend.Reasoning, Text: "another's", Signature: &backend.Signature{Signer: "anthropic", Data: "x"}},
				{Channel: backend.Reasoning, Text: "hm", Signature: &backend.Signature{Signer: "gemini", Data: "c2ln"}},
				{Channel: backend.Arguments, CallID: "weir-1", Tool: "f", Text: `{"x": 1}`, Signature: &backend.Signature{Signer: "gemini", Data: "c2ln"}},
				{Channel: backend.Arguments, CallID: "c2", Tool: "g", Text: "no JSON"}}},
			{Role: backend.ToolRole, Parts: []backend.Part{{Channel: backend.Result, CallID: "weir-1", Text: "42"}}},
			{Role: backend.ToolRole, Parts: []backend.Part{{Channel: backend.Result, CallID: "c2", Text: `{"a": [true]}`}}},
			text(backend.Developer, "In English."),
			{Role: backend.ToolRole, Parts: []backend.Part{{Channel: backend.Result, CallID: "c3", Tool: "h", Text: "broke", Failed: true}}},
		},
	}
	if _, err := generate(t, b, req); backend.ClassOf(err) != backend.Broken { // one of two candidates has not ended
		t.Errorf("error is %v", err)
	}
	want := `{"model": "models/gemini-x",
 "systemInstruction": {"parts": [{"text": "Be brief."}, {"text": "In English."}]},
 "contents": [
  {"role": "user", "parts": [{"text": "What is this?"}, {"inlineData": {"mimeType": "image/png", "data": "cG5n"}}, {"fileData": {"fileUri": "https://example.org/v.mp4"}}]},
  {"role": "model", "parts": [{"thought": true, "text": "hm", "thoughtSignature": "c2ln"}, {"functionCall": {"name": "f", "args": {"x": 1}}, "thoughtSignature": "c2ln"},
   {"functionCall": {"id": "c2", "name": "g", "args": {"arguments": "no JSON"}}}]},
  {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"output": "42"}}}, {"functionResponse": {"id": "c2", "name": "g", "response": {"a": [true]}}},
   {"functionResponse": {"id": "c3", "name": "h", "response": {"error": "broke"}}}]}],
 "tools": [{"functionDeclarations": [{"name": "f", "description": "d", "parametersJsonSchema": {"type": "object", "additionalProperties": false}}, {"name": "g"}]}],
 "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
 "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_ONLY_HIGH"}],
 "generationConfig": {"candidateCount": 2, "stopSequences": ["END"], "maxOutputTokens": 100, "temperature": 0.5, "topP": 0.5, "topK": 40, "seed": 7, "presencePenalty": 0.5, "frequencyPenalty": 0.5,
  "responseMimeType": "application/json", "responseJsonSchema": {"type": "object"}, "responseLogprobs": true, "logprobs": 3, "thinkingConfig": {"includeThoughts": true, "thinkingBudget": 20}}}`
	got, _ := protojson.Marshal(s.got)
	var g, w any
	if err := errors.Join(json.Unmarshal(got, &g), json.Unmarshal([]byte(want), &w)); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(g, w) {
		t.Errorf("got  %s\nwant %s", canonical(g), canonical(w))
	}
}

func TestRefusals(t *testing.T) {
	big := int64(1) << 40
	for name, x := range map[string]struct {
		change func(*backend.Request)
		want   string
	}{
		"cached content": {func(r *backend.Request) {
			r.Vendor = backend.VendorOptions{"gemini": json.RawMessage(`{"cachedContent": "cachedContents/x"}`)}
		}, `"cachedContent" is no option`},
		"tools option": {func(r *backend.Request) { r.Vendor = backend.VendorOptions{"gemini": json.RawMessage(`{"tools": []}`)} }, `"tools" is no option`},
		"another name": {func(r *backend.Request) {
			r.Vendor = backend.VendorOptions{"gemini": json.RawMessage(`{"cached_content": "x"}`)}
		}, `"cached_content" is no option`},
		"no object": {func(r *backend.Request) { r.Vendor = backend.VendorOptions{"gemini": json.RawMessage(`[]`)} }, "no JSON object"},
		"wrong option": {func(r *backend.Request) {
			r.Vendor = backend.VendorOptions{"gemini": json.RawMessage(`{"safetySettings": 1}`)}
		}, "cannot be read"},
		"seed":       {func(r *backend.Request) { r.Seed = &big }, "32 bits"},
		"schema":     {func(r *backend.Request) { r.Format = &backend.Format{Schema: json.RawMessage(`true`)} }, "the schema of the answer"},
		"parameters": {func(r *backend.Request) { r.Tools = []backend.Tool{{Name: "f", Parameters: json.RawMessage(`[]`)}} }, "the parameters of tool f"},
		"nameless":   {func(r *backend.Request) { r.Messages[0].Parts[0] = backend.Part{Channel: backend.Result, CallID: "c9"} }, `messages[0]: a result of call "c9" names no tool`},
		"signature": {func(r *backend.Request) {
			r.Messages[0].Parts[0].Signature = &backend.Signature{Signer: "gemini", Data: "%"}
		}, "no base64"},
		"result's media": {func(r *backend.Request) {
			r.Messages[0].Parts[0] = backend.Part{Channel: backend.Result, Tool: "f", Media: &backend.Media{}}
		}, "has media"},
		"candidates": {func(r *backend.Request) { r.Candidates = 9 }, "9 candidates"},
	} {
		s := &scripted{answer: []string{ends}}
		req := &backend.Request{Model: "m", Candidates: 1, Messages: []backend.Message{text(backend.User, "hi")}}
		x.change(req)
		_, err := generate(t, listen(t, s, nil), req)
		if backend.ClassOf(err) != backend.Rejected || !strings.Contains(err.Error(), x.want) || s.got != nil {
			t.Errorf("%s: %v, want %q; the server got %v", name, err, x.want, s.got)
		}
	}
}

func TestThinking(t *testing.T) {
	most := 1000
	for _, x := range []struct {
		wish backend.ReasoningWish
		most *int
		want string
	}{
		{backend.ReasoningWish{Budget: 77}, nil, `{"includeThoughts":true,"thinkingBudget":77}`},
		{backend.ReasoningWish{Effort: backend.EffortNone}, &most, `{"includeThoughts":false,"thinkingBudget":0}`},
		{backend.ReasoningWish{Effort: backend.EffortHigh}, &most, `{"includeThoughts":true,"thinkingBudget":800}`},
		{backend.ReasoningWish{Effort: backend.EffortHigh}, nil, `{"includeThoughts":true}`},
		{backend.ReasoningWish{}, &most, `{"includeThoughts":true}`},
	} {
		s := &scripted{answer: []string{ends}}
		req := &backend.Request{Model: "m", Candidates: 1, Messages: []backend.Message{text(backend.User, "hi")}, Reasoning: &x.wish, MaxOutputTokens: x.most}
		if _, err := generate(t, listen(t, s, nil), req); err != io.EOF {
			t.Fatal(err)
		}
		got, _ := protojson.Marshal(s.got.GenerationConfig.ThinkingConfig)
		if g := strings.ReplaceAll(string(got), " ", ""); g != x.want {
			t.Errorf("%+v: %s, want %s", x.wish, g, x.want)
		}
	}
}

// What comes with a signature says so, whatever it signs.
func TestSignatures(t *testing.T) {
	signed := func(channel backend.Channel, hidden bool) backend.Event {
		return backend.Event{Kind: backend.Signed, Channel: channel, Signature: &backend.Signature{Signer: "gemini", Data: "c2ln", Hidden: hidden}}
	}
	part := func(parts string) string { return `{"candidates": [{"content": {"parts": [` + parts + `]}}]}` }
	for name, x := range map[string]struct {
		parts string
		want  backend.Event
	}{
		"thought":    {`{"text": "hm", "thought": true, "thoughtSignature": "c2ln"}`, signed(backend.Reasoning, false)},
		"content":    {`{"text": "Hi"}, {"text": "", "thoughtSignature": "c2ln"}`, signed(backend.Content, false)},
		"a call":     {`{"functionCall": {"name": "f"}, "thoughtSignature": "c2ln"}`, signed(backend.Arguments, false)},
		"of nothing": {`{"text": "", "thoughtSignature": "c2ln"}`, signed(backend.Reasoning, true)},
	} {
		s := &scripted{answer: []string{part(x.parts), ends}}
		events, err := generate(t, listen(t, s, nil), &backend.Request{Model: "m", Candidates: 1, Messages: []backend.Message{text(backend.User, "hi")}})
		i := slices.IndexFunc(events, func(e backend.Event) bool { return e.Kind == backend.Signed })
		if err != io.EOF || i < 0 || !reflect.DeepEqual(events[i], x.want) {
			t.Errorf("%s: %v: %+v, want %+v", name, err, events, x.want)
		}
	}
}

func TestUsage(t *testing.T) {
	for _, x := range []struct {
		said                           string
		input, cached, output, thought int64
		known                          bool
	}{
		{`{"promptTokenCount": 10, "candidatesTokenCount": 4, "totalTokenCount": 14}`, 10, 0, 4, 0, true},
		{`{"promptTokenCount": 10, "cachedContentTokenCount": 8, "candidatesTokenCount": 4, "thoughtsTokenCount": 6, "totalTokenCount": 20}`, 2, 8, 4, 6, true},
		{`{"promptTokenCount": 10, "toolUsePromptTokenCount": 5, "candidatesTokenCount": 4, "totalTokenCount": 19}`, 15, 0, 4, 0, true},
		{`{"promptTokenCount": 10, "candidatesTokenCount": 4, "totalTokenCount": 30}`, 10, 0, 4, 16, true},
		{`{"promptTokenCount": 10, "cachedContentTokenCount": 99, "candidatesTokenCount": -4, "totalTokenCount": 10}`, 0, 10, 0, 0, true},
		{`null`, 0, 0, 0, 0, false},
	} {
		s := &scripted{answer: []string{`{"candidates": [{"finishReason": "STOP"}], "usageMetadata": ` + x.said + `}`}}
		events, err := generate(t, listen(t, s, nil), &backend.Request{Model: "m", Candidates: 1, Messages: []backend.Message{text(backend.User, "hi")}})
		last := events[len(events)-1]
		if err != io.EOF || (last.Kind == backend.Used) != x.known {
			t.Fatalf("%s: %v: %+v", x.said, err, events)
		}
		var want accounting.Usage
		if x.known {
			want.Set(accounting.Input, x.input)
			want.Set(accounting.CacheRead, x.cached)
			want.Set(accounting.Output, x.output)
			want.Set(accounting.Reasoning, x.thought)
		}
		if last.Usage != want || last.Usage.Check() != nil {
			t.Errorf("%s: %+v, want %+v", x.said, last.Usage, want)
		}
	}
}

func TestEnds(t *testing.T) {
	call := `{"candidates": [{"content": {"parts": [{"functionCall": {"name": "f"}}]}, "finishReason": "STOP"}]}`
	end := func(reason string) string { return `{"candidates": [{"finishReason": "` + reason + `"}]}` }
	for answer, want := range map[string]backend.FinishReason{
		end("STOP"): backend.FinishStop, end("MAX_TOKENS"): backend.FinishLength, end("SAFETY"): backend.FinishBackendFilter, end("RECITATION"): backend.FinishBackendFilter,
		end("BLOCKLIST"): backend.FinishBackendFilter, end("PROHIBITED_CONTENT"): backend.FinishBackendFilter, end("SPII"): backend.FinishBackendFilter, end("IMAGE_SAFETY"): backend.FinishBackendFilter,
		end("LANGUAGE"): backend.FinishUnknown, end("OTHER"): backend.FinishUnknown, end("MALFORMED_FUNCTION_CALL"): backend.FinishUnknown, end("UNEXPECTED_TOOL_CALL"): backend.FinishUnknown, call: backend.FinishToolCalls,
		`{"candidates": [{"finishReason": 99}]}`:        backend.FinishUnknown,
		`{"promptFeedback": {"blockReason": "SAFETY"}}`: backend.FinishBackendFilter,
	} {
		events, err := generate(t, listen(t, &scripted{answer: []string{answer}}, nil), &backend.Request{Model: "m", Candidates: 1, Messages: []backend.Message{text(backend.User, "hi")}})
		i := slices.IndexFunc(events, func(e backend.Event) bool { return e.Kind == backend.Finished })
		if err != io.EOF || i < 0 || events[i].Finish != want {
			t.Errorf("%s: %v: %+v, want %s", answer, err, events, want)
		}
	}
}

func TestLogprobs(t *testing.T) {
	one := `{"candidates": [{"content": {"parts": [{"text": "Hi you"}]}, "logprobsResult": {"chosenCandidates": [{"token": "Hi", "logProbability": -0.5}, {"token": " you", "logProbability": -0.25}],
		"topCandidates": [{"candidates": [{"token": "Hi", "logProbability": -0.5}, {"token": "Ho", "logProbability": -2}]}]}}]}`
	other := `{"candidates": [{"content": {"parts": [{"text": "!"}]}, "logprobsResult": {"chosenCandidates": [{"token": "?", "logProbability": -1}]}}]}`
	events, err := generate(t, listen(t, &scripted{answer: []string{one, other, ends}}, nil), &backend.Request{Model: "m", Candidates: 1, Messages: []backend.Message{text(backend.User, "hi")}})
	want := []backend.Logprob{{Token: "Hi", Logprob: -0.5, Alternatives: []backend.Logprob{{Token: "Hi", Logprob: -0.5}, {Token: "Ho", Logprob: -2}}}, {Token: " you", Logprob: -0.25}}
	if err != io.EOF || !reflect.DeepEqual(events[0].Logprobs, want) || events[1].Logprobs != nil {
		t.Errorf("%v: %+v", err, events)
	}
}

func TestBadAnswers(t *testing.T) {
	for answer, want := range map[string]backend.Class{
		`{}`:                              backend.Broken,
		`{"candidates": [{"index": 1}]}`:  backend.Protocol,
		`{"candidates": [{"index": -1}]}`: backend.Protocol,
		`{"candidates": [{"content": {"parts": [{"functionCall": {}}]}}]}`:                                            backend.Protocol,
		`{"candidates": [{"finishReason": "STOP"}, {"content": {"parts": [{"text": "late"}]}}]}`:                      backend.Protocol,
		`{"candidates": [{"content": {"parts": [{"text": "Hi"}]}}]}`:                                                  backend.Broken,
		`{"candidates": [{"content": {"parts": [{"executableCode": {"code": "x"}}, {"inlineData": {"data": ""}}]}}]}`: backend.Broken,
	} {
		events, err := generate(t, listen(t, &scripted{answer: []string{answer}}, nil), &backend.Request{Model: "m", Candidates: 1, Messages: []backend.Message{text(backend.User, "hi")}})
		if backend.ClassOf(err) != want || err == io.EOF {
			t.Errorf("%s: %v after %+v, want class %s", answer, err, events, want)
		}
	}
}

// Calls without ids get some, all different.
func TestCallIDs(t *testing.T) {
	call := `{"candidates": [{"content": {"parts": [{"functionCall": {"name": "f"}}, {"functionCall": {"name": "f", "args": {}}}]}}]}`
	s, err := listen(t, &scripted{answer: []string{call, ends}}, nil).Generate(t.Context(), &backend.Request{Model: "m", Candidates: 1, Messages: []backend.Message{text(backend.User, "hi")}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	a, err := backendtest.Read(s, 1)
	if calls := a.Calls[0]; err != io.EOF || len(calls) != 2 || calls[0].ID == calls[1].ID || !strings.HasPrefix(calls[0].ID, "weir-") || calls[1].Arguments != "" {
		t.Errorf("%v: %+v", err, a.Calls)
	}
}

func TestKeysAndModels(t *testing.T) {
	s := &server{key: "second"}
	b := listen(t, s, func(c *gemini.Config) {
		c.KeyFrom = func(_ context.Context, refused string) (string, error) {
			if refused == "first" {
				return "second", nil
			}
			return "first", nil
		}
	})
	if names, err := b.Models(t.Context()); err != nil || !slices.Equal(names, []string{"a", "tunedModels/t", "z"}) {
		t.Errorf("models are %v, %v", names, err)
	}
	s.key = "third"
	if _, err := b.Models(t.Context()); backend.ClassOf(err) != backend.Credentials || strings.Contains(err.Error(), "second") {
		t.Errorf("error is %v", err)
	}
}

func TestValidate(t *testing.T) {
	good := gemini.Config{Name: "g", URL: "https://generativelanguage.googleapis.com"}
	if _, err := gemini.New(good); err != nil {
		t.Error(err)
	}
	for _, x := range []struct {
		change func(*gemini.Config)
		want   string
	}{
		{func(c *gemini.Config) { c.Name = "" }, "has no name"},
		{func(c *gemini.Config) { c.URL = "https://h/v1beta" }, "more than a port"},
		{func(c *gemini.Config) { c.Candidates = 9 }, "candidates are 9"},
		{func(c *gemini.Config) { c.MaxOutputTokens = -1 }, "max output tokens"},
	} {
		c := good
		x.change(&c)
		if _, err := gemini.New(c); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%v, want %q", err, x.want)
		}
	}
}
