package gateway_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	pb "cloud.google.com/go/ai/generativelanguage/apiv1beta/generativelanguagepb"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/report"
	"github.com/weir-gateway/weir/server/backend/simulator"
	"github.com/weir-gateway/weir/server/gateway"
)

// classy is what a token costs where that hangs on something, in nanos: in 1000,
// from a cache 100, out 2000, reasoned 4000, above 1000 tokens in twice as much, as
// flex half, with priority three times as much.
const classy = `
kind: Price
model: priced
currency: USD
effective: 2026-01-01
per_million: {input: 1, cache_read: 0.1, output: 2, reasoning: 4}
tiers: [{above: 1000, per_million: {input: 2, cache_read: 0.2, output: 4, reasoning: 8}}]
classes:
  flex:
    per_million: {input: 0.5, cache_read: 0.05, output: 1, reasoning: 2}
    tiers: [{above: 1000, per_million: {input: 1, cache_read: 0.1, output: 2, reasoning: 4}}]
  priority:
    per_million: {input: 3, cache_read: 0.3, output: 6, reasoning: 12}
    tiers: [{above: 1000, per_million: {input: 6, cache_read: 0.6, output: 12, reasoning: 24}}]
---
kind: Budget
name: cap
tenant: acme
limit: 5 USD
window: total
`

// Tokens from and to a cache are part of the prompt's at OpenAI and Gemini and
// beside it at Anthropic. They were added once more, taken away until the cost was
// negative, or forgotten, and in streams otherwise than in whole answers.
func TestBillingCacheIsCountedOnce(t *testing.T) {
	const document = "kind: Price\nmodel: priced\ncurrency: USD\neffective: 2026-01-01\nper_million: {input: 1, cache_read: 0.1, cache_write_5m: 1.25, cache_write_1h: 2, output: 2}\n"
	inclusive := func(cached int) *vendor {
		return openAI(t, delta(`"a"`, "hello"), end(`"a"`), usage(`"a"`, fmt.Sprintf(`{"prompt_tokens":1000,"completion_tokens":10,"total_tokens":1010,"prompt_tokens_details":{"cached_tokens":%d}}`, cached)))
	}
	for name, c := range map[string]struct {
		vendor           *vendor
		in, read, m5, h1 int64
	}{
		"openai, some": {inclusive(800), 200, 800, 0, 0},
		"openai, all":  {inclusive(1000), 0, 1000, 0, 0},
		"anthropic, read and written": {claude(t,
			`{"input_tokens":200,"cache_read_input_tokens":800,"cache_creation_input_tokens":100,"cache_creation":{"ephemeral_5m_input_tokens":60,"ephemeral_1h_input_tokens":40},"output_tokens":1}`,
			`{"output_tokens":10}`), 200, 800, 60, 40},
		"anthropic, said again at the end": {claude(t,
			`{"input_tokens":200,"cache_read_input_tokens":800,"cache_creation_input_tokens":100,"output_tokens":1}`,
			`{"input_tokens":200,"cache_read_input_tokens":800,"cache_creation_input_tokens":100,"output_tokens":10}`), 200, 800, 100, 0},
		"anthropic, said again with details": {claude(t,
			`{"input_tokens":200,"cache_read_input_tokens":800,"cache_creation_input_tokens":100,"cache_creation":{"ephemeral_5m_input_tokens":60,"ephemeral_1h_input_tokens":40},"output_tokens":1}`,
			`{"input_tokens":200,"cache_read_input_tokens":800,"cache_creation_input_tokens":100,"cache_creation":{"ephemeral_5m_input_tokens":60,"ephemeral_1h_input_tokens":40},"output_tokens":10}`), 200, 800, 60, 40},
		"anthropic, all read": {claude(t, `{"input_tokens":0,"cache_read_input_tokens":1000,"cache_creation_input_tokens":0,"output_tokens":1}`, `{"output_tokens":10}`), 0, 1000, 0, 0},
		"gemini, some": {google(t, &pb.GenerateContentResponse_UsageMetadata{PromptTokenCount: 1000, CachedContentTokenCount: 800, CandidatesTokenCount: 10, TotalTokenCount: 1010}),
			200, 800, 0, 0},
		"gemini, all": {google(t, &pb.GenerateContentResponse_UsageMetadata{PromptTokenCount: 1000, CachedContentTokenCount: 1000, CandidatesTokenCount: 10, TotalTokenCount: 1010}),
			0, 1000, 0, 0},
	} {
		h := c.vendor.at(t, document)
		l := h.bill(pricedCall("what?"))
		want := c.in*1000 + c.read*100 + c.m5*1250 + c.h1*2000 + 10*2000
		got := [...]int64{quantity(l, accounting.Input), quantity(l, accounting.CacheRead), quantity(l, accounting.CacheWrite5m), quantity(l, accounting.CacheWrite1h), quantity(l, accounting.Output)}
		if got != [...]int64{c.in, c.read, c.m5, c.h1, 10} || l.Cost.Charge.Nanos != want || l.Source != accounting.SourceProvider {
			t.Errorf("%s: %v by %s cost %v; want %d nanos", name, got, l.Source, l.Cost.Charge, want)
		}
		for _, item := range l.Cost.Items {
			if item.Quantity < 0 || item.Amount.Nanos < 0 {
				t.Errorf("%s: %+v", name, item)
			}
		}
		h.billStream(t)
	}
}

