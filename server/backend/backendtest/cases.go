package backendtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image/png"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/weir-gateway/weir/server/backend"
)

// speech holds what goes wrong on the way: runes of every length, what JSON
// and server-sent events must escape, and what looks like their own signs.
var speech = []string{
	"x",
	"The river is calm.",
	"水车照看着河流，石桥等待渡船。",
	"Grüße aus Łódź — ½ naïve café, Ελλάδα, עברית, हिन्दी",
	"😀 then 👩‍👩‍👧‍👦 and 🏳️‍🌈, 𝔘𝔫𝔦, 𠜎𠜱, \U0010FFFF",
	"line\nline\r\nline\rend\n\n\ndata: [DONE]\n\ndata: {}\n: comment",
	"quote \" backslash \\ slash / tab \t nul \x00 bell \a del \x7f \u2028 \u2029 \ufeff \ufffd",
	`{"error": {"message": "not an error"}} [DONE] \ud83d \u0041 </script>`,
	"   spaces   around   ",
	strings.Repeat("A long answer is a long answer. 很长的回答。", 50),
}

func (r *run) answer() {
	a := r.whole(r.request(r.Model, "Say something about rivers."))
	c := a.Candidates[0]
	if c.Content+c.Reasoning+c.Refusal == "" {
		r.t.Errorf("answer is empty: %+v", a)
	}
	if a.Started && a.Model == "" {
		r.t.Error("start names no model")
	}
}

func (r *run) text() {
	for _, want := range append(speech, "") {
		a := r.whole(r.request(r.Model, "say: "+want))
		if got := a.Candidates[0]; got.Content != want || got.Finish != backend.FinishStop {
			r.t.Errorf("answer is %q (%s), want %q", got.Content, got.Finish, want)
		}
	}
}

func (r *run) channels() {
	for _, word := range speech {
		refusal := Candidate{Refusal: word, Finish: backend.FinishRefusal}
		if r.Lacks.Refusals {
			refusal = Candidate{Content: word, Finish: backend.FinishRefusal}
		}
		if r.Lacks.RefusalEnd {
			refusal.Finish = backend.FinishBackendFilter
		}
		line, _, _ := strings.Cut(strings.ReplaceAll(word, "\r", " "), "\n")
		for _, how := range []struct {
			prompt string
			want   Candidate
		}{
			{"think: " + line + "\nsay: " + word, Candidate{Content: word, Finish: backend.FinishStop}},
			{"think: " + line + "\nrefuse: " + word, refusal},
		} {
			how.want.Reasoning = line
			if got := r.whole(r.request(r.Model, how.prompt)).Candidates[0]; got != how.want {
				r.t.Errorf("prompt %q: answer is %+v, want %+v", how.prompt, got, how.want)
			}
		}
	}
}

// images are drawn of the request alone, so the server's own simulator draws the
// same ones.
func (r *run) images() {
	seed := int64(7)
	req := r.request(r.Model, "draw: 24x16\nsay: Voilà, 画好了")
	req.Modalities, req.Seed = []backend.Modality{backend.Image}, &seed
	direct, err := r.Simulated.(backend.Backend).Generate(r.ctx, req)
	if err != nil {
		r.t.Fatal(err)
	}
	want, err := Read(direct, 1)
	if err != io.EOF {
		r.t.Fatal(err)
	}
	got := r.whole(req)
	if got.Candidates[0].Content != "Voilà, 画好了" || got.Candidates[0].Finish != backend.FinishStop || len(got.Media[0]) != 1 {
		r.t.Fatalf("answer is %+v with %d images", got.Candidates[0], len(got.Media[0]))
	}
	m := got.Media[0][0]
	picture, err := png.DecodeConfig(bytes.NewReader(m.Data))
	if err != nil || m.Modality != backend.Image || m.Type != "image/png" || picture.Width != 24 || picture.Height != 16 {
		r.t.Errorf("the image is %s %s of %d bytes: %+v, %v", m.Modality, m.Type, len(m.Data), picture, err)
	}
	if !bytes.Equal(m.Data, want.Media[0][0].Data) {
		r.t.Error("the bytes are not those that the server drew")
	}
}

