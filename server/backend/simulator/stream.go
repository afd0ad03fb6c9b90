package simulator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/server/backend"
)

// stream is pulled: it generates a token when Recv asks for one and its time
// has come. So there is no goroutine to leak, and the account of a cancelled
// call is what its reader took.
type stream struct {
	ctx     context.Context
	backend *Backend
	profile Profile
	model   string
	entry   entry
	chance  chance
	usage   accounting.Usage
	// alternatives of each token, nil where no log probabilities are wanted
	alternatives *int

	answers  []answer
	turn     int // the answer that speaks next
	running  int // answers that have not finished
	faultAt  int // tokens before the fault, where there is one
	sent     int // tokens generated
	due      time.Time
	started  bool
	usedSent bool
	// end is what Recv returns for ever after the call has ended.
	end error
}

// errClosed is what Recv returns after Close; the contract does not allow the
// call, so it names the mistake.
var errClosed = errors.New("stream of the simulator is closed: do not call Recv after Close")

func newStream(ctx context.Context, b *Backend, p Profile, req *backend.Request, input, limit int) *stream {
	seed := seedOf(req)
	s := &stream{
		ctx: ctx, backend: b, profile: p, model: req.Model,
		entry:   b.book.open(req.RequestID),
		chance:  chance(seed ^ 0x6a09e667f3bcc908), // of the jitter, apart from that of the text
		answers: make([]answer, max(1, req.Candidates)),
		running: max(1, req.Candidates),
		faultAt: -1, alternatives: req.Logprobs,
	}
	script := read(req)
	output, reasoning := 0, 0
	for i := range s.answers {
		a := script.perform(chance(seed+uint64(i)*0x9e3779b97f4a7c15), limit, req.Stop)
		output, reasoning = output+a.outputTokens, reasoning+a.reasoningTokens
		s.answers[i] = a
	}
	cached := int(float64(input) * p.CachedShare)
	if cache := b.caches[req.Model]; cache != nil {
		cached = min(input, cache.read(req))
	}
	s.usage.Set(accounting.Input, int64(input-cached))
	s.usage.Set(accounting.CacheRead, int64(cached))
	s.usage.Set(accounting.Output, int64(output))
	s.usage.Set(accounting.Reasoning, int64(reasoning))
	switch total := output + reasoning; p.Fault {
	case FaultUsage:
		s.usage = accounting.Usage{}
		s.usage.Set(accounting.Output, int64(2*output))
	case FaultReset:
		s.faultAt = 0
	case FaultStall, FaultGarbage:
		s.faultAt = min(p.FaultAfter, total)
	case FaultCut: // one token must be left to break off in
		s.faultAt = max(0, min(p.FaultAfter, total-1))
	}
	if p.TimeToFirstToken > 0 || p.TokensPerSecond > 0 {
		s.due = time.Now().Add(p.TimeToFirstToken)
	}
	return s
}

// Recv implements backend.Stream.
func (s *stream) Recv() (backend.Event, error) {
	if s.end != nil {
		return backend.Event{}, s.end
	}
	if err := s.ctx.Err(); err != nil {
		return s.stop(EndedCancelled, err)
	}
	if !s.started {
		s.started = true
		return backend.Event{Kind: backend.Started, BackendModel: s.model}, nil
	}
	if s.faultAt >= 0 && s.sent >= s.faultAt { // a tool's name can have several tokens
		return s.fail()
	}
	for s.running > 0 {
		a := &s.answers[s.turn]
		if a.finished {
			s.pass()
			continue
		}
		event, ok := a.peek()
		if !ok {
			a.finished = true
			s.running--
			return backend.Event{Kind: backend.Finished, Candidate: s.turn, Finish: a.finish}, nil
		}
		if err := s.wait(); err != nil {
			return s.stop(EndedCancelled, err)
		}
		event.Candidate = s.turn
		if s.alternatives != nil && (event.Channel == backend.Content || event.Channel == backend.Refusal) {
			event.Logprobs = logprobs(&s.chance, event.Text, *s.alternatives)
		}
		if event.Kind == backend.Called {
			event.CallID = fmt.Sprintf("call_%d_%d", s.turn, event.Call)
		}
		for range a.take(event) {
			s.sent++
			s.entry.token()
		}
		s.pass()
		return event, nil
	}
	if !s.usedSent {
		s.usedSent = true
		return backend.Event{Kind: backend.Used, Usage: s.usage}, nil
	}
	return s.stop(EndedWhole, io.EOF)
}

// pass gives the word to the next answer. All answers have spoken where it
// comes round to the first: then the next token is due one interval later.
func (s *stream) pass() {
	s.turn++
	if s.turn < len(s.answers) {
		return
	}
	s.turn = 0
	if s.profile.TokensPerSecond > 0 {
		interval := float64(time.Second) / s.profile.TokensPerSecond
		interval *= 1 + s.profile.Jitter*(2*s.chance.share()-1)
		s.due = s.due.Add(time.Duration(interval))
	}
}

func (s *stream) wait() error {
	if s.due.IsZero() {
		return nil
	}
	d := time.Until(s.due)
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

func (s *stream) fail() (backend.Event, error) {
	if s.profile.Fault == FaultStall {
		<-s.ctx.Done()
		return s.stop(EndedCancelled, s.ctx.Err())
	}
	if err := s.wait(); err != nil {
		return s.stop(EndedCancelled, err)
	}
	switch s.profile.Fault {
	case FaultReset:
		return s.stop(EndedFaulted, &backend.Error{Class: backend.Broken, Detail: "simulated reset of the connection"})
	case FaultGarbage:
		return s.stop(EndedFaulted, &backend.Error{Class: backend.Protocol, Detail: "simulated garbage"})
	}
	s.entry.token()
	return s.stop(EndedFaulted, &backend.Error{Class: backend.Broken, Detail: "simulated break in the middle of a token"})
}

func (s *stream) stop(how Ending, err error) (backend.Event, error) {
	s.end = err
	s.entry.end(how, s.backend.ended)
	return backend.Event{}, err
}

// Close implements backend.Stream.
func (s *stream) Close() error {
	if s.end == nil {
		_, _ = s.stop(EndedCancelled, errClosed) // the error that Recv returns from now on
	}
	return nil
}
