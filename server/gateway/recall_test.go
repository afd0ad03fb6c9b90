package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/outputlog"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/simulator"
	"github.com/weir-gateway/weir/server/cache"
	"github.com/weir-gateway/weir/server/gateway"
	"github.com/weir-gateway/weir/server/route"
)

// newCaching makes a house whose model "sim" keeps answers.
func newCaching(t *testing.T, documents string, keep route.Cache, profiles ...simulator.Profile) *house {
	t.Helper()
	h := newHouse(t, pricedLongAgo+documents, profiles...)
	h.caching(keep, targets(h, max(1, len(profiles)))...)
	return h
}

func (h *house) caching(keep route.Cache, all ...route.Target) {
	h.t.Helper()
	for i := range all {
		all[i].Priority = i
	}
	router, err := route.New([]route.Model{{Name: "sim", MaxOutputTokens: 100, Cache: keep, Targets: all}})
	if err != nil {
		h.t.Fatal(err)
	}
	h.Router = func() *route.Router { return router }
	h.Cache = cache.New(1 << 20)
}

// minutes keeps every answer for ten minutes.
var minutes = route.Cache{TTL: 10 * time.Minute, Sampled: true}

// hit runs a call that must be answered from the cache, which the backend must not
// hear of.
func (h *house) hit(call *gateway.Call) (string, *gateway.Answer) {
	h.t.Helper()
	before := h.Sim.Account().Calls
	text, answer, err := h.ask(context.Background(), call)
	if err != nil || answer.Cache != gateway.CacheHit || answer.Outcome != accounting.OutcomeCacheHit || h.Sim.Account().Calls != before {
		h.t.Fatalf("no hit: %+v, %d more calls of the backend, %v", answer, h.Sim.Account().Calls-before, err)
	}
	return text, answer
}

// miss runs a call that must be generated.
func (h *house) miss(call *gateway.Call) (string, *gateway.Answer) {
	h.t.Helper()
	before := h.Sim.Account().Calls
	text, answer, err := h.ask(context.Background(), call)
	if err != nil || answer.Cache == gateway.CacheHit || h.Sim.Account().Calls == before {
		h.t.Fatalf("no miss: %+v, %v", answer, err)
	}
	return text, answer
}

// An answer that is given again says the same, whole or streamed, costs nothing,
// and is a line of its own that tells what it saved.
func TestAHitCostsNothingAndTellsWhatItSaved(t *testing.T) {
	virtual(t, func(t *testing.T) {
		h := newCaching(t, fmt.Sprintf(cap, "1 USD"), minutes)
		list := h.recording()
		h.Apply(keeping("full"))
		prompt := "say: The mill turns. 水车转动。🌊" + strings.Repeat(" 河水很长", 6)
		want, first := h.miss(newCall(prompt))
		time.Sleep(time.Minute)
		for _, stream := range []bool{false, true} {
			call := newCall(prompt)
			var text string
			var answer *gateway.Answer
			if stream {
				said := &told{}
				var err error
				if answer, err = h.Generate(context.Background(), call, said); err != nil || said.started != 1 {
					t.Fatalf("started %d times, %v", said.started, err)
				}
				text = said.text.String()
			} else {
				text, answer = h.hit(call)
			}
			if text != want || answer.RequestID != call.RequestID || answer.CacheAge != time.Minute || answer.Finish[0] != backend.FinishStop ||
				answer.Usage != first.Usage || answer.Source != first.Source || answer.Cost.Charge.Nanos != 0 || answer.Target.Backend != "b0" || answer.Attempts != 1 {
				t.Errorf("stream %t: %q %+v", stream, text, answer)
			}
			lines := h.lines(call)
			if len(lines) != 1 {
				t.Fatalf("%d lines", len(lines))
			}
			l := lines[0]
			saved, known := l.Saved()
			if l.Outcome != accounting.OutcomeCacheHit || l.Usage != first.Usage || l.OwnUsage != first.OwnUsage || l.Cost.ProviderCost.Nanos != 0 || l.Cost.Charge.Nanos != 0 ||
				l.Cost.PriceVersion != first.Cost.PriceVersion || !known || saved != first.Cost.Charge || l.Reason != "the cache has its answer, of 1m0s ago" {
				t.Errorf("line %+v saved %v", l, saved)
			}
		}
		if state := h.window(); state.Spent != first.Cost.Charge.Nanos {
			t.Errorf("the budget has spent %d, the first call cost %d", state.Spent, first.Cost.Charge.Nanos)
		}
		if len(*list) != 3 || (*list)[2].Outcome != accounting.OutcomeCacheHit || (*list)[2].Candidates[0].Parts[0].Text != want {
			t.Errorf("the output log has %+v", *list)
		}
	})
}

