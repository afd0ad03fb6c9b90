package openai_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/backendtest"
	"github.com/weir-gateway/weir/server/backend/credential"
	"github.com/weir-gateway/weir/server/backend/openai"
)

var discard = log.New(io.Discard, "", 0)

// to makes a driver for a handler.
func to(t *testing.T, h http.HandlerFunc, change func(*openai.Config)) *openai.Backend {
	t.Helper()
	s := httptest.NewServer(h)
	s.Config.ErrorLog = discard
	t.Cleanup(s.Close)
	c := openai.Config{Name: "east", URL: s.URL + "/v1", Key: testKey}
	if change != nil {
		change(&c)
	}
	b, err := openai.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func hello() *backend.Request {
	return &backend.Request{RequestID: "r1", Model: "m", Candidates: 1,
		Messages: []backend.Message{{Role: backend.User, Parts: []backend.Part{{Channel: backend.Content, Text: "hello"}}}}}
}

// says answers with a stream as it stands.
func says(stream string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, stream)
	}
}

// hear makes a call and reads it to its end.
func hear(t *testing.T, b *openai.Backend) (backendtest.Answer, error) {
	t.Helper()
	s, err := b.Generate(context.Background(), hello())
	if err != nil {
		return backendtest.Answer{}, err
	}
	defer s.Close()
	return backendtest.Read(s, 1)
}

func TestRequestOnTheWire(t *testing.T) {
	var body, header string
	b := func(change func(*openai.Config)) *openai.Backend {
		return to(t, func(w http.ResponseWriter, r *http.Request) {
			raw, _ := io.ReadAll(r.Body)
			body = strings.TrimSpace(string(raw))
			header = fmt.Sprint(r.Method, " ", r.URL.Path, " ", r.Header.Get("Authorization"), " ", r.Header.Get("X-Request-Id"), " ", r.Header.Get("X-Team"), " ", r.Header.Get("Accept"))
			says("data: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")(w, r)
		}, change)
	}
	half, k, most, seed := 0.5, 3, 9, int64(7)
	req := hello()
	req.Messages = append(req.Messages,
		backend.Message{Role: backend.Developer, Name: "ops", Parts: []backend.Part{{Channel: backend.Content, Text: "a<b "}, {Channel: backend.Content, Text: "水"}}},
		backend.Message{Role: backend.Assistant, Parts: []backend.Part{{Channel: backend.Reasoning, Text: "never sent"}, {Channel: backend.Refusal, Text: "no"}}},
		backend.Message{Role: backend.Assistant, Parts: []backend.Part{{Channel: backend.Reasoning, Text: "never sent"}}})
	req.Temperature, req.TopP, req.FrequencyPenalty, req.PresencePenalty = &half, &half, &half, &half
	req.TopK, req.MaxOutputTokens, req.Seed, req.Stop, req.Candidates = &k, &most, &seed, []string{"x"}, 2
	for _, c := range []struct {
		change func(*openai.Config)
		want   string
	}{
		{func(c *openai.Config) { c.Candidates = 2; c.Header = http.Header{"x-team": {"rivers"}} },
			`{"model":"m","messages":[{"role":"user","content":"hello"},{"role":"system","content":"a<b 水","name":"ops"},{"role":"assistant","content":"","refusal":"no"},{"role":"assistant","content":""}],"stream":true,"stream_options":{"include_usage":true},"temperature":0.5,"top_p":0.5,"frequency_penalty":0.5,"presence_penalty":0.5,"max_tokens":9,"stop":["x"],"seed":7,"n":2}`},
		{func(c *openai.Config) {
			c.Candidates = 2
			c.Dialect = "openai"
		},
			`{"model":"m","messages":[{"role":"user","content":"hello"},{"role":"developer","content":"a<b 水","name":"ops"},{"role":"assistant","content":"","refusal":"no"},{"role":"assistant","content":""}],"stream":true,"stream_options":{"include_usage":true},"temperature":0.5,"top_p":0.5,"frequency_penalty":0.5,"presence_penalty":0.5,"max_completion_tokens":9,"stop":["x"],"seed":7,"n":2}`},
	} {
		s, err := b(c.change).Generate(context.Background(), req)
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		if body != c.want {
			t.Errorf("body is\n%s\nwant\n%s", body, c.want)
		}
		if want := "POST /v1/chat/completions Bearer " + testKey + " r1 "; !strings.HasPrefix(header, want) {
			t.Errorf("request is %q, want %q", header, want)
		}
	}
	s, err := b(func(c *openai.Config) { c.Key = ""; c.Header = http.Header{"x-team": {"rivers"}} }).Generate(context.Background(), hello())
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if want := "POST /v1/chat/completions  r1 rivers text/event-stream"; header != want {
		t.Errorf("request is %q, want %q", header, want)
	}
	if want := `{"model":"m","messages":[{"role":"user","content":"hello"}],"stream":true,"stream_options":{"include_usage":true}}`; body != want {
		t.Errorf("body is\n%s\nwant\n%s", body, want)
	}
}

