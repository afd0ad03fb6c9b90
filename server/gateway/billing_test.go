package gateway_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/ledger"
	"github.com/weir-gateway/weir/server/admin"
	"github.com/weir-gateway/weir/server/auth"
	"github.com/weir-gateway/weir/server/backend/openai"
	"github.com/weir-gateway/weir/server/backend/simulator"
	"github.com/weir-gateway/weir/server/gateway"
	"github.com/weir-gateway/weir/server/route"
)

// Each test here stands for a class of bugs by which gateways have billed what
// was not used, or not billed what was. Most have a real driver on a server
// that says what providers have been seen to say.

// billed is what a token costs in these tests, in nanos: in 1000, from a cache
// 100, out 2000. The budget makes what is held and spent visible.
const billed = `
kind: Price
model: priced
currency: USD
effective: 2026-01-01
per_million: {input: 1, cache_read: 0.1, output: 2}
---
kind: Budget
name: cap
tenant: acme
limit: 5 USD
window: total
`

// A provider is a server that answers every call with the same chunks. A chunk
// "wait" keeps the stream open until its client is gone.
type provider struct {
	chunks []string
	bodies chan string
	gone   chan struct{}
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	p.bodies <- string(body)
	w.Header().Set("Content-Type", "text/event-stream")
	for _, c := range p.chunks {
		if c == "wait" {
			<-r.Context().Done()
			close(p.gone)
			return
		}
		fmt.Fprintf(w, "data: %s\n\n", c)
		w.(http.Flusher).Flush()
	}
	io.WriteString(w, "data: [DONE]\n\n")
}

// delta, end and usage are chunks of an answer that has an id.
func delta(id, text string) string {
	return fmt.Sprintf(`{"id":%s,"model":"m","choices":[{"index":0,"delta":{"content":%q},"finish_reason":null}]}`, id, text)
}

func end(id string) string {
	return fmt.Sprintf(`{"id":%s,"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`, id)
}

func usage(id, usage string) string {
	return fmt.Sprintf(`{"id":%s,"choices":[],"usage":%s}`, id, usage)
}

