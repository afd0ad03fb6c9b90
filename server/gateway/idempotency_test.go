package gateway_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/simulator"
	"github.com/weir-gateway/weir/server/gateway"
	"github.com/weir-gateway/weir/server/idempotency"
)

// keyed is a call with an idempotency key.
func keyed(key, prompt string) *gateway.Call {
	c := newCall(prompt)
	c.IdempotencyKey = key
	return c
}

// told records what a stream's caller is told.
type told struct {
	started int
	deltas  []gateway.Delta
	text    strings.Builder
}

func (s *told) Start(*gateway.Answer) error { s.started++; return nil }
func (*told) Flush() error                  { return nil }

func (s *told) Delta(d gateway.Delta) error {
	s.deltas = append(s.deltas, d)
	s.text.WriteString(d.Text)
	return nil
}

// first returns the call that a failure names.
func first(err error) string {
	var e *gateway.Error
	if errors.As(err, &e) {
		return e.FirstRequestID
	}
	return ""
}

func TestARepeatedCallHasTheFirstAnswer(t *testing.T) {
	h := newHouse(t, keeping("redacted")+`---
kind: Policy
name: slow
tenant: acme
rates: [{per: tenant, requests: 1/h}]
`)
	list := h.recording()
	original := keyed("k", "say: a grim tale of the 水车")
	text, answer, err := h.ask(context.Background(), original)
	if err != nil || text != "a [OUT] tale of the 水车" || answer.Replayed {
		t.Fatalf("%q %+v %v", text, answer, err)
	}
	for _, stream := range []bool{false, true} {
		again := keyed("k", "say: a grim tale of the 水车")
		again.Caller.Key = "k2" // a key of API that has taken over
		var said string
		var got *gateway.Answer
		if stream {
			var sink told
			got, err = h.Generate(context.Background(), again, &sink)
			if said = sink.text.String(); sink.started != 1 {
				t.Errorf("the stream started %d times", sink.started)
			}
		} else {
			said, got, err = h.ask(context.Background(), again)
		}
		if err != nil || said != text {
			t.Fatalf("stream %v: %q, %v\n%s", stream, said, err, h.Lines)
		}
		if !got.Replayed || got.RequestID != original.RequestID || got.Usage != answer.Usage || !reflect.DeepEqual(got.Cost, answer.Cost) || got.Cost == nil ||
			!reflect.DeepEqual(got.Finish, answer.Finish) || got.Target != answer.Target || !reflect.DeepEqual(got.Verdicts, answer.Verdicts) || len(got.Verdicts) != 1 {
			t.Errorf("stream %v: it is %+v\nand was %+v", stream, got, answer)
		}
		if lines := h.lines(again); len(lines) != 0 {
			t.Errorf("it is charged: %+v", lines)
		}
	}
	if n := h.Sim.Account().Calls; n != 1 || len(*list) != 1 || h.seen.Load() != 3 {
		t.Errorf("the backend has %d calls, the log %d records, and %d calls were seen to end", n, len(*list), h.seen.Load())
	}
	if lines := h.lines(original); len(lines) != 1 {
		t.Errorf("lines are %+v", lines)
	}
	if _, _, err := h.ask(context.Background(), keyed("k2", "hello")); reason(err) != gateway.RateLimitExceeded {
		t.Errorf("what the rate refuses holds a key: %v", err)
	}
}

func TestARepeatedCallIsJudgedByTheRulesOfNow(t *testing.T) {
	h := newHouse(t, keeping("full"))
	ask := func() (string, *gateway.Answer, error) {
		return h.ask(context.Background(), keyed("k", "say: one two three, a secret 秘密 word and more"))
	}
	before, answer, err := ask()
	if err != nil {
		t.Fatal(err)
	}
	h.Apply(`
kind: Policy
name: later
tenant: acme
safety:
  output:
    - {id: mask, guard: lexicon, terms: [two], action: redact, placeholder: "[2]"}
    - {id: no, guard: lexicon, terms: [秘密], action: block}
`)
	got, again, err := ask()
	if err != nil || got != "one [2] three, a secret " || again.Finish[0] != backend.FinishSafety || len(again.Verdicts) != 2 || !again.Replayed || !reflect.DeepEqual(again.Cost, answer.Cost) {
		t.Errorf("of %q is left %q: %+v, %v", before, got, again, err)
	}
	h.Apply(`
kind: Policy
name: later
tenant: acme
safety:
  input:
    - {id: in, guard: lexicon, terms: [three], action: block}
`)
	if _, _, err := ask(); reason(err) != gateway.InputBlocked {
		t.Errorf("%v", err)
	}
	h.Apply(`
kind: Policy
name: later
tenant: acme
`)
	if got, _, err := ask(); got != before || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if n := h.Sim.Account().Calls; n != 1 {
		t.Errorf("the backend has %d calls", n)
	}
}