func TestToolsOnTheWire(t *testing.T) {
	var body string
	b := to(t, func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		body = strings.TrimSpace(string(raw))
		says(stop)(w, r)
	}, nil)
	yes, schema := true, json.RawMessage(`{"type":"object"}`)
	req := hello()
	req.Messages = append(req.Messages,
		backend.Message{Role: backend.Assistant, Parts: []backend.Part{
			{Channel: backend.Arguments, Text: `{"x":1}`, CallID: "a", Tool: "f"}, {Channel: backend.Arguments, Text: `{}`, CallID: "b", Tool: "g"}}},
		backend.Message{Role: backend.ToolRole, Parts: []backend.Part{{Channel: backend.Result, Text: "one", CallID: "a"}, {Channel: backend.Result, Text: "two", CallID: "b", Tool: "g", Failed: true}}})
	req.Tools = []backend.Tool{{Name: "f", Description: "does f", Parameters: schema, Strict: &yes}, {Name: "g"}}
	const start = `{"model":"m","messages":[{"role":"user","content":"hello"},` +
		`{"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}},{"id":"b","type":"function","function":{"name":"g","arguments":"{}"}}]},` +
		`{"role":"tool","content":"one","tool_call_id":"a"},{"role":"tool","content":"two","tool_call_id":"b"}],"stream":true,"stream_options":{"include_usage":true}`
	const tools = `,"tools":[{"type":"function","function":{"name":"f","description":"does f","parameters":{"type":"object"},"strict":true}},{"type":"function","function":{"name":"g"}}]`
	for _, c := range []struct {
		choice *backend.ToolChoice
		format *backend.Format
		want   string
	}{
		{nil, nil, ""},
		{&backend.ToolChoice{Mode: backend.ToolNone}, nil, `,"tool_choice":"none"`},
		{&backend.ToolChoice{Mode: backend.ToolRequired}, nil, `,"tool_choice":"required"`},
		{&backend.ToolChoice{Mode: backend.ToolNamed, Tool: "g"}, nil, `,"tool_choice":{"function":{"name":"g"},"type":"function"}`},
		{nil, &backend.Format{}, `,"response_format":{"type":"json_object"}`},
		{nil, &backend.Format{Schema: schema}, `,"response_format":{"type":"json_schema","json_schema":{"name":"answer","schema":{"type":"object"}}}`},
		{nil, &backend.Format{Name: "n", Description: "d", Schema: schema, Strict: &yes}, `,"response_format":{"type":"json_schema","json_schema":{"name":"n","description":"d","schema":{"type":"object"},"strict":true}}`},
	} {
		req.Choice, req.Format = c.choice, c.format
		s, err := b.Generate(context.Background(), req)
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		if want := start + tools + c.want + "}"; body != want {
			t.Errorf("body is\n%s\nwant\n%s", body, want)
		}
	}
}

