package bpe

import (
	"bytes"
	"slices"
	"sort"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// A Stream counts the tokens of one text that comes in pieces. Its work is
// that of counting the text once, however it is cut, and in the long run it
// allocates nothing. It is used by one goroutine.
//
// Bytes pass through it in stages, and each keeps only what it cannot settle
// yet: the normal form, the tokenizer's own marks such as <think>, then each
// expression that cuts text into pieces, then the merge.
type Stream struct {
	t       *Tokenizer
	settled int    // tokens of what has left all stages
	unsure  bool   // see Exact
	raw     []byte // may be the beginning of a mark, or may compose with what comes
	clean   int    // bytes of raw in which no mark begins
	pile    bool   // what was passed on last composes with marks that come
	normal  []byte // workspace
	cuts    []cut
	rest    []byte // after the last expression: text that it does not match
	end     *Stream
}

// cut is the state of one expression.
type cut struct {
	buffer []byte // from the beginning of the match
	read   int    // bytes of buffer that the automaton has read
	state  uint32
	match  int  // where the best match so far ends, -1 where there is none
	gap    bool // the next stage has got text that is in no match
}

// Stream begins a text.
func (t *Tokenizer) Stream() *Stream {
	s := &Stream{t: t, cuts: make([]cut, len(t.patterns))}
	for i := range s.cuts {
		s.cuts[i].reset()
	}
	return s
}

func (c *cut) reset() {
	c.buffer, c.read, c.state, c.match, c.gap = c.buffer[:0], 0, firstState, -1, false
}

// Write adds to the text. It must be cut between runes. A bad byte counts as
// U+FFFD, which is what a backend is sent in its place.
func (s *Stream) Write(text string) {
	if !utf8.ValidString(text) {
		text = string([]rune(text))
	}
	const most = 4096 // so that a long text needs no second copy of itself
	for len(text) > most {
		n := most
		for !utf8.RuneStart(text[n]) {
			n--
		}
		s.add(text[:n])
		text = text[n:]
	}
	s.add(text)
}

func (s *Stream) add(text string) {
	s.raw = append(s.raw, text...)
	s.marks(false)
}

// Tokens returns what the text has if it ends here. It costs what the part of
// the text costs that is not settled yet.
func (s *Stream) Tokens() int {
	return s.ended().settled
}

// Exact tells whether Tokens is sure. It is not where the text has a code point
// that is younger than our Unicode tables, or a pile of combining marks, since
// the tokenizer may cut such text elsewhere, nor where it has 16 KiB in one piece.
func (s *Stream) Exact() bool {
	return !s.ended().unsure
}

// Most returns a number that Tokens does not exceed, and that is above it by no
// more than the bytes that are not settled yet: each token has at least one. It
// costs nothing.
func (s *Stream) Most() int {
	n := s.settled + len(s.raw) + len(s.rest)
	if s.t.nfc {
		n += 2 * len(s.raw) // no normal form is longer
	}
	for i := range s.cuts {
		n += len(s.cuts[i].buffer)
	}
	return n
}

// ended is a copy of the stream in which the text has ended.
func (s *Stream) ended() *Stream {
	if s.end == nil {
		s.end = s.t.Stream()
	}
	e := s.end
	e.settled, e.unsure, e.clean, e.pile = s.settled, s.unsure, s.clean, s.pile
	e.raw = append(e.raw[:0], s.raw...)
	e.rest = append(e.rest[:0], s.rest...)
	for i, c := range s.cuts {
		c.buffer = append(e.cuts[i].buffer[:0], c.buffer...)
		e.cuts[i] = c
	}
	e.marks(true)
	e.finish(0)
	return e
}

// reset makes the stream ready for another text.
func (s *Stream) reset() {
	s.settled, s.unsure, s.clean, s.pile = 0, false, 0, false
	s.raw, s.rest = s.raw[:0], s.rest[:0]
	for i := range s.cuts {
		s.cuts[i].reset()
	}
}

// marks takes the tokenizer's marks out of the text and sends on what is
// between them, in normal form. With end, no more comes.
func (s *Stream) marks(end bool) {
	from := 0
	for {
		at, size, open := s.t.marks.find(s.raw[from:], s.clean, end)
		if size > 0 {
			s.pass(s.raw[from : from+at])
			s.finish(0)
			s.settled++
			from += at + size
			s.clean, s.pile = 0, false
			continue
		}
		settled := at
		if s.t.nfc && !end {
			settled = max(0, norm.NFC.LastBoundary(s.raw[from:from+at]))
		}
		s.pass(s.raw[from : from+settled])
		from += settled
		s.clean = at - settled
		if !open {
			s.clean = len(s.raw) - from
		}
		s.raw = s.raw[:copy(s.raw, s.raw[from:])]
		return
	}
}

// pass sends text on to the first expression.
func (s *Stream) pass(text []byte) {
	if len(text) == 0 {
		return
	}
	if s.t.nfc {
		// Package norm cuts a pile of more than 30 marks, or puts a joiner into it.
		// Tokenizers do neither.
		s.unsure = s.unsure || s.pile && !norm.NFC.Properties(text).BoundaryBefore()
		_, last := utf8.DecodeLastRune(text)
		s.pile = !norm.NFC.Properties(text[len(text)-last:]).BoundaryAfter()
		if !norm.NFC.IsNormal(text) {
			s.normal = norm.NFC.Append(s.normal[:0], text...)
			joiner := []byte("\u034F")
			s.unsure = s.unsure || bytes.Count(s.normal, joiner) != bytes.Count(text, joiner)
			text = s.normal
		}
	}
	s.write(0, text)
}

// write gives text to a stage. The one after the last expression is the merge.
func (s *Stream) write(stage int, text []byte) {
	if stage == len(s.cuts) {
		s.rest = append(s.rest, text...)
		return
	}
	c := &s.cuts[stage]
	c.buffer = append(c.buffer, text...)
	s.run(stage)
}

// piece gives a stage a text of its own.
func (s *Stream) piece(stage int, text []byte) {
	if stage == len(s.cuts) {
		s.count(text)
		return
	}
	s.write(stage, text)
	s.finish(stage)
}

// longPiece bounds what a merge takes in memory. No word is that long, nor a
// sentence in Chinese.
const longPiece = 1 << 14

// count adds the tokens of a piece. A longer one is counted in parts.
func (s *Stream) count(piece []byte) {
	for len(piece) > longPiece {
		s.unsure = true
		s.settled += s.t.count(piece[:longPiece])
		piece = piece[longPiece:]
	}
	s.settled += s.t.count(piece)
}

// finish tells a stage that its text has ended.
func (s *Stream) finish(stage int) {
	if stage == len(s.cuts) {
		if len(s.rest) > 0 {
			s.count(s.rest)
			s.rest = s.rest[:0]
		}
		return
	}
	c, p := &s.cuts[stage], s.t.patterns[stage]
	for len(c.buffer) > 0 {
		step := p.next[int(c.state)*p.width+p.width-1]
		if step&matched != 0 {
			c.match = c.read
		}
		c.state = deadState
		s.run(stage)
	}
	if c.gap {
		s.finish(stage + 1)
	}
	c.reset()
}

// run reads what is in the buffer of a stage and sends on what is settled.
func (s *Stream) run(stage int) {
	c, p := &s.cuts[stage], s.t.patterns[stage]
	text := c.buffer
	sent, begin, at := 0, 0, c.read // sent: what the next stage has got
	for {
		if c.state == deadState {
			if c.match > begin {
				if sent < begin {
					s.write(stage+1, text[sent:begin])
					c.gap = true
				}
				if c.gap {
					s.finish(stage + 1)
					c.gap = false
				}
				s.piece(stage+1, text[begin:c.match])
				begin = c.match
				sent = begin
			} else {
				_, size := p.class(text[begin:])
				begin += size
			}
			at, c.state, c.match = begin, firstState, -1
		}
		if at >= len(text) {
			break
		}
		class, size := p.class(text[at:])
		step := p.next[int(c.state)*p.width+int(class)]
		if step&(1<<stepBits-1) != 0 {
			if step&matched != 0 {
				c.match = at
			}
			s.unsure = s.unsure || step&unknown != 0
		}
		if c.state = step >> stepBits; c.state != deadState {
			at += size
		}
	}
	if sent < begin {
		s.write(stage+1, text[sent:begin])
		c.gap = true
	}
	if begin > 0 {
		c.buffer = text[:copy(text, text[begin:])]
	}
	if c.match >= 0 {
		c.match -= begin
	}
	c.read = at - begin
}

// marks is the tokens that a tokenizer looks for in the text itself, such as
// <|im_end|> or <think>. One that is found is a token, whatever is around it.
type marks struct {
	first [256]bool
	texts []string // sorted, each once
}

func newMarks(texts []string) (m marks) {
	slices.Sort(texts)
	m.texts = slices.Compact(texts)
	for _, text := range m.texts {
		m.first[text[0]] = true
	}
	return m
}

// find looks for the first mark, from a place in b on. With size 0 there is none
// in b[:at]; open says that one may begin at at, if what follows is right.
func (m *marks) find(b []byte, from int, end bool) (at, size int, open bool) {
	if len(m.texts) == 0 {
		return len(b), 0, false
	}
	for at = from; at < len(b); at++ {
		if !m.first[b[at]] {
			continue
		}
		size, open = m.longest(b[at:])
		if open && !end {
			return at, 0, true
		}
		if size > 0 {
			return at, size, false
		}
	}
	return len(b), 0, false
}

// longest returns the length of the longest mark that b begins with, and whether
// all of b is the beginning of a longer one.
func (m *marks) longest(b []byte) (size int, open bool) {
	texts := m.texts // those that begin with b[:i]
	for i := 0; ; i++ {
		if len(texts[0]) == i {
			size, texts = i, texts[1:]
		}
		if len(texts) == 0 || i == len(b) {
			return size, len(texts) > 0
		}
		from := sort.Search(len(texts), func(j int) bool { return texts[j][i] >= b[i] })
		to := sort.Search(len(texts), func(j int) bool { return texts[j][i] > b[i] })
		if texts = texts[from:to]; len(texts) == 0 {
			return size, false
		}
	}
}
