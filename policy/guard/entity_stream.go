package guard

import (
	"slices"
	"unicode/utf8"

	"github.com/weir-gateway/weir/policy"
)

// Open starts a channel.
func (e *entities) Open() policy.Stream {
	return &entityStream{entities: e, crowd: e.home[placeOf(noRune)]}
}

// entityStream keeps every stretch that can still become an entity: as a crowd
// while they are short and nothing matches, else one by one.
type entityStream struct {
	*entities
	pos   int64
	crowd crowdState // busy while stretches are kept one by one

	// While busy:
	prev    uint8       // the last rune, as a place in neighbours
	live    []stretch   // by start
	waiting []candidate // matches that end at pos and wait for the neighbour
	due     []candidate // that end at pos and do not

	base int64  // where the text of this Scan begins
	text string // the text of this Scan
	tail []byte // the text before it, as far back as anything asks for

	window [contextWindow + 1]byte // the context of a match, and a byte for the border of its first word
	known  [8]contextOf            // of starts, by their last bits: many stretches begin at one
}

// contextOf is what was asked of the text before a start: for which of the first
// 64 entities, and which of them have a word there.
type contextOf struct {
	start      int64
	asked, has uint64
}

type stretch struct {
	start int64
	state *dfaState
}

type candidate struct {
	start int64
	spec  int32
}

// Scan implements policy.Stream.
func (s *entityStream) Scan(text string, found []policy.Span) []policy.Span {
	s.base, s.text = s.pos, text
	for i := 0; i < len(text); {
		if s.crowd != busy {
			i = s.pass(i)
			s.pos = s.base + int64(i)
			if i == len(text) {
				break
			}
		}
		r, n := rune(text[i]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRuneInString(text[i:])
		}
		class, after := s.class(r), s.pos+int64(n)
		if len(s.waiting) > 0 {
			found = s.decide(s.waiting, neighbourOf(r), after, found)
			s.waiting = s.waiting[:0]
		}
		s.advance(class, after)
		s.pos, s.prev = after, s.beside[class]
		i += n
		if len(s.due) > 0 {
			found = s.decide(s.due, 0, after, found)
			s.due = s.due[:0]
		}
		if len(s.live) == 0 && len(s.waiting) == 0 {
			s.crowd = s.home[s.prev]
		}
	}
	s.remember(text)
	s.text = ""
	return found
}

// pass reads on from an offset of the text while a crowd tells all that there is
// to know, and returns how far that was.
func (s *entityStream) pass(i int) int {
	text, here := s.text, s.crowd
	next := s.table.Load().next
	for i < len(text) {
		var class uint16
		n := 1
		switch b := text[i]; {
		case b < utf8.RuneSelf:
			class = s.ascii[b]
		case b >= 0xE0 && b < 0xF0 && i+2 < len(text): // most of Chinese; the text is valid
			n = 3
			class = s.class(rune(b&0xF)<<12 | rune(text[i+1]&0x3F)<<6 | rune(text[i+2]&0x3F))
		default:
			var r rune
			r, n = utf8.DecodeRuneInString(text[i:])
			class = s.class(r)
		}
		to := unknown
		if at := uint(here) + uint(class); at < uint(len(next)) { // else it is of a larger table
			to = crowdState(next[at].Load())
		}
		if to == unknown {
			to = s.gather(here, class)
			next = s.table.Load().next
		}
		if to == busy {
			s.disperse(s.crowdAt(s.table.Load(), here), s.base+int64(i))
			return i
		}
		here = to
		i += n
	}
	s.crowd = here
	return i
}

// disperse goes on with the stretches of a crowd one by one.
func (s *entityStream) disperse(c *crowd, pos int64) {
	s.crowd, s.prev, s.live = busy, c.prev, s.live[:0]
	for _, l := range c.alive {
		s.live = append(s.live, stretch{pos - int64(l.age), l.state})
	}
}

// advance reads one rune: stretches go on, end, or begin with it.
func (s *entityStream) advance(class uint16, after int64) {
	kept := s.live[:0]
	for _, l := range s.live {
		if l.state = s.step(l.state, class); l.state != dead {
			kept = s.keep(kept, l)
		}
	}
	if root := s.root[s.prev]; root != dead {
		if to := s.step(root, class); to != dead {
			kept = s.keep(kept, stretch{s.pos, to})
		}
	}
	s.live = kept
}

// keep notes what a stretch is a match of, and the stretch if it can go on.
func (s *entityStream) keep(kept []stretch, l stretch) []stretch {
	for _, spec := range l.state.accepts {
		if s.specs[spec].notBefore == 0 {
			s.due = append(s.due, candidate{l.start, spec})
		} else {
			s.waiting = append(s.waiting, candidate{l.start, spec})
		}
	}
	if len(l.state.members) > 0 {
		kept = append(kept, l)
	}
	return kept
}

