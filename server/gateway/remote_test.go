package gateway_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/policy/guard"
	"github.com/weir-gateway/weir/policy/remote"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/simulator"
	"github.com/weir-gateway/weir/server/gateway"
	"github.com/weir-gateway/weir/server/route"
)

func factories() map[string]policy.Factory {
	all := maps.Clone(guard.All())
	all["remote"] = remote.Config{Local: guard.All()}.Factory()
	return all
}

// judgeModel is a guard model that works: it calls unsafe what has the word
// zorb in it. It can be made to stall, to die and to talk nonsense.
type judgeModel struct {
	mu      sync.Mutex
	mode    string // "", stall, die or nonsense
	asked   []string
	inner   map[string][]string // request ids of the questions, by the parent's
	waiting atomic.Int64        // stalled calls
}

func (j *judgeModel) set(mode string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.mode, j.asked = mode, nil
}

func (j *judgeModel) questions() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]string(nil), j.asked...)
}

func (j *judgeModel) Capabilities(string) backend.Capabilities {
	return backend.Capabilities{Candidates: 1}
}

func (j *judgeModel) Generate(ctx context.Context, req *backend.Request) (backend.Stream, error) {
	text := req.Messages[len(req.Messages)-1].Text()
	j.mu.Lock()
	mode := j.mode
	j.asked = append(j.asked, text)
	j.mu.Unlock()
	s := &judgeStream{}
	say := "safe"
	switch {
	case mode == "die":
		return nil, &backend.Error{Class: backend.Unreachable, Detail: "connection refused"}
	case mode == "stall":
		j.waiting.Add(1)
		defer j.waiting.Add(-1)
		<-ctx.Done()
		return nil, ctx.Err()
	case mode == "nonsense":
		say = "Once upon a time there was a weir."
	case strings.Contains(text, "zorb"):
		say = "unsafe\nS9,S1"
	}
	var used accounting.Usage
	used.Set(accounting.Input, int64(len(text)))
	used.Set(accounting.Output, 2)
	s.events = []backend.Event{
		{Kind: backend.Delta, Channel: backend.Content, Text: say},
		{Kind: backend.Finished, Finish: backend.FinishStop},
		{Kind: backend.Used, Usage: used},
	}
	return s, nil
}

type judgeStream struct{ events []backend.Event }

func (s *judgeStream) Close() error { return nil }
func (s *judgeStream) Recv() (backend.Event, error) {
	if len(s.events) == 0 {
		return backend.Event{}, io.EOF
	}
	e := s.events[0]
	s.events = s.events[1:]
	return e, nil
}

// judged is a house with a model llama-guard, which judges.
type judged struct {
	*house
	judge *judgeModel
}

func newJudged(t *testing.T, documents string, profiles ...simulator.Profile) *judged {
	t.Helper()
	h := &judged{newHouse(t, "", profiles...), &judgeModel{}}
	h.Live.Factories = factories()
	h.Apply(documents)
	sim, _ := h.House.Router().Plan("sim")
	router, err := route.New([]route.Model{*sim, {Name: "llama-guard", MaxOutputTokens: 100, Targets: []route.Target{{Name: "judges", Backend: h.judge, Model: "lg"}}}})
	if err != nil {
		t.Fatal(err)
	}
	h.House.Router = func() *route.Router { return router }
	h.Judge = h.askJudge(&remote.Judge{Now: time.Now})
	return h
}

// askJudge makes an inner call of each question, as cmd does.
func (h *judged) askJudge(judge *remote.Judge) func(context.Context, *gateway.Call, policy.Question) policy.Judgement {
	return func(ctx context.Context, parent *gateway.Call, q policy.Question) policy.Judgement {
		return judge.Ask(ctx, q, remote.Clients{Model: func(ctx context.Context, model string, messages []remote.Message, most int) (string, error) {
			call := &gateway.Call{
				RequestID: uuid.Must(uuid.NewV7()).String(), Purpose: "guard", ParentRequestID: parent.RequestID,
				Caller: parent.Caller, Model: model, Request: backend.Request{MaxOutputTokens: &most},
			}
			h.judge.mu.Lock()
			if h.judge.inner == nil {
				h.judge.inner = map[string][]string{}
			}
			h.judge.inner[parent.RequestID] = append(h.judge.inner[parent.RequestID], call.RequestID)
			h.judge.mu.Unlock()
			for _, m := range messages {
				call.Request.Messages = append(call.Request.Messages, backend.Message{Role: backend.Role(m.Role), Parts: []backend.Part{{Channel: backend.Content, Text: m.Text}}})
			}
			var c gateway.Collector
			if _, err := h.Generate(ctx, call, &c); err != nil {
				return "", err
			}
			return c.Candidates()[0].Content, nil
		}})
	}
}

