package anthropic

import (
	"encoding/json"
	"slices"
	"strings"

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
}

type wireMessage struct {
	Role    string `json:"role"`
	Content []any  `json:"content"`
}

type textBlock struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

type useBlock struct {
	Type  string          `json:"type"`
	ID    string          `json:"id"`
	Name  string          `json:"name"`
	Input json.RawMessage `json:"input"`
}

type resultBlock struct {
	Type      string `json:"type"`
	ToolUseID string `json:"tool_use_id"`
	Content   string `json:"content"`
	IsError   bool   `json:"is_error,omitempty"`
}

type wireTool struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	InputSchema json.RawMessage `json:"input_schema"`
	Strict      *bool           `json:"strict,omitempty"`
}

type wireChoice struct {
	Type                   string `json:"type"`
	Name                   string `json:"name,omitempty"`
	DisableParallelToolUse bool   `json:"disable_parallel_tool_use,omitempty"`
}

type outputConfig struct {
	Format wireFormat `json:"format"`
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
	for _, m := range req.Messages {
		w.add(m)
	}
	if len(req.Tools) > 0 { // without tools the API refuses a choice
		for _, t := range req.Tools {
			tool := wireTool{t.Name, t.Description, t.Parameters, t.Strict}
			if tool.InputSchema == nil {
				tool.InputSchema = json.RawMessage(`{"type":"object"}`)
			}
			w.Tools = append(w.Tools, tool)
		}
		w.ToolChoice = choice(req)
	}
	if f := req.Format; f != nil && f.Schema != nil {
		w.OutputConfig = &outputConfig{wireFormat{"json_schema", f.Schema}}
	}
	return httpstream.Encode(w)
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
		if text := m.Text(); strings.TrimSpace(text) != "" {
			w.System = append(w.System, textBlock{"text", text})
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

// blocksOf leaves out text that is blank, which the API refuses, and reasoning,
// which it takes with a signature only.
func blocksOf(m backend.Message) (blocks []any) {
	text := func(s string) {
		if strings.TrimSpace(s) != "" {
			blocks = append(blocks, textBlock{"text", s})
		}
	}
	if m.Role != backend.Assistant && m.Role != backend.ToolRole {
		text(m.Text())
		return blocks
	}
	for _, p := range m.Parts {
		switch p.Channel {
		case backend.Content, backend.Refusal:
			text(p.Text)
		case backend.Arguments:
			blocks = append(blocks, useBlock{"tool_use", callID(p.CallID), p.Tool, input(p.Text)})
		case backend.Result:
			blocks = append(blocks, resultBlock{"tool_result", callID(p.CallID), p.Text, p.Failed})
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
