package httpstream

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/credential"
)

// A failure is what a server says of its error, in whatever shape.
type failure struct {
	message string
	code    string // of the vendor, such as context_length_exceeded
	kind    string // the vendor's type of error
}

// StreamFailure is the error that an event of a stream tells of.
func StreamFailure(data []byte, secrets *credential.Hider) error {
	return classify(0, parseFailure(data, secrets))
}

// Failure turns an answer that is not what was asked for into an error, and
// closes it.
func (c *Client) Failure(resp *http.Response) error {
	defer resp.Body.Close()
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		to := "elsewhere"
		if u, err := url.Parse(resp.Header.Get("Location")); err == nil && u.Host != "" {
			to = "host " + u.Host
		}
		return c.named(&backend.Error{Class: backend.Protocol, Status: resp.StatusCode,
			Detail: fmt.Sprintf("server redirects to %s, which is not followed with a key: set url to where the API is", to)})
	}
	// What cannot be read of the body is missing in the detail only.
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	f := parseFailure(body, c.Secrets)
	if resp.StatusCode == http.StatusOK {
		if f.message == "" || !tellsOfError(body) {
			return c.named(&backend.Error{Class: backend.Protocol, Status: resp.StatusCode,
				Detail: fmt.Sprintf("server answered with %q instead of a stream", resp.Header.Get("Content-Type"))})
		}
		return c.named(classify(0, f))
	}
	e := classify(resp.StatusCode, f)
	now := time.Now()
	e.RetryAfter = retryAfter(resp.Header, now)
	if e.RetryAfter == 0 && e.Class == backend.RateLimited {
		e.RetryAfter = spent(resp.Header, now)
	}
	return c.named(e)
}

// tellsOfError tells whether a body is JSON that speaks of an error.
func tellsOfError(body []byte) bool {
	var at struct {
		Error  json.RawMessage `json:"error"`
		Object json.RawMessage `json:"object"`
	}
	return json.Unmarshal(unlisted(body), &at) == nil && (Present(at.Error) || string(at.Object) == `"error"`)
}

// unlisted takes an object out of the list that Gemini's servers put it in.
func unlisted(body []byte) []byte {
	body = bytes.TrimSpace(body)
	if len(body) > 0 && body[0] == '[' {
		var list []json.RawMessage
		if json.Unmarshal(body, &list) == nil && len(list) > 0 {
			return list[0]
		}
	}
	return body
}

// parseFailure reads the shapes in which servers tell of an error:
// {"error":{…}}, {"error":"text"}, {"detail":…}, the fields of an error at the
// top, a list around any of them, HTML, and plain text. Secrets are hidden
// before anything is cut short.
func parseFailure(body []byte, secrets *credential.Hider) failure {
	body = unlisted(body)
	var at struct {
		Error   json.RawMessage `json:"error"`
		Message json.RawMessage `json:"message"`
		Msg     json.RawMessage `json:"msg"`
		Detail  json.RawMessage `json:"detail"`
		Code    json.RawMessage `json:"code"`
		Type    json.RawMessage `json:"type"`
		Status  json.RawMessage `json:"status"`
	}
	if len(body) == 0 || body[0] != '{' || json.Unmarshal(body, &at) != nil {
		return failure{message: plainText([]byte(secrets.Replace(string(body))))}
	}
	if Present(at.Error) {
		inner := bytes.TrimSpace(at.Error)
		if inner[0] == '{' {
			return parseFailure(inner, secrets)
		}
		at.Message = at.Error
	}
	hidden := func(s string) string { return trim(secrets.Replace(s)) }
	f := failure{code: hidden(scalar(at.Code)), kind: hidden(scalar(at.Type))}
	if f.kind == "" {
		f.kind = hidden(scalar(at.Status))
	}
	for _, raw := range []json.RawMessage{at.Message, at.Detail, at.Msg} {
		if f.message == "" && Present(raw) {
			if f.message = StringOf(raw); f.message == "" {
				f.message = string(raw) // a list of what is wrong with the fields
			}
		}
	}
	if f.message == "" {
		f.message = string(body)
	}
	f.message = hidden(f.message)
	return f
}

// scalar returns a JSON string or number as text.
func scalar(raw json.RawMessage) string {
	if !Present(raw) {
		return ""
	}
	if raw[0] == '"' {
		return StringOf(raw)
	}
	var n json.Number
	if json.Unmarshal(raw, &n) != nil {
		return ""
	}
	return n.String()
}

