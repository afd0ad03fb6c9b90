package guard

import (
	"unicode/utf8"

	"github.com/weir-gateway/weir/policy/fold"
)

// reading reads text by a book, as it comes. It allocates once, when the first
// idea of a rule is said: most text says none.
type reading struct {
	*book
	state  uint16
	before uint8   // atBorder, inWord or inSpaceless
	pause  uint8   // what stood between the last word and here
	word   int32   // words read
	done   []int32 // by step of all rules: the word with which it was last done; nil where none was

	// What was seen on the way since [reading.fresh], so that what is rare is only
	// looked for where it may be.
	sign  bool // not ASCII, and folds to what markers begin with
	quiet bool // not ASCII, and folds to nothing or is not read where it stands
	apart bool // letters that stand apart, several in a row
	solo  int
}

// manyApart is how many letters in a row stand apart where that is no chance.
const manyApart = 6

// fresh forgets what was seen on the way.
func (s *reading) fresh() { s.sign, s.quiet, s.apart, s.solo = false, false, false, 0 }

// What may stand between two words. A sentence that ends, and a line, make the
// words of a phrase stand further apart.
const (
	pauseStop  = 1 << iota // . ! ?
	pauseSpace             // white space, so that a stop before it ends a sentence
	pauseLine
)

const sentenceApart, lineApart = 8, 2 // in words

var pauses = func() (p [utf8.RuneSelf]uint8) {
	p['.'], p['!'], p['?'] = pauseStop, pauseStop, pauseStop
	p[' '], p['\t'], p['\n'], p['\r'] = pauseSpace, pauseSpace, pauseSpace|pauseLine, pauseSpace
	return p
}()

func newReading(b *book) reading {
	s := reading{book: b}
	s.begin()
	return s
}

// begin forgets all that was read.
func (s *reading) begin() {
	s.state, s.before, s.pause, s.word = 0, atBorder, 0, 0
	if !s.loose {
		s.state = s.step(0, between)
	}
	s.forget()
}

// forget takes every step for not done.
func (s *reading) forget() {
	for i := range s.done {
		s.done[i] = -1 << 30
	}
}

func (s *reading) copyFrom(from *reading) {
	done := s.done
	*s = *from
	s.done = done
	if from.done == nil {
		s.forget()
	} else {
		s.done = append(done[:0], from.done...)
	}
}

// read reads on and returns the families that were completed. A text can be cut
// anywhere between two runes.
func (s *reading) read(text []byte) (hits signalSet) {
	begun := -2 // the word that is read; it is no single letter where it began earlier
	for i := 0; i < len(text); {
		c := text[i]
		if c >= utf8.RuneSelf {
			r, n := decode(text[i:])
			hits |= s.rune(r)
			begun = -2
			i += n
			continue
		}
		symbol := s.ascii[c]
		if symbol == between {
			s.pause |= pauses[c]
			if s.before == atBorder {
				i++
				continue
			}
			if s.before == inWord {
				s.alone(i == begun+1)
			}
			s.before = atBorder
		} else if s.before != inWord {
			begun = i
			hits |= s.enter()
		}
		i++
		next := s.dense[int(s.state)*columns+int(symbol)]
		s.state = next &^ spoken
		if next&spoken != 0 {
			hits |= s.speak()
		}
	}
	return hits
}

// decode is that of package utf8, with what Chinese is made of done first.
func decode(text []byte) (rune, int) {
	if c := text[0]; 0xE1 <= c && c <= 0xEC && len(text) >= 3 && text[1]&0xC0 == 0x80 && text[2]&0xC0 == 0x80 {
		return rune(c&0x0F)<<12 | rune(text[1]&0x3F)<<6 | rune(text[2]&0x3F), 3
	}
	return utf8.DecodeRune(text)
}

// alone notes a word that ends, and whether it is a single letter.
func (s *reading) alone(single bool) {
	if !single {
		s.solo = 0
		return
	}
	s.solo++
	s.apart = s.apart || s.solo >= manyApart
}