func remotePolicy(stage, rules string) string {
	return `
kind: Price
model: llama-guard
currency: USD
effective: 2026-01-01
per_million: {input: 1, output: 1}
---
kind: Policy
name: base
tenant: acme
rates: [{per: key, concurrent: 1}]
safety:
  ` + stage + ":\n    - " + strings.ReplaceAll(strings.TrimSpace(rules), "\n", "\n    - ") + "\n"
}

const twoSentences = "say: The first sentence is good. The second has a zorb in it. The third is good as well."

func TestAGuardModelJudgesTheAnswer(t *testing.T) {
	for _, c := range []struct {
		action, want string
		finish       backend.FinishReason
		verdicts     int
	}{
		{"block", "The first sentence is good.", backend.FinishSafety, 1},
		// What stands before a segment is shown with it, so the sentence after the
		// bad one is bad as well.
		{"redact", "The first sentence is good.[VIOLENT_CRIME][VIOLENT_CRIME]", backend.FinishStop, 2},
		{"flag", strings.TrimPrefix(twoSentences, "say: "), backend.FinishStop, 2},
		{"shadow", strings.TrimPrefix(twoSentences, "say: "), backend.FinishStop, 2},
	} {
		h := newJudged(t, remotePolicy("output", "{id: judged, guard: remote, kind: guard_model, model: llama-guard, action: "+c.action+"}"))
		call := newCall(twoSentences)
		text, answer, err := h.ask(context.Background(), call)
		if err != nil || text != c.want || answer.Finish[0] != c.finish || len(answer.Verdicts) != c.verdicts {
			t.Fatalf("%s: %q %+v %v", c.action, text, answer, err)
		}
		v := answer.Verdicts[0]
		if v.Rule != "judged" || v.Guard != "remote" || v.Category != "hazard/violent_crime" || v.Start != int64(len("The first sentence is good.")) || v.Score == nil || *v.Score != 1 || answer.UnjudgedBytes != 0 {
			t.Errorf("%s: verdict %+v", c.action, v)
		}
		// The questions are calls of their own, charged to the caller of the parent,
		// though there is one place only.
		inner := h.inner(call)
		if len(inner) != len(h.judge.questions()) || len(inner) < 2 {
			t.Errorf("%s: %d lines of inner calls, %d questions", c.action, len(inner), len(h.judge.questions()))
		}
		for _, l := range inner {
			if l.Purpose != "guard" || l.Model != "llama-guard" || l.Subject.Tenant != "acme" || l.Subject.Key != "k1" || (l.Outcome == accounting.OutcomeCompleted && l.Cost.Charge.Nanos == 0) {
				t.Errorf("%s: line %+v", c.action, l)
			}
		}
		if own := h.lines(call); len(own) != 1 || own[0].Purpose != "" {
			t.Errorf("%s: lines %+v", c.action, own)
		}
	}
}

// inner are the ledger's lines of the inner calls of a call.
func (h *judged) inner(call *gateway.Call) (out []accounting.Line) {
	h.t.Helper()
	h.judge.mu.Lock()
	defer h.judge.mu.Unlock()
	for _, id := range h.judge.inner[call.RequestID] {
		h.Sync()
		lines, err := h.Store.Lines(context.Background(), id)
		if err != nil {
			h.t.Fatal(err)
		}
		for _, l := range lines {
			if l.ParentRequestID != call.RequestID {
				h.t.Errorf("line %+v does not name its parent", l)
			}
		}
		out = append(out, lines...)
	}
	return out
}

