package openai

import (
	"net/http"
	"strings"
	"testing"

	"github.com/weir-gateway/weir/server/auth"
)

const inputRules = `---
kind: Policy
name: more
tenant: acme
safety:
  input:
    - {guard: pattern, builtin: email, action: redact}
    - {guard: lexicon, terms: [quiet], action: shadow, category: test/quiet}
`

func TestModerations(t *testing.T) {
	h := newHouse(t, inputRules)
	for _, c := range []struct{ name, body string }{
		{"moderation.json", `{"input": "all is well"}`},
		{"moderation-list.json", `{"model": "omni-moderation-latest", "input": ["这是 违禁 的", "mail a.b@example.com 吧", "quiet"]}`},
		{"moderation-parts.json", `{"input": [{"type": "text", "text": "forbidden"}]}`},
		{"error-moderation.json", `{"input": [{"type": "image_url", "image_url": {"url": "x"}}]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			golden(t, c.name, bodyOf(t, h.ask(http.MethodPost, "/v1/moderations", c.body)))
		})
	}
	for body, param := range map[string]string{`{"input": []}`: "input", `{"input": null}`: "input", `{"input": 7}`: "input", `{}`: "input"} {
		w := h.ask(http.MethodPost, "/v1/moderations", body)
		if e := errorOf(t, w.Body.String()); w.Code != http.StatusBadRequest || e["param"] != param {
			t.Errorf("%s: %d %v", body, w.Code, e)
		}
	}
	if w := h.ask(http.MethodPost, "/v1/moderations", `{"input": "x"`); w.Code != http.StatusBadRequest {
		t.Errorf("no JSON: %d", w.Code)
	}
	viewer := h.Key("acme", "viewer", auth.Viewer)
	if w := h.ask(http.MethodPost, "/v1/moderations", `{"input": "x"}`, "Authorization", "Bearer "+viewer); w.Code != http.StatusForbidden {
		t.Errorf("a viewer: %d", w.Code)
	}
	billing := h.Key("acme", "billing", auth.Billing)
	for path, want := range map[string]int{"/v1/models": http.StatusForbidden, "/v1/models/sim": http.StatusForbidden} {
		if w := h.ask(http.MethodGet, path, "", "Authorization", "Bearer "+billing); w.Code != want {
			t.Errorf("%s for billing: %d", path, w.Code)
		}
	}
	if log := h.Lines.String(); strings.Contains(log, "example.com") || strings.Contains(log, "forbidden") {
		t.Error("what was judged is in the log")
	}
}
