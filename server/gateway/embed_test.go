package gateway_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/outputlog"
	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/simulator"
	"github.com/weir-gateway/weir/server/gateway"
)

var embeds = simulator.Profile{Dimensions: 8}

const embedRules = `---
kind: Policy
name: in
tenant: acme
outputs: {mode: redacted}
safety:
  input:
    - {guard: pattern, builtin: email, action: redact}
    - {guard: lexicon, terms: [forbidden, 违禁], action: block}
  output:
    - {guard: lexicon, terms: [zorblatt], action: block}
`

func TestEmbedIsChargedByItsInput(t *testing.T) {
	h := newHouse(t, embedRules, embeds)
	var records []outputlog.Record
	h.Record = func(r outputlog.Record) { records = append(records, r) }
	call := newCall("")
	answer, err := h.Embed(context.Background(), call, []string{"水车 turns", "mail a.b@example.com 吧"}, nil)
	if err != nil || len(answer.Vectors) != 2 || len(answer.Vectors[1]) != 8 {
		t.Fatalf("%+v %v", answer, err)
	}
	// The backend has got the redacted text, and its vector comes back.
	redacted, err := h.Sim.Embed(context.Background(), &backend.EmbedRequest{Model: "sim", Inputs: []string{"mail [EMAIL] 吧"}})
	if err != nil || [8]float32(redacted.Vectors[0]) != [8]float32(answer.Vectors[1]) {
		t.Errorf("vector is %v, that of the redacted text %v, %v", answer.Vectors[1], redacted, err)
	}
	if v := answer.Verdicts; len(v) != 1 || v[0].Message != 1 || v[0].Action != policy.Redact {
		t.Errorf("verdicts are %+v", v)
	}
	n := int64(h.Sim.CountOutput("sim", "水车 turns") + h.Sim.CountOutput("sim", "mail [EMAIL] 吧"))
	lines := h.lines(call)
	if len(lines) != 1 {
		t.Fatalf("%d lines", len(lines))
	}
	l := lines[0]
	in, _ := l.Usage.InputTokens()
	out, known := l.Usage.OutputTokens()
	if l.Outcome != accounting.OutcomeCompleted || l.Source != accounting.SourceProvider || in != n || out != 0 || !known || l.Cost.Charge.Nanos != 1000*n {
		t.Errorf("line is %+v, want %d tokens", l, n)
	}
	if len(records) != 1 || len(records[0].Messages) != 2 || records[0].Messages[1].Parts[0].Text != "mail [EMAIL] 吧" || len(records[0].Candidates) != 0 {
		t.Errorf("records are %+v", records)
	}
}

func TestEmbedRefusesBeforeItSpends(t *testing.T) {
	h := newHouse(t, embedRules+`---
kind: Budget
name: cap
tenant: acme
limit: 0.00001 USD
window: day
cut: true
`, embeds)
	long := strings.Repeat("a b c d e f g ", 10)
	for name, c := range map[string]struct {
		texts []string
		want  gateway.Reason
	}{
		"one of several is blocked": {[]string{"fine", "这是 违禁 的"}, gateway.InputBlocked},
		"no room":                   {[]string{long}, gateway.BudgetExhausted},
	} {
		call := newCall("")
		if _, err := h.Embed(context.Background(), call, c.texts, nil); reason(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
		if lines := h.lines(call); len(lines) != 0 {
			t.Errorf("%s: lines are %+v", name, lines)
		}
	}
	call := newCall("x")
	if _, _, err := h.ask(context.Background(), call); reason(err) != gateway.UnsupportedFeature {
		t.Errorf("an answer of a model that embeds: %v", err)
	}
	if calls := h.Sim.Account().Calls; calls != 0 {
		t.Errorf("the backend was called %d times", calls)
	}
	if _, err := newHouse(t, "").Embed(context.Background(), newCall(""), []string{"x"}, nil); reason(err) != gateway.UnsupportedFeature {
		t.Errorf("a vector of a model that answers: %v", err)
	}
}

func TestEmbedFallsBack(t *testing.T) {
	h := newHouse(t, "", simulator.Profile{}, simulator.Profile{Dimensions: 8, Fault: simulator.FaultReset}, embeds)
	call := newCall("")
	answer, err := h.Embed(context.Background(), call, []string{"x"}, nil)
	if err != nil || answer.Target.Backend != "b2" || answer.Attempts != 2 || len(answer.Vectors) != 1 {
		t.Fatalf("%+v %v", answer, err)
	}
	if lines := h.lines(call); len(lines) != 2 || lines[0].Outcome != accounting.OutcomeFailed || lines[0].Cost != nil && lines[0].Cost.Charge.Nanos != 0 || lines[1].Outcome != accounting.OutcomeCompleted {
		t.Errorf("lines are %+v", lines)
	}
}

func TestEmbedIsCancelledAtTheBackend(t *testing.T) {
	h := newHouse(t, "", simulator.Profile{Dimensions: 8, Fault: simulator.FaultStall})
	ctx, cancel := context.WithCancel(context.Background())
	h.Behave = func(_ string, p simulator.Profile) simulator.Profile {
		cancel()
		return p
	}
	call := newCall("")
	_, err := h.Embed(ctx, call, []string{"x"}, nil)
	var failed *gateway.Error
	if !errors.As(err, &failed) || failed.Reason != gateway.Cancelled {
		t.Errorf("error is %v", err)
	}
	if how := <-h.Ended; how != simulator.EndedCancelled {
		t.Errorf("the backend's call ended %s", how)
	}
	h.lines(call)
}
