package gateway

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/route"
)

// A Follower is told of the stages of calls, for traces and metrics: once when
// a stage begins and, by the func that it returns, once when it ends. Stages
// run in the context that it returns. It is called by the goroutine of the
// call, and where an attempt was overtaken its end and its settling are told by
// another one beside it; never per piece of text, and must not block. What it may keep are names
// and numbers: content is none of its business.
type Follower interface {
	// Input is the judging of what the caller says.
	Input(context.Context, *Call) (context.Context, func(error))
	// Attempt is one try at a target, from the request to the last event; the
	// hold before it is not in it. It may set the request's TraceContext and
	// change nothing else of it.
	Attempt(context.Context, *Call, Try) (context.Context, func(Tried))
	// Settle is the write that ends a hold.
	Settle(context.Context) (context.Context, func(error))
}

// A Try is an attempt that begins.
type Try struct {
	Number  int // from 1
	Target  route.Target
	Request *backend.Request
}

// Tried is what became of an attempt.
type Tried struct {
	BackendModel string // as the backend says it, empty where it said nothing
	Outcome      accounting.Outcome
	Finish       []backend.FinishReason
	Usage        accounting.Usage
	Cost         *accounting.Cost // nil where no price is known
	// FirstEvent is when the backend first said something, zero where it never
	// did; End is when it had said all.
	FirstEvent, End time.Time
	Err             error
}

// Label is a failure as metrics and traces name it: the reason in small
// letters, or internal; empty for no failure.
func Label(err error) string {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return strings.ToLower(string(e.Reason))
	}
	return "internal"
}

// follower is who is told; nobody where that is not set.
func (g *Gateway) follower() Follower {
	if g.Follower == nil {
		return nobody{}
	}
	return g.Follower
}

// nobody follows nothing.
type nobody struct{}

func (nobody) Input(ctx context.Context, _ *Call) (context.Context, func(error)) {
	return ctx, func(error) {}
}

func (nobody) Attempt(ctx context.Context, _ *Call, _ Try) (context.Context, func(Tried)) {
	return ctx, func(Tried) {}
}

func (nobody) Settle(ctx context.Context) (context.Context, func(error)) {
	return ctx, func(error) {}
}