// window is the one budget window of the tenant.
func (h *house) window() accounting.WindowState {
	h.t.Helper()
	h.Sync()
	all, err := h.Store.Windows(context.Background(), "acme", time.Now(), 10)
	if err != nil || len(all) != 1 {
		h.t.Fatalf("%d windows, %v", len(all), err)
	}
	return all[0]
}

// Of a hit budgets of requests count the call, budgets of tokens nothing, and
// budgets of money what it is charged, which has to fit.
func TestWhatBudgetsCountOfAHit(t *testing.T) {
	for name, c := range map[string]struct {
		limit   string
		percent int
		counts  func(first *gateway.Answer) int64
	}{
		"requests": {"5 requests", 0, func(*gateway.Answer) int64 { return 1 }},
		"tokens":   {"5000 tokens", 0, func(*gateway.Answer) int64 { return 0 }},
		"money":    {"5 USD", 0, func(*gateway.Answer) int64 { return 0 }},
		"a share":  {"5 USD", 30, func(a *gateway.Answer) int64 { return a.Cost.Charge.Nanos * 30 / 100 }},
	} {
		t.Run(name, func(t *testing.T) {
			h := newCaching(t, fmt.Sprintf(cap, c.limit), route.Cache{TTL: time.Minute, Sampled: true, ChargePercent: c.percent})
			_, first := h.miss(newCall("say: a b c d e"))
			before := h.window().Spent
			call := newCall("say: a b c d e")
			_, answer := h.hit(call)
			if got, want := h.window().Spent-before, c.counts(first); got != want {
				t.Errorf("a hit counts %d, want %d", got, want)
			}
			l := h.lines(call)[0]
			if saved, _ := l.Saved(); saved.Nanos+l.Cost.Charge.Nanos != first.Cost.Charge.Nanos || answer.Cost.Charge.Nanos != first.Cost.Charge.Nanos*int64(c.percent)/100 || l.Cost.ProviderCost.Nanos != 0 {
				t.Errorf("%+v of %+v", l.Cost, first.Cost)
			}
		})
	}
}

// Where a budget is used up, what costs nothing is given all the same.
func TestAHitNeedsNoRoomForWhatItDoesNotCost(t *testing.T) {
	h := newCaching(t, "", minutes)
	prompt := "say: a b c d e"
	h.miss(newCall(prompt))
	used := func(limit string) { h.Apply(fmt.Sprintf(cap, limit)) }
	for _, limit := range []string{"0.000001 USD", "1 tokens"} {
		used(limit)
		h.hit(newCall(prompt))
		if _, _, err := h.ask(context.Background(), newCall("say: another")); reason(err) != gateway.BudgetExhausted {
			t.Errorf("%s: another call: %v", limit, err)
		}
	}
	free := newCall(prompt)
	free.MaxCost = &accounting.Money{Currency: "USD"}
	h.hit(free)
	used("1 requests")
	h.hit(newCall(prompt))
	if _, _, err := h.ask(context.Background(), newCall(prompt)); reason(err) != gateway.BudgetExhausted {
		t.Errorf("a second request: %v", err)
	}
}

