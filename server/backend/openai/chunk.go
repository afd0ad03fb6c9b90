package openai

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/credential"
	"github.com/weir-gateway/weir/server/backend/httpstream"
)

// A chunk is what is read of one event. Strings that reach a caller stay raw:
// the JSON decoder would turn half of an emoji into U+FFFD.
type chunk struct {
	Model   json.RawMessage `json:"model"`
	Choices []choice        `json:"choices"`
	Usage   json.RawMessage `json:"usage"`
	Error   json.RawMessage `json:"error"`
	// ServiceTier is which one serves the call.
	ServiceTier json.RawMessage `json:"service_tier"`
	// Object is "error" where a server puts the fields of an error beside it.
	Object json.RawMessage `json:"object"`
}

type choice struct {
	Index        int             `json:"index"`
	Delta        delta           `json:"delta"`
	FinishReason json.RawMessage `json:"finish_reason"`
	Logprobs     json.RawMessage `json:"logprobs"`
}

type delta struct {
	Content json.RawMessage `json:"content"`
	// ReasoningContent and Reasoning are two names of one thing; a server
	// that sends both repeats itself.
	ReasoningContent json.RawMessage `json:"reasoning_content"`
	Reasoning        json.RawMessage `json:"reasoning"`
	Refusal          json.RawMessage `json:"refusal"`
	ToolCalls        []callDelta     `json:"tool_calls"`
	Images           json.RawMessage `json:"images"`
	Audio            json.RawMessage `json:"audio"`
}

// spoken is the value of a text in a delta.
type spoken struct {
	raw     json.RawMessage
	channel backend.Channel
}

// spoken are the texts of a delta, in the order in which they are told.
func (d *delta) spoken() [3]spoken {
	reasoning := d.ReasoningContent
	if !httpstream.Present(reasoning) {
		reasoning = d.Reasoning
	}
	return [3]spoken{{reasoning, backend.Reasoning}, {d.Content, backend.Content}, {d.Refusal, backend.Refusal}}
}

