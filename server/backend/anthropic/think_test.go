package anthropic_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/anthropic"
)

// How each generation of models is told to think, by its name, as its
// documentation has it (see mindOf).
func TestHowAModelIsToldToThink(t *testing.T) {
	type wish = backend.ReasoningWish
	const summarized = `"thinking":{"type":"adaptive","display":"summarized"}`
	force := &backend.ToolChoice{Mode: backend.ToolRequired}
	for _, c := range []struct {
		models string
		wish   wish
		choice *backend.ToolChoice
		want   string // of the body; empty where neither thinking nor effort is said
	}{
		{"claude-3-7-sonnet-20250219 claude-sonnet-4-20250514 claude-opus-4-5 claude-haiku-4-5-20251001 claude-2.1 river", wish{Effort: backend.EffortHigh}, nil, `"thinking":{"type":"enabled","budget_tokens":3200}`},
		{"claude-opus-4-5", wish{Effort: backend.EffortHigh}, force, ""},
		{"claude-opus-4-5", wish{Effort: backend.EffortNone}, force, `"thinking":{"type":"disabled"}`},
		{"claude-opus-4-6 claude-sonnet-4-6", wish{Budget: 2000}, nil, `"thinking":{"type":"enabled","budget_tokens":2000}`},
		{"claude-opus-4-6 claude-sonnet-4-6 anthropic.claude-opus-4-6-v1 claude-opus-4-7 claude-opus-4-8@20260528 claude-sonnet-5 claude-opus-5 claude-fable-5-1 claude-haiku-5-5 claude-mythos-preview",
			wish{Effort: backend.EffortHigh}, nil, `"output_config":{"effort":"high"},` + summarized},
		{"claude-opus-4-7", wish{Effort: backend.EffortMinimal}, nil, `"output_config":{"effort":"low"},` + summarized},
		{"claude-opus-4-7", wish{Effort: backend.EffortMedium, Budget: 2000}, nil, `"output_config":{"effort":"medium"},` + summarized},
		{"claude-opus-4-7", wish{Effort: backend.EffortMax}, nil, `"output_config":{"effort":"max"},` + summarized},
		{"claude-opus-4-7 claude-opus-5", wish{Effort: backend.EffortLow}, force, `"output_config":{"effort":"low"}`},
		{"claude-opus-4-7 claude-opus-4-8", wish{Effort: backend.EffortNone}, nil, ""},
		{"claude-opus-5 claude-sonnet-5 claude-haiku-5-5", wish{Effort: backend.EffortNone}, nil, `"thinking":{"type":"disabled"}`},
		{"claude-opus-5-5 claude-fable-5 claude-mythos-preview", wish{Effort: backend.EffortNone}, nil, `"output_config":{"effort":"low"}`},
	} {
		for model := range strings.FieldsSeq(c.models) {
			body := ""
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got, _ := io.ReadAll(r.Body)
				body = string(got)
				w.WriteHeader(http.StatusServiceUnavailable)
			}))
			b, err := anthropic.New(anthropic.Config{Name: "x", URL: s.URL + "/v1"})
			if err != nil {
				t.Fatal(err)
			}
			most := 4000
			_, err = b.Generate(context.Background(), &backend.Request{Model: model, MaxOutputTokens: &most, Reasoning: &c.wish, Candidates: 1, Choice: c.choice,
				Tools:    []backend.Tool{{Name: "f"}},
				Messages: []backend.Message{{Role: backend.User, Parts: []backend.Part{{Channel: backend.Content, Text: "hi"}}}}})
			if backend.ClassOf(err) != backend.Overloaded || !strings.Contains(body, c.want) || c.want == "" && (strings.Contains(body, "thinking") || strings.Contains(body, "output_config")) {
				t.Errorf("%s, %+v: sent is %s (%v), want %s", model, c.wish, body, err, c.want)
			}
			b.Close()
			s.Close()
		}
	}
}

