package guard

import (
	"slices"
	"unicode/utf8"

	"github.com/weir-gateway/weir/policy"
)

// Open starts a channel.
func (e *entities) Open() policy.Stream {
	s := &entityStream{entities: e}
	s.goHome(noRunePlace)
	return s
}

// entityStream keeps every stretch that can still become an entity: as a crowd
// while they are short, else one by one.
type entityStream struct {
	*entities
	pos   int64
	crowd crowdState  // busy while stretches are kept one by one
	rows  *crowdTable // the table of the crowd

	// While busy:
	prev uint8     // the last rune, as a left neighbour
	live []stretch // by start

	matches []candidate // those that a rune decides

	base int64  // where the text of this Scan begins
	text string // the text of this Scan
	tail []byte // the text before it, as far back as anything asks for

	match  []byte                  // the text of a candidate
	window [contextWindow + 1]byte // the context of a match, and a byte for the border of its first word
	known  [64]contextOf           // of starts, by their last bits: there is nothing before 0
}

// contextOf are the lists of words that have one before a start.
type contextOf struct {
	start int64
	lists uint64
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
			i, found = s.pass(i, found)
			if i == len(text) {
				break
			}
		}
		r, n := utf8.DecodeRuneInString(text[i:])
		found = s.advance(s.class(r), n, found)
		i += n
		if len(s.live) == 0 {
			s.goHome(s.prev)
		}
	}
	s.remember(text)
	s.text = ""
	return found
}

// pass reads on from an offset of the text while stretches are a crowd, and
// returns how far that was.
func (s *entityStream) pass(i int, found []policy.Span) (int, []policy.Span) {
	text, here, next := s.text, s.crowd, s.rows.next
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
		to := crowdState(next[uint(here)+uint(class)].Load())
		if to == unknown {
			to, s.rows = s.gather(s.rows, here, class)
			next = s.rows.next
		}
		if to == busy {
			s.pos = s.base + int64(i)
			s.refuse(s.rows)
			s.disperse(s.crowdAt(s.rows, here))
			return i, found
		}
		if to&matches != 0 {
			to &^= matches
			s.pos = s.base + int64(i)
			found = s.settle(s.crowdAt(s.rows, here), class, n, found)
		}
		here = to
		i += n
	}
	s.crowd, s.pos = here, s.base+int64(i)
	return i, found
}

// goHome goes on where nobody is alive behind such a rune.
func (s *entityStream) goHome(prev uint8) {
	s.crowd, s.rows = s.home(prev), s.table.Load()
}

// disperse goes on with the stretches of a crowd one by one.
func (s *entityStream) disperse(c *crowd) {
	s.crowd, s.prev, s.live = busy, c.prev, s.live[:0]
	for _, l := range c.alive {
		s.live = append(s.live, stretch{s.pos - int64(l.age), l.state})
	}
}

// settle decides the matches of a crowd that a rune of n bytes decides: first
// those that end before it and waited for it, then those that end with it.
func (s *entityStream) settle(c *crowd, class uint16, n int, found []policy.Span) []policy.Span {
	after := s.pos + int64(n)
	for _, l := range c.alive {
		s.waited(s.pos-int64(l.age), l.state, 1<<s.beside[class])
	}
	found = s.decide(s.pos, after, found)
	for _, l := range c.alive {
		s.ended(s.pos-int64(l.age), s.step(l.state, class))
	}
	s.ended(s.pos, s.step(s.root[c.prev], class))
	return s.decide(after, after, found)
}

// advance reads a rune of n bytes where stretches are kept one by one: they
// match, go on, end, or begin with it.
func (s *entityStream) advance(class uint16, n int, found []policy.Span) []policy.Span {
	after := s.pos + int64(n)
	for _, l := range s.live {
		s.waited(l.start, l.state, 1<<s.beside[class])
	}
	found = s.decide(s.pos, after, found)
	kept := s.live[:0]
	grow := func(l stretch) {
		l.state = s.step(l.state, class)
		s.ended(l.start, l.state)
		if !l.state.ended() {
			kept = append(kept, l)
		}
	}
	for _, l := range s.live {
		grow(l)
	}
	grow(stretch{s.pos, s.root[s.prev]})
	s.live = kept
	s.pos, s.prev = after, s.left(s.prev, class)
	return s.decide(after, after, found)
}

