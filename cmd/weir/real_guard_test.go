//go:build realserver

package main

import (
	"os"
	"strings"
	"testing"
)

// A small real model in the place of a guard model: it was never taught to
// judge, so most of what it says is nonsense, and what a rule says of that is
// what must hold. Its answers do not change, since it is asked at temperature 0.
func TestRealModelAsAGuard(t *testing.T) {
	url, model := os.Getenv("WEIR_TEST_OPENAI_URL"), os.Getenv("WEIR_TEST_OPENAI_MODEL")
	if url == "" || model == "" {
		t.Fatal("WEIR_TEST_OPENAI_URL and WEIR_TEST_OPENAI_MODEL name no model server: run make test-real, which starts one")
	}
	p := serve(t, t.TempDir(), "--config", file(t, "weir.yaml", `
backends:
  - {name: simulator, kind: simulator}
  - {name: local, kind: openai, url: "`+url+`", key: "${LOCAL_KEY}", tags: [private]}
  - {name: nobody, kind: openai, url: "http://127.0.0.1:9/v1"}
models:
  - {name: sim-text, targets: [{backend: simulator}]}
  - {name: llama-guard, targets: [{backend: local, model: "`+model+`"}]}
  - {name: llama-guard-away, targets: [{backend: nobody}]}
`))
	p.apply(judgedDocuments)
	key := p.createKey("acme", "k1")
	const text = "The river is calm and slow today, and the boats lie still."
	for _, c := range []struct{ judge, keys, want string }{
		{"llama-guard", "on_error: closed", "[UNJUDGED]"},
		{"llama-guard", "on_error: open, until: 2999-12-31", text},
		{"llama-guard", "on_error: degrade, degrade: {guard: lexicon, terms: [boats]}, placeholder: '[water]'", "[water]"},
		{"llama-guard", "on_error: degrade, degrade: {guard: lexicon, terms: [cars]}", text},
		{"llama-guard", "deadline: 1ms", "[UNJUDGED]"}, // real, and too slow
		{"llama-guard-away", "on_error: closed", "[UNJUDGED]"},
	} {
		if !strings.Contains(c.keys, "deadline") {
			c.keys += ", deadline: 30s"
		}
		p.apply("kind: Policy\nname: judged\ntenant: acme\nsafety: {output: [{guard: remote, kind: guard_model, format: llama_guard, model: " + c.judge + ", action: redact, " + c.keys + "}]}\n")
		ways := [][]string{nil}
		if c.keys == "on_error: closed, deadline: 30s" {
			ways = append(ways, []string{"--stream"})
		}
		for _, flags := range ways {
			if out := p.must(nil, key, append([]string{"call", "-m", "sim-text", "say: " + text}, flags...)...); strings.TrimSpace(out) != c.want {
				t.Errorf("%s, %s, %v: %q, want %q\n%s", c.judge, c.keys, flags, out, c.want, p.log)
			}
		}
	}
	// What it said was metered as it reports it, and is paid for.
	for _, r := range p.report("--by", "model,outcome").Rows {
		if r["model"] == "llama-guard" && r["outcome"] == "completed" {
			if r["output_tokens"].(float64) < 1 || r["cost"] == "0.00" {
				t.Errorf("the questions in the ledger: %v", r)
			}
			return
		}
	}
	t.Error("no question is in the ledger")
}
