package weir

import (
	"context"
	"strings"
	"testing"

	"github.com/weir-gateway/weir/accounting/report"
	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
)

func TestCountTokens(t *testing.T) {
	h := withRoles(t, "")
	client := weirv1.NewGenerationServiceClient(h.conn)
	count := func(ctx context.Context, model string) (*weirv1.CountTokensResponse, error) {
		return client.CountTokens(ctx, &weirv1.CountTokensRequest{Model: model, Messages: ask(model, "say: 你好 world").Messages})
	}
	n, err := count(h.as("member"), "sim")
	if err != nil {
		t.Fatal(err)
	}
	if n.Count != weirv1.TokenCount_TOKEN_COUNT_TOKENIZER || n.EstimatedInputTokens != nil || n.Backend != "b0" || n.BackendModel != "sim" {
		t.Errorf("count is %v", n)
	}
	// What is counted is what a call uses.
	a, err := client.Generate(h.as("member"), ask("sim", "say: 你好 world"))
	if err != nil || a.Usage.GetInputTokens() != n.InputTokens {
		t.Errorf("counted %d, used %v, %v", n.InputTokens, a.GetUsage(), err)
	}
	h.rights("CountTokens", func(ctx context.Context) error { _, err := count(ctx, "sim"); return err },
		map[string]string{"admin": fine, "member": fine, "viewer": no, "billing": no, "platform": no})
	if _, err := count(h.as("member"), "none"); failure(err) != "NotFound MODEL_NOT_FOUND" {
		t.Errorf("a model that is not there: %v", err)
	}
	if _, err := client.CountTokens(h.as("member"), &weirv1.CountTokensRequest{}); failure(err) != "InvalidArgument INVALID_REQUEST model=STRING_MIN_LEN messages=REPEATED_MIN_ITEMS" {
		t.Errorf("an empty request: %v", err)
	}
}

func TestModerate(t *testing.T) {
	h := withRoles(t, `---
kind: Policy
name: more
tenant: acme
safety:
  input:
    - {guard: pattern, builtin: email, action: redact}
    - {guard: lexicon, terms: [quiet], action: shadow}
---
kind: Policy
name: strict
tenant: acme
match: {models: [sim]}
safety:
  input:
    - {guard: lexicon, terms: [fine], action: block, category: test/strict}
---
kind: Tenant
name: fast
---
kind: Policy
name: slowly
tenant: fast
rates:
  - {per: key, requests: 1/min, burst: 1}
`)
	client := weirv1.NewGenerationServiceClient(h.conn)
	texts := []string{"all is fine", "这是 违禁 的", "mail a.b@example.com 吧", "noted", "quiet", ""}
	a, err := client.Moderate(h.as("member"), &weirv1.ModerateRequest{Texts: texts})
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		action weirv1.Action
		text   string
	}{
		{weirv1.Action_ACTION_UNSPECIFIED, "all is fine"}, {weirv1.Action_ACTION_BLOCK, ""}, {weirv1.Action_ACTION_REDACT, "mail [EMAIL] 吧"},
		{weirv1.Action_ACTION_FLAG, "noted"}, {weirv1.Action_ACTION_SHADOW, "quiet"}, {weirv1.Action_ACTION_UNSPECIFIED, ""},
	}
	if len(a.Results) != len(texts) || a.RequestId == "" {
		t.Fatalf("answer is %v", a)
	}
	for i, r := range a.Results {
		blocked := want[i].action == weirv1.Action_ACTION_BLOCK
		if r.Action != want[i].action || r.GetText() != want[i].text || (r.Text == nil) != blocked || (len(r.Verdicts) > 0) != (r.Action != 0) {
			t.Errorf("%q is judged %v", texts[i], r)
		}
		for _, v := range r.Verdicts {
			if int(v.GetMessageIndex()) != i || v.Stage != weirv1.Stage_STAGE_INPUT {
				t.Errorf("verdict of %q is %v", texts[i], v)
			}
		}
	}
	// A model brings the policies that match it.
	a, err = client.Moderate(h.as("member"), &weirv1.ModerateRequest{Texts: texts[:1], Model: "sim"})
	if err != nil || a.Results[0].Action != weirv1.Action_ACTION_BLOCK || a.Results[0].Verdicts[0].Category != "test/strict" {
		t.Errorf("for sim: %v, %v", a, err)
	}
	// Nothing was charged, and nothing that was sent is in the log.
	if sums, err := h.Store.Sum(t.Context(), report.Query{}); err != nil || len(sums.Rows) != 0 {
		t.Errorf("the ledger has %+v, %v", sums, err)
	}
	if log := h.Lines.String(); strings.Contains(log, "example.com") || strings.Contains(log, "违禁") {
		t.Error("what was judged is in the log")
	}

	moderate := func(ctx context.Context) error {
		_, err := client.Moderate(ctx, &weirv1.ModerateRequest{Texts: texts})
		return err
	}
	h.rights("Moderate", moderate, map[string]string{"admin": fine, "member": fine, "viewer": no, "billing": no, "platform": no})
	h.key("fast", "fast", "member")
	if first, second := failure(moderate(h.as("fast"))), failure(moderate(h.as("fast"))); first != fine || second != "ResourceExhausted RATE_LIMIT_EXCEEDED" {
		t.Errorf("at a rate of one: %s, %s", first, second)
	}
	if _, err := client.Moderate(h.as("member"), &weirv1.ModerateRequest{}); failure(err) != "InvalidArgument INVALID_REQUEST texts=REPEATED_MIN_ITEMS" {
		t.Errorf("no text: %v", err)
	}
	if _, err := client.Moderate(h.as("member"), &weirv1.ModerateRequest{Texts: make([]string, 65)}); failure(err) != "InvalidArgument INVALID_REQUEST texts=REPEATED_MIN_MAX_ITEMS" && failure(err) != "InvalidArgument INVALID_REQUEST texts=REPEATED_MAX_ITEMS" {
		t.Errorf("too many texts: %v", failure(err))
	}
}
