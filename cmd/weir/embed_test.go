package main

import (
	"context"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
)

// A model of another Weir embeds where the configuration says so, and the span
// of the attempt is named as the conventions have it.
func TestEmbeddingsThroughTwoWeirs(t *testing.T) {
	inner := serve(t, t.TempDir())
	c := newCollector(t)
	outer := serve(t, t.TempDir(), "--config", file(t, "weir.yaml", `
backends:
  - {name: inner, kind: openai, url: "http://`+inner.http+`/v1", key: "`+inner.key(demoKeyFile)+`"}
models:
  - {name: vectors, embeds: true, targets: [{backend: inner, model: sim-embed, tokenizer: cl100k}]}
  - {name: plain, targets: [{backend: inner, model: sim-embed-2}]}
telemetry: {otlp: {endpoint: "`+c.grpc+`", protocol: grpc, sample: 1}}
`))
	outer.apply("{kind: Tenant, name: acme}\n---\n{kind: Price, model: vectors, currency: USD, effective: 2026-01-01, per_million: {input: 1}}\n")
	key := outer.createKey("acme", "app")
	conn, err := grpc.NewClient(outer.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := weirv1.NewGenerationServiceClient(conn)
	ctx := metadata.AppendToOutgoingContext(context.Background(), "x-api-key", key)
	d := int32(3)
	a, err := client.Embed(ctx, &weirv1.EmbedRequest{Model: "vectors", Inputs: []string{"canary 金丝雀", "x"}, Dimensions: &d})
	if err != nil || len(a.Embeddings) != 2 || len(a.Embeddings[1].Values) != 3 || a.Cost.GetTotal().GetNanos() != int32(1000*a.Usage.GetInputTokens()) {
		t.Fatalf("%v %v", a, err)
	}
	if _, err := client.Embed(ctx, &weirv1.EmbedRequest{Model: "plain", Inputs: []string{"x"}}); err == nil || !strings.Contains(err.Error(), "gives no embeddings") {
		t.Errorf("a model of which nobody said that it embeds: %v", err)
	}
	if err := outer.end(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	spans := 0
	for _, s := range c.spans {
		got := attributes(s.Attributes)
		if s.Name != "embeddings sim-embed" {
			continue
		}
		spans++
		if got["gen_ai.operation.name"] != "embeddings" || got["gen_ai.embeddings.dimension.count"] != "3" || got["gen_ai.request.stream"] != "" || got["gen_ai.usage.input_tokens"] == "" {
			t.Errorf("span has %v", got)
		}
	}
	if text := c.text.String(); spans != 1 || !strings.Contains(text, "gen_ai.client.embeddings.duration") || strings.Contains(text, "canary") {
		t.Errorf("%d spans in\n%s", spans, text)
	}
}

func TestAnthropicGivesNoEmbeddings(t *testing.T) {
	_, _, err := loadConfig(file(t, "weir.yaml", `
backends: [{name: a, kind: anthropic, url: "https://api.anthropic.com/v1"}]
models: [{name: m, embeds: true, targets: [{backend: a}]}]
`), func(string) (string, bool) { return "", false })
	if err == nil || !strings.Contains(err.Error(), "line 3: models[0].targets[0].backend: a backend of kind anthropic gives no embeddings") {
		t.Errorf("%v", err)
	}
}
