package guard

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/weir-gateway/weir/policy/fold"
)

// dictionary is a list of terms as one kind of lane reads them: folded and, for
// leet, with one letter for each class of signs that can be read as it. A class
// is coarse: "lo" stands for "10" as well. Which of the terms that are alike in
// class a text says is looked up once their common form was found.
type dictionary struct {
	*automaton
	leet, whole bool
	kindOf      []uint32 // by term, in leet by form; nil where all are of the first kind

	// Of leet: the folded terms, the ones that are alike next to each other; where
	// those of a term of the automaton begin, and how many there are before them.
	forms  []byte
	from   []uint32
	before []uint32 // nil as kindOf

	starts
	words [utf8.RuneSelf]bool // which ASCII is part of a word
	after []uint32            // where each of the plain characters leads from the root
}

// newDictionary takes terms that are folded; white space in them is one space.
func newDictionary(entries []entry, leet, whole bool) *dictionary {
	d := &dictionary{leet: leet, whole: whole}
	for b := range d.words {
		d.words[b] = d.isWord(rune(b))
	}
	for i, e := range entries {
		if whole {
			entries[i].text = d.withBorders(e.text)
		}
	}
	var terms []string
	if leet {
		terms = d.alike(sortEntries(entries))
	} else {
		terms, d.kindOf = textsOf(sortEntries(entries))
	}
	d.automaton = newAutomaton(terms)
	d.starts = newStarts(terms, leet)
	d.after = make([]uint32, lastPlain-firstPlain+1)
	for r := rune(firstPlain); r <= lastPlain; r++ {
		if s := d.root[0xE0|byte(r>>12)]; s != 0 {
			if s = d.child(s, 0x80|byte(r>>6)&0x3F); s != 0 {
				d.after[r-firstPlain] = d.child(s, 0x80|byte(r)&0x3F)
			}
		}
	}
	return d
}

// stepPlain reads a plain character at once, from a state that is the end of a
// rune.
func (d *dictionary) stepPlain(s uint32, r rune) uint32 {
	for ; s != 0; s = d.fail[s] {
		t := d.child(s, 0xE0|byte(r>>12))
		if t == 0 {
			continue
		}
		if t = d.child(t, 0x80|byte(r>>6)&0x3F); t == 0 {
			continue
		}
		if t = d.child(t, 0x80|byte(r)&0x3F); t != 0 {
			return t
		}
	}
	return d.after[r-firstPlain]
}

// alike keeps the terms, which are sorted, by their form in classes, and returns
// the forms.
func (d *dictionary) alike(entries []entry) (forms []string) {
	type pair struct {
		form string
		entry
	}
	pairs := make([]pair, len(entries))
	for i, e := range entries {
		pairs[i] = pair{classed(e.text), e}
	}
	slices.SortStableFunc(pairs, func(a, b pair) int { return strings.Compare(a.form, b.form) })
	for i, p := range pairs {
		entries[i] = p.entry
		if i == 0 || p.form != forms[len(forms)-1] {
			forms = append(forms, p.form)
			d.from = append(d.from, uint32(len(d.forms)))
			d.before = append(d.before, uint32(i))
		}
		d.forms = append(d.forms, p.text...)
	}
	d.from = append(d.from, uint32(len(d.forms)))
	if _, d.kindOf = textsOf(entries); d.kindOf == nil {
		d.before = nil
	}
	return forms
}

// classed replaces signs by their classes: a byte for a byte.
func classed(term string) string {
	b := []byte(term)
	for i := range b {
		if b[i] < utf8.RuneSelf {
			b[i] = byte(fold.Class(rune(b[i])))
		}
	}
	return string(b)
}

