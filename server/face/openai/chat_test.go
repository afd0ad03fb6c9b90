package openai

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/report"
	"github.com/weir-gateway/weir/server/auth"
	"github.com/weir-gateway/weir/server/backend/simulator"
)

var update = flag.Bool("update", false, "write the golden files anew")

var requestID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`)

// golden compares a text with a file of testdata. Ids are ID in it: they must
// all be the same one.
func golden(t *testing.T, name, got string) {
	t.Helper()
	ids := requestID.FindAllString(got, -1)
	for _, id := range ids {
		if id != ids[0] {
			t.Errorf("two ids in one answer: %s and %s", ids[0], id)
		}
	}
	got = requestID.ReplaceAllString(got, "ID")
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; see it with go test -update and git diff:\n%s", file, got)
	}
}

func request(t *testing.T, model, prompt string, more ...string) string {
	t.Helper()
	text, err := json.Marshal(prompt)
	if err != nil {
		t.Fatal(err)
	}
	fields := append([]string{fmt.Sprintf(`"model": %q`, model), fmt.Sprintf(`"messages": [{"role": "user", "content": %s}]`, text)}, more...)
	return "{" + strings.Join(fields, ", ") + "}"
}

const (
	streamed  = `"stream": true`
	withUsage = `"stream_options": {"include_usage": true}`
	tools     = `"tools": [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}, {"type": "function", "function": {"name": "now"}}]`
)

func TestGolden(t *testing.T) {
	h := newHouse(t, "")
	h.Clock = func() time.Time { return time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC) }
	for _, c := range []struct{ name, body string }{
		{"whole.json", request(t, "sim", "say: Hello <world> & 世界")},
		{"whole-refusal.json", request(t, "sim", "think: hm\nrefuse: I will not.")},
		{"whole-blocked.json", request(t, "sim", "say: before zorblatt behind")},
		{"whole-redacted.json", request(t, "sim", "say: 写信给 a.b@example.com 吧")},
		{"whole-two.json", request(t, "sim", "tokens: 3", `"n": 2`, `"seed": 1`)},
		{"whole-length.json", request(t, "sim", "tokens: 9", `"max_tokens": 2`)},
		{"whole-cached.json", request(t, "cached", "say: from the cache")},
		{"whole-tools.json", request(t, "sim", "call: get_weather {\"city\": \"北京\"}\ncall: now", tools)},
		{"whole-tools-redacted.json", request(t, "sim", "call: get_weather {\"to\": \"a.b@example.com\"}", tools)},
		{"whole-format.json", request(t, "sim", "say: {\"to\": \"a.b@example.com\"}", `"response_format": {"type": "json_object"}`)},
		{"stream-tools.sse", request(t, "sim", "call: get_weather {\"city\": \"北京\"}\ncall: now", tools, streamed, withUsage)},
		{"stream-tools-blocked.sse", request(t, "sim", "call: get_weather {\"city\": \"zorblatt\"}", tools, streamed)},
		{"stream.sse", request(t, "sim", "say: Hello <world> & 世界", streamed)},
		{"stream-usage.sse", request(t, "sim", "say: 你好", streamed, withUsage)},
		{"stream-reasoning.sse", request(t, "sim", "think: 想一想\nrefuse: no", streamed)},
		{"stream-blocked.sse", request(t, "sim", "say: 之前 测试词 之后", streamed, withUsage)},
		{"stream-blocked-whole.sse", request(t, "sim", "say: zorblatt", streamed)},
		{"stream-redacted.sse", request(t, "sim", "say: mail a.b@example.com now", streamed)},
		{"stream-two.sse", request(t, "sim", "tokens: 3", streamed, withUsage, `"n": 2`, `"seed": 1`)},
		{"stream-cut.sse", request(t, "cut", "say: this will break off soon", streamed, withUsage)},
		{"error-blocked.json", request(t, "sim", "this is 违禁 here")},
		{"error-model.json", request(t, "none", "hi")},
		{"error-tools.json", request(t, "sim", "hi", `"tools": [{"type": "function"}]`)},
		{"error-json.json", "{\n  \"model\": \"sim\",\n  \"messages\": [}"},
		{"error-candidates.json", request(t, "sim", "hi", `"n": 100`)},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := h.chat(c.body)
			status := ""
			if w.Code != http.StatusOK {
				status = fmt.Sprintf("%d x-should-retry %s\n", w.Code, w.Header().Get("x-should-retry"))
			}
			golden(t, c.name, status+bodyOf(t, w))
			id := w.Header().Get("x-weir-request-id")
			if !requestID.MatchString(id) || w.Header().Get("x-request-id") != id {
				t.Errorf("headers are %v", w.Header())
			}
			want := "application/json"
			if strings.HasSuffix(c.name, ".sse") {
				want = "text/event-stream; charset=utf-8"
			}
			if got := w.Header().Get("Content-Type"); got != want {
				t.Errorf("content type is %q", got)
			}
		})
	}
}

func TestTheCostIsInTheHeaders(t *testing.T) {
	h := newHouse(t, "")
	w := h.chat(request(t, "sim", "say: four small tokens"))
	if w.Header().Get("x-weir-cost-currency") != "USD" || !strings.HasPrefix(w.Header().Get("x-weir-cost"), "0.0000") {
		t.Errorf("headers are %v", w.Header())
	}
	// A model without a price costs nobody knows what, which is not nothing.
	w = h.chat(request(t, "cached", "say: hi"))
	if _, ok := w.Header()["X-Weir-Cost"]; ok || strings.Contains(w.Body.String(), `"cost"`) {
		t.Errorf("an unknown cost is told: %v %s", w.Header(), w.Body)
	}
}

// errorOf reads an error and proves that it has the four keys.
func errorOf(t *testing.T, body string) map[string]any {
	t.Helper()
	var answer struct {
		Error map[string]any `json:"error"`
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	for _, key := range []string{"message", "type", "param", "code"} {
		if _, ok := answer.Error[key]; !ok {
			t.Errorf("the error lacks %q: %s", key, body)
		}
	}
	return answer.Error
}

func TestErrors(t *testing.T) {
	h := newHouse(t, `---