func TestCapabilitiesComeFromTheConfiguration(t *testing.T) {
	b, err := openai.New(openai.Config{Name: "x", URL: "http://h/v1", MaxOutputTokens: 7, Candidates: 1, Dialect: "ollama"})
	if err != nil {
		t.Fatal(err)
	}
	alternatives := 20
	if got, want := b.Capabilities("m"), (backend.Capabilities{Candidates: 1, Seed: true, Penalties: true, Logprobs: &alternatives, Tools: true, ToolChoices: []backend.ToolMode{backend.ToolAuto, backend.ToolNone}, JSON: true, Schema: true, Reasoning: true, MaxOutputTokens: 7}); !reflect.DeepEqual(got, want) {
		t.Errorf("capabilities are %+v, want %+v", got, want)
	}
	req := hello()
	req.Candidates = 2
	if _, err := b.Generate(context.Background(), req); err == nil || backend.ClassOf(err) != backend.Rejected {
		t.Errorf("two candidates of one: %v", err)
	}
}

// stop is the end of a whole answer.
const stop = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"

func content(s string) string {
	return "data: {\"model\":\"m-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":" + s + "}}]}\n\n"
}

func calls(s string) string {
	return "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[" + s + "]}}]}\n\n"
}

func TestCallsOfTools(t *testing.T) {
	f := backendtest.Call{ID: "a", Tool: "f", Arguments: `{"x":"水"}`}
	for name, c := range map[string]struct {
		stream string
		want   []backendtest.Call
	}{
		"in pieces":    {calls(`{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}}`) + calls(`{"index":0,"function":{"arguments":"{\"x\":"}}`) + calls(`{"index":0,"function":{"arguments":"\"水\"}"}}`), []backendtest.Call{f}},
		"at once":      {calls(`{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":\"水\"}"}}`), []backendtest.Call{f}},
		"as an object": {calls(`{"index":0,"id":"a","function":{"name":"f","arguments":{"x":"水"}}}`), []backendtest.Call{f}},
		"by turns": {calls(`{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":"}},{"index":1,"id":"b","function":{"name":"g"}}`) + calls(`{"index":1,"function":{"arguments":"[]"}},{"index":0,"function":{"arguments":"\"水\"}"}}`),
			[]backendtest.Call{f, {ID: "b", Tool: "g", Arguments: "[]"}}},
		"counted from one":    {calls(`{"index":1,"id":"a","function":{"name":"f","arguments":"{\"x\":\"水\"}"}}`), []backendtest.Call{f}},
		"all counted as 0":    {calls(`{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":\"水\"}"}}`) + calls(`{"index":0,"id":"b","function":{"name":"g","arguments":"{}"}}`), []backendtest.Call{f, {ID: "b", Tool: "g", Arguments: "{}"}}},
		"not counted":         {calls(`{"id":"a","function":{"name":"f","arguments":"{\"x\":"}}`) + calls(`{"function":{"arguments":"\"水\"}"}}`) + calls(`{"id":"b","function":{"name":"g"}}`), []backendtest.Call{f, {ID: "b", Tool: "g"}}},
		"the id in each":      {calls(`{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":"}}`) + calls(`{"index":0,"id":"a","function":{"name":"f","arguments":"\"水\"}"}}`), []backendtest.Call{f}},
		"a rune in two":       {calls("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"x\\\":\\\"\xe6\xb0\"}}") + calls("{\"index\":0,\"function\":{\"arguments\":\"\xb4\\\"}\"}}"), []backendtest.Call{f}},
		"a rune that is lost": {calls("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"\xe6\xb0\"}}"), []backendtest.Call{{ID: "a", Tool: "f", Arguments: "\uFFFD"}}},
	} {
		for _, reason := range []string{"stop", "tool_calls"} {
			a, err := hear(t, to(t, says(c.stream+strings.Replace(stop, `"stop"`, strconv.Quote(reason), 1)), nil))
			if err != io.EOF || !slices.Equal(a.Calls[0], c.want) || a.Candidates[0].Finish != backend.FinishToolCalls {
				t.Errorf("%s: %+v, %v", name, a, err)
			}
		}
	}
}

