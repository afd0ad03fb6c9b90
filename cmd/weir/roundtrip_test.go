package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
)

// recorder is a vendor's server that keeps what it is sent and answers as it is
// told.
type recorder struct {
	*httptest.Server
	got    chan []byte
	answer string
}

func record(t *testing.T, answer string) *recorder {
	r := &recorder{got: make(chan []byte, 8), answer: answer}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.got <- body
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, r.answer)
	}))
	t.Cleanup(r.Close)
	return r
}

func (p *process) post(key, path, body string) string {
	p.t.Helper()
	req, err := http.NewRequest(http.MethodPost, "http://"+p.http+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	out, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		p.t.Fatalf("%s: %d %s\n%s", path, resp.StatusCode, out, p.log)
	}
	return string(out)
}

func value(t *testing.T, text string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return v
}

func same(t *testing.T, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		g, _ := json.MarshalIndent(got, "", " ")
		w, _ := json.MarshalIndent(want, "", " ")
		t.Errorf("got  %s\nwant %s", g, w)
	}
}

// What a client of OpenAI's API says reaches a server of that API as it was
// said, and what the server says reaches the client.
func TestOpenAIRoundTrip(t *testing.T) {
	vendor := record(t, openAIAnswer)
	p := serve(t, t.TempDir(), "--config", file(t, "weir.yaml", `
backends:
  - {name: v, kind: openai, url: "`+vendor.URL+`/v1", media: {image: 2000, audio: 5000, video: 9000, file: 20000}, media_urls: true}
models:
  - {name: m, targets: [{backend: v, model: vendor-model}]}
`))
	p.apply("{kind: Tenant, name: acme}")
	key := p.createKey("acme", "app")

	answer := value(t, p.post(key, "/v1/chat/completions", openAIRequest))
	got := value(t, string(<-vendor.got))
	want := value(t, openAIRequest)
	// What Weir has its own word in.
	want["model"], want["stream"], want["stream_options"] = "vendor-model", true, map[string]any{"include_usage": true}
	want["max_tokens"] = want["max_completion_tokens"]
	want["verbosity"] = "low"
	for _, field := range []string{"max_completion_tokens", "service_tier", "n", "vendor_options"} {
		delete(want, field)
	}
	same(t, got, want)

	choice := answer["choices"].([]any)[0].(map[string]any)
	same(t, choice["message"], value(t, `{"role": "assistant", "content": "{\"n\": 1}", "refusal": null, "reasoning_content": "hm", "annotations": ["unseen", "again"],
		"tool_calls": [{"id": "call_9", "type": "function", "function": {"name": "f", "arguments": "{}"}, "extra_content": {"google": {"n": 1}}}]}`))
	same(t, choice["logprobs"], value(t, `{"refusal": null, "content": [
		{"token": "{\"n\":", "logprob": -0.25, "bytes": [123, 34, 110, 34, 58], "top_logprobs": [{"token": "[", "logprob": -2, "bytes": [91], "top_logprobs": []}]},
		{"token": " 1}", "logprob": -0.5, "bytes": [32, 49, 125], "top_logprobs": []}]}`))
	same(t, answer["usage"], value(t, `{"prompt_tokens": 90, "completion_tokens": 20, "total_tokens": 110,
		"prompt_tokens_details": {"cached_tokens": 64}, "completion_tokens_details": {"reasoning_tokens": 7}}`))
	// What Weir has no field for goes through both ways.
	same(t, answer["system_fingerprint"], "unseen")
	same(t, answer["timings"], map[string]any{"ms": 1.5})
	same(t, choice["content_filter_results"], map[string]any{"hate": false})
	if strings.Contains(fmt.Sprint(answer), "not ours") {
		t.Errorf("noise of the server, or what Weir says itself, reached the caller: %v", answer)
	}
	stream := p.post(key, "/v1/chat/completions", strings.Replace(openAIRequest, "{", `{"stream": true, "stream_options": {"include_usage": true},`, 1))
	<-vendor.got
	for _, field := range []string{`"system_fingerprint":"unseen"`, `"timings":{"ms":1.5}`, `"content_filter_results":{"hate":false}`, `"annotations":["unseen","again"]`} {
		if strings.Count(stream, field) != 1 {
			t.Errorf("the stream has %d of %s:\n%s", strings.Count(stream, field), field, stream)
		}
	}
	native := value(t, p.post(key, "/weir/v1/generate", `{"model": "m", "messages": [{"role": "ROLE_USER", "parts": [{"text": "hi"}]}]}`))
	<-vendor.got
	same(t, native["vendorExtras"], value(t, `{"openai": {"system_fingerprint": "unseen", "weir": "not ours", "timings": {"ms": 1.5},
		"choices": [{"index": 0, "content_filter_results": {"hate": false}, "message": {"annotations": ["unseen", "again"], "tool_calls": [{"index": 0, "extra_content": {"google": {"n": 1}}}]}}]}}`))

	// Under a rule that would change any of it there is none; else there is all.
	for term, want := range map[string]any{"unseen": nil, "zorblatt": "unseen"} {
		p.apply("{kind: Policy, name: own, tenant: acme, safety: {output: [{guard: lexicon, terms: [" + term + "], action: redact}]}}")
		answer := value(t, p.post(key, "/v1/chat/completions", openAIRequest))
		<-vendor.got
		same(t, answer["system_fingerprint"], want)
		same(t, answer["timings"] != nil, want != nil)
	}
}

