package gateway_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/simulator"
	"github.com/weir-gateway/weir/server/gateway"
	"github.com/weir-gateway/weir/server/route"
)

const hedgeAfter = 800 * time.Millisecond

// hedging gives the model "sim" of a house a hedge, with its targets in order.
func (h *house) hedging(all ...route.Target) {
	h.t.Helper()
	for i := range all {
		all[i].Priority = i
	}
	h.hedgingAlike(all...)
}

// hedgingAlike is hedging with the targets as they are.
func (h *house) hedgingAlike(all ...route.Target) {
	h.t.Helper()
	router, err := route.New([]route.Model{{Name: "sim", MaxOutputTokens: 100, HedgeAfter: hedgeAfter, Targets: all}})
	if err != nil {
		h.t.Fatal(err)
	}
	h.Router = func() *route.Router { return router }
}

// pricedLongAgo holds when virtual time begins.
const pricedLongAgo = `
kind: Price
model: sim
currency: USD
effective: 1999-01-01
per_million: {input: 1, output: 2}
---
`

func newHedging(t *testing.T, documents string, profiles ...simulator.Profile) *house {
	t.Helper()
	h := newHouse(t, pricedLongAgo+documents, profiles...)
	h.hedging(targets(h, len(profiles))...)
	return h
}

// told are the outcomes of a call's lines, which are numbered from 1, and have
// what the matrix says of who pays.
func (h *house) told(call *gateway.Call) (outcomes []accounting.Outcome) {
	h.t.Helper()
	for i, l := range h.lines(call) {
		if l.Attempt.Number != i+1 || l.Number != 0 {
			h.t.Errorf("line %d has the number %d, %d", i, l.Attempt.Number, l.Number)
		}
		if l.Cost == nil || !l.Outcome.Charged() && l.Cost.Charge.Nanos != 0 || l.Outcome.Charged() && l.Cost.Charge != l.Cost.ProviderCost {
			h.t.Errorf("line %d, %s, costs %+v", i+1, l.Outcome, l.Cost)
		}
		outcomes = append(outcomes, l.Outcome)
	}
	return outcomes
}

const (
	completed = accounting.OutcomeCompleted
	loser     = accounting.OutcomeHedgeLoser
	failed    = accounting.OutcomeFailed
)

func TestWhoeverAnswersFirstIsHeard(t *testing.T) {
	soon := func(d time.Duration) simulator.Profile { return simulator.Profile{TimeToFirstToken: d} }
	for name, c := range map[string]struct {
		targets []simulator.Profile
		backend string
		first   time.Duration // until the first text
		want    []accounting.Outcome
		hedges  []gateway.Hedge
	}{
		"the hedge": {[]simulator.Profile{soon(10 * time.Second), soon(100 * time.Millisecond)}, "b1", 900 * time.Millisecond,
			[]accounting.Outcome{loser, completed}, []gateway.Hedge{gateway.HedgeWon}},
		"the first, after all": {[]simulator.Profile{soon(time.Second), soon(5 * time.Second)}, "b0", time.Second,
			[]accounting.Outcome{completed, loser}, []gateway.Hedge{gateway.HedgeLost}},
		"the first, in time": {[]simulator.Profile{soon(700 * time.Millisecond), {}}, "b0", 700 * time.Millisecond,
			[]accounting.Outcome{completed}, nil},
		"the hedge of one that stalls": {[]simulator.Profile{{Fault: simulator.FaultStall}, {}}, "b1", hedgeAfter,
			[]accounting.Outcome{loser, completed}, []gateway.Hedge{gateway.HedgeWon}},
		"the hedge, as the retry of one that fails": {[]simulator.Profile{{Fault: simulator.FaultReset, TimeToFirstToken: time.Second}, soon(5 * time.Second)}, "b1", 5800 * time.Millisecond,
			[]accounting.Outcome{failed, completed}, []gateway.Hedge{gateway.HedgeServed}},
		"the first, after its hedge has failed": {[]simulator.Profile{soon(2 * time.Second), {Fault: simulator.FaultError}}, "b0", 2 * time.Second,
			[]accounting.Outcome{completed, failed}, []gateway.Hedge{gateway.HedgeFailed}},
		"a third, after both have failed": {[]simulator.Profile{{Fault: simulator.FaultReset, TimeToFirstToken: time.Second}, {Fault: simulator.FaultReset, TimeToFirstToken: time.Second}, {}}, "b2", 1800 * time.Millisecond,
			[]accounting.Outcome{failed, failed, completed}, []gateway.Hedge{gateway.HedgeServed}},
		"the one that was overtaken, after the other has broken off": {[]simulator.Profile{soon(10 * time.Second), {Fault: simulator.FaultCut, FaultAfter: 2}}, "b0", 10*time.Second + hedgeAfter,
			[]accounting.Outcome{loser, accounting.OutcomeBroken, completed}, []gateway.Hedge{gateway.HedgeWon}},
		// 3/4 of what is left of a minute when it answers, and then the other's ten seconds.
		"the one that was overtaken, after the other has stalled": {[]simulator.Profile{soon(10 * time.Second), {Fault: simulator.FaultStall, FaultAfter: 2}}, "b0", 55200 * time.Millisecond,
			[]accounting.Outcome{loser, accounting.OutcomeBroken, completed}, []gateway.Hedge{gateway.HedgeWon}},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				h := newHedging(t, "", c.targets...)
				call := newCall("say: one two three four 五六七八")
				text, answer, err := h.ask(context.Background(), call)
				if err != nil || text != "one two three four 五六七八" || answer.Target.Backend != c.backend {
					t.Fatalf("%q of %s, %v", text, answer.Target.Backend, err)
				}
				if took := answer.FirstOutput.Sub(answer.Start).Round(50 * time.Millisecond); took != c.first {
					t.Errorf("the first text came after %s, want %s", took, c.first)
				}
				if got := h.told(call); !slices.Equal(got, c.want) || answer.Attempts != len(c.want) {
					t.Errorf("the ledger has %v and the answer %d attempts, want %v", got, answer.Attempts, c.want)
				}
				if !slices.Equal(answer.Hedges, c.hedges) {
					t.Errorf("hedges %v, want %v", answer.Hedges, c.hedges)
				}
			})
		})
	}
}