func (r *run) length() {
	req := r.request(r.Model, "Tell a very long story about a river and all who live beside it.")
	most := 5
	req.MaxOutputTokens = &most
	a := r.whole(req)
	if got := a.Candidates[0].Finish; got != backend.FinishLength {
		r.t.Errorf("finish reason is %s, want %s", got, backend.FinishLength)
	}
	if n, _ := a.Usage.OutputTokens(); n < 1 || n > int64(most) {
		r.t.Errorf("%d output tokens, at most %d were allowed", n, most)
	}
}

func (r *run) stopSequence() {
	req := r.request(r.Model, "say: one two three 四五六 seven")
	req.Stop = []string{"never", "五", "seven"}
	if got := r.whole(req).Candidates[0]; got.Content != "one two three 四" || got.Finish != backend.FinishStop {
		r.t.Errorf("answer is %+v", got)
	}
}

// parameters tells that what a request says reaches the model.
func (r *run) parameters() {
	seeded := func(seed int64) string {
		req := r.request(r.Model, "Say something about rivers.")
		req.Seed = &seed
		if r.Lacks.Seed {
			req.Seed = nil
		}
		f, k, can := 0.5, 40, r.Backend.Capabilities(r.Model)
		req.Temperature, req.TopP = &f, &f
		if can.Penalties {
			req.FrequencyPenalty, req.PresencePenalty = &f, &f
		}
		if can.TopK {
			req.TopK = &k
		}
		return r.whole(req).Candidates[0].Content
	}
	if r.Backend.Capabilities(r.Model).Seed == r.Lacks.Seed {
		r.t.Fatal("a driver of a simulator takes a seed where its wire can say one, and only there")
	}
	if one, again, other := seeded(1), seeded(1), seeded(2); one != again || (one == other) != r.Lacks.Seed {
		r.t.Errorf("seed 1 said %q and %q, seed 2 %q", one, again, other)
	}
	req := r.request(r.Model, "say: hello")
	req.Messages = append([]backend.Message{
		{Role: backend.System, Parts: []backend.Part{{Channel: backend.Content, Text: "Be brief."}}},
		{Role: backend.Developer, Parts: []backend.Part{{Channel: backend.Content, Text: "Use "}, {Channel: backend.Content, Text: "English."}}},
		{Role: backend.User, Name: "ann", Parts: []backend.Part{{Channel: backend.Content, Text: "say: not this"}}},
		{Role: backend.Assistant, Parts: []backend.Part{{Channel: backend.Content, Text: "not this"}}},
	}, req.Messages...)
	if got := r.whole(req).Candidates[0].Content; got != "hello" {
		r.t.Errorf("answer is %q", got)
	}
}

// tools tells that calls of tools come back whole and in order, and that what
// the tools answer reaches the model.
func (r *run) tools() {
	if !r.Backend.Capabilities(r.Model).Tools {
		r.t.Fatal("a driver of a simulator must take tools")
	}
	parallel, schema := true, json.RawMessage(`{"type":"object","properties":{"city":{"type":"string"}}}`)
	const weather = "get_weather"
	arguments := `{"city": "北京", "when": ["today \u2028 \"now\""], "n": -1.5e3, "emoji": "😀"}`
	if r.Lacks.Letters {
		arguments = `{"city":"北京","emoji":"😀","n":-1500,"when":["today \u2028 \"now\""]}`
	}
	req := r.request(r.Model, "call: "+weather+" "+arguments+"\ncall: nothing\ncall: "+weather+` {"city":"Łódź"}`)
	req.Tools = []backend.Tool{{Name: weather, Description: "Tells the weather.", Parameters: schema}, {Name: "nothing"}}
	req.Choice, req.ParallelCalls = &backend.ToolChoice{Mode: backend.ToolAuto}, &parallel
	a := r.whole(req)
	want := []Call{{Tool: weather, Arguments: arguments}, {Tool: "nothing"}, {Tool: weather, Arguments: `{"city":"Łódź"}`}}
	said := backend.Message{Role: backend.Assistant}
	var results []backend.Message
	for i, got := range a.Calls[0] {
		if got.ID == "" {
			r.t.Errorf("call %d has no id", i)
		}
		said.Parts = append(said.Parts, backend.Part{Channel: backend.Arguments, Text: got.Arguments, CallID: got.ID, Tool: got.Tool})
		result := backend.Part{Channel: backend.Result, Text: fmt.Sprintf("晴 %d", i), CallID: got.ID}
		results = append(results, backend.Message{Role: backend.ToolRole, Parts: []backend.Part{result}})
		a.Calls[0][i].ID = ""
	}
	if !slices.Equal(a.Calls[0], want) || a.Candidates[0].Finish != backend.FinishToolCalls {
		r.t.Fatalf("calls are %+v (%s), want %+v", a.Calls[0], a.Candidates[0].Finish, want)
	}
	next := r.request(r.Model, "")
	next.Tools = req.Tools
	next.Messages = append(append(slices.Clone(req.Messages), said), results...)
	if got := r.whole(next).Candidates[0].Content; got != "The tool says: 晴 0 晴 1 晴 2" {
		r.t.Errorf("answer to the results is %q", got)
	}
}

