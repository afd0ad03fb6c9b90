package httpstream

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/weir-gateway/weir/server/backend"
)

// A Decoder turns the events of one answer into the neutral form. Its errors
// are *backend.Error; what they say of the wire is its shape, never its text.
type Decoder interface {
	// Decode reads one event of the wire, whose slices are good until it
	// returns. It tells whether the server has said all by it.
	Decode(name, data []byte) (done bool, err error)
	// Finished tells whether every candidate has.
	Finished() bool
	// End reads the end of the stream; done tells that the server has announced
	// it. It fails where the answer is not whole.
	End(done bool) error
	// Take returns the events that have come since it was called last. They are
	// good until the next call of another method.
	Take() []backend.Event
}

// stream reads one answer. The goroutine that calls Recv does all its work.
type stream struct {
	ctx    context.Context // the caller's
	cancel context.CancelFunc
	body   *announced
	header http.Header // of the answer, until Signals has told it
	client *Client
	read   *eventReader
	decode Decoder
	events []backend.Event
	// end is what Recv returns after the events that are left.
	end    error
	closed bool
}

// announced is the body of an answer. Before it is read, which may wait, it calls
// before, where that is set.
type announced struct {
	io.ReadCloser
	before func()
}

func (b *announced) Read(p []byte) (int, error) {
	if b.before != nil {
		b.before()
	}
	return b.ReadCloser.Read(p)
}

// BeforeWait implements backend.Waiter: what has come is in the eventReader, which
// reads the body when that is used up.
func (s *stream) BeforeWait(f func()) { s.body.before = f }

var errClosed = errors.New("stream is closed: do not call Recv after Close")

// Recv implements backend.Stream.
func (s *stream) Recv() (backend.Event, error) {
	if s.closed {
		return backend.Event{}, errClosed
	}
	for len(s.events) == 0 {
		if s.end != nil {
			return backend.Event{}, s.end
		}
		s.end = s.advance()
		s.events = s.decode.Take()
	}
	event := s.events[0]
	s.events = s.events[1:]
	return event, nil
}

// advance reads one event of the wire. It returns how the stream ends, nil
// while it goes on.
func (s *stream) advance() error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	name, data, err := s.read.next()
	switch {
	case err == nil:
		done, err := s.decode.Decode(name, data)
		if done && err == nil {
			return s.whole(s.decode.End(true))
		}
		if err != nil && s.read.cut && backend.ClassOf(err) == backend.Protocol {
			err = &backend.Error{Class: backend.Broken, Detail: "stream broke off in a chunk", Err: err}
		}
		return s.client.named(err)
	case s.ctx.Err() != nil:
		return s.ctx.Err()
	case errors.Is(err, errTooLong):
		return s.client.named(&backend.Error{Class: backend.Protocol, Detail: "event of the stream is too long", Err: err})
	case err == io.EOF || s.decode.Finished():
		// A connection that breaks after the last candidate has finished
		// takes away the usage and nothing of the answer.
		return s.whole(s.decode.End(false))
	}
	return s.client.named(&backend.Error{Class: backend.Broken, Detail: "stream broke off", Err: s.client.hidden(err)})
}

func (s *stream) whole(err error) error {
	if err != nil {
		return s.client.named(err)
	}
	return io.EOF
}

// drainTime is what a server gets to end its response after a whole answer, so
// that the connection can be used again.
const drainTime = 100 * time.Millisecond

// Close implements backend.Stream.
func (s *stream) Close() error {
	if s.closed {
		return nil
	}
	s.closed, s.body.before = true, nil
	if s.end == io.EOF && len(s.events) == 0 {
		stop := time.AfterFunc(drainTime, s.cancel)
		_, _ = io.CopyN(io.Discard, s.body, 4<<10) // the rest of a whole answer, so that the connection can be used again
		stop.Stop()
	}
	s.cancel()
	// The error of a body that was cancelled says nothing.
	s.body.Close()
	return nil
}
