package openai

import (
	"bytes"

	"github.com/weir-gateway/weir/server/backend/httpstream"
)

// plain reads the chunk that most servers send most often: members with the
// names of the API, each once, in any order, and others with any value. It
// returns false for everything else, whether that is JSON or not, and then the
// chunk must be read by the parser that knows all of JSON. What it reads is
// what that one would.
func (c *chunk) plain(data []byte) bool {
	r := reader{data: data}
	var seen names
	ok := r.object(func(name []byte) bool {
		switch string(name) {
		case "model":
			return seen.first(0) && r.raw((*[]byte)(&c.Model))
		case "usage":
			return seen.first(1) && r.raw((*[]byte)(&c.Usage))
		case "error":
			return seen.first(2) && r.raw((*[]byte)(&c.Error))
		case "object":
			return seen.first(3) && r.raw((*[]byte)(&c.Object))
		case "service_tier":
			return seen.first(5) && r.raw((*[]byte)(&c.ServiceTier))
		case "choices":
			return seen.first(4) && r.array(func() bool {
				c.Choices = append(c.Choices, choice{})
				return c.Choices[len(c.Choices)-1].plain(&r)
			})
		}
		return !likely(name) && r.value(0)
	})
	return ok && r.space() == 0 && r.at == len(data)
}

func (c *choice) plain(r *reader) bool {
	var seen names
	return r.object(func(name []byte) bool {
		switch string(name) {
		case "index":
			return seen.first(0) && r.natural(&c.Index)
		case "delta":
			return seen.first(1) && c.Delta.plain(r)
		case "finish_reason":
			return seen.first(2) && r.raw((*[]byte)(&c.FinishReason))
		case "logprobs":
			return seen.first(3) && r.raw((*[]byte)(&c.Logprobs))
		}
		return !likely(name) && r.value(0)
	})
}

func (d *delta) plain(r *reader) bool {
	var seen names
	return r.object(func(name []byte) bool {
		switch string(name) {
		case "content":
			return seen.first(0) && r.raw((*[]byte)(&d.Content))
		case "reasoning_content":
			return seen.first(1) && r.raw((*[]byte)(&d.ReasoningContent))
		case "reasoning":
			return seen.first(2) && r.raw((*[]byte)(&d.Reasoning))
		case "refusal":
			return seen.first(3) && r.raw((*[]byte)(&d.Refusal))
		case "tool_calls", "images", "audio":
			return false
		}
		return !likely(name) && r.value(0)
	})
}

// plain reads a usage object as chunk.plain reads a chunk.
func (t *tally) plain(data []byte) bool {
	r := reader{data: data}
	var seen names
	count := func(to *httpstream.Count) bool {
		var n int
		ok := r.natural(&n)
		*to = httpstream.Count{N: int64(n), Known: ok}
		return ok
	}
	detail := func(name string, to *httpstream.Count) bool {
		var seen names
		return r.object(func(is []byte) bool {
			if string(is) == name {
				return seen.first(0) && count(to)
			}
			return !likely(is) && r.value(0)
		})
	}
	ok := r.object(func(name []byte) bool {
		switch string(name) {
		case "prompt_tokens":
			return seen.first(0) && count(&t.Prompt)
		case "completion_tokens":
			return seen.first(1) && count(&t.Completion)
		case "total_tokens":
			return seen.first(2) && count(&t.Total)
		case "prompt_tokens_details":
			return seen.first(3) && detail("cached_tokens", &t.OfPrompt.Cached)
		case "completion_tokens_details":
			return seen.first(4) && detail("reasoning_tokens", &t.OfCompletion.Reasoning)
		case "prompt_cache_hit_tokens":
			return seen.first(5) && count(&t.CacheHit)
		case "reasoning_tokens":
			return seen.first(6) && count(&t.Reasoning)
		}
		return !likely(name) && r.value(0)
	})
	return ok && r.space() == 0 && r.at == len(data)
}

// names are the members that an object has had.
type names uint8

// first tells whether a member comes for the first time.
func (n *names) first(bit int) bool {
	had := *n&(1<<bit) != 0
	*n |= 1 << bit
	return !had
}

