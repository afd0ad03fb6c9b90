package oip_test

import (
	"net"
	"slices"
	"testing"

	"google.golang.org/grpc"

	"github.com/weir-gateway/weir/gen/inference"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/backendtest"
	"github.com/weir-gateway/weir/server/backend/oip"
	"github.com/weir-gateway/weir/server/backend/simulator"
)

const testKey = "oip-test-0123456789abcdef"

// listen serves a service, and makes a driver for it.
func listen(t *testing.T, service inference.GRPCInferenceServiceServer, change func(*oip.Config)) *oip.Backend {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.WaitForHandlers(true))
	inference.RegisterGRPCInferenceServiceServer(s, service)
	served := make(chan struct{})
	go func() { defer close(served); _ = s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); <-served })
	c := oip.Config{Name: "gpu", URL: "http://" + l.Addr().String(), Key: testKey}
	if change != nil {
		change(&c)
	}
	b, err := oip.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// heard is what the protocol has words for.
func heard(req backend.Request) backend.Request {
	req.Messages = slices.Clone(req.Messages)
	for i, m := range req.Messages {
		req.Messages[i] = backend.Message{Role: m.Role, Parts: []backend.Part{{Channel: backend.Content, Text: m.Text()}}}
		if m.Role == backend.Developer {
			req.Messages[i].Role = backend.System
		}
	}
	return req
}

func TestContract(t *testing.T) {
	for name, w := range map[string]wire{
		"triton":             {marker: true},
		"triton raw":         {raw: true},
		"triton pieces of 1": {pieces: 1, raw: true},
		"tensorrt-llm":       {singles: true, raw: true, alone: true},
		"mlserver":           {bare: true},
		"mlserver pieces":    {bare: true, pieces: 3},
	} {
		t.Run(name, func(t *testing.T) {
			backendtest.Run(t, func(t *testing.T) backendtest.Harness {
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
				b := listen(t, &server{sim: sim, key: testKey, wire: w}, func(c *oip.Config) {
					c.Embedding = backendtest.EmbeddingNames()
					if w.bare {
						c.Streaming = oip.MLServer
					}
				})
				h := backendtest.Harness{
					Backend: b, Model: "sim-text", Simulated: sim, Stalls: "sim-stall", Cuts: "sim-cut",
					Fails: map[string]backend.Class{"sim-error": backend.Failed, "sim-small": backend.ContextExceeded, "no-such-model": backend.ModelMissing},
					Lacks: backendtest.Lacks{Candidates: true, JSON: true, Refusals: true, Reasoning: true, Tools: true, Schemas: true, Channels: true, Cached: true},
					Heard: heard, Ended: ended.Await,
					Embedding: &backendtest.Embedding{Began: began, NoUsage: true, NoDimensions: true},
				}
				if w.bare { // Triton's streams have no codes, and none says when to come again
					h.Fails["sim-overloaded"] = backend.Overloaded
				}
				return h
			})
		})
	}
}
