package gateway_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/outputlog"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/simulator"
	"github.com/weir-gateway/weir/server/gateway"
	"github.com/weir-gateway/weir/server/route"
)

// recite has a backend say these events, and returns what the caller gets.
func (h *house) recite(call *gateway.Call, events ...backend.Event) (gateway.Collected, *gateway.Answer) {
	h.t.Helper()
	h.reciting(events...)
	var c gateway.Collector
	answer, err := h.Generate(context.Background(), call, &c)
	if err != nil {
		h.t.Fatal(err)
	}
	if all := c.Candidates(); len(all) > 0 {
		return all[0], answer
	}
	return gateway.Collected{}, answer
}

// reciting has a backend say these events.
func (h *house) reciting(events ...backend.Event) {
	h.t.Helper()
	router, err := route.New([]route.Model{{Name: "sim", MaxOutputTokens: 100, Targets: []route.Target{{Name: "b", Backend: recites{events}, Model: "sim"}}}})
	if err != nil {
		h.t.Fatal(err)
	}
	h.House.Router = func() *route.Router { return router }
}

const redacting = "kind: Policy\nname: own\ntenant: acme\nsafety: {output: [{guard: lexicon, terms: [zorblatt, cz9y], action: redact, placeholder: '#'}]}\n"

func TestASignatureGoesOnlyWithItsText(t *testing.T) {
	think := func(texts ...string) (all []backend.Event) {
		for _, s := range texts {
			all = append(all, backend.Event{Kind: backend.Delta, Channel: backend.Reasoning, Text: s})
		}
		return all
	}
	signed := func(data string) backend.Event {
		return backend.Event{Kind: backend.Signed, Channel: backend.Reasoning, Signature: &backend.Signature{Signer: "anthropic", Data: data}}
	}
	hidden := signed("aGlkZGVu")
	hidden.Signature.Hidden = true
	rest := []backend.Event{{Kind: backend.Delta, Channel: backend.Content, Text: "yes"}, {Kind: backend.Finished, Finish: backend.FinishStop}}
	signatures := func(said gateway.Collected) string {
		var all []string
		for _, p := range said.Parts {
			s := "-"
			if p.Signature != nil {
				s = p.Signature.Data
			}
			all = append(all, string(p.Channel)+" "+p.Text+" "+s)
		}
		return strings.Join(all, "|")
	}
	for _, c := range []struct {
		name, policy string
		events       []backend.Event
		want         string
	}{
		{"no rules", "", append(think("hm ", "zorblatt"), signed("with a space")), "reasoning hm zorblatt with a space|content yes -"},
		{"clean", redacting, append(think("hm zor", "bl"), signed("YQ==")), "reasoning hm zorbl YQ==|content yes -"},
		{"redacted", redacting, append(think("hm zorblatt"), signed("YQ==")), "reasoning hm # -|content yes -"},
		{"redacted before", redacting, slices.Concat(think("zorblatt"), []backend.Event{signed("YQ==")}, think("clear"), []backend.Event{signed("Yg==")}), "reasoning #clear Yg==|content yes -"},
		{"redacted after", redacting, slices.Concat(think("clear"), []backend.Event{signed("Yg==")}, think("zorblatt"), []backend.Event{signed("YQ==")}), "reasoning clear Yg==|reasoning # -|content yes -"},
		{"hidden", redacting, slices.Concat(think("a"), []backend.Event{signed("Yg=="), hidden}), "reasoning a Yg==|reasoning  aGlkZGVu|content yes -"},
		{"a word in it", redacting, append(think("a"), signed("abcz9y")), "reasoning a -|content yes -"},
		{"text in it", redacting, append(think("a"), signed("the secret")), "reasoning a -|content yes -"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHouse(t, c.policy)
			said, _ := h.recite(newCall("hi"), slices.Concat(c.events, rest)...)
			if got := signatures(said); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestALogprobGoesOnlyWithItsText(t *testing.T) {
	token := func(s string) backend.Logprob {
		return backend.Logprob{Token: s, Logprob: -1, Alternatives: []backend.Logprob{{Token: "zorblatt"}}}
	}
	says := func(text string, tokens ...string) backend.Event {
		e := backend.Event{Kind: backend.Delta, Channel: backend.Content, Text: text}
		for _, s := range tokens {
			e.Logprobs = append(e.Logprobs, token(s))
		}
		return e
	}
	events := []backend.Event{
		says("I saw ", "I", " saw", " "), says("zorblatt", "zor", "blatt"), says(" there", " there"), says("!", "canary"),
		{Kind: backend.Finished, Finish: backend.FinishStop},
	}
	got := func(policy string) (tokens string, alternatives int) {
		said, _ := newHouse(t, policy).recite(newCall("hi"), events...)
		for _, p := range said.Parts {
			for _, l := range p.Logprobs {
				tokens += l.Token + "/"
				alternatives += len(l.Alternatives)
			}
		}
		return tokens, alternatives
	}
	if tokens, n := got(""); tokens != "I/ saw/ /zor/blatt/ there/canary/" || n != 7 {
		t.Errorf("without rules: %q with %d alternatives", tokens, n)
	}
	if tokens, n := got(redacting); tokens != "I/ saw/ / there/" || n != 0 {
		t.Errorf("under a rule: %q with %d alternatives", tokens, n)
	}
	if tokens, _ := got("kind: Policy\nname: own\ntenant: acme\nsafety: {output: [{guard: lexicon, terms: [zorblatt], action: block}]}\n"); tokens != "I/ saw/ /" {
		t.Errorf("under a block: %q", tokens)
	}
}

func TestMediaIsRefusedWhereItCannotBeTaken(t *testing.T) {
	h := newHouse(t, "kind: Policy\nname: own\ntenant: acme\nsafety: {input: [{guard: lexicon, terms: [zorblatt], action: block}]}\n")
	with := func(m backend.Media) *gateway.Call {
		call := newCall("describe:")
		call.Request.Messages[0].Parts = append(call.Request.Messages[0].Parts, backend.Part{Channel: backend.Content, Media: &m})
		return call
	}
	image := backend.Media{Modality: backend.Image, Type: "image/png", Data: []byte("12345")}
	call := with(image)
	text, answer, err := h.ask(context.Background(), call)
	if err != nil || text != "1 media: image image/png of 5 bytes" {
		t.Fatalf("%q %v", text, err)
	}
	if len(answer.Warnings) != 1 || answer.Warnings[0].Code != gateway.MediaUnseen {
		t.Errorf("nobody is told that no rule saw the image: %+v", answer.Warnings)
	}
	if in, _ := h.lines(call)[0].OwnUsage.InputTokens(); in < 256 {
		t.Errorf("an image counts, and %d tokens were counted", in)
	}
	for _, named := range []backend.Media{{Modality: backend.File, Type: "text/plain", Data: []byte("x"), Name: "zorblatt.txt"}, {Modality: backend.Image, URL: "https://zorblatt"}} {
		if _, _, err := h.ask(context.Background(), with(named)); reason(err) != gateway.InputBlocked {
			t.Errorf("%+v: %v", named, err)
		}
	}
	router, err := route.New([]route.Model{{Name: "sim", MaxOutputTokens: 100, Targets: []route.Target{{Name: "b", Backend: h.simple(), Model: "sim"}}}})
	if err != nil {
		t.Fatal(err)
	}
	h.House.Router = func() *route.Router { return router }
	if _, err := h.CountTokens(with(image)); reason(err) != gateway.UnsupportedFeature {
		t.Errorf("what the model does not take was counted: %v", err)
	}
	if _, answer, err := h.ask(context.Background(), with(image)); reason(err) != gateway.UnsupportedFeature || answer.Attempts != 0 || !strings.Contains(err.Error(), "image") {
		t.Errorf("%+v %v", answer, err)
	}
	call = newCall("say: hi")
	call.Request.Logprobs, call.Request.Reasoning, call.Request.DropUnsupported = new(int), &backend.ReasoningWish{Effort: backend.EffortHigh}, true
	if text, answer, err := h.ask(context.Background(), call); err != nil || text != "hi" || len(answer.Warnings) != 2 || answer.Warnings[0].Code != gateway.ParameterDropped {
		t.Errorf("%q %+v %v", text, answer, err)
	}
}

var withName = json.RawMessage(`{"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}`)

// mends answers with one text at first, and with another when it is asked anew.
type mends struct {
	backend.Backend
	first, then string
}

func (m mends) Generate(_ context.Context, req *backend.Request) (backend.Stream, error) {
	text := m.first
	if last := req.Messages[len(req.Messages)-1]; strings.HasPrefix(last.Text(), "This cannot be used") {
		text = m.then
	}
	return &recital{events: []backend.Event{
		{Kind: backend.Delta, Channel: backend.Content, Text: text}, {Kind: backend.Finished, Finish: backend.FinishStop},
	}}, nil
}

func TestAnAnswerIsCheckedAndAskedForAnew(t *testing.T) {
	for _, c := range []struct {
		name, first, then, want string
		format                  backend.Format
		stream                  bool
		rows                    int
		warned                  []gateway.WarningCode
	}{
		{name: "whole", first: `{"name": "a"}`, want: `{"name": "a"}`, format: backend.Format{Schema: withName, Repairs: 1}, rows: 1},
		{name: "mended", first: `{"nam": 1}`, then: `{"name": "b"}`, want: `{"name": "b"}`, format: backend.Format{Schema: withName, Repairs: 1}, rows: 2},
		{name: "never", first: `{}`, then: `{"name": 3}`, want: `{"name": 3}`, format: backend.Format{Schema: withName, Repairs: 2}, rows: 3, warned: []gateway.WarningCode{gateway.SchemaMismatch}},
		{name: "not allowed", first: `{}`, want: `{}`, format: backend.Format{Schema: withName}, rows: 1, warned: []gateway.WarningCode{gateway.SchemaMismatch}},
		{name: "stream", first: `{}`, want: `{}`, format: backend.Format{Schema: withName, Repairs: 1}, stream: true, rows: 1, warned: []gateway.WarningCode{gateway.SchemaMismatch}},
		{name: "any object", first: `[1]`, then: `{}`, want: `{}`, format: backend.Format{Repairs: 1}, rows: 2},
		{name: "no schema to check by", first: `{}`, want: `{}`, format: backend.Format{Schema: json.RawMessage(`{"$ref": "file:///etc/hostname"}`), Repairs: 1}, rows: 1, warned: []gateway.WarningCode{gateway.SchemaUnchecked}},
		{name: "a schema without an end", first: strings.Repeat(`{"x":`, 60) + "1" + strings.Repeat("}", 60), want: strings.Repeat(`{"x":`, 60) + "1" + strings.Repeat("}", 60),
			format: backend.Format{Schema: json.RawMessage(`{"$defs": {"a": {"anyOf": [{"properties": {"x": {"$ref": "#/$defs/a"}}, "required": ["y"]}, {"properties": {"x": {"$ref": "#/$defs/a"}}, "required": ["z"]}]}}, "$ref": "#/$defs/a"}`), Repairs: 1},
			rows:   1, warned: []gateway.WarningCode{gateway.SchemaUnchecked}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHouse(t, "")
			router, err := route.New([]route.Model{{Name: "sim", MaxOutputTokens: 100, Targets: []route.Target{{Name: "b", Backend: mends{h.Sim, c.first, c.then}, Model: "sim"}}}})
			if err != nil {
				t.Fatal(err)
			}
			h.House.Router = func() *route.Router { return router }
			call := newCall("hi")
			call.Request.Format = &c.format
			var said gateway.Collector
			var sink gateway.Sink = &said
			if c.stream {
				sink = struct{ gateway.Sink }{&said}
			}
			answer, err := h.Generate(context.Background(), call, sink)
			if err != nil {
				t.Fatal(err)
			}
			if got := said.Candidates()[0].Content; got != c.want {
				t.Errorf("said is %q, want %q", got, c.want)
			}
			var warned []gateway.WarningCode
			for _, w := range answer.Warnings {
				warned = append(warned, w.Code)
			}
			if !slices.Equal(warned, c.warned) {
				t.Errorf("warnings are %+v", answer.Warnings)
			}
			lines := h.lines(call)
			var charged int64
			for _, l := range lines {
				charged += l.Cost.Charge.Nanos
				if l.Outcome != accounting.OutcomeCompleted {
					t.Errorf("%+v", l)
				}
			}
			if len(lines) != c.rows || answer.Cost.Charge.Nanos != charged {
				t.Errorf("%d rows cost %d, the answer says %d", len(lines), charged, answer.Cost.Charge.Nanos)
			}
		})
	}
}

// A repair for which there is no room leaves the first answer.
func TestARepairThatCannotBePaidLeavesTheAnswer(t *testing.T) {
	h := newHouse(t, "", simulator.Profile{})
	call := newCall(`say: {"no": 1}`)
	limit := 10
	call.Request.MaxOutputTokens = &limit
	call.Request.Format = &backend.Format{Schema: withName, Repairs: 1}
	most := accounting.Money{Currency: "USD", Nanos: 150_000}
	call.MaxCost = &most
	text, answer, err := h.ask(context.Background(), call)
	if err != nil || text != `{"no": 1}` || len(answer.Warnings) != 1 || len(h.lines(call)) != 1 || answer.Cost == nil {
		t.Errorf("%q %+v %v", text, answer, err)
	}
}

func TestNoByteOfMediaIsKept(t *testing.T) {
	h := newHouse(t, "kind: Policy\nname: own\ntenant: acme\noutputs: {mode: full, sample: 100%}\n")
	var kept outputlog.Record
	h.Record = func(r outputlog.Record) { kept = r }
	call := newCall("describe:")
	call.Request.Messages[0].Parts = append(call.Request.Messages[0].Parts,
		backend.Part{Channel: backend.Content, Media: &backend.Media{Modality: backend.Image, Type: "image/png", Data: []byte("canary")}})
	if _, _, err := h.ask(context.Background(), call); err != nil {
		t.Fatal(err)
	}
	if got, want := kept.Messages[0].Parts[1], (outputlog.Part{Channel: "content", Modality: "image", Type: "image/png", Bytes: 6}); got != want {
		t.Errorf("kept is %+v, want %+v", got, want)
	}
}