func TestStreams(t *testing.T) {
	for name, c := range map[string]struct {
		stream string
		text   string
		finish backend.FinishReason
		class  backend.Class // empty: whole
	}{
		"whole":                   {content(`"hi"`) + stop + "data: [DONE]\n\n", "hi", backend.FinishStop, ""},
		"no done":                 {content(`"hi"`) + stop, "hi", backend.FinishStop, ""},
		"done with more":          {content(`"hi"`) + stop + "data: [DONE] bye\n\n", "hi", backend.FinishStop, ""},
		"nothing after done":      {content(`"hi"`) + stop + "data: [DONE]\n\n" + content(`"ho"`), "hi", backend.FinishStop, ""},
		"byte order mark":         {"\ufeff" + content(`"hi"`) + stop, "hi", backend.FinishStop, ""},
		"no space":                {"data:{\"choices\":[{\"delta\":{\"content\":\"hi\"},\"finish_reason\":\"length\"}]}\n\n", "hi", backend.FinishLength, ""},
		"reason twice":            {content(`"hi"`) + stop + stop, "hi", backend.FinishStop, ""},
		"done and no reason":      {content(`"hi"`) + "data: [DONE]\n\n", "hi", backend.FinishUnknown, ""},
		"filter":                  {content(`"hi"`) + strings.Replace(stop, `"stop"`, `"content_filter"`, 1), "hi", backend.FinishBackendFilter, ""},
		"another reason":          {content(`"hi"`) + strings.Replace(stop, `"stop"`, `"whim"`, 1), "hi", backend.FinishUnknown, ""},
		"call without a name":     {calls(`{"index":0,"id":"a","function":{"arguments":"{}"}}`) + stop, "", "", backend.Protocol},
		"arguments of no kind":    {calls(`{"index":0,"function":{"name":"f","arguments":7}}`) + stop, "", "", backend.Protocol},
		"call after the end":      {stop + calls(`{"index":0,"function":{"name":"f"}}`), "", backend.FinishStop, backend.Protocol},
		"empty events":            {"data:\n\ndata\n\nevent: ping\n\n" + content(`"hi"`) + stop, "hi", backend.FinishStop, ""},
		"half an emoji":           {content(`"a\ud83d"`) + content(`"b"`) + stop, "a\uFFFDb", backend.FinishStop, ""},
		"half an emoji at end":    {content(`"a\ud83d"`) + stop, "a\uFFFD", backend.FinishStop, ""},
		"the other half":          {content(`"a\ude00"`) + stop, "a\uFFFD", backend.FinishStop, ""},
		"halves apart":            {content(`"\ud83d"`) + content(`""`) + content(`null`) + content(`"\ude00"`) + stop, "😀", backend.FinishStop, ""},
		"bad bytes":               {content("\"a\xffb\xe6\xb0\"") + stop, "a\uFFFDb\uFFFD", backend.FinishStop, ""},
		"error null":              {strings.Replace(content(`"hi"`), "{", `{"error":null,`, 1) + stop, "hi", backend.FinishStop, ""},
		"nothing":                 {"", "", "", backend.Broken},
		"cut":                     {content(`"hi"`), "hi", "", backend.Broken},
		"cut in a chunk":          {content(`"hi"`) + `data: {"choices":[{"del`, "hi", "", backend.Broken},
		"done and nothing":        {"data: [DONE]\n\n", "", "", backend.Protocol},
		"no JSON":                 {content(`"hi"`) + "data: hello\n\n" + stop, "hi", "", backend.Protocol},
		"no string":               {content(`[{"type":"text"}]`) + stop, "", "", backend.Protocol},
		"wrong candidate":         {strings.Replace(content(`"hi"`), `"index":0`, `"index":1`, 1) + stop, "", "", backend.Protocol},
		"negative candidate":      {strings.Replace(content(`"hi"`), `"index":0`, `"index":-1`, 1) + stop, "", "", backend.Protocol},
		"text after the end":      {stop + content(`"hi"`), "", backend.FinishStop, backend.Protocol},
		"error":                   {content(`"hi"`) + "data: {\"error\":{\"message\":\"boom\",\"type\":\"server_error\",\"code\":null}}\n\n", "hi", "", backend.Failed},
		"error as text":           {content(`"hi"`) + "data: {\"error\":\"boom\"}\n\n", "hi", "", backend.Failed},
		"error with status":       {content(`"hi"`) + "data: {\"error\":{\"message\":\"slow down\",\"code\":429}}\n\n", "hi", "", backend.RateLimited},
		"error of vLLM":           {content(`"hi"`) + "data: {\"object\":\"error\",\"message\":\"too much\",\"type\":\"BadRequestError\",\"code\":400}\n\n", "hi", "", backend.Rejected},
		"error event":             {content(`"hi"`) + "event: error\ndata: overloaded_error\n\n", "hi", "", backend.Failed},
		"error of Anthropic kind": {content(`"hi"`) + "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n", "hi", "", backend.Overloaded},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := hear(t, to(t, says(c.stream), nil))
			if c.class == "" && err != io.EOF || c.class != "" && backend.ClassOf(err) != c.class {
				t.Fatalf("stream ended with %v, want class %q", err, c.class)
			}
			if len(a.Candidates) > 0 && (a.Candidates[0].Content != c.text || a.Candidates[0].Finish != c.finish) {
				t.Errorf("answer is %+v, want %q, %q", a.Candidates[0], c.text, c.finish)
			}
			var e *backend.Error
			if errors.As(err, &e) && (!strings.HasPrefix(e.Detail, "east: ") || strings.Contains(err.Error(), "hello")) {
				t.Errorf("error is %q", err)
			}
		})
	}
}

