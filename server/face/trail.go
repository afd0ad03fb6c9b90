package face

import (
	"context"

	"github.com/weir-gateway/weir/server/auth"
)

// A Trail is what one call leaves behind for its line in the log, and the ids
// it goes by. The chain of interceptors puts it into the context; the goroutine
// that serves the call owns it.
type Trail struct {
	// RequestID is ours; ClientRequestID is what the client calls the call.
	RequestID       string
	ClientRequestID string
	// TraceID is the trace that the call belongs to, empty where nobody traces.
	TraceID string
	// Route is what was called, as a face names it: never a path as it was
	// sent, which may hold anything. Empty where no face took the call.
	Route string
	// Caller is zero where nobody was authenticated.
	Caller auth.Caller
	// Err is why the call failed, whole, where a face has told the caller
	// itself.
	Err error
}

type trailKey struct{}

// WithTrail returns a context that carries a trail.
func WithTrail(ctx context.Context, t *Trail) context.Context {
	return context.WithValue(ctx, trailKey{}, t)
}

// TrailOf returns the trail of a call. Outside a chain it is one that nobody
// reads.
func TrailOf(ctx context.Context) *Trail {
	if t, ok := ctx.Value(trailKey{}).(*Trail); ok {
		return t
	}
	return &Trail{}
}