func TestAGuardModelJudgesTheInput(t *testing.T) {
	h := newJudged(t, remotePolicy("input", "{guard: pattern, builtin: email, action: redact}\n{guard: lexicon, terms: [forbidden], action: block}\n{guard: remote, kind: guard_model, model: llama-guard, action: block}\n{guard: remote, kind: guard_model, model: llama-guard, action: flag}"))
	call := newCall("how do I build a zorb? mail ada@example.org")
	_, answer, err := h.ask(context.Background(), call)
	if reason(err) != gateway.InputBlocked || len(h.lines(call)) != 0 || answer.Attempts != 0 || len(answer.Verdicts) != 2 {
		t.Fatalf("%+v %v", answer, err)
	}
	for _, q := range h.judge.questions() {
		if strings.Contains(q, "@") {
			t.Errorf("the judge was shown what is redacted: %q", q)
		}
	}
	// What a local rule blocks nobody is asked about.
	h.judge.set("")
	if _, _, err := h.ask(context.Background(), newCall("the forbidden zorb")); reason(err) != gateway.InputBlocked || len(h.judge.questions()) != 0 {
		t.Errorf("%v, asked %q", err, h.judge.questions())
	}
	call = newCall("say: hello ada@example.org")
	text, answer, err := h.ask(context.Background(), call)
	if err != nil || text != "hello [EMAIL]" || len(answer.Verdicts) != 1 {
		t.Errorf("%q %+v %v", text, answer, err)
	}
}

func TestWhatHoldsWhereNobodyJudges(t *testing.T) {
	const prompt = "say: The first sentence is good. The second has a bad word in it."
	whole := strings.TrimPrefix(prompt, "say: ")
	for _, mode := range []string{"die", "stall", "nonsense"} {
		for _, c := range []struct {
			keys, want, category string
			unjudged             int
		}{
			{"action: block", "", remote.Unjudged, 0},
			{"action: redact, on_error: closed", "[UNJUDGED][UNJUDGED]", remote.Unjudged, 0},
			{"action: block, on_error: open, until: 2999-01-01", whole, "", len(whole)},
			{"action: block, on_error: open, until: 2001-01-01", "", remote.Unjudged, 0},
			{"action: flag, on_error: open, until: 2999-01-01", whole, "", len(whole)},
			{"action: flag", whole, remote.Unjudged, 0},
			{"action: block, on_error: degrade, degrade: {guard: lexicon, terms: [bad word], category: own/bad}", "The first sentence is good.", "", 0},
		} {
			h := newJudged(t, remotePolicy("output", "{guard: remote, kind: guard_model, model: llama-guard, deadline: 30ms, "+strings.ReplaceAll(c.keys, ", category: own/bad", "")+"}"))
			h.judge.set(mode)
			text, answer, err := h.ask(context.Background(), newCall(prompt))
			if err != nil || text != c.want || answer.UnjudgedBytes != int64(c.unjudged) {
				t.Errorf("%s, %s: released %q, want %q; %d bytes unjudged, want %d; %v", mode, c.keys, text, c.want, answer.UnjudgedBytes, c.unjudged, err)
			}
			if c.category != "" && (len(answer.Verdicts) == 0 || answer.Verdicts[0].Category != c.category) {
				t.Errorf("%s, %s: verdicts %+v", mode, c.keys, answer.Verdicts)
			}
			if n := h.judge.waiting.Load(); n != 0 {
				t.Errorf("%s: %d questions go on", mode, n)
			}
		}
	}
}

func TestACallThatEndsTakesItsQuestionsAlong(t *testing.T) {
	// The backend stalls, the first sentence is out for judgement, and the judge
	// stalls too: the caller goes, or the deadline passes.
	for _, deadline := range []bool{false, true} {
		h := newJudged(t, remotePolicy("output", "{guard: remote, kind: guard_model, model: llama-guard, deadline: 30s, action: block, on_error: open, until: 2999-01-01}"),
			simulator.Profile{Fault: simulator.FaultStall, FaultAfter: 12})
		h.judge.set("stall")
		ctx, cancel := context.WithCancel(context.Background())
		if deadline {
			h.MaxDuration = 200 * time.Millisecond
		}
		call := newCall("say: The first sentence is good. The second never ends")
		ended := make(chan struct{})
		var text string
		var err error
		go func() {
			defer close(ended)
			text, _, err = h.ask(ctx, call)
		}()
		for h.judge.waiting.Load() == 0 {
			select {
			case <-ended:
				t.Fatalf("the call ended before anybody was asked: %v", err)
			case <-time.After(time.Millisecond):
			}
		}
		if !deadline {
			cancel()
		}
		<-ended
		cancel()
		if n := h.judge.waiting.Load(); n != 0 {
			t.Errorf("%d questions go on", n)
		}
		l := h.lines(call)[0]
		if deadline {
			// The end of a deadline is an end: what is held passes by the grant.
			if reason(err) != gateway.DeadlineExceeded || !strings.HasPrefix(text, "The first sentence is good.") || l.Outcome != accounting.OutcomeDeadline {
				t.Errorf("%q %v %+v", text, err, l)
			}
		} else if reason(err) != gateway.Cancelled || text != "" || l.Outcome != accounting.OutcomeCancelled {
			t.Errorf("%q %v %+v", text, err, l)
		}
	}
}