// Prices above so many tokens were not applied, applied to the output and not to
// the input, or not to reasoning. The tokens of the whole prompt decide, cached
// ones too, and the one at the boundary is below it.
func TestBillingTier(t *testing.T) {
	for name, c := range map[string]struct {
		prompt, cached int64
		mode           string
		want           int64
	}{
		"at the boundary":           {1000, 0, "", 1000*1000 + 10*2000 + 10*4000},
		"one above":                 {1001, 0, "", 1001*2000 + 10*4000 + 10*8000},
		"one above, most cached":    {1001, 900, "", 101*2000 + 900*200 + 10*4000 + 10*8000},
		"at the boundary, cached":   {1000, 900, "", 100*1000 + 900*100 + 10*2000 + 10*4000},
		"marginal, at the boundary": {1000, 0, "marginal", 1000*1000 + 10*2000 + 10*4000},
		"marginal, one above":       {1001, 0, "marginal", 1000*1000 + 1*2000 + 10*4000 + 10*8000},
		"marginal, most cached":     {1001, 900, "marginal", 900*100 + 100*1000 + 1*2000 + 10*4000 + 10*8000},
	} {
		document := classy
		if c.mode != "" {
			document = strings.Replace(classy, "tiers:", "tier_mode: "+c.mode+"\ntiers:", 1)
		}
		h := openAI(t, delta(`"a"`, "hello"), end(`"a"`), usage(`"a"`, fmt.Sprintf(
			`{"prompt_tokens":%d,"completion_tokens":20,"total_tokens":%d,"prompt_tokens_details":{"cached_tokens":%d},"completion_tokens_details":{"reasoning_tokens":10}}`,
			c.prompt, c.prompt+20, c.cached))).at(t, document)
		if l := h.bill(pricedCall("what?")); l.Cost.Charge.Nanos != c.want || h.spent() != c.want {
			t.Errorf("%s: %+v cost %+v and the budget has spent %d; want %d", name, l.Usage, l.Cost, h.spent(), c.want)
		}
		h.billStream(t)
	}
}

