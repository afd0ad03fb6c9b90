package gateway

import (
	"context"
	"fmt"
	"sync"

	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/server/backend"
)

// asking runs the questions of remote rules beside a call. Each is a goroutine
// that ends with its answer, with the call, or with stop.
type asking struct {
	gateway *Gateway
	call    *Call
	ctx     context.Context
	cancel  context.CancelFunc
	answers chan answered
	gone    chan struct{} // nobody takes answers any more
	running sync.WaitGroup
}

type answered struct {
	id        int64
	judgement policy.Judgement
}

func (g *Gateway) ask(ctx context.Context, call *Call) *asking {
	a := &asking{gateway: g, call: call, answers: make(chan answered), gone: make(chan struct{})}
	a.ctx, a.cancel = context.WithCancel(ctx)
	return a
}

func (a *asking) start(questions []policy.Question) {
	for _, q := range questions {
		a.running.Go(func() {
			got := answered{q.ID, a.judge(q)}
			select {
			case a.answers <- got:
			case <-a.gone:
			}
		})
	}
}

func (a *asking) judge(q policy.Question) (j policy.Judgement) {
	g := a.gateway
	defer func() {
		// A judgement that fails is one that its rule has a word for; a panic
		// here would end everybody's calls.
		if p := recover(); p != nil {
			j = policy.Judgement{Failed: true, Cause: fmt.Errorf("panic: %v", p), At: g.Now()}
		}
		if j.Failed && j.Cause != nil && a.ctx.Err() == nil {
			g.Log.WarnContext(a.ctx, "a remote rule has no judgement", "request_id", a.call.RequestID, "policy", q.Policy, "rule", q.Rule, "error", j.Cause)
		}
	}()
	if g.Judge == nil {
		return policy.Judgement{Failed: true, Cause: fmt.Errorf("this gateway has no judge"), At: g.Now()}
	}
	return g.Judge(a.ctx, a.call, q)
}

// stop ends what is still asked and waits until it has ended. It may be called
// more than once.
func (a *asking) stop() {
	a.cancel()
	select {
	case <-a.gone:
	default:
		close(a.gone)
	}
	a.running.Wait()
}

// pump reads a stream in a goroutine of its own, so that its reader can wait for
// something else as well.
type pump struct {
	events chan received
	ended  chan struct{}
}

type received struct {
	event backend.Event
	err   error
}

// newPump starts one, which ends with the context and at the first error.
func newPump(ctx context.Context, stream backend.Stream) *pump {
	p := &pump{make(chan received), make(chan struct{})}
	go func() {
		defer close(p.ended)
		for {
			event, err := stream.Recv()
			select {
			case p.events <- received{event, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return p
}
