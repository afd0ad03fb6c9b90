package openai

import (
	"bytes"
	"encoding/json"
	"strconv"

	"github.com/weir-gateway/weir/server/backend/httpstream"
)

// vendor is how options of requests and extras of answers call the API.
const vendor = "openai"

// What is no extra of a chunk, of its choices and of their deltas: the driver
// reads it, or the gateway has its own. Obfuscation is noise against who counts
// bytes.
var (
	knownOfChunk  = []string{"id", "object", "created", "model", "choices", "usage", "error", "obfuscation"}
	knownOfChoice = []string{"index", "delta", "message", "finish_reason", "logprobs"}
	knownOfDelta  = []string{"role", "content", "reasoning_content", "reasoning", "refusal", "tool_calls"}
)

// gather keeps what of a chunk the neutral form has no place for. A chunk that is
// in the frame of an earlier one has the same again. The chunk has been decoded,
// so that its choices are those of candidates that there are.
func (d *decoder) gather(chunk []byte) {
	d.extras.Add(chunk, knownOfChunk)
	for name, choices := range httpstream.Members(chunk) {
		if !bytes.EqualFold(name, []byte("choices")) {
			continue
		}
		for choice := range httpstream.Elements(choices) {
			d.gatherChoice(choice)
		}
	}
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
}

// beside is what was kept, in the shape of a whole answer: that of a candidate
// stands in choices with its index, and in message what its deltas had.
func (d *decoder) beside() json.RawMessage {
	var choices []json.RawMessage
	for i := range d.candidates {
		a := &d.candidates[i]
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
	return d.extras.Object()
}