// The loser costs what its backend may bill, feeds no budget, and says why it
// was there; the winner is charged as if it had been alone.
func TestALoserIsPaidByUs(t *testing.T) {
	virtual(t, func(t *testing.T) {
		h := newHedging(t, fmt.Sprintf(cap, "1 USD"), simulator.Profile{TimeToFirstToken: time.Second}, simulator.Profile{TimeToFirstToken: time.Minute})
		call := newCall("say: one two three four")
		_, answer, err := h.ask(context.Background(), call)
		lines := h.lines(call)
		if err != nil || len(lines) != 2 {
			t.Fatalf("%d lines, %v", len(lines), err)
		}
		won, lost := lines[0], lines[1]
		in, _ := won.Usage.InputTokens()
		out, _ := won.Usage.OutputTokens()
		if answer.Cost.Charge != won.Cost.Charge || won.Cost.Charge.Nanos != in*1000+out*2000 || answer.Usage != won.Usage {
			t.Errorf("the answer costs %+v, the line %+v", answer.Cost, won.Cost)
		}
		lostIn, _ := lost.Usage.InputTokens()
		lostOut, known := lost.Usage.OutputTokens()
		if lost.Outcome != loser || lost.Cost.Charge.Nanos != 0 || lost.Cost.ProviderCost.Nanos != in*1000 || lostIn != in || lostOut != 0 || !known || lost.Source != accounting.SourceGateway {
			t.Errorf("the loser is %+v, %+v", lost, lost.Cost)
		}
		if want := ", hedge: b0 had said nothing for 800ms"; !strings.HasSuffix(lost.Reason, want) || strings.Contains(answer.Target.Reason, "hedge") {
			t.Errorf("reasons %q and %q", lost.Reason, answer.Target.Reason)
		}
		windows, err := h.Store.Windows(context.Background(), "acme", time.Now(), 10)
		if err != nil || len(windows) != 1 || windows[0].Spent != won.Cost.Charge.Nanos {
			t.Errorf("windows are %+v, %v", windows, err)
		}
	})
}

// While the winner streams, the loser is gone: cancelled at its backend, and its
// money free.
func TestALoserIsSettledAtOnce(t *testing.T) {
	virtual(t, func(t *testing.T) {
		h := newHedging(t, "", simulator.Profile{TimeToFirstToken: time.Hour}, simulator.Profile{TokensPerSecond: 1})
		pieces := 0
		_, err := h.Generate(context.Background(), newCall("say: one two three four five six"), sink(func(gateway.Delta) error {
			if pieces++; pieces == 3 {
				if live := h.Ledger.Spool.Stats().Live; live != 1 {
					t.Errorf("%d holds are open while the answer streams, want that of the winner", live)
				}
				if n := len(h.Ended); n != 1 || <-h.Ended != simulator.EndedCancelled {
					t.Errorf("%d calls at backends have ended", n)
				}
			}
			return nil
		}))
		if err != nil || pieces < 4 {
			t.Errorf("%d pieces, %v", pieces, err)
		}
	})
}

