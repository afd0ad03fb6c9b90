package main

import (
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
)

// One process in front of another, over TLS with the other's own CA.
func TestAWeirBehindAWeir(t *testing.T) {
	a := newAuthority(t)
	a.issue("server", x509.ExtKeyUsageServerAuth)
	inner := serveTLS(t, a, "")
	if code, _, failed := inner.run(inner.key(adminKeyFile), "{kind: Tenant, name: front}", "apply", "--ca", a.file("ca.pem"), "-f", "-"); code != exitOK {
		t.Fatalf("weir apply: %d %s", code, failed)
	}
	var made struct{ Key string }
	inner.must(&made, inner.key(adminKeyFile), "key", "create", "--ca", a.file("ca.pem"), "--tenant", "front", "--name", "front", "-o", "json")

	outer := serve(t, t.TempDir(), "--config", file(t, "weir.yaml", `
backends:
  - {name: inner, kind: weir, url: "https://`+inner.grpc+`", ca: "`+a.file("ca.pem")+`", key: "`+made.Key+`"}
  - {name: stranger, kind: weir, url: "https://`+inner.grpc+`", ca: "`+a.file("ca.pem")+`", key: "wk-nobody-knows-this-one"}
models:
  - {name: chat, targets: [{backend: inner, model: sim-text}]}
  - {name: closed, targets: [{backend: stranger, model: sim-text}]}
`))
	outer.apply("{kind: Tenant, name: acme}\n---\n{kind: Price, model: chat, currency: USD, effective: 2026-01-01, per_million: {input: 1, output: 2}}\n")
	key := outer.createKey("acme", "app")
	var said callResult
	outer.must(&said, key, "call", "-m", "chat", "--stream", "-o", "json", "think: 想\nsay: Hello, 世界 😀")
	if said.Text != "Hello, 世界 😀" || said.Reasoning != "想" || said.Target.Backend != "inner" || said.Usage.Source != "provider" || said.Cost == nil {
		t.Errorf("%+v", said)
	}
	code, _, failed := outer.run(key, "", "call", "-m", "closed", "hi")
	if code == exitOK || !strings.Contains(failed, "tell your operator") || strings.Contains(failed+outer.log.String(), "nobody-knows") {
		t.Errorf("%d %s\n%s", code, failed, outer.log)
	}
}

// Conditions see the price that is in force when the call comes.
func TestTargetsByPrice(t *testing.T) {
	p := serve(t, t.TempDir(), "--config", file(t, "weir.yaml", `
backends: [{name: a, kind: simulator}, {name: b, kind: simulator}]
models:
  - name: m
    targets:
      - {backend: a, model: sim-text, when: "price.currency == 'USD' && price.output < 3"}
      - {backend: b, model: sim-text, priority: 1}
`))
	p.apply("{kind: Tenant, name: acme}")
	key := p.createKey("acme", "app")
	for _, c := range []struct{ prices, want string }{
		{"", "b"},
		{"{kind: Price, model: m, backend: a, currency: USD, effective: 2026-01-01, per_million: {input: 1, output: 2.99}}", "a"},
		{"{kind: Price, model: m, backend: a, currency: USD, effective: 2026-01-02, per_million: {input: 1, output: 3}}", "b"},
		{"{kind: Price, model: m, backend: a, currency: CNY, effective: 2026-01-03, per_million: {input: 1, output: 1}}", "b"},
	} {
		if c.prices != "" {
			p.apply(c.prices)
		}
		var said callResult
		p.must(&said, key, "call", "-m", "m", "-o", "json", "say: hello")
		if said.Target.Backend != c.want {
			t.Errorf("after %s: %s served, want %s", c.prices, said.Target.Backend, c.want)
		}
	}
}

// A key is replaced in its file, or printed by a program, while Weir runs.
func TestKeysThatChange(t *testing.T) {
	var good atomic.Pointer[string]
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Authorization"); got != "Bearer "+*good.Load() {
			w.WriteHeader(http.StatusUnauthorized)
			io.WriteString(w, got+" is wrong")
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, `data: {"choices":[{"index":0,"delta":{"content":"hello"},"finish_reason":"stop"}]}`+"\n\ndata: [DONE]\n\n")
	}))
	defer provider.Close()
	keyFile := file(t, "provider.key", "sk-first\n")
	p := serve(t, t.TempDir(), "--config", file(t, "weir.yaml", `
backends:
  - {name: a, kind: openai, url: "`+provider.URL+`/v1", key_file: "`+keyFile+`"}
  - {name: b, kind: openai, url: "`+provider.URL+`/v1", key_command: [cat, "`+keyFile+`"], key_ttl: 1h}
models: [{name: a, targets: [{backend: a}]}, {name: b, targets: [{backend: b}]}]
`))
	p.apply("{kind: Tenant, name: acme}")
	key := p.createKey("acme", "app")
	for _, k := range []string{"sk-first", "sk-second"} {
		good.Store(&k)
		if err := os.WriteFile(keyFile, []byte(k), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, model := range []string{"a", "b"} {
			p.must(nil, key, "call", "-m", model, "hi")
		}
	}
	third := "sk-third"
	good.Store(&third) // which nobody has told Weir
	for _, model := range []string{"a", "b"} {
		if code, _, failed := p.run(key, "", "call", "-m", model, "hi"); code == exitOK || strings.Contains(failed, "sk-") {
			t.Errorf("%d %s", code, failed)
		}
	}
	if log := p.log.String(); !strings.Contains(log, "[secret] is wrong") || strings.Contains(log, "sk-") {
		t.Errorf("the log says\n%s", log)
	}
}
