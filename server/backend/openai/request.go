package openai

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/weir-gateway/weir/server/backend"
)

type wireRequest struct {
	Model               string        `json:"model"`
	Messages            []wireMessage `json:"messages"`
	Stream              bool          `json:"stream"`
	StreamOptions       streamOptions `json:"stream_options"`
	Temperature         *float64      `json:"temperature,omitempty"`
	TopP                *float64      `json:"top_p,omitempty"`
	TopK                *int          `json:"top_k,omitempty"`
	FrequencyPenalty    *float64      `json:"frequency_penalty,omitempty"`
	PresencePenalty     *float64      `json:"presence_penalty,omitempty"`
	MaxTokens           *int          `json:"max_tokens,omitempty"`
	MaxCompletionTokens *int          `json:"max_completion_tokens,omitempty"`
	Stop                []string      `json:"stop,omitempty"`
	Seed                *int64        `json:"seed,omitempty"`
	N                   int           `json:"n,omitempty"`
}

type streamOptions struct {
	IncludeUsage bool `json:"include_usage"`
}

type wireMessage struct {
	Role    backend.Role `json:"role"`
	Content string       `json:"content"`
	Name    string       `json:"name,omitempty"`
	Refusal string       `json:"refusal,omitempty"`
}

func encodeRequest(req *backend.Request, quirks Quirks) ([]byte, error) {
	w := wireRequest{
		Model:            req.Model,
		Messages:         make([]wireMessage, len(req.Messages)),
		Stream:           true,
		StreamOptions:    streamOptions{IncludeUsage: true},
		Temperature:      req.Temperature,
		TopP:             req.TopP,
		FrequencyPenalty: req.FrequencyPenalty,
		PresencePenalty:  req.PresencePenalty,
		Stop:             req.Stop,
	}
	for i, m := range req.Messages {
		w.Messages[i] = encodeMessage(m, quirks)
	}
	if quirks.MaxCompletionTokens {
		w.MaxCompletionTokens = req.MaxOutputTokens
	} else {
		w.MaxTokens = req.MaxOutputTokens
	}
	if quirks.TopK {
		w.TopK = req.TopK
	}
	if !quirks.NoSeed {
		w.Seed = req.Seed
	}
	if req.Candidates > 1 {
		w.N = req.Candidates
	}
	var body bytes.Buffer
	e := json.NewEncoder(&body)
	e.SetEscapeHTML(false)
	err := e.Encode(w)
	return body.Bytes(), err
}

// encodeMessage leaves out reasoning: the API has no field for it in a
// request, and some servers refuse one.
func encodeMessage(m backend.Message, quirks Quirks) wireMessage {
	w := wireMessage{Role: m.Role, Content: m.Text(), Name: m.Name}
	if m.Role == backend.Developer && !quirks.DeveloperRole {
		w.Role = backend.System
	}
	if m.Role == backend.Assistant {
		var refusal strings.Builder
		for _, p := range m.Parts {
			if p.Channel == backend.Refusal {
				refusal.WriteString(p.Text)
			}
		}
		w.Refusal = refusal.String()
	}
	return w
}
