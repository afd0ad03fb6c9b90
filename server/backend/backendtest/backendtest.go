// Package backendtest is the contract of package backend as a suite that every
// driver runs, against a server that works: a real one, or a real small one on
// the simulator. It knows no other driver and no wire.
package backendtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/server/backend"
)

// A Harness is a backend under test and what its server can be made to do.
// What a server cannot do is left empty, and the suite has fewer cases.
type Harness struct {
	Backend backend.Backend
	// Model answers every call.
	Model string
	// Simulated is the simulator that serves, where one does: then the models
	// obey its instructions and its counts are compared with the usage.
	Simulated backend.Counter
	// Stalls is a model that sends some text and then nothing until the call
	// is ended. Empty: a long answer of Model is ended instead.
	Stalls string
	// Cuts is a model whose answer breaks off in the middle of a rune.
	Cuts string
	// Fails are models that fail before the first event, with the class that
	// a caller must see.
	Fails map[string]backend.Class
	// Lacks is what the wire has no words for.
	Lacks Lacks
	// Heard is a request as the server understands it, where the wire says more
	// or less of it than the neutral form. Nil: it says all.
	Heard func(backend.Request) backend.Request
	// Embedding is set where the driver embeds.
	Embedding *Embedding
	// Ended waits until the server has ended the call of a request id because
	// its caller had gone. Nil: the server cannot be watched.
	Ended func(ctx context.Context, requestID string) error
}

// Lacks is what a vendor's wire has no words for, so that no driver of it can
// pass it on. What the zero value allows must work.
type Lacks struct {
	Seed       bool // a seed of sampling
	Candidates bool // more than one candidate
	JSON       bool // JSON without a schema
	Refusals   bool // words of a refusal beside the content
	Reasoning  bool // how many tokens were reasoning
	Tools      bool // tools and their calls
	Schemas    bool // content of a form: neither JSON nor that of a schema
	Channels   bool // anything but content
	Cached     bool // how many tokens were read from a cache
	Letters    bool // arguments as they were written, beside their values
	RefusalEnd bool // an end by refusal, beside that by a filter
}

// Endings waits for calls that have ended at a server. It is safe for concurrent
// use.
type Endings struct {
	mu    sync.Mutex
	calls map[string]chan bool
}

func (e *Endings) of(id string) chan bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.calls == nil {
		e.calls = map[string]chan bool{}
	}
	if e.calls[id] == nil {
		e.calls[id] = make(chan bool, 64)
	}
	return e.calls[id]
}

// Tell notes that a call has ended, and whether since its caller had gone.
func (e *Endings) Tell(id string, gone bool) { e.of(id) <- gone }