// What a model cannot be told is known before it is asked.
func TestWhatAModelTakes(t *testing.T) {
	b, err := anthropic.New(anthropic.Config{Name: "x", URL: "http://127.0.0.1:1/v1"})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for model, want := range map[string]struct{ budget, topK bool }{
		"claude-opus-4-5": {true, true}, "claude-sonnet-4-6": {true, true}, "claude-opus-4-7": {false, false}, "claude-opus-5": {false, false}, "river": {true, true},
	} {
		if can := b.Capabilities(model); can.ReasoningBudget != want.budget || can.TopK != want.topK || !can.Reasoning {
			t.Errorf("%s: %+v, want %+v", model, can, want)
		}
	}
	_, err = b.Generate(context.Background(), &backend.Request{Model: "claude-opus-5", Candidates: 1, Reasoning: &backend.ReasoningWish{Budget: 2000}})
	if backend.ClassOf(err) != backend.Rejected {
		t.Errorf("a budget for a model that takes none: %v", err)
	}
}

func TestHowMuchToThink(t *testing.T) {
	type wish = backend.ReasoningWish
	user := backend.Message{Role: backend.User, Parts: []backend.Part{{Channel: backend.Content, Text: "hi"}}}
	called := func(by string) []backend.Message {
		return []backend.Message{user, {Role: backend.Assistant, Parts: []backend.Part{
			{Channel: backend.Reasoning, Text: "hm", Signature: &backend.Signature{Signer: by, Data: "YQ=="}},
			{Channel: backend.Arguments, CallID: "c", Tool: "f", Text: "{}"},
		}}, {Role: backend.ToolRole, Parts: []backend.Part{{Channel: backend.Result, CallID: "c", Text: "1"}}}}
	}
	for name, c := range map[string]struct {
		wish     *wish
		most     int
		messages []backend.Message
		want     string // empty where it is not said
		refused  bool
	}{
		"its own default":         {nil, 4000, nil, "", false},
		"not at all":              {&wish{Effort: backend.EffortNone}, 4000, nil, `{"type":"disabled"}`, false},
		"a share":                 {&wish{Effort: backend.EffortHigh}, 4000, nil, `{"type":"enabled","budget_tokens":3200}`, false},
		"the least":               {&wish{Effort: backend.EffortMinimal}, 4000, nil, `{"type":"enabled","budget_tokens":1024}`, false},
		"less than all":           {&wish{Effort: backend.EffortMinimal}, 1025, nil, `{"type":"enabled","budget_tokens":1024}`, false},
		"no room":                 {&wish{Effort: backend.EffortHigh}, 1024, nil, "", false},
		"a budget":                {&wish{Effort: backend.EffortLow, Budget: 2000}, 4000, nil, `{"type":"enabled","budget_tokens":2000}`, false},
		"a budget without room":   {&wish{Budget: 4000}, 4000, nil, "", true},
		"a budget too small":      {&wish{Budget: 1023}, 4000, nil, "", true},
		"calls after thinking":    {&wish{Budget: 2000}, 4000, called("anthropic"), `{"type":"enabled","budget_tokens":2000}`, false},
		"calls after another's":   {&wish{Budget: 2000}, 4000, called("gemini"), "", false},
		"a turn before this turn": {&wish{Budget: 2000}, 4000, append(called("gemini"), user), `{"type":"enabled","budget_tokens":2000}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			var got struct{ Thinking json.RawMessage }
			sent := false
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				sent = json.Unmarshal(body, &got) == nil
				w.WriteHeader(http.StatusServiceUnavailable)
			}))
			defer s.Close()
			b, err := anthropic.New(anthropic.Config{Name: "x", URL: s.URL + "/v1"})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			if c.messages == nil {
				c.messages = []backend.Message{user}
			}
			_, err = b.Generate(context.Background(), &backend.Request{Model: "m", Messages: c.messages, MaxOutputTokens: &c.most, Reasoning: c.wish, Candidates: 1})
			if refused := backend.ClassOf(err) == backend.Rejected; refused != c.refused || refused == sent || string(got.Thinking) != c.want {
				t.Errorf("sent is %s (%v), want %s", got.Thinking, err, c.want)
			}
		})
	}
}
