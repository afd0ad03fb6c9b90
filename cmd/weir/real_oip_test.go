//go:build realserver

package main

import (
	"os"
	"strings"
	"testing"
)

// A Weir in front of a real server of the Open Inference Protocol, which
// .ci/test-real starts: WEIR_TEST_OIP_URL says where.
func TestRealTensorServer(t *testing.T) {
	url := os.Getenv("WEIR_TEST_OIP_URL")
	if url == "" {
		t.Fatal("WEIR_TEST_OIP_URL names no server: run make test-real, which starts one")
	}
	p := serve(t, t.TempDir(), "--config", file(t, "weir.yaml", `
backends:
  - {name: tensors, kind: oip, url: "`+url+`", tags: [private], oip: {streaming: mlserver}}
models:
  - {name: m1, targets: [{backend: tensors, model: words}]}
  - {name: v1, embeds: true, targets: [{backend: tensors, model: vectors}]}
`))
	p.apply(strings.ReplaceAll(acme, "model: sim-text", "model: m1"))
	key := p.createKey("acme", "k1")
	for _, flags := range [][]string{nil, {"--stream"}} {
		var got callResult
		p.must(&got, key, append([]string{"call", "-m", "m1", "-o", "json", "--max-tokens", "3", "the river is calm"}, flags...)...)
		if got.Text != "<|im_start|>user the river" || got.Usage.Source != "provider" || *got.Usage.InputTokens != 6 || *got.Usage.OutputTokens != 3 {
			t.Errorf("%v: %+v, usage %+v", flags, got, got.Usage)
		}
	}
	p.apply("{kind: Tenant, name: beta}") // whose money has no limit
	key = p.createKey("beta", "k2")
	answer := value(t, p.post(key, "/v1/embeddings", `{"model": "v1", "input": ["calm", "水车"]}`))
	data := answer["data"].([]any)
	if len(data) != 2 || len(data[0].(map[string]any)["embedding"].([]any)) != 8 {
		t.Errorf("embeddings are %v", answer)
	}
	if used := answer["usage"].(map[string]any)["prompt_tokens"].(float64); used < 2 {
		t.Errorf("%v tokens are counted where the server tells none: %v", used, answer["usage"])
	}
}