// The class of service that was asked for was billed, and not the one that
// served; a price for one class was applied on top of another's.
func TestBillingServedClass(t *testing.T) {
	const in, out = 10, 3
	const standard, flex, priority = in*1000 + out*2000, in*500 + out*1000, in*3000 + out*6000
	for name, c := range map[string]struct {
		asked   accounting.ServiceClass
		tier    string // that the server names, as JSON; empty for none
		said    string // what it is asked for
		served  accounting.ServiceClass
		want    int64 // -1 where nobody knows
		counted string
	}{
		"as asked":                      {accounting.ServicePriority, `"priority"`, `"service_tier":"priority"`, accounting.ServicePriority, priority, "priority"},
		"flex, once":                    {accounting.ServiceFlex, `"flex"`, `"service_tier":"flex"`, accounting.ServiceFlex, flex, "flex"},
		"no priority to be had":         {accounting.ServicePriority, `"default"`, `"service_tier":"priority"`, accounting.ServiceStandard, standard, "default"},
		"no flex to be had":             {accounting.ServiceFlex, `"default"`, `"service_tier":"flex"`, accounting.ServiceStandard, standard, "default"},
		"standard":                      {accounting.ServiceStandard, `"default"`, `"service_tier":"default"`, accounting.ServiceStandard, standard, "default"},
		"by the project's settings":     {"", `"priority"`, "", accounting.ServicePriority, priority, "priority"},
		"nobody names one":              {"", "", "", "", standard, ""},
		"what was asked for comes back": {"", `"auto"`, "", "", standard, ""},
		"priority, and nothing said":    {accounting.ServicePriority, "null", `"service_tier":"priority"`, "", priority, ""},
		"flex, and nothing said":        {accounting.ServiceFlex, "", `"service_tier":"flex"`, "", standard, ""},
		"one that has no price":         {"", `"scale"`, "", accounting.ServiceScale, -1, "scale"},
		"one that has no name":          {"", `"Express, tomorrow"`, "", accounting.ServiceOther, -1, "other"},
	} {
		chunks := []string{delta(`"a"`, "hello"), end(`"a"`), usage(`"a"`, fmt.Sprintf(`{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}`, in, out, in+out))}
		if c.tier != "" {
			for i := range chunks {
				chunks[i] = `{"service_tier":` + c.tier + "," + chunks[i][1:]
			}
		}
		v := openAI(t, chunks...)
		h := v.at(t, classy)
		call := pricedCall("what?")
		call.Request.ServiceClass = c.asked
		_, answer, err := h.ask(context.Background(), call)
		if err != nil {
			t.Fatal(err)
		}
		lines := h.lines(call)
		if len(lines) != 1 || lines[0].AskedClass != c.asked || lines[0].ServedClass != c.served || answer.ServiceClass != c.served {
			t.Fatalf("%s: lines %+v; want one that was served as %q", name, lines, c.served)
		}
		body := <-v.bodies
		if c.said == "" && strings.Contains(body, "service_tier") || !strings.Contains(body, c.said) {
			t.Errorf("%s: the server was asked %s", name, body)
		}
		l, spent := lines[0], h.spent()
		switch {
		case c.want >= 0 && (l.Cost == nil || l.Cost.Charge.Nanos != c.want || spent != c.want):
			t.Errorf("%s: %+v, and the budget has spent %d; want %d", name, l.Cost, spent, c.want)
		case c.want < 0 && (l.Cost != nil || spent <= priority || !strings.Contains(h.Lines.String(), "the price says nothing")):
			// The budget counts what was held, which is the dearest that is known.
			t.Errorf("%s: %+v, and the budget has spent %d\n%s", name, l.Cost, spent, h.Lines)
		}
	}

	// What the operator asks for where a call asks for nothing.
	own := openAI(t, `{"service_tier":"flex",`+delta(`"a"`, "hello")[1:], end(`"a"`), usage(`"a"`, fmt.Sprintf(`{"prompt_tokens":%d,"completion_tokens":%d}`, in, out)))
	own.driver = own.asking(t, accounting.ServiceFlex)
	if l, body := own.at(t, classy).bill(pricedCall("what?")), <-own.bodies; l.AskedClass != accounting.ServiceFlex || l.Cost.Charge.Nanos != flex || !strings.Contains(body, `"service_tier":"flex"`) {
		t.Errorf("%+v, and the server was asked %s", l, body)
	}

	for tier, want := range map[string]int64{"standard": standard, "priority": priority} {
		v := claude(t, fmt.Sprintf(`{"input_tokens":%d,"output_tokens":1,"service_tier":%q}`, in, tier), fmt.Sprintf(`{"output_tokens":%d}`, out))
		h := v.at(t, classy)
		if l := h.bill(pricedCall("what?")); l.Cost.Charge.Nanos != want || string(l.ServedClass) != tier {
			t.Errorf("anthropic, %s: %+v; want %d", tier, l, want)
		}
		if body := <-v.bodies; strings.Contains(body, "service_tier") {
			t.Errorf("the server was asked %s", body)
		}
		call := pricedCall("what?")
		call.Request.ServiceClass = accounting.ServiceStandard
		h.bill(call)
		if body := <-v.bodies; !strings.Contains(body, `"service_tier":"standard_only"`) {
			t.Errorf("the server was asked %s", body)
		}
	}
	if l := google(t, &pb.GenerateContentResponse_UsageMetadata{PromptTokenCount: in, CandidatesTokenCount: out, TotalTokenCount: in + out}).at(t, classy).bill(pricedCall("what?")); l.Cost.Charge.Nanos != standard {
		t.Errorf("gemini: %+v", l.Cost)
	}
}