// failed returns the error that a chunk tells of, or nil.
func (c *chunk) failed() json.RawMessage {
	if httpstream.Present(c.Error) {
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
	served     accounting.ServiceClass
	events     []backend.Event
	frame      frame // of the text that came last
	extras     httpstream.Extras
	inUsage    httpstream.Extras
	secrets    *credential.Hider
}

type candidate struct {
	content, reasoning, refusal, transcript httpstream.Joiner
	audio                                   []byte // samples so far
	calls                                   []toolCall

	contentProbs, refusalProbs []backend.Logprob // of text that has not come yet

	seen              bool              // the server has named it
	refused           bool              // it has said text of a refusal
	extras, inMessage httpstream.Extras // what it has beside, and what its deltas have
	inCalls           map[int]*httpstream.Extras
	finished          bool
}

func newDecoder(candidates int, secrets *credential.Hider) *decoder {
	return &decoder{candidates: make([]candidate, candidates), unfinished: candidates, secrets: secrets}
}

// Decode implements httpstream.Decoder.
func (d *decoder) Decode(name, data []byte) (done bool, err error) {
	switch {
	case bytes.HasPrefix(data, []byte("[DONE]")):
		return true, nil
	case string(name) == "error":
		return false, httpstream.StreamFailure(data, d.secrets)
	case len(bytes.TrimSpace(data)) == 0:
		return false, nil
	}
	return false, d.decode(data)
}

// Finished implements httpstream.Decoder.
func (d *decoder) Finished() bool { return d.unfinished == 0 }

// Take implements httpstream.Decoder.
func (d *decoder) Take() []backend.Event {
	events := d.events
	d.events = d.events[:0]
	return events
}

// decode appends the events of one chunk to d.events. The error is a
// *backend.Error; what it says of the chunk is its shape, never its text.
func (d *decoder) decode(data []byte) error {
	if text := d.frame.text(data); text != nil {
		return d.say(d.frame.candidate, d.frame.channel, text)
	}
	var c chunk
	if !c.plain(data) {
		c = chunk{}
		if err := json.Unmarshal(data, &c); err != nil {
			return &backend.Error{Class: backend.Protocol, Detail: fmt.Sprintf("chunk of %d bytes cannot be read: %s", len(data), httpstream.ShapeOf(err))}
		}
	}
	if raw := c.failed(); raw != nil {
		return httpstream.StreamFailure(data, d.secrets)
	}
	if string(c.Object) == `"error"` {
		return httpstream.StreamFailure(data, d.secrets)
	}
	// Azure begins with a chunk about the prompt, which names no model.
	if !d.started && (httpstream.StringOf(c.Model) != "" || len(c.Choices) > 0) {
		d.started = true
		d.events = append(d.events, backend.Event{Kind: backend.Started, BackendModel: httpstream.StringOf(c.Model)})
	}
	if class := servedClass(httpstream.StringOf(c.ServiceTier)); class != "" && class != d.served {
		d.served = class
		d.events = append(d.events, backend.Event{Kind: backend.Served, ServiceClass: class})
	}
	if httpstream.Present(c.Usage) {
		if u, ok := parseUsage(c.Usage); ok {
			d.usage = u
		}
	}
	for i := range c.Choices {
		if err := d.choose(&c.Choices[i]); err != nil {
			return err
		}
	}
	d.learn(data, &c)
	d.gather(data)
	return nil
}

// learn keeps the frame of a chunk that said a piece of text and nothing else.
func (d *decoder) learn(data []byte, c *chunk) {
	if len(c.Choices) != 1 || httpstream.Present(c.Usage) || httpstream.Present(c.Choices[0].Logprobs) {
		return
	}
	choice := &c.Choices[0]
	var said *spoken
	all := choice.Delta.spoken()
	for i := range all {
		if httpstream.Present(all[i].raw) {
			if said != nil {
				return
			}
			said = &all[i]
		}
	}
	if said != nil && len(choice.Delta.ToolCalls) == 0 && !httpstream.Present(choice.Delta.Images) && !httpstream.Present(choice.Delta.Audio) && httpstream.StringOf(choice.FinishReason) == "" {
		d.frame.learn(data, said.raw, choice.Index, said.channel)
	}
}

func (d *decoder) choose(c *choice) error {
	if c.Index < 0 || c.Index >= len(d.candidates) {
		return &backend.Error{Class: backend.Protocol, Detail: fmt.Sprintf("candidate %d came, %d were asked for", c.Index, len(d.candidates))}
	}
	d.candidates[c.Index].seen = true
	d.candidates[c.Index].logprobs(c.Logprobs)
	for _, s := range c.Delta.spoken() {
		if !httpstream.Present(s.raw) {
			continue
		}
		if s.raw[0] != '"' {
			return &backend.Error{Class: backend.Protocol, Detail: fmt.Sprintf("%s of a delta is no string", s.channel)}
		}
		if err := d.say(c.Index, s.channel, s.raw); err != nil {
			return err
		}
	}
	if err := d.show(c.Index, c.Delta.Images); err != nil {
		return err
	}
	if err := d.speak(c.Index, c.Delta.Audio); err != nil {
		return err
	}
	for i := range c.Delta.ToolCalls {
		if err := d.call(c.Index, &c.Delta.ToolCalls[i]); err != nil {
			return err
		}
	}
	// Some servers write "" for null in every chunk.
	if reason := httpstream.StringOf(c.FinishReason); reason != "" {
		finish := finishOf(reason)
		if finish == backend.FinishUnknown && !d.candidates[c.Index].finished {
			d.candidates[c.Index].extras.Put("finish_reason", c.FinishReason)
		}
		d.finish(c.Index, finish)
	}
	return nil
}

// say appends the event of a JSON string of a candidate.
func (d *decoder) say(index int, channel backend.Channel, quoted []byte) error {
	a := &d.candidates[index]
	join := &a.content
	switch channel {
	case backend.Reasoning:
		join = &a.reasoning
	case backend.Refusal:
		join = &a.refusal
	case backend.Transcript:
		join = &a.transcript
	}
	text := join.Add(quoted)
	if text == "" {
		return nil
	}
	if a.finished {
		return &backend.Error{Class: backend.Protocol, Detail: fmt.Sprintf("candidate %d spoke after its end", index)}
	}
	a.refused = a.refused || channel == backend.Refusal
	d.events = append(d.events, backend.Event{Kind: backend.Delta, Candidate: index, Channel: channel, Text: text, Logprobs: a.take(channel)})
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
		join    *httpstream.Joiner
	}{{backend.Reasoning, &a.reasoning}, {backend.Content, &a.content}, {backend.Refusal, &a.refusal}, {backend.Transcript, &a.transcript}} {
		if text := s.join.Flush(); text != "" {
			d.events = append(d.events, backend.Event{Kind: backend.Delta, Candidate: index, Channel: s.channel, Text: text})
		}
	}
	d.heard(index)
	d.flushCalls(index)
	switch {
	case reason == backend.FinishStop && a.refused:
		reason = backend.FinishRefusal // the API says "stop" after a refusal
	case reason == backend.FinishStop && len(a.calls) > 0:
		reason = backend.FinishToolCalls // and after a call that it had to make
	}
	d.events = append(d.events, backend.Event{Kind: backend.Finished, Candidate: index, Finish: reason})
}

// End implements httpstream.Decoder. A server that has said [DONE] need not have
// given a candidate that has spoken a finish reason of its own.
func (d *decoder) End(done bool) error {
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
	if extras := d.beside(); extras != nil {
		d.events = append(d.events, backend.Event{Kind: backend.Beside, Extras: backend.VendorExtras{vendor: extras}})
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
