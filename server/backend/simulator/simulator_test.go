package simulator_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/backendtest"
	"github.com/weir-gateway/weir/server/backend/simulator"
)

// endings waits for calls that have ended.
type endings struct {
	mu    sync.Mutex
	calls map[string]chan simulator.Ending
}

func (e *endings) of(id string) chan simulator.Ending {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.calls == nil {
		e.calls = map[string]chan simulator.Ending{}
	}
	if e.calls[id] == nil {
		e.calls[id] = make(chan simulator.Ending, 64)
	}
	return e.calls[id]
}

func (e *endings) tell(id string, how simulator.Ending) { e.of(id) <- how }

func (e *endings) await(ctx context.Context, id string) error {
	select {
	case how := <-e.of(id):
		if how != simulator.EndedCancelled {
			return fmt.Errorf("it ended %s", how)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestContract(t *testing.T) {
	backendtest.Run(t, func(t *testing.T) backendtest.Harness {
		var ended endings
		models := simulator.DefaultModels()
		for name, p := range models {
			p.TimeToFirstToken, p.TokensPerSecond = 0, 0 // the contract holds at any speed
			models[name] = p
		}
		models["sim-small"] = simulator.Profile{ContextTokens: 10}
		backendtest.EmbeddingModels(models)
		behave, began := backendtest.Stalling()
		b, err := simulator.New(simulator.Config{Models: models, Ended: ended.tell, Behave: behave})
		if err != nil {
			t.Fatal(err)
		}
		return backendtest.Harness{
			Backend: b, Model: "sim-text", Simulated: b, Stalls: "sim-stall", Cuts: "sim-cut",
			Fails: map[string]backend.Class{
				"sim-error":      backend.Failed,
				"sim-overloaded": backend.Overloaded,
				"sim-small":      backend.ContextExceeded,
				"no-such-model":  backend.ModelMissing,
			},
			Embedding: &backendtest.Embedding{Began: began},
			Ended:     ended.await,
		}
	})
}
