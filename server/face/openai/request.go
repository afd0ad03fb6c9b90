package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/face"
	"github.com/weir-gateway/weir/server/gateway"
)

// chatRequest is what a body can hold that matters here. All else is ignored.
type chatRequest struct {
	Model               string        `json:"model"`
	Messages            []chatMessage `json:"messages"`
	MaxTokens           *int64        `json:"max_tokens"`
	MaxCompletionTokens *int64        `json:"max_completion_tokens"`
	Temperature         *float64      `json:"temperature"`
	TopP                *float64      `json:"top_p"`
	TopK                *int64        `json:"top_k"` // not OpenAI's own; vLLM and others take it
	FrequencyPenalty    *float64      `json:"frequency_penalty"`
	PresencePenalty     *float64      `json:"presence_penalty"`
	N                   *int64        `json:"n"`
	Seed                *int64        `json:"seed"`

	Stop          json.RawMessage `json:"stop"`
	Stream        bool            `json:"stream"`
	StreamOptions struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`

	User             string                     `json:"user"`
	SafetyIdentifier string                     `json:"safety_identifier"` // takes the place of user
	Metadata         map[string]json.RawMessage `json:"metadata"`

	Tools             []chatTool      `json:"tools"`
	ToolChoice        json.RawMessage `json:"tool_choice"`
	ParallelToolCalls *bool           `json:"parallel_tool_calls"`
	ResponseFormat    *chatFormat     `json:"response_format"`

	ReasoningEffort string `json:"reasoning_effort"`
	Logprobs        bool   `json:"logprobs"`
	TopLogprobs     *int64 `json:"top_logprobs"`
	PromptCacheKey  string `json:"prompt_cache_key"`
	ServiceTier     string `json:"service_tier"`

	Audio *speech `json:"audio"`
	// Modalities may ask for images too, as OpenRouter's API does.
	Modalities json.RawMessage `json:"modalities"`

	// VendorOptions are those of weir.v1: OpenAI has no such field.
	VendorOptions map[string]json.RawMessage `json:"vendor_options"`

	// What these ask for cannot be given.
	Functions        json.RawMessage `json:"functions"`
	FunctionCall     json.RawMessage `json:"function_call"`
	LogitBias        json.RawMessage `json:"logit_bias"`
	WebSearchOptions json.RawMessage `json:"web_search_options"`
}

type chatMessage struct {
	Role             string          `json:"role"`
	Name             string          `json:"name"`
	Content          json.RawMessage `json:"content"`
	Refusal          string          `json:"refusal"`
	ReasoningContent string          `json:"reasoning_content"`
	ReasoningDetails []detail        `json:"reasoning_details"`
	ToolCalls        []chatToolCall  `json:"tool_calls"`
	ToolCallID       string          `json:"tool_call_id"`
	FunctionCall     json.RawMessage `json:"function_call"`
	Audio            json.RawMessage `json:"audio"`
}

type chatPart struct {
	Type    string `json:"type"`
	Text    string `json:"text"`
	Refusal string `json:"refusal"`
	chatMedia
}

// chat is a request as it was understood.
type chat struct {
	model        string
	request      backend.Request
	about        face.About
	stream       bool
	includeUsage bool
	audio        string // the format of audio in the answer
}

// The bounds, which are those of weir.v1.
const (
	maxMessages   = 4096
	maxParts      = 4096
	maxCandidates = 128 // OpenAI's own; what a model can do is less
	maxStops      = 16
	maxStop       = 256
	maxSpeaker    = 64
)

func unsupported(param, format string, args ...any) error {
	return &gateway.Error{Reason: gateway.UnsupportedFeature, Field: param, Message: fmt.Sprintf(format, args...)}
}

// decode reads a request. Its errors name the parameter, and never repeat what
// a caller said to a model.
func decode(body []byte) (*chat, error) {
	var in chatRequest
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, jsonError(body, err)
	}
	if err := in.refuse(); err != nil {
		return nil, err
	}
	out := &chat{model: in.Model, stream: in.Stream, includeUsage: in.StreamOptions.IncludeUsage}
	if in.Model == "" {
		return nil, face.Invalid("model", "missing: name a model; GET /v1/models lists those that there are")
	}
	if err := in.sampling(&out.request); err != nil {
		return nil, err
	}
	if err := in.extras(&out.request); err != nil {
		return nil, err
	}
	if err := in.modalities(&out.request); err != nil {
		return nil, err
	}
	if in.Audio != nil {
		out.audio = in.Audio.Format
	}
	switch {
	case len(in.Messages) == 0:
		return nil, face.Invalid("messages", "missing: send at least one message")
	case len(in.Messages) > maxMessages:
		return nil, face.Invalid("messages", "%d messages are too many: send at most %d", len(in.Messages), maxMessages)
	}
	for i, m := range in.Messages {
		message, err := m.read(fmt.Sprintf("messages[%d]", i))
		if err != nil {
			return nil, err
		}
		out.request.Messages = append(out.request.Messages, message)
	}
	if err := in.tools(&out.request); err != nil {
		return nil, err
	}
	if err := face.CheckTools(&out.request); err != nil {
		return nil, err
	}
	var err error
	out.about, err = in.aboutCall()
	return out, err
}

// jsonError says where a body is no JSON, or not of the form that it should be.
func jsonError(body []byte, err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &kind):
		return face.Invalid(kind.Field, "a JSON %s is of no use here (%s): see the reference of chat completions", jsonKind(kind.Value), place(body, kind.Offset))
	case errors.As(err, &syntax):
		return face.Invalid("", "the body is not JSON: %s: %v", place(body, syntax.Offset), syntax)
	}
	return face.Invalid("", "the body is not JSON: %v", err)
}

// jsonKind leaves out the value of a number, which encoding/json appends.
func jsonKind(value string) string {
	kind, _, _ := bytes.Cut([]byte(value), []byte(" "))
	return string(kind)
}

func place(body []byte, offset int64) string {
	before := body[:min(max(offset, 0), int64(len(body)))]
	line := bytes.Count(before, []byte("\n")) + 1
	column := len(before) - (bytes.LastIndexByte(before, '\n') + 1)
	return fmt.Sprintf("line %d, column %d", line, max(column, 1))
}

// refuse finds the first parameter whose meaning would be lost.
func (in *chatRequest) refuse() error {
	const functions = "functions are not supported, and tools are: send tools"
	for _, p := range []struct {
		name, why string
		value     json.RawMessage
		harmless  []string
	}{
		{"functions", functions, in.Functions, []string{`[]`}},
		{"function_call", functions, in.FunctionCall, []string{`"none"`}},
		{"logit_bias", "a bias on tokens is not supported: leave it out", in.LogitBias, []string{`{}`}},
		{"web_search_options", "there is no search of the web: leave it out", in.WebSearchOptions, nil},
	} {
		if !says(p.value, p.harmless...) {
			continue
		}
		return unsupported(p.name, "%s", p.why)
	}
	return nil
}

// says tells whether a value asks for something: it is there, not null, and
// none of those that change nothing.
func says(value json.RawMessage, harmless ...string) bool {
	if len(value) == 0 {
		return false
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, value); err != nil {
		return true
	}
	text := compact.String()
	if text == "null" {
		return false
	}
	for _, h := range harmless {
		if text == h {
			return false
		}
	}
	return true
}

func (in *chatRequest) sampling(out *backend.Request) error {
	for _, p := range []struct {
		name     string
		value    *float64
		low, top float64
		to       **float64
	}{
		{"temperature", in.Temperature, 0, 2, &out.Temperature},
		{"top_p", in.TopP, 0, 1, &out.TopP},
		{"frequency_penalty", in.FrequencyPenalty, -2, 2, &out.FrequencyPenalty},
		{"presence_penalty", in.PresencePenalty, -2, 2, &out.PresencePenalty},
	} {
		if p.value != nil && (*p.value < p.low || *p.value > p.top) {
			return face.Invalid(p.name, "must be from %v to %v", p.low, p.top)
		}
		*p.to = p.value
	}
	limit, name := in.MaxCompletionTokens, "max_completion_tokens"
	if limit == nil {
		limit, name = in.MaxTokens, "max_tokens"
	}
	for _, p := range []struct {
		name      string
		value     *int64
		low, high int64
		to        **int
	}{
		{name, limit, 1, math.MaxInt32, &out.MaxOutputTokens},
		{"top_k", in.TopK, 0, math.MaxInt32, &out.TopK},
	} {
		if p.value == nil {
			continue
		}
		if *p.value < p.low || *p.value > p.high {
			return face.Invalid(p.name, "must be from %d to %d", p.low, p.high)
		}
		n := int(*p.value)
		*p.to = &n
	}
	out.Seed, out.Candidates = in.Seed, 1
	if in.N != nil {
		if *in.N < 1 || *in.N > maxCandidates {
			return face.Invalid("n", "must be from 1 to %d", maxCandidates)
		}
		out.Candidates = int(*in.N)
	}
	return in.stops(out)
}

func (in *chatRequest) stops(out *backend.Request) error {
	if !says(in.Stop) {
		return nil
	}
	if in.Stop[0] == '"' {
		out.Stop = []string{""}
		if err := json.Unmarshal(in.Stop, &out.Stop[0]); err != nil {
			return face.Invalid("stop", "must be a text, or an array of texts")
		}
	} else if err := json.Unmarshal(in.Stop, &out.Stop); err != nil {
		return face.Invalid("stop", "must be a text, or an array of texts")
	}
	if len(out.Stop) > maxStops {
		return face.Invalid("stop", "%d texts are too many: send at most %d", len(out.Stop), maxStops)
	}
	for i, s := range out.Stop {
		if s == "" || utf8.RuneCountInString(s) > maxStop {
			return face.Invalid(fmt.Sprintf("stop[%d]", i), "must have from 1 to %d characters", maxStop)
		}
	}
	return nil
}

// aboutCall reads what is said of the call. Metadata that makes no label is
// left out: OpenAI has other rules for its keys, and clients send their own.
func (in *chatRequest) aboutCall() (face.About, error) {
	about := face.About{EndUser: in.User}
	if about.EndUser == "" {
		about.EndUser = in.SafetyIdentifier
	}
	if !face.FitsName(about.EndUser) {
		return about, face.Invalid("user", "must have at most 256 characters")
	}
	for key, raw := range in.Metadata {
		var value string
		if json.Unmarshal(raw, &value) != nil || !face.FitsLabel(key, value) {
			continue
		}
		if about.Labels == nil {
			about.Labels = map[string]string{}
		}
		about.Labels[key] = value
	}
	return about, nil
}

var roles = map[string]backend.Role{
	"system": backend.System, "developer": backend.Developer, "user": backend.User, "assistant": backend.Assistant,
}

func (m *chatMessage) read(at string) (backend.Message, error) {
	out := backend.Message{Role: roles[m.Role], Name: m.Name}
	switch {
	case m.Role == "tool":
		return m.result(at)
	case m.Role == "function":
		return out, unsupported(at+".role", "results of functions are not supported, and those of tools are: send role tool")
	case out.Role == "":
		return out, face.Invalid(at+".role", "must be system, developer, user, assistant or tool")
	case utf8.RuneCountInString(m.Name) > maxSpeaker:
		return out, face.Invalid(at+".name", "must have at most %d characters", maxSpeaker)
	case len(m.ToolCalls) > 0 && out.Role != backend.Assistant:
		return out, face.Invalid(at+".tool_calls", "only a message of the assistant may call tools")
	case says(m.FunctionCall):
		return out, unsupported(at+".function_call", "calls of functions are not supported: leave them out")
	case says(m.Audio):
		return out, unsupported(at+".audio", "audio is not supported: leave it out")
	case out.Role != backend.Assistant && (m.Refusal != "" || m.ReasoningContent != "" || len(m.ReasoningDetails) > 0):
		return out, face.Invalid(at, "only a message of the assistant may hold refusal or reasoning_content")
	}
	if details, err := m.reasoning(at); err != nil {
		return out, err
	} else if len(details) > 0 {
		out.Parts = append(out.Parts, details...)
	} else if m.ReasoningContent != "" {
		out.Parts = append(out.Parts, backend.Part{Channel: backend.Reasoning, Text: m.ReasoningContent})
	}
	parts, err := m.content(at+".content", out.Role)
	if err != nil {
		return out, err
	}
	out.Parts = append(out.Parts, parts...)
	if m.Refusal != "" {
		out.Parts = append(out.Parts, backend.Part{Channel: backend.Refusal, Text: m.Refusal})
	}
	calls, err := m.calls(at)
	if err != nil {
		return out, err
	}
	out.Parts = append(out.Parts, calls...)
	if len(out.Parts) == 0 {
		return out, face.Invalid(at+".content", "missing: send a text, or an array of parts of type text")
	}
	return out, nil
}

// content is a text, or an array of parts.
func (m *chatMessage) content(at string, role backend.Role) ([]backend.Part, error) {
	if !says(m.Content) {
		return nil, nil
	}
	malformed := face.Invalid(at, "must be a text, or an array of parts of type text")
	if m.Content[0] == '"' {
		part := backend.Part{Channel: backend.Content}
		if json.Unmarshal(m.Content, &part.Text) != nil {
			return nil, malformed
		}
		return []backend.Part{part}, nil
	}
	var parts []chatPart
	if json.Unmarshal(m.Content, &parts) != nil {
		return nil, malformed
	}
	if len(parts) > maxParts {
		return nil, face.Invalid(at, "%d parts are too many: send at most %d", len(parts), maxParts)
	}
	var out []backend.Part
	for i, p := range parts {
		switch {
		case p.Type == "text":
			out = append(out, backend.Part{Channel: backend.Content, Text: p.Text})
		case p.Type == "refusal" && role == backend.Assistant:
			out = append(out, backend.Part{Channel: backend.Refusal, Text: p.Refusal})
		case p.Type == "image_url" || p.Type == "input_audio" || p.Type == "file" || p.Type == "video_url":
			at := fmt.Sprintf("%s[%d]", at, i)
			if role != backend.User {
				return nil, unsupported(at, "parts of type %s stand in messages of the user", p.Type)
			}
			media, err := p.media(p.Type, at)
			if err != nil {
				return nil, err
			}
			out = append(out, backend.Part{Channel: backend.Content, Media: media})
		default:
			return nil, face.Invalid(fmt.Sprintf("%s[%d].type", at, i), "must be text, image_url, input_audio, video_url or file")
		}
	}
	return out, nil
}
