package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/server/auth"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/simulator"
	"github.com/weir-gateway/weir/server/gateway"
	"github.com/weir-gateway/weir/server/gateway/gatewaytest"
	"github.com/weir-gateway/weir/server/route"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// basics are what every test's Weir has; prices are such that sums are easy:
// a token in is 1 micro-USD, a token out 2.
const basics = `
kind: Tenant
name: acme
---
kind: Price
model: sim
currency: USD
effective: 2026-01-01
per_million: {input: 1, output: 2}
---
`

// house is a whole gateway.
type house struct {
	*gatewaytest.House
	t    *testing.T
	seen atomic.Int64 // calls that Observe was told of
}

// newHouse makes a house with documents and a model "sim" whose targets behave
// by the profiles, in order.
func newHouse(t *testing.T, documents string, profiles ...simulator.Profile) *house {
	t.Helper()
	if len(profiles) == 0 {
		profiles = []simulator.Profile{{}}
	}
	h := &house{t: t, House: gatewaytest.New(t, basics+documents, map[string][]simulator.Profile{"sim": profiles})}
	h.Observe = func(*gateway.Call, *gateway.Answer, error) { h.seen.Add(1) }
	return h
}

func newCall(prompt string) *gateway.Call {
	return &gateway.Call{
		RequestID: uuid.Must(uuid.NewV7()).String(),
		Caller:    auth.Caller{Tenant: "acme", Project: "default", Key: "k1", Role: auth.Member},
		Model:     "sim",
		Request: backend.Request{Messages: []backend.Message{
			{Role: backend.User, Parts: []backend.Part{{Channel: backend.Content, Text: prompt}}},
		}},
	}
}

// ask runs a call and gathers its text.
func (h *house) ask(ctx context.Context, call *gateway.Call) (string, *gateway.Answer, error) {
	var c gateway.Collector
	answer, err := h.Generate(ctx, call, &c)
	said := c.Candidates()
	if len(said) == 0 {
		return "", answer, err
	}
	return said[0].Content, answer, err
}

// lines are the ledger's rows of a call. Nothing may be left open, and the
// ledger must be sound.
func (h *house) lines(call *gateway.Call) []accounting.Line {
	h.t.Helper()
	ctx := context.Background()
	h.Sync()
	if s := h.Ledger.Spool.Stats(); s.Live > 0 {
		h.t.Fatalf("%d holds are left open", s.Live)
	}
	if wrong, err := h.Store.Audit(ctx); err != nil || len(wrong) > 0 {
		h.t.Fatalf("the ledger is not sound: %v %v", wrong, err)
	}
	lines, err := h.Store.Lines(ctx, call.RequestID)
	if err != nil {
		h.t.Fatal(err)
	}
	return lines
}

func reason(err error) gateway.Reason {
	var e *gateway.Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return ""
}

func TestAnAnswerCarriesWhatTheLedgerHas(t *testing.T) {
	h := newHouse(t, "")
	call := newCall("say: The river is calm today.")
	call.Labels = map[string]string{"team": "search"}
	text, answer, err := h.ask(context.Background(), call)
	if err != nil || text != "The river is calm today." {
		t.Fatalf("%q %v", text, err)
	}
	lines := h.lines(call)
	if len(lines) != 1 {
		t.Fatalf("%d lines, want 1", len(lines))
	}
	l := lines[0]
	if l.Outcome != accounting.OutcomeCompleted || l.Source != accounting.SourceProvider || l.Usage != answer.Usage || l.Subject.Labels["team"] != "search" {
		t.Errorf("line %+v does not say what the answer says: %+v", l, answer)
	}
	in, _ := l.Usage.InputTokens()
	out, _ := l.Usage.OutputTokens()
	if want := in*1_000 + out*2_000; l.Cost == nil || l.Cost.Charge.Nanos != want || answer.Cost.Charge != l.Cost.Charge {
		t.Errorf("%d tokens in and %d out cost %v, want %d nanos", in, out, l.Cost, want)
	}
	if own, _ := l.OwnUsage.OutputTokens(); own != out {
		t.Errorf("our own count is %d, the backend's %d", own, out)
	}
	if answer.Target.InjectedMaxOutputTokens != 100 {
		t.Errorf("the answer does not tell of the limit that was injected: %+v", answer.Target)
	}
	if answer.Finish[0] != backend.FinishStop || h.seen.Load() != 1 {
		t.Errorf("finish %v, observed %d times", answer.Finish, h.seen.Load())
	}
}

