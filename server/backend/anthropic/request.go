package anthropic

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/httpstream"
)

// defaultMaxTokens is sent where neither the request nor the configuration sets
// a bound: the API wants one. A gateway always sets it.
const defaultMaxTokens = 4096

type wireRequest struct {
	Model         string        `json:"model"`
	MaxTokens     int           `json:"max_tokens"`
	System        []textBlock   `json:"system,omitempty"`
	Messages      []wireMessage `json:"messages"`
	Stream        bool          `json:"stream"`
	Temperature   *float64      `json:"temperature,omitempty"`
	TopP          *float64      `json:"top_p,omitempty"`
	TopK          *int          `json:"top_k,omitempty"`
	StopSequences []string      `json:"stop_sequences,omitempty"`
	Tools         []wireTool    `json:"tools,omitempty"`
	ToolChoice    *wireChoice   `json:"tool_choice,omitempty"`
	OutputConfig  *outputConfig `json:"output_config,omitempty"`
	Thinking      *thinking     `json:"thinking,omitempty"`
	ServiceTier   string        `json:"service_tier,omitempty"`
}

type wireMessage struct {
	Role    string `json:"role"`
	Content []any  `json:"content"`
}

type textBlock struct {
	Type  string      `json:"type"`
	Text  string      `json:"text"`
	Cache *cacheBlock `json:"cache_control,omitempty"`
}

type useBlock struct {
	Type  string          `json:"type"`
	ID    string          `json:"id"`
	Name  string          `json:"name"`
	Input json.RawMessage `json:"input"`
	Cache *cacheBlock     `json:"cache_control,omitempty"`
}

type resultBlock struct {
	Type      string      `json:"type"`
	ToolUseID string      `json:"tool_use_id"`
	Content   any         `json:"content"` // a text, or blocks
	IsError   bool        `json:"is_error,omitempty"`
	Cache     *cacheBlock `json:"cache_control,omitempty"`
}

type wireTool struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	InputSchema json.RawMessage `json:"input_schema"`
	Strict      *bool           `json:"strict,omitempty"`
	Cache       *cacheBlock     `json:"cache_control,omitempty"`
}

type wireChoice struct {
	Type                   string `json:"type"`
	Name                   string `json:"name,omitempty"`
	DisableParallelToolUse bool   `json:"disable_parallel_tool_use,omitempty"`
}

type outputConfig struct {
	Effort string      `json:"effort,omitempty"`
	Format *wireFormat `json:"format,omitempty"`
}

type wireFormat struct {
	Type   string          `json:"type"`
	Schema json.RawMessage `json:"schema"`
}

func (b *Backend) encode(req *backend.Request) ([]byte, error) {
	w := wireRequest{
		Model:         req.Model,
		MaxTokens:     defaultMaxTokens,
		Messages:      []wireMessage{},
		Stream:        true,
		Temperature:   req.Temperature,
		TopP:          req.TopP,
		TopK:          req.TopK,
		StopSequences: req.Stop,
	}
	if b.config.MaxOutputTokens > 0 {
		w.MaxTokens = b.config.MaxOutputTokens
	}
	if req.MaxOutputTokens != nil {
		w.MaxTokens = *req.MaxOutputTokens
	}
	if req.ServiceClass == accounting.ServiceStandard {
		w.ServiceTier = "standard_only" // without it, capacity that was bought ahead serves where there is some
	}
	for _, m := range req.Messages {
		w.add(m)
	}
	if len(req.Tools) > 0 { // without tools the API refuses a choice
		for _, t := range req.Tools {
			tool := wireTool{t.Name, t.Description, t.Parameters, t.Strict, cache(t.Cache)}
			if tool.InputSchema == nil {
				tool.InputSchema = json.RawMessage(`{"type":"object"}`)
			}
			w.Tools = append(w.Tools, tool)
		}
		w.ToolChoice = choice(req)
	}
	var out outputConfig
	if f := req.Format; f != nil && f.Schema != nil {
		out.Format = &wireFormat{"json_schema", f.Schema}
	}
	var err error
	if w.Thinking, out.Effort, err = think(req, w.MaxTokens); err != nil {
		return nil, err
	}
	if out != (outputConfig{}) {
		w.OutputConfig = &out
	}
	return httpstream.EncodeWith(w, req.Vendor["anthropic"], reserved)
}

func choice(req *backend.Request) *wireChoice {
	single := req.ParallelCalls != nil && !*req.ParallelCalls
	if req.Choice == nil && !single {
		return nil
	}
	c := &wireChoice{Type: "auto", DisableParallelToolUse: single}
	if req.Choice == nil {
		return c
	}
	switch req.Choice.Mode {
	case backend.ToolNone:
		return &wireChoice{Type: "none"}
	case backend.ToolRequired:
		c.Type = "any"
	case backend.ToolNamed:
		c.Type, c.Name = "tool", req.Choice.Tool
	}
	return c
}

// add appends a message. Turns of one role that follow each other are one: the
// API wants the results of all calls of a turn in the very next one, and before
// anything else in it.
func (w *wireRequest) add(m backend.Message) {
	role := "user"
	switch m.Role {
	case backend.System, backend.Developer:
		for _, b := range contentOf(m.Parts) {
			if text, is := b.(textBlock); is {
				w.System = append(w.System, text)
			}
		}
		return
	case backend.Assistant:
		role = "assistant"
	}
	blocks := blocksOf(m)
	if len(blocks) == 0 {
		return
	}
	if last := len(w.Messages) - 1; last >= 0 && w.Messages[last].Role == role {
		w.Messages[last].Content = append(w.Messages[last].Content, blocks...)
		return
	}
	w.Messages = append(w.Messages, wireMessage{role, blocks})
}

// blocksOf leaves out text that is blank, which the API refuses, and reasoning
// that has no signature of its own.
func blocksOf(m backend.Message) (blocks []any) {
	if m.Role != backend.Assistant && m.Role != backend.ToolRole {
		return contentOf(m.Parts)
	}
	for i, p := range m.Parts {
		switch p.Channel {
		case backend.Content, backend.Refusal:
			blocks = append(blocks, contentOf(m.Parts[i:i+1])...)
		case backend.Reasoning:
			if b := thinkingOf(p); b != nil {
				blocks = append(blocks, b)
			}
		case backend.Arguments:
			blocks = append(blocks, useBlock{"tool_use", callID(p.CallID), p.Tool, input(p.Text), cache(p.Cache)})
		case backend.Result:
			if i > 0 && m.Parts[i-1].Channel == backend.Result && m.Parts[i-1].CallID == p.CallID {
				continue // one result with the one before
			}
			blocks = append(blocks, result(m.Parts[i:]))
		}
	}
	return blocks
}

// callID writes an id as the API takes it: calls of other vendors' models can
// have ids with other signs.
func callID(id string) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_' || r == '-' {
			return r
		}
		return '_'
	}, id)
}

// input is what a tool was given, which must be an object here. A model can have
// written something else; then it is told what that was.
func input(arguments string) json.RawMessage {
	if strings.TrimSpace(arguments) == "" {
		return json.RawMessage("{}")
	}
	var object map[string]json.RawMessage
	if json.Unmarshal([]byte(arguments), &object) == nil && object != nil {
		return slices.Clone(json.RawMessage(arguments))
	}
	said, _ := json.Marshal(map[string]string{"arguments": arguments}) // strings always can be
	return said
}
