package gateway

import (
	"context"
	"fmt"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/tokens"
)

// An Embedding is what a call wants of which vectors are wanted.
type Embedding struct {
	// Dimensions is how many numbers each vector shall have; nil is as many as the
	// model has.
	Dimensions *int
}

// Embed answers a call with a vector for each text, in Answer.Vectors. The call
// lives as one of Generate does: its texts are judged as so many messages of a
// user, and what is found in one names its place. Vectors are no text: no output
// rule sees them, and no record has them.
func (g *Gateway) Embed(ctx context.Context, call *Call, texts []string, dimensions *int) (*Answer, error) {
	of := *call
	of.Embedding = &Embedding{Dimensions: dimensions}
	of.Request = backend.Request{Messages: make([]backend.Message, len(texts))}
	for i, text := range texts {
		of.Request.Messages[i] = backend.Message{Role: backend.User, Parts: []backend.Part{{Channel: backend.Content, Text: text}}}
	}
	return g.Generate(ctx, &of, &Collector{})
}

// textsOf are the texts that Embed has made messages of.
func textsOf(req *backend.Request) []string {
	texts := make([]string, len(req.Messages))
	for i := range req.Messages {
		texts[i] = req.Messages[i].Parts[0].Text
	}
	return texts
}

// count counts the input.
func (a *attempt) count(req *backend.Request) tokens.Prompt {
	if a.call.Embedding != nil {
		return tokens.Texts(a.target.Backend, a.target.Tokenizer, req.Model, textsOf(req))
	}
	return tokens.Input(a.target.Backend, a.target.Tokenizer, req)
}

// serve is the call at the target.
func (a *attempt) serve(ctx context.Context, req *backend.Request) error {
	if a.call.Embedding != nil {
		return a.embed(ctx, req)
	}
	return a.relay(ctx, req)
}

// fitEmbedding checks the request against what the target can do.
func (a *attempt) fitEmbedding(can backend.Capabilities) error {
	if _, embeds := a.target.Backend.(backend.Embedder); !embeds || !can.Embeds {
		return unsupported("model", fmt.Sprintf("model %q gives no embeddings: name one that does", a.call.Model))
	}
	return nil
}

// embed asks the target for vectors. They come all at once or not at all, so
// there is nothing to release on the way.
func (a *attempt) embed(ctx context.Context, req *backend.Request) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a.patience = a.wait(ctx, cancel)
	defer a.patience.end()
	got, err := a.target.Backend.(backend.Embedder).Embed(ctx, &backend.EmbedRequest{
		RequestID: req.RequestID, TraceContext: req.TraceContext, Model: req.Model,
		Inputs: textsOf(req), Dimensions: a.call.Embedding.Dimensions,
	})
	if err != nil {
		return a.patience.blame(err)
	}
	a.accepted = true
	a.named(got.BackendModel)
	if a.usage = got.Usage; a.usage.Known() {
		a.usage.Set(accounting.Output, 0) // which backends need not say
	}
	a.answer.Vectors = got.Vectors
	return nil
}
