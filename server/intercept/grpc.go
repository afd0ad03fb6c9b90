package intercept

import (
	"context"
	"errors"
	"strings"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors"
	grpcauth "github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/auth"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/recovery"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/selector"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/weir-gateway/weir/server/face"
)

// ServerOptions is the chain of a gRPC server: bounds, metrics, id, log,
// errors, recovery, authentication. What a face adds comes behind it.
func (c *Chain) ServerOptions() []grpc.ServerOption {
	survive := recovery.WithRecoveryHandlerContext(c.recovered)
	needsKey := selector.MatchFunc(needsKey)
	return []grpc.ServerOption{
		grpc.InTapHandle(c.tap),
		grpc.ChainUnaryInterceptor(
			c.Metrics.grpc.UnaryServerInterceptor(),
			identifyUnary,
			c.logUnary,
			tellUnary,
			recovery.UnaryServerInterceptor(survive),
			selector.UnaryServerInterceptor(grpcauth.UnaryServerInterceptor(c.authenticateGRPC), needsKey),
		),
		grpc.ChainStreamInterceptor(
			c.Metrics.grpc.StreamServerInterceptor(),
			identifyStream,
			c.logStream,
			tellStream,
			c.watchStream,
			recovery.StreamServerInterceptor(survive),
			selector.StreamServerInterceptor(grpcauth.StreamServerInterceptor(c.authenticateGRPC), needsKey),
		),
	}
}

// ours tells whether a method is of weir.v1, and not one of those that stand
// around it, such as health.
func ours(method string) bool { return strings.HasPrefix(method, "/weir.") }

// needsKey tells which calls somebody must make: all but the questions that
// load balancers and tools ask.
func needsKey(_ context.Context, call interceptors.CallMeta) bool {
	switch call.Service {
	case "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection":
		return false
	}
	return true
}

func (c *Chain) authenticateGRPC(ctx context.Context) (context.Context, error) {
	return c.authenticate(ctx, incoming(ctx, authorizationHeader), incoming(ctx, apiKeyHeader))
}

func incoming(ctx context.Context, key string) string {
	if values := metadata.ValueFromIncomingContext(ctx, key); len(values) > 0 {
		return values[0]
	}
	return ""
}

func idOf(trail *face.Trail) metadata.MD { return metadata.Pairs(RequestIDHeader, trail.RequestID) }

// identifyUnary tells the id in the header of an answer, and in the trailer of
// an error. An error must have no header: gRPC clients try again by themselves
// only where an answer is nothing but trailers. A call that has come over HTTP
// has its id, and its client has been told.
func identifyUnary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if identifiedHTTP(ctx) {
		return next(ctx, req)
	}
	ctx, trail := identify(ctx, incoming(ctx, clientIDHeader))
	answer, err := next(ctx, req)
	tell := grpc.SetHeader
	if err != nil {
		tell = grpc.SetTrailer
	}
	if failed := tell(ctx, idOf(trail)); failed != nil {
		return nil, failed
	}
	return answer, err
}

func identifyStream(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if ctx := stream.Context(); identifiedHTTP(ctx) {
		return next(srv, &identified{ServerStream: stream, ctx: ctx, sent: true})
	}
	ctx, trail := identify(stream.Context(), incoming(stream.Context(), clientIDHeader))
	err := next(srv, &identified{ServerStream: stream, ctx: ctx, trail: trail})
	if err != nil {
		stream.SetTrailer(idOf(trail))
	}
	return err
}

func identifiedHTTP(ctx context.Context) bool { return face.TrailOf(ctx).RequestID != "" }

// identified is a stream whose header waits for the first message, for the
// same reason.
type identified struct {
	grpc.ServerStream
	ctx   context.Context
	trail *face.Trail
	sent  bool
	// broken is what RecvMsg failed with: gRPC's own status, fit for the caller.
	broken error
}

func (s *identified) Context() context.Context { return s.ctx }

func (s *identified) SendMsg(m any) error {
	if !s.sent {
		s.sent = true
		if err := s.SetHeader(idOf(s.trail)); err != nil {
			return err
		}
	}
	return s.ServerStream.SendMsg(m)
}

func (s *identified) RecvMsg(m any) error {
	err := s.ServerStream.RecvMsg(m)
	if err != nil {
		s.broken = err
	}
	return err
}

func (c *Chain) logUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	ctx, end := c.begin(ctx, ours(info.FullMethod), func(name string) string { return incoming(ctx, name) })
	answer, err := next(ctx, req)
	end(info.FullMethod, status.Code(err).String())
	return answer, err
}

func (c *Chain) logStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	ctx := stream.Context()
	ctx, end := c.begin(ctx, ours(info.FullMethod), func(name string) string { return incoming(ctx, name) })
	if s, ok := stream.(*identified); ok {
		s.ctx = ctx
	}
	err := next(srv, stream)
	end(info.FullMethod, status.Code(err).String())
	return err
}

func tellUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	answer, err := next(ctx, req)
	if err == nil || foreign(info.FullMethod, err) {
		return answer, err
	}
	trailer, told := tell(ctx, err)
	if failed := grpc.SetTrailer(ctx, trailer); failed != nil {
		return nil, failed
	}
	return nil, told
}

func tellStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	err := next(srv, stream)
	if err == nil || foreign(info.FullMethod, err) {
		return err
	}
	if s, ok := stream.(*identified); ok && s.broken != nil && errors.Is(err, s.broken) {
		return s.broken
	}
	trailer, told := tell(stream.Context(), err)
	stream.SetTrailer(trailer)
	return told
}

// tell turns an error into the status that the one table has for it.
func tell(ctx context.Context, err error) (trailer metadata.MD, told error) {
	if why := stalled(ctx); why != nil {
		err = why
	}
	trail := face.TrailOf(ctx)
	trail.Err = err
	f := face.Explain(err, trail.RequestID)
	return metadata.Pairs(face.PushbackTrailer, f.Pushback()), f.Status(trail.RequestID).Err()
}

// foreign tells whether an error is the status of a service that is not ours,
// such as health, which says NOT_FOUND for its own reasons. A status of ours
// would be a backend's, and that is not the caller's to see.
func foreign(method string, err error) bool {
	_, isStatus := err.(interface{ GRPCStatus() *status.Status })
	return isStatus && !ours(method)
}