// A tenant never has another's answer, nor a project.
func TestNobodyElseIsAnswered(t *testing.T) {
	h := newCaching(t, "kind: Tenant\nname: beta\n", minutes)
	const prompt = "say: a secret of acme"
	h.miss(newCall(prompt))
	for _, who := range []func(*gateway.Call){
		func(c *gateway.Call) { c.Caller.Tenant = "beta" },
		func(c *gateway.Call) { c.Caller.Project = "other" },
	} {
		other := newCall(prompt)
		who(other)
		h.miss(other)
	}
	mate := newCall(prompt)
	mate.Caller.Key, mate.EndUser, mate.Session, mate.Labels = "k2", "u", "s", map[string]string{"team": "x"}
	h.hit(mate)
}

// What the backend said is judged by the policies of now.
func TestAHitIsJudgedByThePoliciesOfNow(t *testing.T) {
	rules := func(rules string) string {
		return "kind: Policy\nname: later\ntenant: acme\n" + rules
	}
	for name, c := range map[string]struct{ said, term string }{
		"english": {"one two and a secret plan, three", "secret plan"},
		"chinese": {"一二，这里有秘密计划，三四", "秘密计划"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newCaching(t, "", minutes)
			prompt := "say: " + c.said
			before, _, _ := strings.Cut(c.said, c.term)
			// A rule that redacts when the answer is kept changes nothing of what is kept.
			h.Apply(rules("safety:\n  output:\n    - {id: mask, guard: lexicon, terms: [" + c.term + "], action: redact, placeholder: '[-]'}\n"))
			if text, _ := h.miss(newCall(prompt)); text != strings.ReplaceAll(c.said, c.term, "[-]") {
				t.Fatalf("%q", text)
			}
			h.Apply(rules(""))
			if text, _ := h.hit(newCall(prompt)); text != c.said {
				t.Errorf("without the rule it is %q", text)
			}
			h.Apply(rules("safety:\n  output:\n    - {id: no, guard: lexicon, terms: [" + c.term + "], action: block}\n"))
			for _, stream := range []bool{false, true} {
				call := newCall(prompt)
				var text string
				var answer *gateway.Answer
				if stream {
					said := &told{}
					var err error
					if answer, err = h.Generate(context.Background(), call, said); err != nil {
						t.Fatal(err)
					}
					text = said.text.String()
				} else {
					text, answer = h.hit(call)
				}
				if text != before || answer.Finish[0] != backend.FinishSafety || len(answer.Verdicts) != 1 || answer.Cache != gateway.CacheHit {
					t.Errorf("stream %t: of what is blocked comes %q: %+v", stream, text, answer)
				}
				if l := h.lines(call); len(l) != 1 || l[0].Outcome != accounting.OutcomeCacheHit {
					t.Errorf("lines %+v", l)
				}
			}
			h.Apply(rules("safety:\n  input:\n    - {id: in, guard: lexicon, terms: [" + c.term + "], action: block}\n"))
			if _, _, err := h.ask(context.Background(), newCall(prompt)); reason(err) != gateway.InputBlocked {
				t.Errorf("input: %v", err)
			}
			// What goes to the backend is what the answer is found by.
			h.Apply(rules("safety:\n  input:\n    - {id: in, guard: lexicon, terms: [" + c.term + "], action: redact, placeholder: '[in]'}\n"))
			if text, _ := h.miss(newCall(prompt)); text != strings.ReplaceAll(c.said, c.term, "[in]") {
				t.Errorf("%q", text)
			}
			if n := strings.Count(h.Lines.String(), c.term); n > 0 {
				t.Errorf("the log has it %d times", n)
			}
		})
	}
}

// A call that may not go to the target of the answer may not have it, and one
// whose rate is used up has nothing.
func TestAHitPassesRoutingAndRates(t *testing.T) {
	h := newCaching(t, "", minutes)
	all := targets(h, 1)
	all[0].Tags = []string{"public"}
	h.caching(minutes, all...)
	const prompt = "say: number " + residentID
	h.miss(newCall(prompt))
	h.hit(newCall(prompt))
	h.Apply(`
kind: Policy
name: home
tenant: acme
safety:
  input:
    - {id: id, guard: pii, entities: [cn_resident_id], action: flag}
routing: [{when: "verdict.has('pii/cn_resident_id')", only: private}]
`)
	if _, answer, err := h.ask(context.Background(), newCall(prompt)); err == nil {
		t.Errorf("it got %+v", answer)
	}
	h.Apply("kind: Policy\nname: home\ntenant: acme\nrates: [{per: tenant, requests: 1/h}]\n")
	h.hit(newCall(prompt))
	if _, _, err := h.ask(context.Background(), newCall(prompt)); reason(err) != gateway.RateLimitExceeded {
		t.Errorf("%v", err)
	}
}

