package anthropic

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"github.com/weir-gateway/weir/server/backend/httpstream"
)

// What is no extra of a message, and of the event that ends it: the driver reads
// it, or the gateway has its own. Which stop sequence it was is one: the neutral
// form does not tell.
var (
	knownOfMessage = []string{"id", "type", "role", "content", "model", "stop_reason", "usage"}
	knownOfDelta   = []string{"type", "stop_reason"}
	knownOfEvent   = []string{"type", "message", "delta", "usage"}
	knownOfUsage   = []string{"input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation", "output_tokens", "output_tokens_details"}
)

// gather keeps what of the first and the last event of a message the neutral form
// has no place for.
func (d *decoder) gather(event []byte) {
	d.extras.Add(event, knownOfEvent)
	for name, value := range httpstream.Members(event) {
		switch {
		case bytes.EqualFold(name, []byte("message")):
			d.extras.Add(value, knownOfMessage)
			d.gatherUsage(value)
		case bytes.EqualFold(name, []byte("delta")):
			d.extras.Add(value, knownOfDelta)
		}
	}
	d.gatherUsage(event)
}

// gatherUsage keeps what of a usage is no meter, such as the tier of service and
// what the server's own tools were asked.
func (d *decoder) gatherUsage(around []byte) {
	for name, value := range httpstream.Members(around) {
		if bytes.EqualFold(name, []byte("usage")) {
			d.inUsage.Add(value, knownOfUsage)
		}
	}
}

// knownOfBlock is what is no extra of a block of each type that has a place in
// the neutral form. Of a block of another type everything is one: it is what a
// tool of the server does.
var knownOfBlock = map[string][]string{
	"text":              {"type", "text"},
	"thinking":          {"type", "thinking", "signature"},
	"redacted_thinking": {"type", "data"},
	"tool_use":          {"type", "id", "name", "input"},
}

// beside are the extras of a block, by its number in the content.
func (d *decoder) beside(index int) *httpstream.Extras {
	x := d.besides[index]
	if x == nil {
		x = new(httpstream.Extras)
		if d.besides == nil {
			d.besides = map[int]*httpstream.Extras{}
		}
		d.besides[index] = x
	}
	return x
}

// gatherBlock keeps what of the beginning of a block has no place.
func (d *decoder) gatherBlock(index int, kind string, event []byte) {
	for name, value := range httpstream.Members(event) {
		if bytes.EqualFold(name, []byte("content_block")) {
			d.beside(index).Add(value, knownOfBlock[kind])
		}
	}
}

// gatherInput keeps the input of a block that is no call of the caller's tools,
// when its pieces are all there.
func (d *decoder) gatherInput(index int, b *block) {
	if json.Valid(b.whole) {
		d.beside(index).Put("input", b.whole)
	}
}

// all is what was kept, in the shape of a message: that of a block stands in
// content, with its number as index.
func (d *decoder) all() json.RawMessage {
	var content []json.RawMessage
	for _, index := range slices.Sorted(maps.Keys(d.besides)) {
		if x := d.besides[index]; x.Object() != nil {
			x.Put("index", []byte(strconv.Itoa(index)))
			content = append(content, x.Object())
		}
	}
	if len(content) > 0 {
		if list, err := json.Marshal(content); err == nil {
			d.extras.Put("content", list)
		}
	}
	if said := d.inUsage.Object(); said != nil {
		d.extras.Put("usage", said)
	}
	return d.extras.Object()
}
