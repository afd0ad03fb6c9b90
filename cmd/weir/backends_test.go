package main

import (
	"crypto/x509"
	"strings"
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