func TestNoByteOfABlockedTermLeaves(t *testing.T) {
	h := newHouse(t, `
kind: Policy
name: base
tenant: acme
safety: {output: [{guard: lexicon, terms: [zorblatt, 佐布拉特], action: block}]}
`, simulator.Profile{})
	for _, c := range []struct{ prompt, want string }{
		{"say: Behold the zorblatt, " + strings.Repeat("it goes on and on ", 500), "Behold the "},
		{"say: 这就是佐布拉特，" + strings.Repeat("还有很多话要说", 200), "这就是"},
	} {
		call := newCall(c.prompt)
		limit := 5000
		call.Request.MaxOutputTokens = &limit
		text, answer, err := h.ask(context.Background(), call)
		if err != nil {
			t.Fatal(err)
		}
		if text != c.want {
			t.Errorf("%q was released, want %q", text, c.want)
		}
		if answer.Finish[0] != backend.FinishSafety || len(answer.Verdicts) != 1 || answer.Verdicts[0].Action != policy.Block {
			t.Errorf("finish %v, verdicts %+v", answer.Finish, answer.Verdicts)
		}
		if how := <-h.Ended; how != simulator.EndedCancelled {
			t.Errorf("the backend ended %s: it should have been cancelled at the block", how)
		}
		l := h.lines(call)[0]
		if out, _ := l.Usage.OutputTokens(); l.Outcome != accounting.OutcomeBlocked || l.Source != accounting.SourceGateway || out == 0 || l.Cost.Charge.Nanos == 0 {
			t.Errorf("a blocked answer pays for what was generated: %+v", l)
		}
		if generated := h.Sim.Account().Requests[call.RequestID].Tokens; generated > 1000 {
			t.Errorf("the backend generated %d tokens of an answer that was blocked at its beginning", generated)
		}
	}
}

