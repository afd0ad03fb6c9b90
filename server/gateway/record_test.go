package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/outputlog"
	"github.com/weir-gateway/weir/server/backend/simulator"
	"github.com/weir-gateway/weir/server/gateway"
)

// keeping is a policy that keeps by a mode.
func keeping(mode string) string {
	return `
kind: Policy
name: keep
outputs: {mode: ` + mode + `, keep: 2h}
---
kind: Policy
name: own
tenant: acme
safety:
  input:
    - {id: bad, guard: lexicon, terms: [forbidden], action: block}
    - {id: hide, guard: lexicon, terms: [hushhush], action: redact, placeholder: "[IN]"}
  output:
    - {id: words, guard: lexicon, terms: [zorblatt], action: block}
    - {id: mask, guard: lexicon, terms: [grim], action: redact, placeholder: "[OUT]"}
`
}

// recording has the gateway record into a list.
func (h *house) recording() *[]outputlog.Record {
	var list []outputlog.Record
	h.Record = func(r outputlog.Record) { list = append(list, r) }
	return &list
}

// reader is a sink that cannot take anything back.
type reader struct{ text strings.Builder }

func (r *reader) Start(*gateway.Answer) error { return nil }
func (r *reader) Flush() error                { return nil }

func (r *reader) Delta(d gateway.Delta) error {
	r.text.WriteString(d.Text)
	return nil
}

func TestTheRecordHasWhatWasSentAndReleased(t *testing.T) {
	h := newHouse(t, keeping("full"))
	list := h.recording()
	for _, stream := range []bool{false, true} {
		call := newCall("say: a grim tale of hushhush, zorblatt and more")
		call.EndUser, call.Labels = "u1", map[string]string{"team": "x"}
		var answer *gateway.Answer
		var err error
		var sink gateway.Sink = &gateway.Collector{}
		if stream {
			sink = &reader{}
		}
		if answer, err = h.Generate(context.Background(), call, sink); err != nil {
			t.Fatal(err)
		}
		r := (*list)[len(*list)-1]
		text, _ := json.Marshal([]any{r.Messages, r.Candidates})
		const want = `[[{"role":"user","parts":[{"channel":"content","text":"say: a grim tale of [IN], zorblatt and more"}]}],` +
			`[{"finish":"safety","parts":[{"channel":"content","text":"a [OUT] tale of [IN], "}]}]]`
		if string(text) != want {
			t.Errorf("stream %v: %s\nwant %s", stream, text, want)
		}
		if r.RequestID != call.RequestID || r.Subject.Tenant != "acme" || r.Subject.EndUser != "u1" || r.Subject.Labels["team"] != "x" || r.Model != "sim" || r.Backend != "b0" ||
			r.Finish != "safety" || r.Failure != "" || r.Outcome != accounting.OutcomeBlocked || r.Usage != answer.Usage || r.Cost != answer.Cost || len(r.Verdicts) != 3 ||
			r.Mode != outputlog.ModeFull || r.Probability != 1 || !r.Expires.Equal(answer.Start.Add(2*time.Hour)) || r.Total != answer.End.Sub(answer.Start) || r.FirstOutput <= 0 {
			t.Errorf("stream %v: record %+v\nof answer %+v", stream, r, answer)
		}
	}
}

func TestCallsOfToolsAreRecorded(t *testing.T) {
	h := newHouse(t, keeping("redacted"))
	list := h.recording()
	said, _, err := h.askTools(`call: get_weather {"city": "Łódź"}` + "\ncall: now")
	if err != nil || len(said.Calls) != 2 {
		t.Fatal(said, err)
	}
	got := (*list)[0].Candidates[0]
	if len(got.Parts) != 2 || got.Parts[0] != (outputlog.Part{Channel: "arguments", Text: `{"city": "Łódź"}`, CallID: "call_0_0", Tool: "get_weather"}) || got.Finish != "tool_calls" {
		t.Errorf("%+v", got)
	}
}

