// Package fold shows text the way a reader takes it rather than the way it is
// spelled: without regard to case, accents, width, look-alike letters, invisible
// characters, and traditional or simplified Chinese; and, in further views, with
// letters that were spaced out joined, and escapes and encodings undone.
//
// A view works rune by rune and never looks ahead further than the escape it is
// in, so it can stand in a stream; every rune of a view knows the bytes of the
// source that it stands for. It refuses to know what is looked for, and why. It
// does no I/O and imports nothing of ours.
package fold

import (
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What stands in place of a rune where a view has none.
const (
	// Nothing is a rune that the view leaves out: a mark, a format character, a
	// separator of a squeezed word. Its bytes belong to the rune before it.
	Nothing rune = -1
	// Break is what no word goes across: an escape that is none, or more than
	// [MaxQuiet] runes in a row that say nothing.
	Break rune = -2
)

// MaxQuiet is how many runes in a row may say nothing before they count as a
// [Break]: without such a limit nothing could ever be released behind a letter.
// Unicode's stream-safe format allows 30 marks in a row (UAX #15, section 13).
const MaxQuiet = 32

// Rune returns what a rune folds to: one rune, [Nothing], or, where more is not
// empty, several, which must not be changed. Folding is by code point, and what
// comes out folds to itself:
//
//   - compatibility decomposition (NFKD): full width, mathematical, enclosed,
//     ligatures, Hangul syllables to letters
//   - marks (Mn, Me), format characters (tags among them), variation selectors,
//     soft hyphens, controls and whatever else is ignorable by default: nothing
//   - white space: one kind, U+0020
//   - case: simple folding
//   - look-alikes: UTS #39 confusables, to the ASCII letter where there is one.
//     ASCII itself is left as it is; forms of one letter stay one, but for Greek
//     ΝΥΗ, which look like other Latin letters than their small forms do
//   - Chinese: a character, what it is simplified to, and every other that is
//     written for it are one
//
// A rune that is not valid folds to U+FFFD.
func Rune(r rune) (one rune, more []rune) {
	if uint32(r) < utf8.RuneSelf {
		return folded.ascii[r], nil
	}
	if uint32(r) > unicode.MaxRune || 0xD800 <= r && r < 0xE000 {
		return utf8.RuneError, nil
	}
	switch v := folded.entries[int(folded.pages[r>>pageBits])<<pageBits|int(r)&(1<<pageBits-1)]; v {
	case same:
		return r, nil
	case nothing:
		return Nothing, nil
	default:
		form := folded.runes[folded.forms[v]:folded.forms[v+1]]
		if len(form) == 1 {
			return form[0], nil
		}
		return 0, form
	}
}

// Bar tells whether a rune other than ASCII is shown as a bar, so that it is as
// much an i as the l, or the i, that it folds to.
func Bar(r rune) bool {
	_, ok := slices.BinarySearch(folded.bars, r)
	return ok
}

// Tag returns the ASCII character that a tag character (U+E0020 to U+E007E)
// stands for, and whether r is one. A word can be hidden in tags, and tags can
// be strewn into a word: for the first they are read, for the second left out.
func Tag(r rune) (rune, bool) {
	return r - 0xE0000, 0xE0020 <= r && r <= 0xE007E
}

// Letter tells whether a rune of the folded text is part of a word: a letter or
// a digit, of any script. What is not is a separator.
func Letter(r rune) bool {
	if uint32(r) < utf8.RuneSelf {
		return 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || 'A' <= r && r <= 'Z'
	}
	if 0x4E00 <= r && r <= 0x9FFF {
		return true
	}
	return unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.Is(unicode.Mc, r)
}

// Class returns the letter that stands for what is written for it in leet: the
// classes are 0 o, 1 i l ! |, 2 z, 3 e, 4 a @, 5 s $, 6 9 g, 7 t +, 8 b. A
// rune of the folded text that is in none of them stands for itself.
func Class(r rune) rune {
	if uint32(r) < utf8.RuneSelf {
		return folded.leet[r]
	}
	return r
}

const (
	same     = 0
	nothing  = 1
	pageBits = 7
)

// table is the folding of all code points, in two stages: pages that are alike
// are one.
type table struct {
	ascii   [utf8.RuneSelf]rune
	leet    [utf8.RuneSelf]rune
	pages   [(unicode.MaxRune + 1) >> pageBits]uint16
	entries []uint16 // same, nothing, or the place in forms
	forms   []uint32 // where in runes each form begins; it ends where the next one does
	runes   []rune
	bars    []rune // sorted
}

var folded = newTable()

func newTable() *table {
	t := &table{forms: []uint32{0, 0}}
	forms := map[string]uint16{}
	t.entries = make([]uint16, 1<<pageBits) // page 0: all the same
	set := func(r rune, v uint16) {
		page := &t.pages[r>>pageBits]
		if *page == 0 {
			*page = uint16(len(t.entries) >> pageBits)
			t.entries = append(t.entries, make([]uint16, 1<<pageBits)...)
		}
		t.entries[int(*page)<<pageBits|int(r)&(1<<pageBits-1)] = v
	}
	form := func(to string) uint16 {
		if to == "" {
			return nothing
		}
		v, ok := forms[to]
		if !ok {
			v = uint16(len(t.forms))
			forms[to] = v
			t.forms = append(t.forms, uint32(len(t.runes)))
			t.runes = append(t.runes, []rune(to)...)
		}
		return v
	}
	for r := range rune(utf8.RuneSelf) {
		t.ascii[r], t.leet[r] = r, r
	}
	for line := range strings.Lines(strings.TrimLeft(folds, "\n")) {
		first, last, to, rising, bar := parse(line)
		for r := first; r <= last; r++ {
			out := string(to)
			if rising {
				out = string(to[0] + r - first)
			}
			if bar {
				t.bars = append(t.bars, r)
			}
			if out == string(r) {
				continue
			}
			set(r, form(out))
			if r < utf8.RuneSelf {
				t.ascii[r], _ = utf8.DecodeRuneInString(out)
				if out == "" {
					t.ascii[r] = Nothing
				}
			}
		}
	}
	t.forms = append(t.forms, uint32(len(t.runes)))
	t.hangul(set)
	for _, class := range []string{"o0", "li1!|", "z2", "e3", "a4@", "s5$", "g69", "t7+", "b8"} {
		for _, r := range class {
			t.leet[r] = rune(class[0])
		}
	}
	return t
}

// hangul adds the syllables, whose decomposition is arithmetic (Unicode, section
// 3.12). Each has a form of its own.
func (t *table) hangul(set func(rune, uint16)) {
	letter := func(r rune) []rune {
		v := t.entries[int(t.pages[r>>pageBits])<<pageBits|int(r)&(1<<pageBits-1)]
		if v == same || v == nothing {
			return []rune{r}
		}
		return t.runes[t.forms[v]:t.forms[v+1]]
	}
	const first, vowels, finals = 0xAC00, 21, 28
	for r := rune(first); r <= 0xD7A3; r++ {
		i := r - first
		t.runes = append(t.runes, letter(0x1100+i/(vowels*finals))...)
		t.runes = append(t.runes, letter(0x1161+i/finals%vowels)...)
		if i%finals > 0 {
			t.runes = append(t.runes, letter(0x11A7+i%finals)...)
		}
		set(r, uint16(len(t.forms)-1))
		t.forms = append(t.forms, uint32(len(t.runes)))
	}
}

// parse reads a line of folds, which is generated: that it is well formed is a
// matter of tests.
func parse(line string) (first, last rune, to []rune, rising, bar bool) {
	fields := strings.Fields(line)
	point := func(hex string) rune {
		n, err := strconv.ParseUint(hex, 16, 32)
		if err != nil {
			panic("fold: tables.go: " + err.Error())
		}
		return rune(n)
	}
	from, upTo, isRange := strings.Cut(fields[0], "-")
	first = point(from)
	if last = first; isRange {
		last = point(upTo)
	}
	for _, f := range fields[1:] {
		switch f {
		case "+":
			rising = true
		case "!":
			bar = true
		default:
			to = append(to, point(f))
		}
	}
	return first, last, to, rising, bar
}
