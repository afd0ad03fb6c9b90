package anthropic_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/anthropic"
	"github.com/weir-gateway/weir/server/backend/backendtest"
)

var discard = log.New(io.Discard, "", 0)

func compact(text string) string {
	var b bytes.Buffer
	if json.Compact(&b, []byte(text)) != nil {
		return text
	}
	return b.String()
}

// to makes a driver for a handler.
func to(t *testing.T, h http.HandlerFunc, change func(*anthropic.Config)) *anthropic.Backend {
	t.Helper()
	s := httptest.NewServer(h)
	s.Config.ErrorLog = discard
	t.Cleanup(s.Close)
	c := anthropic.Config{Name: "east", URL: s.URL + "/v1", Key: testKey}
	if change != nil {
		change(&c)
	}
	b, err := anthropic.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func text(role backend.Role, texts ...string) backend.Message {
	m := backend.Message{Role: role}
	for _, s := range texts {
		m.Parts = append(m.Parts, backend.Part{Channel: backend.Content, Text: s})
	}
	return m
}

func hello() *backend.Request {
	return &backend.Request{RequestID: "r1", Model: "m", Candidates: 1, Messages: []backend.Message{text(backend.User, "hello")}}
}

// says answers with events as they stand, each in a line.
func says(events ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for _, e := range events {
			io.WriteString(w, "data: "+e+"\n\n")
		}
	}
}

const (
	start = `{"type":"message_start","message":{"model":"m-1","usage":{"input_tokens":9,"output_tokens":1}}}`
	block = `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`
	hi    = `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"quiet"}}`
	over  = `{"type":"content_block_stop","index":0}`
	end   = `{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}`
	stop  = `{"type":"message_stop"}`
)

// hear makes a call and reads it to its end.
func hear(t *testing.T, b *anthropic.Backend) (backendtest.Answer, error) {
	t.Helper()
	s, err := b.Generate(context.Background(), hello())
	if err != nil {
		return backendtest.Answer{}, err
	}
	defer s.Close()
	return backendtest.Read(s, 1)
}

