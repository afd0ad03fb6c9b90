package guard

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/policy/fold"
)

// viewsByName are the ways in which a lexicon can see text, beside raw.
var viewsByName = map[string]fold.View{
	"fold": fold.Fold, "squeeze": fold.Squeeze, "leet": fold.Leet, "json": fold.JSON, "tags": fold.Tags,
}

// defaultViews are those under which a word list holds however its words are
// spelled.
var defaultViews = []string{"fold", "squeeze", "leet", "json", "tags"}

// viewed is a lexicon over a view of the text: terms and text are folded alike,
// and what is found is told in bytes of the source.
type viewed struct {
	view     fold.View
	terms    *automaton
	whole    bool
	bound    int
	ring     int // marks that a stream keeps, a power of two
	category string
	severity policy.Severity

	idle [256]bool // bytes that leave the root at the root and change nothing else
}

// shortest is how many runes a term has at least where a view takes much for
// it: two letters with something between them are no hidden word.
const shortest = 3

func newViewed(view fold.View, terms []string, whole bool) *viewed {
	v := &viewed{view: view, whole: whole}
	var folded []string
	longest := 0
	for _, term := range terms {
		f := strings.Join(strings.Fields(fold.String(view, term)), " ")
		runes := utf8.RuneCountInString(f)
		if f == "" || strings.ContainsRune(f, utf8.RuneError) {
			continue
		}
		if (view == fold.Squeeze || view == fold.Leet) && runes < shortest {
			continue
		}
		if whole && view != fold.Squeeze {
			f = withBorders(f)
		}
		folded = append(folded, f)
		longest = max(longest, len(f))
		// Each rune may come in its widest form, and with as many runes that say
		// nothing, or separators, as the view lets pass.
		v.bound = max(v.bound, (runes+1)*(fold.MaxQuiet+1)*utf8.UTFMax+fold.Bound(view))
	}
	v.terms = newAutomaton(folded)
	for v.ring = 8; v.ring < longest+2; v.ring *= 2 {
	}
	for b := range v.idle {
		v.idle[b] = v.isIdle(byte(b))
	}
	return v
}

// withBorders puts the border between what is part of a word and what is not.
func withBorders(term string) string {
	var b []byte
	word := false
	for _, r := range term {
		if isWord(r) != word {
			word = !word
			b = append(b, border)
		}
		b = utf8.AppendRune(b, r)
	}
	if word {
		b = append(b, border)
	}
	return string(b)
}

func (v *viewed) isIdle(b byte) bool {
	if b >= utf8.RuneSelf {
		return v.view == fold.Tags && b != 0xF3 // tags are U+E0020 to U+E007E
	}
	if v.view == fold.Tags {
		return true
	}
	if v.view == fold.JSON && b == '\\' {
		return false
	}
	f := fold.String(v.view, string(rune(b)))
	return f == "" || v.terms.root[f[0]] == 0
}

func (v *viewed) Kinds() []policy.Kind {
	return []policy.Kind{{Category: v.category, Severity: v.severity}}
}

// Bound counts what says nothing between the letters of a term.
func (v *viewed) Bound() (int, bool) { return v.bound, true }

func (v *viewed) Open() policy.Stream {
	s := &viewedStream{viewed: v, reader: fold.NewReader(v.view), marks: make([]mark, v.ring)}
	s.emit = s.rune
	return s
}

// viewedStream walks the automaton over the view.
type viewedStream struct {
	*viewed
	reader *fold.Reader
	emit   fold.Emit
	state  uint32
	word   bool  // the last rune was part of one
	space  bool  // the last rune was white space
	gap    bool  // something was left out since the last rune
	passed bool  // the reader was passed by since it last read, and must begin anew
	pos    int64 // in the source
	end    int64 // of the last rune, in the source
	folded int64 // bytes of the view
	marks  []mark
	count  mark // as of now

	// Of the Scan that runs.
	text  string
	base  int64
	found []policy.Span
}

// mark is what is known of a byte of the view.
type mark struct {
	start   int64 // of its rune in the source
	runes   int32 // before its rune
	symbols int32 // of these, those that are no letters in the source
	gaps    int32 // where something was left out, up to its rune
}

func (s *viewedStream) Scan(text string, found []policy.Span) []policy.Span {
	s.text, s.base, s.found = text, s.pos, found
	for i := 0; i < len(text); {
		if s.state == 0 && (s.passed || s.reader.Hold() == s.pos) {
			if n := s.idling(text[i:]); n > 0 {
				i += n
				s.pos += int64(n)
				s.passed = true
				s.end, s.space, s.gap = s.pos, text[i-1] == ' ', false
				continue
			}
		}
		r, n := rune(text[i]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRuneInString(text[i:])
		}
		start := s.pos
		s.pos += int64(n)
		if r, plain := s.plain(r); plain && (s.passed || s.reader.Hold() == start) {
			// The reader would say just this, and be as good as new.
			s.passed = true
			s.rune(r, start, s.pos)
		} else {
			if s.passed {
				s.passed = false
				s.reader.Reset(start)
			}
			s.reader.Read(text[i:i+n], s.emit)
		}
		i += n
	}
	found, s.found, s.text = s.found, nil, ""
	return found
}

// idling is how many bytes at the beginning of text begin no term.
func (s *viewedStream) idling(text string) int {
	for i := range len(text) {
		if b := text[i]; !s.idle[b] || s.whole && (b >= utf8.RuneSelf || isWord(rune(b)) != s.word) {
			for i > 0 && !utf8.RuneStart(text[i]) {
				i--
			}
			return i
		}
	}
	return len(text)
}

