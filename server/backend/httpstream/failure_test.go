package httpstream

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/credential"
)

var noSecrets = credential.Hiding(nil)

func TestClassify(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		class  backend.Class
		says   string
	}{
		{401, `{"error":{"message":"Incorrect API key","type":"invalid_request_error","code":"invalid_api_key"}}`, backend.Credentials, "invalid_request_error invalid_api_key: Incorrect API key"},
		{403, `forbidden`, backend.Credentials, "forbidden"},
		{404, `{"error":{"message":"The model does not exist","code":"model_not_found"}}`, backend.ModelMissing, "does not exist"},
		{404, `{"detail":"Not Found"}`, backend.ModelMissing, "Not Found"},
		{404, `{"error":"model 'x' not found"}`, backend.ModelMissing, "model 'x' not found"}, // Ollama
		{400, `{"error":{"message":"unknown","code":"model_not_found"}}`, backend.ModelMissing, "unknown"},
		{400, `{"error":{"message":"too long","code":"context_length_exceeded"}}`, backend.ContextExceeded, "too long"},
		{400, `{"object":"error","message":"This model's maximum context length is 4096 tokens.","type":"BadRequestError","code":400}`, backend.ContextExceeded, "BadRequestError 400: This model's"},
		{400, `{"error":{"code":400,"message":"the request exceeds the available context size, try increasing it","type":"exceed_context_size_error"}}`, backend.ContextExceeded, "available context size"},
		{500, `{"error":{"code":500,"message":"the request exceeds the available context size"}}`, backend.ContextExceeded, "available"},
		{400, `{"message":"The input (9 tokens) is longer than the model's context length (8 tokens)."}`, backend.ContextExceeded, "longer"},
		{422, `{"error":"Input validation error: ` + "`inputs` tokens + `max_new_tokens` must be <= 4096" + `","error_type":"validation"}`, backend.ContextExceeded, "Input validation"},
		{400, `{"error":{"message":"bad temperature"}}`, backend.Rejected, "bad temperature"},
		{422, `{"detail":[{"loc":["body","n"],"msg":"too small"}]}`, backend.Rejected, "too small"},
		{413, ``, backend.Rejected, "server gave no reason"},
		{429, `{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}`, backend.RateLimited, "quota"},
		{429, `[{"error":{"code":429,"message":"Resource exhausted","status":"RESOURCE_EXHAUSTED"}}]`, backend.RateLimited, "RESOURCE_EXHAUSTED 429: Resource exhausted"},
		{402, `{"error":{"message":"Insufficient Balance"}}`, backend.RateLimited, "Insufficient"},
		{503, `{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}`, backend.Overloaded, "Loading model"},
		{529, `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, backend.Overloaded, "overloaded_error"},
		{400, `{"type":"error","error":{"type":"invalid_request_error","message":"input length and ` + "`max_tokens`" + ` exceed context limit: 9 + 9 > 10"}}`, backend.ContextExceeded, "exceed context limit"}, // Anthropic
		{400, `{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low"}}`, backend.RateLimited, "credit balance"},
		{0, `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, backend.Overloaded, "overloaded_error: Overloaded"},
		{0, `{"type":"error","error":{"type":"not_found_error","message":"model: x"}}`, backend.ModelMissing, "not_found_error"},
		{500, `Internal Server Error`, backend.Failed, "Internal Server Error"},
		{502, "<html>\r\n<head><TITLE>502 Bad\nGateway</TITLE></head></html>", backend.Failed, `HTML page "502 Bad\nGateway"`},
		{504, "<!doctype html><body>secret of a page", backend.Failed, "an HTML page"},
		{408, ``, backend.Failed, "no reason"},
		{405, `Method Not Allowed`, backend.Protocol, "Not Allowed"},
		{204, ``, backend.Protocol, "no reason"},
		{0, `{"error":{"message":"slow","code":"429"}}`, backend.RateLimited, "slow"},
		{0, `{"error":{"message":"slow","type":"rate_limit_error"}}`, backend.RateLimited, "slow"},
		{0, `{"error":{"message":"x","type":"authentication_error"}}`, backend.Credentials, "x"},
		{0, `{"error":{"message":"x","type":"invalid_request_error"}}`, backend.Rejected, "x"},
		{0, `{"error":{"message":"x","code":{"odd":1},"type":[]}}`, backend.Failed, "x"},
		{0, `{"error":{}}`, backend.Failed, "{}"},
		{0, `{"error":true}`, backend.Failed, "true"},
	} {
		e := classify(c.status, parseFailure([]byte(c.body), noSecrets))
		if e.Class != c.class || !strings.Contains(e.Detail, c.says) {
			t.Errorf("%d %s:\n got %s: %s\nwant %s: %s", c.status, c.body, e.Class, e.Detail, c.class, c.says)
		}
	}
}

func TestFailureIsBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		body := rapid.SampledFrom([]string{`{"error":{"message":"`, `{"detail":[`, `<title>`, ``, `[[[[{"error":`, `{"code":"`}).Draw(t, "head") +
			strings.Repeat(rapid.StringN(0, 5, -1).Draw(t, "text"), 1000) + rapid.SampledFrom([]string{`"}}`, `]}`, `</title>`, ``, `"}`}).Draw(t, "tail")
		e := classify(rapid.SampledFrom([]int{0, 400, 500}).Draw(t, "status"), parseFailure([]byte(body), noSecrets))
		if e.Class == "" || e.Detail == "" || len(e.Detail) > 4*maxDetail || strings.ContainsAny(e.Detail, "\n\r") {
			t.Fatalf("error is %q, %d bytes", e.Detail, len(e.Detail))
		}
	})
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		after, ms string
		want      time.Duration
	}{
		{"", "", 0},
		{"2", "", 2 * time.Second},
		{" 1.5 ", "", 1500 * time.Millisecond},
		{"2", "250", 250 * time.Millisecond},
		{"2", "soon", 2 * time.Second},
		{"Wed, 01 Jul 2026 12:00:30 GMT", "", 30 * time.Second},
		{"Wed, 01 Jul 2026 11:00:30 GMT", "", 0},
		{"Fri, 01 Jul 2050 11:00:30 GMT", "", maxRetryAfter},
		{"-3", "", 0}, {"NaN", "", 0}, {"Inf", "", 0}, {"soon", "", 0},
		{"1e300", "", maxRetryAfter},
	} {
		h := http.Header{}
		h.Set("Retry-After", c.after)
		h.Set("Retry-After-Ms", c.ms)
		if got := retryAfter(h, now); got != c.want {
			t.Errorf("%q, %q: %v, want %v", c.after, c.ms, got, c.want)
		}
	}
}

func TestAnswersThatAreNoStream(t *testing.T) {
	c := New(Config{Name: "east", URL: "http://h/v1"})
	for _, a := range []struct {
		status     int
		kind, body string
		class      backend.Class
	}{
		{200, "application/json", `{"error":{"message":"no","code":401}}`, backend.Credentials},
		{200, "application/json", `{"object":"error","message":"no","code":404}`, backend.ModelMissing},
		{200, "application/json", `{"choices":[{"message":{"content":"qqq"}}]}`, backend.Protocol},
		{200, "text/html", `<html>log in</html>`, backend.Protocol},
		{204, "", ``, backend.Protocol},
		{307, "", ``, backend.Protocol},
	} {
		err := c.refusal(&http.Response{StatusCode: a.status, Header: http.Header{"Content-Type": {a.kind}}, Body: io.NopCloser(strings.NewReader(a.body))})
		if err == nil || backend.ClassOf(err) != a.class || strings.Contains(err.Error(), "qqq") {
			t.Errorf("%d %s: %v, want class %s", a.status, a.body, err, a.class)
		}
	}
}
