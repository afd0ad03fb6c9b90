package guard

import (
	"slices"
	"unicode/utf8"

	"github.com/weir-gateway/weir/policy"
)

// secretStream reads a text for openings and follows what they opened.
type secretStream struct {
	*secrets
	state uint16
	pos   int64

	live   []follower
	told   [4]place // what was reported last, so that no other kind is reported of it
	at     uint8    // the next of told
	latest int64    // the greatest end reported

	text   string // of this Scan, which began at base
	base   int64
	recent []byte // the text before base, as far back as keep
}

type place struct{ start, end int64 }

// follower is a secret that has been opened and is not decided, or is and goes
// on.
type follower struct {
	rule  int32
	phase uint8 // of the reader
	part  uint8
	grown bool // it was reported, and is to be redacted to its end
	quote rune // around a value
	word  uint32
	count int32
	start int64 // -1 while what is found has not begun
	mark  int64 // a reader's own
	told  int64 // the end that was reported, of a grown one
}

// outcome is what a reader makes of one rune.
type outcome uint8

const (
	goesOn outcome = iota
	isOver
	isWhole  // up to the end that the reader says
	isSoFar  // so far, and it may turn out to be longer
	isEnough // a secret as it stands, and goes on
)

// Scan implements policy.Stream. A match that goes on is reported once more at
// the end of each Scan, as far as it has come by then.
func (s *secretStream) Scan(text string, found []policy.Span) []policy.Span {
	s.text, s.base = text, s.pos
	for i := 0; i < len(text); {
		if len(s.live) == 0 {
			n := s.idle(text[i:])
			i += n
			continue
		}
		r, n := rune(text[i]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRuneInString(text[i:])
		}
		found = s.advance(r, s.pos+int64(n), found)
		s.pos += int64(n)
		for ; n > 0; n-- {
			s.state = s.open.step(s.state, text[i])
			i++
		}
		if s.state&opens != 0 {
			s.begin()
		}
	}
	for i := range s.live {
		if f := &s.live[i]; f.grown && f.told < s.pos {
			found = s.report(found, f, s.pos, s.pos)
		}
	}
	s.remember(text)
	s.text = ""
	return found
}

// idle reads on while nothing is open, and returns how much it read.
func (s *secretStream) idle(text string) int {
	o, state, n := s.open, s.state, 0
	next, class, shift := o.next, &o.class, o.shift&15
	for n < len(text) {
		state = next[int(state&stateMask)<<shift|int(class[text[n]])]
		n++
		if state&opens != 0 {
			break
		}
	}
	s.state = state
	s.pos += int64(n)
	if state&opens != 0 {
		s.begin()
	}
	return n
}

// begin starts the readers of the literals that end at pos.
func (s *secretStream) begin() {
	for _, id := range s.open.ends[s.state&stateMask] {
		l := &s.open.lits[id]
		start := s.pos - int64(len(l.text))
		if !s.fits(l, len(l.text), start) {
			continue
		}
		f := follower{rule: int32(l.rule), start: -1}
		if l.from < len(l.text) {
			f.start = start + int64(l.from)
		}
		s.live = append(s.live, f)
	}
}

// fits tells whether the text from start to pos is the beginning of a literal,
// and may stand there.
func (s *secretStream) fits(l *literal, n int, start int64) bool {
	if l.exact {
		for i := range n {
			if s.byteAt(start+int64(i)) != l.text[i] {
				return false
			}
		}
	}
	return l.notAfter == 0 || l.notAfter&s.before(start) == 0
}

// before is what stands before an offset. The n of an escaped line end, \n, is
// no letter: tool arguments and logs are full of them.
func (s *secretStream) before(offset int64) neighbours {
	if offset == 0 {
		return noRune
	}
	b := s.byteAt(offset - 1)
	if b >= utf8.RuneSelf || offset > 1 && s.byteAt(offset-2) == '\\' && (b == 'n' || b == 'r' || b == 't') {
		return otherNeighbour
	}
	return neighbourOf(rune(b))
}

// byteAt is a byte of the text not more than keep before the end of it.
func (s *secretStream) byteAt(offset int64) byte {
	if offset >= s.base {
		return s.text[offset-s.base]
	}
	return s.recent[int64(len(s.recent))-(s.base-offset)]
}

// advance lets every reader read a rune that ends at after.
func (s *secretStream) advance(r rune, after int64, found []policy.Span) []policy.Span {
	for i := range s.live {
		if s.live[i].grown {
			s.latest = max(s.latest, s.pos)
		}
	}
	kept := s.live[:0]
	for i := range s.live {
		f := s.live[i]
		end, what := s.read(&f, r, after)
		switch {
		case what == goesOn:
			if !s.twice(kept, &f) {
				kept = append(kept, f)
			}
		case f.grown:
			if what == isEnough {
				kept = append(kept, f)
			} else {
				if f.told < end {
					found = s.report(found, &f, end, after)
				}
				s.note(f.start, end)
			}
		case what == isWhole:
			if s.confirm(&f, end) {
				found = s.report(found, &f, end, after)
			}
		case what == isSoFar:
			if s.confirm(&f, end) {
				found = s.report(found, &f, end, after)
			}
			kept = append(kept, f)
		case what == isEnough && s.confirm(&f, after):
			f.grown = true
			found = s.report(found, &f, after, after)
			if !s.twice(kept, &f) {
				kept = append(kept, f)
			}
		}
	}
	s.live = kept
	return found
}

