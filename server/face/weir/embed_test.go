package weir

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
)

func TestEmbed(t *testing.T) {
	h := withRoles(t, `---
kind: Price
model: embed
currency: USD
effective: 2026-01-01
per_million: {input: 1}
`)
	client := weirv1.NewGenerationServiceClient(h.conn)
	embed := func(ctx context.Context, change func(*weirv1.EmbedRequest)) (*weirv1.EmbedResponse, error) {
		req := &weirv1.EmbedRequest{Model: "embed", Inputs: []string{"你好 world", "noted"}}
		if change != nil {
			change(req)
		}
		return client.Embed(ctx, req)
	}
	a, err := embed(h.as("member"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Embeddings) != 2 || a.Embeddings[1].Index != 1 || len(a.Embeddings[1].Values) != 8 || a.RequestId == "" || a.Target.Backend != "b0" ||
		a.Usage.GetInputTokens() != 6 || a.Usage.OutputTokens == nil || a.Usage.GetOutputTokens() != 0 || a.Cost.GetTotal().GetNanos() != 6000 {
		t.Errorf("answer is %v", a)
	}
	if len(a.Verdicts) != 1 || a.Verdicts[0].GetMessageIndex() != 1 || a.Verdicts[0].Action != weirv1.Action_ACTION_FLAG {
		t.Errorf("verdicts are %v", a.Verdicts)
	}
	d := int32(3)
	if a, err = embed(h.as("member"), func(r *weirv1.EmbedRequest) { r.Dimensions = &d }); err != nil || len(a.Embeddings[0].Values) != 3 {
		t.Errorf("%v %v", a, err)
	}

	h.rights("Embed", func(ctx context.Context) error { _, err := embed(ctx, nil); return err },
		map[string]string{"admin": fine, "member": fine, "viewer": no, "billing": no, "platform": no})
	zero := int32(0)
	for want, change := range map[string]func(*weirv1.EmbedRequest){
		"NotFound MODEL_NOT_FOUND":                                  func(r *weirv1.EmbedRequest) { r.Model = "none" },
		"FailedPrecondition INPUT_BLOCKED":                          func(r *weirv1.EmbedRequest) { r.Inputs[1] = "这是 违禁 的" },
		"InvalidArgument INVALID_REQUEST inputs=REPEATED_MIN_ITEMS": func(r *weirv1.EmbedRequest) { r.Inputs = nil },
		"InvalidArgument INVALID_REQUEST inputs[0]=STRING_MIN_LEN":  func(r *weirv1.EmbedRequest) { r.Inputs[0] = "" },
		"InvalidArgument INVALID_REQUEST dimensions=INT32_GTE_LTE":  func(r *weirv1.EmbedRequest) { r.Dimensions = &zero },
		"InvalidArgument INVALID_REQUEST context.max_cost=CONTEXT_MAX_COST": func(r *weirv1.EmbedRequest) {
			r.Context = &weirv1.RequestContext{MaxCost: &weirv1.Money{CurrencyCode: "USD", Units: -1}}
		},
		"ResourceExhausted BUDGET_EXHAUSTED": func(r *weirv1.EmbedRequest) {
			r.Context = &weirv1.RequestContext{MaxCost: &weirv1.Money{CurrencyCode: "USD", Nanos: 10}}
		},
	} {
		if _, err := embed(h.as("member"), change); failure(err) != want {
			t.Errorf("%s, want %s", failure(err), want)
		}
	}
	if _, err := embed(h.as("member"), func(r *weirv1.EmbedRequest) { r.Model = "sim" }); !strings.HasPrefix(failure(err), "InvalidArgument UNSUPPORTED_FEATURE model") {
		t.Errorf("a model that answers: %s", failure(err))
	}
	if _, err := embed(h.as("member"), func(r *weirv1.EmbedRequest) { r.Inputs = make([]string, 2049) }); !strings.Contains(failure(err), "inputs=REPEATED_MAX_ITEMS") {
		t.Errorf("too many texts: %s", failure(err))
	}
	m, err := weirv1.NewModelServiceClient(h.conn).GetModel(h.as("member"), &weirv1.GetModelRequest{Name: "models/embed"})
	if c := m.GetModel().GetTargets()[0].GetCapabilities(); err != nil || !c.Embeddings || c.MaxCandidates != 0 {
		t.Errorf("%v %v", m, err)
	}

	r, _ := http.NewRequest(http.MethodPost, h.web.URL+"/weir/v1/embed", strings.NewReader(`{"model": "embed", "inputs": ["你好"], "dimensions": 2}`))
	r.Header.Set("Authorization", "Bearer "+h.secrets["member"])
	w, err := h.web.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	if body, _ := io.ReadAll(w.Body); w.StatusCode != http.StatusOK || !strings.Contains(string(body), `"values":[`) {
		t.Errorf("REST: %d %s", w.StatusCode, body)
	}
}
