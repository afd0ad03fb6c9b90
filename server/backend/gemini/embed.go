package gemini

import (
	"context"

	pb "cloud.google.com/go/ai/generativelanguage/apiv1beta/generativelanguagepb"

	"github.com/weir-gateway/weir/server/backend"
)

// maxBatch is how many texts the API takes in a call.
const maxBatch = 100

// Embed implements backend.Embedder. The API tells no usage.
func (b *Backend) Embed(ctx context.Context, req *backend.EmbedRequest) (*backend.Embeddings, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	model := resource(req.Model)
	out := &backend.Embeddings{Vectors: make([][]float32, 0, len(req.Inputs))}
	err := b.conn.Keyed(ctx, func(key string) error {
		out.Vectors = out.Vectors[:0]
		own := b.outgoing(ctx, req.RequestID, req.TraceContext, key, model)
		for texts := req.Inputs; len(texts) > 0; {
			n := min(len(texts), maxBatch)
			in := &pb.BatchEmbedContentsRequest{Model: model}
			for _, text := range texts[:n] {
				in.Requests = append(in.Requests, &pb.EmbedContentRequest{Model: model, OutputDimensionality: narrow(req.Dimensions),
					Content: &pb.Content{Parts: []*pb.Part{{Data: &pb.Part_Text{Text: text}}}}})
			}
			r, err := b.client.BatchEmbedContents(own, in)
			if err != nil {
				return b.conn.Failure(ctx, err, false)
			}
			if len(r.GetEmbeddings()) != n {
				return b.conn.Error(backend.Protocol, "%d texts got %d vectors", n, len(r.GetEmbeddings()))
			}
			for _, e := range r.GetEmbeddings() {
				out.Vectors = append(out.Vectors, e.GetValues())
			}
			texts = texts[n:]
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := out.Check(req); err != nil {
		return nil, b.conn.Error(backend.ClassOf(err), "%s", err)
	}
	return out, nil
}
