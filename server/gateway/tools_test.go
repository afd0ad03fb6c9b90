package gateway_test

import (
	"context"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/gateway"
	"github.com/weir-gateway/weir/server/route"
)

var weather = []backend.Tool{{Name: "get_weather", Parameters: []byte(`{"type": "object"}`)}, {Name: "now"}}

// askTools runs a call that may use tools.
func (h *house) askTools(prompt string) (gateway.Collected, *gateway.Answer, error) {
	call := newCall(prompt)
	call.Request.Tools = weather
	var c gateway.Collector
	answer, err := h.Generate(context.Background(), call, &c)
	if all := c.Candidates(); len(all) > 0 {
		return all[0], answer, err
	}
	return gateway.Collected{}, answer, err
}

func TestCallsOfToolsAreScreened(t *testing.T) {
	h := newHouse(t, `
kind: Policy
name: own
tenant: acme
safety:
  output:
    - {id: words, guard: lexicon, terms: [zorblatt, 测试词], action: block}
    - {id: mail, guard: pattern, builtin: email, action: redact}
    - {id: ip, guard: pii, entities: [ip_address], action: redact, tool_args: redact}
`)
	for _, c := range []struct {
		prompt, args, rule string
		calls              int
		finish             backend.FinishReason
	}{
		{`call: get_weather {"city": "Łódź"}` + "\ncall: now", `{"city": "Łódź"}`, "", 2, backend.FinishToolCalls},
		{`call: get_weather {"city": "zorb\u006Catt"}`, `{"city": "`, "words", 1, backend.FinishSafety},
		{`call: get_weather {"zorblatt": 1}`, `{"`, "words", 1, backend.FinishSafety},
		{`call: get_weather {"to": "ada@example.org"}`, `{"to": "`, "mail", 1, backend.FinishSafety},
		{`call: get_weather {"host": "10.0.0.1", "n": 1}`, `{"host": "[IP_ADDRESS]", "n": 1}`, "ip", 1, backend.FinishToolCalls},
		{`call: 测试词 {"city": "x"}`, "", "words", 0, backend.FinishSafety},
	} {
		said, answer, err := h.askTools(c.prompt)
		if err != nil || len(said.Calls) != c.calls || answer.Finish[0] != c.finish {
			t.Errorf("%s: %+v, %+v, %v", c.prompt, said, answer, err)
			continue
		}
		if c.calls > 0 && (said.Calls[0].Arguments != c.args || said.Calls[0].Tool != "get_weather" || said.Calls[0].ID != "call_0_0") {
			t.Errorf("%s: %+v", c.prompt, said.Calls)
		}
		if c.rule != "" && (len(answer.Verdicts) != 1 || answer.Verdicts[0].Rule != c.rule) {
			t.Errorf("%s: verdicts %+v", c.prompt, answer.Verdicts)
		}
	}
}

func TestWhatToolsSayAndAreIsInput(t *testing.T) {
	h := newHouse(t, `
kind: Policy
name: own
tenant: acme
safety:
  input:
    - {id: mail, guard: pattern, builtin: email, action: redact}
    - {id: words, guard: lexicon, terms: [zorblatt], action: block}
`)
	talk := func(result, arguments, description string) *gateway.Call {
		call := newCall("what is it?")
		call.Request.Tools = []backend.Tool{{Name: "f", Description: description, Parameters: []byte(`{"type": "object", "description": "ada@example.org"}`)}}
		call.Request.Messages = append(call.Request.Messages,
			backend.Message{Role: backend.Assistant, Parts: []backend.Part{{Channel: backend.Arguments, Text: arguments, CallID: "c", Tool: "f"}}},
			backend.Message{Role: backend.ToolRole, Parts: []backend.Part{{Channel: backend.Result, Text: result, CallID: "c"}}})
		return call
	}
	call := talk("mail ada@example.org", `{"to":"ada@example.org"}`, "tells")
	text, answer, err := h.ask(context.Background(), call)
	if err != nil || text != "The tool says: mail [EMAIL]" || len(answer.Verdicts) != 3 {
		t.Fatalf("%q %+v %v", text, answer, err)
	}
	for i, want := range []policy.Verdict{{Message: 1, Part: 0, Start: 7, End: 22}, {Message: 2, Part: 0, Start: 5, End: 20}, {Message: -1, Part: 0, Start: 35, End: 50}} {
		if v := answer.Verdicts[i]; v.Message != want.Message || v.Part != want.Part || v.Start != want.Start || v.End != want.End {
			t.Errorf("verdict %d: %+v", i, v)
		}
	}
	if string(call.Request.Tools[0].Parameters) != `{"type": "object", "description": "ada@example.org"}` {
		t.Error("the caller's own request was changed")
	}
	for _, blocked := range []*gateway.Call{talk("zorblatt", "{}", ""), talk("x", `{"a":"zorb\u006catt"}`, ""), talk("x", "{}", "a zorblatt")} {
		if _, _, err := h.ask(context.Background(), blocked); reason(err) != gateway.InputBlocked {
			t.Errorf("%+v: %v", blocked.Request, err)
		}
	}
}

