package openai

import (
	"encoding/json"
	"math"

	"github.com/weir-gateway/weir/accounting"
)

// A tally is what a server says was used.
type tally struct {
	Prompt     count `json:"prompt_tokens"`
	Completion count `json:"completion_tokens"`
	Total      count `json:"total_tokens"`
	OfPrompt   struct {
		Cached count `json:"cached_tokens"`
	} `json:"prompt_tokens_details"`
	OfCompletion struct {
		Reasoning count `json:"reasoning_tokens"`
	} `json:"completion_tokens_details"`
}

// A count is a number of tokens, or unknown. What is no such number, or none
// that could be, is unknown: a wrong figure must not fail an answer.
type count struct {
	n     int64
	known bool
}

// maxCount is far above what a call can use; sums of counts below it are exact.
const maxCount = 1 << 50

// UnmarshalJSON never fails.
func (c *count) UnmarshalJSON(data []byte) error {
	*c = count{}
	var f float64
	if data[0] == 'n' || json.Unmarshal(data, &f) != nil {
		return nil
	}
	if f >= 0 && f <= maxCount && f == math.Trunc(f) {
		*c = count{int64(f), true}
	}
	return nil
}

// parseUsage reads a usage object and tells whether it is one.
func parseUsage(raw json.RawMessage) (tally, bool) {
	var t tally
	err := json.Unmarshal(raw, &t)
	if _, wrongType := err.(*json.UnmarshalTypeError); wrongType {
		err = nil // of a detail: what could be read counts
	}
	return t, err == nil && (t.Prompt.known || t.Completion.known)
}

// meters turns the totals into disjoint meters whose sums they are.
func (t tally) meters() accounting.Usage {
	var u accounting.Usage
	if t.Prompt.known {
		input := t.Prompt.n
		if cached := t.OfPrompt.Cached; cached.known && cached.n <= input {
			u.Set(accounting.CacheRead, cached.n)
			input -= cached.n
		}
		u.Set(accounting.Input, input)
	}
	if t.Completion.known {
		output, reasoning := t.Completion.n, t.OfCompletion.Reasoning
		surplus := t.Total.n - t.Prompt.n - output
		switch {
		case t.Prompt.known && t.Total.known && surplus > 0 && (!reasoning.known || reasoning.n == 0 || reasoning.n == surplus):
			// xAI and Gemini leave reasoning out of completion_tokens.
			u.Set(accounting.Reasoning, surplus)
		case reasoning.known && reasoning.n <= output:
			u.Set(accounting.Reasoning, reasoning.n)
			output -= reasoning.n
		}
		u.Set(accounting.Output, output)
	}
	return u
}