// A connection that breaks after the last candidate has finished takes only
// the usage with it.
func TestBreakAfterTheEndIsWhole(t *testing.T) {
	b := to(t, func(w http.ResponseWriter, r *http.Request) {
		says(content(`"hi"`)+stop)(w, r)
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}, nil)
	if a, err := hear(t, b); err != io.EOF || a.Candidates[0].Content != "hi" || a.Used != 0 {
		t.Errorf("answer is %+v, %v", a, err)
	}
}

func TestOnlyTheLastUsageCounts(t *testing.T) {
	usage := func(n int) string {
		return fmt.Sprintf("data: {\"choices\":[],\"usage\":{\"completion_tokens\":%d}}\n\n", n)
	}
	a, err := hear(t, to(t, says(usage(1)+content(`"hi"`)+usage(2)+stop+usage(3)+"data: {\"choices\":[],\"usage\":null}\n\ndata: {\"usage\":\"none\"}\n\n"), nil))
	n, _ := a.Usage.Get(accounting.Output)
	if _, known := a.Usage.InputTokens(); err != io.EOF || a.Used != 1 || n != 3 || known {
		t.Errorf("usage came %d times, %d, %v", a.Used, n, err)
	}
	if a.Model != "m-1" && a.Model != "" {
		t.Errorf("model is %q", a.Model)
	}
}

func TestEndlessLineIsCutShort(t *testing.T) {
	b := to(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "data: ")
		for block := strings.Repeat("x", 1<<20); r.Context().Err() == nil; {
			if _, err := io.WriteString(w, block); err != nil {
				return
			}
		}
	}, nil)
	if _, err := hear(t, b); backend.ClassOf(err) != backend.Protocol || !strings.Contains(err.Error(), "too long") {
		t.Errorf("stream ended with %v", err)
	}
}