// recites is a backend that says what it is told to.
type recites struct{ events []backend.Event }

func (recites) Capabilities(string) backend.Capabilities {
	return backend.Capabilities{Candidates: 1, Tools: true}
}

func (r recites) Generate(context.Context, *backend.Request) (backend.Stream, error) {
	return &recital{events: r.events}, nil
}

type recital struct{ events []backend.Event }

func (*recital) Close() error { return nil }

func (r *recital) Recv() (backend.Event, error) {
	if len(r.events) == 0 {
		return backend.Event{}, io.EOF
	}
	e := r.events[0]
	r.events = r.events[1:]
	return e, nil
}

func TestTheIDOfACallIsNoWayAround(t *testing.T) {
	h := newHouse(t, "kind: Policy\nname: own\ntenant: acme\nsafety: {output: [{guard: lexicon, terms: [zorblatt], action: block}]}\n")
	recite := func(events ...backend.Event) (gateway.Collected, error) {
		router, err := route.New([]route.Model{{Name: "sim", MaxOutputTokens: 100, Targets: []route.Target{{Name: "b", Backend: recites{events}, Model: "sim"}}}})
		if err != nil {
			t.Fatal(err)
		}
		h.House.Router = func() *route.Router { return router }
		said, answer, err := h.askTools("hi")
		if err == nil && answer.Outcome != accounting.OutcomeCompleted {
			t.Errorf("%+v", answer)
		}
		return said, err
	}
	finished := backend.Event{Kind: backend.Finished, Finish: backend.FinishToolCalls}
	for id, kept := range map[string]bool{"call_1": true, "toolu_水": true, "": false, "call_zorblatt": false, strings.Repeat("x", 129): false, "\xff": false} {
		said, err := recite(backend.Event{Kind: backend.Called, CallID: id, Tool: "now"}, finished)
		if err != nil || len(said.Calls) != 1 {
			t.Fatalf("%q: %+v %v", id, said, err)
		}
		if got := said.Calls[0].ID; (got == id) != kept || got == "" || len(got) > 40 || !utf8.ValidString(got) {
			t.Errorf("%q became %q", id, got)
		}
	}
	for _, wrong := range [][]backend.Event{
		{{Kind: backend.Called, Call: 1, Tool: "now"}, finished},
		{{Kind: backend.Delta, Channel: backend.Arguments, Text: "{}"}, finished},
	} {
		if _, err := recite(wrong...); err == nil {
			t.Errorf("%+v passes", wrong)
		}
	}
}

func TestWhatATargetCannotDoIsRefused(t *testing.T) {
	h := newHouse(t, "")
	router, err := route.New([]route.Model{{Name: "sim", MaxOutputTokens: 100, Targets: []route.Target{{Name: "b", Backend: h.simple(), Model: "sim"}}}})
	if err != nil {
		t.Fatal(err)
	}
	h.House.Router = func() *route.Router { return router }
	for field, change := range map[string]func(*backend.Request){
		"tools":                    func(r *backend.Request) { r.Tools = weather },
		"config.response_format":   func(r *backend.Request) { r.Format = &backend.Format{} },
		"config.frequency_penalty": func(r *backend.Request) { r.FrequencyPenalty = new(float64) },
		"config.presence_penalty":  func(r *backend.Request) { r.PresencePenalty = new(float64) },
	} {
		call := newCall("hi")
		change(&call.Request)
		_, answer, err := h.ask(context.Background(), call)
		if reason(err) != gateway.UnsupportedFeature || answer.Attempts != 0 || !strings.Contains(err.Error(), "sim") {
			t.Errorf("%s: %+v %v", field, answer, err)
		}
	}
}

// simple is a backend that knows no tools and no formats.
type simple struct{ backend.Backend }

func (simple) Capabilities(string) backend.Capabilities { return backend.Capabilities{Candidates: 1} }

func (h *house) simple() backend.Backend { return simple{h.Sim} }

func TestStructuredContentStaysJSON(t *testing.T) {
	h := newHouse(t, "kind: Policy\nname: own\ntenant: acme\nsafety: {output: [{guard: pattern, expr: '41', action: redact, placeholder: '[n]'}]}\n")
	call := newCall(`say: {"n": 99411, "s": "41"}`)
	call.Request.Format = &backend.Format{}
	text, answer, err := h.ask(context.Background(), call)
	if err != nil || text != `{"n": "[n]", "s": "[n]"}` || answer.Verdicts[0].Channel != policy.Structured {
		t.Errorf("%q %+v %v", text, answer, err)
	}
}
