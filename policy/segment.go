package policy

import (
	"math"
	"unicode"
	"unicode/utf8"
)

// segmenter cuts the text of a channel into the segments that a judge is asked
// about: sentences, joined until they have some length. Where it cuts depends
// on the text alone and not on how it arrived.
type segmenter struct {
	least, most int

	rest  []byte // text that is in no segment yet
	start int64  // where it starts in its channel
	seen  int    // of rest, before which no segment ends
	space int    // of rest, behind the last white space before seen
}

// cutAtEnd is the place of a segment that only the end of the text decides.
const cutAtEnd = math.MaxInt64

func (s *segmenter) write(text string) { s.rest = append(s.rest, text...) }

// next returns the next segment that is whole: where it starts, its text, and
// how far the channel had to be read to know that it ends there.
func (s *segmenter) next(ended bool) (start int64, text string, at int64, ok bool) {
	n, at := s.cut(ended)
	if n == 0 {
		return 0, "", 0, false
	}
	start, text = s.start, string(s.rest[:n])
	if at != cutAtEnd {
		at += start
	}
	s.rest = s.rest[:copy(s.rest, s.rest[n:])]
	s.start += int64(n)
	s.seen, s.space = 0, 0
	return start, text, at, true
}

func (s *segmenter) cut(ended bool) (n int, at int64) {
	for s.seen < len(s.rest) {
		r, size := utf8.DecodeRune(s.rest[s.seen:])
		end := s.seen + size
		if end > s.most {
			if n = s.seen; s.space > s.most/2 {
				n = s.space
			}
			return n, int64(end)
		}
		if unicode.IsSpace(r) {
			s.space = end
		}
		if end >= s.least {
			switch r {
			case '。', '！', '？', '\n':
				return end, int64(end)
			case '.', '!', '?':
				// One inside a number, a name or an address ends nothing, so the
				// next rune has to be known.
				if end == len(s.rest) && !ended {
					return 0, 0
				}
				if next, size := utf8.DecodeRune(s.rest[end:]); end < len(s.rest) && unicode.IsSpace(next) {
					return end, int64(end + size)
				}
			}
		}
		s.seen = end
	}
	if ended && len(s.rest) > 0 {
		return len(s.rest), cutAtEnd
	}
	return 0, 0
}

// tail is the end of a text, at most n bytes, from the beginning of a rune.
func tail(text string, n int) string {
	if len(text) <= n {
		return text
	}
	at := len(text) - n
	for !utf8.RuneStart(text[at]) {
		at++
	}
	return text[at:]
}
