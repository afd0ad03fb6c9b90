//go:build realserver

package oip_test

import (
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/backendtest"
	"github.com/weir-gateway/weir/server/backend/oip"
)

// The server at WEIR_TEST_OIP_URL is MLServer with the two models of
// .ci/tensor-server. Make test-real starts it; nothing here is skipped.
func realServer(t *testing.T, how oip.Streaming) *oip.Backend {
	t.Helper()
	url := os.Getenv("WEIR_TEST_OIP_URL")
	if url == "" {
		t.Fatal("set WEIR_TEST_OIP_URL to the server of .ci/tensor-server: run make test-real, which starts it")
	}
	b, err := oip.New(oip.Config{Name: "real", URL: url, Streaming: how, Embedding: []string{"vectors"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func TestRealServer(t *testing.T) {
	names, err := realServer(t, oip.Auto).Models(t.Context())
	if err != nil || !slices.Equal(names, []string{"vectors", "words"}) {
		t.Errorf("models are %v, %v", names, err)
	}
	backendtest.Run(t, func(t *testing.T) backendtest.Harness {
		return backendtest.Harness{Backend: realServer(t, oip.MLServer), Model: "words", Fails: map[string]backend.Class{"no-such-model": backend.ModelMissing}}
	})
}

func TestRealServerWhole(t *testing.T) {
	b := realServer(t, oip.Auto)
	req, most := hello(), 5
	req.Model, req.MaxOutputTokens = "words", &most
	a, err := generate(t, b, req)
	if err != io.EOF {
		t.Fatal(err)
	}
	in, _ := a.Usage.InputTokens()
	out, _ := a.Usage.OutputTokens()
	// The words of the prompt are those of its template too.
	want := "<|im_start|>system Be brief.<|im_end|> <|im_start|>user Hello"
	if got := a.Candidates[0]; got.Content != want || got.Finish != backend.FinishLength || in != 12 || out != 5 {
		t.Errorf("%+v, %d in and %d out", a, in, out)
	}
	req.Messages[1].Parts[0].Text = strings.Repeat("水 ", 2000)
	for _, how := range []oip.Streaming{oip.Whole, oip.MLServer} {
		if _, err := generate(t, realServer(t, how), req); backend.ClassOf(err) != backend.ContextExceeded {
			t.Errorf("%s: error is %v, want class %s", how, err, backend.ContextExceeded)
		}
	}
}

func TestRealServerEmbeds(t *testing.T) {
	b := realServer(t, oip.Auto)
	texts := []string{"The river is calm.", "水车"}
	got, err := b.Embed(t.Context(), &backend.EmbedRequest{Model: "vectors", Inputs: texts})
	if err != nil || got.Usage.Known() {
		t.Fatalf("%v: %+v", err, got)
	}
	for i, text := range texts {
		alone, err := b.Embed(t.Context(), &backend.EmbedRequest{Model: "vectors", Inputs: []string{text}})
		if err != nil || !slices.Equal(alone.Vectors[0], got.Vectors[i]) || len(got.Vectors[i]) != 8 {
			t.Errorf("%v: alone %v, among others %v", err, alone, got.Vectors[i])
		}
	}
}
