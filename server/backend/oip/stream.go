package oip

import (
	"context"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"google.golang.org/grpc"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/gen/inference"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/grpcclient"
)

// A refusal is what Triton says in a stream, which goes on.
type refusal string

func (r refusal) Error() string { return string(r) }

// responses starts a call. The func returns its responses one by one and io.EOF
// after the last.
func (b *Backend) responses(ctx context.Context, in *inference.ModelInferRequest, how Streaming) (func() (*inference.ModelInferResponse, error), error) {
	switch how {
	case Triton:
		wire, err := b.client.ModelStreamInfer(ctx)
		if err = begin(wire, in, err); err != nil {
			return nil, err
		}
		return func() (*inference.ModelInferResponse, error) {
			out, err := wire.Recv()
			if text := out.GetErrorMessage(); err == nil && text != "" {
				err = refusal(text)
			}
			return out.GetInferResponse(), err
		}, nil
	case MLServer:
		wire, err := b.conn.NewStream(ctx, &inference.GRPCInferenceService_ServiceDesc.Streams[0], inference.GRPCInferenceService_ModelStreamInfer_FullMethodName)
		if err = begin(wire, in, err); err != nil {
			return nil, err
		}
		return func() (*inference.ModelInferResponse, error) {
			out := new(inference.ModelInferResponse)
			return out, wire.RecvMsg(out)
		}, nil
	}
	asked := false
	return func() (*inference.ModelInferResponse, error) {
		if asked {
			return nil, io.EOF
		}
		asked = true
		return b.client.ModelInfer(ctx, in)
	}, nil
}

// begin sends the one request of a call. Where that fails the first response says
// why.
func begin(wire grpc.ClientStream, in *inference.ModelInferRequest, err error) error {
	if err != nil {
		return err
	}
	if err = wire.SendMsg(in); err != nil && err != io.EOF {
		return err
	}
	return wire.CloseSend()
}

// stream reads one answer. The goroutine that calls Recv does all its work.
type stream struct {
	ctx     context.Context // the caller's
	cancel  context.CancelFunc
	backend *Backend
	model   *model
	most    *int // the limit of output that was asked for
	receive func() (*inference.ModelInferResponse, error)

	started bool
	text    joiner
	finish  backend.FinishReason // empty until the server has said it
	input   *int64
	output  *int64

	events []backend.Event
	taken  int   // how many of events Recv has returned
	end    error // what Recv returns after them
	closed bool
}

var errClosed = errors.New("stream is closed: do not call Recv after Close")

// Recv implements backend.Stream.
func (s *stream) Recv() (backend.Event, error) {
	if s.closed {
		return backend.Event{}, errClosed
	}
	for {
		if e := s.next(); e != nil {
			return *e, nil
		}
		if s.end != nil {
			return backend.Event{}, s.end
		}
		s.end = s.advance()
	}
}

// next is an event that waits, nil where there is none.
func (s *stream) next() *backend.Event {
	if s.taken == len(s.events) {
		s.events, s.taken = s.events[:0], 0
		return nil
	}
	s.taken++
	return &s.events[s.taken-1]
}

func (s *stream) add(e backend.Event) { s.events = append(s.events, e) }

// advance reads one response. It returns how the stream ends, nil while it goes
// on.
func (s *stream) advance() error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	r, err := s.receive()
	var said refusal
	switch {
	case err == io.EOF:
		return s.complete()
	case errors.As(err, &said):
		return s.refused(string(said))
	case err != nil:
		return s.backend.conn.Failure(s.ctx, err, s.started)
	}
	if !s.started {
		s.started = true
		if name := r.GetModelName(); name != "" {
			if v := r.GetModelVersion(); v != "" {
				name += ":" + v
			}
			s.add(backend.Event{Kind: backend.Started, BackendModel: name})
		}
	}
	if err := s.read(r); err != nil {
		return s.backend.conn.Error(backend.Protocol, "%s", err)
	}
	return nil
}

// refused sorts what Triton says without a code.
func (s *stream) refused(text string) error {
	class := backend.Failed
	switch {
	case s.started:
		class = backend.Broken
	case grpcclient.Overloaded(text):
		class = backend.Overloaded
	case grpcclient.TooLong(text):
		class = backend.ContextExceeded
	case strings.Contains(text, "unknown model"):
		class = backend.ModelMissing
	}
	return s.backend.conn.Error(class, "the server says: %s", s.backend.conn.Quote(text))
}