kind: Tenant
name: poor
---
kind: Budget
name: cap
tenant: poor
limit: 0.000001 USD
window: day
---
kind: Tenant
name: fast
---
kind: Policy
name: slowly
tenant: fast
rates:
  - {per: key, requests: 1/min, burst: 1}
---
kind: Tenant
name: wordy
---
kind: Policy
name: few
tenant: wordy
rates:
  - {per: key, tokens: 1/min}
`)
	// The wait that a refused caller is told must not depend on this machine.
	now := time.Now()
	h.Clock = func() time.Time { return now }
	secrets := map[string]string{"acme": h.secret, "platform": h.Key("", "admin", auth.Platform), "nobody": "weir_canary-unknown"}
	for _, tenant := range []string{"poor", "fast", "wordy"} {
		secrets[tenant] = h.Key(tenant, "k1", auth.Member)
	}
	hi := func(more ...string) string { return request(t, "sim", "canary 金丝雀", more...) }
	if w := h.chat(hi(), "Authorization", "Bearer "+secrets["fast"]); w.Code != http.StatusOK {
		t.Fatalf("the first call of a minute: %d %s", w.Code, w.Body)
	}
	if w := h.chat(hi(), "Authorization", "Bearer "+secrets["wordy"]); w.Code != http.StatusOK {
		t.Fatalf("the first tokens of a minute: %d %s", w.Code, w.Body)
	}

	const chatPath = "/v1/chat/completions"
	for _, c := range []struct {
		name, method, path, who, body string
		status                        int
		kind, code, param             string
		retry                         string
		header                        map[string]string
	}{
		{"key", "POST", chatPath, "nobody", hi(), 401, "authentication_error", "invalid_api_key", "", "false", map[string]string{"WWW-Authenticate": `Bearer realm="weir"`}},
		{"platform", "POST", chatPath, "platform", hi(), 403, "permission_error", "permission_denied", "", "false", nil},
		{"model", "POST", chatPath, "acme", request(t, "none", "canary"), 404, "invalid_request_error", "model_not_found", "model", "false", nil},
		{"blocked", "POST", chatPath, "acme", request(t, "sim", "canary forbidden"), 400, "invalid_request_error", "content_filter", "", "false", nil},
		{"budget", "POST", chatPath, "poor", hi(), 429, "insufficient_quota", "insufficient_quota", "", "false", nil},
		{"unpriced", "POST", chatPath, "poor", request(t, "cached", "canary"), 400, "invalid_request_error", "unpriced_model", "", "false", nil},
		{"rate", "POST", chatPath, "fast", hi(), 429, "rate_limit_error", "rate_limit_exceeded", "", "true", map[string]string{"Retry-After": "60", "x-ratelimit-limit-requests": "1", "x-ratelimit-remaining-requests": "0", "x-ratelimit-limit-tokens": ""}},
		{"token rate", "POST", chatPath, "wordy", hi(), 429, "rate_limit_error", "rate_limit_exceeded", "", "true", map[string]string{"x-ratelimit-limit-tokens": "1", "x-ratelimit-remaining-tokens": "0", "x-ratelimit-limit-requests": ""}},
		{"overloaded", "POST", chatPath, "acme", request(t, "overloaded", "canary"), 503, "server_error", "overloaded", "", "true", map[string]string{"Retry-After": "2", "retry-after-ms": "1500"}},
		{"failed", "POST", chatPath, "acme", request(t, "error", "canary"), 503, "server_error", "backend_unavailable", "", "true", nil},
		{"failed stream", "POST", chatPath, "acme", request(t, "error", "canary", streamed), 503, "server_error", "backend_unavailable", "", "true", nil},
		{"too long", "POST", chatPath, "acme", request(t, "small", strings.Repeat("canary ", 200)), 400, "invalid_request_error", "context_length_exceeded", "", "false", nil},
		{"json", "POST", chatPath, "acme", `{"model": "canary" "x"}`, 400, "invalid_request_error", "", "", "false", nil},
		{"kind", "POST", chatPath, "acme", hi(`"temperature": "canary"`), 400, "invalid_request_error", "", "temperature", "false", nil},
		{"range", "POST", chatPath, "acme", hi(`"top_p": 7`), 400, "invalid_request_error", "", "top_p", "false", nil},
		{"format", "POST", chatPath, "acme", hi(`"response_format": {"type": "canary"}`), 400, "invalid_request_error", "unsupported_parameter", "response_format.type", "false", nil},
		{"candidates", "POST", chatPath, "acme", hi(`"n": 99`), 400, "invalid_request_error", "unsupported_parameter", "n", "false", nil},
		{"label", "POST", chatPath, "acme", hi(), 400, "invalid_request_error", "", "x-weir-label-9", "false", nil},
		{"method", "GET", chatPath, "acme", "", 405, "invalid_request_error", "method_not_allowed", "", "false", map[string]string{"Allow": "POST"}},
		{"models' method", "DELETE", "/v1/models/canary", "acme", "", 405, "invalid_request_error", "method_not_allowed", "", "false", map[string]string{"Allow": "GET"}},
		{"path", "POST", "/v1/canary", "acme", "", 404, "invalid_request_error", "unknown_url", "", "false", nil},
		{"no such model", "GET", "/v1/models/none", "acme", "", 404, "invalid_request_error", "model_not_found", "model", "false", nil},
		{"size", "POST", chatPath, "acme", `{"x": "` + strings.Repeat("y", 32<<20) + `"}`, 413, "invalid_request_error", "request_too_large", "", "false", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			headers := []string{"Authorization", "Bearer " + secrets[c.who]}
			if c.name == "label" {
				headers = append(headers, "x-weir-label-9", "canary")
			}
			w := h.ask(c.method, c.path, c.body, headers...)
			body := bodyOf(t, w)
			if w.Code != c.status {
				t.Fatalf("status %d: %s", w.Code, body)
			}
			e := errorOf(t, body)
			text := func(v any) string {
				if v == nil {
					return ""
				}
				return v.(string)
			}
			if text(e["type"]) != c.kind || text(e["code"]) != c.code || text(e["param"]) != c.param || text(e["message"]) == "" {
				t.Errorf("error is %v", e)
			}
			if w.Header().Get("x-should-retry") != c.retry || (w.Header().Get("Retry-After") != "") != (c.retry == "true") {
				t.Errorf("headers are %v", w.Header())
			}
			for k, v := range c.header {
				if w.Header().Get(k) != v {
					t.Errorf("header %s is %q, want %q", k, w.Header().Get(k), v)
				}
			}
			if strings.Contains(body, "canary") || strings.Contains(body, "金丝雀") {
				t.Errorf("the error repeats what was sent: %s", body)
			}
			if !requestID.MatchString(w.Header().Get("x-weir-request-id")) || w.Header().Get("x-request-id") == "" {
				t.Errorf("no id in the headers: %v", w.Header())
			}
		})
	}
	log := h.Lines.String()
	for _, canary := range []string{"canary", "金丝雀", secrets["acme"], secrets["platform"]} {
		if strings.Contains(log, canary) {
			t.Errorf("%q is in the log", canary)
		}
	}
	if n := strings.Count(log, "msg=call"); n < 20 {
		t.Errorf("%d lines of calls in the log", n)
	}
}

func TestModels(t *testing.T) {
	h := newHouse(t, "")
	w := h.ask(http.MethodGet, "/v1/models", "")
	var list struct {
		Object string
		Data   []struct {
			ID, Object string
			Created    *int64
			OwnedBy    string `json:"owned_by"`
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil {
		t.Fatal(err)
	}
	if list.Object != "list" || len(list.Data) != len(models()) || list.Data[0].ID != "cached" || list.Data[0].Object != "model" || list.Data[0].Created == nil {
		t.Errorf("models are %+v", list)
	}
	if w := h.ask(http.MethodGet, "/v1/models/sim/slow", ""); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"sim/slow"`) {
		t.Errorf("a model with a slash in its name: %d %s", w.Code, w.Body)
	}
}

