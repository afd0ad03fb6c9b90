package weir_test

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/backend"
)

// Embed answers as a sidecar does.
func (s *server) Embed(ctx context.Context, in *weirv1.EmbedRequest) (*weirv1.EmbedResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	req := &backend.EmbedRequest{Model: in.GetModel(), Inputs: in.GetInputs()}
	if ids := md.Get("x-request-id"); len(ids) == 1 {
		req.RequestID = ids[0]
	}
	if in.Dimensions != nil {
		d := int(in.GetDimensions())
		req.Dimensions = &d
	}
	got, err := s.sim.Embed(ctx, req)
	if backend.ClassOf(err) == backend.Rejected {
		return nil, s.fail(codes.InvalidArgument, "INVALID_REQUEST", "refused", nil)
	}
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	out := &weirv1.EmbedResponse{Usage: s.usage(got.Usage), Target: &weirv1.Target{Model: in.Model}}
	for i, v := range got.Vectors {
		out.Embeddings = append(out.Embeddings, &weirv1.Embedding{Index: int32(i), Values: v})
	}
	return out, nil
}