func TestRequestOnTheWire(t *testing.T) {
	var body string
	var header http.Header
	b := to(t, func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		body, header = strings.TrimSpace(string(raw)), r.Header
		says(start, end, stop)(w, r)
	}, func(c *anthropic.Config) { c.Header = http.Header{"anthropic-beta": {"later"}} })
	half, k, most, yes, no := 0.5, 3, 9, true, false
	part := func(c backend.Channel, s string) backend.Part { return backend.Part{Channel: c, Text: s} }
	call := func(id, tool, arguments string) backend.Part {
		return backend.Part{Channel: backend.Arguments, CallID: id, Tool: tool, Text: arguments}
	}
	result := func(id, text string, failed bool) backend.Message {
		return backend.Message{Role: backend.ToolRole, Parts: []backend.Part{{Channel: backend.Result, CallID: id, Text: text, Failed: failed}}}
	}
	for name, c := range map[string]struct {
		change func(*backend.Request)
		want   string
	}{
		"least": {func(*backend.Request) {}, `{"model":"m","max_tokens":4096,"messages":[{"role":"user","content":[{"type":"text","text":"hello"}]}],"stream":true}`},
		"sampling": {func(r *backend.Request) {
			r.Temperature, r.TopP, r.TopK, r.MaxOutputTokens, r.Stop = &half, &half, &k, &most, []string{"x"}
		}, `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":[{"type":"text","text":"hello"}]}],"stream":true,"temperature":0.5,"top_p":0.5,"top_k":3,"stop_sequences":["x"]}`},
		// Turns of one role are one, and what is blank or without a signature is left out.
		"roles": {func(r *backend.Request) {
			r.Messages = append([]backend.Message{text(backend.System, "a<b")}, r.Messages...)
			r.Messages = append(r.Messages, text(backend.Developer, "水", "!"), text(backend.User, "you?"), text(backend.System, " "),
				backend.Message{Role: backend.Assistant, Parts: []backend.Part{part(backend.Reasoning, "never sent")}},
				backend.Message{Role: backend.Assistant, Parts: []backend.Part{part(backend.Reasoning, "never sent"), part(backend.Content, "yes "), part(backend.Refusal, "no")}})
		}, `{"model":"m","max_tokens":4096,"system":[{"type":"text","text":"a<b"},{"type":"text","text":"水!"}],"messages":[{"role":"user","content":[{"type":"text","text":"hello"},{"type":"text","text":"you?"}]},{"role":"assistant","content":[{"type":"text","text":"yes "},{"type":"text","text":"no"}]}],"stream":true}`},
		"tools": {func(r *backend.Request) {
			r.Messages = append(r.Messages,
				backend.Message{Role: backend.Assistant, Parts: []backend.Part{call("a", "f", `{"x":1}`), call("functions.g:1", "g", ""), call("c", "g", `[1]`)}},
				result("a", "one", false), result("functions.g:1", "two", true), result("c", "", false), text(backend.User, "and?"))
			r.Tools = []backend.Tool{{Name: "f", Description: "does f", Parameters: json.RawMessage(`{"type":"object"}`), Strict: &yes}, {Name: "g"}}
		}, `{"model":"m","max_tokens":4096,"messages":[{"role":"user","content":[{"type":"text","text":"hello"}]},` +
			`{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"f","input":{"x":1}},{"type":"tool_use","id":"functions_g_1","name":"g","input":{}},{"type":"tool_use","id":"c","name":"g","input":{"arguments":"[1]"}}]},` +
			`{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":"one"},{"type":"tool_result","tool_use_id":"functions_g_1","content":"two","is_error":true},{"type":"tool_result","tool_use_id":"c","content":""},{"type":"text","text":"and?"}]}],` +
			`"stream":true,"tools":[{"name":"f","description":"does f","input_schema":{"type":"object"},"strict":true},{"name":"g","input_schema":{"type":"object"}}]}`},
		"no tools, no choice": {func(r *backend.Request) { r.ParallelCalls = &no },
			`{"model":"m","max_tokens":4096,"messages":[{"role":"user","content":[{"type":"text","text":"hello"}]}],"stream":true}`},
		"schema": {func(r *backend.Request) {
			r.Format = &backend.Format{Name: "n", Schema: json.RawMessage(`{"type":"object"}`)}
		}, `{"model":"m","max_tokens":4096,"messages":[{"role":"user","content":[{"type":"text","text":"hello"}]}],"stream":true,"output_config":{"format":{"type":"json_schema","schema":{"type":"object"}}}}`},
	} {
		req := hello()
		c.change(req)
		s, err := b.Generate(context.Background(), req)
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		if body != c.want {
			t.Errorf("%s: body is\n%s\nwant\n%s", name, body, c.want)
		}
	}
	for name, want := range map[string]string{"X-Api-Key": testKey, "Anthropic-Version": "2023-06-01", "X-Request-Id": "r1", "Anthropic-Beta": "later", "Authorization": "", "Accept": "text/event-stream"} {
		if got := header.Get(name); got != want {
			t.Errorf("header %s is %q, want %q", name, got, want)
		}
	}
	for _, c := range []struct {
		choice   *backend.ToolChoice
		parallel *bool
		want     string
	}{
		{nil, nil, ``},
		{nil, &yes, ``},
		{nil, &no, `{"type":"auto","disable_parallel_tool_use":true}`},
		{&backend.ToolChoice{Mode: backend.ToolAuto}, nil, `{"type":"auto"}`},
		{&backend.ToolChoice{Mode: backend.ToolNone}, &no, `{"type":"none"}`},
		{&backend.ToolChoice{Mode: backend.ToolRequired}, &no, `{"type":"any","disable_parallel_tool_use":true}`},
		{&backend.ToolChoice{Mode: backend.ToolNamed, Tool: "f"}, &yes, `{"type":"tool","name":"f"}`},
	} {
		req := hello()
		req.Tools, req.Choice, req.ParallelCalls = []backend.Tool{{Name: "f"}}, c.choice, c.parallel
		s, err := b.Generate(context.Background(), req)
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		_, got, _ := strings.Cut(body, `"tool_choice":`)
		if strings.TrimSuffix(got, "}") != c.want {
			t.Errorf("choice %+v is %s, want %s", c.choice, got, c.want)
		}
	}
}

