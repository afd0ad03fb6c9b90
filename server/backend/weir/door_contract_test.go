package weir_test

import (
	"context"
	"testing"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/backendtest"
	"github.com/weir-gateway/weir/server/backend/simulator"
	"github.com/weir-gateway/weir/server/backend/weir"
	"github.com/weir-gateway/weir/server/route"
)

// Weir in front of Weir: a real one keeps the contract of a backend as a model
// server does, and what the simulator behind it is told arrives as it was said.
func TestContractOfAWeir(t *testing.T) {
	backendtest.Run(t, func(t *testing.T) backendtest.Harness {
		models := simulator.DefaultModels()
		profiles := map[string][]simulator.Profile{"sim-small": {{ContextTokens: 10}}}
		for name, p := range models {
			p.TimeToFirstToken, p.TokensPerSecond = 0, 0
			profiles[name] = []simulator.Profile{p}
		}
		d := open(t, tenant, profiles)
		var routes []route.Model
		for name := range profiles {
			routes = append(routes, route.Model{Name: name, MaxOutputTokens: 1 << 16, Targets: []route.Target{{Name: "b0", Backend: d.Sim, Model: name}}})
		}
		router, err := route.New(routes)
		if err != nil {
			t.Fatal(err)
		}
		d.Router = func() *route.Router { return router }
		b, err := weir.New(weir.Config{Name: "inner", URL: "http://" + d.address, Key: d.secret, Candidates: 8})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.Close() })
		return backendtest.Harness{
			Backend: b, Model: "sim-text", Simulated: d.Sim, Stalls: "sim-stall", Cuts: "sim-cut",
			Fails: map[string]backend.Class{
				"sim-error":      backend.Failed,
				"sim-overloaded": backend.Overloaded,
				"sim-small":      backend.ContextExceeded,
				"no-such-model":  backend.ModelMissing,
			},
			Ended: func(ctx context.Context, _ string) error {
				for {
					select {
					case how := <-d.Ended:
						if how == simulator.EndedCancelled {
							return nil
						}
					case <-ctx.Done():
						return ctx.Err()
					}
				}
			},
		}
	})
}