func (r *run) format() {
	can := r.Backend.Capabilities(r.Model)
	if !can.Schema || can.JSON == r.Lacks.JSON {
		r.t.Fatalf("a driver of a simulator must take a format: it says %+v", can)
	}
	req := r.request(r.Model, "Say something about rivers.")
	req.Format = &backend.Format{}
	if can.JSON {
		if got := r.whole(req).Candidates[0].Content; !json.Valid([]byte(got)) {
			r.t.Errorf("answer is no JSON: %q", got)
		}
	}
	req = r.request(r.Model, "Say something about rivers.")
	req.Format = &backend.Format{Name: "river", Schema: json.RawMessage(`{"type":"object","properties":{"kind":{"enum":["stream"]}},"required":["kind"]}`)}
	if got := r.whole(req).Candidates[0].Content; got != `{"kind":"stream"}` {
		r.t.Errorf("answer is %q", got)
	}
}

func (r *run) candidates() {
	n := min(3, r.Backend.Capabilities(r.Model).Candidates)
	if n < 1 {
		r.t.Fatalf("capabilities allow %d candidates, the least is 1", n)
	}
	req := r.request(r.Model, "Say something about rivers.")
	req.Candidates = n
	a := r.whole(req)
	if r.Simulated == nil {
		return
	}
	if (n < 2) != r.Lacks.Candidates {
		r.t.Fatal("a driver of a simulator must be configured for several candidates")
	}
	for i, c := range a.Candidates {
		if c.Content == "" || i > 0 && c.Content == a.Candidates[0].Content {
			r.t.Errorf("candidate %d says %q", i, c.Content)
		}
	}
}

// first reads until the first text.
func (r *run) first(s backend.Stream) {
	r.t.Helper()
	for {
		e, err := s.Recv()
		if err != nil {
			r.t.Fatalf("Recv: %v", err)
		}
		if e.Kind == backend.Delta {
			return
		}
	}
}

func (r *run) serverEnds(requestID string) {
	r.t.Helper()
	if r.Ended == nil {
		return
	}
	if err := r.Ended(r.ctx, requestID); err != nil {
		r.t.Errorf("server has not ended call %s: %v", requestID, err)
	}
}

// cancel ends the context while Recv waits, or just before.
func (r *run) cancel() {
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	req := r.long()
	s := r.start(ctx, req)
	r.first(s)
	done := make(chan struct{})
	go func() {
		defer close(done)
		cancel()
	}()
	for {
		e, err := s.Recv()
		if err == nil {
			if e.Kind == backend.Used {
				r.t.Fatal("answer was whole before it was cancelled")
			}
			continue
		}
		r.contextError(err, context.Canceled)
		break
	}
	<-done
	// The server hears of it by the context alone: nothing has been closed.
	r.serverEnds(req.RequestID)
}

func (r *run) closeMid() {
	req := r.long()
	s := r.start(r.ctx, req)
	r.first(s)
	if err := s.Close(); err != nil {
		r.t.Errorf("Close: %v", err)
	}
	if err := s.Close(); err != nil {
		r.t.Errorf("Close again: %v", err)
	}
	if _, err := s.Recv(); err == nil || err == io.EOF {
		r.t.Errorf("Recv after Close: %v, want an error", err)
	}
	r.serverEnds(req.RequestID)
}

func (r *run) closeAnyTime() {
	for before := range 6 {
		req := r.long()
		s := r.start(r.ctx, req)
		for range before {
			if _, err := s.Recv(); err != nil {
				r.t.Fatalf("Recv: %v", err)
			}
		}
		if err := s.Close(); err != nil {
			r.t.Errorf("Close after %d events: %v", before, err)
		}
		r.serverEnds(req.RequestID)
	}
	s := r.start(r.ctx, r.request(r.Model, "Say something about rivers."))
	if _, err := Read(s, 1); err != io.EOF {
		r.t.Fatal(err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			r.t.Errorf("Close after the end: %v", err)
		}
	}
}