func TestUsageIsAdditive(t *testing.T) {
	first := func(usage string) string {
		return `{"type":"message_start","message":{"model":"m","usage":` + usage + `}}`
	}
	last := func(usage string) string {
		return `{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":` + usage + `}`
	}
	for _, c := range []struct{ first, last, want string }{
		{`{"input_tokens":9,"output_tokens":1}`, `{"output_tokens":4}`, `{"input":9,"output":4}`},
		{`{"input_tokens":9,"cache_read_input_tokens":100,"cache_creation_input_tokens":30,"cache_creation":{"ephemeral_5m_input_tokens":10,"ephemeral_1h_input_tokens":20},"output_tokens":1}`,
			`{"output_tokens":4}`, `{"input":9,"cache_read":100,"cache_write_5m":10,"cache_write_1h":20,"output":4}`},
		// The last event repeats the totals, without their details.
		{`{"input_tokens":9,"cache_creation_input_tokens":30,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":30}}`,
			`{"input_tokens":9,"cache_creation_input_tokens":30,"cache_read_input_tokens":0,"output_tokens":4}`, `{"input":9,"cache_read":0,"cache_write_5m":0,"cache_write_1h":30,"output":4}`},
		{`{"input_tokens":9}`, `{"input_tokens":12,"output_tokens":4}`, `{"input":12,"output":4}`},
		{`{"input_tokens":9,"cache_creation_input_tokens":7}`, `{"output_tokens":4}`, `{"input":9,"cache_write_5m":7,"output":4}`},
		{`{"input_tokens":9,"cache_creation_input_tokens":7,"cache_creation":{"ephemeral_1h_input_tokens":8}}`, `{"output_tokens":4}`, `{"input":9,"cache_write_5m":7,"output":4}`},
		{`{"input_tokens":9,"cache_creation":null,"cache_read_input_tokens":null}`, `{"output_tokens":4}`, `{"input":9,"output":4}`},
		{`{"input_tokens":-1,"output_tokens":"x","cache_creation":3}`, `{"output_tokens":4}`, `{"output":4}`},
		// Thinking is in the output, and never more than it.
		{`{"input_tokens":9}`, `{"output_tokens":40,"output_tokens_details":{"thinking_tokens":30}}`, `{"input":9,"output":10,"reasoning":30}`},
		{`{"input_tokens":9}`, `{"output_tokens":40,"output_tokens_details":{"thinking_tokens":0}}`, `{"input":9,"output":40,"reasoning":0}`},
		{`{"input_tokens":9}`, `{"output_tokens":40,"output_tokens_details":{"thinking_tokens":41}}`, `{"input":9,"output":40}`},
		{`{"input_tokens":9}`, `{"output_tokens":40,"output_tokens_details":null}`, `{"input":9,"output":40}`},
		{`null`, `null`, `{}`},
	} {
		a, err := hear(t, to(t, says(first(c.first), block, hi, over, last(c.last), stop), nil))
		got, _ := json.Marshal(a.Usage)
		if err != io.EOF || string(got) != c.want || a.Used > 1 {
			t.Errorf("%s, %s: usage is %s (%d times), %v, want %s", c.first, c.last, got, a.Used, err, c.want)
		}
	}
}

// What an answer has that the neutral form has no place for goes beside it: a
// reason that it does not tell apart, and what of the usage is no meter.
func TestWhatGoesBeside(t *testing.T) {
	for last, want := range map[string]string{
		`{"stop_reason":"end_turn"}`:                                     `{"usage":{"inference_geo":"eu","service_tier":"priority"}}`,
		`{"stop_reason":"pause_turn"}`:                                   `{"stop_reason":"pause_turn","usage":{"inference_geo":"eu","service_tier":"priority"}}`,
		`{"stop_reason":"model_context_window_exceeded"}`:                `{"stop_reason":"model_context_window_exceeded","usage":{"inference_geo":"eu","service_tier":"priority"}}`,
		`{"stop_reason":"stop_sequence","stop_sequence":"x"}`:            `{"stop_sequence":"x","usage":{"inference_geo":"eu","service_tier":"priority"}}`,
		`{"stop_reason":"refusal","stop_details":{"category":"cyber"}}`:  `{"stop_details":{"category":"cyber"},"usage":{"inference_geo":"eu","service_tier":"priority"}}`,
		`{"stop_reason":"end_turn"},"usage":{"server_tool_use":{"x":1}}`: `{"usage":{"inference_geo":"eu","server_tool_use":{"x":1},"service_tier":"priority"}}`,
	} {
		s, err := to(t, says(`{"type":"message_start","message":{"model":"m","usage":{"input_tokens":9,"service_tier":"priority","inference_geo":"eu"}}}`,
			block, hi, over, `{"type":"message_delta","delta":`+last+`}`, stop), nil).Generate(t.Context(), hello())
		if err != nil {
			t.Fatal(err)
		}
		var got string
		for {
			e, err := s.Recv()
			if err != nil {
				break
			}
			if e.Kind == backend.Beside {
				got = string(e.Extras["anthropic"])
			}
		}
		s.Close()
		if got != want {
			t.Errorf("%s: beside is %s, want %s", last, got, want)
		}
	}
}

