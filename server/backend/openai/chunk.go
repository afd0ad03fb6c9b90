package openai

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/weir-gateway/weir/server/backend"
)

// A chunk is what is read of one event. Strings that reach a caller stay raw:
// the JSON decoder would turn half of an emoji into U+FFFD.
type chunk struct {
	Model   json.RawMessage `json:"model"`
	Choices []choice        `json:"choices"`
	Usage   json.RawMessage `json:"usage"`
	Error   json.RawMessage `json:"error"`
	// Object is "error" where a server puts the fields of an error beside it.
	Object json.RawMessage `json:"object"`
}

type choice struct {
	Index        int             `json:"index"`
	Delta        delta           `json:"delta"`
	FinishReason json.RawMessage `json:"finish_reason"`
}

type delta struct {
	Content json.RawMessage `json:"content"`
	// ReasoningContent and Reasoning are two names of one thing; a server
	// that sends both repeats itself.
	ReasoningContent json.RawMessage `json:"reasoning_content"`
	Reasoning        json.RawMessage `json:"reasoning"`
	Refusal          json.RawMessage `json:"refusal"`
	ToolCalls        []callDelta     `json:"tool_calls"`
}

// present tells a JSON value from one that is absent or null.
func present(raw json.RawMessage) bool { return len(raw) > 0 && !bytes.Equal(raw, []byte("null")) }

// failed returns the error that a chunk tells of, or nil.
func (c *chunk) failed() json.RawMessage {
	if present(c.Error) {
		return c.Error
	}
	return nil
}

// A decoder turns the chunks of one answer into events.
type decoder struct {
	candidates []candidate
	unfinished int
	started    bool
	usage      tally
	events     []backend.Event
	secrets    *strings.Replacer
}

type candidate struct {
	content, reasoning, refusal joiner
	calls                       []toolCall

	seen     bool // the server has named it
	refused  bool // it has said text of a refusal
	finished bool
}

func newDecoder(candidates int, secrets *strings.Replacer) *decoder {
	return &decoder{candidates: make([]candidate, candidates), unfinished: candidates, secrets: secrets}
}

