package openai

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/face"
	"github.com/weir-gateway/weir/server/gateway"
)

const hi = `"model": "m", "messages": [{"role": "user", "content": "hi"}]`

func TestDecode(t *testing.T) {
	got, err := decode([]byte(`{
		"model": "m", "temperature": 0, "top_p": 1, "frequency_penalty": -2, "presence_penalty": 0.5,
		"max_tokens": 9, "max_completion_tokens": 7, "n": 2, "seed": -3, "stop": ["停", "\n"], "stream": true,
		"stream_options": {"include_usage": true, "include_obfuscation": false},
		"user": "", "safety_identifier": "u2", "metadata": {"team": "搜索", "Bad Key": "x", "n": 1},
		"tools": [], "tool_choice": "none", "functions": null, "modalities": ["text"], "logprobs": false, "top_logprobs": null,
		"logit_bias": {}, "response_format": {"type": "text"}, "parallel_tool_calls": true, "store": false, "of_a_client": {"x": [1]},
		"messages": [
			{"role": "system", "content": "be brief"},
			{"role": "developer", "content": [{"type": "text", "text": "一"}, {"type": "text", "text": "二"}]},
			{"role": "user", "name": "小明", "content": "<hi> \u4e16"},
			{"role": "assistant", "content": null, "refusal": "no", "reasoning_content": "hm", "tool_calls": []},
			{"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
			{"role": "user", "content": ""}
		]}`))
	if err != nil {
		t.Fatal(err)
	}
	zero, one, minus, half, seven, seed, yes := 0.0, 1.0, -2.0, 0.5, 7, int64(-3), true
	text := func(s string) backend.Part { return backend.Part{Channel: backend.Content, Text: s} }
	want := &chat{
		model: "m", stream: true, includeUsage: true,
		about: face.About{EndUser: "u2", Labels: map[string]string{"team": "搜索"}},
		request: backend.Request{
			Temperature: &zero, TopP: &one, FrequencyPenalty: &minus, PresencePenalty: &half,
			MaxOutputTokens: &seven, Candidates: 2, Seed: &seed, Stop: []string{"停", "\n"},
			Choice: &backend.ToolChoice{Mode: backend.ToolNone}, ParallelCalls: &yes,
			Messages: []backend.Message{
				{Role: backend.System, Parts: []backend.Part{text("be brief")}},
				{Role: backend.Developer, Parts: []backend.Part{text("一"), text("二")}},
				{Role: backend.User, Name: "小明", Parts: []backend.Part{text("<hi> 世")}},
				{Role: backend.Assistant, Parts: []backend.Part{{Channel: backend.Reasoning, Text: "hm"}, {Channel: backend.Refusal, Text: "no"}}},
				{Role: backend.Assistant, Parts: []backend.Part{{Channel: backend.Refusal, Text: "no"}}},
				{Role: backend.User, Parts: []backend.Part{text("")}},
			},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}

	got, err = decode([]byte(`{` + hi + `, "max_tokens": 5, "stop": "x", "user": "u1", "top_k": 3}`))
	if err != nil || *got.request.MaxOutputTokens != 5 || got.request.Stop[0] != "x" || got.about.EndUser != "u1" || *got.request.TopK != 3 || got.request.Candidates != 1 {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := decode([]byte(`{` + hi + `, "max_tokens": null, "stop": null, "n": null, "stream": null, "stream_options": null, "metadata": null}`)); err != nil || got.request.MaxOutputTokens != nil {
		t.Errorf("null is not absent: %+v, %v", got, err)
	}
}

func TestDecodeTools(t *testing.T) {
	got, err := decode([]byte(`{"model": "m", "parallel_tool_calls": false,
		"tools": [{"type": "function", "function": {"name": "get_weather", "description": "天气", "parameters": {"type": "object"}, "strict": true}}, {"type": "function", "function": {"name": "now", "parameters": null}}],
		"tool_choice": {"type": "function", "function": {"name": "now"}},
		"response_format": {"type": "json_schema", "json_schema": {"name": "day", "schema": {"type": "object"}, "strict": false}},
		"messages": [
			{"role": "user", "content": "hi"},
			{"role": "assistant", "content": null, "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "now", "arguments": "{}"}}]},
			{"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "八"}, {"type": "text", "text": "点"}]}
		]}`))
	if err != nil {
		t.Fatal(err)
	}
	yes, no := true, false
	object := json.RawMessage(`{"type": "object"}`)
	want := backend.Request{
		Candidates: 1,
		Tools:      []backend.Tool{{Name: "get_weather", Description: "天气", Parameters: object, Strict: &yes}, {Name: "now"}},
		Choice:     &backend.ToolChoice{Mode: backend.ToolNamed, Tool: "now"}, ParallelCalls: &no,
		Format: &backend.Format{Name: "day", Schema: object, Strict: &no},
		Messages: []backend.Message{
			{Role: backend.User, Parts: []backend.Part{{Channel: backend.Content, Text: "hi"}}},
			{Role: backend.Assistant, Parts: []backend.Part{{Channel: backend.Arguments, Text: "{}", CallID: "c1", Tool: "now"}}},
			{Role: backend.ToolRole, Parts: []backend.Part{{Channel: backend.Result, Text: "八点", CallID: "c1"}}},
		},
	}
	if !reflect.DeepEqual(got.request, want) {
		t.Errorf("got  %+v\nwant %+v", got.request, want)
	}
}

func TestDecodeRefuses(t *testing.T) {
	message := func(m string) string {
		return `"model": "m", "messages": [{"role": "user", "content": "a"}, ` + m + `]`
	}
	for _, c := range []struct {
		body, param string
		reason      gateway.Reason
	}{
		{hi + `, "tools": [{"type": "function"}]`, "tools[0].function.name", gateway.InvalidRequest},
		{hi + `, "tools": [{"type": "web_search"}]`, "tools[0].type", gateway.UnsupportedFeature},
		{hi + `, "tools": [{"type": "function", "function": {"name": "a b"}}]`, "tools[0].function.name", gateway.InvalidRequest},
		{hi + `, "tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]`, "tools", gateway.InvalidRequest},
		{hi + `, "tools": [{"type": "function", "function": {"name": "f"}}, {"type": "function", "function": {"name": "f"}}]`, "tools", gateway.InvalidRequest},
		{hi + `, "tool_choice": "always"`, "tool_choice", gateway.InvalidRequest},
		{hi + `, "tool_choice": "required"`, "tool_choice", gateway.InvalidRequest},
		{hi + `, "tool_choice": {"type": "function", "function": {"name": "canary"}}, "tools": []`, "tool_choice", gateway.InvalidRequest},
		{hi + `, "functions": [{}]`, "functions", gateway.UnsupportedFeature},
		{hi + `, "function_call": {"name": "f"}`, "function_call", gateway.UnsupportedFeature},
		{hi + `, "modalities": ["text", "audio"]`, "audio", gateway.InvalidRequest},
		{hi + `, "modalities": ["text", "audio"], "audio": {"voice": "v", "format": "mp3"}`, "audio.format", gateway.UnsupportedFeature},
		{hi + `, "modalities": ["text", "audio"], "audio": {"voice": "a b", "format": "wav"}`, "audio.voice", gateway.InvalidRequest},
		{hi + `, "modalities": ["text", "smell"]`, "modalities", gateway.InvalidRequest},
		{hi + `, "modalities": "text"`, "modalities", gateway.InvalidRequest},
		{hi + `, "logprobs": 3`, "logprobs", gateway.InvalidRequest},
		{hi + `, "top_logprobs": 2`, "top_logprobs", gateway.InvalidRequest},
		{hi + `, "logprobs": true, "top_logprobs": 21`, "top_logprobs", gateway.InvalidRequest},
		{hi + `, "reasoning_effort": "canary"`, "reasoning_effort", gateway.InvalidRequest},
		{hi + `, "service_tier": "express"`, "service_tier", gateway.InvalidRequest},
		{hi + `, "vendor_options": {"openai": [1]}`, "vendor_options.openai", gateway.InvalidRequest},
		{hi + `, "vendor_options": {"Open AI": {}}`, "vendor_options", gateway.InvalidRequest},
		{hi + `, "logit_bias": {"50256": -100}`, "logit_bias", gateway.UnsupportedFeature},
		{hi + `, "response_format": {"type": "xml"}`, "response_format.type", gateway.UnsupportedFeature},
		{hi + `, "response_format": {"type": "json_schema"}`, "response_format.json_schema.schema", gateway.InvalidRequest},
		{hi + `, "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": "canary"}}`, "response_format", gateway.InvalidRequest},
		{hi + `, "web_search_options": {}`, "web_search_options", gateway.UnsupportedFeature},
		{hi + `, "temperature": 2.1`, "temperature", gateway.InvalidRequest},
		{hi + `, "top_p": -0.1`, "top_p", gateway.InvalidRequest},
		{hi + `, "presence_penalty": 3`, "presence_penalty", gateway.InvalidRequest},
		{hi + `, "max_tokens": 0`, "max_tokens", gateway.InvalidRequest},
		{hi + `, "max_completion_tokens": 9999999999`, "max_completion_tokens", gateway.InvalidRequest},
		{hi + `, "n": 0`, "n", gateway.InvalidRequest},
		{hi + `, "n": 129`, "n", gateway.InvalidRequest},
		{hi + `, "n": 1.5`, "n", gateway.InvalidRequest},
		{hi + `, "stop": 3`, "stop", gateway.InvalidRequest},
		{hi + `, "stop": [""]`, "stop[0]", gateway.InvalidRequest},
		{hi + `, "stop": ["a","b","c","d","e","f","g","h","i","j","k","l","m","n","o","p","q"]`, "stop", gateway.InvalidRequest},
		{hi + `, "user": "` + strings.Repeat("u", 257) + `"`, "user", gateway.InvalidRequest},
		{hi + `, "stream": "yes"`, "stream", gateway.InvalidRequest},
		{`"messages": [{"role": "user", "content": "hi"}]`, "model", gateway.InvalidRequest},
		{`"model": "m"`, "messages", gateway.InvalidRequest},
		{`"model": "m", "messages": []`, "messages", gateway.InvalidRequest},
		{`"model": "m", "messages": {}`, "messages", gateway.InvalidRequest},
		{message(`{"role": "tool", "content": "x"}`), "messages[1].tool_call_id", gateway.InvalidRequest},
		{message(`{"role": "function", "content": "x"}`), "messages[1].role", gateway.UnsupportedFeature},
		{message(`{"role": "user", "content": "x", "tool_calls": [{"id": "1"}]}`), "messages[1].tool_calls", gateway.InvalidRequest},
		{message(`{"role": "owner", "content": "x"}`), "messages[1].role", gateway.InvalidRequest},
		{message(`{"content": "x"}`), "messages[1].role", gateway.InvalidRequest},
		{message(`{"role": "user"}`), "messages[1].content", gateway.InvalidRequest},
		{message(`{"role": "user", "content": 5}`), "messages[1].content", gateway.InvalidRequest},
		{message(`{"role": "user", "content": []}`), "messages[1].content", gateway.InvalidRequest},
		{message(`{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "canary"}}]}`), "messages[1].content[0].image_url.url", gateway.InvalidRequest},
		{message(`{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://169.254.169.254/canary"}}]}`), "messages[1].content[0].image_url.url", gateway.InvalidRequest},
		{message(`{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,canary!"}}]}`), "messages[1].content[0].image_url.url", gateway.InvalidRequest},
		{message(`{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "canary/"}}]}`), "messages[1].content[0].input_audio.format", gateway.InvalidRequest},
		{message(`{"role": "user", "content": [{"type": "file", "file": {"file_id": "canary"}}]}`), "messages[1].content[0].file.file_id", gateway.UnsupportedFeature},
		{message(`{"role": "system", "content": [{"type": "image_url", "image_url": {"url": "https://canary"}}]}`), "messages[1].content[0]", gateway.UnsupportedFeature},
		{message(`{"role": "assistant", "reasoning_details": [{"type": "reasoning.text", "signature": "a canary", "format": "anthropic"}]}`), "messages[1].reasoning_details[0]", gateway.InvalidRequest},
		{message(`{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "canary"}]}`), "messages[1].content[1].type", gateway.InvalidRequest},
		{message(`{"role": "user", "content": [{"type": "refusal", "refusal": "a"}]}`), "messages[1].content[0].type", gateway.InvalidRequest},
		{message(`{"role": "user", "content": "a", "refusal": "canary"}`), "messages[1]", gateway.InvalidRequest},
		{message(`{"role": "assistant", "tool_calls": [{"id": "1"}]}`), "messages[1].tool_calls[0].function.name", gateway.InvalidRequest},
		{message(`{"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}`), "messages[1].tool_calls[0].id", gateway.InvalidRequest},
		{message(`{"role": "assistant", "content": "a", "audio": {"id": "1"}}`), "messages[1].audio", gateway.UnsupportedFeature},
		{message(`{"role": "user", "content": "a", "name": "` + strings.Repeat("n", 65) + `"}`), "messages[1].name", gateway.InvalidRequest},
	} {
		_, err := decode([]byte("{" + c.body + "}"))
		if err == nil {
			t.Errorf("%s passes", c.body)
			continue
		}
		f := face.Explain(err, "id")
		if p := param(f); f.Reason != c.reason || p == nil || *p != c.param {
			t.Errorf("%s: %s at %+v", c.body, f.Reason, f.Fields)
		}
		if strings.Contains(f.Message, "canary") || strings.Contains(f.Message, "1.5") {
			t.Errorf("%s: the text repeats what was sent: %s", c.body, f.Message)
		}
	}
}

func TestBadJSONNamesThePlace(t *testing.T) {
	for body, want := range map[string]string{
		"":                                 "line 1, column 1",
		"{\n \"model\": \"m\",\n x}":       "line 3, column 2",
		"{\"model\": \"m\"} trailing":      "line 1, column 16",
		"{\"messages\": [\n{\"role\": 5}]": "line 2",
		"{\"model\": \"m":                  "line 1, column 12",
	} {
		_, err := decode([]byte(body))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", body, err)
		}
	}
}

// Whatever is sent, the decoder neither panics nor repeats it, and what it
// passes is what the packages below may rely on.
func FuzzDecode(f *testing.F) {
	f.Add([]byte("{" + hi + "}"))
	f.Add([]byte("{" + hi + `, "stop": ["a"], "n": 2, "metadata": {"a": "b"}, "stream": true}`))
	f.Add([]byte(`{"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": "\ud800 长"}]}]}`))
	f.Add([]byte(`{"MODEL": "m", "Messages": [{"role": "assistant", "refusal": "x"}], "max_tokens": 1e3}`))
	f.Add([]byte("{\"model\": \"\xff\", \"messages\": null}"))
	f.Add([]byte(`[[[[`))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := decode(body)
		if err != nil {
			var fields *face.FieldsError
			var call *gateway.Error
			if !errors.As(err, &fields) && !errors.As(err, &call) {
				t.Fatalf("an error without a row: %v", err)
			}
			if failure := face.Explain(err, "id"); failure.HTTP != 400 {
				t.Fatalf("told as %d: %v", failure.HTTP, err)
			}
			return
		}
		if !json.Valid(body) {
			t.Fatal("what is no JSON passes")
		}
		r := got.request
		if got.model == "" || len(r.Messages) == 0 || r.Candidates < 1 || r.Candidates > maxCandidates || (r.MaxOutputTokens != nil && *r.MaxOutputTokens < 1) {
			t.Fatalf("passes: %+v", got)
		}
		for _, m := range r.Messages {
			if m.Role == "" || len(m.Parts) == 0 {
				t.Fatalf("passes: %+v", m)
			}
			for _, p := range m.Parts {
				if p.Channel == "" || !utf8.ValidString(p.Text) {
					t.Fatalf("passes: %+v", p)
				}
				if p.Channel != backend.Content && m.Role != backend.Assistant {
					t.Fatalf("a %s of the %s passes", p.Channel, m.Role)
				}
			}
		}
		for k, v := range got.about.Labels {
			if !face.FitsLabel(k, v) {
				t.Fatalf("label %q passes", k)
			}
		}
		_ = fmt.Sprint(got)
	})
}
