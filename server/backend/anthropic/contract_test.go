package anthropic_test

import (
	"encoding/json"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/anthropic"
	"github.com/weir-gateway/weir/server/backend/backendtest"
	"github.com/weir-gateway/weir/server/backend/simulator"
)

const testKey = "sk-ant-test-0123456789abcdef"

// serve starts a server on the simulator, and a driver for it.
func serve(t *testing.T, w wire) (*anthropic.Backend, *simulator.Backend, *backendtest.Endings) {
	t.Helper()
	var ended backendtest.Endings
	models := simulator.DefaultModels()
	for name, p := range models {
		p.TimeToFirstToken, p.TokensPerSecond = 0, 0
		models[name] = p
	}
	models["sim-small"] = simulator.Profile{ContextTokens: 10}
	sim, err := simulator.New(simulator.Config{Models: models, Ended: func(id string, how simulator.Ending) { ended.Tell(id, how == simulator.EndedCancelled) }})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(&server{sim: sim, key: testKey, wire: w})
	s.Config.ErrorLog = discard
	s.Start()
	t.Cleanup(s.Close)
	b, err := anthropic.New(anthropic.Config{Name: "sim", URL: s.URL + "/v1/", Key: testKey})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b, sim, &ended
}

// heard is what the API has words for.
func heard(req backend.Request) backend.Request {
	req.Messages = slices.Clone(req.Messages)
	for i := range req.Messages {
		req.Messages[i].Name = ""
		req.Messages[i].Parts = slices.Clone(req.Messages[i].Parts)
		for j, p := range req.Messages[i].Parts {
			if p.Channel == backend.Arguments && p.Text == "" {
				req.Messages[i].Parts[j].Text = "{}"
			} else if p.Channel == backend.Arguments {
				req.Messages[i].Parts[j].Text = compact(p.Text)
			}
		}
	}
	req.Tools = slices.Clone(req.Tools)
	for i, tool := range req.Tools {
		if tool.Parameters == nil {
			req.Tools[i].Parameters = json.RawMessage(`{"type":"object"}`)
		}
	}
	if req.Format != nil {
		req.Format = &backend.Format{Schema: req.Format.Schema}
	}
	return req
}

func TestContract(t *testing.T) {
	for name, w := range map[string]wire{
		"plain":       {},
		"pings":       {pings: true, newline: "\r\n"},
		"unknown":     {unknown: true, noNames: true},
		"cr":          {newline: "\r"},
		"pieces of 1": {pieces: 1},
		"pieces of 7": {pieces: 7, pings: true},
		"surrogates":  {surrogates: true},
		"raw halves":  {rawHalves: true, unknown: true},
		"whole input": {wholeInput: true},
		"no stop":     {noStop: true},
	} {
		t.Run(name, func(t *testing.T) {
			backendtest.Run(t, func(t *testing.T) backendtest.Harness {
				b, sim, ended := serve(t, w)
				return backendtest.Harness{
					Backend: b, Model: "sim-text", Simulated: sim, Stalls: "sim-stall", Cuts: "sim-cut",
					Fails: map[string]backend.Class{
						"sim-error":      backend.Failed,
						"sim-overloaded": backend.Overloaded,
						"sim-small":      backend.ContextExceeded,
						"no-such-model":  backend.ModelMissing,
					},
					Lacks: backendtest.Lacks{Seed: true, Candidates: true, JSON: true, Refusals: true, Reasoning: true},
					Heard: heard, Ended: ended.Await,
				}
			})
		})
	}
}
