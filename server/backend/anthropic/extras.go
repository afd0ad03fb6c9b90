package anthropic

import (
	"bytes"

	"github.com/weir-gateway/weir/server/backend/httpstream"
)

// What is no extra of a message, and of the event that ends it: the driver reads
// it, or the gateway has its own. Which stop sequence it was is one: the neutral
// form does not tell.
var (
	knownOfMessage = []string{"id", "type", "role", "content", "model", "stop_reason", "usage"}
	knownOfDelta   = []string{"type", "stop_reason"}
	knownOfEvent   = []string{"type", "message", "delta", "usage"}
)

// gather keeps what of the first and the last event of a message the neutral form
// has no place for.
func (d *decoder) gather(event []byte) {
	d.extras.Add(event, knownOfEvent)
	for name, value := range httpstream.Members(event) {
		switch {
		case bytes.EqualFold(name, []byte("message")):
			d.extras.Add(value, knownOfMessage)
		case bytes.EqualFold(name, []byte("delta")):
			d.extras.Add(value, knownOfDelta)
		}
	}
}

// cited keeps a citation, which belongs to a block of text, beside the answer.
func (d *decoder) cited(citation []byte) {
	d.extras.Append([]byte(`{"citations":[`+string(citation)+`]}`), nil)
}
