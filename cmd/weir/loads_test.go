package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-gateway/weir/server/backend"
)

// pages answers requests for pages of metrics without a network.
type pages func() (string, int)

func (p pages) RoundTrip(*http.Request) (*http.Response, error) {
	text, status := p()
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(text))}, nil
}

func TestLoadsAreAskedForAndEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var heard []string
		var status atomic.Int64
		status.Store(http.StatusOK)
		log := &lockedBuffer{}
		l := newLoads(func(name string, _ time.Time, load *backend.Load) {
			heard = append(heard, fmt.Sprint(name, " ", *load.Waiting))
		}, newLogger(log, LogConfig{Format: "text"}))
		l.client.Transport = pages(func() (string, int) { return "vllm:num_requests_waiting 3\n", int(status.Load()) })
		page := LoadConfig{Metrics: "http://b/metrics", Every: Duration(time.Second)}
		l.use([]BackendConfig{{Name: "b", Load: page}, {Name: "silent"}})
		time.Sleep(2500 * time.Millisecond)
		synctest.Wait()
		if want := []string{"b 3", "b 3", "b 3"}; !slices.Equal(heard, want) {
			t.Errorf("heard %q, want %q", heard, want)
		}
		status.Store(http.StatusNotFound)
		time.Sleep(5 * time.Second)
		status.Store(http.StatusOK)
		time.Sleep(time.Second)
		synctest.Wait()
		if len(heard) != 4 || strings.Count(log.String(), "level=WARN") != 1 || !strings.Contains(log.String(), "status 404") {
			t.Errorf("heard %q, and the log says\n%s", heard, log)
		}
		l.use([]BackendConfig{{Name: "c", Load: page}})
		synctest.Wait()
		if heard[len(heard)-1] != "c 3" {
			t.Errorf("heard %q", heard)
		}
		l.close()
		n := len(heard)
		time.Sleep(time.Minute)
		if len(heard) != n {
			t.Error("a backend is asked after the end")
		}
	})
}

// A Weir that says how busy it is tells the one in front, and nobody else.
func TestLoadReportsOfWeirs(t *testing.T) {
	vllm := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "vllm:num_requests_waiting 5\nvllm:kv_cache_usage_perc 0.25\n")
	}))
	defer vllm.Close()
	inner := serve(t, t.TempDir(), "--config", file(t, "inner.yaml", `
grpc: {load_reports: true}
backends: [{name: sim, kind: simulator, load: {metrics: "`+vllm.URL+`", every: 100ms}}]
models: [{name: sim-text, targets: [{backend: sim}]}]
`))
	inner.apply("{kind: Tenant, name: front}")
	outer := serve(t, t.TempDir(), "--config", file(t, "outer.yaml", `
backends: [{name: inner, kind: weir, url: "http://`+inner.grpc+`", key: "`+inner.createKey("front", "front")+`"}]
models: [{name: chat, targets: [{backend: inner, model: sim-text}]}]
`))
	outer.apply("{kind: Tenant, name: acme}")
	key := outer.createKey("acme", "app")
	told := func(p *process) *backendLoadResult {
		var list struct {
			Backends []struct {
				Targets []struct{ Load *backendLoadResult }
			}
		}
		p.must(&list, p.key(adminKeyFile), "backend", "list", "-o", "json")
		return list.Backends[0].Targets[0].Load
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for told(inner) == nil {
		if ctx.Err() != nil {
			t.Fatal("the page of metrics was never read")
		}
	}
	if l := told(outer); l != nil {
		t.Errorf("before a call it is said that %+v", l)
	}
	outer.must(nil, key, "call", "-m", "chat", "say: hello")
	if l := told(outer); l == nil || *l.Running != 0 || *l.Waiting != 5 || *l.Utilization != 0.25 {
		t.Fatalf("after a call it is said that %+v", l)
	}
	out := outer.must(nil, outer.key(adminKeyFile), "backend", "list")
	if !strings.Contains(out, "0 run, 5 wait, 25 % full") {
		t.Errorf("the list says\n%s", out)
	}
}

// A provider that says that nothing is left is asked again when it has more.
func TestAProvidersOwnRateLimit(t *testing.T) {
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("X-Ratelimit-Remaining-Tokens", "0")
		w.Header().Set("X-Ratelimit-Reset-Tokens", "6m0s")
		io.WriteString(w, `data: {"choices":[{"index":0,"delta":{"content":"hello"},"finish_reason":"stop"}]}`+"\n\ndata: [DONE]\n\n")
	}))
	defer provider.Close()
	p := serve(t, t.TempDir(), "--config", file(t, "weir.yaml", `
backends:
  - {name: cloud, kind: openai, url: "`+provider.URL+`/v1"}
  - {name: spare, kind: simulator}
models: [{name: m, targets: [{backend: cloud}, {backend: spare, model: sim-text, priority: 1}]}]
`))
	p.apply("{kind: Tenant, name: acme}")
	key := p.createKey("acme", "app")
	for _, want := range []string{"cloud", "spare"} {
		var said callResult
		p.must(&said, key, "call", "-m", "m", "-o", "json", "say: hello")
		if said.Target.Backend != want {
			t.Errorf("%s served, want %s: %s", said.Target.Backend, want, said.Target.Reason)
		}
	}
	if out := p.must(nil, p.key(adminKeyFile), "backend", "list"); !strings.Contains(out, "rate limit used up until 20") {
		t.Errorf("the list says\n%s", out)
	}
}