// What the caller says of a call must reach the ledger.
func TestLabelsReachTheLedger(t *testing.T) {
	h := newHouse(t, "")
	w := h.chat(request(t, "sim", "say: hi", `"user": "u1"`, `"metadata": {"team": "search", "Not A Label": "x", "n": 5}`),
		"x-weir-session", "s1", "X-Weir-Labels", "tier=gold,team=other,where=%E4%B8%8A%E6%B5%B7%2CCN")
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	h.Sync()
	sums, err := h.Store.Sum(t.Context(), report.Query{GroupBy: []string{"labels.team", "labels.tier", "labels.where", "labels.n", report.EndUser, report.Session}})
	if err != nil {
		t.Fatal(err)
	}
	if len(sums.Rows) != 1 || fmt.Sprint(sums.Rows[0].Dimensions) != "[search gold 上海,CN  u1 s1]" {
		t.Errorf("rows are %+v", sums.Rows)
	}
	for header, value := range map[string]string{"x-weir-labels": "team", "x-weir-project": "other"} {
		if w := h.chat(request(t, "sim", "hi"), header, value); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), `"param":"`+header+`"`) {
			t.Errorf("%s: %d %s", header, w.Code, w.Body)
		}
	}
}

// A client that leaves ends the call at the backend.
func TestAClientThatLeaves(t *testing.T) {
	h := newHouse(t, "")
	server := httptest.NewServer(h.handler)
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+"/v1/chat/completions", strings.NewReader(request(t, "stall", "say: one two three four", streamed)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+h.secret)
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	first, err := bufio.NewReader(answer.Body).ReadString('\n') // is here before the model has stalled
	if err != nil || !strings.Contains(first, `"role":"assistant"`) {
		t.Fatalf("first event %q: %v", first, err)
	}
	cancel()
	if how := <-h.Ended; how != simulator.EndedCancelled {
		t.Errorf("the call ended %s at the backend", how)
	}
}