func TestAnotherCallWithAKey(t *testing.T) {
	h := newHouse(t, keeping("full")+"---\nkind: Tenant\nname: beta\n")
	h.Apply("kind: Policy\nname: keep\ntenant: beta\noutputs: {mode: full}\n")
	original := keyed("k", "say: fine")
	original.Labels = map[string]string{"team": "x", "app": "y"}
	if _, _, err := h.ask(context.Background(), original); err != nil {
		t.Fatal(err)
	}
	other := func(change func(c *gateway.Call)) *gateway.Call {
		c := keyed("k", "say: fine")
		c.Labels = map[string]string{"app": "y", "team": "x"}
		change(c)
		return c
	}
	zero, limit := 0.0, 7
	for name, c := range map[string]*gateway.Call{
		"text":        other(func(c *gateway.Call) { c.Request.Messages[0].Parts[0].Text += "." }),
		"model":       other(func(c *gateway.Call) { c.Model, c.Request.Model = "sim", "x" }),
		"a label":     other(func(c *gateway.Call) { c.Labels["team"] = "z" }),
		"end user":    other(func(c *gateway.Call) { c.EndUser = "u" }),
		"temperature": other(func(c *gateway.Call) { c.Request.Temperature = &zero }),
		"a limit":     other(func(c *gateway.Call) { c.Request.MaxOutputTokens = &limit }),
		"a bound":     other(func(c *gateway.Call) { c.MaxCost = &accounting.Money{Currency: "USD", Nanos: 1e9} }),
		"two parts": other(func(c *gateway.Call) {
			p := &c.Request.Messages[0].Parts
			*p = append(*p, backend.Part{Channel: backend.Content})
		}),
	} {
		if _, _, err := h.ask(context.Background(), c); reason(err) != gateway.IdempotencyKeyTaken || first(err) != original.RequestID {
			t.Errorf("another %s: %v", name, err)
		}
	}
	if _, answer, err := h.ask(context.Background(), other(func(*gateway.Call) {})); err != nil || !answer.Replayed {
		t.Errorf("the same: %v", err)
	}
	for name, c := range map[string]*gateway.Call{
		"tenant":  other(func(c *gateway.Call) { c.Caller.Tenant = "beta" }),
		"project": other(func(c *gateway.Call) { c.Caller.Project = "search" }),
		"key":     other(func(c *gateway.Call) { c.IdempotencyKey = "K" }),
	} {
		if _, answer, err := h.ask(context.Background(), c); err != nil || answer.Replayed || answer.RequestID != c.RequestID {
			t.Errorf("another %s: %+v %v", name, answer, err)
		}
	}
}

