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

// fitEmbedding checks the request against what the target can do.
func (a *attempt) fitEmbedding(can backend.Capabilities) error {
	if _, embeds := a.target.Backend.(backend.Embedder); !embeds || !can.Embeds {
		return unsupported("model", fmt.Sprintf("model %q gives no embeddings: name one that does", a.call.Model))
	}
	return nil
}

// embed asks the target for vectors. They come all at once or not at all, so
// there is nothing to release on the way.
func (a *attempt) embed() (err error) {
	a.vectors, err = a.target.Backend.(backend.Embedder).Embed(a.ctx, &backend.EmbedRequest{
		RequestID: a.request.RequestID, TraceContext: a.request.TraceContext, Model: a.request.Model,
		Inputs: textsOf(&a.request), Dimensions: a.call.Embedding.Dimensions,
	})
	return err
}

// embedded makes the vectors those of the answer.
func (a *attempt) embedded() {
	a.named(a.vectors.BackendModel)
	if a.usage = a.vectors.Usage; a.usage.Known() {
		a.usage.Set(accounting.Output, 0) // which backends need not say
	}
	a.answer.Vectors = a.vectors.Vectors
}