func (r *run) deadline() {
	req := r.long()
	ctx := newLapse(r.ctx)
	s := r.start(ctx, req)
	r.first(s)
	ctx.lapse()
	_, err := s.Recv()
	for err == nil {
		_, err = s.Recv()
	}
	r.contextError(err, context.DeadlineExceeded)
	r.serverEnds(req.RequestID)
}

// lapse is a context whose deadline passes when the test says so.
type lapse struct {
	context.Context
	done chan struct{}
	once sync.Once
}

func newLapse(parent context.Context) *lapse {
	return &lapse{Context: parent, done: make(chan struct{})}
}

func (l *lapse) lapse()                { l.once.Do(func() { close(l.done) }) }
func (l *lapse) Done() <-chan struct{} { return l.done }
func (l *lapse) Err() error {
	select {
	case <-l.done:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

func (r *run) contextHasEnded() {
	ctx, cancel := context.WithCancel(r.ctx)
	cancel()
	s, err := r.Backend.Generate(ctx, r.request(r.Model, "Say something about rivers."))
	if s != nil {
		r.t.Error("Generate returned a stream")
	}
	r.contextError(err, context.Canceled)
	late := newLapse(r.ctx)
	late.lapse()
	if s, err = r.Backend.Generate(late, r.request(r.Model, "Say something about rivers.")); s != nil {
		r.t.Error("Generate returned a stream")
	}
	r.contextError(err, context.DeadlineExceeded)
}

// contextError tells the context's error from a failure of the backend: they
// have different outcomes and different payers.
func (r *run) contextError(err, want error) {
	r.t.Helper()
	var e *backend.Error
	if !errors.Is(err, want) || errors.As(err, &e) {
		r.t.Errorf("error is %v, want %v and no failure of the backend", err, want)
	}
}

func (r *run) failure(model string, class backend.Class) {
	s, err := r.Backend.Generate(r.ctx, r.request(model, "Say something about rivers."))
	if err == nil {
		r.t.Cleanup(func() { s.Close() })
		var a Answer
		if a, err = Read(s, 1); a.Deltas > 0 {
			r.t.Errorf("model %s spoke before it failed", model)
		}
	}
	var e *backend.Error
	if !errors.As(err, &e) || errors.Is(err, errContract) {
		r.t.Fatalf("error is %v, want a *backend.Error", err)
	}
	if e.Class != class || e.Detail == "" {
		r.t.Errorf("error is %+v, want class %s and a detail", e, class)
	}
	if class == backend.Overloaded && e.RetryAfter <= 0 {
		r.t.Errorf("the wish to be called later is lost: %+v", e)
	}
}

func (r *run) breakOff() {
	want := strings.Repeat("水", 100)
	req := r.request(r.Cuts, "say: "+want)
	a, err := Read(r.start(r.ctx, req), 1)
	if backend.ClassOf(err) != backend.Broken || errors.Is(err, errContract) {
		r.t.Fatalf("stream ended with %v, want class %s", err, backend.Broken)
	}
	got := a.Candidates[0]
	if got.Content == "" || got.Finish != "" || !strings.HasPrefix(want, got.Content) {
		r.t.Errorf("answer is %+v, want the start of %q", got, want)
	}
}

// concurrent makes calls side by side and ends every third of them early: each
// must get its own answer.
func (r *run) concurrent() {
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 6 {
				if err := r.one(w, i); err != nil {
					r.t.Errorf("worker %d, call %d: %v", w, i, err)
				}
			}
		})
	}
	wg.Wait()
}

func (r *run) one(w, i int) error {
	if i%3 == 2 {
		req := r.long()
		s, err := r.Backend.Generate(r.ctx, req)
		if err != nil {
			return err
		}
		if _, err := s.Recv(); err != nil {
			return err
		}
		return s.Close()
	}
	if r.Simulated == nil {
		_, err := r.call(r.request(r.Model, "Say something about rivers."))
		return err
	}
	want := fmt.Sprintf("%d/%d %s", w, i, speech[(w+i)%len(speech)])
	a, err := r.call(r.request(r.Model, "say: "+want))
	if err == nil && a.Candidates[0].Content != want {
		err = fmt.Errorf("answer is %q, want %q", a.Candidates[0].Content, want)
	}
	return err
}
