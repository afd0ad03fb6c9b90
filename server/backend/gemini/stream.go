package gemini

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"strings"

	pb "cloud.google.com/go/ai/generativelanguage/apiv1beta/generativelanguagepb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/grpcclient"
	"github.com/weir-gateway/weir/server/backend/httpstream"
)

// stream reads one answer. The goroutine that calls Recv does all its work.
type stream struct {
	ctx        context.Context // the caller's
	cancel     context.CancelFunc
	conn       *grpcclient.Client
	wire       pb.GenerativeService_StreamGenerateContentClient
	candidates []candidate
	received   bool
	started    bool
	usage      *pb.GenerateContentResponse_UsageMetadata // the last one
	extras     httpstream.Extras
	events     []backend.Event
	taken      int   // how many of events Recv has returned
	end        error // what Recv returns after them
	closed     bool
}

type candidate struct {
	calls    int
	last     backend.Channel // of what was said last
	finished bool
	extras   httpstream.Extras
}

var errClosed = errors.New("stream is closed: do not call Recv after Close")

// Recv implements backend.Stream.
func (s *stream) Recv() (backend.Event, error) {
	if s.closed {
		return backend.Event{}, errClosed
	}
	for {
		if s.taken < len(s.events) {
			s.taken++
			return s.events[s.taken-1], nil
		}
		if s.end != nil {
			return backend.Event{}, s.end
		}
		s.events, s.taken = s.events[:0], 0
		s.end = s.advance()
	}
}

func (s *stream) add(e backend.Event) { s.events = append(s.events, e) }

// advance reads one response. It returns how the stream ends, nil while it goes on.
func (s *stream) advance() error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	r, err := s.wire.Recv()
	switch {
	case err == io.EOF:
		return s.complete()
	case err != nil:
		return s.conn.Failure(s.ctx, err, s.received)
	}
	s.received = true
	if err := s.read(r); err != nil {
		return s.conn.Error(backend.Protocol, "%s", err)
	}
	return nil
}

func (s *stream) read(r *pb.GenerateContentResponse) error {
	if model := r.GetModelVersion(); model != "" && !s.started {
		s.started = true
		s.add(backend.Event{Kind: backend.Started, BackendModel: model})
	}
	s.started = true // it comes first or not at all
	if r.GetUsageMetadata() != nil {
		s.usage = r.GetUsageMetadata()
	}
	s.gather(r)
	if r.GetPromptFeedback().GetBlockReason() != pb.GenerateContentResponse_PromptFeedback_BLOCK_REASON_UNSPECIFIED {
		for i := range s.candidates {
			s.finish(i, backend.FinishBackendFilter)
		}
	}
	for _, c := range r.GetCandidates() {
		i := int(c.GetIndex())
		if i < 0 || i >= len(s.candidates) {
			return errors.New("a candidate came that was not asked for")
		}
		if s.candidates[i].finished {
			if len(c.GetContent().GetParts()) > 0 {
				return errors.New("a candidate spoke after its end")
			}
			continue
		}
		s.gatherCandidate(i, c)
		logprobs := logprobsOf(c)
		for _, p := range c.GetContent().GetParts() {
			if err := s.part(i, p, logprobs); err != nil {
				return err
			}
		}
		if reason := c.GetFinishReason(); reason != pb.Candidate_FINISH_REASON_UNSPECIFIED {
			s.finish(i, finishOf(reason, s.candidates[i].calls))
		}
	}
	return nil
}

// part says one part of a candidate; one that is not known here says nothing.
func (s *stream) part(i int, p *pb.Part, logprobs []backend.Logprob) error {
	c := &s.candidates[i]
	switch d := p.GetData().(type) {
	case *pb.Part_Text:
		channel := backend.Content
		if p.GetThought() {
			channel = backend.Reasoning
		}
		if d.Text == "" {
			break // it may have a signature all the same
		}
		e := backend.Event{Kind: backend.Delta, Candidate: i, Channel: channel, Text: d.Text}
		if channel == backend.Content && spells(logprobs, d.Text) {
			e.Logprobs = logprobs
		}
		c.last = channel
		s.add(e)
	case *pb.Part_FunctionCall:
		call := d.FunctionCall
		if call.GetName() == "" {
			return errors.New("a call names no tool")
		}
		id := call.GetId()
		if id == "" {
			id = ownID + rand.Text()
		}
		s.add(backend.Event{Kind: backend.Called, Candidate: i, Call: c.calls, CallID: id, Tool: call.GetName()})
		if text, err := argumentsOf(call.GetArgs()); err != nil {
			return err
		} else if text != "" {
			s.add(backend.Event{Kind: backend.Delta, Candidate: i, Channel: backend.Arguments, Call: c.calls, Text: text})
		}
		c.calls++
		c.last = backend.Arguments
	case *pb.Part_InlineData:
		b := d.InlineData
		return s.show(i, p, &backend.Media{Modality: backend.ModalityOf(b.GetMimeType()), Type: typeOf(b.GetMimeType()), Data: b.GetData()})
	case *pb.Part_FileData:
		f := d.FileData
		return s.show(i, p, &backend.Media{Modality: backend.ModalityOf(f.GetMimeType()), Type: typeOf(f.GetMimeType()), URL: f.GetFileUri()})
	default:
		return nil
	}
	if len(p.GetThoughtSignature()) > 0 {
		e := backend.Event{Kind: backend.Signed, Candidate: i, Channel: c.last, Signature: &backend.Signature{
			Signer: signer, Data: base64.StdEncoding.EncodeToString(p.GetThoughtSignature())}}
		switch c.last {
		case "": // of nothing that was said
			e.Channel, e.Signature.Hidden = backend.Reasoning, true
		case backend.Arguments:
			e.Call = c.calls - 1
		}
		s.add(e)
	}
	return nil
}

