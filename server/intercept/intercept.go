// Package intercept holds what is true of every call on every face: it gets an
// id, is counted, leaves one line in the log, survives a panic and is somebody's
// call. Each concern is one func that the chain of gRPC and the chain of HTTP
// both use.
//
// It refuses to know what is called. No line holds content, a secret or a path
// as it was sent, and what a failure is called is package face's business.
package intercept

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/weir-gateway/weir/server/auth"
	"github.com/weir-gateway/weir/server/face"
)

// The headers, or metadata, that every call may have.
const (
	// RequestIDHeader tells the client our id of its call.
	RequestIDHeader = "x-weir-request-id"
	// clientIDHeader is the client's own id of it.
	clientIDHeader = "x-request-id"

	authorizationHeader = "authorization"
	apiKeyHeader        = "x-api-key"
)

// Chain is what the interceptors need. Its fields are set once, before the
// first call.
type Chain struct {
	Keys    *auth.Keys
	Metrics *Metrics
	Log     *slog.Logger
	Now     func() time.Time
	// MaxDuration ends a call of ours, whatever it waits for. Set it a little
	// longer than the gateway's, so that this one never speaks first. 0 is no
	// bound.
	MaxDuration time.Duration
	// StallTimeout is how long a reader may leave what is written for it
	// untaken, beyond what buffers hold; then its call ends as cancelled. A
	// unary gRPC answer is bounded by MaxDuration alone. 0 is no bound.
	StallTimeout time.Duration
}

// identify gives a call its id and a trail.
func identify(ctx context.Context, clientID string) (context.Context, *face.Trail) {
	trail := &face.Trail{RequestID: uuid.Must(uuid.NewV7()).String(), ClientRequestID: tidy(clientID)}
	return face.WithTrail(ctx, trail), trail
}

// maxClientID bounds the client's id of a call, which is kept in the ledger.
const maxClientID = 128

// tidy keeps what is printable ASCII, since the id stands in headers and logs.
func tidy(id string) string {
	id = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, id)
	return id[:min(len(id), maxClientID)]
}

// authenticate finds out who calls.
func (c *Chain) authenticate(ctx context.Context, authorization, apiKey string) (context.Context, error) {
	secret := auth.Bearer(authorization)
	if secret == "" {
		secret = apiKey
	}
	caller, err := c.Keys.Authenticate(ctx, secret)
	if err != nil {
		var invalid *auth.InvalidError
		switch {
		case errors.As(err, &invalid):
			return nil, err
		case ctx.Err() != nil:
			return nil, ctx.Err()
		}
		return nil, &face.UnavailableError{What: "the store of API keys", Err: err}
	}
	face.TrailOf(ctx).Caller = caller
	return auth.WithCaller(ctx, caller), nil
}

// A PanicError is a panic of whatever served the call.
type PanicError struct{ value any }

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// recovered logs a panic and makes an error of it.
func (c *Chain) recovered(ctx context.Context, value any) error {
	c.Log.ErrorContext(ctx, "panic", "request_id", face.TrailOf(ctx).RequestID, "value", value, "stack", string(debug.Stack()))
	return &PanicError{value}
}

// line is the one line that a call leaves in the log. A failure that the caller
// has caused is told by its reason alone: its text may name what was sent.
func (c *Chain) line(ctx context.Context, trail *face.Trail, method, code string, start time.Time) {
	level := slog.LevelInfo
	attrs := []slog.Attr{
		slog.String("method", method),
		slog.String("tenant", trail.Caller.Tenant),
		slog.String("key", trail.Caller.Key),
		slog.String("code", code),
		slog.Duration("duration", c.Now().Sub(start)),
		slog.String("request_id", trail.RequestID),
	}
	if trail.ClientRequestID != "" {
		attrs = append(attrs, slog.String("client_request_id", trail.ClientRequestID))
	}
	if trail.Err != nil {
		f := face.Explain(trail.Err, trail.RequestID)
		attrs = append(attrs, slog.String("reason", string(f.Reason)))
		switch {
		case f.Reason == face.Internal:
			level = slog.LevelError
		case f.HTTP >= 500:
			level = slog.LevelWarn
		}
		if f.HTTP >= 500 {
			attrs = append(attrs, slog.String("error", face.Logged(trail.Err)))
		}
	}
	c.Log.LogAttrs(ctx, level, "call", attrs...)
}