// Await is a Harness's Ended.
func (e *Endings) Await(ctx context.Context, id string) error {
	select {
	case gone := <-e.of(id):
		if !gone {
			return errors.New("it ended in another way")
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// patience bounds a case that hangs; no case waits for it.
const patience = time.Minute

// Run runs the suite. Open is called for each case and closes what it has
// opened by t.Cleanup; no goroutine may be left after that.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	h := open(t) // only to see what there is
	for name, c := range cases(h) {
		t.Run(name, func(t *testing.T) {
			leak := goleak.IgnoreCurrent()
			t.Cleanup(func() { goleak.VerifyNone(t, leak) }) // runs after those of open
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			t.Cleanup(cancel)
			c(&run{t: t, ctx: ctx, Harness: open(t)})
		})
	}
}

func cases(h Harness) map[string]func(*run) {
	all := map[string]func(*run){
		"answer":            (*run).answer,
		"length":            (*run).length,
		"candidates":        (*run).candidates,
		"cancel":            (*run).cancel,
		"close":             (*run).closeMid,
		"close at any time": (*run).closeAnyTime,
		"deadline":          (*run).deadline,
		"context has ended": (*run).contextHasEnded,
		"concurrent calls":  (*run).concurrent,
	}
	if h.Simulated != nil {
		all["text"] = (*run).text
		all["stop sequence"] = (*run).stopSequence
		all["parameters"] = (*run).parameters
		if !h.Lacks.Channels {
			all["channels"] = (*run).channels
		}
		if !h.Lacks.Tools {
			all["tools"] = (*run).tools
		}
		if !h.Lacks.Schemas {
			all["format"] = (*run).format
		}
		if _, draws := h.Backend.Capabilities(h.Model).MediaOutput[backend.Image]; draws {
			all["images"] = (*run).images
		}
	}
	if h.Embedding != nil {
		all["embed"] = (*run).embed
		all["embed failures"] = (*run).embedFailures
		all["embed cancel"] = (*run).embedCancel
	}
	if h.Cuts != "" {
		all["break"] = (*run).breakOff
	}
	for model, class := range h.Fails {
		all["failure "+string(class)] = func(r *run) { r.failure(model, class) }
	}
	return all
}

// run is one case.
type run struct {
	Harness
	t   *testing.T
	ctx context.Context

	mu sync.Mutex
	id int
}

func (r *run) request(model, prompt string) *backend.Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.id++
	req := &backend.Request{
		RequestID:  fmt.Sprintf("case-%d", r.id),
		Model:      model,
		Messages:   []backend.Message{{Role: backend.User, Parts: []backend.Part{{Channel: backend.Content, Text: prompt}}}},
		Candidates: 1,
	}
	if r.Simulated == nil { // a small real model may talk until its context is full
		most := 32
		req.MaxOutputTokens = &most
	}
	return req
}

// long asks for an answer that does not end by itself before it is ended.
func (r *run) long() *backend.Request {
	model := r.Stalls
	if model == "" {
		model = r.Model
	}
	req := r.request(model, "Tell a very long story about a river and all who live beside it.")
	most := 4096
	req.MaxOutputTokens = &most
	return req
}

func (r *run) start(ctx context.Context, req *backend.Request) backend.Stream {
	r.t.Helper()
	s, err := r.Backend.Generate(ctx, req)
	if err != nil {
		r.t.Fatalf("Generate: %v", err)
	}
	r.t.Cleanup(func() { s.Close() })
	return s
}

// whole makes a call and fails where the answer is not whole.
func (r *run) whole(req *backend.Request) Answer {
	r.t.Helper()
	a, err := r.call(req)
	if err != nil {
		r.t.Fatal(err)
	}
	return a
}

func (r *run) call(req *backend.Request) (Answer, error) {
	before, err := json.Marshal(req)
	if err != nil {
		return Answer{}, err
	}
	s, err := r.Backend.Generate(r.ctx, req)
	if err != nil {
		return Answer{}, fmt.Errorf("the call is not accepted: %w", err)
	}
	defer s.Close()
	a, err := Read(s, req.Candidates)
	if err != io.EOF {
		return a, fmt.Errorf("answer is not whole: %w", err)
	}
	if after, _ := json.Marshal(req); string(after) != string(before) {
		return a, fmt.Errorf("driver changed the request from %s to %s", before, after)
	}
	return a, r.checkUsage(req, a)
}

func (r *run) checkUsage(req *backend.Request, a Answer) error {
	if a.Used != 1 {
		return fmt.Errorf("usage came %d times, want once", a.Used)
	}
	if err := a.Usage.Check(); err != nil {
		return err
	}
	input, known := a.Usage.InputTokens()
	if !known || input < 1 {
		return fmt.Errorf("input tokens are %d (known: %v)", input, known)
	}
	if _, known := a.Usage.OutputTokens(); !known {
		return errors.New("output tokens are unknown")
	}
	if r.Simulated == nil {
		return nil
	}
	var output, reasoning int
	for i, c := range a.Candidates {
		for _, call := range a.Calls[i] {
			output += r.Simulated.CountOutput(req.Model, call.Tool) + r.Simulated.CountOutput(req.Model, call.Arguments)
		}
		output += r.Simulated.CountOutput(req.Model, c.Content) + r.Simulated.CountOutput(req.Model, c.Refusal)
		reasoning += r.Simulated.CountOutput(req.Model, c.Reasoning)
		if b, is := r.Simulated.(backend.Backend); is {
			for _, m := range a.Media[i] {
				output += int(b.Capabilities(req.Model).MediaOutput[m.Modality])
			}
		}
	}
	var want accounting.Usage
	heard := *req
	if r.Heard != nil {
		heard = r.Heard(heard)
	}
	want.Set(accounting.Input, int64(r.Simulated.CountInput(&heard)))
	if !r.Lacks.Cached {
		want.Set(accounting.CacheRead, 0)
	}
	if r.Lacks.Reasoning {
		want.Set(accounting.Output, int64(output+reasoning))
	} else {
		want.Set(accounting.Output, int64(output))
		want.Set(accounting.Reasoning, int64(reasoning))
	}
	if a.Usage != want {
		got, _ := json.Marshal(a.Usage)
		sum, _ := json.Marshal(want)
		return fmt.Errorf("usage is %s, counted are %s", got, sum)
	}
	return nil
}

// An Answer is what a stream said, put together.
type Answer struct {
	Started    bool
	Model      string
	Candidates []Candidate
	Calls      [][]Call            // of tools, by candidate
	Media      [][]backend.Media   // by candidate, in order
	Signatures []backend.Signature // in order
	Deltas     int
	Used       int // how often usage came
	Usage      accounting.Usage
	Class      accounting.ServiceClass // that has served
	Extras     backend.VendorExtras
}

// A Candidate is one candidate of an Answer.
type Candidate struct {
	Content, Reasoning, Refusal string
	Finish                      backend.FinishReason // empty until it has finished
}

// A Call is one call of a tool.
type Call struct{ ID, Tool, Arguments string }

// errContract marks what a driver did against the contract.
var errContract = errors.New("contract broken")

// Read reads a stream to its end and checks each event against the contract.
// It returns what came and how it ended: io.EOF for a whole answer.
func Read(s backend.Stream, candidates int) (Answer, error) {
	n := max(1, candidates)
	a := Answer{Candidates: make([]Candidate, n), Calls: make([][]Call, n), Media: make([][]backend.Media, n)}
	for {
		e, err := s.Recv()
		if err != nil {
			if e.Kind != 0 || e.Text != "" {
				return a, fmt.Errorf("%w: an event came with the error %v", errContract, err)
			}
			if _, again := s.Recv(); !errors.Is(again, err) {
				return a, fmt.Errorf("%w: Recv returned %v at the end and then %v", errContract, err, again)
			}
			return a, a.ended(err)
		}
		if err := a.add(e); err != nil {
			return a, err
		}
	}
}

func (a *Answer) ended(err error) error {
	if err != io.EOF {
		return err
	}
	for i, c := range a.Candidates {
		if c.Finish == "" {
			return fmt.Errorf("%w: stream ended and candidate %d had not finished", errContract, i)
		}
	}
	return io.EOF
}

func (a *Answer) add(e backend.Event) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s in event %+v", errContract, fmt.Sprintf(format, args...), e)
	}
	first := !a.Started && a.Deltas == 0 && a.Used == 0
	for _, c := range a.Candidates {
		first = first && c.Finish == ""
	}
	switch e.Kind {
	case backend.Started:
		if !first {
			return bad("start is not the first event")
		}
		a.Started, a.Model = true, e.BackendModel
		return nil
	case backend.Used:
		a.Used++
		a.Usage = e.Usage
		if !e.Usage.Known() {
			return bad("usage knows nothing")
		}
		return nil
	case backend.Served:
		if e.ServiceClass == "" || accounting.ServedClass(string(e.ServiceClass)) != e.ServiceClass {
			return bad("the class of service that has served is none")
		}
		a.Class = e.ServiceClass
		return nil
	case backend.Beside:
		for _, c := range a.Candidates {
			if c.Finish == "" {
				return bad("extras came before the end of every candidate")
			}
		}
		if len(e.Extras) == 0 || a.Extras != nil {
			return bad("extras are none, or came again")
		}
		a.Extras = e.Extras
		return nil
	case backend.Delta, backend.Finished, backend.Called, backend.Signed, backend.Shown:
	default:
		return bad("unknown kind %d", e.Kind)
	}
	if a.Used > 0 {
		return bad("usage was not last")
	}
	if e.Candidate < 0 || e.Candidate >= len(a.Candidates) {
		return bad("candidate is out of range")
	}
	c := &a.Candidates[e.Candidate]
	if c.Finish != "" {
		return bad("candidate had finished")
	}
	if e.Kind == backend.Finished {
		switch e.Finish {
		case backend.FinishToolCalls:
			if len(a.Calls[e.Candidate]) == 0 {
				return bad("no tool was called")
			}
		case backend.FinishStop, backend.FinishLength, backend.FinishBackendFilter, backend.FinishRefusal, backend.FinishUnknown:
		default:
			return bad("finish reason is not a driver's")
		}
		c.Finish = e.Finish
		return nil
	}
	calls := a.Calls[e.Candidate]
	if e.Kind == backend.Called {
		if e.Call != len(calls) || e.Tool == "" || e.Text != "" {
			return bad("it begins no call")
		}
		a.Calls[e.Candidate] = append(calls, Call{ID: e.CallID, Tool: e.Tool})
		return nil
	}
	if e.Kind == backend.Shown {
		if e.Media == nil || e.Media.Check() != nil || e.Text != "" {
			return bad("it shows nothing")
		}
		a.Media[e.Candidate] = append(a.Media[e.Candidate], *e.Media)
		return nil
	}
	if e.Kind == backend.Signed {
		if e.Signature == nil || e.Signature.Signer == "" || e.Signature.Data == "" || e.Text != "" {
			return bad("it signs nothing")
		}
		a.Signatures = append(a.Signatures, *e.Signature)
		return nil
	}
	a.Deltas++
	if e.Text == "" {
		return bad("text is empty")
	}
	if !utf8.ValidString(e.Text) {
		return bad("text is cut through a rune")
	}
	switch e.Channel {
	case backend.Content:
		c.Content += e.Text
	case backend.Reasoning:
		c.Reasoning += e.Text
	case backend.Refusal:
		c.Refusal += e.Text
	case backend.Arguments:
		if e.Call < 0 || e.Call >= len(calls) {
			return bad("the call has not begun")
		}
		calls[e.Call].Arguments += e.Text
	default:
		return bad("unknown channel %q", e.Channel)
	}
	return nil
}
