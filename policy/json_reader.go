package policy

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Bounds of what is taken for JSON, so that what is kept of it is bounded too.
const (
	jsonDepth  = 10_000 // encoding/json goes as deep
	jsonScalar = 1024   // bytes of a number
)

// jsonReader follows the grammar of RFC 8259 through a text that arrives in
// pieces, and tells what of it is for guards to see. It knows neither guards
// nor offsets.
type jsonReader struct {
	want     jsonWant
	inString bool
	key      bool // that string is a key
	broken   bool // what comes is not JSON
	nesting  jsonNesting

	// unit is the beginning of a number, a literal or an escape: what it is,
	// the next byte tells. A first half of a surrogate pair waits here too.
	unit   []byte
	scalar scalarState
	word   string // the literal it can be
}

// jsonWant is what the grammar allows next, but for white space.
type jsonWant uint8

const (
	wantValue   jsonWant = iota
	wantElement          // a value, or the end of the array that has begun
	wantMember           // a key, or the end of the object that has begun
	wantKey
	wantColon
	wantMore // a comma or an end; nothing where the text is complete
)

// jsonPart is the next part of the text.
type jsonPart struct {
	kind jsonKind
	n    int // bytes of the text that it takes, beyond those in unit before

	// peeked: the next rune told what this is, but is not part of it.
	peeked bool
	rune   rune   // of an escape; half of a pair that is alone is one too
	unit   []byte // of a number or literal, or what was one before it broke; until the next call
}

type jsonKind uint8

const (
	jsonGap    jsonKind = iota // nothing to see, or not yet
	jsonRun                    // of a string, or of what is no JSON: text that is as it reads
	jsonEscape                 // one rune of a string
	jsonClose                  // the end of a string
	jsonWhole                  // a number or a literal
	jsonBroken                 // the end of what is JSON; unit belongs to the rest
	jsonEnd                    // the end of the text
)

// next reads on in text, which is not empty and starts with a whole rune. What
// it returns and where it stands afterwards depends on the whole text alone,
// but for runs and gaps: they end where the text does, and a run may be taken
// in part.
func (r *jsonReader) next(text string) jsonPart {
	switch {
	case r.broken:
		return jsonPart{kind: jsonRun, n: len(text)}
	case r.inString && len(r.unit) > 0:
		return r.escape(text[0])
	case r.inString:
		return r.content(text)
	case len(r.unit) > 0:
		return r.number(text)
	}
	for n := range len(text) {
		switch r.structure(text[n]) {
		case isStructure:
			continue
		case beginsToken:
			return jsonPart{n: n + 1}
		}
		if n > 0 {
			return jsonPart{n: n} // what is before it has been read
		}
		return r.breaks()
	}
	return jsonPart{n: len(text)}
}

// finish reads the end of the text: it is called until it returns jsonEnd.
func (r *jsonReader) finish() jsonPart {
	switch {
	case len(r.unit) == 0:
		return jsonPart{kind: jsonEnd}
	case r.inString && len(r.unit) >= surrogate:
		return r.lone()
	case !r.inString && r.scalar.whole():
		return r.whole()
	}
	return r.breaks()
}

func (r *jsonReader) breaks() jsonPart {
	p := jsonPart{kind: jsonBroken, peeked: true, unit: r.unit}
	r.broken, r.unit, r.nesting = true, r.unit[:0], jsonNesting{}
	return p
}

const (
	isNoJSON = iota
	isStructure
	beginsToken
)

func (r *jsonReader) structure(b byte) int {
	value := r.want == wantValue || r.want == wantElement
	switch b {
	case ' ', '\t', '\n', '\r':
		return isStructure
	case '"':
		if r.key = r.want == wantKey || r.want == wantMember; value || r.key {
			r.inString = true
			return beginsToken
		}
	case '{', '[':
		if value && r.nesting.push(b == '{') {
			if r.want = wantElement; b == '{' {
				r.want = wantMember
			}
			return isStructure
		}
	case '}', ']':
		begun := wantElement
		if b == '}' {
			begun = wantMember
		}
		if (r.want == wantMore || r.want == begun) && r.nesting.pop(b == '}') {
			r.want = wantMore
			return isStructure
		}
	case ':':
		if r.want == wantColon {
			r.want = wantValue
			return isStructure
		}
	case ',':
		if r.want == wantMore && r.nesting.depth > 0 {
			if r.want = wantValue; r.nesting.object() {
				r.want = wantKey
			}
			return isStructure
		}
	default:
		if !value {
			break
		}
		r.word = ""
		switch b {
		case 't':
			r.word = "true"
		case 'f':
			r.word = "false"
		case 'n':
			r.word = "null"
		}
		if r.scalar = scalarBegin.next(b); r.scalar != scalarDead || r.word != "" {
			if r.word != "" {
				r.scalar = scalarWord
			}
			r.unit = append(r.unit[:0], b)
			return beginsToken
		}
	}
	return isNoJSON
}

// content reads the inside of a string.
func (r *jsonReader) content(text string) jsonPart {
	n := 0
	for n < len(text) && text[n] != '"' && text[n] != '\\' && text[n] >= 0x20 {
		n++
	}
	if n > 0 {
		return jsonPart{kind: jsonRun, n: n}
	}
	switch text[0] {
	case '"':
		r.inString = false
		if r.want = wantMore; r.key {
			r.want = wantColon
		}
		return jsonPart{kind: jsonClose, n: 1}
	case '\\':
		r.unit = append(r.unit[:0], '\\')
		return jsonPart{n: 1}
	}
	return r.breaks()
}

