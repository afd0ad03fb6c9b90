package gateway

import (
	"context"
	"fmt"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/outputlog"
	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/idempotency"
)

// Claims are where calls that bring an idempotency key claim it.
type Claims struct {
	Store idempotency.Store
	// Replica and Incarnation are this process, as its leases have them.
	Replica     string
	Incarnation int64
}

const (
	// runningRetry is the guess of when a call that is still running has ended.
	runningRetry = time.Second
	// longAfter is how long a call can go on when its deadline has passed: two
	// writes, and as much again for clocks that differ.
	longAfter = 4 * settleTime
	// mostKept bounds a kept answer, in bytes.
	mostKept = 16 << 20
)

// claimed is the claim of a call on its idempotency key; nil where it brings
// none. Its methods do nothing on nil.
type claimed struct {
	gateway *Gateway
	call    *Call
	key     idempotency.Key
	known   *kept // the answer that the key has already, or nil
	said    Collector
	over    bool // there is nothing to be released
}

// claim claims the key of a call. It fails where the key is not the call's to
// use.
func (g *Gateway) claim(ctx context.Context, call *Call) (*claimed, error) {
	if call.IdempotencyKey == "" {
		return nil, nil
	}
	if g.Claims == nil {
		return nil, unsupported("context.idempotency_key", "this gateway remembers no idempotency keys: leave it out")
	}
	c := &claimed{gateway: g, call: call, key: idempotency.NewKey(call.Caller.Tenant, call.Caller.Project, call.IdempotencyKey)}
	deadline, _ := ctx.Deadline()
	found, err := g.Claims.Store.ClaimKey(ctx, idempotency.Claim{
		ID: c.key.ID, Asks: c.key.Mark(asks(call)), RequestID: call.RequestID,
		Replica: g.Claims.Replica, Incarnation: g.Claims.Incarnation,
		Busy: time.Until(deadline) + longAfter, Keep: idempotency.Lifetime,
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil, refused(ctx, ctx.Err())
		}
		return nil, &Error{Reason: AccountingUnavailable, RetryAfter: time.Second, Err: err, Message: "the idempotency key cannot be looked up at the moment; try again"}
	}
	c.over = found.State != idempotency.Granted
	first := &Error{FirstRequestID: found.RequestID}
	switch found.State {
	case idempotency.Granted:
		return c, nil
	case idempotency.Other:
		first.Reason, first.Field = IdempotencyKeyTaken, "context.idempotency_key"
		first.Message = fmt.Sprintf("the idempotency key is that of call %s, which asks for something else: use a new key for each call, and the same one to repeat it", found.RequestID)
		return nil, first
	case idempotency.Running:
		first.Reason, first.RetryAfter = CallRunning, runningRetry
		first.Message = fmt.Sprintf("call %s has the same idempotency key and may still be running: try again in a while to get its answer", found.RequestID)
		return nil, first
	}
	if found.Answer != nil {
		if c.known, err = unseal(&c.key, found); err == nil {
			return c, nil
		}
		g.Log.WarnContext(ctx, "a kept answer cannot be read; its call is told that none was kept", "request_id", call.RequestID, "error", err)
	}
	first.Reason = AnswerNotKept
	first.Message = fmt.Sprintf("call %s has the same idempotency key and was answered, but its answer was not kept: to call anew, use a new key", found.RequestID)
	return nil, first
}

// asks is what a call asks for, spelled in one way. Whether it is to be streamed
// is not in it, nor the key of API that it comes with.
func asks(call *Call) []byte {
	return idempotency.Spell(struct {
		Model            string
		Request          backend.Request
		Embedding        *Embedding
		Labels           map[string]string
		EndUser, Session string
		MaxCost          *accounting.Money
	}{call.Model, call.Request, call.Embedding, call.Labels, call.EndUser, call.Session, call.MaxCost})
}

// answer is what the key has already, or nil.
func (c *claimed) answer() *kept {
	if c == nil {
		return nil
	}
	return c.known
}

// gather returns the sink to write to, where the answer may be kept.
func (c *claimed) gather(outputs policy.Outputs, sink Sink) Sink {
	if c == nil || !outputlog.KeepsContent(outputs.Mode) {
		return sink
	}
	return gather(sink, &c.said)
}

// keep ends the claim with the answer, and with what it said where that may be
// kept. Where the store does not hear of it, whoever repeats the call is told
// that it is running, and then, by the ledger, that its answer was not kept.
func (c *claimed) keep(ctx context.Context, outputs policy.Outputs, answer *Answer) {
	if c == nil {
		return
	}
	c.over = true
	var sealed []byte
	var err error
	if outputlog.KeepsContent(outputs.Mode) {
		sealed, err = seal(&c.key, answer, &c.said)
	}
	if err == nil {
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
		defer cancel()
		err = c.gateway.Claims.Store.AnswerKey(limited, c.key.ID, c.call.RequestID, sealed)
	}
	if err != nil {
		c.gateway.Log.WarnContext(ctx, "the answer to an idempotency key could not be kept", "request_id", c.call.RequestID, "error", err)
	}
}

// release gives the key back where the call has no answer.
func (c *claimed) release(ctx context.Context) {
	if c == nil || c.over {
		return
	}
	c.over = true
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	if err := c.gateway.Claims.Store.ReleaseKey(ctx, c.key.ID, c.call.RequestID); err != nil {
		c.gateway.Log.WarnContext(ctx, "an idempotency key could not be given back; it is free when its call cannot be running any more", "request_id", c.call.RequestID, "error", err)
	}
}