// plain returns what the view makes of a rune, where that is one rune and
// depends on nothing before it.
func (v *viewed) plain(r rune) (rune, bool) {
	if v.view == fold.Tags || r == '\\' && v.view == fold.JSON {
		return 0, false
	}
	one, more := fold.Rune(r)
	if len(more) > 0 || one < 0 {
		return 0, false
	}
	switch v.view {
	case fold.Leet:
		one = fold.Class(one)
	case fold.Squeeze:
		if !fold.Letter(one) {
			return 0, false
		}
	}
	return one, one >= 0
}

// rune reads one rune of the view.
func (s *viewedStream) rune(r rune, start, end int64) {
	if s.state == 0 && !s.whole && r >= 0 {
		lead := byte(r)
		if r >= utf8.RuneSelf {
			var buf [utf8.UTFMax]byte
			utf8.EncodeRune(buf[:], r)
			lead = buf[0]
		}
		if s.terms.root[lead] == 0 { // it begins nothing
			s.space, s.gap, s.end = r == ' ', false, end
			return
		}
	}
	switch {
	case r == fold.Nothing:
		s.gap = true
		return
	case r == fold.Break:
		s.leaveWord()
		s.state, s.space, s.gap, s.end = 0, false, false, end
		return
	case r == ' ' && s.space:
		return // white space is one, however much of it there is
	}
	if s.whole && s.view != fold.Squeeze && isWord(r) != s.word {
		if s.word {
			s.leaveWord()
		} else {
			s.word = true
			s.step(border, start)
		}
	}
	if s.gap {
		s.count.gaps++
		s.gap = false
	}
	var buf [utf8.UTFMax]byte
	for _, b := range buf[:utf8.EncodeRune(buf[:], r)] {
		s.step(b, start)
	}
	s.count.runes++
	if s.view == fold.Leet && s.isSymbol(start) {
		s.count.symbols++
	}
	s.space, s.end = r == ' ', end
	s.match()
}

// leaveWord ends a word, if one is open.
func (s *viewedStream) leaveWord() {
	if s.word {
		s.word = false
		s.step(border, s.end)
		s.match()
	}
}

// isSymbol tells whether the rune at an offset is written with what is no
// letter.
func (s *viewedStream) isSymbol(at int64) bool {
	if at < s.base {
		return false
	}
	r, _ := utf8.DecodeRuneInString(s.text[at-s.base:])
	return r < utf8.RuneSelf && !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z')
}

func (s *viewedStream) step(b byte, start int64) {
	m := s.count
	m.start = start
	s.marks[s.folded&int64(s.ring-1)] = m
	s.folded++
	s.state = s.terms.step(s.state, b)
}

// match notes the longest term that ends here and is meant.
func (s *viewedStream) match() {
	if n := int64(s.terms.match[s.state]); n != 0 {
		if first := s.marks[(s.folded-n)&int64(s.ring-1)]; s.meant(first) {
			s.found = append(s.found, policy.Span{Start: first.start, End: s.end, At: s.pos})
		}
	}
	if s.terms.leaf(s.state) {
		s.state = s.terms.fail[s.state]
	}
}

// meant tells whether a term in a view that joins or replaces letters is more
// than chance: joined letters stand apart at most places (so that "as sess" is
// no word), and replaced ones stand among letters.
func (s *viewedStream) meant(first mark) bool {
	runes := s.count.runes - first.runes
	switch s.view {
	case fold.Squeeze:
		gaps := s.count.gaps - first.gaps
		if s.whole {
			return gaps == runes-1
		}
		return 2*gaps > runes-1
	case fold.Leet:
		symbols := s.count.symbols - first.symbols
		return symbols > 0 && 2*symbols <= runes
	}
	return true
}

func (s *viewedStream) Close(found []policy.Span) []policy.Span {
	s.text, s.base, s.found = "", s.pos, found
	if !s.passed {
		s.reader.Close(s.emit)
	}
	s.leaveWord()
	s.state, s.passed = 0, true
	found, s.found = s.found, nil
	return found
}

func (s *viewedStream) Hold() int64 {
	hold := s.pos
	if !s.passed {
		hold = min(hold, s.reader.Hold())
	}
	if depth := int64(s.terms.depth[s.state]); depth > 0 {
		hold = min(hold, s.marks[(s.folded-depth)&int64(s.ring-1)].start)
	}
	return hold
}

func (s *viewedStream) Live() int64 { return s.Hold() }

func (s *viewedStream) Copy(from policy.Stream) {
	f := from.(*viewedStream)
	reader, emit, marks := s.reader, s.emit, s.marks
	*reader = *f.reader
	copy(marks, f.marks)
	*s = *f
	s.reader, s.emit, s.marks = reader, emit, marks
}

// lexiconOf makes the guard of a list of terms in some views.
func lexiconOf(terms []string, views []string, exact, whole bool, kind policy.Kind) policy.Guard {
	var parts []policy.Guard
	for _, name := range views {
		if name == "raw" {
			l := newLexicon(slices.Clone(terms), exact, whole)
			l.category, l.severity = kind.Category, kind.Severity
			parts = append(parts, l)
			continue
		}
		v := newViewed(viewsByName[name], terms, whole)
		v.category, v.severity = kind.Category, kind.Severity
		parts = append(parts, v)
	}
	return newUnion(parts...)
}