func TestWhileTheFirstRuns(t *testing.T) {
	h := newHouse(t, keeping("full"))
	original := keyed("k", "say: slowly")
	var inside error
	_, err := h.Generate(context.Background(), original, sink(func(gateway.Delta) error {
		if inside == nil {
			_, _, inside = h.ask(context.Background(), keyed("k", "say: slowly"))
		}
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	var e *gateway.Error
	if !errors.As(inside, &e) || e.Reason != gateway.CallRunning || e.RetryAfter <= 0 || e.FirstRequestID != original.RequestID {
		t.Errorf("%+v", inside)
	}
	if _, answer, err := h.ask(context.Background(), keyed("k", "say: slowly")); err != nil || !answer.Replayed {
		t.Errorf("%+v %v", answer, err)
	}
}

func TestAKeyOfACallThatFailedIsFree(t *testing.T) {
	h := newHouse(t, keeping("full"))
	failing := true
	h.Behave = func(_ string, p simulator.Profile) simulator.Profile {
		if failing {
			p.Fault = simulator.FaultOverloaded
		}
		return p
	}
	if _, _, err := h.ask(context.Background(), keyed("k", "say: fine")); reason(err) != gateway.BackendOverloaded {
		t.Fatal(err)
	}
	failing = false
	_, err := h.Generate(context.Background(), keyed("k", "say: fine"), sink(func(gateway.Delta) error { return errors.New("gone") }))
	if reason(err) != gateway.Cancelled {
		t.Fatal(err)
	}
	if _, _, err := h.ask(context.Background(), keyed("k", "say: something forbidden")); reason(err) != gateway.InputBlocked {
		t.Fatal(err)
	}
	if _, answer, err := h.ask(context.Background(), keyed("k", "say: fine")); err != nil || answer.Replayed {
		t.Errorf("%+v %v", answer, err)
	}
}

func TestAnAnswerThatIsNotKept(t *testing.T) {
	h := newHouse(t, keeping("metadata"))
	original := keyed("k", "say: private words")
	if _, _, err := h.ask(context.Background(), original); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, _, err := h.ask(context.Background(), keyed("k", "say: private words")); reason(err) != gateway.AnswerNotKept || first(err) != original.RequestID {
			t.Errorf("%v", err)
		}
	}
	if n := h.Sim.Account().Calls; n != 1 {
		t.Errorf("the backend has %d calls", n)
	}
}

func TestARepeatedEmbedding(t *testing.T) {
	h := newHouse(t, strings.ReplaceAll(embedRules, "[forbidden, 违禁]", "[forbidden]"), embeds)
	ask := func(key string, texts ...string) (*gateway.Answer, error) {
		return h.Embed(context.Background(), keyed(key, ""), texts, nil)
	}
	answer, err := ask("k", "水车", "b")
	if err != nil {
		t.Fatal(err)
	}
	again, err := ask("k", "水车", "b")
	if err != nil || !again.Replayed || !reflect.DeepEqual(again.Vectors, answer.Vectors) || again.RequestID != answer.RequestID {
		t.Errorf("%+v, %v", again, err)
	}
	if _, err := ask("k", "水车"); reason(err) != gateway.IdempotencyKeyTaken {
		t.Error(err)
	}
}

func TestToolsAreRepeated(t *testing.T) {
	h := newHouse(t, keeping("full"))
	ask := func() (*told, *gateway.Answer, error) {
		call := keyed("k", `call: weather {"city": "杭州"}`)
		call.Request.Tools = []backend.Tool{{Name: "weather", Parameters: []byte(`{"type":"object"}`)}}
		var s told
		a, err := h.Generate(context.Background(), call, &s)
		return &s, a, err
	}
	calls := func(s *told) (names, arguments string) {
		for _, d := range s.deltas {
			if names += d.Tool + d.CallID; d.Channel == backend.Arguments {
				arguments += d.Text
			}
		}
		return names, arguments
	}
	one, answer, err := ask()
	if err != nil || answer.Finish[0] != backend.FinishToolCalls {
		t.Fatalf("%+v %v", answer, err)
	}
	two, again, err := ask()
	n1, a1 := calls(one)
	n2, a2 := calls(two)
	if err != nil || !again.Replayed || again.Finish[0] != backend.FinishToolCalls || n1 != n2 || a1 != a2 || n1 == "" {
		t.Errorf("%q %q, then %q %q, %v", n1, a1, n2, a2, err)
	}
}

func TestMediaAreRepeated(t *testing.T) {
	h := newHouse(t, keeping("full")+"    - {id: pictures, guard: media, action: flag}\n")
	ask := func() (gateway.Collected, *gateway.Answer) {
		call := keyed("k", "say: Voilà")
		most := 400
		call.Request.Modalities, call.Request.MaxOutputTokens = []backend.Modality{backend.Image}, &most
		var said gateway.Collector
		answer, err := h.Generate(context.Background(), call, &said)
		if err != nil {
			t.Fatal(err)
		}
		return said.Candidates()[0], answer
	}
	one, _ := ask()
	two, again := ask()
	if !again.Replayed || len(one.Parts) != 2 || one.Parts[1].Media == nil || seen(one) != seen(two) {
		t.Errorf("first %d parts, then %d", len(one.Parts), len(two.Parts))
	}
	h.Apply(keeping("full")) // without the rule
	if three, again := ask(); !again.Replayed || seen(three) != "Voilà" || again.Finish[0] != backend.FinishSafety {
		t.Errorf("under rules that let none pass %q, %s", seen(three), again.Finish)
	}
}

// lostClaims are a store that loses what ends a claim.
type lostClaims struct{ idempotency.Store }

func (lostClaims) AnswerKey(context.Context, [32]byte, string, []byte) error {
	return errors.New("the store is away")
}

func TestAKeyOfACallThatDied(t *testing.T) {
	h := newHouse(t, keeping("full"))
	h.Claims.Store = lostClaims{h.Claims.Store}
	answered := keyed("answered", "say: fine")
	if text, _, err := h.ask(context.Background(), answered); err != nil || text != "fine" {
		t.Fatalf("an answer that cannot be kept is an answer: %q, %v", text, err)
	}
	if _, _, err := h.ask(context.Background(), keyed("answered", "say: fine")); reason(err) != gateway.CallRunning {
		t.Errorf("before the process ends: %v", err)
	}
	// A call that its process cannot end: the claim stays.
	died := keyed("died", "say: fine")
	key := idempotency.NewKey("acme", "default", "died")
	if _, err := h.Store.ClaimKey(context.Background(), idempotency.Claim{ID: key.ID, Asks: []byte("that"), RequestID: died.RequestID, Replica: "house", Incarnation: 1, Busy: time.Hour, Keep: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.ask(context.Background(), keyed("died", "say: fine")); reason(err) != gateway.IdempotencyKeyTaken {
		t.Errorf("the mark is another: %v", err)
	}
	h.Sync()
	h.RestartLedger()
	if _, _, err := h.ask(context.Background(), keyed("answered", "say: fine")); reason(err) != gateway.AnswerNotKept || first(err) != answered.RequestID {
		t.Errorf("%v", err)
	}
}

func TestTheStoreIsAway(t *testing.T) {
	h := newHouse(t, keeping("full"))
	_ = h.Store.Shutdown()
	if _, _, err := h.ask(context.Background(), keyed("k", "hello")); reason(err) != gateway.AccountingUnavailable {
		t.Errorf("%v", err)
	}
	h.Claims = nil
	if _, _, err := h.ask(context.Background(), keyed("k", "hello")); reason(err) != gateway.UnsupportedFeature {
		t.Errorf("%v", err)
	}
}

// keptClaims note what is kept.
type keptClaims struct {
	idempotency.Store
	sealed []byte
}

func (k *keptClaims) AnswerKey(ctx context.Context, id [32]byte, requestID string, sealed []byte) error {
	k.sealed = sealed
	return k.Store.AnswerKey(ctx, id, requestID, sealed)
}

func TestAKeptAnswerIsSealed(t *testing.T) {
	h := newHouse(t, keeping("full"))
	kept := &keptClaims{Store: h.Claims.Store}
	h.Claims.Store = kept
	call := keyed("a key that nobody guesses", "say: quicksilver")
	if _, _, err := h.ask(context.Background(), call); err != nil {
		t.Fatal(err)
	}
	key := idempotency.NewKey("acme", "default", call.IdempotencyKey)
	plain, err := key.Open(call.RequestID, kept.sealed)
	if err != nil || !strings.Contains(string(plain), "quicksilver") || strings.Contains(string(kept.sealed), "quicksilver") {
		t.Errorf("it opens as %q, %v", plain, err)
	}
	if strings.Contains(h.Lines.String(), call.IdempotencyKey) {
		t.Error("the log has the key")
	}
}

func TestARepeatedAnswerIsJudgedByModels(t *testing.T) {
	const rule = "{id: judged, guard: remote, kind: guard_model, model: llama-guard, action: "
	h := newJudged(t, remotePolicy("output", "{id: word, guard: lexicon, terms: [good], action: flag}"))
	h.Apply(keeping("full"))
	call := func() (string, *gateway.Answer, error) {
		return h.ask(context.Background(), keyed("k", twoSentences))
	}
	want, answer, err := call()
	if err != nil || len(answer.Verdicts) != 2 {
		t.Fatalf("%+v %v", answer, err)
	}
	// What was only found is found again, and not told twice.
	if text, again, err := call(); err != nil || text != want || !reflect.DeepEqual(again.Verdicts, answer.Verdicts) {
		t.Errorf("%q %+v %v", text, again.Verdicts, err)
	}
	for _, c := range []struct {
		action, want string
		finish       backend.FinishReason
		verdicts     int
	}{
		{"flag", want, backend.FinishStop, 2},
		{"redact", "The first sentence is good.[VIOLENT_CRIME][VIOLENT_CRIME]", backend.FinishStop, 2},
		{"block", "The first sentence is good.", backend.FinishSafety, 1},
	} {
		h.Apply(remotePolicy("output", rule+c.action+"}"))
		text, again, err := call()
		if err != nil || text != c.want || again.Finish[0] != c.finish || len(again.Verdicts) != c.verdicts || !again.Replayed {
			t.Errorf("%s: %q %+v %v", c.action, text, again, err)
		}
	}
	// Who asks what the caller is told is told of the call that it is about.
	if len(h.judge.inner) != 1 || len(h.judge.inner[answer.RequestID]) < 3 {
		t.Errorf("questions are asked for %v", h.judge.inner)
	}
	h.judge.set("die")
	if text, again, err := call(); err != nil || text != "" || again.Finish[0] != backend.FinishSafety {
		t.Errorf("nobody judges: %q %+v %v", text, again, err)
	}
	if n := h.Sim.Account().Calls; n != 1 {
		t.Errorf("the backend has %d calls", n)
	}
}