// provided is a house whose model "priced" is served by such a server.
func provided(t *testing.T, chunks ...string) (*house, *provider) {
	t.Helper()
	p := &provider{chunks: chunks, bodies: make(chan string, 10), gone: make(chan struct{})}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	driver, err := openai.New(openai.Config{Name: "provider", URL: server.URL + "/v1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = driver.Close() })
	router, err := route.New([]route.Model{{Name: "priced", MaxOutputTokens: 100, Targets: []route.Target{{Name: "provider", Kind: "openai", Model: "m", Backend: driver}}}})
	if err != nil {
		t.Fatal(err)
	}
	h := newHouse(t, billed)
	h.Router = func() *route.Router { return router }
	return h, p
}

func pricedCall(prompt string) *gateway.Call {
	call := newCall(prompt)
	call.Model = "priced"
	return call
}

// bill asks once, and returns the one line of the call.
func (h *house) bill(call *gateway.Call) accounting.Line {
	h.t.Helper()
	if _, _, err := h.ask(context.Background(), call); err != nil {
		h.t.Fatal(err)
	}
	lines := h.lines(call)
	if len(lines) != 1 || lines[0].Cost == nil {
		h.t.Fatalf("lines %+v; want one with a cost", lines)
	}
	return lines[0]
}

// spent is what the budget has spent; when no call runs nothing is held for one.
func (h *house) spent() int64 {
	h.t.Helper()
	h.Sync()
	if err := h.Ledger.Leases.Close(context.Background()); err != nil {
		h.t.Fatal(err)
	}
	w, _, err := h.Store.Window(context.Background(), "acme/cap/tenant/total")
	if err != nil || w.Leased != 0 || w.Overrun != 0 {
		h.t.Fatalf("window %+v, %v; want nothing held and no overrun", w, err)
	}
	return w.Spent
}

func quantity(l accounting.Line, m accounting.Meter) int64 {
	n, _ := l.Usage.Get(m)
	return n
}

// Where the server reports more cached tokens than there are, none is believed; and
// it is asked for usage, which a stream else does not have.
func TestBillingBelievesNoImpossibleCache(t *testing.T) {
	for name, c := range map[string]struct {
		usage         string
		input, cached int64
	}{
		"more than the prompt": {`{"prompt_tokens":1000,"completion_tokens":10,"total_tokens":1010,"prompt_tokens_details":{"cached_tokens":1800}}`, 1000, 0},
	} {
		h, p := provided(t, delta(`"a"`, "hello"), end(`"a"`), usage(`"a"`, c.usage))
		l := h.bill(pricedCall("what?"))
		want := c.input*1000 + c.cached*100 + 10*2000
		if quantity(l, accounting.Input) != c.input || quantity(l, accounting.CacheRead) != c.cached || l.Cost.Charge.Nanos != want || l.Source != accounting.SourceProvider {
			t.Errorf("%s: %+v costs %v; want %d nanos", name, l.Usage, l.Cost.Charge, want)
		}
		if spent := h.spent(); spent != want {
			t.Errorf("%s: the budget has spent %d; want %d", name, spent, want)
		}
		// Else a stream has no usage, and was billed as nothing.
		if body := <-p.bodies; !strings.Contains(body, `"include_usage":true`) {
			t.Errorf("the server was not asked for usage: %s", body)
		}
	}
}

// Prices of another time were applied, and parts of prices ignored. What a price
// cannot say is refused and not left out; and a line is rated by the price that was
// in force when the attempt began.
func TestBillingAppliesOnePriceByTime(t *testing.T) {
	h := newHouse(t, billed)
	for _, tiered := range []string{"input_above_200k: 2", "flex_input: 0.5"} {
		document := "kind: Price\nmodel: tiered\ncurrency: USD\neffective: 2026-01-01\nper_million: {input: 1, " + tiered + "}\n"
		_, err := h.Admin.Apply(context.Background(), auth.Author{Caller: auth.Caller{Role: auth.Platform}}, []admin.Source{{Name: "t", Content: document}}, true)
		if name, _, _ := strings.Cut(tiered, ":"); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("a price with %s: %v", tiered, err)
		}
	}
	router, err := route.New([]route.Model{{Name: "priced", MaxOutputTokens: 100, Targets: []route.Target{{Name: "b", Model: "sim", Kind: "simulator", Backend: h.Sim}}}})
	if err != nil {
		t.Fatal(err)
	}
	h.Router = func() *route.Router { return router }
	// A backend's own price goes before the one that basics has.
	h.Apply("kind: Price\nmodel: sim\nbackend: b\ncurrency: USD\neffective: 2026-01-01\nper_million: {input: 10, output: 20}\n---\n" +
		"kind: Price\nmodel: sim\nbackend: b\ncurrency: USD\neffective: 2026-09-01\nper_million: {input: 30, output: 50}\n")
	change := time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)
	now := change.Add(-time.Second)
	h.Clock = func() time.Time { return now }
	call := pricedCall("say: a price changes while this is said")
	_, err = h.Generate(context.Background(), call, sink(func(gateway.Delta) error { now = change.Add(time.Second); return nil }))
	if err != nil {
		t.Fatal(err)
	}
	during := h.lines(call)[0]
	after := h.bill(pricedCall("say: it has changed"))
	for _, c := range []struct {
		line    accounting.Line
		in, out int64
		version string
	}{{during, 10_000, 20_000, "sim@b@2026-01-01"}, {after, 30_000, 50_000, "sim@b@2026-09-01"}} {
		in, _ := c.line.Usage.InputTokens()
		out, _ := c.line.Usage.OutputTokens()
		if want := in*c.in + out*c.out; in == 0 || out == 0 || c.line.Cost.Charge.Nanos != want || c.line.Cost.PriceVersion != c.version {
			t.Errorf("%d in and %d out cost %+v; want %d nanos by %s", in, out, c.line.Cost, want, c.version)
		}
	}
}

// The first target was billed, and not the one that served.
func TestBillingIsByTheTargetThatServed(t *testing.T) {
	h := newHouse(t, "", simulator.Profile{Fault: simulator.FaultOverloaded}, simulator.Profile{})
	h.Apply("kind: Price\nmodel: sim-1\nbackend: b1\ncurrency: USD\neffective: 2026-01-01\nper_million: {input: 7, output: 9}\n")
	call := newCall("say: hello")
	_, answer, err := h.ask(context.Background(), call)
	if err != nil {
		t.Fatal(err)
	}
	lines := h.lines(call)
	if len(lines) != 2 || lines[0].Backend != "b0" || lines[0].Cost.Charge.Nanos != 0 || lines[1].Backend != "b1" {
		t.Fatalf("lines %+v", lines)
	}
	in, _ := lines[1].Usage.InputTokens()
	out, _ := lines[1].Usage.OutputTokens()
	if want := in*7_000 + out*9_000; in == 0 || out == 0 || lines[1].Cost.Charge.Nanos != want || answer.Cost.Charge != lines[1].Cost.Charge {
		t.Errorf("%d in and %d out cost %v; want %d nanos, by b1's price", in, out, lines[1].Cost, want)
	}
}