// show says a part that is no text, unless it is empty. Images that a model drew while it thought are
// none of the answer, and its signature has no place: nothing takes it back.
func (s *stream) show(i int, p *pb.Part, m *backend.Media) error {
	if p.GetThought() || len(m.Data) == 0 && m.URL == "" {
		return nil
	}
	if err := m.Check(); err != nil {
		return err
	}
	s.candidates[i].last = backend.Content
	s.add(backend.Event{Kind: backend.Shown, Candidate: i, Media: m})
	return nil
}

// typeOf is a media type without its parameters, such as the rate of samples.
func typeOf(mimeType string) string {
	kind, _, _ := strings.Cut(mimeType, ";")
	return strings.ToLower(strings.TrimSpace(kind))
}

// argumentsOf is what a tool is given, as JSON. The wire has its values alone: the
// order of the fields is that of their names.
func argumentsOf(args *structpb.Struct) (string, error) {
	if len(args.GetFields()) == 0 {
		return "", nil
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(args.AsMap()); err != nil { // a number that is not finite
		return "", errors.New("the arguments of a call cannot be written as JSON")
	}
	return strings.TrimSuffix(out.String(), "\n"), nil
}

func (s *stream) finish(i int, reason backend.FinishReason) {
	if c := &s.candidates[i]; !c.finished {
		c.finished = true
		s.add(backend.Event{Kind: backend.Finished, Candidate: i, Finish: reason})
	}
}

func finishOf(reason pb.Candidate_FinishReason, calls int) backend.FinishReason {
	switch reason {
	case pb.Candidate_STOP:
		if calls > 0 {
			return backend.FinishToolCalls
		}
		return backend.FinishStop
	case pb.Candidate_MAX_TOKENS:
		return backend.FinishLength
	case pb.Candidate_SAFETY, pb.Candidate_RECITATION, pb.Candidate_BLOCKLIST, pb.Candidate_PROHIBITED_CONTENT, pb.Candidate_SPII, pb.Candidate_IMAGE_SAFETY:
		return backend.FinishBackendFilter
	}
	return backend.FinishUnknown // a language, a call that makes no sense, or what a later version adds
}

// logprobsOf are those of the tokens of one response.
func logprobsOf(c *pb.Candidate) []backend.Logprob {
	chosen, top := c.GetLogprobsResult().GetChosenCandidates(), c.GetLogprobsResult().GetTopCandidates()
	if len(chosen) == 0 {
		return nil
	}
	all := make([]backend.Logprob, len(chosen))
	for i, t := range chosen {
		all[i] = backend.Logprob{Token: t.GetToken(), Logprob: float64(t.GetLogProbability())}
		if i < len(top) {
			for _, o := range top[i].GetCandidates() {
				all[i].Alternatives = append(all[i].Alternatives, backend.Logprob{Token: o.GetToken(), Logprob: float64(o.GetLogProbability())})
			}
		}
	}
	return all
}

// spells tells whether the tokens are those of the text.
func spells(all []backend.Logprob, text string) bool {
	for _, l := range all {
		rest, is := strings.CutPrefix(text, l.Token)
		if !is {
			return false
		}
		text = rest
	}
	return text == ""
}

// complete ends an answer.
func (s *stream) complete() error {
	for i := range s.candidates {
		if !s.candidates[i].finished {
			return s.conn.Error(backend.Broken, "stream ended and candidate %d had not finished", i)
		}
	}
	if extras := s.beside(); extras != nil {
		s.add(backend.Event{Kind: backend.Beside, Extras: extras})
	}
	if u := meters(s.usage); u.Known() {
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