func TestConnectionIsUsedAgain(t *testing.T) {
	// The response ends only when its reader has all of the answer, so the
	// connection is free only for one who waits for that.
	whole := make(chan struct{})
	b := to(t, func(w http.ResponseWriter, r *http.Request) {
		says(content(`"hi"`)+stop+"data: [DONE]\n\n")(w, r)
		w.(http.Flusher).Flush()
		<-whole
	}, nil)
	var again atomic.Int32
	for range 4 {
		ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
			if i.Reused {
				again.Add(1)
			}
		}})
		s, err := b.Generate(ctx, hello())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := backendtest.Read(s, 1); err != io.EOF {
			t.Fatal(err)
		}
		whole <- struct{}{}
		s.Close()
	}
	if again.Load() != 3 {
		t.Errorf("%d of 3 calls used a connection again", again.Load())
	}
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	tls := httptest.NewTLSServer(says(stop))
	tls.Config.ErrorLog = discard
	defer tls.Close()
	plain := httptest.NewServer(says(stop))
	defer plain.Close()
	hangUp := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	hangUp.Config.ErrorLog = discard
	defer hangUp.Close()
	for url, class := range map[string]backend.Class{
		"http://" + l.Addr().String(): backend.Unreachable,
		"http://no-such-host.invalid": backend.Unreachable,
		tls.URL:                       backend.Unreachable, // nobody knows its certificate
		strings.Replace(plain.URL, "http:", "https:", 1): backend.Unreachable,
		hangUp.URL: backend.Broken,
	} {
		b, err := openai.New(openai.Config{Name: "east", URL: url, Key: testKey})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		_, err = b.Generate(context.Background(), hello())
		if err == nil || backend.ClassOf(err) != class || strings.Contains(err.Error(), testKey) {
			t.Errorf("%s: %v, want class %s", url, err, class)
		}
		if _, err = b.Models(context.Background()); err == nil || backend.ClassOf(err) != class {
			t.Errorf("%s: models: %v, want class %s", url, err, class)
		}
	}
}

// A connection that the server closes as it is used again costs no call; one
// that it closes at its first use is not tried again.
func TestStaleConnectionIsReplaced(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var asked, marked atomic.Int32
	var served sync.WaitGroup
	body := content(`"hi"`) + stop + "data: [DONE]\n\n"
	// Connection n (from 0) answers its first call, hangs up on its second;
	// connection 2 hangs up at once.
	served.Go(func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			in := bufio.NewReader(c)
			for call := range 2 {
				r, err := http.ReadRequest(in)
				if err != nil {
					break
				}
				io.Copy(io.Discard, r.Body)
				asked.Add(1)
				if _, sent := r.Header["Idempotency-Key"]; sent {
					marked.Add(1)
				}
				if call == 1 || n == 2 {
					break
				}
				fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			}
			c.Close()
		}
	})
	b, err := openai.New(openai.Config{Name: "east", URL: "http://" + l.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	for call, want := range []struct {
		err   error
		asked int32
	}{{io.EOF, 1}, {io.EOF, 3}, {nil, 5}} { // the last: its stale connection, then one that is new
		_, err := hear(t, b)
		if want.err != nil && err != want.err || want.err == nil && (err == nil || backend.ClassOf(err) != backend.Broken) {
			t.Errorf("call %d: %v, want %v", call, err, want.err)
		}
		if got := asked.Load(); got != want.asked {
			t.Errorf("call %d: the server was asked %d times by now, want %d", call, got, want.asked)
		}
	}
	if marked.Load() > 0 {
		t.Error("the mark was sent")
	}
	b.Close()
	l.Close()
	served.Wait()
}

// What has been read and not been asked for is gone after Close.
func TestCloseDropsWhatIsLeft(t *testing.T) {
	s, err := to(t, says(content(`"hi"`)+stop), nil).Generate(context.Background(), hello())
	if err != nil {
		t.Fatal(err)
	}
	if e, err := s.Recv(); err != nil || e.Kind != backend.Started { // the text of the same chunk waits
		t.Fatalf("first event is %+v, %v", e, err)
	}
	s.Close()
	if e, err := s.Recv(); err == nil || !strings.Contains(err.Error(), "do not call Recv after Close") {
		t.Errorf("event after Close is %+v, %v", e, err)
	}
}

func TestHeaderTimeout(t *testing.T) {
	b := to(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body); <-r.Context().Done() },
		func(c *openai.Config) { c.HeaderTimeout = time.Millisecond })
	if _, err := b.Generate(context.Background(), hello()); err == nil || backend.ClassOf(err) != backend.Overloaded {
		t.Errorf("no answer: %v", err)
	}
}