const openAIRequest = `{
 "model": "m", "max_completion_tokens": 300, "temperature": 0.5, "top_p": 0.9, "frequency_penalty": 0.1, "presence_penalty": 0.2,
 "stop": ["END"], "seed": 7, "n": 1, "reasoning_effort": "low", "logprobs": true, "top_logprobs": 2, "prompt_cache_key": "k1", "service_tier": "default",
 "vendor_options": {"openai": {"verbosity": "low"}, "anthropic": {"top_k": 1}},
 "messages": [
  {"role": "system", "content": "Be brief."},
  {"role": "user", "name": "ada", "content": [
   {"type": "text", "text": "What is this?"},
   {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "high"}},
   {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
   {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
   {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AAAA"}},
   {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}}]},
  {"role": "assistant", "content": null, "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{\"x\": 1}"}}]},
  {"role": "tool", "tool_call_id": "call_1", "content": "42"},
  {"role": "user", "content": "And now?"}],
 "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": true}}],
 "tool_choice": "auto", "parallel_tool_calls": false,
 "response_format": {"type": "json_schema", "json_schema": {"name": "n", "description": "a number", "schema": {"type": "object"}, "strict": true}}
}`

const openAIAnswer = `data: {"id":"c1","model":"vendor-model-1","system_fingerprint":"unseen","obfuscation":"not ours","choices":[{"index":0,"delta":{"role":"assistant","reasoning_content":"hm"},"logprobs":null,"finish_reason":null}]}

data: {"id":"c1","model":"vendor-model-1","choices":[{"index":0,"delta":{"content":"{\"n\":","annotations":["unseen"]},"logprobs":{"content":[{"token":"{\"n\":","logprob":-0.25,"bytes":[123,34,110,34,58],"top_logprobs":[{"token":"[","logprob":-2,"bytes":[91]}]}],"refusal":null},"finish_reason":null}]}

data: {"id":"c1","model":"vendor-model-1","choices":[{"index":0,"delta":{"content":" 1}","annotations":["again"]},"logprobs":{"content":[{"token":" 1}","logprob":-0.5,"bytes":[32,49,125],"top_logprobs":[]}],"refusal":null},"finish_reason":null}]}

data: {"id":"c1","model":"vendor-model-1","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_9","type":"function","function":{"name":"f","arguments":"{}"},"extra_content":{"google":{"n":1}}}]},"finish_reason":"tool_calls","content_filter_results":{"hate":false}}]}

data: {"id":"c1","model":"vendor-model-1","weir":"not ours","timings":{"ms":1.5},"choices":[],"usage":{"prompt_tokens":90,"completion_tokens":20,"total_tokens":110,"prompt_tokens_details":{"cached_tokens":64},"completion_tokens_details":{"reasoning_tokens":7}}}

data: [DONE]

`

