package gemini_test

import (
	"encoding/json"
	"net"
	"slices"
	"testing"

	pb "cloud.google.com/go/ai/generativelanguage/apiv1beta/generativelanguagepb"
	"google.golang.org/grpc"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/backendtest"
	"github.com/weir-gateway/weir/server/backend/gemini"
	"github.com/weir-gateway/weir/server/backend/simulator"
)

const testKey = "AIza-test-0123456789abcdef"

type service interface {
	pb.GenerativeServiceServer
	pb.ModelServiceServer
}

// listen serves a service, and makes a driver for it.
func listen(t *testing.T, s service, change func(*gemini.Config)) *gemini.Backend {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer(grpc.WaitForHandlers(true))
	pb.RegisterGenerativeServiceServer(g, s)
	pb.RegisterModelServiceServer(g, s)
	served := make(chan struct{})
	go func() { defer close(served); _ = g.Serve(l) }()
	t.Cleanup(func() { g.Stop(); <-served })
	c := gemini.Config{Name: "g", URL: "http://" + l.Addr().String(), Key: testKey, Candidates: 8}
	if change != nil {
		change(&c)
	}
	b, err := gemini.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// heard is what the API has words for.
func heard(req backend.Request) backend.Request {
	var system, turns []backend.Message
	for _, m := range req.Messages {
		m.Name, m.Parts = "", slices.Clone(m.Parts)
		if m.Role == backend.Developer {
			m.Role = backend.System
		}
		into := &turns
		if m.Role == backend.System {
			into = &system
		}
		if n := len(*into); n > 0 && (*into)[n-1].Role == m.Role {
			(*into)[n-1].Parts = append((*into)[n-1].Parts, m.Parts...)
			continue
		}
		*into = append(*into, m)
	}
	req.Messages = append(system, turns...)
	ordered := func(schema json.RawMessage) json.RawMessage {
		if schema == nil {
			return nil
		}
		var v any
		if err := json.Unmarshal(schema, &v); err != nil {
			panic(err)
		}
		return json.RawMessage(canonical(v))
	}
	req.Tools = slices.Clone(req.Tools)
	for i, t := range req.Tools {
		req.Tools[i].Parameters = ordered(t.Parameters)
	}
	if req.Format != nil {
		req.Format = &backend.Format{Schema: ordered(req.Format.Schema)}
	}
	return req
}

func TestContract(t *testing.T) {
	for name, w := range map[string]wire{"plain": {}, "ids": {ids: true}, "unknown": {unknown: true, ids: true}, "late": {late: true}} {
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
				return backendtest.Harness{
					Backend: listen(t, &server{sim: sim, key: testKey, wire: w}, func(c *gemini.Config) {
						c.Embedding = backendtest.EmbeddingNames()
						c.MediaOutput = map[backend.Modality]int64{backend.Image: 256}
					}),
					Model: "sim-text", Simulated: sim, Stalls: "sim-stall", Cuts: "sim-cut",
					Fails: map[string]backend.Class{
						"sim-error": backend.Failed, "sim-overloaded": backend.Overloaded, "sim-small": backend.ContextExceeded, "no-such-model": backend.ModelMissing,
					},
					Lacks: backendtest.Lacks{Refusals: true, RefusalEnd: true, Letters: true},
					Heard: heard, Ended: ended.Await,
					Embedding: &backendtest.Embedding{Began: began, NoUsage: true},
				}
			})
		})
	}
}
