package anthropic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/credential"
	"github.com/weir-gateway/weir/server/backend/httpstream"
)

// An event is what is read of one event. Strings that reach a caller stay raw:
// the JSON decoder would turn half of an emoji into U+FFFD.
type event struct {
	Type    string `json:"type"`
	Message struct {
		Model json.RawMessage `json:"model"`
		Usage json.RawMessage `json:"usage"`
	} `json:"message"`
	Index        int `json:"index"`
	ContentBlock struct {
		Type     string          `json:"type"`
		Text     json.RawMessage `json:"text"`
		Thinking json.RawMessage `json:"thinking"`
		// Signature is that of thinking, and Data thinking that is hidden.
		Signature json.RawMessage `json:"signature"`
		Data      json.RawMessage `json:"data"`
		ID        json.RawMessage `json:"id"`
		Name      json.RawMessage `json:"name"`
		Input     json.RawMessage `json:"input"`
	} `json:"content_block"`
	Delta struct {
		Type        string          `json:"type"`
		Text        json.RawMessage `json:"text"`
		Thinking    json.RawMessage `json:"thinking"`
		Signature   json.RawMessage `json:"signature"`
		PartialJSON json.RawMessage `json:"partial_json"`
		StopReason  json.RawMessage `json:"stop_reason"`
		Citation    json.RawMessage `json:"citation"`
	} `json:"delta"`
	Usage json.RawMessage `json:"usage"`
}

// A block is one block of content that has begun.
type block struct {
	channel backend.Channel // empty for a kind that is not known here
	join    httpstream.Joiner
	call    int // of Arguments: the number of the call
	// whole is the input that came with the start of a call; it counts where no
	// pieces of it follow. Of a kind that is not known it is those pieces.
	whole json.RawMessage
	said  bool
	// signature is that of what was thought; hidden tells that it is that itself.
	signature []byte
	hidden    bool
}

// maxBlocks bounds the blocks whose extras are kept.
const maxBlocks = 64

// maxSignature bounds what is kept of a signature.
const maxSignature = 1 << 20

// A decoder turns the events of one answer into the neutral form. It is a
// httpstream.Decoder.
type decoder struct {
	secrets  *credential.Hider
	blocks   map[int]*block
	started  bool
	finished bool
	calls    int
	usage    tally
	served   accounting.ServiceClass
	extras   httpstream.Extras
	inUsage  httpstream.Extras
	besides  map[int]*httpstream.Extras
	events   []backend.Event
}

// Decode implements httpstream.Decoder.
func (d *decoder) Decode(name, data []byte) (done bool, err error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return false, nil
	}
	var e event
	if err := json.Unmarshal(data, &e); err != nil {
		return false, broken("event of %d bytes cannot be read: %s", len(data), httpstream.ShapeOf(err))
	}
	if e.Type == "" { // a server that says it once says it in the event's name
		e.Type = string(name)
	}
	switch e.Type {
	case "error":
		return false, httpstream.StreamFailure(data, d.secrets)
	case "message_start":
		if d.started {
			return false, broken("the answer began twice")
		}
		d.started = true
		d.events = append(d.events, backend.Event{Kind: backend.Started, BackendModel: httpstream.StringOf(e.Message.Model)})
		d.measure(e.Message.Usage)
		d.gather(data)
	case "content_block_start":
		if err := d.begin(&e); err != nil {
			return false, err
		}
		if e.Index >= 0 && e.Index < maxBlocks {
			d.gatherBlock(e.Index, e.ContentBlock.Type, data)
		}
	case "content_block_delta":
		return false, d.piece(&e)
	case "content_block_stop":
		if b := d.blocks[e.Index]; b != nil {
			d.close(e.Index, b)
			delete(d.blocks, e.Index)
		}
	case "message_delta":
		d.measure(e.Usage)
		d.gather(data)
		if reason := httpstream.StringOf(e.Delta.StopReason); reason != "" {
			finish, exact := finishOf(reason)
			if !exact && !d.finished {
				d.extras.Put("stop_reason", e.Delta.StopReason)
			}
			d.finish(finish)
		}
	case "message_stop":
		return true, nil
	}
	return false, nil // a ping, or what a later version of the API adds
}

// Finished implements httpstream.Decoder.
func (d *decoder) Finished() bool { return d.finished }

// Take implements httpstream.Decoder.
func (d *decoder) Take() []backend.Event {
	events := d.events
	d.events = d.events[:0]
	return events
}

// End implements httpstream.Decoder. An answer that the server has announced the
// end of needs no reason of its own.
func (d *decoder) End(done bool) error {
	switch {
	case done && d.started:
		d.finish(backend.FinishUnknown)
	case done:
		return broken("the stream ended and no answer had begun")
	case !d.finished:
		return &backend.Error{Class: backend.Broken, Detail: "stream ended before the answer had"}
	}
	if extras := d.all(); extras != nil {
		d.events = append(d.events, backend.Event{Kind: backend.Beside, Extras: backend.VendorExtras{signer: extras}})
	}
	if u := d.usage.meters(); u.Known() {
		d.events = append(d.events, backend.Event{Kind: backend.Used, Usage: u})
	}
	return nil
}

// measure takes what was used so far, and tells which class of service serves.
func (d *decoder) measure(usage json.RawMessage) {
	d.usage.add(usage)
	if served := d.usage.served(); served != d.served {
		d.served = served
		d.events = append(d.events, backend.Event{Kind: backend.Served, ServiceClass: served})
	}
}