// A hedge for which there is no room is not made, and its target is still there
// for a retry, for which there is.
func TestNoRoomForAHedgeIsNoFailure(t *testing.T) {
	for name, c := range map[string]struct {
		first simulator.Profile
		want  []accounting.Outcome
	}{
		"the first answers": {simulator.Profile{TimeToFirstToken: 2 * time.Second}, []accounting.Outcome{completed}},
		"the first fails":   {simulator.Profile{TimeToFirstToken: 2 * time.Second, Fault: simulator.FaultReset}, []accounting.Outcome{failed, completed}},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				h := newHedging(t, "", c.first, simulator.Profile{})
				call := newCall("say: one two")
				call.MaxCost = &accounting.Money{Currency: "USD", Nanos: 300_000} // one hold is 200 tokens out and some in
				text, answer, err := h.ask(context.Background(), call)
				if err != nil || text != "one two" || !slices.Equal(answer.Hedges, []gateway.Hedge{gateway.HedgeRefused}) {
					t.Errorf("%q, hedges %v, %v", text, answer.Hedges, err)
				}
				if got := h.told(call); !slices.Equal(got, c.want) {
					t.Errorf("the ledger has %v, want %v", got, c.want)
				}
			})
		})
	}
}

// One that is not made takes no retry from those of the model.
func TestARefusedHedgeTakesNoRetry(t *testing.T) {
	virtual(t, func(t *testing.T) {
		h := newHedging(t, "", simulator.Profile{TimeToFirstToken: time.Second}, simulator.Profile{})
		now := time.Now()
		h.Clock = func() time.Time { return now }
		var fault simulator.Fault
		h.Behave = func(model string, p simulator.Profile) simulator.Profile {
			if model == "sim" {
				p.Fault = fault
			}
			return p
		}
		for n := range 31 {
			if n == 30 {
				fault = simulator.FaultReset
			}
			call := newCall("say: one two")
			call.MaxCost = &accounting.Money{Currency: "USD", Nanos: 300_000}
			if _, answer, err := h.ask(context.Background(), call); err != nil || !slices.Equal(answer.Hedges, []gateway.Hedge{gateway.HedgeRefused}) {
				t.Fatalf("call %d: hedges %v, %v", n, answer.Hedges, err)
			}
		}
	})
}

// lateWord is a backend that is silent until it is cancelled, and has a word on
// the way then.
type lateWord struct{ *simulator.Backend }

func (b lateWord) Generate(ctx context.Context, _ *backend.Request) (backend.Stream, error) {
	return &lateStream{ctx: ctx}, nil
}

type lateStream struct{ ctx context.Context }

func (s *lateStream) Recv() (backend.Event, error) {
	<-s.ctx.Done()
	return backend.Event{Kind: backend.Delta, Channel: backend.Content, Text: "too late"}, nil
}

func (s *lateStream) Close() error { return nil }

// What a loser is known to have said is in what it costs us.
func TestTheLastWordOfALoserCounts(t *testing.T) {
	virtual(t, func(t *testing.T) {
		h := newHouse(t, pricedLongAgo)
		h.hedging(route.Target{Name: "b0", Backend: lateWord{h.Sim}, Model: "sim"}, route.Target{Name: "b1", Backend: h.Sim, Model: "sim"})
		call := newCall("say: hello")
		text, _, err := h.ask(context.Background(), call)
		if err != nil || text != "hello" {
			t.Fatalf("%q, %v", text, err)
		}
		l := h.lines(call)[0]
		if out, _ := l.Usage.OutputTokens(); l.Outcome != loser || out < 2 {
			t.Errorf("the loser, %s, has %d tokens of output", l.Outcome, out)
		}
	})
}