// close ends the last word.
func (s *reading) close() (hits signalSet) {
	if s.before != atBorder {
		s.before = atBorder
		hits = s.take(between)
	}
	return hits
}

// enter begins a word.
func (s *reading) enter() (hits signalSet) {
	if s.before == inSpaceless {
		hits = s.take(between)
	}
	s.before = inWord
	s.next()
	return hits
}

// next counts a word, and what stood before it.
func (s *reading) next() {
	s.word++
	if s.pause&(pauseStop|pauseSpace) == pauseStop|pauseSpace {
		s.word += sentenceApart
	} else if s.pause&pauseLine != 0 {
		s.word += lineApart
	}
	s.pause = 0
	if s.word > 1<<29 { // begin to count anew, with nothing half done
		s.word = 0
		s.forget()
	}
}

func (s *reading) take(symbol uint16) signalSet {
	s.state = s.step(s.state, symbol)
	if s.first[s.state] != s.first[s.state+1] {
		return s.speak()
	}
	return 0
}

// rune reads a rune that is not ASCII.
func (s *reading) rune(r rune) (hits signalSet) {
	if r == '。' || r == '！' || r == '？' {
		s.pause |= pauseStop | pauseSpace
	}
	one, more := fold.Rune(r)
	if len(more) == 0 {
		return s.folded(one)
	}
	for _, r := range more {
		hits |= s.folded(r)
	}
	return hits
}

func (s *reading) folded(r rune) (hits signalSet) {
	var symbol uint16
	switch {
	case r < 0:
		s.quiet = true
		return 0
	case r < utf8.RuneSelf:
		symbol = uint16(s.ascii[r])
	case fold.Letter(r):
		symbol = s.symbol(r)
	}
	switch {
	case symbol == between:
		if r < utf8.RuneSelf {
			s.pause |= pauses[r]
			s.sign = s.sign || has[r]&hasSign != 0
		}
		if s.before == atBorder {
			return 0
		}
		s.before = atBorder
	case r >= utf8.RuneSelf && spaceless(r):
		if s.before == inWord {
			hits = s.take(between)
		}
		s.alone(s.before == atBorder)
		s.before = inSpaceless
		s.next()
	case s.before != inWord:
		hits = s.enter()
	}
	return hits | s.take(symbol)
}

// speak does the steps of rules that the ideas that end here are.
func (s *reading) speak() (hits signalSet) {
	if s.done == nil {
		s.done = make([]int32, s.steps)
		s.forget()
	}
	for _, said := range s.says[s.first[s.state]:s.first[s.state+1]] {
		start := s.word - int32(said.words) // the word before it
		for _, p := range s.at[said.idea] {
			rule := &s.rules[p.rule]
			at := rule.first + int(p.step)
			if p.step > 0 {
				if apart := start - s.done[at-1]; apart < 0 || apart > rule.gaps[p.step] {
					continue
				}
			}
			s.done[at] = s.word
			if int(p.step) == len(rule.gaps)-1 {
				hits |= 1 << rule.family
			}
		}
	}
	return hits
}

// readLoose reads text by a loose book: letters only, digits and signs that are
// written for letters among them.
func (s *reading) readLoose(text []byte) (hits signalSet) {
	letter := func(r rune) {
		if r < 0 {
			return
		}
		r = fold.Class(r)
		symbol := uint16(between)
		if r < utf8.RuneSelf {
			symbol = uint16(s.ascii[r])
		} else if fold.Letter(r) {
			symbol = s.symbol(r)
		}
		if symbol != between {
			s.word++
			hits |= s.take(symbol)
		}
	}
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		i += n
		one, more := fold.Rune(r)
		if len(more) == 0 {
			letter(one)
		}
		for _, r := range more {
			letter(r)
		}
	}
	return hits
}