// A call that is held at one class's price and served as a dearer one takes more
// than its budgets have: what is held is the dearest that may serve.
func TestBillingHoldsTheDearestClass(t *testing.T) {
	v := openAI(t, `{"service_tier":"default",`+delta(`"a"`, "hello")[1:], end(`"a"`), usage(`"a"`, `{"prompt_tokens":10,"completion_tokens":3,"total_tokens":13}`))
	h := v.at(t, classy)
	// most is the least that a call may be bounded to.
	most := func(asked accounting.ServiceClass) int64 {
		low, high := int64(0), int64(10_000_000)
		for low+1 < high {
			call, bound := pricedCall("what?"), (low+high)/2
			call.Request.ServiceClass, call.MaxCost = asked, &accounting.Money{Currency: "USD", Nanos: bound}
			switch _, _, err := h.ask(context.Background(), call); {
			case err == nil:
				high = bound
				<-v.bodies
			case reason(err) == gateway.BudgetExhausted:
				low = bound
			default:
				t.Fatal(err)
			}
		}
		return high
	}
	standard := most(accounting.ServiceStandard)
	if flex, priority, open := most(accounting.ServiceFlex), most(accounting.ServicePriority), most(""); standard < 200_000 || flex != standard || priority != 3*standard || open != priority {
		t.Errorf("held are standard %d, flex %d, priority %d, and %d where nothing is asked for", standard, flex, priority, open)
	}
	call := pricedCall("what?")
	call.Request.ServiceClass = accounting.ServiceScale
	if _, _, err := h.ask(context.Background(), call); reason(err) != gateway.UnpricedModel || !strings.Contains(err.Error(), "class of service scale") || len(h.lines(call)) != 0 {
		t.Errorf("a class without a price under a budget of money: %v", err)
	}
	call = newCall("what?")
	call.Request.ServiceClass = accounting.ServicePriority
	h = newHouse(t, "")
	if _, _, err := h.ask(context.Background(), call); reason(err) != gateway.UnsupportedFeature {
		t.Errorf("a class that the target cannot be asked for: %v", err)
	}
	call.Request.ServiceClass = accounting.ServiceStandard
	if _, _, err := h.ask(context.Background(), call); err != nil {
		t.Errorf("the standard class of a target that cannot be asked for any: %v", err)
	}
}

// A stream that its caller leaves is priced as what serves it, which is known from
// its beginning, and by our own count, since the provider's never comes.
func TestBillingCancelledStreamHasItsClass(t *testing.T) {
	v := openAI(t, `{"service_tier":"flex",`+delta(`"a"`, "one two three four five")[1:], "wait")
	h := v.at(t, classy)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	call := pricedCall("count")
	if _, err := h.Generate(ctx, call, sink(func(gateway.Delta) error { cancel(); return nil })); reason(err) != gateway.Cancelled {
		t.Fatal(err)
	}
	l := h.lines(call)[0]
	in, out := quantity(l, accounting.Input), quantity(l, accounting.Output)
	if want := in*500 + out*1000; in == 0 || out == 0 || l.ServedClass != accounting.ServiceFlex || l.Source != accounting.SourceEstimate || l.Cost.Charge.Nanos != want || h.spent() != want {
		t.Errorf("%+v costs %+v, and the budget has spent %d; want %d", l, l.Cost, h.spent(), want)
	}
}