// What a caller says in weir.v1 reaches Anthropic's API in its words, and the
// thinking that it answers with comes back to it as it was signed.
func TestAnthropicRoundTrip(t *testing.T) {
	vendor := record(t, anthropicAnswer)
	p := serve(t, t.TempDir(), "--config", file(t, "weir.yaml", `
backends:
  - {name: v, kind: anthropic, url: "`+vendor.URL+`/v1", media: {image: 1600, file: 50000}, media_urls: true}
models:
  - {name: m, targets: [{backend: v, model: vendor-model}]}
`))
	p.apply("{kind: Tenant, name: acme}")
	key := p.createKey("acme", "app")
	ask := func(messages string) (map[string]any, map[string]any) {
		t.Helper()
		answer := p.post(key, "/weir/v1/generate", `{"model": "m", "messages": [`+messages+`],
			"tools": [{"name": "f", "description": "d", "parametersJsonSchema": "{\"type\":\"object\"}", "cacheHint": {"ttl": "3600s"}}],
			"config": {"maxOutputTokens": 4000, "reasoning": {"budgetTokens": 2000},
				"vendorOptions": {"anthropic": {"metadata": {"user_id": "u1"}}, "openai": {"verbosity": "low"}}}}`)
		return value(t, answer), value(t, string(<-vendor.got))
	}
	const first = `{"role": "ROLE_SYSTEM", "parts": [{"text": "Be brief.", "cacheHint": {}}]},
		{"role": "ROLE_USER", "parts": [{"text": "What is this?"},
			{"media": {"modality": "MODALITY_IMAGE", "mediaType": "image/png", "data": "iVBORw0KGgo="}},
			{"media": {"modality": "MODALITY_IMAGE", "url": "https://example.org/a.png"}},
			{"media": {"modality": "MODALITY_FILE", "mediaType": "application/pdf", "data": "JVBERi0=", "name": "a.pdf"}},
			{"media": {"modality": "MODALITY_FILE", "mediaType": "text/plain", "data": "aGk="}, "cacheHint": {"ttl": "300s"}}]}`
	answer, got := ask(first)
	want := value(t, `{"model": "vendor-model", "max_tokens": 4000, "stream": true, "thinking": {"type": "enabled", "budget_tokens": 2000},
		"metadata": {"user_id": "u1"},
		"system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
		"tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}, "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
		"messages": [{"role": "user", "content": [{"type": "text", "text": "What is this?"},
			{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
			{"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
			{"type": "document", "title": "a.pdf", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}},
			{"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hi"}, "cache_control": {"type": "ephemeral"}}]}]}`)
	same(t, got, want)

	message := answer["candidates"].([]any)[0].(map[string]any)["message"].(map[string]any)
	same(t, message["parts"], value(t, `{"parts": [
		{"reasoning": {"text": "Let me see."}, "signature": {"signer": "anthropic", "data": "c2lnLTE="}},
		{"reasoning": {}, "signature": {"signer": "anthropic", "data": "aGlkZGVu", "hidden": true}},
		{"text": "I will look."},
		{"toolCall": {"id": "toolu_1", "name": "f", "argumentsJson": "{\"x\":1}"}}]}`)["parts"])

	// What Weir has no field for comes beside it.
	same(t, answer["vendorExtras"], value(t, `{"anthropic": {"container": {"id": "container_1"}, "stop_sequence": "END", "context_management": {"applied_edits": []},
		"content": [{"index": 2, "citations": [{"type": "char_location", "cited_text": "a"}, {"type": "char_location", "cited_text": "b"}]},
			{"index": 3, "caller": {"type": "direct"}},
			{"index": 4, "type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "rain"}},
			{"index": 5, "type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [{"type": "web_search_result", "url": "https://example.org"}]}]}}`))

	turn, err := json.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	_, got = ask(first + `,` + string(turn) + `, {"role": "ROLE_TOOL", "parts": [{"toolResult": {"toolCallId": "toolu_1", "text": "seen",
		"media": [{"modality": "MODALITY_IMAGE", "mediaType": "image/png", "data": "iVBORw0KGgo="}]}}]}`)
	messages := got["messages"].([]any)
	same(t, messages[1:], value(t, `{"m": [
		{"role": "assistant", "content": [
			{"type": "thinking", "thinking": "Let me see.", "signature": "c2lnLTE="},
			{"type": "redacted_thinking", "data": "aGlkZGVu"},
			{"type": "text", "text": "I will look."},
			{"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"x": 1}}]},
		{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": [
			{"type": "text", "text": "seen"},
			{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}]}]}]}`)["m"])

	// The same through the OpenAI API: signed reasoning goes out and comes back.
	chat := value(t, p.post(key, "/v1/chat/completions", `{"model": "m", "messages": [{"role": "user", "content": "hi"}]}`))
	<-vendor.got
	said := chat["choices"].([]any)[0].(map[string]any)["message"]
	again, err := json.Marshal(map[string]any{"model": "m", "messages": []any{
		map[string]any{"role": "user", "content": "hi"}, said, map[string]any{"role": "tool", "tool_call_id": "toolu_1", "content": "seen"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	p.post(key, "/v1/chat/completions", string(again))
	content := value(t, string(<-vendor.got))["messages"].([]any)[1].(map[string]any)["content"].([]any)
	same(t, content[:2], messages[1].(map[string]any)["content"].([]any)[:2])

	// What would change how a call is priced or screened is no option.
	for _, option := range []string{"max_tokens", "Stream", "service_tier"} {
		body := `{"model": "m", "messages": [{"role": "ROLE_USER", "parts": [{"text": "hi"}]}], "config": {"vendorOptions": {"anthropic": {"` + option + `": 1}}}}`
		req, _ := http.NewRequest(http.MethodPost, "http://"+p.http+"/weir/v1/generate", bytes.NewReader([]byte(body)))
		req.Header.Set("Authorization", "Bearer "+key)
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest || len(vendor.got) > 0 {
			t.Errorf("%s: status %d", option, resp.StatusCode)
		}
	}
}

const anthropicAnswer = `event: message_start
data: {"type":"message_start","message":{"id":"msg_1","model":"vendor-model-1","stop_sequence":null,"container":{"id":"container_1"},"usage":{"input_tokens":50,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":1}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Let me "}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"see."}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"c2lnLTE="}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: content_block_start
data: {"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking","data":"aGlkZGVu"}}

event: content_block_stop
data: {"type":"content_block_stop","index":1}

event: content_block_start
data: {"type":"content_block_start","index":2,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":2,"delta":{"type":"text_delta","text":"I will look."}}

event: content_block_delta
data: {"type":"content_block_delta","index":2,"delta":{"type":"citations_delta","citation":{"type":"char_location","cited_text":"a"}}}

event: content_block_delta
data: {"type":"content_block_delta","index":2,"delta":{"type":"citations_delta","citation":{"type":"char_location","cited_text":"b"}}}

event: content_block_stop
data: {"type":"content_block_stop","index":2}

event: content_block_start
data: {"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"toolu_1","name":"f","input":{},"caller":{"type":"direct"}}}

event: content_block_delta
data: {"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":"{\"x\":1}"}}

event: content_block_stop
data: {"type":"content_block_stop","index":3}

event: content_block_start
data: {"type":"content_block_start","index":4,"content_block":{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{}}}

event: content_block_delta
data: {"type":"content_block_delta","index":4,"delta":{"type":"input_json_delta","partial_json":"{\"query\": "}}

event: content_block_delta
data: {"type":"content_block_delta","index":4,"delta":{"type":"input_json_delta","partial_json":"\"rain\"}"}}

event: content_block_stop
data: {"type":"content_block_stop","index":4}

event: content_block_start
data: {"type":"content_block_start","index":5,"content_block":{"type":"web_search_tool_result","tool_use_id":"srvtoolu_1","content":[{"type":"web_search_result","url":"https://example.org"}]}}

event: content_block_stop
data: {"type":"content_block_stop","index":5}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":"END"},"usage":{"output_tokens":30},"context_management":{"applied_edits":[]}}

event: message_stop
data: {"type":"message_stop"}

`

// A Weir in front of a Weir passes on what there is beside text.
func TestWeirRoundTrip(t *testing.T) {
	inner := serve(t, t.TempDir())
	inner.apply("{kind: Tenant, name: front}")
	outer := serve(t, t.TempDir(), "--config", file(t, "weir.yaml", `
backends:
  - {name: inner, kind: weir, url: "http://`+inner.grpc+`", key: "`+inner.createKey("front", "front")+`", media: {image: 300, file: 300}, media_urls: true}
models:
  - {name: m, targets: [{backend: inner, model: sim-text}]}
`))
	outer.apply("{kind: Tenant, name: acme}")
	key := outer.createKey("acme", "app")
	answer := value(t, outer.post(key, "/weir/v1/generate", `{"model": "m", "messages": [
		{"role": "ROLE_USER", "parts": [{"text": "hi"}, {"media": {"modality": "MODALITY_FILE", "mediaType": "text/plain", "data": "aGk=", "name": "a.txt"}}]},
		{"role": "ROLE_ASSISTANT", "parts": [
			{"reasoning": {"text": "hm"}, "signature": {"signer": "simulator", "data": "uC4heOz00MWFncLhadf+2Gc/n27rnzWRvtXyU7d0JAg="}},
			{"toolCall": {"id": "c", "name": "f", "argumentsJson": "{}"}}]},
		{"role": "ROLE_TOOL", "parts": [{"toolResult": {"toolCallId": "c", "text": "ok", "media": [{"modality": "MODALITY_IMAGE", "mediaType": "image/png", "data": "AAAA"}]}}]},
		{"role": "ROLE_USER", "parts": [{"text": "describe:"}, {"media": {"modality": "MODALITY_IMAGE", "url": "https://example.org/a.png"}}]}],
		"config": {"reasoning": {"effort": "REASONING_EFFORT_LOW"}, "logprobs": {"alternatives": 1}, "cacheKey": "k", "vendorOptions": {"openai": {"verbosity": "low"}}}}`))
	parts := answer["candidates"].([]any)[0].(map[string]any)["message"].(map[string]any)["parts"].([]any)
	if len(parts) != 2 {
		t.Fatalf("parts are %v", parts)
	}
	thought, said := parts[0].(map[string]any), parts[1].(map[string]any)
	if said["text"] != "3 media: file text/plain of 2 bytes; image image/png of 3 bytes; image at https://example.org/a.png" {
		t.Errorf("the model saw %v", said["text"])
	}
	if s, _ := thought["signature"].(map[string]any); s["signer"] != "simulator" || s["data"] == "" {
		t.Errorf("the signature is lost: %v", thought)
	}
	if probs, _ := said["logprobs"].([]any); len(probs) < 10 {
		t.Errorf("log probabilities are lost: %v", said)
	}
}

// What a vendor says beside its answer goes through a Weir behind a Weir, and
// what a caller says to the vendor alone goes there.
func TestExtrasGoThroughAWeir(t *testing.T) {
	vendor := record(t, openAIAnswer)
	inner := serve(t, t.TempDir(), "--config", file(t, "weir.yaml", `
backends:
  - {name: v, kind: openai, url: "`+vendor.URL+`/v1"}
models:
  - {name: m, targets: [{backend: v, model: vendor-model}]}
`))
	inner.apply("{kind: Tenant, name: front}")
	outer := serve(t, t.TempDir(), "--config", file(t, "weir.yaml", `
backends:
  - {name: inner, kind: weir, url: "http://`+inner.grpc+`", key: "`+inner.createKey("front", "front")+`"}
models:
  - {name: m, targets: [{backend: inner, model: m}]}
`))
	outer.apply("{kind: Tenant, name: acme}")
	key := outer.createKey("acme", "app")
	const ask = `{"model": "m", "messages": [{"role": "user", "content": "hi"}], "vendor_options": {"openai": {"verbosity": "low"}}}`
	answer := value(t, outer.post(key, "/v1/chat/completions", ask))
	same(t, value(t, string(<-vendor.got))["verbosity"], "low")
	same(t, answer["system_fingerprint"], "unseen")
	same(t, answer["choices"].([]any)[0].(map[string]any)["message"].(map[string]any)["annotations"], []any{"unseen", "again"})

	// A rule on either side keeps it.
	inner.apply("{kind: Policy, name: own, tenant: front, safety: {output: [{guard: lexicon, terms: [unseen], action: redact}]}}")
	answer = value(t, outer.post(key, "/v1/chat/completions", ask))
	<-vendor.got
	same(t, answer["system_fingerprint"], nil)
}
