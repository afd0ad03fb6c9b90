package openai_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/backendtest"
	"github.com/weir-gateway/weir/server/backend/openai"
	"github.com/weir-gateway/weir/server/backend/simulator"
)

const testKey = "sk-test-0123456789abcdef"

// serve starts a server on the simulator, and a driver for it.
func serve(t *testing.T, w wire, tls bool) (*openai.Backend, *simulator.Backend, *backendtest.Endings, <-chan struct{}) {
	t.Helper()
	var ended backendtest.Endings
	models := simulator.DefaultModels()
	for name, p := range models {
		p.TimeToFirstToken, p.TokensPerSecond = 0, 0
		models[name] = p
	}
	models["sim-small"] = simulator.Profile{ContextTokens: 10}
	backendtest.EmbeddingModels(models)
	behave, began := backendtest.Stalling()
	sim, err := simulator.New(simulator.Config{Models: models, Behave: behave, Ended: func(id string, how simulator.Ending) { ended.Tell(id, how == simulator.EndedCancelled) }})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(&server{sim: sim, key: testKey, wire: w})
	s.Config.ErrorLog = discard
	s.EnableHTTP2 = tls
	if tls {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	b, err := openai.New(openai.Config{Name: "sim", URL: s.URL + "/v1/", Key: testKey, Candidates: 8, Embedding: backendtest.EmbeddingNames(),
		MediaOutput: map[backend.Modality]int64{backend.Image: 256}})
	if err != nil {
		t.Fatal(err)
	}
	if tls {
		openai.Trust(b, s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs)
	}
	t.Cleanup(func() { b.Close() })
	return b, sim, &ended, began
}

func TestContract(t *testing.T) {
	for name, w := range map[string]struct {
		wire
		tls bool
	}{
		"plain":        {},
		"http2":        {tls: true, wire: wire{base64: true}},
		"openai":       {wire: wire{roleChunk: true, nulls: true}},
		"vllm":         {wire: wire{roleChunk: true, usageEvery: true, reasoningName: "reasoning"}},
		"crlf":         {wire: wire{newline: "\r\n", comments: true}},
		"cr":           {wire: wire{newline: "\r", events: true}},
		"many data":    {wire: wire{manyData: true, emptyReason: true, both: true}},
		"pieces of 1":  {wire: wire{pieces: 1, newline: "\r\n"}},
		"pieces of 7":  {wire: wire{pieces: 7, usageInLast: true}},
		"surrogates":   {wire: wire{surrogates: true, nulls: true}},
		"raw halves":   {wire: wire{rawHalves: true, roleChunk: true}},
		"no done":      {wire: wire{noDone: true}},
		"no last line": {wire: wire{noLastNewline: true, usageInLast: true}},
	} {
		t.Run(name, func(t *testing.T) {
			backendtest.Run(t, func(t *testing.T) backendtest.Harness {
				b, sim, ended, began := serve(t, w.wire, w.tls)
				return backendtest.Harness{
					Backend: b, Model: "sim-text", Simulated: sim, Stalls: "sim-stall", Cuts: "sim-cut",
					Fails: map[string]backend.Class{
						"sim-error":      backend.Failed,
						"sim-overloaded": backend.Overloaded,
						"sim-small":      backend.ContextExceeded,
						"no-such-model":  backend.ModelMissing,
					},
					Embedding: &backendtest.Embedding{Began: began},
					Ended:     ended.Await,
				}
			})
		})
	}
}

func TestModels(t *testing.T) {
	b, sim, _, _ := serve(t, wire{}, false)
	got, err := b.Models(context.Background())
	want, _ := sim.Models(context.Background())
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("models are %v, %v, want %v", got, err, want)
	}
}
