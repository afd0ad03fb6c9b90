package policy

import (
	"cmp"
	"slices"
	"unicode/utf8"
)

// Piece is a stretch of text of one channel of one candidate.
type Piece struct {
	Candidate int
	Channel   Channel
	Text      string

	// At is, of what a Screen releases, the offset in the text of the channel, in
	// the bytes that were written. Redacted tells a placeholder, which stands
	// there for text of another length, from the text itself.
	At       int64
	Redacted bool
}

// Screen stands between a model's stream and its reader. It releases text
// exactly when no enforcing rule can still find something that starts in it or
// before it, with placeholders where a rule redacts, and ends a candidate where
// a rule blocks.
//
// All channels of a candidate are one sequence, in the order in which their
// text arrived: what is held on one channel holds what arrived behind it on
// another. What is released, and every verdict, is the same however the text
// was cut into Writes. Text is released as valid UTF-8 and in whole runes; a
// rune cut by the end of a Write is completed by the next on its channel.
//
// Some channels are JSON, see [Channel.JSON]: what is released of them stays JSON
// where it was, however much of it is redacted, and never ends inside an
// escape, a number or a literal, unless one that came in pieces with another
// channel between them is cut by a block there.
//
// A Screen serves one attempt of one call and is used by one goroutine. A
// caller that goes away drops it: nothing held is then released.
type Screen struct {
	rules      []*rule
	media      []*rule // of the channels of parts that are no text
	candidates []*candidate
	found      []Span // scratch
}

// Screen starts the screening of one answer.
func (e *Effective) Screen() *Screen {
	s := newScreen(e.output)
	s.media = e.outputMedia
	return s
}

func newScreen(rules []*rule) *Screen { return &Screen{rules: rules} }

// of returns the rules of a channel.
func (s *Screen) of(name Channel) []*rule {
	if name.part() {
		return s.media
	}
	return s.rules
}

// Write takes what a model said and appends to dst what may be released now, in
// order. A candidate that has ended says nothing any more.
func (s *Screen) Write(dst []Piece, p Piece) []Piece {
	c := s.candidate(p.Candidate)
	if c.ended {
		return dst
	}
	ch := c.channel(p.Channel, s.of(p.Channel))
	text := ch.runes.take(p.Text)
	for text != "" && !c.ended {
		// How text is cut makes no difference, so a long one is cut here, and what
		// it takes to judge it does not grow with it.
		n := len(text)
		if n > stride && len(ch.lanes) > 0 {
			for n = stride; !utf8.RuneStart(text[n]); n-- {
			}
		}
		dst = s.read(dst, c, ch, text[:n])
		text = text[n:]
	}
	return dst
}

// stride is how many bytes the rules read at a time.
const stride = 32 << 10

// End says that a candidate is complete, and appends the rest of it. However a
// stream ends, other than by its caller going away, it ends so.
func (s *Screen) End(dst []Piece, candidate int) []Piece {
	c := s.candidate(candidate)
	for _, ch := range c.channels {
		if text := ch.runes.flush(); text != "" && !c.ended {
			dst = s.read(dst, c, ch, text)
		}
	}
	if !c.ended {
		dst = s.close(dst, c)
	}
	return dst
}

// Blocked tells whether a rule has ended the candidate.
func (s *Screen) Blocked(candidate int) bool {
	for _, c := range s.candidates {
		if c.id == candidate {
			return c.blocked
		}
	}
	return false
}

// Verdicts returns what was found so far, in an order that does not depend on
// how the text was cut: by candidate, then channel (in order of arrival), then
// place, then rule. A match that may still grow is not among them yet.
func (s *Screen) Verdicts() []Verdict {
	var out []Verdict
	byID := slices.Clone(s.candidates)
	slices.SortFunc(byID, func(a, b *candidate) int { return cmp.Compare(a.id, b.id) })
	for _, c := range byID {
		for _, ch := range c.channels {
			out = append(out, ch.verdicts(c.id)...)
		}
	}
	return out
}

// Held is how many bytes are held back now, over all candidates, placeholders
// not counted; nor the up to three bytes of a rune that is not complete.
func (s *Screen) Held() int {
	n := 0
	for _, c := range s.candidates {
		n += c.queue.bytes
	}
	return n
}

// Bound is the most bytes of one channel of plain text that the enforcing rules
// ever hold back; false where one of them has no bound. What arrives on other channels of
// a candidate while one is held waits behind it, and is not counted.
func (s *Screen) Bound() (bytes int, bounded bool) {
	for _, r := range s.rules {
		if !r.action.Enforcing() {
			continue
		}
		n, ok := r.guard.Bound()
		if !ok {
			return 0, false
		}
		bytes = max(bytes, n)
	}
	return bytes, true
}

// JSONBound is Bound for a channel of JSON, where one byte that a guard sees can
// be six of the text (\u0061), and where an escape and a number wait until they
// are whole.
func (s *Screen) JSONBound() (bytes int, bounded bool) {
	bytes, bounded = s.Bound()
	const escape, part = len(`\u0061`), 2*surrogate - 1
	if slices.ContainsFunc(s.rules, func(r *rule) bool { return r.action.Enforcing() }) {
		bytes = max(escape*bytes+part, jsonScalar)
	}
	return bytes, bounded
}

func (s *Screen) candidate(id int) *candidate {
	for _, c := range s.candidates {
		if c.id == id {
			return c
		}
	}
	c := &candidate{id: id}
	s.candidates = append(s.candidates, c)
	return c
}

// read takes valid text of a channel: the guards look at it, and what it
// decides is released.
func (s *Screen) read(dst []Piece, c *candidate, ch *channel, text string) []Piece {
	if len(ch.lanes) == 0 {
		at := ch.end
		ch.end += int64(len(text))
		return append(dst, Piece{Candidate: c.id, Channel: ch.name, Text: text, At: at})
	}
	var decision verdictAt
	s.found, decision = ch.scan(text, s.found)
	c.queue.push(ch, text)
	if decision.lane != nil {
		return c.block(dst, ch, decision)
	}
	ch.settle()
	return c.release(dst)
}

// close tells the guards of every channel that the text ends. What that decides
// is decided everywhere at once, so of several blocks the one that starts first
// in the sequence of the candidate counts.
func (s *Screen) close(dst []Piece, c *candidate) []Piece {
	var (
		first verdictAt
		where *channel
		place int64
	)
	for _, ch := range c.channels {
		var decision verdictAt
		s.found, decision = ch.close(s.found)
		if decision.lane == nil {
			continue
		}
		at := c.queue.place(ch, decision.from)
		if where == nil || at < place {
			first, where, place = decision, ch, at
		}
	}
	if where != nil {
		return c.block(dst, where, first)
	}
	for _, ch := range c.channels {
		ch.settle()
	}
	c.ended = true
	return c.release(dst)
}