func TestSeveralCandidatesAreJudgedEach(t *testing.T) {
	h := newJudged(t, remotePolicy("output", "{guard: remote, kind: guard_model, model: llama-guard, action: block}"))
	call := newCall(twoSentences)
	call.Request.Candidates = 3
	var c gateway.Collector
	answer, err := h.Generate(context.Background(), call, &c)
	if err != nil || len(c.Candidates()) != 3 || len(answer.Verdicts) != 3 {
		t.Fatalf("%+v %+v %v", c.Candidates(), answer, err)
	}
	for i, said := range c.Candidates() {
		if said.Content != "The first sentence is good." || answer.Finish[i] != backend.FinishSafety {
			t.Errorf("%d: %+v %s", i, said, answer.Finish[i])
		}
	}
}

func TestAnInnerCallKnowsThePlatformOnly(t *testing.T) {
	// The platform's floor holds for the question, but for the rules that would
	// ask again; those of the tenant do not.
	h := newJudged(t, `
kind: Policy
name: floor
rates: [{per: key, requests: 1/min}]
safety:
  input:
    - {guard: lexicon, terms: [secret], action: redact, placeholder: "[floor]"}
    - {guard: remote, kind: guard_model, model: llama-guard, action: flag}
---
kind: Policy
name: own
tenant: acme
safety:
  input: [{guard: lexicon, terms: [tenant], action: flag}]
  output: [{guard: lexicon, terms: [safe], action: block}]
`)
	if _, answer, err := h.ask(context.Background(), newCall("say: a secret of the tenant")); err != nil || len(answer.Verdicts) != 2 {
		t.Fatalf("%+v %v", answer, err)
	}
	if asked := h.judge.questions(); len(asked) != 1 || asked[0] != "say: a [floor] of the tenant" {
		t.Errorf("asked %q", asked)
	}
}

func TestTheNameOfABackendThatNobodyJudged(t *testing.T) {
	h := newJudged(t, remotePolicy("output", "{guard: remote, kind: guard_model, model: llama-guard, action: redact}"))
	judges, _ := h.House.Router().Plan("llama-guard")
	for name, want := range map[string]string{"sim": "sim", "sim-2026": ""} {
		router, err := route.New([]route.Model{*judges, {Name: "sim", MaxOutputTokens: 100, Targets: []route.Target{{Name: "b", Backend: named{h.Sim, name}, Model: "sim"}}}})
		if err != nil {
			t.Fatal(err)
		}
		h.House.Router = func() *route.Router { return router }
		_, answer, err := h.ask(context.Background(), newCall("hello"))
		if err != nil || answer.Target.BackendModel != want {
			t.Errorf("the backend calls itself %q, the caller is told %q, want %q (%v)", name, answer.Target.BackendModel, want, err)
		}
	}
}

func TestManyCallsShareAJudge(t *testing.T) {
	h := newJudged(t, strings.ReplaceAll(remotePolicy("output", "{guard: remote, kind: guard_model, model: llama-guard, action: block}"), "concurrent: 1", "concurrent: 100"))
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			word, want := "zorb", ""
			if i%2 == 0 {
				word, want = "barge", "a barge passes."
			}
			text, _, err := h.ask(context.Background(), newCall(fmt.Sprintf("say: a %s passes.", word)))
			if err != nil || text != want {
				t.Errorf("%q %v", text, err)
			}
		})
	}
	all.Wait()
}
