package openai

import (
	"encoding/json"
	"math"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/httpstream"
)

type wireLogprobs struct {
	Content []wireLogprob `json:"content"`
	Refusal []wireLogprob `json:"refusal"`
}

// wireLogprob is a token. Its bytes are numbers, and null where the server does
// not tell them.
type wireLogprob struct {
	Token       string        `json:"token"`
	Logprob     float64       `json:"logprob"`
	Bytes       []uint16      `json:"bytes"`
	TopLogprobs []wireLogprob `json:"top_logprobs"`
}

// logprobs keeps those of a chunk until text comes that they belong to. What
// cannot be read is as if it had not come: it is no part of the answer's text.
func (a *candidate) logprobs(raw json.RawMessage) {
	if !httpstream.Present(raw) {
		return
	}
	var w wireLogprobs
	if json.Unmarshal(raw, &w) != nil {
		return
	}
	a.contentProbs = neutralLogprobs(a.contentProbs, w.Content)
	a.refusalProbs = neutralLogprobs(a.refusalProbs, w.Refusal)
}

// take returns what belongs to a text of a channel, once.
func (a *candidate) take(channel backend.Channel) (all []backend.Logprob) {
	switch channel {
	case backend.Content:
		all, a.contentProbs = a.contentProbs, nil
	case backend.Refusal:
		all, a.refusalProbs = a.refusalProbs, nil
	}
	return all
}

func neutralLogprobs(to []backend.Logprob, from []wireLogprob) []backend.Logprob {
	for _, l := range from {
		out := backend.Logprob{Token: l.Token, Logprob: l.Logprob, Alternatives: neutralLogprobs(nil, l.TopLogprobs)}
		bytes := make([]byte, 0, len(l.Bytes))
		for _, b := range l.Bytes {
			if b <= math.MaxUint8 {
				bytes = append(bytes, byte(b))
			}
		}
		if l.Bytes != nil && string(bytes) != l.Token {
			out.Bytes = bytes
		}
		to = append(to, out)
	}
	return to
}
