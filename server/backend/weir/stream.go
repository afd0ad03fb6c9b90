package weir

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/load"
)

// stream reads one answer. The goroutine that calls Recv does all its work.
type stream struct {
	ctx        context.Context // the caller's
	cancel     context.CancelFunc
	wire       grpc.ServerStreamingClient[weirv1.StreamGenerateResponse]
	backend    *Backend
	candidates []candidate
	received   bool
	event      backend.Event   // what Recv returns next; no kind where there is none
	after      []backend.Event // and what after it
	// end is what Recv returns after that.
	end    error
	ended  bool // the wire has; its trailer is there, until Signals has told it
	closed bool
}

type candidate struct {
	calls    int
	last     backend.Channel // what a signature is of
	finished bool
}

var errClosed = errors.New("stream is closed: do not call Recv after Close")

// Recv implements backend.Stream.
func (s *stream) Recv() (backend.Event, error) {
	if s.closed {
		return backend.Event{}, errClosed
	}
	for s.event.Kind == 0 {
		if s.end != nil {
			return backend.Event{}, s.end
		}
		s.end = s.advance()
	}
	event := s.event
	s.event = backend.Event{}
	if len(s.after) > 0 {
		s.event, s.after = s.after[0], s.after[1:]
	}
	return event, nil
}

// advance reads one event of the wire. It returns how the stream ends, nil
// while it goes on.
func (s *stream) advance() error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	in, err := s.wire.Recv()
	s.ended = err != nil
	if err == io.EOF {
		return s.broken(backend.Broken, "stream ended without its last event")
	}
	if err != nil {
		return s.failed(err)
	}
	first := !s.received
	s.received = true
	switch e := in.GetEvent().(type) {
	case *weirv1.StreamGenerateResponse_Started:
		if !first {
			return s.broken(backend.Protocol, "the answer began after its first event")
		}
		if model := modelOf(e.Started.GetTarget()); model != "" {
			s.event = backend.Event{Kind: backend.Started, BackendModel: model}
		}
	case *weirv1.StreamGenerateResponse_Delta:
		return s.delta(e.Delta)
	case *weirv1.StreamGenerateResponse_CandidateDone:
		return s.finish(e.CandidateDone)
	case *weirv1.StreamGenerateResponse_Completed:
		return s.complete(e.Completed)
	}
	return nil // or an event that a later version adds
}

// modelOf is what the server calls the model: its backend's name for it where
// it tells that.
func modelOf(t *weirv1.Target) string {
	if model := t.GetBackendModel(); model != "" {
		return model
	}
	return t.GetModel()
}

func (s *stream) broken(class backend.Class, format string, args ...any) error {
	return &backend.Error{Class: class, Detail: s.backend.config.Name + ": " + fmt.Sprintf(format, args...)}
}

// candidate is one that may still say something.
func (s *stream) candidate(index int32) (*candidate, error) {
	if index < 0 || int(index) >= len(s.candidates) {
		return nil, s.broken(backend.Protocol, "candidate %d came, %d were asked for", index, len(s.candidates))
	}
	c := &s.candidates[index]
	if c.finished {
		return nil, s.broken(backend.Protocol, "candidate %d spoke after its end", index)
	}
	return c, nil
}