// While nothing is released the connection is kept alive, and the status waits
// no longer; what fails then stands in the stream.
func TestKeepAliveBeforeTheFirstOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := httptest.NewRecorder()
		e := newEvents(w, aliveEvery)
		sent := func() string {
			synctest.Wait()
			e.mu.Lock() // as every writer does
			defer e.mu.Unlock()
			return w.Body.String()
		}
		time.Sleep(aliveEvery - 1) // of the bubble's clock
		if got := sent(); got != "" {
			t.Errorf("sent at once: %q", got)
		}
		time.Sleep(time.Nanosecond)
		if got := sent(); got != ": keep-alive\n\n" {
			t.Errorf("sent %q", got)
		}
		time.Sleep(2 * aliveEvery)
		if got := strings.Count(sent(), ": keep-alive\n\n"); got != 3 {
			t.Errorf("%d comments after three times", got)
		}
		time.Sleep(aliveEvery - 1)
		if err := errors.Join(e.send("x"), e.flush()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(aliveEvery - 1)
		if got := strings.Count(sent(), ": keep-alive\n\n"); got != 3 {
			t.Error("a comment follows an event at once")
		}
		if !e.end() {
			t.Error("the status counts as unsent")
		}
		time.Sleep(3 * aliveEvery)
		synctest.Wait()
		e.keepAlive() // as a timer does that fired just before the end
		if got := sent(); !strings.HasSuffix(got, "data: \"x\"\n\n") {
			t.Errorf("written behind the end: %q", got)
		}
	})
}