// decide looks at matches that end at pos, now that the text up to at is known
// and with it their neighbour.
func (s *entityStream) decide(matches []candidate, next neighbours, at int64, found []policy.Span) []policy.Span {
	before := len(found)
	var (
		match string // the text of the last one
		start int64  = -1
	)
	for _, c := range matches {
		spec := &s.specs[c.spec]
		if spec.notBefore&next != 0 {
			continue
		}
		if c.start != start && spec.valid != nil {
			match, start = s.between(c.start, s.pos), c.start
		}
		if spec.valid != nil && !spec.valid(match) {
			continue
		}
		score := spec.score
		if spec.contextScore > score && s.hasContext(c) {
			score = spec.contextScore
		}
		if score < s.at[c.spec] {
			continue
		}
		span := policy.Span{Start: c.start, End: s.pos, At: at, Kind: int(c.spec), Score: score}
		// Of two entities at one place the surer one is reported, then the first.
		same := slices.IndexFunc(found[before:], func(f policy.Span) bool { return f.Start == span.Start && f.End == span.End })
		switch {
		case same < 0:
			found = append(found, span)
		case found[before+same].Score < score:
			found[before+same] = span
		}
	}
	return found
}

// hasContext tells whether one of an entity's words stands before a match.
func (s *entityStream) hasContext(c candidate) bool {
	words := s.words[c.spec]
	if c.spec >= 64 {
		return hasWord(s.before(c.start), words)
	}
	k := &s.known[c.start%int64(len(s.known))]
	if k.start != c.start {
		*k = contextOf{start: c.start}
	}
	if bit := uint64(1) << c.spec; k.asked&bit == 0 {
		k.asked |= bit
		if hasWord(s.before(c.start), words) {
			k.has |= bit
		}
	}
	return k.has&(1<<c.spec) != 0
}

// before is the text before an offset, in lower case, as far back as context
// counts.
func (s *entityStream) before(end int64) []byte {
	from := max(0, end-int64(len(s.window)))
	out := s.window[:0]
	if from < s.base {
		tail := s.tail[int64(len(s.tail))-(s.base-from):]
		out = append(out, tail[:min(int64(len(tail)), end-from)]...)
	}
	if end > s.base {
		out = append(out, s.text[max(0, from-s.base):end-s.base]...)
	}
	return lowered(out)
}

// between is a stretch of the text, some of which may lie before the present
// Scan.
func (s *entityStream) between(start, end int64) string {
	if start >= s.base {
		return s.text[start-s.base : end-s.base]
	}
	from := int64(len(s.tail)) - (s.base - start)
	if end <= s.base {
		return string(s.tail[from : int64(len(s.tail))-(s.base-end)])
	}
	return string(s.tail[from:]) + s.text[:end-s.base]
}

// remember keeps the end of the text for what begins in it.
func (s *entityStream) remember(text string) {
	need := s.bound + len(s.window)
	if len(text) >= need {
		s.tail = append(s.tail[:0], text[len(text)-need:]...)
		return
	}
	if over := len(s.tail) + len(text) - need; over > need { // seldom, for it moves
		s.tail = append(s.tail[:0], s.tail[over:]...)
	}
	s.tail = append(s.tail, text...)
}

// Close implements policy.Stream.
func (s *entityStream) Close(found []policy.Span) []policy.Span {
	s.base = s.pos
	if len(s.waiting) > 0 {
		found = s.decide(s.waiting, noRune, s.pos, found)
	}
	s.live, s.waiting = s.live[:0], s.waiting[:0]
	s.crowd = s.home[placeOf(noRune)]
	return found
}

// Hold implements policy.Stream.
func (s *entityStream) Hold() int64 { return s.Live() }

// Live implements policy.Stream.
func (s *entityStream) Live() int64 {
	if s.crowd != busy {
		if alive := s.crowdAt(s.table.Load(), s.crowd).alive; len(alive) > 0 {
			return s.pos - int64(alive[0].age)
		}
		return s.pos
	}
	oldest := s.pos
	if len(s.live) > 0 {
		oldest = s.live[0].start
	}
	for _, c := range s.waiting {
		oldest = min(oldest, c.start)
	}
	return oldest
}

// Copy implements policy.Stream.
func (s *entityStream) Copy(from policy.Stream) {
	f := from.(*entityStream)
	s.pos, s.crowd, s.prev = f.pos, f.crowd, f.prev
	s.live = append(s.live[:0], f.live...)
	s.waiting = append(s.waiting[:0], f.waiting...)
	s.tail = append(s.tail[:0], f.tail...)
	s.known = f.known
}
