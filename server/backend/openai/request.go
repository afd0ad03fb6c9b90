package openai

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/httpstream"
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
	Tools               []wireTool    `json:"tools,omitempty"`
	ToolChoice          any           `json:"tool_choice,omitempty"`
	ParallelToolCalls   *bool         `json:"parallel_tool_calls,omitempty"`
	ResponseFormat      *wireFormat   `json:"response_format,omitempty"`
	Logprobs            bool          `json:"logprobs,omitempty"`
	TopLogprobs         int           `json:"top_logprobs,omitempty"`
	PromptCacheKey      string        `json:"prompt_cache_key,omitempty"`
	Modalities          []string      `json:"modalities,omitempty"`
	Audio               *wireSpeech   `json:"audio,omitempty"`
	ServiceTier         string        `json:"service_tier,omitempty"`
	reasoning
}

type streamOptions struct {
	IncludeUsage bool `json:"include_usage"`
}

type wireMessage struct {
	Role       backend.Role `json:"role"`
	Content    any          `json:"content"` // a text, parts, or null
	Name       string       `json:"name,omitempty"`
	Refusal    string       `json:"refusal,omitempty"`
	Thoughts   *string      `json:"reasoning_content,omitempty"`
	Reasoning  *string      `json:"reasoning,omitempty"` // the newer name of it
	ToolCalls  []wireCall   `json:"tool_calls,omitempty"`
	ToolCallID string       `json:"tool_call_id,omitempty"`
}

type wireCall struct {
	ID       string       `json:"id"`
	Type     string       `json:"type"`
	Function wireFunction `json:"function"`
}

type wireFunction struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

type wireTool struct {
	Type     string      `json:"type"`
	Function wireToolDef `json:"function"`
}

type wireToolDef struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Parameters  json.RawMessage `json:"parameters,omitempty"`
	Strict      *bool           `json:"strict,omitempty"`
}

type wireFormat struct {
	Type       string      `json:"type"`
	JSONSchema *wireSchema `json:"json_schema,omitempty"`
}

type wireSchema struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Schema      json.RawMessage `json:"schema"`
	Strict      *bool           `json:"strict,omitempty"`
}

func encodeRequest(req *backend.Request, d *dialect) ([]byte, error) {
	w := wireRequest{
		Model:            req.Model,
		Stream:           true,
		StreamOptions:    streamOptions{IncludeUsage: true},
		Temperature:      req.Temperature,
		TopP:             req.TopP,
		FrequencyPenalty: req.FrequencyPenalty,
		PresencePenalty:  req.PresencePenalty,
		Stop:             req.Stop,
		ResponseFormat:   encodeFormat(req.Format),
		Modalities:       modalities(req.Modalities),
		Audio:            speech(req),
		reasoning:        d.asks(req.Reasoning),
	}
	if !d.NoCacheKey {
		w.PromptCacheKey = req.CacheKey
	}
	if slices.Contains(d.Classes, req.ServiceClass) {
		w.ServiceTier = tierOf(req.ServiceClass)
	}
	if req.Logprobs != nil {
		w.Logprobs, w.TopLogprobs = true, *req.Logprobs
	}
	for _, m := range req.Messages {
		w.Messages = append(w.Messages, encodeMessage(m, d)...)
	}
	if d.MaxCompletionTokens {
		w.MaxCompletionTokens = req.MaxOutputTokens
	} else {
		w.MaxTokens = req.MaxOutputTokens
	}
	if d.TopK {
		w.TopK = req.TopK
	}
	if !d.NoSeed {
		w.Seed = req.Seed
	}
	if req.Candidates > 1 {
		w.N = req.Candidates
	}
	encodeTools(&w, req, d)
	return httpstream.EncodeWith(w, req.Vendor[vendor], reserved)
}

// encodeTools writes the tools that a model may call, and which of them it must.
// Without tools servers refuse a choice.
func encodeTools(w *wireRequest, req *backend.Request, d *dialect) {
	choice := req.Choice
	if d.NoChoice && choice != nil && choice.Mode == backend.ToolNone {
		return
	}
	alone := d.NamedAlone && choice != nil && choice.Mode == backend.ToolNamed
	for _, t := range req.Tools {
		if !alone || t.Name == choice.Tool {
			w.Tools = append(w.Tools, wireTool{"function", wireToolDef{t.Name, t.Description, t.Parameters, t.Strict}})
		}
	}
	if len(w.Tools) == 0 {
		return
	}
	if alone {
		choice = &backend.ToolChoice{Mode: backend.ToolRequired}
	}
	if !d.NoChoice {
		w.ToolChoice = encodeChoice(choice)
	}
	if !d.NoParallelCalls {
		w.ParallelToolCalls = req.ParallelCalls
	}
}

func encodeChoice(c *backend.ToolChoice) any {
	switch {
	case c == nil:
		return nil
	case c.Mode == backend.ToolNamed:
		return map[string]any{"type": "function", "function": map[string]string{"name": c.Tool}}
	}
	return c.Mode // the words are the same
}

func encodeFormat(f *backend.Format) *wireFormat {
	switch {
	case f == nil:
		return nil
	case f.Schema == nil:
		return &wireFormat{Type: "json_object"}
	}
	schema := wireSchema{Name: f.Name, Description: f.Description, Schema: f.Schema, Strict: f.Strict}
	if schema.Name == "" {
		schema.Name = "answer" // the API wants one
	}
	return &wireFormat{Type: "json_schema", JSONSchema: &schema}
}

// encodeMessage leaves out reasoning, but for a dialect that wants it: the API has
// no field for it in a request, and some servers refuse one. Several results are
// as many messages.
func encodeMessage(m backend.Message, d *dialect) (all []wireMessage) {
	if m.Role == backend.ToolRole {
		for _, p := range m.Parts {
			if n := len(all); n > 0 && all[n-1].ToolCallID == p.CallID { // parts of one result
				all[n-1].Content = all[n-1].Content.(string) + p.Text
				continue
			}
			all = append(all, wireMessage{Role: m.Role, Content: p.Text, ToolCallID: p.CallID})
		}
		return all
	}
	text := m.Text()
	w := wireMessage{Role: m.Role, Content: text, Name: m.Name}
	if parts := encodeParts(m.Parts, d); parts != nil {
		w.Content = parts
	}
	if m.Role == backend.Developer && !d.DeveloperRole {
		w.Role = backend.System
	}
	if m.Role == backend.Assistant {
		var refusal, reasoning strings.Builder
		for _, p := range m.Parts {
			switch p.Channel {
			case backend.Refusal:
				refusal.WriteString(p.Text)
			case backend.Reasoning:
				reasoning.WriteString(p.Text)
			case backend.Arguments:
				w.ToolCalls = append(w.ToolCalls, wireCall{p.CallID, "function", wireFunction{p.Tool, p.Text}})
			}
		}
		w.Refusal = refusal.String()
		w.thought(reasoning.String(), d)
		if text == "" && len(w.ToolCalls) > 0 {
			w.Content = nil
		}
	}
	return []wireMessage{w}
}

// thought puts what a turn that called tools reasoned into it, as the dialect has
// it.
func (w *wireMessage) thought(text string, d *dialect) {
	if len(w.ToolCalls) == 0 || text == "" && !d.EmptyReasoning {
		return
	}
	switch d.SendsReasoning {
	case "reasoning_content":
		w.Thoughts = &text
	case "reasoning":
		w.Reasoning = &text
	}
}
