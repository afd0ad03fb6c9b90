package sdktest

import (
	"context"
	"fmt"
	"time"

	"github.com/googleapis/gax-go/v2"
	"github.com/googleapis/gax-go/v2/apierror"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
)

// gapic is a client in the manner of those that Google generates for Go: the
// stubs of gen called through gax, with its retries by code, its headers and
// its errors. It is written by hand since gapic-generator-go cannot be had from
// the module proxy.
type gapic struct {
	conn       *grpc.ClientConn
	generation weirv1.GenerationServiceClient
	accounting weirv1.AccountingServiceClient
	options    []gax.CallOption
}

// bearer is a key as credentials of each call.
type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

func (bearer) RequireTransportSecurity() bool { return false }

func newGapic(addr, key string) (*gapic, error) {
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithPerRPCCredentials(bearer(key)))
	if err != nil {
		return nil, err
	}
	return &gapic{
		conn, weirv1.NewGenerationServiceClient(conn), weirv1.NewAccountingServiceClient(conn),
		[]gax.CallOption{
			gax.WithTimeout(time.Minute),
			gax.WithRetry(func() gax.Retryer {
				return gax.OnCodes([]codes.Code{codes.Unavailable}, gax.Backoff{Initial: 100 * time.Millisecond, Max: 10 * time.Second, Multiplier: 1.3})
			}),
		},
	}, nil
}

// invoke calls a method as a generated client does.
func invoke[Req, Res any](ctx context.Context, g *gapic, call func(context.Context, Req, ...grpc.CallOption) (Res, error), params string, req Req) (res Res, err error) {
	headers := []string{"x-goog-request-params", params, "x-goog-api-client", gax.XGoogHeader("gl-go", "1.26", "gax", gax.Version, "grpc", grpc.Version)}
	ctx = gax.InsertMetadataIntoOutgoingContext(ctx, headers...)
	err = gax.Invoke(ctx, func(ctx context.Context, settings gax.CallSettings) (err error) {
		res, err = call(ctx, req, settings.GRPC...)
		return err
	}, g.options...)
	return res, err
}

func (g *gapic) Generate(ctx context.Context, req *weirv1.GenerateRequest) (*weirv1.GenerateResponse, error) {
	return invoke(ctx, g, g.generation.Generate, "model="+req.GetModel(), req)
}

// QueryCosts returns all rows, page after page.
func (g *gapic) QueryCosts(ctx context.Context, req *weirv1.QueryCostsRequest) (rows []*weirv1.CostRow, err error) {
	for {
		page, err := invoke(ctx, g, g.accounting.QueryCosts, "parent="+req.GetParent(), req)
		if err != nil {
			return nil, err
		}
		rows = append(rows, page.Rows...)
		if req.PageToken = page.NextPageToken; req.PageToken == "" {
			return rows, nil
		}
	}
}

// reasonOf is the reason of an error as gax reads it.
func reasonOf(err error) string {
	if e, ok := apierror.FromError(err); ok {
		return fmt.Sprintf("%s %s", e.Domain(), e.Reason())
	}
	return fmt.Sprint(err)
}

func labelled(ctx context.Context, client string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "x-weir-labels", "client="+client)
}
