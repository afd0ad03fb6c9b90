package weir

import (
	"context"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/face"
)

// Embed gives a vector for each text.
func (g *Generation) Embed(ctx context.Context, req *weirv1.EmbedRequest) (*weirv1.EmbedResponse, error) {
	call, err := newCall(ctx, req.GetContext())
	if err != nil {
		return nil, err
	}
	call.Model = req.GetModel()
	answer, err := g.Gateway.Embed(ctx, call, req.GetInputs(), number(req.Dimensions))
	if err != nil {
		return nil, err
	}
	out := &weirv1.EmbedResponse{
		RequestId:  answer.RequestID,
		Embeddings: make([]*weirv1.Embedding, len(answer.Vectors)),
		Usage:      face.Usage(answer.Usage, answer.Source),
		Cost:       face.Cost(answer.Cost),
		Verdicts:   face.Verdicts(answer.Verdicts),
		Target:     face.Target(answer),
		Timing:     face.Timing(answer),
		Replayed:   answer.Replayed,
	}
	for i, v := range answer.Vectors {
		out.Embeddings[i] = &weirv1.Embedding{Index: int32(i), Values: v}
	}
	return out, nil
}