func TestStreams(t *testing.T) {
	ends := func(reason string) string {
		return fmt.Sprintf(`{"type":"message_delta","delta":{"stop_reason":%q},"usage":{"output_tokens":2}}`, reason)
	}
	tool := `{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"toolu_1","name":"f","input":{}}}`
	for name, c := range map[string]struct {
		events []string
		class  backend.Class // empty for a whole answer
		text   string
		finish backend.FinishReason
	}{
		"whole":                {[]string{start, block, hi, over, end, stop}, "", "quiet", backend.FinishStop},
		"no stop event":        {[]string{start, block, hi, over, end}, "", "quiet", backend.FinishStop},
		"no reason":            {[]string{start, block, hi, over, stop}, "", "quiet", backend.FinishUnknown},
		"stop sequence":        {[]string{start, block, hi, over, ends("stop_sequence"), stop}, "", "quiet", backend.FinishStop},
		"length":               {[]string{start, block, hi, over, ends("max_tokens"), stop}, "", "quiet", backend.FinishLength},
		"context":              {[]string{start, block, hi, over, ends("model_context_window_exceeded"), stop}, "", "quiet", backend.FinishLength},
		"refusal":              {[]string{start, block, hi, over, ends("refusal"), stop}, "", "quiet", backend.FinishRefusal},
		"pause":                {[]string{start, block, hi, over, ends("pause_turn"), stop}, "", "quiet", backend.FinishUnknown},
		"a tool of the server": {[]string{start, ends("tool_use"), stop}, "", "", backend.FinishUnknown},
		"open block":           {[]string{start, block, `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a\ud83d"}}`, end, stop}, "", "a\uFFFD", backend.FinishStop},
		"text at the start":    {[]string{start, `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"quiet"}}`, over, end, stop}, "", "quiet", backend.FinishStop},
		"two blocks":           {[]string{start, block, hi, over, `{"type":"content_block_start","index":3,"content_block":{"type":"text","text":"!"}}`, end, stop}, "", "quiet!", backend.FinishStop},
		"broken off":           {[]string{start, block, hi}, backend.Broken, "quiet", ""},
		"nothing":              {nil, backend.Broken, "", ""},
		"overloaded":           {[]string{start, block, hi, `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`}, backend.Overloaded, "quiet", ""},
		"api error":            {[]string{start, `{"type":"error","error":{"type":"api_error","message":"x"}}`}, backend.Failed, "", ""},
		"stop at once":         {[]string{stop}, backend.Protocol, "", ""},
		"started twice":        {[]string{start, start}, backend.Protocol, "", ""},
		"no JSON":              {[]string{start, `quiet`, stop}, backend.Protocol, "", ""},
		"no such block":        {[]string{start, hi, end, stop}, backend.Protocol, "", ""},
		"block twice":          {[]string{start, block, block}, backend.Protocol, "", ""},
		"text is no string":    {[]string{start, block, `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":["quiet"]}}`}, backend.Protocol, "", ""},
		"after the end":        {[]string{start, end, block}, backend.Protocol, "", backend.FinishStop},
		"tool without a name":  {[]string{start, strings.Replace(tool, `"f"`, `""`, 1)}, backend.Protocol, "", ""},
	} {
		a, err := hear(t, to(t, says(c.events...), nil))
		if c.class == "" && err != io.EOF || c.class != "" && (err == io.EOF || backend.ClassOf(err) != c.class) {
			t.Errorf("%s: it ends with %v, want class %q", name, err, c.class)
			continue
		}
		if err != io.EOF && strings.Contains(err.Error(), "quiet") {
			t.Errorf("%s: error %v shows text", name, err)
		}
		if got := a.Candidates; len(got) > 0 && (got[0].Content != c.text || got[0].Finish != c.finish) {
			t.Errorf("%s: answer is %+v, want %q (%s)", name, got[0], c.text, c.finish)
		}
	}
	pieces := []string{`{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"x\":"}}`, `{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":" 1}"}}`}
	// An input that comes with the start of a call counts where no pieces of it follow.
	whole := strings.Replace(tool, `"input":{}`, `"input":{"x": 1}`, 1)
	for name, events := range map[string][]string{
		"pieces": {start, tool, pieces[0], pieces[1], ends("tool_use"), stop},
		"whole":  {start, whole, ends("tool_use"), stop},
		"both":   {start, whole, pieces[0], pieces[1], ends("tool_use"), stop},
	} {
		a, err := hear(t, to(t, says(events...), nil))
		if err != io.EOF || !slices.Equal(a.Calls[0], []backendtest.Call{{ID: "toolu_1", Tool: "f", Arguments: `{"x": 1}`}}) || a.Candidates[0].Finish != backend.FinishToolCalls || a.Model != "m-1" {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
}

func TestFailuresAreClassified(t *testing.T) {
	for _, c := range []struct {
		status        int
		kind, message string
		class         backend.Class
	}{
		{400, "invalid_request_error", "temperature: must be at most 1", backend.Rejected},
		{400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum", backend.ContextExceeded},
		{401, "authentication_error", "invalid x-api-key", backend.Credentials},
		{402, "billing_error", "no credit", backend.RateLimited},
		{403, "permission_error", "no access", backend.Credentials},
		{404, "not_found_error", "model: m", backend.ModelMissing},
		{413, "request_too_large", "Request exceeds the maximum size", backend.Rejected},
		{429, "rate_limit_error", "slow down", backend.RateLimited},
		{500, "api_error", "Internal server error", backend.Failed},
		{504, "timeout_error", "timed out", backend.Failed},
		{529, "overloaded_error", "Overloaded", backend.Overloaded},
	} {
		_, err := hear(t, to(t, func(w http.ResponseWriter, _ *http.Request) { fail(w, c.status, 3, c.kind, c.message) }, nil))
		e, ok := err.(*backend.Error)
		if !ok || e.Class != c.class || e.Status != c.status || e.RetryAfter != 3*time.Second || !strings.HasPrefix(e.Detail, "east: "+c.kind) {
			t.Errorf("%d %s: %v, want class %s", c.status, c.kind, err, c.class)
		}
	}
}

func TestNoErrorShowsASecret(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"refused": func(w http.ResponseWriter, r *http.Request) {
			fail(w, 401, 0, "authentication_error", "no key "+r.Header.Get("X-Api-Key")+" with "+r.Header.Get("X-Team"))
		},
		"in the stream": says(start, `{"type":"error","error":{"type":"api_error","message":"key `+testKey+` of team-secret"}}`),
		"as a type":     func(w http.ResponseWriter, r *http.Request) { fail(w, 500, 0, testKey, "") },
	} {
		b := to(t, h, func(c *anthropic.Config) { c.Header = http.Header{"X-Team": {"team-secret"}} })
		_, err := hear(t, b)
		if err == nil || err == io.EOF || strings.Contains(err.Error(), testKey) || strings.Contains(err.Error(), "team-secret") {
			t.Errorf("%s: %v", name, err)
		}
		if all := fmt.Sprintf("%v %+v %#v %s", b, b, anthropic.Config{Name: "x", Key: testKey}, b); strings.Contains(all, testKey) {
			t.Errorf("it shows as %s", all)
		}
	}
}

func TestValidateNamesTheField(t *testing.T) {
	for want, change := range map[string]func(*anthropic.Config){
		"has no name":                func(c *anthropic.Config) { c.Name = "" },
		"url is empty":               func(c *anthropic.Config) { c.URL = "" },
		"leave out /messages":        func(c *anthropic.Config) { c.URL = "https://h/v1/messages" },
		"key has a space":            func(c *anthropic.Config) { c.Key = "s3cret\n" },
		"header X-Api-Key is set":    func(c *anthropic.Config) { c.Header = http.Header{"x-api-key": {"s3cret"}} },
		"header Anthropic-Version":   func(c *anthropic.Config) { c.Header = http.Header{"anthropic-version": {"1"}} },
		"dial timeout is -1":         func(c *anthropic.Config) { c.DialTimeout = -1 },
		"header timeout is -1":       func(c *anthropic.Config) { c.HeaderTimeout = -1 },
		"max output tokens are -1":   func(c *anthropic.Config) { c.MaxOutputTokens = -1 },
		"url holds a user":           func(c *anthropic.Config) { c.URL = "http://me:s3cret@h/v1" },
		"url \"h:1/v1\" does not st": func(c *anthropic.Config) { c.URL = "h:1/v1" },
	} {
		c := anthropic.Config{Name: "east", URL: "https://api.example.com/v1", Key: "sk-1"}
		change(&c)
		_, err := anthropic.New(c)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("error is %v, want one that says %q", err, want)
		}
	}
}

func TestOneCandidateAlone(t *testing.T) {
	req := hello()
	req.Candidates = 2
	if _, err := to(t, says(), nil).Generate(context.Background(), req); backend.ClassOf(err) != backend.Rejected {
		t.Errorf("%v", err)
	}
}
