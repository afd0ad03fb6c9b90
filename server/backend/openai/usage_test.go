package openai

import (
	"encoding/json"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/accounting"
)

func metersOf(t interface{ Fatalf(string, ...any) }, raw string) accounting.Usage {
	u, ok := parseUsage(json.RawMessage(raw))
	if !ok {
		return accounting.Usage{}
	}
	m := u.meters()
	if err := m.Check(); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return m
}

// Whatever the details say, the meters sum to the totals.
func TestMetersSumToTheTotals(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.OneOf(rapid.Int64Range(-10, 50), rapid.Int64())
		prompt, completion := rapid.Int64Range(0, 1<<50).Draw(t, "prompt"), rapid.Int64Range(0, 1<<50).Draw(t, "completion")
		if rapid.Bool().Draw(t, "small") {
			prompt, completion = prompt%40, completion%40
		}
		cached, reasoning := n.Draw(t, "cached"), n.Draw(t, "reasoning")
		m := metersOf(t, fmt.Sprintf(`{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,"prompt_tokens_details":{"cached_tokens":%d},"completion_tokens_details":{"reasoning_tokens":%d}}`,
			prompt, completion, prompt+completion, cached, reasoning))
		input, _ := m.InputTokens()
		output, _ := m.OutputTokens()
		if input != prompt || output != completion {
			t.Fatalf("meters sum to %d and %d, the totals are %d and %d", input, output, prompt, completion)
		}
		got, known := m.Get(accounting.CacheRead)
		if valid := cached >= 0 && cached <= prompt; known != valid || known && got != cached {
			t.Fatalf("cached are %d (known: %v), the server says %d of %d", got, known, cached, prompt)
		}
		got, known = m.Get(accounting.Reasoning)
		if valid := reasoning >= 0 && reasoning <= completion; known != valid || known && got != reasoning {
			t.Fatalf("reasoning are %d (known: %v), the server says %d of %d", got, known, reasoning, completion)
		}
	})
}

func TestUsageShapes(t *testing.T) {
	for raw, want := range map[string]string{
		`{"prompt_tokens":10,"completion_tokens":4}`:                                                               `{"input":10,"output":4}`,
		`{"prompt_tokens":10,"completion_tokens":4,"prompt_tokens_details":null,"completion_tokens_details":null}`: `{"input":10,"output":4}`,
		`{"prompt_tokens":10,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":0}}`:                   `{"input":10,"cache_read":0,"output":4}`,
		`{"prompt_tokens":10,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":null}}`:                `{"input":10,"output":4}`,
		`{"prompt_tokens":10,"completion_tokens":4,"prompt_tokens_details":[],"completion_tokens_details":"x"}`:    `{"input":10,"output":4}`,
		`{"prompt_tokens":10,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":11}}`:                  `{"input":10,"output":4}`,
		`{"prompt_tokens":10.0,"completion_tokens":4e0}`:                                                           `{"input":10,"output":4}`,
		`{"prompt_tokens":"10","completion_tokens":4}`:                                                             `{"output":4}`,
		`{"prompt_tokens":-1,"completion_tokens":4}`:                                                               `{"output":4}`,
		`{"prompt_tokens":10.5,"completion_tokens":1e30}`:                                                          `{}`,
		`{"prompt_tokens":0,"completion_tokens":0}`:                                                                `{"input":0,"output":0}`,
		`{}`:   `{}`,
		`"x"`:  `{}`,
		`[]`:   `{}`,
		`true`: `{}`,
		// Reasoning beside completion_tokens, as xAI and Gemini have it.
		`{"prompt_tokens":10,"completion_tokens":4,"total_tokens":20,"completion_tokens_details":{"reasoning_tokens":6}}`: `{"input":10,"output":4,"reasoning":6}`,
		`{"prompt_tokens":10,"completion_tokens":4,"total_tokens":20}`:                                                    `{"input":10,"output":4,"reasoning":6}`,
		`{"prompt_tokens":10,"completion_tokens":4,"total_tokens":20,"completion_tokens_details":{"reasoning_tokens":3}}`: `{"input":10,"output":1,"reasoning":3}`,
		// Beside the details, as SGLang has it, which says 0 where it does not count.
		`{"prompt_tokens":10,"completion_tokens":4,"total_tokens":14,"prompt_tokens_details":null,"reasoning_tokens":3}`:                       `{"input":10,"output":1,"reasoning":3}`,
		`{"prompt_tokens":10,"completion_tokens":4,"total_tokens":14,"reasoning_tokens":0}`:                                                    `{"input":10,"output":4}`,
		`{"prompt_tokens":10,"completion_tokens":4,"total_tokens":14,"reasoning_tokens":5}`:                                                    `{"input":10,"output":4}`,
		`{"prompt_tokens":10,"completion_tokens":4,"total_tokens":14,"completion_tokens_details":{"reasoning_tokens":2},"reasoning_tokens":3}`: `{"input":10,"output":2,"reasoning":2}`,
		`{"prompt_tokens":10,"completion_tokens":4,"total_tokens":9}`:                                                                          `{"input":10,"output":4}`,
	} {
		got, err := json.Marshal(metersOf(t, raw))
		if err != nil || string(got) != want {
			t.Errorf("%s is %s, %v, want %s", raw, got, err, want)
		}
	}
}
