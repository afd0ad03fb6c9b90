package gateway

import (
	"context"

	"github.com/weir-gateway/weir/server/backend"
)

// release gives the caller what the gate has let go, and notes which candidates
// have ended by that.
func (a *attempt) release() error {
	for _, p := range a.pieces {
		delta, ok := a.delta(p)
		if !ok {
			continue
		}
		_, _, media := p.Channel.Media()
		var course *course
		if delta.Tool == "" && !media {
			course = a.courses[p.Candidate].of(delta.Channel, delta.Call)
		}
		if course != nil {
			course.passed(p)
			delta.Logprobs = course.logprobs()
		}
		if err := a.tell(delta); err != nil {
			return err
		}
		if course != nil && course.waiting != nil {
			if err := a.attach(p.Candidate, delta.Channel, delta.Call, course); err != nil {
				return err
			}
		}
	}
	a.pieces = a.pieces[:0]
	for c := range a.finish {
		if a.finish[c] != "" || !a.gate.Ended(c) {
			continue
		}
		if a.finish[c] = a.ends[c]; a.gate.Blocked(c) {
			a.finish[c] = backend.FinishSafety
		}
	}
	return nil
}

// tell gives the caller a delta. The first leaves at once, and so do all others
// where nothing tells when there are no more.
func (a *attempt) tell(d Delta) error {
	first := !a.released
	if first {
		a.released = true
		a.answer.FirstOutput = a.gateway.Now()
		if a.seen() {
			a.patience.end()
		}
		if err := a.sink.Start(a.answer); err != nil {
			return &sinkError{err}
		}
	}
	if err := a.sink.Delta(d); err != nil {
		return &sinkError{err}
	}
	a.unsent = true
	if first || !a.gathers {
		return a.send()
	}
	return nil
}

// send has what the sink has got leave. Where the caller has gone it fails, and so
// does every send after that.
func (a *attempt) send() error {
	if a.unsent {
		a.unsent = false
		if err := a.sink.Flush(); err != nil {
			a.gone = &sinkError{err}
		}
	}
	return a.gone
}

// gather returns a stream's Recv. Pieces that the backend has sent together leave
// together, where the stream can tell when there are no more: that costs no time,
// since nothing leaves later than the moment at which there is nothing else to do.
func (a *attempt) gather(cancel context.CancelFunc, stream backend.Stream) func() (backend.Event, error) {
	waiter, tells := a.stream.(backend.Waiter)
	if !tells {
		return stream.Recv
	}
	a.gathers = true
	waiter.BeforeWait(func() {
		if a.send() != nil {
			cancel() // nobody waits for what the backend would say
		}
	})
	return func() (backend.Event, error) {
		event, err := stream.Recv()
		if a.gone != nil {
			err = a.gone
		}
		return event, err
	}
}

// seen tells whether the caller has got something that cannot be taken back.
func (a *attempt) seen() bool {
	_, restarts := a.sink.(Restarter)
	return a.released && !restarts
}