// A redirect would take the key and the prompt elsewhere.
func TestRedirectIsNotFollowed(t *testing.T) {
	var reached atomic.Bool
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Store(true) }))
	defer other.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		b := to(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL+"/v1?token=t0ken", status) }, nil)
		for _, call := range []func() error{
			func() error { _, err := b.Generate(context.Background(), hello()); return err },
			func() error { _, err := b.Models(context.Background()); return err },
		} {
			if err := call(); err == nil || backend.ClassOf(err) != backend.Protocol || !strings.Contains(err.Error(), "redirects to host 127.0.0.1") || strings.Contains(err.Error(), "t0ken") {
				t.Errorf("status %d: %v", status, err)
			}
		}
	}
	if reached.Load() {
		t.Error("a redirect was followed")
	}
}

// A server may repeat what it was sent: in a refusal, in a stream, in HTML.
func TestNoErrorShowsASecret(t *testing.T) {
	echo := func(status int, kind, before, after string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			io.WriteString(w, before+r.Header.Get("Authorization")+" "+r.Header.Get("X-Token")+after)
		}
	}
	filler := strings.Repeat("x", 480) // the text is cut short in the middle of the key
	for name, h := range map[string]http.HandlerFunc{
		"refusal": echo(401, "application/json", `{"error":{"message":"bad key `, `"}}`),
		"code":    echo(400, "application/json", `{"error":{"message":"m","code":"`, `"}}`),
		"text":    echo(500, "text/plain", "", ""),
		"cut":     echo(500, "text/plain", filler, ""),
		"html":    echo(502, "text/html", "<html><title>", "</title></html>"),
		"ok":      echo(200, "application/json", `{"error":"`, `"}`),
		"stream":  echo(200, "text/event-stream", `data: {"error":{"message":"`+filler, `"}}`+"\n\n"),
		"event":   echo(200, "text/event-stream", "event: error\ndata: "+filler, "\n\n"),
		"kind":    echo(200, "text/t0ps3cret", "", ""),
		"chunk":   echo(200, "text/event-stream", "data: ", "\n\n"),
	} {
		_, err := hear(t, to(t, h, func(c *openai.Config) { c.Header = http.Header{"X-Token": {"Token t0ps3cret"}} }))
		if err == nil || err == io.EOF {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, secret := range []string{testKey[:12], "t0ps3cret"} {
			if strings.Contains(fmt.Sprintf("%v %+v", err, err), secret) {
				t.Errorf("%s: error shows a secret: %v", name, err)
			}
		}
	}
	c := openai.Config{Name: "east", URL: "http://h/v1", Key: testKey}
	b, err := openai.New(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprintf("%v %+v %#v %s", c, c, c, c), fmt.Sprintf("%v %+v %s", b, b, b)} {
		if strings.Contains(s, testKey) {
			t.Errorf("printed is %s", s)
		}
	}
}

