package gateway

import "github.com/weir-gateway/weir/server/backend"

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

// tell gives the caller a delta.
func (a *attempt) tell(d Delta) error {
	if !a.released {
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
	return nil
}

// seen tells whether the caller has got something that cannot be taken back.
func (a *attempt) seen() bool {
	_, restarts := a.sink.(Restarter)
	return a.released && !restarts
}