func TestWhatAModeDoesNotKeepIsNotRecorded(t *testing.T) {
	for _, mode := range []string{"none", "metadata", "redacted"} {
		h := newHouse(t, keeping(mode))
		list := h.recording()
		if _, _, err := h.ask(context.Background(), newCall("say: canary")); err != nil {
			t.Fatal(err)
		}
		inner := newCall("say: canary")
		inner.Purpose, inner.ParentRequestID = "guard", "parent"
		if _, _, err := h.ask(context.Background(), inner); err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf("%+v", *list)
		if want := map[string]int{"none": 0, "metadata": 1, "redacted": 1}[mode]; len(*list) != want || strings.Contains(text, "canary") != (mode == "redacted") {
			t.Errorf("mode %s: %s", mode, text)
		}
		if mode == "metadata" && ((*list)[0].Messages != nil || (*list)[0].Candidates != nil) {
			t.Errorf("what is not kept is empty, not absent: %s", text)
		}
	}
}

func TestBlockedInputIsNotRecorded(t *testing.T) {
	h := newHouse(t, keeping("full"))
	list := h.recording()
	if _, _, err := h.ask(context.Background(), newCall("forbidden canary")); reason(err) != gateway.InputBlocked {
		t.Fatal(err)
	}
	r := (*list)[0]
	if text := fmt.Sprintf("%+v", r); r.Messages != nil || r.Candidates != nil || r.Finish != "safety" || r.Failure != "INPUT_BLOCKED" || len(r.Verdicts) != 1 || strings.Contains(text, "canary") {
		t.Errorf("%s", text)
	}
	// Who is not let in leaves nothing, and neither does a model that is not there.
	h.Apply("kind: Policy\nname: slow\nrates:\n  - {per: tenant, requests: 1/h}\n")
	for _, model := range []string{"sim", "sim", "none"} {
		call := newCall("say: hi")
		call.Model = model
		_, _, _ = h.ask(context.Background(), call) // the second and third fail
	}
	if len(*list) != 2 {
		t.Errorf("%d records; want those of the two calls that were let in", len(*list))
	}
}

func TestWhatFailedIsRecordedByHowItEnded(t *testing.T) {
	cut := simulator.Profile{Fault: simulator.FaultCut, FaultAfter: 3}
	t.Run("another target", func(t *testing.T) {
		h := newHouse(t, keeping("full"), cut, simulator.Profile{})
		list := h.recording()
		text, _, err := h.ask(context.Background(), newCall("say: one two three four five"))
		if r := (*list)[0]; err != nil || len(*list) != 1 || r.Candidates[0].Parts[0].Text != text || r.Backend != "b1" || r.Finish != "stop" {
			t.Errorf("%+v %v", *list, err)
		}
	})
	for _, stream := range []bool{false, true} {
		h := newHouse(t, keeping("full"), cut)
		list := h.recording()
		seen := &reader{}
		var sink gateway.Sink = &gateway.Collector{}
		if stream {
			sink = seen
		}
		if _, err := h.Generate(context.Background(), newCall("say: one two three four five"), sink); err == nil {
			t.Fatal("a stream that was cut is an answer")
		}
		r := (*list)[0]
		var text string
		for _, p := range r.Candidates[0].Parts {
			text += p.Text
		}
		if r.Finish != outputlog.FinishBackendError || r.Candidates[0].Finish != r.Finish || text != seen.text.String() || stream == (text == "") {
			t.Errorf("stream %v: %+v; the caller saw %q", stream, r, seen.text.String())
		}
	}
	t.Run("cancelled", func(t *testing.T) {
		h := newHouse(t, keeping("metadata"))
		list := h.recording()
		_, err := h.Generate(context.Background(), newCall("say: hello"), &gone{})
		if r := (*list)[0]; reason(err) != gateway.Cancelled || r.Finish != outputlog.FinishCancelled || r.Outcome != accounting.OutcomeCancelled {
			t.Errorf("%v %+v", err, r)
		}
	})
}

// gone is a caller who has left.
type gone struct{ reader }

func (*gone) Delta(gateway.Delta) error { return errors.New("nobody reads") }