// waited notes the matches of a stretch that this neighbour lets be.
func (s *entityStream) waited(start int64, state *dfaState, next neighbours) {
	for _, spec := range state.waiting {
		if s.specs[spec].notBefore&next == 0 {
			s.matches = append(s.matches, candidate{start, spec})
		}
	}
}

// ended notes the matches of a stretch that need no neighbour.
func (s *entityStream) ended(start int64, state *dfaState) {
	for _, spec := range state.decided {
		s.matches = append(s.matches, candidate{start, spec})
	}
}

// decide looks at the matches that were noted, which end at end, now that the
// text up to at is known.
func (s *entityStream) decide(end, at int64, found []policy.Span) []policy.Span {
	before := len(found)
	start := int64(-1) // of the last match that was read
	for _, c := range s.matches {
		spec := &s.specs[c.spec]
		score := spec.score
		if spec.contextScore > score && s.hasContext(c) {
			score = spec.contextScore
		}
		if score < s.at[c.spec] {
			continue
		}
		if spec.valid != nil {
			if c.start != start {
				start = c.start
				s.read(start, end)
			}
			if !spec.valid(s.match) {
				continue
			}
		}
		if spec.unless != nil && introduced(s.before(c.start), spec.unless) {
			if score = min(score, unclear); score < s.at[c.spec] {
				continue
			}
		}
		span := policy.Span{Start: c.start, End: end, At: at, Kind: int(c.spec), Score: score}
		// Of two entities at one place the surer one is reported, then the first.
		same := slices.IndexFunc(found[before:], func(f policy.Span) bool { return f.Start == span.Start })
		switch {
		case same < 0:
			found = append(found, span)
		case found[before+same].Score < score:
			found[before+same] = span
		}
	}
	s.matches = s.matches[:0]
	return found
}

// hasContext tells whether one of an entity's words stands before a match.
func (s *entityStream) hasContext(c candidate) bool {
	k := &s.known[c.start%int64(len(s.known))]
	if k.start != c.start {
		*k = contextOf{c.start, s.in(s.before(c.start))}
	}
	return k.lists&s.of[c.spec] != 0
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

// read copies a stretch of the text, some of which may lie before the present
// Scan.
func (s *entityStream) read(start, end int64) {
	s.match = s.match[:0]
	if start < s.base {
		from := int64(len(s.tail)) - (s.base - start)
		s.match = append(s.match, s.tail[from:min(int64(len(s.tail)), from+end-start)]...)
		start = s.base
	}
	if start < end {
		s.match = append(s.match, s.text[start-s.base:end-s.base]...)
	}
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
	if s.crowd != busy {
		s.disperse(s.crowdAt(s.rows, s.crowd))
	}
	for _, l := range s.live {
		s.waited(l.start, l.state, noRune)
	}
	found = s.decide(s.pos, s.pos, found)
	s.live = s.live[:0]
	s.goHome(noRunePlace)
	return found
}

// Hold implements policy.Stream.
func (s *entityStream) Hold() int64 { return s.Live() }

// Live implements policy.Stream.
func (s *entityStream) Live() int64 {
	if s.crowd != busy {
		if alive := s.crowdAt(s.rows, s.crowd).alive; len(alive) > 0 {
			return s.pos - int64(alive[0].age)
		}
		return s.pos
	}
	if len(s.live) > 0 {
		return s.live[0].start
	}
	return s.pos
}

// Copy implements policy.Stream.
func (s *entityStream) Copy(from policy.Stream) {
	f := from.(*entityStream)
	s.pos, s.crowd, s.rows, s.prev = f.pos, f.crowd, f.rows, f.prev
	s.live = append(s.live[:0], f.live...)
	s.tail = append(s.tail[:0], f.tail...)
	s.known = f.known
}
