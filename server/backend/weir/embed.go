package weir

import (
	"context"
	"errors"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/backend"
)

// Embed implements backend.Embedder.
func (b *Backend) Embed(ctx context.Context, req *backend.EmbedRequest) (*backend.Embeddings, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var in *weirv1.EmbedResponse
	err := b.keyed(ctx, func(key string) (err error) {
		in, err = b.client.Embed(b.outgoing(ctx, req.RequestID, req.TraceContext, key), &weirv1.EmbedRequest{
			Model: req.Model, Inputs: req.Inputs, Dimensions: narrow(req.Dimensions),
		})
		if err != nil {
			err = (&stream{ctx: ctx, backend: b}).failed(err)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &backend.Embeddings{BackendModel: modelOf(in.GetTarget()), Vectors: make([][]float32, len(req.Inputs)), Usage: meters(in.GetUsage())}
	for _, e := range in.GetEmbeddings() {
		if err = out.Place(int(e.GetIndex()), e.GetValues()); err != nil {
			break
		}
	}
	if err == nil {
		err = out.Check(req)
	}
	if failed := (*backend.Error)(nil); errors.As(err, &failed) {
		failed.Detail = b.config.Name + ": " + failed.Detail
		return nil, err
	}
	return out, nil
}
