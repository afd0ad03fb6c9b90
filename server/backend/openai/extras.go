package openai

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"github.com/weir-gateway/weir/server/backend/httpstream"
)

// vendor is how options of requests and extras of answers call the API.
const vendor = "openai"

// What is no extra of a chunk, of its choices and of their deltas: the driver
// reads it, or the gateway has its own. Obfuscation is noise against who counts
// bytes.
var (
	knownOfChunk  = []string{"id", "object", "created", "model", "choices", "usage", "service_tier", "error", "obfuscation"}
	knownOfChoice = []string{"index", "delta", "message", "finish_reason", "logprobs"}
	knownOfDelta  = []string{"role", "content", "reasoning_content", "reasoning", "refusal", "tool_calls", "images", "audio"}
	knownOfCall   = []string{"index", "id", "type", "function"}
	knownOfFunc   = []string{"name", "arguments"}
	knownOfUsage  = []string{"prompt_tokens", "completion_tokens", "total_tokens", "prompt_cache_hit_tokens", "prompt_cache_miss_tokens", "reasoning_tokens", "prompt_tokens_details", "completion_tokens_details"}
)

// maxCalls bounds the calls of a candidate whose extras are kept.
const maxCalls = 64

// gather keeps what of a chunk the neutral form has no place for. A chunk that is
// in the frame of an earlier one has the same again. The chunk has been decoded,
// so that its choices are those of candidates that there are.
func (d *decoder) gather(chunk []byte) {
	d.extras.Add(chunk, knownOfChunk)
	for name, value := range httpstream.Members(chunk) {
		switch {
		case bytes.EqualFold(name, []byte("usage")):
			d.gatherUsage(value)
		case bytes.EqualFold(name, []byte("choices")):
			for choice := range httpstream.Elements(value) {
				d.gatherChoice(choice)
			}
		}
	}
}

// gatherUsage keeps what of a usage is no meter, such as tokens of audio or of
// predictions. Of counts that are nothing there are many, and they say nothing.
func (d *decoder) gatherUsage(usage []byte) {
	var said httpstream.Extras
	said.Add(usage, knownOfUsage)
	for name, value := range httpstream.Members(usage) {
		for _, of := range []struct{ name, known string }{{"prompt_tokens_details", "cached_tokens"}, {"completion_tokens_details", "reasoning_tokens"}} {
			if !bytes.EqualFold(name, []byte(of.name)) {
				continue
			}
			var details httpstream.Extras
			for detail, n := range httpstream.Members(value) {
				if string(detail) != of.known && string(n) != "0" && string(n) != "null" {
					details.Put(string(detail), n)
				}
			}
			if object := details.Object(); object != nil {
				said.Put(of.name, object)
			}
		}
	}
	d.inUsage.Add(said.Object(), nil)
}

func (d *decoder) gatherChoice(choice []byte) {
	var delta []byte
	index := 0
	for name, value := range httpstream.Members(choice) {
		switch {
		case bytes.EqualFold(name, []byte("index")):
			index, _ = strconv.Atoi(string(value))
		case bytes.EqualFold(name, []byte("delta")):
			delta = value
		}
	}
	if index < 0 || index >= len(d.candidates) {
		return
	}
	a := &d.candidates[index]
	a.extras.Add(choice, knownOfChoice)
	a.inMessage.Append(delta, knownOfDelta)
	for name, calls := range httpstream.Members(delta) {
		if !bytes.EqualFold(name, []byte("tool_calls")) {
			continue
		}
		position := 0
		for call := range httpstream.Elements(calls) {
			a.gatherCall(call, position)
			position++
		}
	}
}

// gatherCall keeps what a piece of a call has beside. Without an index it is the
// call of its position.
func (c *candidate) gatherCall(call []byte, position int) {
	var function []byte
	for name, value := range httpstream.Members(call) {
		switch {
		case bytes.EqualFold(name, []byte("index")):
			if n, err := strconv.Atoi(string(value)); err == nil {
				position = n
			}
		case bytes.EqualFold(name, []byte("function")):
			function = value
		}
	}
	if position < 0 || position >= maxCalls {
		return
	}
	var said, inFunction httpstream.Extras
	said.Add(call, knownOfCall)
	if inFunction.Add(function, knownOfFunc); inFunction.Object() != nil {
		said.Put("function", inFunction.Object())
	}
	if said.Object() == nil {
		return
	}
	if c.inCalls == nil {
		c.inCalls = map[int]*httpstream.Extras{}
	}
	if c.inCalls[position] == nil {
		c.inCalls[position] = new(httpstream.Extras)
	}
	c.inCalls[position].Add(said.Object(), nil)
}

// ofCalls are the extras of the calls, each with its index.
func (c *candidate) ofCalls() (list []json.RawMessage) {
	for _, index := range slices.Sorted(maps.Keys(c.inCalls)) {
		c.inCalls[index].Put("index", []byte(strconv.Itoa(index)))
		list = append(list, c.inCalls[index].Object())
	}
	return list
}

// beside is what was kept, in the shape of a whole answer: that of a candidate
// stands in choices with its index, and in message what its deltas had.
func (d *decoder) beside() json.RawMessage {
	var choices []json.RawMessage
	for i := range d.candidates {
		a := &d.candidates[i]
		if calls := a.ofCalls(); len(calls) > 0 {
			if list, err := json.Marshal(calls); err == nil {
				a.inMessage.Put("tool_calls", list)
			}
		}
		if said := a.inMessage.Object(); said != nil {
			a.extras.Put("message", said)
		}
		if a.extras.Object() != nil {
			a.extras.Put("index", []byte(strconv.Itoa(i)))
			choices = append(choices, a.extras.Object())
		}
	}
	if len(choices) > 0 {
		if all, err := json.Marshal(choices); err == nil {
			d.extras.Put("choices", all)
		}
	}
	if said := d.inUsage.Object(); said != nil {
		d.extras.Put("usage", said)
	}
	return d.extras.Object()
}
