package guard

import (
	"bytes"
	"math/bits"
	"unicode/utf8"

	"github.com/weir-gateway/weir/policy"
)

// injectionStream gathers a segment and judges it when it ends.
type injectionStream struct {
	*injection
	from int64 // where the segment begins
	text []byte
	had  uint8 // what bytes the segment has, at least
	stop bool  // the last rune may have ended a sentence

	plain   reading
	payload payload
	seen    [64]int64 // by signal: where the segment with it last began
}

// What a segment has decides what is looked for in it.
const (
	hasLine     = 1 << iota // a line ends
	hasSpace                // white space, which ends a sentence behind a stop
	hasStop                 // . ! ?
	hasSign                 // what markers and addresses begin with: < [ #
	hasEscape               // % & \
	hasDigit                // digits and signs that are written for letters
	hasOther                // not ASCII
	hasSentence             // may be the last byte of 。！？
)

var has = func() (t [256]uint8) {
	for c := range t {
		switch {
		case c >= utf8.RuneSelf:
			t[c] = hasOther
		case '0' <= c && c <= '9':
			t[c] = hasDigit
		}
	}
	t['\n'] |= hasLine
	t[' '], t['\t'], t['\r'] = hasSpace, hasSpace, hasSpace
	for _, c := range ".!?" {
		t[c] |= hasStop
	}
	for _, c := range "<[#" {
		t[c] |= hasSign
	}
	for _, c := range "%&\\" {
		t[c] |= hasEscape
	}
	for _, c := range "@$" {
		t[c] |= hasDigit
	}
	for _, s := range []string{"。", "！", "？"} {
		t[s[2]] |= hasSentence
	}
	return t
}()

func (s *injectionStream) Scan(text string, found []policy.Span) []policy.Span {
	for text != "" {
		room := maxSegment - len(s.text)
		n, ended := s.extent(text[:min(room, len(text))])
		if !ended && n < len(text) { // too long: n is as much as fits
			for !utf8.RuneStart(text[n]) {
				n--
			}
			s.text = append(s.text, text[:n]...)
			_, more := utf8.DecodeRuneInString(text[n:])
			at := s.from + int64(len(s.text)+more)
			found = s.judge(s.cut(), at, false, found)
			text = text[n:]
			continue
		}
		s.text = append(s.text, text[:n]...)
		text = text[n:]
		if ended {
			found = s.judge(len(s.text), s.from+int64(len(s.text)), false, found)
		}
	}
	return found
}

// extent is how much of the text is of this segment, and whether it ends there.
func (s *injectionStream) extent(text string) (n int, ended bool) {
	had, stop := s.had, s.stop
	for i := range len(text) {
		h := has[text[i]]
		had |= h
		if h&(hasLine|hasSpace|hasStop|hasSentence) == 0 {
			stop = false
			continue
		}
		switch {
		case h&hasLine != 0, h&hasSpace != 0 && stop:
			ended = true
		case h&hasSentence != 0 && i >= 2:
			switch text[i-2 : i+1] {
			case "。", "！", "？":
				ended = true
			}
		}
		stop = h&hasStop != 0
		if ended {
			s.had, s.stop = had, false
			return i + 1, true
		}
	}
	s.had, s.stop = had, stop
	return len(text), false
}

// cut is where a segment that grew too long ends: behind its last white space,
// if that is not early.
func (s *injectionStream) cut() int {
	if i := bytes.LastIndexAny(s.text[maxSegment/2:], " \t\r"); i >= 0 {
		return maxSegment/2 + i + 1
	}
	return len(s.text)
}

func (s *injectionStream) Close(found []policy.Span) []policy.Span {
	if len(s.text) > 0 {
		found = s.judge(len(s.text), s.from+int64(len(s.text)), true, found)
	}
	return found
}

func (s *injectionStream) Hold() int64 { return s.from }

func (s *injectionStream) Live() int64 { return s.from }

func (s *injectionStream) Copy(from policy.Stream) {
	f := from.(*injectionStream)
	s.from, s.had, s.stop, s.seen = f.from, f.had, f.stop, f.seen
	s.text = append(s.text[:0], f.text...)
	s.plain.copyFrom(&f.plain)
	s.payload.copyFrom(&f.payload)
}

// judge adds what the first n bytes gathered say, decided when the text up to
// at had been read; what is left begins the next segment.
func (s *injectionStream) judge(n int, at int64, last bool, found []policy.Span) []policy.Span {
	segment := s.text[:n]
	s.plain.fresh()
	hits := s.plain.read(segment)
	if last {
		hits |= s.plain.close()
	}
	hits |= s.payload.read(segment, s.had, &s.plain, hits, last)
	end := s.from + int64(n)
	if hits != 0 {
		strongest := bits.TrailingZeros64(uint64(hits))
		for left := uint64(hits); left != 0; left &= left - 1 {
			i := bits.TrailingZeros64(left)
			s.seen[i] = s.from
			if signals[i].weight > signals[strongest].weight {
				strongest = i
			}
		}
		if score := s.score(); score >= s.at && signals[strongest].weight > 0 {
			found = append(found, policy.Span{Start: s.from, End: end, At: at, Kind: signals[strongest].kind, Score: score})
		}
	}
	s.from = end
	s.text = s.text[:copy(s.text, s.text[n:])]
	if len(s.text) == 0 {
		s.had = 0
	}
	return found
}

// score is the noisy or of the signals that still count.
func (s *injectionStream) score() float64 {
	var late signalSet
	for i, at := range s.seen {
		if s.from-at <= memory {
			late |= 1 << i
		}
	}
	return weigh(late)
}

// weigh is the score of a set of signals.
func weigh(set signalSet) float64 {
	innocence, trust := 1.0, 1.0
	if set&aboutAttacks != 0 {
		trust = told
	}
	for left := uint64(set); left != 0; left &= left - 1 {
		if i := bits.TrailingZeros64(left); set&signals[i].greater == 0 {
			innocence *= 1 - trust*signals[i].weight
		}
	}
	return 1 - innocence
}
