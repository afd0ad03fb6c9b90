package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// One Weir stands before another, whose tokenizer it does not have: a hold is by
// bytes, unless the target names a tokenizer. What the backend counts stands
// beside our own count.
func TestATargetsTokenizer(t *testing.T) {
	behind := serve(t, t.TempDir())
	p := serve(t, t.TempDir(), "--config", file(t, "weir.yaml", `
backends:
  - {name: behind, kind: openai, url: "http://`+behind.http+`/v1", key: "`+behind.key(demoKeyFile)+`"}
models:
  - {name: bytes, targets: [{backend: behind, model: sim-text}]}
  - {name: tokens, targets: [{backend: behind, model: sim-text, tokenizer: o200k}]}
`))
	p.apply(`
kind: Tenant
name: acme
---
kind: Budget
name: cap
tenant: acme
limit: 600 tokens
window: total
`)
	key := p.createKey("acme", "k1")
	prompt := strings.Repeat("A weir regulates the flow of a river. ", 20) // 760 bytes, 201 tokens
	if code, out, failed := p.run(key, "", "call", "-m", "bytes", "--max-tokens", "20", prompt); code != exitExhausted || !strings.Contains(failed, "924 tokens") {
		t.Errorf("a hold by bytes: exit code %d: %s %s", code, out, failed)
	}
	var got callResult
	p.must(&got, key, "call", "-m", "tokens", "--max-tokens", "20", "-o", "json", prompt)
	answer, err := http.Get("http://" + p.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	metrics, _ := io.ReadAll(answer.Body)
	for _, want := range []string{
		fmt.Sprintf(`weir_tokens_total{backend="behind",direction="input",model="tokens",source="provider"} %d`, *got.Usage.InputTokens),
		`weir_own_tokens_total{backend="behind",direction="input",model="tokens"} 208`, // and seven of the template
		`weir_own_tokens_total{backend="behind",direction="output",model="tokens"} `,
	} {
		if !strings.Contains(string(metrics), want) {
			t.Errorf("the metrics do not say %s", want)
		}
	}
}