func TestOnlyKnownFieldsAreRead(t *testing.T) {
	chunk := map[string]any{
		"x": "leak", "system_fingerprint": "leak", "id": "leak", "service_tier": "leak",
		"choices": []any{map[string]any{"index": 0, "finish_reason": "stop", "text": "leak", "message": map[string]any{"content": "leak"},
			"delta": map[string]any{"content": "hi", "annotations": []string{"leak"}, "function_call": map[string]any{"name": "leak"}, "audio": "leak",
				"tool_calls": []any{map[string]any{"type": "leak", "function": map[string]any{"name": "f", "arguments": "{}", "x": "leak"}}}}}},
	}
	raw, err := json.Marshal(chunk)
	if err != nil {
		t.Fatal(err)
	}
	a, err := hear(t, to(t, says("data: "+string(raw)+"\n\n"), nil))
	if err != io.EOF || strings.Contains(fmt.Sprintf("%+v", a), "leak") || a.Candidates[0].Content != "hi" {
		t.Errorf("answer is %+v, %v", a, err)
	}
}

// What a server says of itself is told once, with the answer's header.
func TestSignals(t *testing.T) {
	asked := ""
	b := to(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r.Header.Get("endpoint-load-metrics-format")
		w.Header().Set("x-ratelimit-remaining-requests", "0")
		w.Header().Set("x-ratelimit-reset-requests", "1m0s")
		w.Header().Set("endpoint-load-metrics", "TEXT named_metrics.num_requests_waiting=2.0")
		says(content(`"quiet"`)+"data: [DONE]\n\n")(w, r)
	}, func(c *openai.Config) { c.LoadReports = true })
	s, err := b.Generate(t.Context(), hello())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	said := s.(backend.Signaller).Signals()
	if asked != "text" || said.Spent != time.Minute || said.Load == nil || *said.Load.Waiting != 2 {
		t.Errorf("asked for %q, got %+v", asked, said)
	}
	if again := s.(backend.Signaller).Signals(); again != (backend.Signals{}) {
		t.Errorf("told again: %+v", again)
	}
}

// changing is a key that a server has not heard of yet, once it is refused.
func changing(keys ...string) credential.Key {
	return func(_ context.Context, refused string) (string, error) {
		for len(keys) > 1 && keys[0] == refused {
			keys = keys[1:]
		}
		if keys[0] == "" {
			return "", errors.New("key_file x: it gives no key")
		}
		return keys[0], nil
	}
}

func TestARefusedKeyIsReplacedOnce(t *testing.T) {
	for name, c := range map[string]struct {
		keys  []string
		asked string
		says  string // of the failure
	}{
		"good":                {[]string{"sk-good"}, "sk-good", ""},
		"replaced":            {[]string{"sk-old", "sk-good"}, "sk-old sk-good", ""},
		"no newer one":        {[]string{"sk-old"}, "sk-old", "[secret] is wrong"},
		"the next is no good": {[]string{"sk-old", "sk-older", "sk-good"}, "sk-old sk-older", "[secret] is wrong"},
		"none":                {[]string{""}, "", "there is no key: key_file x"},
		"none any more":       {[]string{"sk-old", ""}, "sk-old", "there is no key: key_file x"},
	} {
		t.Run(name, func(t *testing.T) {
			var asked []string
			keys := c.keys
			b := to(t, func(w http.ResponseWriter, r *http.Request) {
				_, key, _ := strings.Cut(r.Header.Get("Authorization"), "Bearer ")
				asked = append(asked, key)
				if body, err := io.ReadAll(r.Body); err != nil || len(body) == 0 {
					t.Errorf("the body is %q, %v", body, err)
				}
				if key != "sk-good" {
					w.WriteHeader(http.StatusUnauthorized)
					fmt.Fprintf(w, `{"error":{"message":"%s is wrong"}}`, key)
					return
				}
				says(content(`"quiet"`)+"data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")(w, r)
			}, func(c *openai.Config) { c.Key, c.KeyFrom = "", changing(keys...) })
			_, err := hear(t, b)
			if got := strings.Join(asked, " "); got != c.asked {
				t.Errorf("the server was asked with %q, want %q", got, c.asked)
			}
			switch {
			case c.says == "" && err != io.EOF:
				t.Error(err)
			case c.says != "" && (backend.ClassOf(err) != backend.Credentials || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "sk-")):
				t.Errorf("%v, want %q", err, c.says)
			}
		})
	}
}
