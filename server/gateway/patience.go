package gateway

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/weir-gateway/weir/server/backend"
)

const (
	// mostShares is over how many attempts what is left of a deadline is split.
	mostShares = 3
	// longEnough is how long a backend must have been silent for that to tell
	// against it: a caller with a short deadline must not get targets ejected.
	longEnough = 10 * time.Second
	// firstPause is the most that is waited before the second retry; it doubles
	// with each, up to mostPause. The first retry goes at once.
	firstPause = 25 * time.Millisecond
	mostPause  = 400 * time.Millisecond
)

// errNotAsked is what an attempt tells of a target that it has not called.
var errNotAsked = errors.New("the backend was not called")

// patience ends an attempt whose backend has said nothing for its share of the
// call's deadline, or nothing more for half of that, while another target could
// still answer. Its methods do nothing on nil.
type patience struct {
	share  time.Duration
	timer  *time.Timer
	events atomic.Int64
	state  atomic.Int32
}

// The states of a patience: it watches, it is over, it has ended the attempt.
const (
	watching = iota
	over
	gone
)

// wait begins to be patient, by the call's deadline and the targets that are
// left; nil where none is.
func (a *attempt) wait(ctx context.Context, cancel func()) *patience {
	deadline, bounded := ctx.Deadline()
	left := a.tries.Left()
	if left == 0 || !bounded {
		return nil
	}
	p := &patience{share: time.Until(deadline) / time.Duration(min(left+1, mostShares))}
	var seen int64
	p.timer = time.AfterFunc(p.share+time.Hour, func() { // it is wound once it is known to itself
		// To wind the timer with every event would cost more than to look now and
		// then whether there were any.
		if events := p.events.Load(); events != seen {
			seen = events
			p.timer.Reset(p.share / 2)
			return
		}
		if p.state.CompareAndSwap(watching, gone) {
			cancel()
		}
	})
	p.timer.Reset(p.share)
	return p
}

// heard notes that the backend has said something.
func (p *patience) heard() {
	if p != nil {
		p.events.Add(1)
	}
}

// end stops the watch: nothing can be tried again any more, or need be.
func (p *patience) end() {
	if p != nil {
		p.state.CompareAndSwap(watching, over)
		p.timer.Stop()
	}
}

// blame returns what cut the attempt short, where err is only that we did.
func (p *patience) blame(err error) error {
	if p == nil || p.state.Load() != gone {
		return err
	}
	silent := &backend.Error{Class: backend.Unreachable, Detail: fmt.Sprintf("it was silent; %s was its share of the deadline", p.share.Round(time.Millisecond))}
	if p.share < longEnough {
		silent.Err = context.DeadlineExceeded
	}
	return silent
}

// heard notes that the backend has begun to answer.
func (a *attempt) heard() {
	if a.first.IsZero() {
		a.first = a.gateway.Now()
		a.try.Answered(a.first)
	}
}

// again tells whether there is another attempt after this one has failed. The
// answer is the same every time: it takes the retry from the model's budget.
func (a *attempt) again() bool {
	if !a.decided {
		a.decided = true
		a.another = a.tries.Left() > 0 && (!a.asked || a.tries.Again(a.gateway.Now()))
	}
	return a.another
}

// pause waits a random time before a retry, so that the calls that one backend
// has failed do not all reach the next in the same moment.
func pause(ctx context.Context, failed int) {
	if failed < 2 {
		return
	}
	most := min(mostPause, firstPause<<(failed-2))
	timer := time.NewTimer(time.Duration(rand.Int64N(int64(most))))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// howItFailed is a failed attempt in a word for people: the class of the
// backend's failure, or our reason.
func howItFailed(err error) string {
	var failed *backend.Error
	var told *Error
	switch {
	case errors.As(err, &failed):
		return string(failed.Class)
	case errors.As(err, &told):
		return string(told.Reason)
	}
	return "failed"
}
