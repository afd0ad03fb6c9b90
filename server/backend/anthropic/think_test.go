package anthropic_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/anthropic"
)

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