func TestWhatIsNotKept(t *testing.T) {
	with := func(f func(*gateway.Call)) func() *gateway.Call {
		return func() *gateway.Call { c := newCall("say: a b c"); f(c); return c }
	}
	zero, warm, seed, few := 0.0, 0.7, int64(3), 2
	for name, c := range map[string]struct {
		keep    route.Cache
		call    func() *gateway.Call
		profile simulator.Profile
		policy  string
		hits    bool
	}{
		"no cache":                     {route.Cache{}, with(func(*gateway.Call) {}), simulator.Profile{}, "", false},
		"a sampled one":                {route.Cache{TTL: time.Minute}, with(func(c *gateway.Call) { c.Request.Temperature = &warm }), simulator.Profile{}, "", false},
		"one of the default":           {route.Cache{TTL: time.Minute}, with(func(*gateway.Call) {}), simulator.Profile{}, "", false},
		"temperature 0":                {route.Cache{TTL: time.Minute}, with(func(c *gateway.Call) { c.Request.Temperature = &zero }), simulator.Profile{}, "", true},
		"a seed":                       {route.Cache{TTL: time.Minute}, with(func(c *gateway.Call) { c.Request.Seed = &seed }), simulator.Profile{}, "", true},
		"a sampled one that is asked":  {minutes, with(func(c *gateway.Call) { c.Request.Temperature = &warm }), simulator.Profile{}, "", true},
		"several candidates":           {minutes, with(func(c *gateway.Call) { c.Request.Candidates = 2 }), simulator.Profile{}, "", false},
		"one candidate, as it is told": {minutes, with(func(c *gateway.Call) { c.Request.Candidates = 1 }), simulator.Profile{}, "", true},
		"one cut by its length":        {minutes, with(func(c *gateway.Call) { c.Request.MaxOutputTokens = &few }), simulator.Profile{}, "", false},
		"no-store":                     {minutes, with(func(c *gateway.Call) { c.CacheControl = gateway.CacheForbidden }), simulator.Profile{}, "", false},
		"no-cache":                     {minutes, with(func(c *gateway.Call) { c.CacheControl = gateway.CacheRenewed }), simulator.Profile{}, "", false},
		"one that was blocked":         {minutes, with(func(*gateway.Call) {}), simulator.Profile{}, "safety: {output: [{id: no, guard: lexicon, terms: [c], action: block}]}", false},
		"a refusal":                    {minutes, func() *gateway.Call { return newCall("refuse: never") }, simulator.Profile{}, "", false},
		"one that breaks off":          {minutes, with(func(*gateway.Call) {}), simulator.Profile{Fault: simulator.FaultCut, FaultAfter: 2}, "", false},
		"an inner call":                {minutes, with(func(c *gateway.Call) { c.Purpose = "guard"; c.ParentRequestID = c.RequestID }), simulator.Profile{}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			h := newCaching(t, "kind: Policy\nname: p\ntenant: acme\n"+c.policy+"\n", c.keep, c.profile)
			_, _, _ = h.ask(context.Background(), c.call()) // some fail
			_, again, _ := h.ask(context.Background(), c.call())
			if hit := again.Cache == gateway.CacheHit; hit != c.hits {
				t.Errorf("hit is %t", hit)
			}
		})
	}
}

// A call for several answers is not told the one.
func TestOneAnswerIsNotTwo(t *testing.T) {
	h := newCaching(t, "", minutes)
	h.miss(newCall("say: a"))
	two := newCall("say: a")
	two.Request.Candidates = 2
	if _, answer := h.miss(two); len(answer.Finish) != 2 || answer.Cache != "" {
		t.Errorf("%+v", answer)
	}
}