// Hedges are of the budget of retries: beyond it no backend gets calls twice.
func TestHedgesEndWithTheBudgetOfRetries(t *testing.T) {
	virtual(t, func(t *testing.T) {
		h := newHedging(t, "", simulator.Profile{TimeToFirstToken: time.Second}, simulator.Profile{TimeToFirstToken: time.Second})
		now := time.Now()
		h.Clock = func() time.Time { return now }
		attempts := 0
		for range 100 {
			call := newCall("say: hello")
			if _, _, err := h.ask(context.Background(), call); err != nil {
				t.Fatal(err)
			}
			attempts += len(h.lines(call))
		}
		if attempts != 130 {
			t.Errorf("%d attempts of 100 calls, want 100 and their fifth and the 10 that are always there", attempts)
		}
	})
}

// Who goes away pays for one of two.
func TestACallerThatGoesAwayPaysForOne(t *testing.T) {
	virtual(t, func(t *testing.T) {
		h := newHedging(t, "", simulator.Profile{TimeToFirstToken: time.Minute}, simulator.Profile{TimeToFirstToken: time.Minute})
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(3*time.Second, cancel)
		call := newCall("say: hello")
		if _, _, err := h.ask(ctx, call); reason(err) != gateway.Cancelled {
			t.Error(err)
		}
		if got := h.told(call); !slices.Equal(got, []accounting.Outcome{accounting.OutcomeCancelled, loser}) {
			t.Errorf("the ledger has %v", got)
		}
	})
}

// The first is given up for its share of the deadline, and the hedge has the rest.
func TestADeadlineIsPaidForOnce(t *testing.T) {
	virtual(t, func(t *testing.T) {
		h := newHedging(t, "", simulator.Profile{TimeToFirstToken: time.Hour}, simulator.Profile{TimeToFirstToken: time.Hour})
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		call := newCall("say: hello")
		if _, _, err := h.ask(ctx, call); reason(err) != gateway.DeadlineExceeded {
			t.Error(err)
		}
		if got := h.told(call); !slices.Equal(got, []accounting.Outcome{failed, accounting.OutcomeDeadline}) {
			t.Errorf("the ledger has %v", got)
		}
	})
}

func TestEmbeddingsAreHedged(t *testing.T) {
	virtual(t, func(t *testing.T) {
		h := newHedging(t, "", simulator.Profile{Dimensions: 8, TimeToFirstToken: time.Minute}, simulator.Profile{Dimensions: 8})
		call := newCall("")
		answer, err := h.Embed(context.Background(), call, []string{"a", "b"}, nil)
		if err != nil || len(answer.Vectors) != 2 || answer.Target.Backend != "b1" {
			t.Fatalf("%+v %v", answer, err)
		}
		if got := h.told(call); !slices.Equal(got, []accounting.Outcome{loser, completed}) {
			t.Errorf("the ledger has %v", got)
		}
	})
}

// panics is a backend that panics after a time, in the goroutine that asks it.
type panics struct {
	*simulator.Backend
	after time.Duration
}

func (p panics) Generate(context.Context, *backend.Request) (backend.Stream, error) {
	time.Sleep(p.after)
	panic("boom")
}

// A panic beside a call is one of the call: whoever recovers those sees it, and
// both attempts are settled.
func TestAPanicBesideACallSettles(t *testing.T) {
	for name, after := range map[string][2]time.Duration{
		"of the first": {time.Second, time.Minute}, "of the hedge": {time.Minute, time.Second}, "of the loser": {time.Second, 0},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				h := newHouse(t, "", simulator.Profile{TimeToFirstToken: after[1]})
				one := route.Target{Name: "b0", Backend: panics{h.Sim, after[0]}, Model: "sim"}
				two := route.Target{Name: "b1", Backend: h.Sim, Model: "sim"}
				if name == "of the hedge" {
					one.Backend, two.Backend = h.Sim, panics{h.Sim, after[1]}
					h.Behave = func(_ string, p simulator.Profile) simulator.Profile { p.TimeToFirstToken = after[0]; return p }
				}
				h.hedging(one, two)
				call := newCall("say: hello")
				func() {
					defer func() {
						if p := recover(); p == nil || !strings.Contains(fmt.Sprint(p), "boom") {
							t.Errorf("recovered %v", p)
						}
					}()
					_, _, _ = h.ask(context.Background(), call)
				}()
				for i, l := range h.lines(call) {
					if name == "of the loser" && i == 1 {
						continue // it has answered
					}
					if l.Outcome.Charged() {
						t.Errorf("line %d is %s", i+1, l.Outcome)
					}
				}
				if n := len(h.lines(call)); n != 2 {
					t.Errorf("%d lines, want 2", n)
				}
			})
		})
	}
}
