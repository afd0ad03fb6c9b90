package weir

import (
	"math"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/backend"
)

var roles = map[backend.Role]weirv1.Role{
	backend.System:    weirv1.Role_ROLE_SYSTEM,
	backend.Developer: weirv1.Role_ROLE_DEVELOPER,
	backend.User:      weirv1.Role_ROLE_USER,
	backend.Assistant: weirv1.Role_ROLE_ASSISTANT,
	backend.ToolRole:  weirv1.Role_ROLE_TOOL,
}

var toolModes = map[backend.ToolMode]weirv1.ToolChoice_Mode{
	backend.ToolAuto:     weirv1.ToolChoice_MODE_AUTO,
	backend.ToolNone:     weirv1.ToolChoice_MODE_NONE,
	backend.ToolRequired: weirv1.ToolChoice_MODE_REQUIRED,
	backend.ToolNamed:    weirv1.ToolChoice_MODE_NAMED,
}

func encode(req *backend.Request) (*weirv1.GenerateRequest, error) {
	out := &weirv1.GenerateRequest{
		Model: req.Model,
		Config: &weirv1.GenerationConfig{
			Temperature: req.Temperature, TopP: req.TopP, TopK: narrow(req.TopK),
			FrequencyPenalty: req.FrequencyPenalty, PresencePenalty: req.PresencePenalty,
			MaxOutputTokens: narrow(req.MaxOutputTokens), StopSequences: req.Stop, Seed: req.Seed,
		},
	}
	if req.Candidates > 1 {
		out.Config.CandidateCount = narrow(&req.Candidates)
	}
	if f := req.Format; f != nil {
		// This Weir checks the answer itself, and streams it: the other need not.
		out.Config.ResponseFormat = &weirv1.ResponseFormat{JsonSchema: string(f.Schema), Name: f.Name, Description: f.Description, Strict: f.Strict}
	}
	if err := encodeExtras(req, out.Config); err != nil {
		return nil, err
	}
	for _, m := range req.Messages {
		message := &weirv1.Message{Role: roles[m.Role], Name: m.Name}
		for _, p := range m.Parts {
			if n := len(message.Parts); n > 0 && joins(message.Parts[n-1], p) {
				continue
			}
			message.Parts = append(message.Parts, encodePart(p))
		}
		if len(m.Parts) == 0 { // a message has at least one
			message.Parts = []*weirv1.Part{encodePart(backend.Part{Channel: backend.Content})}
		}
		out.Messages = append(out.Messages, message)
	}
	for _, t := range req.Tools {
		out.Tools = append(out.Tools, &weirv1.Tool{Name: t.Name, Description: t.Description, ParametersJsonSchema: string(t.Parameters), Strict: t.Strict, CacheHint: encodeCache(t.Cache)})
	}
	if len(req.Tools) > 0 && (req.Choice != nil || req.ParallelCalls != nil) {
		out.ToolChoice = &weirv1.ToolChoice{Mode: weirv1.ToolChoice_MODE_AUTO, Parallel: req.ParallelCalls}
		if c := req.Choice; c != nil {
			out.ToolChoice.Mode, out.ToolChoice.ToolName = toolModes[c.Mode], c.Tool
		}
	}
	return out, nil
}

func encodePart(p backend.Part) *weirv1.Part {
	out := encodeData(p)
	if s := p.Signature; s != nil {
		out.Signature = &weirv1.Signature{Signer: s.Signer, Data: s.Data, Hidden: s.Hidden}
	}
	out.CacheHint = encodeCache(p.Cache)
	return out
}

func encodeData(p backend.Part) *weirv1.Part {
	if p.Media != nil && p.Channel == backend.Content {
		return &weirv1.Part{Data: &weirv1.Part_Media{Media: encodeMedia(p.Media)}}
	}
	switch p.Channel {
	case backend.Reasoning:
		return &weirv1.Part{Data: &weirv1.Part_Reasoning{Reasoning: &weirv1.Reasoning{Text: p.Text}}}
	case backend.Refusal:
		return &weirv1.Part{Data: &weirv1.Part_Refusal{Refusal: &weirv1.Refusal{Text: p.Text}}}
	case backend.Arguments:
		return &weirv1.Part{Data: &weirv1.Part_ToolCall{ToolCall: &weirv1.ToolCall{Id: p.CallID, Name: p.Tool, ArgumentsJson: p.Text}}}
	case backend.Result:
		result := &weirv1.ToolResult{ToolCallId: p.CallID, Name: p.Tool, Text: p.Text, Failed: p.Failed}
		if p.Media != nil {
			result.Media = []*weirv1.Media{encodeMedia(p.Media)}
		}
		return &weirv1.Part{Data: &weirv1.Part_ToolResult{ToolResult: result}}
	}
	return &weirv1.Part{Data: &weirv1.Part_Text{Text: p.Text}}
}

// narrow is a number as the wire has it. One that does not fit is far beyond
// what any model does, and so is the nearest one that does.
func narrow(n *int) *int32 {
	if n == nil {
		return nil
	}
	fits := int32(min(max(*n, math.MinInt32), math.MaxInt32))
	return &fits
}
