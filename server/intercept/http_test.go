package intercept

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/weir-gateway/weir/server/auth"
	"github.com/weir-gateway/weir/server/face"
	"github.com/weir-gateway/weir/server/gateway"
)

// tellPlain says an error by its reason.
func tellPlain(w http.ResponseWriter, r *http.Request, err error) {
	trail := face.TrailOf(r.Context())
	trail.Err = err
	f := face.Explain(err, trail.RequestID)
	http.Error(w, string(f.Reason)+" "+f.Message, f.HTTP)
}

func TestHTTPChain(t *testing.T) {
	chain, log, registry := newChain(t)
	var handle http.HandlerFunc
	server := httptest.NewServer(chain.HTTP(tellPlain)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		face.TrailOf(r.Context()).Route = "POST /v1/test"
		handle(w, r)
	})))
	defer server.Close()

	for _, c := range []struct {
		name   string
		header [2]string
		handle http.HandlerFunc
		status int
		body   string
		line   map[string]any
	}{
		{"ok", [2]string{"Authorization", "Bearer " + secret}, func(w http.ResponseWriter, r *http.Request) {
			caller, _ := auth.FromContext(r.Context())
			fmt.Fprint(w, caller.Tenant)
		}, 200, "acme", map[string]any{"code": "200", "tenant": "acme", "key": "k1", "method": "POST /v1/test", "level": "INFO"}},
		{"x-api-key", [2]string{"x-api-key", secret}, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNoContent)
		}, 204, "", map[string]any{"code": "204"}},
		{"no key", [2]string{"x-other", ""}, nil, 401, "CREDENTIALS_INVALID", map[string]any{"code": "401", "reason": "CREDENTIALS_INVALID", "tenant": "", "method": "other"}},
		{"store away", [2]string{"x-api-key", "away"}, nil, 503, "STORE_UNAVAILABLE", map[string]any{"code": "503", "level": "WARN"}},
		{"panic", [2]string{"x-api-key", secret}, func(http.ResponseWriter, *http.Request) { panic("canary of a panic") },
			500, "INTERNAL internal error", map[string]any{"code": "500", "reason": "INTERNAL", "level": "ERROR"}},
		{"client gone", [2]string{"x-api-key", secret}, func(_ http.ResponseWriter, r *http.Request) {
			face.TrailOf(r.Context()).Err = &gateway.Error{Reason: gateway.Cancelled}
		}, 200, "", map[string]any{"code": "499", "reason": "CANCELLED"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			handle = c.handle
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/canary-path", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set(c.header[0], c.header[1])
			req.Header.Set("X-Request-Id", "theirs")
			answer, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			body, _ := io.ReadAll(answer.Body)
			if answer.StatusCode != c.status || !strings.Contains(string(body), c.body) || strings.Contains(string(body), "canary") {
				t.Errorf("got %d %q", answer.StatusCode, body)
			}
			id := answer.Header.Get("x-weir-request-id")
			if u, err := uuid.Parse(id); err != nil || u.Version() != 7 || answer.Header.Get("x-request-id") != id {
				t.Errorf("ids are %q and %q", id, answer.Header.Get("x-request-id"))
			}
			line := log.last(t)
			if line["request_id"] != id || line["client_request_id"] != "theirs" {
				t.Errorf("line is %v", line)
			}
			for k, v := range c.line {
				if line[k] != v {
					t.Errorf("line has %s %v, want %v", k, line[k], v)
				}
			}
		})
	}
	if text := log.String(); strings.Contains(text, secret) || strings.Contains(text, "canary-path") {
		t.Errorf("the log holds a secret or a path:\n%s", text)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]uint64{}
	for _, f := range families {
		if f.GetName() == "weir_http_request_duration_seconds" {
			for _, m := range f.GetMetric() {
				seen[m.GetLabel()[1].GetValue()+" "+m.GetLabel()[0].GetValue()] = m.GetHistogram().GetSampleCount()
			}
		}
	}
	if seen["POST /v1/test 200"] != 1 || seen["other 401"] != 1 || seen["POST /v1/test 500"] != 1 {
		t.Errorf("metrics are %v", seen)
	}
}

// A panic behind the head of an answer must not look like its end.
func TestPanicInMidAnswerBreaksTheConnection(t *testing.T) {
	chain, log, _ := newChain(t)
	server := httptest.NewServer(chain.HTTP(tellPlain)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "half")
		w.(http.Flusher).Flush()
		panic("broken")
	})))
	defer server.Close()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
	req.Header.Set("x-api-key", secret)
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if body, err := io.ReadAll(answer.Body); err == nil {
		t.Errorf("the answer %q looks whole", body)
	}
	if line := log.last(t); line["reason"] != "INTERNAL" || line["level"] != "ERROR" {
		t.Errorf("line is %v", line)
	}
}

// Whoever wants to flush, or to set a deadline, must reach the real writer.
func TestTheWriterStillFlushes(t *testing.T) {
	chain, _, _ := newChain(t)
	release := make(chan struct{})
	server := httptest.NewServer(chain.HTTP(tellPlain)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		control := http.NewResponseController(w)
		if err := control.SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Errorf("deadline: %v", err)
		}
		fmt.Fprint(w, "first")
		if err := control.Flush(); err != nil {
			t.Errorf("flush: %v", err)
		}
		<-release
	})))
	defer server.Close()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
	req.Header.Set("x-api-key", secret)
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	first := make([]byte, 5)
	if _, err := io.ReadFull(answer.Body, first); err != nil || string(first) != "first" { // hangs where nothing is flushed
		t.Errorf("read %q: %v", first, err)
	}
	close(release)
}

func TestTidy(t *testing.T) {
	for in, want := range map[string]string{
		"abc-1": "abc-1", "a\nb\tc": "abc", "长a": "a", strings.Repeat("y", 300): strings.Repeat("y", 128), "": "",
	} {
		if got := tidy(in); got != want {
			t.Errorf("tidy(%q) = %q", in, got)
		}
	}
}

func TestACallerThatLeavesIsNotAnAbsentStore(t *testing.T) {
	chain, _, _ := newChain(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := chain.authenticate(ctx, "", "away"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
