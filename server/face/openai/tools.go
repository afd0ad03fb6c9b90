package openai

import (
	"encoding/json"
	"fmt"
	"regexp"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/face"
)

// chatTool is a function that the model may call.
type chatTool struct {
	Type     string `json:"type"`
	Function struct {
		Name        string          `json:"name"`
		Description string          `json:"description"`
		Parameters  json.RawMessage `json:"parameters"`
		Strict      *bool           `json:"strict"`
	} `json:"function"`
}

type chatToolCall struct {
	ID       string `json:"id"`
	Type     string `json:"type"`
	Function struct {
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
	} `json:"function"`
}

type chatFormat struct {
	Type       string `json:"type"`
	JSONSchema *struct {
		Name        string          `json:"name"`
		Description string          `json:"description"`
		Schema      json.RawMessage `json:"schema"`
		Strict      *bool           `json:"strict"`
	} `json:"json_schema"`
}

// The bounds of weir.v1.
const (
	maxTools       = 256
	maxDescription = 65536
	maxSchema      = 256 << 10
	maxCallID      = 128
)

var toolName = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,128}$`)

func (in *chatRequest) tools(out *backend.Request) error {
	if len(in.Tools) > maxTools {
		return face.Invalid("tools", "%d tools are too many: send at most %d", len(in.Tools), maxTools)
	}
	for i, t := range in.Tools {
		at := fmt.Sprintf("tools[%d]", i)
		switch {
		case t.Type != "function":
			return unsupported(at+".type", "tools are functions of the caller: send type function, or leave it out")
		case !toolName.MatchString(t.Function.Name):
			return face.Invalid(at+".function.name", "must have from 1 to 128 letters, digits, and _.:- signs")
		case len(t.Function.Description) > maxDescription:
			return face.Invalid(at+".function.description", "must have at most %d bytes", maxDescription)
		case len(t.Function.Parameters) > maxSchema:
			return face.Invalid(at+".function.parameters", "must have at most %d bytes", maxSchema)
		}
		tool := backend.Tool{Name: t.Function.Name, Description: t.Function.Description, Strict: t.Function.Strict}
		if says(t.Function.Parameters) {
			tool.Parameters = t.Function.Parameters
		}
		out.Tools = append(out.Tools, tool)
	}
	if err := in.choice(out); err != nil {
		return err
	}
	out.ParallelCalls = in.ParallelToolCalls
	return in.format(out)
}

// choice is a word, or the name of a function.
func (in *chatRequest) choice(out *backend.Request) error {
	if !says(in.ToolChoice) {
		return nil
	}
	var word string
	if json.Unmarshal(in.ToolChoice, &word) == nil {
		switch mode := backend.ToolMode(word); mode {
		case backend.ToolAuto, backend.ToolNone, backend.ToolRequired:
			out.Choice = &backend.ToolChoice{Mode: mode}
			return nil
		}
	}
	var named struct {
		Type     string
		Function struct{ Name string }
	}
	if json.Unmarshal(in.ToolChoice, &named) != nil || named.Type != "function" || named.Function.Name == "" {
		return face.Invalid("tool_choice", "must be none, auto, required, or an object that names a function")
	}
	out.Choice = &backend.ToolChoice{Mode: backend.ToolNamed, Tool: named.Function.Name}
	return nil
}

func (in *chatRequest) format(out *backend.Request) error {
	f := in.ResponseFormat
	switch {
	case f == nil || f.Type == "text":
		return nil
	case f.Type == "json_object":
		out.Format = &backend.Format{}
		return nil
	case f.Type != "json_schema":
		return unsupported("response_format.type", "must be text, json_object or json_schema")
	case f.JSONSchema == nil || !says(f.JSONSchema.Schema):
		return face.Invalid("response_format.json_schema.schema", "missing: send the schema that the answer keeps to")
	case len(f.JSONSchema.Schema) > maxSchema:
		return face.Invalid("response_format.json_schema.schema", "must have at most %d bytes", maxSchema)
	}
	s := f.JSONSchema
	out.Format = &backend.Format{Schema: s.Schema, Name: s.Name, Description: s.Description, Strict: s.Strict}
	return nil
}

// calls are those that an assistant made earlier.
func (m *chatMessage) calls(at string) ([]backend.Part, error) {
	var out []backend.Part
	for i, c := range m.ToolCalls {
		at := fmt.Sprintf("%s.tool_calls[%d]", at, i)
		switch {
		case c.Type != "" && c.Type != "function":
			return nil, unsupported(at+".type", "must be function")
		case c.ID == "" || len(c.ID) > maxCallID:
			return nil, face.Invalid(at+".id", "must have from 1 to %d bytes", maxCallID)
		case !toolName.MatchString(c.Function.Name):
			return nil, face.Invalid(at+".function.name", "must have from 1 to 128 letters, digits, and _.:- signs")
		}
		out = append(out, backend.Part{Channel: backend.Arguments, Text: c.Function.Arguments, CallID: c.ID, Tool: c.Function.Name})
	}
	return out, nil
}

// result is what a tool answered.
func (m *chatMessage) result(at string) (backend.Message, error) {
	out := backend.Message{Role: backend.ToolRole}
	if m.ToolCallID == "" || len(m.ToolCallID) > maxCallID {
		return out, face.Invalid(at+".tool_call_id", "must have from 1 to %d bytes: say which call this answers", maxCallID)
	}
	parts, err := m.content(at+".content", backend.ToolRole)
	if err != nil {
		return out, err
	}
	text := backend.Message{Parts: parts}.Text()
	out.Parts = []backend.Part{{Channel: backend.Result, Text: text, CallID: m.ToolCallID, Tool: m.Name}}
	return out, nil
}
