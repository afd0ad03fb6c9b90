package gateway

import (
	"github.com/weir-gateway/weir/server/backend"
)

// serve is the call at the target. Where a goroutine beside has asked it, its
// answer is waited for.
func (a *attempt) serve() error {
	defer a.hangUp() // whatever the backend still says, nobody wants
	stream := backend.Stream(&a.opening)
	if a.beside != nil {
		a.beside.wait()
	} else {
		a.unheard = a.reach()
		stream = a.stream
	}
	stream = a.recall.hear(stream)
	switch {
	case a.unheard != nil:
		return a.patience.blame(a.unheard)
	case a.call.Embedding != nil:
		a.embedded()
		return nil
	}
	return a.follow(a.ctx, a.cancel, stream)
}

// reach asks the target. It changes nothing that attempts have in common.
func (a *attempt) reach() (err error) {
	if a.known != nil {
		a.stream, a.accepted = a.say(), true
		return nil
	}
	a.asked = true
	if a.call.Embedding != nil {
		err = a.embed()
	} else if a.stream, err = a.target.Backend.Generate(a.ctx, &a.request); err == nil {
		a.signals()
	}
	a.accepted = err == nil
	return err
}

// signals takes what the backend says of itself beside its answer.
func (a *attempt) signals() {
	if said, says := a.stream.(backend.Signaller); says {
		a.try.Hear(a.gateway.Now(), said.Signals())
	}
}

// hangUp ends the call at the backend.
func (a *attempt) hangUp() {
	if a.accepted && a.stream != nil {
		a.signals()
		_ = a.stream.Close() // nobody wants the rest
	}
	a.patience.end()
	a.cancel()
}

// await reaches the target and reads its answer up to where it begins. It may run
// beside another attempt.
func (a *attempt) await() {
	if a.unheard = a.ctx.Err(); a.unheard != nil {
		return // it has lost before it was asked
	}
	if a.unheard = a.reach(); a.unheard == nil && a.call.Embedding == nil {
		a.opening.begin(a.stream, a.patience)
	}
}

// unanswered is why an attempt that was waited for has no answer; nil where one
// has begun.
func (a *attempt) unanswered() error {
	if a.unheard != nil {
		return a.unheard
	}
	return a.opening.err
}

// opening is a stream of which the first events have been read.
type opening struct {
	backend.Stream
	read []backend.Event
	err  error // what came in the place of more
}

// mostRead bounds what is read of an answer that does not begin.
const mostRead = 64

// begin reads up to the first event that is of the answer itself.
func (o *opening) begin(stream backend.Stream, patience *patience) {
	o.Stream = stream
	for len(o.read) < mostRead {
		event, err := stream.Recv()
		if err != nil {
			o.err = err
			return
		}
		patience.heard()
		o.read = append(o.read, event)
		switch event.Kind {
		case backend.Started, backend.Used, backend.Beside, backend.Served:
		default:
			return
		}
	}
}

// Recv implements backend.Stream.
func (o *opening) Recv() (backend.Event, error) {
	if len(o.read) > 0 {
		event := o.read[0]
		o.read = o.read[1:]
		return event, nil
	}
	if o.err != nil {
		return backend.Event{}, o.err
	}
	return o.Stream.Recv()
}

// count notes the text that was read, where nobody will hear it.
func (o *opening) count(a *attempt) {
	for _, e := range o.read {
		switch {
		case e.Candidate < 0 || e.Candidate >= len(a.finish):
		case e.Kind == backend.Delta:
			a.output.Add(e.Candidate, e.Channel, e.Text)
		case e.Kind == backend.Called:
			a.output.Add(e.Candidate, backend.Arguments, e.Tool)
		}
	}
}
