package fold

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// undo is an escape or encoding that was begun: what its bytes say so far.
type undo struct {
	n     int // bytes of source that nothing was emitted for
	where state
	value rune // digits read so far
	count int  // of digits, or letters of a name
	first rune // of JSON: the high half of a pair

	name  [maxReference]byte
	bytes [4 + 3]byte // of the text that was encoded: the beginning of a rune
	have  int

	word bool // of base64: a group was read, and what goes on may be on the next line
	ends int  // bytes of the end of a line behind it
}

type state uint8

const (
	plain state = iota
	backslash
	digits          // of \u
	pair            // a high half was read
	pairBackslash   // and a backslash
	pairDigits      // and \u
	percent         // a % was read
	percentDigit    // and a digit
	percentMore     // the beginning of a rune was read
	reference       // an & was read
	referenceNumber // and a #
	referenceHex    // and an x
	referenceName
)

// maxReference is the longest reference that counts, &#x10FFFF;.
const maxReference = len("&#x10FFFF;")

// next takes n bytes of source into what is begun.
func (u *undo) next(where state, n int) { u.where, u.n = where, u.n+n }

// done begins anew behind what was emitted.
func (r *Reader) done() { r.undo = undo{} }

// say emits a rune for all of what is begun, n bytes of source short of what
// was read.
func (r *Reader) say(c rune, short int, emit Emit) {
	start, end := r.Hold(), r.pos-int64(short)
	r.done()
	switch {
	case c == Break || c < 0 || c > utf8.MaxRune || 0xD800 <= c && c < 0xE000:
		r.quiet = 0
		emit(Break, start, end)
	default:
		r.fold(c, start, end, emit)
	}
}

