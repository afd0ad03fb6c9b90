package policy

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Structured is the channel of an answer that was asked for as JSON.
const Structured Channel = "structured"

// ToolName is the channel of the name in the n-th tool call of a candidate, as a
// JSON string: so it is known where it ends, and nothing of it waits for more.
func ToolName(n int) Channel { return Channel("tool/" + strconv.Itoa(n) + "/name") }

// ToolArguments is the channel of the arguments of the n-th tool call of a
// candidate, as the JSON text in which they arrive.
func ToolArguments(n int) Channel { return Channel("tool/" + strconv.Itoa(n) + "/arguments") }

// JSON tells whether the text of the channel is meant to be JSON (RFC 8259) and
// so is looked at token by token: guards see what a string says, object keys
// among them, without its escapes, or the text of a number or a literal, and
// nothing matches across two. Offsets are those of the text as it arrived,
// escapes and all.
//
// From the first byte that is not JSON, the rest is one plain text. A number,
// literal or escape that turns out to be none belongs to it whole. What is
// nested deeper than 10,000 arrays and objects, or a number of more than 1024
// bytes, counts as not JSON.
func (c Channel) JSON() bool {
	if c == Structured || strings.HasPrefix(string(c), "tool/") {
		return true
	}
	_, text, _ := c.Media()
	return text
}

// ToolCall tells which tool call of its candidate a channel belongs to, and
// whether it is that call's name; false where it is of none.
func (c Channel) ToolCall() (n int, name, ok bool) {
	rest, ok := strings.CutPrefix(string(c), "tool/")
	if !ok {
		return 0, false, false
	}
	number, kind, _ := strings.Cut(rest, "/")
	n, err := strconv.Atoi(number)
	return n, kind == "name", err == nil
}

// told is a Stream of a rule that learns what it finds from outside, by places
// in the source: it reads that and no tokens.
type told interface {
	Stream
	expect(Span)
}

// on is the rule as it holds on a channel. Names and arguments are acted upon,
// not read: a placeholder in them does something that nobody asked for, so there
// redact is block, in arguments unless the rule says otherwise. What a rule was told is a stretch of
// the source, which no placeholder can replace in JSON.
func (r *rule) on(name Channel, s Stream) *rule {
	if r.strict == nil || !name.JSON() {
		return r
	}
	_, isName, call := name.ToolCall()
	if _, is := s.(told); is || call && (isName || !r.toolArgs) {
		return r.strict
	}
	return r
}

// strictly is a redacting rule as one that blocks.
func (r *rule) strictly() *rule {
	if r.action != Redact {
		return nil
	}
	strict := *r
	strict.action, strict.verdict.Action = Block, Block
	return &strict
}

// form is what a placeholder stands in.
type form uint8

const (
	inPlain  form = iota // in text that is as it reads
	inString             // in a JSON string
	asString             // in place of a JSON number or literal
)

// write returns a placeholder as it stands in the text.
func (f form) write(word string) string {
	if f == inPlain {
		return word
	}
	b := make([]byte, 0, len(word)+2)
	for _, r := range word {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, `\n`...)
		case r < 0x20:
			b = append(b, '\\', 'u', '0', '0', '0'+byte(r>>4), "0123456789abcdef"[r&0xF])
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	if f == asString {
		return `"` + string(b) + `"`
	}
	return string(b)
}
