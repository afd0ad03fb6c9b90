package gateway_test

import (
	"context"
	"testing"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/route"
)

// What a vendor says beside its answer passes where no rule would change it,
// whole or not at all.
func TestExtrasThatNoGuardHasSeenDoNotPass(t *testing.T) {
	const block = "kind: Policy\nname: own\ntenant: acme\nsafety: {output: [{guard: lexicon, terms: [zorblatt, '4711'], action: block}]}\n"
	const flag = "kind: Policy\nname: own\ntenant: acme\nsafety: {output: [{guard: lexicon, terms: [zorblatt], action: flag}]}\n"
	for _, c := range []struct {
		name, policy, object string
		passes               bool
	}{
		{"no rules", "", `{"a": "zorblatt"}`, true},
		{"a rule that changes nothing", flag, `{"a": "zorblatt"}`, true},
		{"clean", block, `{"a": ["zorb", "latt", 471.1, true, null]}`, true},
		{"a value", block, `{"a": [{"b": "a zorblatt"}]}`, false},
		{"a value with escapes", block, `{"a": "zorb\u006catt"}`, false},
		{"a name", block, `{"zorblatt": 1}`, false},
		{"a number", block, `{"a": 4711}`, false},
		{"redacted", redacting, `{"a": "x", "b": "zorblatt"}`, false},
		{"no JSON", block, `{"a": `, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			extras := backend.VendorExtras{"openai": []byte(c.object)}
			said, answer := newHouse(t, c.policy).recite(newCall("hi"),
				backend.Event{Kind: backend.Delta, Channel: backend.Content, Text: "yes"},
				backend.Event{Kind: backend.Finished, Finish: backend.FinishStop},
				backend.Event{Kind: backend.Beside, Extras: extras})
			if said.Content != "yes" || (answer.Extras != nil) != c.passes {
				t.Errorf("%q with extras %s, want them: %v", said.Content, answer.Extras, c.passes)
			}
		})
	}
}

// Nobody has asked a judge about them.
func TestExtrasDoNotPassWhereAJudgeHolds(t *testing.T) {
	for action, passes := range map[string]bool{"block": false, "flag": true} {
		h := newJudged(t, remotePolicy("output", "{guard: remote, kind: guard_model, model: llama-guard, action: "+action+"}"))
		judges, _ := h.House.Router().Plan("llama-guard")
		router, err := route.New([]route.Model{*judges, {Name: "sim", MaxOutputTokens: 100, Targets: []route.Target{{Name: "b", Model: "sim", Backend: recites{[]backend.Event{
			{Kind: backend.Delta, Channel: backend.Content, Text: "yes"},
			{Kind: backend.Finished, Finish: backend.FinishStop},
			{Kind: backend.Beside, Extras: backend.VendorExtras{"openai": []byte(`{"a": "b"}`)}},
		}}}}}})
		if err != nil {
			t.Fatal(err)
		}
		h.House.Router = func() *route.Router { return router }
		text, answer, err := h.ask(context.Background(), newCall("hi"))
		if err != nil || text != "yes" || (answer.Extras != nil) != passes {
			t.Errorf("%s: %q with extras %s, %v", action, text, answer.Extras, err)
		}
	}
}
