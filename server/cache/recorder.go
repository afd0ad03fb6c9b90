package cache

import (
	"reflect"
	"slices"
	"strings"

	"github.com/weir-gateway/weir/server/backend"
)

// pieceBytes is how long the text of an event becomes, by others that follow it.
// Backends say a few bytes at a time, and each event takes as much memory as a
// page of text.
const pieceBytes = 1 << 10

// A Recorder takes down what a backend says, to be kept. It is used by one
// goroutine at a time.
type Recorder struct {
	most   int64 // bytes that can be kept
	size   int64
	events []backend.Event
	text   []byte // of the last event, which grows
	ended  bool
	unfit  bool
}

// Recorder begins to take down an answer.
func (c *Cache) Recorder() *Recorder {
	c.mu.Lock()
	defer c.mu.Unlock()
	return &Recorder{most: c.most()}
}

// Hear takes down an event.
func (r *Recorder) Hear(e backend.Event) {
	switch {
	case r.unfit || e.Kind == backend.Used || e.Kind == backend.Served: // these are kept with the answer
		return
	case e.Candidate != 0:
		r.unfit = true
	}
	switch e.Kind {
	case backend.Delta:
		if last := len(r.events) - 1; len(r.text) > 0 && len(r.text)+len(e.Text) <= pieceBytes && len(e.Logprobs) == 0 &&
			r.events[last].Channel == e.Channel && r.events[last].Call == e.Call {
			r.text = append(r.text, e.Text...)
			r.grow(int64(len(e.Text)))
			return
		}
	case backend.Finished:
		// The others tell of an answer that lacks something, or that another call may
		// not have to put up with.
		r.ended = true
		r.unfit = r.unfit || e.Finish != backend.FinishStop && e.Finish != backend.FinishToolCalls
	case backend.Started, backend.Called, backend.Signed, backend.Beside:
	default:
		r.unfit = true // it is of a kind that came later
	}
	r.flush()
	if e.Kind == backend.Delta && len(e.Logprobs) == 0 {
		r.text = append(r.text, e.Text...)
	}
	// What is kept may not keep the memory of what it was read from.
	e.Text, e.Tool, e.CallID, e.BackendModel = strings.Clone(e.Text), strings.Clone(e.Tool), strings.Clone(e.CallID), strings.Clone(e.BackendModel)
	e.Logprobs = slices.Clone(e.Logprobs)
	r.events = append(r.events, e)
	r.grow(sizeOf(&e))
}

// flush ends the event whose text grows.
func (r *Recorder) flush() {
	if len(r.text) > 0 {
		r.events[len(r.events)-1].Text = string(r.text)
		r.text = r.text[:0]
	}
}

func (r *Recorder) grow(n int64) {
	if r.size += n; r.size > r.most {
		r.unfit = true
	}
	if r.unfit {
		r.events, r.text = nil, nil
	}
}

// Events are what was taken down; nil where that is no whole answer that may be
// given again.
func (r *Recorder) Events() []backend.Event {
	if r.unfit || !r.ended {
		return nil
	}
	r.flush()
	return slices.Clip(r.events)
}

// size is what an answer takes of memory, about.
func (a *Answer) size() int64 {
	n := overhead
	for i := range a.Events {
		n += sizeOf(&a.Events[i])
	}
	return n
}

var (
	eventBytes   = int64(reflect.TypeFor[backend.Event]().Size())
	logprobBytes = int64(reflect.TypeFor[backend.Logprob]().Size())
	// overhead is what an answer takes beside its events: itself, its place, and its
	// share of a map and a list.
	overhead = int64(reflect.TypeFor[Answer]().Size()+reflect.TypeFor[kept]().Size()) + 256
)

func sizeOf(e *backend.Event) int64 {
	n := eventBytes + int64(len(e.Text)+len(e.Tool)+len(e.CallID)+len(e.BackendModel))
	for i := range e.Logprobs {
		n += sizeOfLogprob(&e.Logprobs[i])
	}
	if s := e.Signature; s != nil {
		n += int64(len(s.Data)+len(s.Signer)) + 64
	}
	for vendor, object := range e.Extras {
		n += int64(len(vendor)+len(object)) + 64
	}
	return n
}

func sizeOfLogprob(l *backend.Logprob) int64 {
	n := logprobBytes + int64(len(l.Token)+len(l.Bytes))
	for i := range l.Alternatives {
		n += sizeOfLogprob(&l.Alternatives[i])
	}
	return n
}