// surrogate is how many bytes half of a pair is.
const surrogate = len(`\ud83d`)

// escape reads the next byte of an escape. A first half of a surrogate pair
// stays in unit, and the escape behind it is read as its second half for as
// long as it can be that.
func (r *jsonReader) escape(b byte) jsonPart {
	half := len(r.unit) >= surrogate
	tail := r.unit
	if half {
		tail = tail[surrogate:]
	}
	more := func() jsonPart {
		r.unit = append(r.unit, b)
		return jsonPart{n: 1}
	}
	is := func(c rune) jsonPart {
		r.unit = r.unit[:0]
		return jsonPart{kind: jsonEscape, n: 1, rune: c}
	}
	switch len(tail) {
	case 0:
		if b == '\\' {
			return more()
		}
	case 1:
		if b == 'u' {
			return more()
		}
		if i := strings.IndexByte(`"\/bfnrt`, b); i >= 0 && !half {
			return is(rune("\"\\/\b\f\n\r\t"[i]))
		}
	default:
		low := b | 0x20
		switch {
		case hex(b) < 0,
			half && len(tail) == 2 && low != 'd',
			half && len(tail) == 3 && low < 'c':
		case len(tail) < surrogate-1:
			return more()
		default:
			c := unit16(tail[2:], b)
			switch {
			case half:
				return is(utf16.DecodeRune(unit16(r.unit[2:surrogate-1], r.unit[surrogate-1]), c))
			case 0xD800 <= c && c < 0xDC00:
				return more()
			}
			return is(c)
		}
	}
	if half {
		return r.lone()
	}
	return r.breaks()
}

// lone says that the first half of a pair has no second one.
func (r *jsonReader) lone() jsonPart {
	r.unit = r.unit[:copy(r.unit, r.unit[surrogate:])]
	return jsonPart{kind: jsonEscape, peeked: true, rune: utf8.RuneError}
}

func unit16(digits []byte, last byte) (c rune) {
	for _, b := range digits {
		c = c<<4 | rune(hex(b))
	}
	return c<<4 | rune(hex(last))
}

func hex(b byte) int {
	switch {
	case '0' <= b && b <= '9':
		return int(b - '0')
	case 'a' <= b|0x20 && b|0x20 <= 'f':
		return int(b|0x20-'a') + 10
	}
	return -1
}

// number reads on in a number or a literal.
func (r *jsonReader) number(text string) jsonPart {
	n := 0
	for n < len(text) && len(r.unit) < jsonScalar {
		b := text[n]
		if next := r.scalar.next(b); next != scalarDead {
			r.scalar = next
		} else if r.scalar != scalarWord || len(r.unit) == len(r.word) || r.word[len(r.unit)] != b {
			break
		} else if len(r.unit) == len(r.word)-1 {
			r.scalar = scalarWordWhole
		}
		r.unit = append(r.unit, b)
		n++
	}
	if n > 0 {
		return jsonPart{n: n}
	}
	if r.scalar.whole() && strings.IndexByte(" \t\n\r,:[]{}\"", text[0]) >= 0 {
		return r.whole()
	}
	return r.breaks()
}

func (r *jsonReader) whole() jsonPart {
	p := jsonPart{kind: jsonWhole, peeked: true, unit: r.unit}
	r.unit, r.want = r.unit[:0], wantMore
	return p
}

// scalarState is how far a number or a literal has been read.
type scalarState uint8

const (
	scalarDead scalarState = iota
	scalarBegin
	scalarMinus
	scalarZero
	scalarInteger
	scalarPoint
	scalarFraction
	scalarE
	scalarSign
	scalarExponent
	scalarWord
	scalarWordWhole
)

func (s scalarState) whole() bool {
	switch s {
	case scalarZero, scalarInteger, scalarFraction, scalarExponent, scalarWordWhole:
		return true
	}
	return false
}

// next is the state behind one more byte of a number.
func (s scalarState) next(b byte) scalarState {
	digit := '0' <= b && b <= '9'
	switch s {
	case scalarBegin, scalarMinus:
		switch {
		case b == '0':
			return scalarZero
		case digit:
			return scalarInteger
		case b == '-' && s == scalarBegin:
			return scalarMinus
		}
	case scalarZero, scalarInteger, scalarFraction:
		switch {
		case digit && s != scalarZero:
			return s
		case b == '.' && s != scalarFraction:
			return scalarPoint
		case b|0x20 == 'e':
			return scalarE
		}
	case scalarPoint:
		if digit {
			return scalarFraction
		}
	case scalarE, scalarSign, scalarExponent:
		switch {
		case digit:
			return scalarExponent
		case s == scalarE && (b == '+' || b == '-'):
			return scalarSign
		}
	}
	return scalarDead
}

// jsonNesting is a stack of one bit each: an object, or an array.
type jsonNesting struct {
	objects []uint64
	depth   int
}

func (s *jsonNesting) push(object bool) bool {
	if s.depth == jsonDepth {
		return false
	}
	if s.depth == 64*len(s.objects) {
		s.objects = append(s.objects, 0)
	}
	bit := uint64(1) << (s.depth % 64)
	if s.objects[s.depth/64] &^= bit; object {
		s.objects[s.depth/64] |= bit
	}
	s.depth++
	return true
}

func (s *jsonNesting) pop(object bool) bool {
	if s.depth == 0 || s.object() != object {
		return false
	}
	s.depth--
	return true
}

// object tells whether the innermost is one.
func (s *jsonNesting) object() bool {
	top := s.depth - 1
	return s.objects[top/64]>>(top%64)&1 == 1
}