// A caller that wants the answer anew leaves it for the others.
func TestARenewedAnswerIsKept(t *testing.T) {
	h := newCaching(t, "", minutes)
	h.miss(newCall("say: a"))
	renew := newCall("say: a")
	renew.CacheControl = gateway.CacheRenewed
	h.miss(renew)
	if s := h.Cache.Stats(); s.Answers != 1 {
		t.Errorf("%+v", s)
	}
	h.hit(newCall("say: a"))
}

func TestAnAnswerGrowsOld(t *testing.T) {
	virtual(t, func(t *testing.T) {
		h := newCaching(t, "", minutes)
		h.miss(newCall("say: a"))
		time.Sleep(10*time.Minute - time.Second)
		if _, answer := h.hit(newCall("say: a")); answer.CacheAge != 10*time.Minute-time.Second {
			t.Errorf("it is %s old", answer.CacheAge)
		}
		time.Sleep(time.Second)
		h.miss(newCall("say: a"))
	})
}

// A target that is gone from the model answers no more, and one that is down does.
func TestAHitWithoutItsBackend(t *testing.T) {
	h := newCaching(t, "", minutes, simulator.Profile{}, simulator.Profile{})
	h.miss(newCall("say: a"))
	h.Behave = nil
	c := h.Cache
	h.caching(minutes, route.Target{Name: "b0", Backend: down{h.Sim}, Model: "sim"})
	h.Cache = c
	h.hit(newCall("say: a"))
	h.caching(minutes, targets(h, 2)[1:]...)
	h.Cache = c
	if _, answer := h.miss(newCall("say: a")); answer.Target.Backend != "b1" {
		t.Errorf("%+v", answer.Target)
	}
}

// down is a backend that nobody can reach.
type down struct{ backend.Backend }

func (down) Generate(context.Context, *backend.Request) (backend.Stream, error) {
	return nil, &backend.Error{Class: backend.Unreachable}
}

// Tools, reasoning and signatures are said again as they were, and what the
// backend did not name is named anew.
func TestToolsAreCalledAgain(t *testing.T) {
	h := newCaching(t, "", minutes)
	call := func() *gateway.Call {
		c := newCall("think: hm, 嗯\ncall: weather {\"city\": \"成都\"}")
		c.Request.Tools = []backend.Tool{{Name: "weather"}}
		return c
	}
	said := func(c *gateway.Call, cached gateway.CacheResult) backend.Part {
		var all gateway.Collector
		answer, err := h.Generate(context.Background(), c, &all)
		if err != nil || answer.Cache != cached || answer.Finish[0] != backend.FinishToolCalls {
			t.Fatalf("%+v %v", answer, err)
		}
		parts := all.Candidates()[0].Parts
		return parts[len(parts)-1]
	}
	first, again := said(call(), gateway.CacheMiss), said(call(), gateway.CacheHit)
	if first.Tool != "weather" || again.Tool != first.Tool || again.Text != first.Text || again.CallID == "" {
		t.Errorf("%+v, and again %+v", first, again)
	}
}

// An answer that does not keep to its schema is not given again, nor what it
// took to mend it.
func TestOnlyAnswersOfTheirFormAreKept(t *testing.T) {
	for said, hits := range map[string]bool{`{"a": 1}`: true, `{"b": 1}`: false, `{"c": 1}`: false} {
		h := newCaching(t, "", minutes)
		call := func() *gateway.Call {
			c := newCall("say: " + said)
			c.Request.Format = &backend.Format{Schema: []byte(`{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}`)}
			if strings.Contains(said, "c") {
				c.Request.Format.Repairs = 1
			}
			return c
		}
		_, first := h.miss(call())
		if mended := strings.Contains(said, "c"); mended != (first.Attempts == 2 && len(first.Warnings) == 0) {
			t.Errorf("%s took %d attempts, with %v", said, first.Attempts, first.Warnings)
		}
		_, again, err := h.ask(context.Background(), call())
		if err != nil || (again.Cache == gateway.CacheHit) != hits || len(first.Warnings) != len(again.Warnings) {
			t.Errorf("%s: %+v %v", said, again, err)
		}
	}
}