func TestASlowModelKeepsItsClient(t *testing.T) {
	h := newHouse(t, "")
	for _, c := range []struct{ name, body, want string }{
		{"answers", request(t, "sim/slow", "say: hi", streamed), "data: [DONE]\n\n"},
		{"fails", request(t, "stall", "say: zor", streamed), `"code":"deadline_exceeded"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := h.chat(c.body)
				body := w.Body.String()
				if w.Code != http.StatusOK || strings.Count(body, ": keep-alive\n\n") < 2 || !strings.Contains(body, c.want) {
					t.Errorf("%d %s", w.Code, body)
				}
				if c.name == "fails" && strings.Contains(body, "[DONE]") {
					t.Errorf("a broken answer looks whole: %s", body)
				}
			})
		})
	}
}

func TestUnknownUsageIsNotZero(t *testing.T) {
	var u accounting.Usage
	u.Set(accounting.Output, 5)
	if got := usageOf(u); got != nil {
		t.Errorf("usage without a prompt is told as %+v", got)
	}
	u.Set(accounting.CacheRead, 7)
	if got := usageOf(u); got == nil || got.PromptTokens != 7 || got.TotalTokens != 12 || got.PromptTokensDetails.CachedTokens != 7 || got.CompletionTokensDetails != nil {
		t.Errorf("usage is told as %+v", got)
	}
}

// refusing is a connection that is gone.
type refusing struct{ *httptest.ResponseRecorder }

func (refusing) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestAWriteThatFailsEndsTheCall(t *testing.T) {
	h := newHouse(t, "")
	r := httptest.NewRequest(http.MethodPost, "/v1/chat/completions", strings.NewReader(request(t, "sim", "tokens: 50", streamed)))
	r.Header.Set("Authorization", "Bearer "+h.secret)
	h.handler.ServeHTTP(refusing{httptest.NewRecorder()}, r)
	select {
	case how := <-h.Ended:
		if how != simulator.EndedCancelled {
			t.Errorf("the call ended %s at the backend", how)
		}
	default:
		t.Error("the handler returned before the call ended at the backend")
	}
	if log := h.Lines.String(); !strings.Contains(log, "reason=CANCELLED") {
		t.Errorf("the log says %s", log)
	}
}
