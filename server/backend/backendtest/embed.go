package backendtest

import (
	"context"
	"errors"
	"math"
	"slices"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/simulator"
)

// Embedding is what a server that embeds can be made to do. Its models are those
// of EmbeddingModels.
type Embedding struct {
	// Began gets a value when the model that stalls has got a call.
	Began <-chan struct{}
	// NoUsage and NoDimensions tell that the wire has no words for what was used,
	// or for how many numbers are wanted.
	NoUsage, NoDimensions bool
}

// EmbeddingModels adds models that embed to those of a simulator.
func EmbeddingModels(models map[string]simulator.Profile) {
	models["embed"] = simulator.Profile{Dimensions: 64, ContextTokens: 4000}
	models["embed-stall"] = simulator.Profile{Dimensions: 64, Fault: simulator.FaultStall}
	models["embed-error"] = simulator.Profile{Dimensions: 64, Fault: simulator.FaultError}
	models["embed-overloaded"] = simulator.Profile{Dimensions: 64, Fault: simulator.FaultOverloaded, RetryAfter: 2e9}
	models["embed-small"] = simulator.Profile{Dimensions: 64, ContextTokens: 1}
}

// EmbeddingNames are the names of EmbeddingModels.
func EmbeddingNames() []string {
	return []string{"embed", "embed-stall", "embed-error", "embed-overloaded", "embed-small"}
}

// Stalling is a simulator's Behave, and a channel for Embedding.Began.
func Stalling() (func(string, simulator.Profile) simulator.Profile, <-chan struct{}) {
	began := make(chan struct{}, 16)
	return func(model string, p simulator.Profile) simulator.Profile {
		if model == "embed-stall" {
			began <- struct{}{}
		}
		return p
	}, began
}

func (r *run) embedRequest(model string, texts ...string) *backend.EmbedRequest {
	return &backend.EmbedRequest{RequestID: r.request(model, "").RequestID, Model: model, Inputs: texts}
}

func (r *run) embedder() backend.Embedder {
	r.t.Helper()
	e, ok := r.Backend.(backend.Embedder)
	if !ok || !r.Backend.Capabilities("embed").Embeds || r.Backend.Capabilities("embed").Candidates != 0 {
		r.t.Fatalf("the backend does not say that its model embeds: %+v", r.Backend.Capabilities("embed"))
	}
	if r.Backend.Capabilities(r.Model).Embeds {
		r.t.Error("the backend says that a model that answers embeds")
	}
	return e
}

// embed tells that each text gets its own vector, in order, with exact usage.
func (r *run) embed() {
	e := r.embedder()
	texts := speech
	got, err := e.Embed(r.ctx, r.embedRequest("embed", texts...))
	if err != nil {
		r.t.Fatal(err)
	}
	n := 0
	for i, text := range texts {
		n += r.Simulated.CountOutput("embed", text)
		alone, err := e.Embed(r.ctx, r.embedRequest("embed", text))
		if err != nil {
			r.t.Fatal(err)
		}
		if !slices.Equal(alone.Vectors[0], got.Vectors[i]) || len(alone.Vectors[0]) != 64 {
			r.t.Errorf("text %d alone has vector %v, among others %v", i, alone.Vectors[0], got.Vectors[i])
		}
	}
	if in, known := got.Usage.InputTokens(); known == r.Embedding.NoUsage || known && in != int64(n) {
		r.t.Errorf("%d input tokens (known: %v), want %d", in, known, n)
	}
	if r.Embedding.NoDimensions {
		return
	}
	req := r.embedRequest("embed", "水车 and a wheel")
	d := 16
	req.Dimensions = &d
	short, err := e.Embed(r.ctx, req)
	if err != nil || len(short.Vectors[0]) != d {
		r.t.Fatalf("%v: %+v", err, short)
	}
	var square float64
	for _, x := range short.Vectors[0] {
		square += float64(x) * float64(x)
	}
	if math.Abs(square-1) > 1e-5 {
		r.t.Errorf("vector is %v long", math.Sqrt(square))
	}
}

func (r *run) embedFailures() {
	e := r.embedder()
	for model, class := range map[string]backend.Class{
		"embed-error": backend.Failed, "embed-overloaded": backend.Overloaded, "embed-small": backend.ContextExceeded,
		r.Model: backend.Rejected, "no-such-model": backend.ModelMissing,
	} {
		_, err := e.Embed(r.ctx, r.embedRequest(model, "two words"))
		var failed *backend.Error
		if !errors.As(err, &failed) || failed.Class != class || failed.Detail == "" {
			r.t.Errorf("%s: error is %v, want class %s", model, err, class)
		} else if class == backend.Overloaded && failed.RetryAfter <= 0 {
			r.t.Errorf("the wish to be called later is lost: %+v", failed)
		}
	}
	req := r.embedRequest("embed", "two words")
	d := 65
	req.Dimensions = &d
	if _, err := e.Embed(r.ctx, req); backend.ClassOf(err) != backend.Rejected {
		r.t.Errorf("more dimensions than there are: %v", err)
	}
}

// embedCancel ends a call in the middle: the server hears of it.
func (r *run) embedCancel() {
	e := r.embedder()
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	req := r.embedRequest("embed-stall", "x")
	go func() {
		<-r.Embedding.Began
		cancel()
	}()
	_, err := e.Embed(ctx, req)
	r.contextError(err, context.Canceled)
	r.serverEnds(req.RequestID)
	_, err = e.Embed(ctx, r.embedRequest("embed", "x"))
	r.contextError(err, context.Canceled)
}