// A repeated call is told what the first was, and takes nothing of the cache.
func TestARepeatedHit(t *testing.T) {
	h := newCaching(t, keeping("full"), minutes)
	h.miss(newCall("say: fine"))
	first := keyed("k", "say: fine")
	h.hit(first)
	text, again, err := h.ask(context.Background(), keyed("k", "say: fine"))
	if err != nil || text != "fine" || !again.Replayed || again.RequestID != first.RequestID {
		t.Errorf("%q %+v %v", text, again, err)
	}
}

var errGone = errors.New("gone")

// leaver is a caller that is gone after its first piece.
type leaver struct{ told }

func (l *leaver) Delta(d gateway.Delta) error {
	if len(l.deltas) > 0 {
		return errGone
	}
	return l.told.Delta(d)
}

func TestACallerLeavesAHit(t *testing.T) {
	h := newCaching(t, fmt.Sprintf(cap, "5 requests"), minutes)
	prompt := "say: " + strings.Repeat("a long answer 长 ", 400)
	long := 4000
	ask := func() *gateway.Call { c := newCall(prompt); c.Request.MaxOutputTokens = &long; return c }
	h.miss(ask())
	call := ask()
	if _, err := h.Generate(context.Background(), call, &leaver{}); reason(err) != gateway.Cancelled {
		t.Fatalf("%v", err)
	}
	if l := h.lines(call); len(l) != 1 || l[0].Outcome != accounting.OutcomeCacheHit || l[0].Cost.Charge.Nanos != 0 {
		t.Errorf("%+v", l)
	}
}

// Calls that ask for the same at once may each be generated; all are answered
// alike, and each once in the ledger.
func TestManyAskForTheSame(t *testing.T) {
	h := newCaching(t, "", minutes)
	h.Record = func(outputlog.Record) {}
	var all sync.WaitGroup
	calls := make([]*gateway.Call, 40)
	for i := range calls {
		calls[i] = newCall(fmt.Sprintf("say: tale %d of the 水车", i%3))
		all.Go(func() {
			text, _, err := h.ask(context.Background(), calls[i])
			if want := fmt.Sprintf("tale %d of the 水车", i%3); err != nil || text != want {
				t.Errorf("%q, %v", text, err)
			}
		})
	}
	all.Wait()
	for _, c := range calls {
		if l := h.lines(c); len(l) != 1 {
			t.Errorf("%d lines", len(l))
		}
	}
	for i := range 3 {
		h.hit(newCall(fmt.Sprintf("say: tale %d of the 水车", i)))
	}
}

// Where the process dies in a hit, it is in doubt at what it may be charged, and
// no provider is thought to have been asked.
func TestAHitInDoubt(t *testing.T) {
	h := newCaching(t, fmt.Sprintf(cap, "5 tokens"), minutes)
	h.Apply(fmt.Sprintf(cap, "500 tokens"))
	_, first := h.miss(newCall("say: a b c"))
	before := h.window().Spent
	call := newCall("say: a b c")
	if _, err := h.Ledger.HoldKnown(context.Background(), accounting.Attempt{
		RequestID: call.RequestID, Number: 1, Subject: accounting.Subject{Tenant: "acme", Project: "default", Key: "k1"},
		Model: "sim", Backend: "b0", BackendModel: "sim", Start: time.Now(), Deadline: time.Now().Add(time.Minute),
	}, first.Usage, "", 0, nil); err != nil {
		t.Fatal(err)
	}
	h.RestartLedger()
	l := h.lines(call)
	if len(l) != 1 || l[0].Outcome != accounting.OutcomeInDoubt || l[0].Cost.ProviderCost.Nanos != 0 || l[0].Cost.Charge.Nanos != 0 || l[0].Usage.Tokens() != 0 {
		t.Errorf("%+v", l)
	}
	if after := h.window().Spent; after != before {
		t.Errorf("the budget has %d tokens more", after-before)
	}
}