// plainText makes a line of a body that is no JSON.
func plainText(body []byte) string {
	if len(body) == 0 {
		return ""
	}
	if body[0] != '<' {
		return trim(string(body))
	}
	lower := bytes.ToLower(body)
	if from := bytes.Index(lower, []byte("<title>")); from >= 0 && len(lower) == len(body) {
		from += len("<title>")
		if n := bytes.IndexByte(body[from:], '<'); n > 0 {
			return trim(fmt.Sprintf("HTML page %q", strings.TrimSpace(string(body[from:from+n]))))
		}
	}
	return "an HTML page"
}

// maxErrorBody is the most that is read of an answer that tells of an error.
const maxErrorBody = 64 << 10

// maxDetail bounds what an error says in the server's words, in bytes.
const maxDetail = 500

func trim(s string) string {
	cut := ""
	if len(s) > maxDetail {
		s, cut = s[:maxDetail], " …"
	}
	return strings.Join(strings.Fields(strings.ToValidUTF8(s, "\uFFFD")), " ") + cut
}

// tooLong are the words by which servers say that a prompt exceeds a model's
// context: OpenAI, vLLM, llama.cpp, SGLang, TGI, DashScope, Anthropic.
var tooLong = []string{
	"context_length_exceeded",
	"exceed_context_size",
	"exceeds the available context size",
	"maximum context length",
	"model's context length",
	"context length exceeded",
	"exceeds the context window",
	"exceeds the model's maximum",
	"prompt is too long",
	"max_new_tokens` must be <=",
	"range of input length should be",
	"exceed context limit",
}

// classify sorts an error. Status is 0 for one that came in a stream.
func classify(status int, f failure) *backend.Error {
	e := &backend.Error{Status: status, Detail: f.message}
	var label []string
	for _, s := range []string{f.kind, f.code} {
		if s != "" {
			label = append(label, s)
		}
	}
	if len(label) > 0 {
		e.Detail = strings.TrimSuffix(strings.Join(label, " ")+": "+f.message, ": ")
	}
	if e.Detail == "" {
		e.Detail = "server gave no reason"
	}
	if status == 0 { // many write the status that it would have had as the code
		if n, err := strconv.Atoi(f.code); err == nil && n >= 400 && n < 600 {
			e.Status, status = n, n
		}
	}
	labels := strings.ToLower(f.code + " " + f.kind)
	words := strings.ToLower(f.message) + " " + labels
	has := func(list ...string) bool {
		for _, s := range list {
			if strings.Contains(labels, s) {
				return true
			}
		}
		return false
	}
	exceeded := false
	for _, s := range tooLong {
		exceeded = exceeded || strings.Contains(words, s)
	}
	switch {
	case status == 401 || status == 403:
		e.Class = backend.Credentials
	case status == 402 || status == 429 || has("insufficient_quota", "rate_limit", "resource_exhausted") || strings.Contains(words, "credit balance is too low"):
		e.Class = backend.RateLimited
	case exceeded:
		e.Class = backend.ContextExceeded
	case status == 404 || has("model_not_found", "not_found_error"):
		e.Class = backend.ModelMissing
	case status == 503 || status == 529 || has("overloaded", "unavailable"):
		e.Class = backend.Overloaded
	case status == 405 || status == 406 || status == 415:
		e.Class = backend.Protocol // the URL is not that of the API
	case status >= 400 && status < 500 && status != 408 && status != 409 && status != 425:
		e.Class = backend.Rejected
	case status >= 400:
		e.Class = backend.Failed
	case status >= 100: // 201, 204: no stream and no error
		e.Class = backend.Protocol
	case has("authentication", "invalid_api_key", "permission"):
		e.Class = backend.Credentials
	case has("invalid_request", "badrequest"):
		e.Class = backend.Rejected
	default:
		e.Class = backend.Failed
	}
	return e
}

// maxRetryAfter bounds what a server can ask for.
const maxRetryAfter = 24 * time.Hour

// units reads a number of units of time.
func units(s string, unit time.Duration) (time.Duration, bool) {
	f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || !(f >= 0) || math.IsInf(f, 0) {
		return 0, false
	}
	return time.Duration(min(f*float64(unit), float64(maxRetryAfter))), true
}

// retryAfter reads how long a server asks to be left alone: milliseconds
// first, then seconds, then a date.
func retryAfter(h http.Header, now time.Time) time.Duration {
	if d, ok := units(h.Get("Retry-After-Ms"), time.Millisecond); ok {
		return d
	}
	s := h.Get("Retry-After")
	if d, ok := units(s, time.Second); ok {
		return d
	}
	if t, err := http.ParseTime(s); err == nil {
		return min(max(0, t.Sub(now)), maxRetryAfter)
	}
	return 0
}
