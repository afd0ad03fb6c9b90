package httpstream

import (
	"unicode/utf16"
	"unicode/utf8"
)

// A Joiner turns the JSON strings of one channel into text that is cut between
// runes. It carries the first part of a rune from one delta to the next: a
// high surrogate, or the first bytes of its UTF-8.
type Joiner struct {
	high rune   // a high surrogate that waits for its other half
	tail []byte // up to three bytes that begin a rune
}

// pending tells whether part of a rune waits for the rest.
func (j *Joiner) pending() bool { return j.high != 0 || len(j.tail) > 0 }

// Flush returns what stands for the part of a rune whose rest never came.
func (j *Joiner) Flush() string {
	if !j.pending() {
		return ""
	}
	*j = Joiner{}
	return string(utf8.RuneError)
}

// Add returns the text of a JSON string, which must be one with its quotes.
func (j *Joiner) Add(quoted []byte) string {
	in := quoted[1 : len(quoted)-1]
	if !j.pending() && plain(in) {
		return string(in)
	}
	out := make([]byte, 0, len(in)+utf8.UTFMax)
	if len(j.tail) > 0 {
		in = append(j.tail, in...)
		j.tail = nil
	}
	for len(in) > 0 {
		if in[0] == '\\' {
			r, size := unescape(in)
			in = in[size:]
			switch {
			case j.high != 0 && lowSurrogate(r):
				out = utf8.AppendRune(out, utf16.DecodeRune(j.high, r))
				j.high = 0
			case highSurrogate(r):
				out = append(out, j.Flush()...)
				j.high = r
			default:
				out = append(out, j.Flush()...)
				out = utf8.AppendRune(out, r) // a low surrogate alone becomes U+FFFD
			}
			continue
		}
		out = append(out, j.Flush()...)
		r, size := utf8.DecodeRune(in)
		if r == utf8.RuneError && size == 1 && !utf8.FullRune(in) {
			j.tail = append([]byte(nil), in...)
			break
		}
		out = utf8.AppendRune(out, r)
		in = in[size:]
	}
	return string(out)
}

// plain tells text that needs no work.
func plain(in []byte) bool {
	for _, c := range in {
		if c == '\\' {
			return false
		}
	}
	return utf8.Valid(in)
}

func highSurrogate(r rune) bool { return 0xD800 <= r && r < 0xDC00 }
func lowSurrogate(r rune) bool  { return 0xDC00 <= r && r < 0xE000 }

// unescape reads one escape of a valid JSON string and returns its length.
// It returns surrogates as they are.
func unescape(in []byte) (r rune, size int) {
	if len(in) < 2 {
		return utf8.RuneError, len(in)
	}
	switch in[1] {
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		if len(in) < 6 {
			return utf8.RuneError, len(in)
		}
		for _, c := range in[2:6] {
			r <<= 4
			switch {
			case '0' <= c && c <= '9':
				r |= rune(c - '0')
			case 'a' <= c && c <= 'f':
				r |= rune(c-'a') + 10
			case 'A' <= c && c <= 'F':
				r |= rune(c-'A') + 10
			default:
				return utf8.RuneError, 6
			}
		}
		return r, 6
	}
	return rune(in[1]), 2
}