// decode appends the events of one chunk to d.events. The error is a
// *backend.Error; what it says of the chunk is its shape, never its text.
func (d *decoder) decode(data []byte) error {
	var c chunk
	if err := json.Unmarshal(data, &c); err != nil {
		return &backend.Error{Class: backend.Protocol, Detail: fmt.Sprintf("chunk of %d bytes cannot be read: %s", len(data), shapeOf(err))}
	}
	if raw := c.failed(); raw != nil {
		return classify(0, parseFailure(data, d.secrets))
	}
	if string(c.Object) == `"error"` {
		return classify(0, parseFailure(data, d.secrets))
	}
	if !d.started {
		d.started = true
		d.events = append(d.events, backend.Event{Kind: backend.Started, BackendModel: stringOf(c.Model)})
	}
	if present(c.Usage) {
		if u, ok := parseUsage(c.Usage); ok {
			d.usage = u
		}
	}
	for i := range c.Choices {
		if err := d.choose(&c.Choices[i]); err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) choose(c *choice) error {
	if c.Index < 0 || c.Index >= len(d.candidates) {
		return &backend.Error{Class: backend.Protocol, Detail: fmt.Sprintf("candidate %d came, %d were asked for", c.Index, len(d.candidates))}
	}
	a := &d.candidates[c.Index]
	a.seen = true
	reasoning := c.Delta.ReasoningContent
	if !present(reasoning) {
		reasoning = c.Delta.Reasoning
	}
	for _, s := range []struct {
		raw     json.RawMessage
		channel backend.Channel
		join    *joiner
	}{
		{reasoning, backend.Reasoning, &a.reasoning},
		{c.Delta.Content, backend.Content, &a.content},
		{c.Delta.Refusal, backend.Refusal, &a.refusal},
	} {
		if !present(s.raw) {
			continue
		}
		if s.raw[0] != '"' {
			return &backend.Error{Class: backend.Protocol, Detail: fmt.Sprintf("%s of a delta is no string", s.channel)}
		}
		text := s.join.add(s.raw)
		if text == "" {
			continue
		}
		if a.finished {
			return &backend.Error{Class: backend.Protocol, Detail: fmt.Sprintf("candidate %d spoke after its end", c.Index)}
		}
		a.refused = a.refused || s.channel == backend.Refusal
		d.events = append(d.events, backend.Event{Kind: backend.Delta, Candidate: c.Index, Channel: s.channel, Text: text})
	}
	for i := range c.Delta.ToolCalls {
		if err := d.call(c.Index, &c.Delta.ToolCalls[i]); err != nil {
			return err
		}
	}
	// Some servers write "" for null in every chunk.
	if reason := stringOf(c.FinishReason); reason != "" {
		d.finish(c.Index, finishOf(reason))
	}
	return nil
}

// finish ends a candidate once; a server may repeat the reason.
func (d *decoder) finish(index int, reason backend.FinishReason) {
	a := &d.candidates[index]
	if a.finished {
		return
	}
	a.finished = true
	d.unfinished--
	for _, s := range []struct {
		channel backend.Channel
		join    *joiner
	}{{backend.Reasoning, &a.reasoning}, {backend.Content, &a.content}, {backend.Refusal, &a.refusal}} {
		if text := s.join.flush(); text != "" {
			d.events = append(d.events, backend.Event{Kind: backend.Delta, Candidate: index, Channel: s.channel, Text: text})
		}
	}
	d.flushCalls(index)
	switch {
	case reason == backend.FinishStop && a.refused:
		reason = backend.FinishRefusal // the API says "stop" after a refusal
	case reason == backend.FinishStop && len(a.calls) > 0:
		reason = backend.FinishToolCalls // and after a call that it had to make
	}
	d.events = append(d.events, backend.Event{Kind: backend.Finished, Candidate: index, Finish: reason})
}

// close appends the last events. done tells that the server has said so by
// [DONE]: then a candidate that has spoken needs no finish reason of its own.
// It fails where the answer is not whole.
func (d *decoder) close(done bool) error {
	if done {
		for i := range d.candidates {
			if d.candidates[i].seen {
				d.finish(i, backend.FinishUnknown)
			}
		}
	}
	if d.unfinished > 0 {
		if done {
			return &backend.Error{Class: backend.Protocol, Detail: fmt.Sprintf("stream ended with %d of %d candidates", len(d.candidates)-d.unfinished, len(d.candidates))}
		}
		return &backend.Error{Class: backend.Broken, Detail: fmt.Sprintf("stream ended before %d of %d candidates had finished", d.unfinished, len(d.candidates))}
	}
	if u := d.usage.meters(); u.Known() {
		d.events = append(d.events, backend.Event{Kind: backend.Used, Usage: u})
	}
	return nil
}

func finishOf(reason string) backend.FinishReason {
	switch reason {
	case "stop", "eos", "eos_token", "stop_sequence", "end_turn":
		return backend.FinishStop
	case "length", "max_tokens":
		return backend.FinishLength
	case "tool_calls":
		return backend.FinishToolCalls
	case "content_filter":
		return backend.FinishBackendFilter
	case "refusal":
		return backend.FinishRefusal
	}
	return backend.FinishUnknown
}

// stringOf returns a JSON string's text, and "" for everything else.
func stringOf(raw json.RawMessage) string {
	var s string
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// shapeOf says what is wrong with JSON without repeating any of it.
func shapeOf(err error) string {
	switch e := err.(type) {
	case *json.SyntaxError:
		return fmt.Sprintf("no JSON from byte %d on", e.Offset)
	case *json.UnmarshalTypeError:
		return fmt.Sprintf("field %s is of the wrong type", e.Field)
	}
	return "no JSON"
}