func hex(c rune) (rune, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// ---- JSON

const escapes, escaped = `"\/bfnrt`, "\"\\/\b\f\n\r\t"

func (r *Reader) json(c rune, n int, emit Emit) {
	u := &r.undo
	if u.where == plain {
		if c == '\\' {
			u.next(backslash, n)
			return
		}
		r.fold(c, r.pos-int64(n), r.pos, emit)
		return
	}
	u.n += n
	switch u.where {
	case backslash:
		if c == 'u' {
			u.where = digits
			return
		}
		if i := strings.IndexRune(escapes, c); i >= 0 {
			r.say(rune(escaped[i]), 0, emit)
			return
		}
	case pair:
		if c == '\\' {
			u.where = pairBackslash
			return
		}
	case pairBackslash:
		if c == 'u' {
			u.where, u.value, u.count = pairDigits, 0, 0
			return
		}
		// The half stands alone, and the backslash begins something of its own.
		r.undo.n = len(`\ud83d`)
		r.pos -= int64(1 + n)
		r.say(Break, 0, emit)
		r.pos++
		r.undo.next(backslash, 1)
		r.pos += int64(n)
		r.json(c, n, emit)
		return
	default:
		d, ok := hex(c)
		if !ok {
			break
		}
		u.value = u.value<<4 | d
		if u.count++; u.count == 4 {
			r.unit(emit)
		}
		return
	}
	// What was begun is no escape; what ended it may begin another.
	u.n -= n
	r.pos -= int64(n)
	r.say(Break, 0, emit)
	r.pos += int64(n)
	r.json(c, n, emit)
}

// unit takes four digits: a character or half of one.
func (r *Reader) unit(emit Emit) {
	u := &r.undo
	v, first := u.value, u.first
	if u.where == pairDigits {
		if 0xDC00 <= v && v < 0xE000 {
			r.say((first-0xD800)<<10+(v-0xDC00)+0x10000, 0, emit)
			return
		}
		half := len(`\ud83d`)
		u.n = half
		r.pos -= int64(half)
		r.say(Break, 0, emit)
		r.pos += int64(half)
		r.undo.n = half
	}
	if 0xD800 <= v && v < 0xDC00 {
		r.undo.where, r.undo.first = pair, v
		return
	}
	r.say(v, 0, emit)
}

func (r *Reader) closeJSON(emit Emit) {
	if r.undo.where != plain {
		r.say(Break, 0, emit)
	}
}

// ---- percent and references

func (r *Reader) encoded(c rune, n int, emit Emit) {
	u := &r.undo
	if u.where == plain {
		switch c {
		case '%':
			u.next(percent, n)
		case '&':
			u.next(reference, n)
		default:
			r.fold(c, r.pos-int64(n), r.pos, emit)
		}
		return
	}
	u.n += n
	d, isHex := hex(c)
	switch u.where {
	case percent:
		if isHex {
			u.where, u.value = percentDigit, d
			return
		}
	case percentDigit:
		if isHex {
			r.percentByte(byte(u.value<<4|d), emit)
			return
		}
	case percentMore:
		if c == '%' {
			u.where = percent
			return
		}
	case reference:
		switch {
		case c == '#':
			u.where = referenceNumber
			return
		case 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z':
			u.where, u.count, u.name[0] = referenceName, 1, byte(c)
			return
		}
	case referenceNumber, referenceHex:
		hexadecimal := u.where == referenceHex
		base := rune(10)
		if hexadecimal {
			base = 16
		}
		switch {
		case (c == 'x' || c == 'X') && u.count == 0 && !hexadecimal:
			u.where = referenceHex
			return
		case isHex && d < base && u.n < maxReference:
			u.value, u.count = u.value*base+d, u.count+1
			return
		case c == ';' && u.count > 0:
			r.say(u.value, 0, emit)
			return
		case u.count > 0: // readers of HTML forgive that the ; is missing
			v := u.value
			r.again(v, c, n, emit)
			return
		}
	case referenceName:
		if c == ';' {
			if v, ok := named(u.name[:u.count]); ok {
				r.say(v, 0, emit)
				return
			}
		} else if ('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9') && u.n < maxReference {
			u.name[u.count] = byte(c)
			u.count++
			return
		}
	}
	r.again(Break, c, n, emit)
}

// again says what stands for all before the rune that was just read, and reads
// that from the beginning.
func (r *Reader) again(v, c rune, n int, emit Emit) {
	r.undo.n -= n
	r.pos -= int64(n)
	r.say(v, 0, emit)
	r.pos += int64(n)
	r.encoded(c, n, emit)
}

func (r *Reader) percentByte(b byte, emit Emit) {
	u := &r.undo
	u.bytes[u.have] = b
	u.have++
	if !utf8.FullRune(u.bytes[:u.have]) {
		u.where = percentMore
		return
	}
	c, size := utf8.DecodeRune(u.bytes[:u.have])
	if size != u.have || c == utf8.RuneError && size == 1 {
		c = Break
	}
	r.say(c, 0, emit)
}

func (r *Reader) closeEncoded(emit Emit) {
	u := &r.undo
	switch {
	case u.where == plain:
	case (u.where == referenceNumber || u.where == referenceHex) && u.count > 0:
		r.say(u.value, 0, emit)
	default:
		r.say(Break, 0, emit)
	}
}

// names are the references to punctuation and space, with which words are
// written apart, and to what must be escaped in HTML; letters are given by
// number.
var names = []struct {
	name string
	r    rune
}{
	{"NewLine", '\n'}, {"Tab", '\t'}, {"amp", '&'}, {"apos", '\''}, {"ast", '*'}, {"bsol", '\\'}, {"colon", ':'},
	{"comma", ','}, {"commat", '@'}, {"dollar", '$'}, {"emsp", '\u2003'}, {"ensp", '\u2002'}, {"equals", '='},
	{"excl", '!'}, {"grave", '`'}, {"gt", '>'}, {"hyphen", '\u2010'}, {"lowbar", '_'}, {"lpar", '('}, {"lsqb", '['},
	{"lt", '<'}, {"middot", '\u00B7'}, {"nbsp", '\u00A0'}, {"num", '#'}, {"percnt", '%'}, {"period", '.'}, {"plus", '+'},
	{"quest", '?'}, {"quot", '"'}, {"rpar", ')'}, {"rsqb", ']'}, {"semi", ';'}, {"shy", '\u00AD'}, {"sol", '/'},
	{"thinsp", '\u2009'}, {"verbar", '|'}, {"zwj", '\u200D'}, {"zwnj", '\u200C'},
}

func named(name []byte) (rune, bool) {
	i, ok := slices.BinarySearchFunc(names, name, func(n struct {
		name string
		r    rune
	}, want []byte) int {
		return strings.Compare(n.name, string(want))
	})
	if !ok {
		return 0, false
	}
	return names[i].r, true
}

// ---- base64

func sextet(c rune) (rune, bool) {
	switch {
	case 'A' <= c && c <= 'Z':
		return c - 'A', true
	case 'a' <= c && c <= 'z':
		return c - 'a' + 26, true
	case '0' <= c && c <= '9':
		return c - '0' + 52, true
	case c == '+' || c == '-':
		return 62, true
	case c == '/' || c == '_':
		return 63, true
	}
	return 0, false
}

func (r *Reader) base64(c rune, n int, emit Emit) {
	u := &r.undo
	v, ok := sextet(c)
	if u.word && u.count == 0 && u.ends < len("\r\n") && (c == '\r' || c == '\n') {
		u.ends++
		u.n++
		return
	}
	if !ok {
		r.pos -= int64(n)
		r.closeBase64(emit)
		r.pos += int64(n)
		r.quiet = 0
		emit(Break, r.pos-int64(n), r.pos)
		return
	}
	if u.ends > 0 && u.have == 0 {
		emit(Nothing, r.Hold()-1, r.pos-1)
		u.n = 0
	}
	u.ends = 0
	u.n++
	u.value = u.value<<6 | v
	if u.count++; u.count == 4 {
		r.group(3, emit)
	}
}

// group decodes the last group read to so many bytes, and emits the runes that
// are complete. All of one group stand for all of it.
func (r *Reader) group(bytes int, emit Emit) {
	u := &r.undo
	for i := range bytes {
		u.bytes[u.have] = byte(u.value >> (16 - 8*i))
		u.have++
	}
	size := u.count // of this group, in the source
	u.value, u.count, u.word = 0, 0, true
	for u.have > 0 && utf8.FullRune(u.bytes[:u.have]) {
		c, n := utf8.DecodeRune(u.bytes[:u.have])
		if c == utf8.RuneError && n == 1 {
			c = Break
			r.quiet = 0
		}
		u.have = copy(u.bytes[:], u.bytes[n:u.have])
		start := r.Hold()
		u.n = min(u.n, size) // from here on they begin in this group
		if c == Break {
			emit(Break, start, r.pos)
		} else {
			r.fold(c, start, r.pos, emit)
		}
	}
	if u.have == 0 {
		u.n = 0
	}
}

// closeBase64 decodes a group that is not full: as encoders do that leave out
// the padding.
func (r *Reader) closeBase64(emit Emit) {
	u := &r.undo
	if u.count > 1 {
		bytes := u.count - 1
		u.value <<= 6 * (4 - u.count)
		r.group(bytes, emit)
	}
	if u.n > 0 {
		r.say(Break, 0, emit)
	}
	r.done()
}