func TestRedactionInTheStream(t *testing.T) {
	h := newHouse(t, `
kind: Policy
name: base
tenant: acme
safety: {output: [{guard: pattern, builtin: email, action: redact}]}
`)
	text, answer, err := h.ask(context.Background(), newCall("say: 请联系张三zhang.san@example.com谢谢"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text, "@") || strings.Contains(text, "example") || !strings.HasPrefix(text, "请联系张三") || !strings.HasSuffix(text, "谢谢") {
		t.Errorf("released %q", text)
	}
	if answer.Finish[0] != backend.FinishStop || len(answer.Verdicts) != 1 || answer.Verdicts[0].Category != "pii/email" {
		t.Errorf("finish %v, verdicts %+v", answer.Finish, answer.Verdicts)
	}
}

func TestInputRules(t *testing.T) {
	h := newHouse(t, `
kind: Policy
name: base
tenant: acme
rates: [{per: key, concurrent: 1}]
safety:
  input:
    - {guard: lexicon, terms: [forbidden], action: block}
    - {guard: pattern, builtin: email, action: redact}
`)
	call := newCall("tell me the forbidden thing")
	_, answer, err := h.ask(context.Background(), call)
	var e *gateway.Error
	if !errors.As(err, &e) || e.Reason != gateway.InputBlocked || len(e.Verdicts) != 1 || e.Verdicts[0].Message != 0 {
		t.Fatalf("%v", err)
	}
	if strings.Contains(err.Error(), "forbidden") {
		t.Errorf("the error repeats what it blocks: %v", err)
	}
	if lines := h.lines(call); len(lines) != 0 || answer.Attempts != 0 {
		t.Errorf("a blocked input was accounted: %+v", lines)
	}
	// A name is a text too.
	call = newCall("hello")
	call.Request.Messages[0].Name = "forbidden"
	if _, _, err := h.ask(context.Background(), call); !errors.As(err, &e) || e.Reason != gateway.InputBlocked || e.Verdicts[0].Part != -1 {
		t.Errorf("%v", err)
	}
	// The place was given back, or this call would find none.
	text, _, err := h.ask(context.Background(), newCall("say: write to ada@example.org"))
	if err != nil || strings.Contains(text, "@") {
		t.Errorf("the backend got an address that should have been redacted: it says %q, %v", text, err)
	}
}

func TestAnotherTargetAnswersWhereOneFails(t *testing.T) {
	h := newHouse(t, "", simulator.Profile{Fault: simulator.FaultError}, simulator.Profile{Fault: simulator.FaultOverloaded}, simulator.Profile{})
	call := newCall("say: third time lucky")
	text, answer, err := h.ask(context.Background(), call)
	if err != nil || text != "third time lucky" || answer.Target.Backend != "b2" || answer.Attempts != 3 {
		t.Fatalf("%q %+v %v", text, answer, err)
	}
	lines := h.lines(call)
	if len(lines) != 3 {
		t.Fatalf("%d lines, want one for each attempt", len(lines))
	}
	for i, want := range []accounting.Outcome{accounting.OutcomeFailed, accounting.OutcomeFailed, accounting.OutcomeCompleted} {
		if l := lines[i]; l.Outcome != want || l.Attempt.Number != i+1 || l.Backend != fmt.Sprintf("b%d", i) {
			t.Errorf("line %d: %+v, want outcome %s", i, l, want)
		}
	}
	if lines[0].Cost.Charge.Nanos != 0 || lines[0].Cost.ProviderCost.Nanos != 0 || lines[0].Usage.Known() {
		t.Errorf("a failed attempt is charged: %v", lines[0].Cost.Charge)
	}
}

func TestNothingIsTriedAgainAfterTheFirstReleasedByte(t *testing.T) {
	h := newHouse(t, "", simulator.Profile{Fault: simulator.FaultCut, FaultAfter: 3}, simulator.Profile{})
	call := newCall("say: one two three four five six")
	text := ""
	answer, err := h.Generate(context.Background(), call, sink(func(d gateway.Delta) error { text += d.Text; return nil }))
	if reason(err) != gateway.StreamBroken || answer.Attempts != 1 || text == "" {
		t.Fatalf("%q %+v %v", text, answer, err)
	}
	l := h.lines(call)[0]
	if l.Outcome != accounting.OutcomeBroken || l.Cost.Charge.Nanos != 0 || l.Cost.ProviderCost.Nanos == 0 {
		t.Errorf("we pay for a broken answer, the caller does not: %+v %+v", l, l.Cost)
	}
}

// A unary caller has seen nothing before the end, so another target may answer.
func TestAUnaryAnswerThatBreaksOffIsBegunAgain(t *testing.T) {
	h := newHouse(t, `
kind: Policy
name: base
tenant: acme
safety: {output: [{guard: lexicon, terms: [one], action: flag}]}
`, simulator.Profile{Fault: simulator.FaultCut, FaultAfter: 3}, simulator.Profile{})
	call := newCall("say: one two three four five six")
	text, answer, err := h.ask(context.Background(), call)
	if err != nil || text != "one two three four five six" || answer.Attempts != 2 || len(answer.Verdicts) != 1 {
		t.Fatalf("%q %+v %v", text, answer, err)
	}
	if l := h.lines(call); l[0].Outcome != accounting.OutcomeBroken || l[0].Cost.Charge.Nanos != 0 || l[1].Outcome != accounting.OutcomeCompleted {
		t.Errorf("lines %+v", l)
	}
}

func TestHeldBytesDoNotCount(t *testing.T) {
	// All that the first target says is held back when it breaks off, so the
	// caller has seen nothing and the second target may answer.
	h := newHouse(t, `
kind: Policy
name: base
tenant: acme
safety: {output: [{guard: lexicon, terms: ["one two three four zorb"], action: block}]}
`, simulator.Profile{Fault: simulator.FaultCut, FaultAfter: 3}, simulator.Profile{})
	call := newCall("say: one two three four five six")
	text, answer, err := h.ask(context.Background(), call)
	if err != nil || text != "one two three four five six" || answer.Attempts != 2 {
		t.Fatalf("%q %+v %v", text, answer, err)
	}
	if l := h.lines(call); l[0].Outcome != accounting.OutcomeBroken || l[1].Outcome != accounting.OutcomeCompleted {
		t.Errorf("lines %+v", l)
	}
}

// sink is a Sink made of a func.
type sink func(gateway.Delta) error

func (sink) Start(*gateway.Answer) error   { return nil }
func (s sink) Delta(d gateway.Delta) error { return s(d) }

// Flush implements gateway.Sink.
func (sink) Flush() error { return nil }

func TestACancelledCallPaysForWhatWasGenerated(t *testing.T) {
	h := newHouse(t, "", simulator.Profile{Fault: simulator.FaultStall, FaultAfter: 5})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	call := newCall("say: one two three four five six seven eight nine ten")
	got := 0
	answer, err := h.Generate(ctx, call, sink(func(d gateway.Delta) error {
		if got += len(d.Text); got > 10 {
			cancel()
		}
		return nil
	}))
	if reason(err) != gateway.Cancelled {
		t.Fatalf("%+v %v", answer, err)
	}
	if how := <-h.Ended; how != simulator.EndedCancelled {
		t.Errorf("the backend ended %s", how)
	}
	l := h.lines(call)[0]
	out, _ := l.Usage.OutputTokens()
	if generated := h.Sim.Account().Requests[call.RequestID].Tokens; l.Outcome != accounting.OutcomeCancelled || out == 0 || out > generated || l.Cost.Charge.Nanos == 0 {
		t.Errorf("%d tokens charged of %d generated: %+v", out, generated, l)
	}
}

func TestACallerThatIsGoneCancels(t *testing.T) {
	h := newHouse(t, "", simulator.Profile{Fault: simulator.FaultStall, FaultAfter: 5})
	call := newCall("say: one two three four five six seven")
	_, err := h.Generate(context.Background(), call, sink(func(gateway.Delta) error { return io.ErrClosedPipe }))
	if reason(err) != gateway.Cancelled {
		t.Fatal(err)
	}
	if how := <-h.Ended; how != simulator.EndedCancelled {
		t.Errorf("the backend ended %s", how)
	}
	if l := h.lines(call)[0]; l.Outcome != accounting.OutcomeCancelled {
		t.Errorf("%+v", l)
	}
}

func TestTheDeadlineEndsAStalledBackend(t *testing.T) {
	h := newHouse(t, "", simulator.Profile{Fault: simulator.FaultStall, FaultAfter: 3})
	h.MaxDuration = 50 * time.Millisecond
	call := newCall("say: one two three four five six seven")
	text, _, err := h.ask(context.Background(), call)
	if reason(err) != gateway.DeadlineExceeded || text == "" {
		t.Fatalf("%q %v", text, err)
	}
	if l := h.lines(call)[0]; l.Outcome != accounting.OutcomeDeadline || l.Cost.Charge.Nanos == 0 {
		t.Errorf("%+v", l)
	}
}

const cap = `
kind: Budget
name: cap
tenant: acme
limit: %s
window: total
`

func TestABudgetRefusesBeforeTheBackendIsCalled(t *testing.T) {
	h := newHouse(t, fmt.Sprintf(cap, "0.0001 USD"))
	call := newCall("say: too dear")
	_, _, err := h.ask(context.Background(), call)
	var e *gateway.Error
	if !errors.As(err, &e) || e.Reason != gateway.BudgetExhausted || e.RetryAfter != 0 || !strings.Contains(e.Message, `budget "cap"`) {
		t.Fatal(err)
	}
	if served := h.Sim.Account().Calls; served != 0 || len(h.lines(call)) != 0 {
		t.Errorf("the backend served %d calls", served)
	}
	limit := 10
	call = newCall("say: cheap")
	call.Request.MaxOutputTokens = &limit
	if _, _, err := h.ask(context.Background(), call); err != nil {
		t.Errorf("a call that fits was refused: %v", err)
	}
}

func TestACallIsBoundedByItself(t *testing.T) {
	h := newHouse(t, `
kind: Budget
name: each
tenant: acme
per: call
limit: 0.001 USD
`)
	most := func(nanos int64) *accounting.Money { return &accounting.Money{Currency: "USD", Nanos: nanos} }
	for _, c := range []struct {
		output  int
		max     *accounting.Money
		subject string // "" where the call is answered
	}{
		{400, nil, ""},
		{600, nil, "tenants/acme/budgets/each"},
		{400, most(700_000), "context.max_cost"},
		{300, most(700_000), ""},
		{1, most(0), "context.max_cost"},
	} {
		call := newCall("say: hi")
		call.Request.MaxOutputTokens, call.MaxCost = &c.output, c.max
		before := h.Sim.Account().Calls
		_, answer, err := h.ask(context.Background(), call)
		if c.subject == "" {
			if err != nil || c.max != nil && answer.Cost.Charge.Nanos > c.max.Nanos {
				t.Errorf("%d tokens, at most %v: %v, %+v", c.output, c.max, err, answer.Cost)
			}
			continue
		}
		var e *gateway.Error
		if !errors.As(err, &e) || e.Reason != gateway.BudgetExhausted || e.Subject != c.subject || h.Sim.Account().Calls != before || len(h.lines(call)) != 0 {
			t.Errorf("%d tokens, at most %v: %v", c.output, c.max, err)
		}
	}
	// Where the first target does not answer, the second one has the whole bound.
	h = newHouse(t, "", simulator.Profile{Fault: simulator.FaultError}, simulator.Profile{})
	call := newCall("say: hi")
	call.MaxCost = most(300_000)
	_, answer, err := h.ask(context.Background(), call)
	if err != nil || answer.Attempts != 2 {
		t.Errorf("%v, %d attempts", err, answer.Attempts)
	}
}

func TestAShadowBudgetTellsAndRefusesNothing(t *testing.T) {
	h := newHouse(t, fmt.Sprintf(cap, "0.0001 USD")+"mode: shadow\n")
	_, answer, err := h.ask(context.Background(), newCall("say: too dear"))
	if err != nil || len(answer.Excesses) != 1 || !answer.Excesses[0].Shadow || answer.Excesses[0].Window.Budget != "cap" {
		t.Fatalf("%v, in excess %v", err, answer.Excesses)
	}
	if !strings.Contains(h.Lines.String(), "in shadow") {
		t.Errorf("the log does not tell of it: %s", h.Lines)
	}
}

func TestNoPriceUnderABudgetOfMoney(t *testing.T) {
	h := newHouse(t, "---\n"+fmt.Sprintf(cap, "5 CNY")+`
---
kind: Price
model: other
currency: CNY
effective: 2026-01-01
per_million: {input: 1, output: 1}
`)
	if _, _, err := h.ask(context.Background(), newCall("hello")); reason(err) != gateway.UnpricedModel || !strings.Contains(err.Error(), "priced in USD") {
		t.Errorf("%v", err)
	}
}

func TestARateRefuses(t *testing.T) {
	h := newHouse(t, `
kind: Policy
name: base
tenant: acme
rates: [{per: key, requests: 1/min}]
`)
	if _, _, err := h.ask(context.Background(), newCall("hello")); err != nil {
		t.Fatal(err)
	}
	_, _, err := h.ask(context.Background(), newCall("hello"))
	var e *gateway.Error
	if !errors.As(err, &e) || e.Reason != gateway.RateLimitExceeded || e.RetryAfter <= 0 || e.RetryAfter > time.Minute {
		t.Errorf("%+v", err)
	}
}

func TestAnUnknownModelIsNamed(t *testing.T) {
	h := newHouse(t, "")
	call := newCall("hello")
	call.Model = "nope"
	if _, _, err := h.ask(context.Background(), call); reason(err) != gateway.ModelNotFound || !strings.Contains(err.Error(), `"nope"`) {
		t.Errorf("%v", err)
	}
}

func TestNoOKWithoutTheLedger(t *testing.T) {
	h := newHouse(t, "---\n"+fmt.Sprintf(cap, "5 USD"))
	call := newCall("say: nobody will pay for this")
	// The spool is gone before the answer has ended.
	_, err := h.Generate(context.Background(), call, sink(func(gateway.Delta) error {
		_ = h.Ledger.Spool.Close()
		return nil
	}))
	if reason(err) != gateway.StreamBroken || strings.Contains(err.Error(), "spool") {
		t.Fatalf("%v", err)
	}
	if _, _, err := h.ask(context.Background(), newCall("hello")); reason(err) != gateway.AccountingUnavailable {
		t.Errorf("a call that cannot be written down: %v", err)
	}
	// The hold stands until it is settled in doubt, at what was held.
	h.RestartLedger()
	l := h.lines(call)[0]
	if l.Outcome != accounting.OutcomeInDoubt || l.Source != accounting.SourceReservation || l.Cost.Charge.Nanos < 100*2_000 {
		t.Errorf("%+v %+v", l, l.Cost)
	}
}

func TestAPanicSettles(t *testing.T) {
	h := newHouse(t, "")
	call := newCall("say: boom")
	func() {
		defer func() { recover() }()
		h.Generate(context.Background(), call, sink(func(gateway.Delta) error { panic("boom") }))
		t.Error("the panic was swallowed")
	}()
	if l := h.lines(call); len(l) != 1 || l[0].Outcome != accounting.OutcomeBroken || l[0].Cost.Charge.Nanos != 0 {
		t.Errorf("%+v", l)
	}
}

func TestSeveralCandidates(t *testing.T) {
	h := newHouse(t, "")
	call := newCall("what is a weir?")
	call.Request.Candidates = 3
	var c gateway.Collector
	answer, err := h.Generate(context.Background(), call, &c)
	if err != nil || len(c.Candidates()) != 3 || len(answer.Finish) != 3 {
		t.Fatalf("%+v %+v %v", c.Candidates(), answer, err)
	}
	call.Request.Candidates = simulator.MaxCandidates + 1
	call.RequestID = uuid.Must(uuid.NewV7()).String()
	_, err = h.Generate(context.Background(), call, &c)
	var e *gateway.Error
	if !errors.As(err, &e) || e.Reason != gateway.UnsupportedFeature || e.Field != "config.candidate_count" {
		t.Errorf("%v", err)
	}
}

// The failure that gave gateways their name for overshooting: a cap, and many
// more calls at once than it can pay for.
func TestTheClassicOvershoot(t *testing.T) {
	h := newHouse(t, "---\n"+fmt.Sprintf(cap, "0.005 USD"))
	// Each call costs exactly 0.0001 USD: 10 tokens in, 45 out, exact counts.
	const calls, fit = 300, 50
	limit := 45
	var won, refused atomic.Int64
	var all sync.WaitGroup
	for range calls {
		all.Go(func() {
			call := newCall("tokens: 400")
			call.Request.MaxOutputTokens = &limit
			_, answer, err := h.ask(context.Background(), call)
			switch reason(err) {
			case "":
				won.Add(1)
				if answer.Finish[0] != backend.FinishLength {
					t.Errorf("finish %v", answer.Finish)
				}
			case gateway.BudgetExhausted:
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	all.Wait()
	in := h.Sim.Account()
	if won.Load() != in.Calls || won.Load()+refused.Load() != calls {
		t.Errorf("%d won, %d were refused, the backend served %d", won.Load(), refused.Load(), in.Calls)
	}
	h.Sync()
	if err := h.Ledger.Leases.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	state, ok, err := h.Store.Window(context.Background(), "acme/cap/tenant/total")
	if err != nil || !ok {
		t.Fatalf("no such window: %v", err)
	}
	if state.Spent > state.Limit || state.Overrun != 0 || state.Leased != 0 {
		t.Errorf("the budget was overspent: %+v", state)
	}
	each := state.Spent / won.Load()
	if room := state.Limit - state.Spent; room >= each {
		t.Errorf("%d calls won of at most %d and there was room for another: %+v", won.Load(), fit, state)
	}
	h.lines(newCall(""))
}

// named is a backend that gives itself a name of its own.
type named struct {
	backend.Backend
	name string
}

func (n named) Generate(ctx context.Context, req *backend.Request) (backend.Stream, error) {
	s, err := n.Backend.Generate(ctx, req)
	return &renamed{Stream: s, name: n.name}, err
}

type renamed struct {
	backend.Stream
	name string
}

func (r *renamed) Recv() (backend.Event, error) {
	e, err := r.Stream.Recv()
	if e.Kind == backend.Started {
		e.BackendModel = r.name
	}
	return e, err
}

func TestAStringThatNoGuardHasSeenDoesNotPass(t *testing.T) {
	h := newHouse(t, `
kind: Policy
name: base
tenant: acme
safety: {output: [{guard: lexicon, terms: [zorblatt], action: redact}]}
`)
	for name, want := range map[string]string{"sim-2026": "sim-2026", "sim-zorblatt": ""} {
		router, err := route.New([]route.Model{{Name: "sim", MaxOutputTokens: 100, Targets: []route.Target{{Name: "b", Backend: named{h.Sim, name}, Model: "sim"}}}})
		if err != nil {
			t.Fatal(err)
		}
		h.Router = func() *route.Router { return router }
		_, answer, err := h.ask(context.Background(), newCall("hello"))
		if err != nil || answer.Target.BackendModel != want {
			t.Errorf("the backend calls itself %q, the caller is told %q, want %q (%v)", name, answer.Target.BackendModel, want, err)
		}
	}
}
