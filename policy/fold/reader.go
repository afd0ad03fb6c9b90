package fold

import (
	"strings"
	"unicode/utf8"
)

// View is a way to see text.
type View uint8

const (
	// Fold is every rune as [Rune] folds it.
	Fold View = iota
	// Tags is what tag characters say, folded, and nothing else: any other rune
	// is a Break.
	Tags
	// Squeeze is Fold without what is not a [Letter]; more than [MaxSeparators]
	// of that in a row are a Break.
	Squeeze
	// JSON is Fold of the text with the escapes of JSON strings undone (RFC
	// 8259, section 7): \n, \", \u0066, a pair of surrogates. A backslash that
	// begins no escape, and half of a pair, are a Break.
	JSON
	// Encoded is Fold of the text with %XX (RFC 3986, section 2.1, UTF-8 inside)
	// and the character references of HTML (&#102; &#x66; &amp; and the other
	// names of punctuation and space) undone. What only looks like one is a Break.
	Encoded
	// Base64 is Fold of what words of the base64 alphabets (RFC 4648, sections 4
	// and 5) decode to, a whole group of four at a time; the end of a line behind a
	// group is nothing (RFC 2045, section 6.8), and anything else, and what decodes
	// to no UTF-8, is a Break. Most words decode to something: who looks at this
	// view wants a match of some length.
	Base64
)

// MaxSeparators is how many separators may stand between two letters of a word
// in [Squeeze]: up to three between any two, and so seven where a space of the
// word stands between two of them (a - b -   - c).
const MaxSeparators = 7

// String is what the view makes of a text, for the terms that are looked for
// in it: those of a word list are written plainly, so JSON, Encoded, Base64 and
// Tags fold them and no more. A Break is U+FFFD.
func String(v View, s string) string {
	if v != Squeeze {
		v = Fold
	}
	var b strings.Builder
	emit := func(r rune, _, _ int64) {
		switch r {
		case Nothing:
		case Break:
			b.WriteRune(utf8.RuneError)
		default:
			b.WriteRune(r)
		}
	}
	r := NewReader(v)
	r.Read(s, emit)
	r.Close(emit)
	return b.String()
}

// Reader reads a text through a view as it comes. It says the same for every
// way to cut the text at runes, and does not allocate. It is used by one
// goroutine.
type Reader struct {
	view  View
	pos   int64 // of the source, read
	quiet int   // runes in a row that said nothing
	apart int   // separators since the last letter

	undo undo
}

// Emit takes one rune of a view, which stands for bytes [start, end) of the
// source; [Nothing] and [Break] stand for bytes as well. A rune that folds to
// several gives each of them the same bytes. Starts and ends never decrease,
// and every byte is in some call.
type Emit func(r rune, start, end int64)

// NewReader begins a text.
func NewReader(v View) *Reader { return &Reader{view: v} }

// Reset begins a text at an offset other than 0.
func (r *Reader) Reset(at int64) {
	*r = Reader{view: r.view, pos: at}
}

// Hold is the offset up to which everything was emitted: less than what was
// read only inside an escape.
func (r *Reader) Hold() int64 { return r.pos - int64(r.undo.n) }

// Idle tells whether what was read last ends whatever was begun, so that what
// follows reads as it would at the start of a text.
func (r *Reader) Idle() bool { return r.undo == undo{} }

// Bound is the most bytes of source between [Reader.Hold] and what was read.
func Bound(v View) int {
	switch v {
	case JSON:
		return len(`\ud83d\ude0`)
	case Encoded:
		return maxReference
	case Base64:
		return 4 + len("\r\n") + 3 // a rune may begin at the end of a group, and end with the next
	}
	return 0
}

// Read reads on: text is valid UTF-8 (an invalid byte is read as U+FFFD) and
// ends on a rune.
func (r *Reader) Read(text string, emit Emit) {
	for i := 0; i < len(text); {
		c, n := rune(text[i]), 1
		if c >= utf8.RuneSelf {
			c, n = utf8.DecodeRuneInString(text[i:])
		}
		i += n
		r.rune(c, n, emit)
	}
}

// Close says that the text ends here.
func (r *Reader) Close(emit Emit) {
	switch r.view {
	case JSON:
		r.closeJSON(emit)
	case Encoded:
		r.closeEncoded(emit)
	case Base64:
		r.closeBase64(emit)
	}
}

// rune reads one rune of n bytes.
func (r *Reader) rune(c rune, n int, emit Emit) {
	r.pos += int64(n)
	switch r.view {
	case Tags:
		if ascii, ok := Tag(c); ok {
			r.fold(ascii, r.pos-int64(n), r.pos, emit)
		} else {
			emit(Break, r.pos-int64(n), r.pos)
		}
	case JSON:
		r.json(c, n, emit)
	case Encoded:
		r.encoded(c, n, emit)
	case Base64:
		r.base64(c, n, emit)
	default:
		r.fold(c, r.pos-int64(n), r.pos, emit)
	}
}

// fold emits what a rune folds to.
func (r *Reader) fold(c rune, start, end int64, emit Emit) {
	one, more := Rune(c)
	if len(more) == 0 {
		r.emit(one, start, end, emit)
		return
	}
	for _, c := range more {
		r.emit(c, start, end, emit)
	}
}

func (r *Reader) emit(c rune, start, end int64, emit Emit) {
	if r.view == Squeeze && c >= 0 {
		if !Letter(c) {
			if r.apart++; r.apart > MaxSeparators {
				emit(Break, start, end)
			} else {
				emit(Nothing, start, end)
			}
			return
		}
		r.apart = 0
	}
	if c != Nothing {
		r.quiet = 0
		emit(c, start, end)
		return
	}
	if r.quiet++; r.quiet > MaxQuiet {
		c = Break
	}
	emit(c, start, end)
}