// Looking at a call, or asking for its answer once more, was billed once more.
func TestBillingPolling(t *testing.T) {
	v := openAI(t, delta(`"a"`, "hello"), end(`"a"`), usage(`"a"`, `{"prompt_tokens":10,"completion_tokens":1,"total_tokens":11}`))
	h := v.at(t, classy+"---\n"+keeping("full"))
	call := pricedCall("what?")
	call.IdempotencyKey = "k"
	l := h.bill(call)
	if l.Cost.Charge.Nanos != 12_000 {
		t.Fatalf("%+v", l.Cost)
	}
	for i := range 6 {
		again := pricedCall("what?")
		again.IdempotencyKey = "k"
		var into gateway.Sink = new(gateway.Collector)
		if i%2 == 1 {
			into = &told{}
		}
		answer, err := h.Generate(context.Background(), again, into)
		if err != nil || !answer.Replayed || len(h.lines(again)) != 0 {
			t.Fatalf("repeated: %+v, %v", answer, err)
		}
		sum, err := h.Store.Sum(context.Background(), report.Query{Tenant: "acme"})
		if err != nil || len(sum.Rows) != 1 || sum.Rows[0].Calls != 1 || sum.Totals[0].Nanos != 12_000 || len(h.lines(call)) != 1 {
			t.Fatalf("after looking %d times: %+v, %v", i, sum, err)
		}
		if _, _, err := h.Store.Window(context.Background(), "acme/cap/tenant/total"); err != nil {
			t.Fatal(err)
		}
	}
	if spent := h.spent(); spent != 12_000 || len(v.bodies) != 1 {
		t.Errorf("the budget has spent %d, and the server was asked %d times", spent, len(v.bodies))
	}
}

// What was settled and not yet in the database was lost with the process.
func TestBillingSurvivesItsProcess(t *testing.T) {
	h := openAI(t, delta(`"a"`, "hello"), end(`"a"`), usage(`"a"`, `{"prompt_tokens":10,"completion_tokens":1,"total_tokens":11}`)).at(t, classy)
	const calls = 5
	for range calls {
		if _, _, err := h.ask(context.Background(), pricedCall("what?")); err != nil {
			t.Fatal(err)
		}
		h.RestartLedger() // without waiting for the database
	}
	sum, err := h.Store.Sum(context.Background(), report.Query{Tenant: "acme"})
	if err != nil || len(sum.Rows) != 1 || sum.Rows[0].Calls != calls || sum.Totals[0].Nanos != calls*12_000 || h.spent() != calls*12_000 {
		t.Errorf("%+v, %v, and the budget has spent %d; want %d calls", sum, err, h.spent(), calls)
	}
}

// What was reserved for a call stayed so where the call did not end as most do,
// until nobody had any room.
func TestBillingReservationsEnd(t *testing.T) {
	fails := func(p simulator.Profile) func(*testing.T) *house {
		return func(t *testing.T) *house { return newHouse(t, billed, p) }
	}
	for name, c := range map[string]struct {
		house func(*testing.T) *house
		ends  func(ctx context.Context, cancel func()) gateway.Sink
		free  bool // the caller pays nothing
	}{
		"failed": {fails(simulator.Profile{Fault: simulator.FaultOverloaded}), nil, true},
		"broken": {fails(simulator.Profile{Fault: simulator.FaultReset}), nil, true},
		"cancelled": {fails(simulator.Profile{}), func(_ context.Context, cancel func()) gateway.Sink {
			return sink(func(gateway.Delta) error { cancel(); return nil })
		}, false},
		"unpriced class": {func(t *testing.T) *house {
			h := openAI(t, `{"service_tier":"scale",`+delta(`"a"`, "hello")[1:], end(`"a"`)).at(t, classy)
			return h
		}, nil, false},
	} {
		h := c.house(t)
		call := newCall("say: one two three four five six seven eight nine ten")
		if name == "unpriced class" {
			call.Model = "priced"
		}
		ctx, cancel := context.WithCancel(context.Background())
		var into gateway.Sink = new(gateway.Collector)
		if c.ends != nil {
			into = c.ends(ctx, cancel)
		}
		_, _ = h.Generate(ctx, call, into)
		cancel()
		lines := h.lines(call) // none is left open
		if len(lines) != 1 {
			t.Fatalf("%s: lines %+v", name, lines)
		}
		// Nothing is held, and no lease keeps anything.
		if spent := h.spent(); (spent == 0) != c.free {
			t.Errorf("%s: the budget has spent %d; %+v", name, spent, lines[0])
		}
	}
}