func (s *stream) read(r *inference.ModelInferResponse) error {
	if len(r.GetOutputs()) == 0 {
		return nil // Triton's sign that no more will come
	}
	if err := s.counts(r); err != nil {
		return err
	}
	if reason, err := find(r, "finish_reason", ""); err != nil {
		return err
	} else if reason != nil {
		texts, err := reason.texts()
		if err != nil {
			return err
		}
		if len(texts) > 0 {
			s.finished(string(texts[0]))
		}
	}
	text, err := find(r, s.backend.config.Text, bytesType)
	if err != nil || text == nil {
		if err == nil && len(s.model.outputs) == 0 {
			err = errors.New("no tensor of the response is the text: name it under oip.text")
		}
		return err
	}
	pieces, err := text.texts()
	switch {
	case err != nil:
		return err
	case len(pieces) > 1:
		return text.bad("has %d answers, one was asked for", len(pieces))
	case len(pieces) == 1:
		s.say(s.text.add(pieces[0]))
	}
	return nil
}

func (s *stream) say(text string) {
	if text != "" {
		s.add(backend.Event{Kind: backend.Delta, Channel: backend.Content, Text: text})
	}
}

// counts reads what was used: the input whole, the output of this response.
func (s *stream) counts(r *inference.ModelInferResponse) error {
	if n, known, err := count(r, "num_input_tokens"); err != nil {
		return err
	} else if known {
		s.input = &n
	}
	n, known, err := count(r, "num_output_tokens")
	if err == nil && known {
		if s.output == nil {
			s.output = new(int64)
		}
		*s.output += n
	}
	return err
}

func count(r *inference.ModelInferResponse, name string) (n int64, known bool, err error) {
	o, err := find(r, name, "")
	if err != nil || o == nil {
		return 0, false, err
	}
	n, known, err = o.count()
	return min(n, maxTokens), known, err
}

// maxTokens of one response are beyond every model, and sums of them no overflow.
const maxTokens = 1 << 40

// finished takes vLLM's reason, which is None while the answer goes on.
func (s *stream) finished(reason string) {
	switch strings.ToLower(reason) {
	case "", "none", "null":
	case "stop":
		s.finish = backend.FinishStop
	case "length":
		s.finish = backend.FinishLength
	default:
		s.finish = backend.FinishUnknown
	}
}

// complete ends an answer. A model that tells why it ends has not ended where it
// has not told.
func (s *stream) complete() error {
	switch {
	case !s.started:
		return s.backend.conn.Error(backend.Broken, "stream ended before the answer began")
	case s.finish == "" && s.model.gives("return_finish_reason", "finish_reason"):
		return s.backend.conn.Error(backend.Broken, "stream ended before the answer had")
	case s.finish == "" && s.most != nil && s.output != nil && *s.output >= int64(*s.most):
		s.finish = backend.FinishLength
	case s.finish == "":
		s.finish = backend.FinishUnknown
	}
	s.say(s.text.flush())
	s.add(backend.Event{Kind: backend.Finished, Finish: s.finish})
	var u accounting.Usage
	if s.input != nil {
		u.Set(accounting.Input, *s.input)
	}
	if s.output != nil {
		u.Set(accounting.Output, *s.output)
	}
	if u.Known() {
		s.add(backend.Event{Kind: backend.Used, Usage: u})
	}
	return io.EOF
}

// Close implements backend.Stream.
func (s *stream) Close() error {
	s.closed = true
	s.cancel()
	return nil
}

// A joiner makes text of bytes that are cut anywhere.
type joiner struct{ rest []byte } // the beginning of a rune

func (j *joiner) add(piece []byte) string {
	all := piece
	if len(j.rest) > 0 {
		all = append(j.rest, piece...)
	}
	n := len(all)
	for i := 1; i < utf8.UTFMax && i <= len(all); i++ {
		if b := all[len(all)-i]; utf8.RuneStart(b) {
			if !utf8.FullRune(all[len(all)-i:]) {
				n -= i
			}
			break
		}
	}
	text := strings.ToValidUTF8(string(all[:n]), "\uFFFD")
	j.rest = append([]byte(nil), all[n:]...)
	return text
}

// flush is what is left of a rune that was never whole.
func (j *joiner) flush() string {
	text := strings.ToValidUTF8(string(j.rest), "\uFFFD")
	j.rest = nil
	return text
}