// likely tells whether the parser, which ignores case, could take a name for one
// that it knows.
func likely(name []byte) bool {
	for _, b := range name {
		if b >= 0x80 || 'A' <= b && b <= 'Z' {
			return true
		}
	}
	return false
}

// reader reads JSON from front to back. Its methods return false where there is
// no such value, or one that is not plain.
type reader struct {
	data []byte
	at   int
}

// space skips white space and returns the byte behind it, 0 at the end.
func (r *reader) space() byte {
	for r.at < len(r.data) {
		switch b := r.data[r.at]; b {
		case ' ', '\t', '\n', '\r':
			r.at++
		default:
			return b
		}
	}
	return 0
}

// take skips white space and one byte, which must be b.
func (r *reader) take(b byte) bool {
	if r.space() != b {
		return false
	}
	r.at++
	return true
}

// list reads what stands between two brackets.
func (r *reader) list(begin, end byte, item func() bool) bool {
	if !r.take(begin) {
		return false
	}
	if r.take(end) {
		return true
	}
	for item() {
		if r.take(end) {
			return true
		}
		if !r.take(',') {
			return false
		}
	}
	return false
}

func (r *reader) array(item func() bool) bool { return r.list('[', ']', item) }

// object reads an object whose names have no escapes; member reads the value of
// each.
func (r *reader) object(member func(name []byte) bool) bool {
	return r.list('{', '}', func() bool {
		r.space()
		from := r.at
		if !r.text() {
			return false
		}
		name := r.data[from+1 : r.at-1]
		return bytes.IndexByte(name, '\\') < 0 && r.take(':') && member(name)
	})
}

// raw reads a value as it is.
func (r *reader) raw(to *[]byte) bool {
	r.space()
	from := r.at
	if !r.value(0) {
		return false
	}
	*to = r.data[from:r.at:r.at]
	return true
}

// deepest is how far values are read into each other.
const deepest = 8

func (r *reader) value(depth int) bool {
	if depth > deepest {
		return false
	}
	item := func() bool { return r.value(depth + 1) }
	switch b := r.space(); b {
	case '"':
		return r.text()
	case '{':
		return r.object(func([]byte) bool { return item() })
	case '[':
		return r.array(item)
	case 'n':
		return r.word("null")
	case 't':
		return r.word("true")
	case 'f':
		return r.word("false")
	default:
		return r.number()
	}
}

func (r *reader) word(w string) bool {
	if !bytes.HasPrefix(r.data[r.at:], []byte(w)) {
		return false
	}
	r.at += len(w)
	return true
}

// text reads a string.
func (r *reader) text() bool {
	if r.at >= len(r.data) || r.data[r.at] != '"' {
		return false
	}
	for i := r.at + 1; ; i++ {
		n := bytes.IndexByte(r.data[i:], '"')
		if n < 0 {
			return false
		}
		i += n
		escaped := false
		for b := i - 1; r.data[b] == '\\'; b-- {
			escaped = !escaped
		}
		if !escaped {
			in := r.data[r.at+1 : i]
			r.at = i + 1
			return inString(in)
		}
	}
}

// number reads a number without a fraction or an exponent.
func (r *reader) number() bool {
	if r.at < len(r.data) && r.data[r.at] == '-' {
		r.at++
	}
	from := r.at
	for r.at < len(r.data) && '0' <= r.data[r.at] && r.data[r.at] <= '9' {
		r.at++
	}
	digits := r.at - from
	if digits == 0 || digits > 1 && r.data[from] == '0' {
		return false
	}
	if r.at < len(r.data) {
		switch r.data[r.at] {
		case '.', 'e', 'E':
			return false
		}
	}
	return true
}

// natural reads a number from 0 on that is not large.
func (r *reader) natural(to *int) bool {
	r.space()
	from := r.at
	if !r.number() || r.at-from > 9 || r.data[from] == '-' {
		return false
	}
	*to = 0
	for _, d := range r.data[from:r.at] {
		*to = 10**to + int(d-'0')
	}
	return true
}