// Streams that their callers cancelled were not billed, or at one token, and
// what was reserved for them was never released.
func TestBillingCancelledStream(t *testing.T) {
	h, p := provided(t, delta(`"a"`, "one two three four five "), delta(`"a"`, "six seven eight nine ten"), "wait")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	call, got := pricedCall("count"), 0
	_, err := h.Generate(ctx, call, sink(func(d gateway.Delta) error {
		if got += len(d.Text); got >= len("one two three four five six seven eight nine ten") {
			cancel()
		}
		return nil
	}))
	if reason(err) != gateway.Cancelled {
		t.Fatal(err)
	}
	<-p.gone // the provider is told, and makes no more tokens
	l := h.lines(call)[0]
	in, _ := l.Usage.InputTokens()
	out, _ := l.Usage.OutputTokens()
	if want := in*1000 + out*2000; l.Outcome != accounting.OutcomeCancelled || in == 0 || out < 10 || l.Cost.Charge.Nanos != want || h.spent() != want {
		t.Errorf("%+v: %d in and %d out cost %v, and the budget has spent %d", l, in, out, l.Cost, h.spent())
	}
}

// Rows were keyed by the provider's id, so that an empty id, or one that comes
// again, lost every row but the first.
func TestBillingEmptyProviderID(t *testing.T) {
	for name, id := range map[string]string{"empty": `""`, "null": "null", "always the same": `"chatcmpl-1"`} {
		h, _ := provided(t, delta(id, "hello"), end(id), usage(id, `{"prompt_tokens":10,"completion_tokens":1,"total_tokens":11}`))
		var charged int64
		for range 3 {
			call := pricedCall("what?")
			call.ClientRequestID = "the caller's is the same too"
			charged += h.bill(call).Cost.Charge.Nanos
		}
		if spent := h.spent(); charged != 3*12_000 || spent != charged {
			t.Errorf("%s: charged %d and spent %d; want %d", name, charged, spent, 3*12_000)
		}
	}
}

// A zero that the provider reported was taken for nothing, and an estimate
// billed in its place. Nothing at all is not zero, and is counted here.
func TestBillingZeroUsageIsNotMissing(t *testing.T) {
	for name, c := range map[string]struct {
		usage  string
		source accounting.Source
		charge int64
	}{
		"zero out":     {`{"prompt_tokens":12,"completion_tokens":0,"total_tokens":12}`, accounting.SourceProvider, 12_000},
		"zero in":      {`{"prompt_tokens":0,"completion_tokens":3,"total_tokens":3}`, accounting.SourceProvider, 6_000},
		"zero of both": {`{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}`, accounting.SourceProvider, 0},
		"no input":     {`{"completion_tokens":3}`, accounting.SourceEstimate, -1},
		"no output":    {`{"prompt_tokens":12}`, accounting.SourceEstimate, -1},
		"null":         {`null`, accounting.SourceEstimate, -1},
		"empty":        {`{}`, accounting.SourceEstimate, -1},
	} {
		h, _ := provided(t, delta(`"a"`, "hello there"), end(`"a"`), usage(`"a"`, c.usage))
		l := h.bill(pricedCall("what?"))
		_, in := l.Usage.InputTokens()
		_, out := l.Usage.OutputTokens()
		own, _ := l.OwnUsage.OutputTokens()
		if l.Source != c.source || !in || !out || own == 0 || h.spent() != l.Cost.Charge.Nanos {
			t.Errorf("%s: %+v by %s; the budget has spent %d", name, l.Usage, l.Source, h.spent())
		}
		if in, _ := l.Usage.InputTokens(); in == 0 && c.charge < 0 {
			t.Errorf("%s: no input was billed", name)
		}
		if charge := l.Cost.Charge.Nanos; c.charge >= 0 && charge != c.charge || c.charge < 0 && charge == 0 {
			t.Errorf("%s: charged %d; want %d", name, charge, c.charge)
		}
	}
}

// Asking for an answer once more was billed once more. No answer can be asked
// for again here; what comes again is an entry, from a spool that is read anew
// or a flush whose answer was lost, and it is one line and feeds its window once.
func TestBillingHappensOnceHoweverOftenAnEntryComes(t *testing.T) {
	h, _ := provided(t, delta(`"a"`, "hello"), end(`"a"`), usage(`"a"`, `{"prompt_tokens":10,"completion_tokens":1,"total_tokens":11}`))
	call := pricedCall("what?")
	l := h.bill(call)
	w, _, err := h.Store.Window(context.Background(), "acme/cap/tenant/total")
	if err != nil {
		t.Fatal(err)
	}
	again := ledger.Entry{Line: l, Settled: []ledger.Settled{{Window: &w.Window, Amount: l.Cost.Charge.Nanos}}}
	for range 2 {
		if err := h.Store.Write(context.Background(), []ledger.Entry{again, again}); err != nil {
			t.Fatal(err)
		}
		h.RestartLedger()
		h.Settled(context.Background()) // as a report does
		if lines, spent := h.lines(call), h.spent(); len(lines) != 1 || spent != 12_000 {
			t.Fatalf("%d lines, and the budget has spent %d", len(lines), spent)
		}
	}
}
