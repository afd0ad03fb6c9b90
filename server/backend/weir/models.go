package weir

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
)

// maxModels ends a list that goes on for ever.
const maxModels = 100_000

// Models implements backend.Lister. A sidecar that speaks GenerationService alone
// answers and tells none.
func (b *Backend) Models(ctx context.Context) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var names []string
	client := weirv1.NewModelServiceClient(b.conn)
	err := b.keyed(ctx, func(key string) error {
		names = nil
		for token := ""; ; {
			page, err := client.ListModels(b.outgoing(ctx, "", nil, key), &weirv1.ListModelsRequest{PageSize: 1000, PageToken: token})
			if status.Code(err) == codes.Unimplemented {
				return nil
			}
			if err != nil {
				return (&stream{ctx: ctx, backend: b}).failed(err)
			}
			for _, m := range page.GetModels() {
				names = append(names, strings.TrimPrefix(m.GetName(), "models/"))
			}
			if token = page.GetNextPageToken(); token == "" || len(names) > maxModels {
				return nil
			}
		}
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