// withBorders puts the border between what is part of a word and what is not.
func (d *dictionary) withBorders(term string) string {
	var b []byte
	word := false
	for _, r := range term {
		if d.isWord(r) != word {
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

// isWord tells whether a rune is part of a word; in leet, a sign is that can be
// read as a letter.
func (d *dictionary) isWord(r rune) bool {
	if d.leet {
		r = fold.Class(r)
	}
	return isWord(r)
}

// bar stands, in the text of a lane, for what is shown as a bar: an i or an l.
const bar = 0x01

// shortest is how many runes a term must have to be looked for in leet, and,
// where words have borders, spelled apart: of two letters it would be found
// where nobody meant it.
const shortest = 3

// says tells whether text, which is a term of the automaton but for classes, is
// that term: as it stands, or in leet. Leet mixes letters and signs, of which @
// and $ are in no number and as good as a letter, but in front, where prices and
// handles have them; where more than half are signs it has to begin a word
// (5h17), for any number would do inside one (d4a55e). It returns the kind of the term as well: in leet, of the
// first one that is meant.
func (d *dictionary) says(end ending, text []byte, begins bool) (kind int, ok bool) {
	if !d.leet {
		return kindAt(d.kindOf, end.term), true
	}
	first := uint32(0)
	if d.kindOf != nil {
		first = d.before[end.term]
	}
	for i, at := first, d.from[end.term]; at < d.from[end.term+1]; i, at = i+1, at+uint32(end.length) {
		if same(d.forms[at:at+uint32(end.length)], text) {
			return kindAt(d.kindOf, i), true
		}
	}
	runes, signs, letters, either := 0, 0, 0, 0 // either a sign or a letter
	for _, b := range text {
		switch {
		case b == border || b&0xC0 == 0x80:
			continue
		case b == bar:
			either++
		case (b == '@' || b == '$') && runes > 0:
			signs++
			letters++
		case b >= utf8.RuneSelf || 'a' <= b && b <= 'z':
			letters++
		case fold.Class(rune(b)) != rune(b):
			signs++
		}
		runes++
	}
	return kindAt(d.kindOf, first), runes >= shortest && signs+either > 0 && letters+either > 0 && (2*signs <= runes || begins)
}

func same(term, text []byte) bool {
	for i, b := range text {
		if b != term[i] && (b != bar || term[i] != 'i' && term[i] != 'l') {
			return false
		}
	}
	return true
}

// starts tells, of the first characters of a stretch of text, whether a term
// may begin so: what lets most text pass at little cost. It knows plain bytes,
// which are ASCII but for controls, and plain characters, which are those of
// U+3000 to U+9FFF that fold to one of them; anything else may begin anything.
type starts struct {
	class [utf8.RuneSelf]byte // what a byte of text is in the automaton; 0 is not plain
	code  [256]uint8          // of a byte of text: five bits, or odd
	idle  [256]bool           // plain bytes that begin no term
	quads []uint32            // by the codes of three bytes: which fourth ones continue a term
	opens []uint8             // by character: whether no, some or all characters may follow
	pairs []uint64            // a set of hashes of characters and what follows
	shift uint8               // of a hash, to its place there
}

const (
	odd   = 0xFF // not plain
	white = 27   // the code of white space
)

const firstPlain, lastPlain = 0x3000, 0x9FFF

// plainRunes is what each of the plain characters folds to; 0 is not plain.
var plainRunes = func() (out [lastPlain - firstPlain + 1]uint16) {
	for r := rune(firstPlain); r <= lastPlain; r++ {
		if to, more := fold.Rune(r); more == nil && firstPlain <= to && to <= lastPlain {
			out[r-firstPlain] = uint16(to)
		}
	}
	return out
}()

// plainRune returns what the three bytes at the beginning of text fold to, where
// that is a plain character, else 0.
func plainRune(text string) rune {
	if len(text) < 3 || text[0] < 0xE3 || text[0] > 0xE9 {
		return 0
	}
	return rune(plainRunes[(rune(text[0]&0x0F)<<12|rune(text[1]&0x3F)<<6|rune(text[2]&0x3F))-firstPlain])
}

func newStarts(terms []string, leet bool) starts {
	f := starts{quads: make([]uint32, 1<<15), opens: make([]uint8, lastPlain-firstPlain+1)}
	for b := range f.code {
		f.code[b] = odd
		if b >= utf8.RuneSelf {
			continue
		}
		if r, _ := fold.Rune(rune(b)); r >= 0 {
			if leet {
				r = fold.Class(r)
			}
			f.class[b] = byte(r)
			f.code[b] = code(byte(r))
			f.idle[b] = true
		}
	}
	pairs := map[uint32]bool{}
	for _, term := range terms {
		term = strings.TrimPrefix(term, string([]byte{border}))
		if term[0] < utf8.RuneSelf {
			for b := range f.class {
				if f.class[b] == term[0] {
					f.idle[b] = false
				}
			}
			f.ascii(term)
			continue
		}
		first, n := utf8.DecodeRuneInString(term)
		if first < firstPlain || first > lastPlain {
			continue // it begins with what is not plain in the text either
		}
		at := &f.opens[first-firstPlain]
		second, _ := utf8.DecodeRuneInString(term[n:])
		if len(term) == n || term[n] == border {
			*at = 2
			continue
		}
		*at = max(*at, 1)
		pairs[hash(first, second)] = true
	}
	bits := 10
	for 1<<bits < 8*len(pairs) {
		bits++
	}
	f.shift = uint8(32 - bits)
	f.pairs = make([]uint64, 1<<bits/64)
	for h := range pairs {
		at := h >> f.shift
		f.pairs[at/64] |= 1 << (at % 64)
	}
	return f
}

func code(b byte) uint8 {
	switch {
	case 'a' <= b && b <= 'z':
		return b - 'a' + 1
	case b == ' ':
		return white
	}
	return 0
}

func hash(a, b rune) uint32 { return (uint32(a)<<15 ^ uint32(b)) * 0x9E3779B1 }

// ascii notes the first four bytes of a term. What follows white space is left
// open, for there may be more of that in the text; so is what is at the border
// of a word, and what is not ASCII.
func (f *starts) ascii(term string) {
	low, high := [4]uint8{}, [4]uint8{31, 31, 31, 31}
	for i := 0; i < 4 && i < len(term); i++ {
		if term[i] >= utf8.RuneSelf {
			break
		}
		low[i] = code(term[i])
		high[i] = low[i]
		if low[i] == white {
			break
		}
	}
	mask := uint32(1) << low[3]
	if high[3] != low[3] {
		mask = ^uint32(0)
	}
	for a := int(low[0]); a <= int(high[0]); a++ {
		for b := int(low[1]); b <= int(high[1]); b++ {
			for c := int(low[2]); c <= int(high[2]); c++ {
				f.quads[a<<10|b<<5|c] |= mask
			}
		}
	}
}

// passQuads is pass as long as there are four plain bytes to look at: they go
// through a window, one test each.
func (f *starts) passQuads(text string) int {
	if len(text) < 4 {
		return 0
	}
	a, b, c := uint32(f.code[text[0]]), uint32(f.code[text[1]]), uint32(f.code[text[2]])
	if (a|b|c)&0x80 != 0 {
		return 0
	}
	quads := (*[1 << 15]uint32)(f.quads)
	window := a<<10 | b<<5 | c
	for i := 3; i < len(text); i++ {
		d := uint32(f.code[text[i]])
		if quads[window&(1<<15-1)]>>(d&31)&1 != 0 || d == odd {
			return i - 3
		}
		window = window<<5 | d
	}
	return len(text) - 3
}

// pass is how many bytes at the beginning of text begin no term.
func (f *starts) pass(text string) int {
	i := 0
	for i < len(text) {
		i += f.passQuads(text[i:])
		b := text[i]
		if b < utf8.RuneSelf {
			c := uint(f.code[b])
			if c == odd {
				return i
			}
			if f.idle[b] {
				i++
				continue
			}
			if i+3 >= len(text) {
				return i
			}
			d, e := uint(f.code[text[i+1]]), uint(f.code[text[i+2]])
			if d == odd || e == odd {
				return i
			}
			quad := f.quads[(c<<10|d<<5|e)&(1<<15-1)]
			if quad != 0 {
				if last := f.code[text[i+3]]; last == odd || quad>>last&1 == 1 {
					return i
				}
			}
			i++
			continue
		}
		r := plainRune(text[i:])
		if r == 0 {
			return i
		}
		switch f.opens[r-firstPlain] {
		case 0:
		case 2:
			return i
		default:
			if i+3 == len(text) {
				return i
			}
			next := rune(0)
			if b := text[i+3]; b >= utf8.RuneSelf {
				next = plainRune(text[i+3:])
			} else if f.code[b] != odd {
				next = rune(f.class[b])
			}
			if next == 0 {
				return i
			}
			if at := hash(r, next) >> f.shift; f.pairs[at/64]>>(at%64)&1 == 1 {
				return i
			}
		}
		i += 3
	}
	return i
}
