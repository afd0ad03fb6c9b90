package openai

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"github.com/weir-gateway/weir/server/backend"
)

// stream reads one answer. The goroutine that calls Recv does all its work.
type stream struct {
	ctx     context.Context // the caller's
	cancel  context.CancelFunc
	body    io.ReadCloser
	backend *Backend
	read    *eventReader
	decode  *decoder
	// next is the place of the next event in decode.events.
	next int
	// end is what Recv returns after the events that are left.
	end    error
	closed bool
}

var errClosed = errors.New("stream is closed: do not call Recv after Close")

func newStream(ctx context.Context, cancel context.CancelFunc, body io.ReadCloser, candidates int, b *Backend) *stream {
	return &stream{ctx: ctx, cancel: cancel, body: body, backend: b, read: newEventReader(body), decode: newDecoder(candidates, b.secrets)}
}

// Recv implements backend.Stream.
func (s *stream) Recv() (backend.Event, error) {
	if s.closed {
		return backend.Event{}, errClosed
	}
	for s.next == len(s.decode.events) {
		if s.end != nil {
			return backend.Event{}, s.end
		}
		s.decode.events, s.next = s.decode.events[:0], 0
		s.end = s.advance()
	}
	event := s.decode.events[s.next]
	s.next++
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
	case err == nil && bytes.HasPrefix(data, []byte("[DONE]")):
		return s.whole(s.decode.close(true))
	case err == nil && string(name) == "error":
		return s.backend.named(classify(0, parseFailure(data, s.backend.secrets)))
	case err == nil && len(bytes.TrimSpace(data)) == 0:
		return nil
	case err == nil:
		err := s.decode.decode(data)
		if s.read.cut && backend.ClassOf(err) == backend.Protocol && err != nil {
			err = &backend.Error{Class: backend.Broken, Detail: "stream broke off in a chunk", Err: err}
		}
		return s.backend.named(err)
	case s.ctx.Err() != nil:
		return s.ctx.Err()
	case errors.Is(err, errTooLong):
		return s.backend.named(&backend.Error{Class: backend.Protocol, Detail: "event of the stream is too long", Err: err})
	case err == io.EOF || s.decode.unfinished == 0:
		// A connection that breaks after the last candidate has finished
		// takes away the usage and nothing of the answer.
		return s.whole(s.decode.close(false))
	}
	return s.backend.named(&backend.Error{Class: backend.Broken, Detail: "stream broke off", Err: s.backend.hidden(err)})
}

func (s *stream) whole(err error) error {
	if err != nil {
		return s.backend.named(err)
	}
	return io.EOF
}

// named puts the server's name into an error and hides secrets.
func (b *Backend) named(err error) error {
	var e *backend.Error
	if errors.As(err, &e) {
		e.Detail = b.config.Name + ": " + b.secrets.Replace(e.Detail)
	}
	return err
}

// drainTime is what a server gets to end its response after a whole answer, so
// that the connection can be used again.
const drainTime = 100 * time.Millisecond

// Close implements backend.Stream.
func (s *stream) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	if s.end == io.EOF && s.next == len(s.decode.events) {
		stop := time.AfterFunc(drainTime, s.cancel)
		_, _ = io.CopyN(io.Discard, s.body, 4<<10) // the rest of a whole answer, so that the connection can be used again
		stop.Stop()
	}
	s.cancel()
	// The error of a body that was cancelled says nothing.
	s.body.Close()
	return nil
}