func broken(format string, args ...any) error {
	return &backend.Error{Class: backend.Protocol, Detail: fmt.Sprintf(format, args...)}
}

// begin opens a block.
func (d *decoder) begin(e *event) error {
	if d.finished {
		return broken("block %d began after the answer's end", e.Index)
	}
	if d.blocks[e.Index] != nil {
		return broken("block %d began twice", e.Index)
	}
	b := &block{}
	d.blocks[e.Index] = b
	switch e.ContentBlock.Type {
	case "text":
		b.channel = backend.Content
		return d.say(b, e.ContentBlock.Text)
	case "thinking":
		b.channel = backend.Reasoning
		b.signature = append(b.signature, httpstream.StringOf(e.ContentBlock.Signature)...)
		return d.say(b, e.ContentBlock.Thinking)
	case "redacted_thinking":
		b.channel, b.hidden = backend.Reasoning, true
		b.signature = append(b.signature, httpstream.StringOf(e.ContentBlock.Data)...)
	case "tool_use":
		name := httpstream.StringOf(e.ContentBlock.Name)
		if name == "" {
			return broken("block %d calls a tool that has no name", e.Index)
		}
		b.channel, b.call = backend.Arguments, d.calls
		d.calls++
		d.events = append(d.events, backend.Event{Kind: backend.Called, Call: b.call, CallID: httpstream.StringOf(e.ContentBlock.ID), Tool: name})
		if in := bytes.TrimSpace(e.ContentBlock.Input); len(in) > 2 && in[0] == '{' {
			b.whole = bytes.Clone(in)
		}
	}
	return nil
}

// piece takes a delta of a block.
func (d *decoder) piece(e *event) error {
	b := d.blocks[e.Index]
	if b == nil {
		return broken("a piece came of block %d, which is not open", e.Index)
	}
	var raw json.RawMessage
	switch {
	case e.Delta.Type == "citations_delta" && httpstream.Present(e.Delta.Citation):
		if e.Index >= 0 && e.Index < maxBlocks {
			d.beside(e.Index).Append([]byte(`{"citations":[`+string(e.Delta.Citation)+`]}`), nil)
		}
		return nil
	case e.Delta.Type == "text_delta" && b.channel == backend.Content:
		raw = e.Delta.Text
	case e.Delta.Type == "thinking_delta" && b.channel == backend.Reasoning:
		raw = e.Delta.Thinking
	case e.Delta.Type == "signature_delta" && b.channel == backend.Reasoning && !b.hidden:
		if len(b.signature)+len(e.Delta.Signature) > maxSignature {
			return broken("the signature of block %d has more than %d bytes", e.Index, maxSignature)
		}
		b.signature = append(b.signature, httpstream.StringOf(e.Delta.Signature)...)
		return nil
	case e.Delta.Type == "input_json_delta" && b.channel == backend.Arguments:
		raw = e.Delta.PartialJSON
	case e.Delta.Type == "input_json_delta" && b.channel == "" && len(b.whole) < backend.MaxExtras:
		b.whole = append(b.whole, httpstream.StringOf(e.Delta.PartialJSON)...)
		return nil
	}
	return d.say(b, raw)
}

// say appends the text of a JSON string to a block.
func (d *decoder) say(b *block, raw json.RawMessage) error {
	if !httpstream.Present(raw) {
		return nil
	}
	if raw[0] != '"' {
		return broken("%s of a block is no string", b.channel)
	}
	d.tell(b, b.join.Add(raw))
	return nil
}

func (d *decoder) tell(b *block, text string) {
	if text == "" {
		return
	}
	b.said = true
	d.events = append(d.events, backend.Event{Kind: backend.Delta, Channel: b.channel, Call: b.call, Text: text})
}

// close appends what is left of a block.
func (d *decoder) close(index int, b *block) {
	if b.channel == "" {
		d.gatherInput(index, b)
		return
	}
	d.tell(b, b.join.Flush())
	if !b.said && b.whole != nil {
		d.tell(b, strings.ToValidUTF8(string(b.whole), "\uFFFD"))
	}
	if len(b.signature) > 0 {
		d.events = append(d.events, backend.Event{Kind: backend.Signed, Channel: b.channel,
			Signature: &backend.Signature{Signer: signer, Data: string(b.signature), Hidden: b.hidden}})
	}
}

// finish ends the answer once.
func (d *decoder) finish(reason backend.FinishReason) {
	if d.finished {
		return
	}
	for _, index := range slices.Sorted(maps.Keys(d.blocks)) { // a server that keeps to the API has closed them
		d.close(index, d.blocks[index])
	}
	clear(d.blocks)
	d.finished = true
	if reason == backend.FinishToolCalls && d.calls == 0 {
		reason = backend.FinishUnknown // it waits for a tool that this driver does not know
	}
	d.events = append(d.events, backend.Event{Kind: backend.Finished, Finish: reason})
}

// finishOf is the reason in the neutral form, and tells whether that says all: what
// it does not say goes beside the answer.
// Source: anthropic-sdk-python @ 009b035 (7 Aug 2026), types/stop_reason.py.
func finishOf(reason string) (finish backend.FinishReason, exact bool) {
	switch reason {
	case "end_turn", "stop_sequence": // the sequence stands beside
		return backend.FinishStop, true
	case "max_tokens":
		return backend.FinishLength, true
	case "model_context_window_exceeded":
		return backend.FinishLength, false
	case "tool_use":
		return backend.FinishToolCalls, true
	case "refusal":
		return backend.FinishRefusal, true
	}
	return backend.FinishUnknown, false // pause_turn among them, which only tools of the server cause
}