// twice tells whether a follower does what an earlier one does: it reads the
// same value, or goes on, inside a longer match, to the same end.
func (s *secretStream) twice(kept []follower, f *follower) bool {
	if f.start < 0 {
		return false
	}
	for i := range kept {
		if k := &kept[i]; k.rule == f.rule && (k.start == f.start || k.grown && f.grown && s.rules[f.rule].reader != jwtReader) {
			return true
		}
	}
	return false
}

// confirm puts a secret to its check.
func (s *secretStream) confirm(f *follower, end int64) bool {
	r := &s.rules[f.rule]
	if end <= f.start {
		return false
	}
	text := s.between(f.start, end)
	if r.reader == pemReader {
		return true
	}
	return !isFiller(text) && (r.valid == nil || r.valid(text)) && !slices.Contains(s.allow, text)
}

// report appends a match, unless the same place was reported as another kind:
// of two that are decided with the same rune, the first in the guard's list.
func (s *secretStream) report(found []policy.Span, f *follower, end, at int64) []policy.Span {
	span := policy.Span{Start: f.start, End: end, At: at, Grown: f.told > 0, Kind: s.rules[f.rule].id}
	if f.grown {
		f.told = end
	}
	if end < s.latest { // a full stop at the end is none of it, but is of another
		span.End = s.latest
	}
	for i := len(found) - 1; i >= 0 && found[i].At == at; i-- {
		if found[i].Start == span.Start && found[i].End == span.End {
			found[i].Kind = min(found[i].Kind, span.Kind)
			return found
		}
	}
	if slices.Contains(s.told[:], place{span.Start, span.End}) {
		return found
	}
	if !f.grown {
		s.note(span.Start, span.End)
	}
	found = append(found, span)
	for i := len(found) - 1; i > 0 && found[i-1].At == at && found[i-1].End > found[i].End; i-- {
		found[i-1], found[i] = found[i], found[i-1]
	}
	return found
}

func (s *secretStream) note(start, end int64) {
	s.told[s.at] = place{start, end}
	s.at = (s.at + 1) % uint8(len(s.told))
	s.latest = max(s.latest, end)
}

// between is a stretch of the text, some of which may lie before this Scan.
func (s *secretStream) between(start, end int64) string {
	if start >= s.base {
		return s.text[start-s.base : end-s.base]
	}
	had := int64(len(s.recent))
	from := max(0, had-(s.base-start))
	if end <= s.base {
		return string(s.recent[from : had-(s.base-end)])
	}
	return string(s.recent[from:]) + s.text[:end-s.base]
}

// remember keeps the end of the text.
func (s *secretStream) remember(text string) {
	if len(text) >= s.keep {
		s.recent = append(s.recent[:0], text[len(text)-s.keep:]...)
	} else {
		if len(s.recent)+len(text) > 4*s.keep { // seldom, for it moves
			s.recent = append(s.recent[:0], s.recent[len(s.recent)-s.keep:]...)
		}
		s.recent = append(s.recent, text...)
	}
	s.base = s.pos
}

// Close implements policy.Stream.
func (s *secretStream) Close(found []policy.Span) []policy.Span {
	s.base = s.pos
	found = s.advance(-1, s.pos, found)
	s.live, s.state = s.live[:0], 0
	return found
}

// Hold implements policy.Stream.
func (s *secretStream) Hold() int64 {
	hold := s.pos
	for i := range s.live {
		if f := &s.live[i]; f.start >= 0 && !f.grown {
			hold = min(hold, f.start)
		}
	}
	for _, b := range s.open.begun[s.state&stateMask] {
		l := &s.open.lits[b.lit]
		start := s.pos - int64(b.bytes)
		if start+int64(l.from) >= hold {
			break
		}
		if s.fits(l, int(b.bytes), start) {
			hold = start + int64(l.from)
			break
		}
	}
	return hold
}

// Live implements policy.Stream.
func (s *secretStream) Live() int64 {
	live := s.Hold()
	for i := range s.live {
		if f := &s.live[i]; f.start >= 0 {
			live = min(live, f.start)
		}
	}
	return live
}

// Copy implements policy.Stream.
func (s *secretStream) Copy(from policy.Stream) {
	f := from.(*secretStream)
	live, recent := append(s.live[:0], f.live...), append(s.recent[:0], f.recent...)
	*s = *f
	s.live, s.recent = live, recent
}
