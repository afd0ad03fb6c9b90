package openai

import (
	"bytes"

	"github.com/weir-gateway/weir/server/backend"
)

// A frame is what stands around the text of a chunk. Most servers repeat it
// byte for byte while an answer goes on, so that a chunk in the frame of an
// earlier one differs from it in that string alone, and need not be parsed.
type frame struct {
	before, after []byte // with the quotes of the text; empty where none is known
	candidate     int
	channel       backend.Channel
}

// learn takes the frame of a chunk that said this text, a JSON string with its
// quotes, and nothing else.
func (f *frame) learn(data, text []byte, candidate int, channel backend.Channel) {
	f.before = f.before[:0]
	at := bytes.Index(data, text)
	if at < 0 || bytes.Contains(data[at+1:], text) {
		return // which of them it is cannot be told
	}
	end := at + len(text) - 1
	f.before, f.after = append(f.before, data[:at+1]...), append(f.after[:0], data[end:]...)
	f.candidate, f.channel = candidate, channel
}

// text returns the JSON string that a chunk has in the frame, with its quotes;
// nil where the chunk is of another form.
func (f *frame) text(data []byte) []byte {
	if len(f.before) == 0 || len(data) < len(f.before)+len(f.after) || !bytes.HasPrefix(data, f.before) || !bytes.HasSuffix(data, f.after) {
		return nil
	}
	first, end := len(f.before), len(data)-len(f.after)
	if !inString(data[first:end]) {
		return nil
	}
	return data[first-1 : end+1]
}

// inString tells whether JSON may have these bytes between two quotes.
func inString(in []byte) bool {
	for i := 0; i < len(in); i++ {
		switch c := in[i]; {
		case c < ' ' || c == '"':
			return false
		case c != '\\':
			continue
		}
		if i++; i == len(in) {
			return false
		}
		switch in[i] {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		case 'u':
			if len(in) < i+5 {
				return false
			}
			for _, h := range in[i+1 : i+5] {
				if ('0' > h || h > '9') && ('a' > h|0x20 || h|0x20 > 'f') {
					return false
				}
			}
			i += 4
		default:
			return false
		}
	}
	return true
}
