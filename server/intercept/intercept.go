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
	// Follow begins to follow a call, for traces, and may read by their names the
	// headers that say which trace it belongs to. What it returns is called once,
	// when the call has ended. Nil follows nothing.
	Follow func(ctx context.Context, header func(string) string) (context.Context, func(Ended))
	// MaxDuration ends a call of ours, whatever it waits for. Set it a little
	// longer than the gateway's, so that this one never speaks first. 0 is no
	// bound.
	MaxDuration time.Duration
	// StallTimeout is how long a reader may leave what is written for it
	// untaken, beyond what buffers hold; then its call ends as cancelled. A
	// unary gRPC answer is bounded by MaxDuration alone. 0 is no bound.
	StallTimeout time.Duration
}

// Ended is how a call has ended, in names alone.
type Ended struct {
	// Method is the gRPC method or the HTTP route, Code its code or status.
	Method, Code string
	// Reason is why it failed, empty where it did not; Fault tells that it was no
	// failure of the caller's.
	Reason string
	Fault  bool
}

// begin is what happens as a call begins. What it returns is to be called when
// the call has ended.
func (c *Chain) begin(ctx context.Context, followed bool, header func(string) string) (context.Context, func(method, code string)) {
	start, trail, tell := c.Now(), face.TrailOf(ctx), func(Ended) {}
	if followed && c.Follow != nil {
		ctx, tell = c.Follow(ctx, header)
	}
	return ctx, func(method, code string) {
		ended := Ended{Method: method, Code: code}
		if trail.Err != nil {
			f := face.Explain(trail.Err, trail.RequestID)
			ended.Reason, ended.Fault = string(f.Reason), f.HTTP >= 500
		}
		tell(ended)
		c.line(ctx, trail, ended, start)
	}
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
func (c *Chain) line(ctx context.Context, trail *face.Trail, ended Ended, start time.Time) {
	level := slog.LevelInfo
	attrs := []slog.Attr{
		slog.String("method", ended.Method),
		slog.String("tenant", trail.Caller.Tenant),
		slog.String("key", trail.Caller.Key),
		slog.String("code", ended.Code),
		slog.Duration("duration", c.Now().Sub(start)),
		slog.String("request_id", trail.RequestID),
	}
	if trail.ClientRequestID != "" {
		attrs = append(attrs, slog.String("client_request_id", trail.ClientRequestID))
	}
	if trail.TraceID != "" {
		attrs = append(attrs, slog.String("trace_id", trail.TraceID))
	}
	if ended.Reason != "" {
		attrs = append(attrs, slog.String("reason", ended.Reason))
		switch {
		case ended.Reason == string(face.Internal):
			level = slog.LevelError
		case ended.Fault:
			level = slog.LevelWarn
		}
		if ended.Fault {
			attrs = append(attrs, slog.String("error", face.Logged(trail.Err)))
		}
	}
	c.Log.LogAttrs(ctx, level, "call", attrs...)
}