func (s *stream) delta(d *weirv1.DeltaEvent) error {
	c, err := s.candidate(d.GetCandidateIndex())
	if err != nil {
		return err
	}
	event := backend.Event{Kind: backend.Delta, Candidate: int(d.GetCandidateIndex()), Logprobs: neutralLogprobs(d.GetLogprobs())}
	switch p := d.GetPiece().(type) {
	case *weirv1.DeltaEvent_Text:
		event.Channel, event.Text = backend.Content, p.Text
	case *weirv1.DeltaEvent_ReasoningText:
		event.Channel, event.Text = backend.Reasoning, p.ReasoningText
	case *weirv1.DeltaEvent_RefusalText:
		event.Channel, event.Text = backend.Refusal, p.RefusalText
	case *weirv1.DeltaEvent_TranscriptText:
		event.Channel, event.Text = backend.Transcript, p.TranscriptText
	case *weirv1.DeltaEvent_ToolCall:
		call := p.ToolCall
		if int(call.GetIndex()) != c.calls || call.GetName() == "" {
			return s.broken(backend.Protocol, "call %d of a tool came as the one of number %d, or without a name", call.GetIndex(), c.calls)
		}
		c.calls++
		event.Kind, event.Call, event.CallID, event.Tool = backend.Called, int(call.GetIndex()), call.GetId(), call.GetName()
		s.event, c.last = event, backend.Arguments
		return nil
	case *weirv1.DeltaEvent_ToolArguments:
		n := p.ToolArguments.GetIndex()
		if n < 0 || int(n) >= c.calls {
			return s.broken(backend.Protocol, "arguments of call %d of a tool came, and %d calls had begun", n, c.calls)
		}
		event.Channel, event.Call, event.Text = backend.Arguments, int(n), p.ToolArguments.GetText()
	case *weirv1.DeltaEvent_Media:
		event.Kind, event.Media = backend.Shown, neutralMedia(p.Media)
		if event.Media == nil {
			return nil // of a kind that a later version adds
		}
		if err := event.Media.Check(); err != nil {
			return s.broken(backend.Protocol, "%s", err.Error())
		}
		s.event, c.last = event, backend.Content
		return nil
	case *weirv1.DeltaEvent_Signature:
		event.Kind, event.Channel, event.Call = backend.Signed, c.last, c.calls-1
		if p.Signature.GetHidden() || event.Channel == "" {
			event.Channel = backend.Reasoning
		}
		event.Signature = &backend.Signature{Signer: p.Signature.GetSigner(), Data: p.Signature.GetData(), Hidden: p.Signature.GetHidden()}
		if event.Signature.Signer != "" && event.Signature.Data != "" {
			s.event = event
		}
		return nil
	}
	c.last = event.Channel
	if event.Text != "" {
		s.event = event
	}
	return nil
}

func (s *stream) finish(done *weirv1.CandidateDoneEvent) error {
	c, err := s.candidate(done.GetCandidateIndex())
	if err != nil {
		return err
	}
	reason := backend.FinishUnknown
	switch done.GetFinishReason() {
	case weirv1.FinishReason_FINISH_REASON_STOP, weirv1.FinishReason_FINISH_REASON_STOP_SEQUENCE:
		reason = backend.FinishStop
	case weirv1.FinishReason_FINISH_REASON_LENGTH,
		weirv1.FinishReason_FINISH_REASON_BUDGET, weirv1.FinishReason_FINISH_REASON_DEADLINE: // bounds of its own, met by the answer's length
		reason = backend.FinishLength
	case weirv1.FinishReason_FINISH_REASON_TOOL_CALLS:
		if c.calls > 0 {
			reason = backend.FinishToolCalls
		}
	case weirv1.FinishReason_FINISH_REASON_SAFETY, weirv1.FinishReason_FINISH_REASON_BACKEND_FILTER:
		reason = backend.FinishBackendFilter
	case weirv1.FinishReason_FINISH_REASON_REFUSAL:
		reason = backend.FinishRefusal
	case weirv1.FinishReason_FINISH_REASON_BACKEND_ERROR, weirv1.FinishReason_FINISH_REASON_CANCELLED:
		return s.broken(backend.Broken, "the server's own backend did not finish candidate %d", done.GetCandidateIndex())
	}
	c.finished = true
	s.event = backend.Event{Kind: backend.Finished, Candidate: int(done.GetCandidateIndex()), Finish: reason}
	return nil
}

// complete ends an answer. The status that follows is read to end the call at
// the server, and says nothing more.
func (s *stream) complete(done *weirv1.CompletedEvent) error {
	for i := range s.candidates {
		if !s.candidates[i].finished {
			return s.broken(backend.Protocol, "stream ended and candidate %d had not finished", i)
		}
	}
	if class := servedClass(done.GetTarget().GetServiceClass()); class != "" {
		s.after = append(s.after, backend.Event{Kind: backend.Served, ServiceClass: class})
	}
	if extras := neutralExtras(done.GetVendorExtras()); extras != nil {
		s.after = append(s.after, backend.Event{Kind: backend.Beside, Extras: extras})
	}
	if u := meters(done.GetUsage()); u.Known() {
		s.after = append(s.after, backend.Event{Kind: backend.Used, Usage: u})
	}
	if len(s.after) > 0 {
		s.event, s.after = s.after[0], s.after[1:]
	}
	_, err := s.wire.Recv()
	s.ended = err != nil
	return io.EOF
}

// Signals implements backend.Signaller: the report in the trailer, which comes
// with the end.
func (s *stream) Signals() (out backend.Signals) {
	if !s.ended {
		return out
	}
	s.ended = false
	if reports := s.wire.Trailer().Get(load.Trailer); len(reports) > 0 {
		out.Load = load.Parse([]byte(reports[len(reports)-1]))
	}
	return out
}

// Close implements backend.Stream.
func (s *stream) Close() error {
	s.closed = true
	s.cancel()
	return nil
}
