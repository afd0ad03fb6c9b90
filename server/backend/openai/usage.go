package openai

import (
	"encoding/json"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/server/backend/httpstream"
)

// A tally is what a server says was used.
type tally struct {
	Prompt     httpstream.Count `json:"prompt_tokens"`
	Completion httpstream.Count `json:"completion_tokens"`
	Total      httpstream.Count `json:"total_tokens"`
	OfPrompt   struct {
		Cached httpstream.Count `json:"cached_tokens"`
	} `json:"prompt_tokens_details"`
	// CacheHit is the same as Cached, where DeepSeek says it.
	CacheHit     httpstream.Count `json:"prompt_cache_hit_tokens"`
	OfCompletion struct {
		Reasoning httpstream.Count `json:"reasoning_tokens"`
	} `json:"completion_tokens_details"`
	// Reasoning is the same as that of OfCompletion, where SGLang says it: 0 also
	// where it has not counted.
	Reasoning httpstream.Count `json:"reasoning_tokens"`
}

// parseUsage reads a usage object and tells whether it is one.
func parseUsage(raw json.RawMessage) (tally, bool) {
	var t tally
	if t.plain(raw) {
		return t, t.Prompt.Known || t.Completion.Known
	}
	t = tally{}
	err := json.Unmarshal(raw, &t)
	if _, wrongType := err.(*json.UnmarshalTypeError); wrongType {
		err = nil // of a detail: what could be read counts
	}
	return t, err == nil && (t.Prompt.Known || t.Completion.Known)
}

// meters turns the totals into disjoint meters whose sums they are.
func (t tally) meters() accounting.Usage {
	var u accounting.Usage
	if t.Prompt.Known {
		input := t.Prompt.N
		cached := t.OfPrompt.Cached
		if !cached.Known {
			cached = t.CacheHit
		}
		if cached.Known && cached.N <= input {
			u.Set(accounting.CacheRead, cached.N)
			input -= cached.N
		}
		u.Set(accounting.Input, input)
	}
	if t.Completion.Known {
		output, reasoning := t.Completion.N, t.OfCompletion.Reasoning
		if !reasoning.Known && t.Reasoning.N > 0 {
			reasoning = t.Reasoning
		}
		surplus := t.Total.N - t.Prompt.N - output
		switch {
		case t.Prompt.Known && t.Total.Known && surplus > 0 && (!reasoning.Known || reasoning.N == 0 || reasoning.N == surplus):
			// xAI and Gemini leave reasoning out of completion_tokens.
			u.Set(accounting.Reasoning, surplus)
		case reasoning.Known && reasoning.N <= output:
			u.Set(accounting.Reasoning, reasoning.N)
			output -= reasoning.N
		}
		u.Set(accounting.Output, output)
	}
	return u
}
