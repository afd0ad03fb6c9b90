package guard

import (
	"strings"
	"unicode/utf8"

	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/policy/fold"
)

// fork is a lane that reads a view in which something is undone: an escape, an
// encoding, what tag characters say.
type fork struct {
	lane   lane
	view   fold.View
	reader fold.Reader

	// Of the read that runs.
	found []policy.Span
	at    int64 // up to where the source was read
	width int64 // of its last rune

	// Of a fork that follows the plain lane: whether it reads by itself; whether
	// the last rune was in the text as the view has it; the end of the last one
	// that was not; and up to where the text of this Scan has none to undo.
	active bool
	same   bool
	since  int64
	passed int
}

// fewest is how many bytes a term must have to be taken from base64: any word
// decodes to something, and three bytes that are a term are nothing rare.
const fewest = 4

func newFork(d *dictionary, v fold.View) *fork {
	f := &fork{lane: newLane(d), view: v, reader: *fold.NewReader(v), since: -1}
	if v == fold.Base64 {
		f.lane.fewest = fewest
	}
	return f
}

func (f *fork) rune(r rune, start, end int64) {
	switch {
	case r == fold.Break || start < f.at-f.width:
		f.since, f.same = end, false
	case r >= 0:
		f.same = true
	case !f.same:
		f.since = end // it belongs to what was undone
	}
	f.found = f.lane.rune(r, 0, start, end, f.at, f.found)
}

func (f *fork) read(text string, found []policy.Span) []policy.Span {
	f.at += int64(len(text))
	f.width = int64(len(text))
	f.found = found
	f.reader.Read(text, f.rune)
	found, f.found = f.found, nil
	return found
}

func (f *fork) close(found []policy.Span) []policy.Span {
	f.found = found
	f.reader.Close(f.rune)
	found, f.found = f.found, nil
	return f.lane.stop(f.at, f.at, found)
}

func (f *fork) hold() int64 { return min(f.lane.hold(), f.reader.Hold()) }

func (f *fork) copy(from *fork) {
	f.lane.copy(&from.lane)
	f.reader = from.reader
	f.at, f.active, f.same, f.since, f.passed = from.at, from.active, from.same, from.since, from.passed
}

// ---- a fork that follows

// until is how far, up to n bytes from i on, the text has nothing to undo.
func (f *fork) until(text string, i, n int) int {
	if f.passed <= i {
		var j int
		if f.view == fold.JSON {
			j = strings.IndexByte(text[i:], '\\')
		} else {
			j = strings.IndexAny(text[i:], "%&")
		}
		if f.passed = len(text); j >= 0 {
			f.passed = i + j
		}
	}
	return min(n, f.passed-i)
}

func (f *fork) triggers(b byte) bool {
	if f.view == fold.JSON {
		return b == '\\'
	}
	return b == '%' || b == '&'
}

// begin takes over from the plain lane, but for what started before something
// that was undone: there the text of this view was another.
func (f *fork) begin(from *lane) {
	f.lane.copy(from)
	for l := &f.lane; l.state != 0 && l.hold() <= f.since; {
		l.state = l.fail[l.state]
	}
	if f.lane.tail <= f.since {
		f.lane.tail = -1
	}
	f.at = from.pos
	f.reader.Reset(f.at)
	f.active = true
}

// inStep tells whether the plain lane knows all that this one does: nothing live
// has anything in it that was undone.
func (f *fork) inStep() bool {
	return f.same && f.reader.Hold() == f.at && f.lane.live() > f.since
}

// ---- one that reads by itself

func (f *fork) alone(text string, found []policy.Span) []policy.Span {
	for i := 0; i < len(text); {
		if f.view == fold.Tags && f.lane.state == 0 && f.lane.tail < 0 {
			// Tags are U+E0020 to U+E007E.
			n := strings.IndexByte(text[i:], 0xF3)
			if n < 0 {
				n = len(text) - i
			}
			if n > 0 {
				f.skip(n)
			}
			if i += n; i == len(text) {
				break
			}
		}
		if f.view == fold.Base64 && f.lane.state == 0 && f.lane.tail < 0 && f.reader.Idle() {
			if n := dull(text[i:], f.least()); n > 0 {
				f.skip(n)
				if i += n; i == len(text) {
					break
				}
			}
		}
		n := 1
		if text[i] >= utf8.RuneSelf {
			_, n = utf8.DecodeRuneInString(text[i:])
		}
		found = f.read(text[i:i+n], found)
		i += n
	}
	return found
}

// skip passes bytes that are nothing but breaks to a lane in which nothing is
// live.
func (f *fork) skip(n int) {
	f.at += int64(n)
	f.lane.pos = f.at
	f.lane.quiet, f.lane.word, f.lane.space, f.lane.letter = 0, false, false, false
	f.reader.Reset(f.at)
}

// least is how many characters the shortest term has that counts: borders are
// bytes of it.
func (f *fork) least() int {
	if f.lane.whole {
		return f.lane.fewest - 2
	}
	return f.lane.fewest
}

// dull is how many bytes at the start of a text, the last of which ends no word
// of base64, cannot have a term of least characters in them. A word that may go
// on behind the text, or on the next line, is not among them.
func dull(text string, least int) (n int) {
	for {
		for n < len(text) && sextets[text[n]] == none {
			n++
		}
		end := n
		for end < len(text) && sextets[text[end]] != none {
			end++
		}
		if end == len(text) || text[end] == '\r' || text[end] == '\n' || !gibberish(text[n:end], least) {
			return n
		}
		n = end
	}
}

// gibberish tells of a word whether what it decodes to has no least characters
// of ASCII in a row and no other ones. ASCII folds to ASCII, one to one.
func gibberish(word string, least int) bool {
	var bits uint32
	have, run := 0, 0
	var lead byte // the byte before
	for i := 0; i < len(word); i++ {
		bits = bits<<6 | uint32(sextets[word[i]])
		if have += 6; have < 8 {
			continue
		}
		have -= 8
		b := byte(bits >> have)
		switch {
		case b < utf8.RuneSelf:
			if run++; run == least {
				return false
			}
		case 0x80 <= b && b < 0xC0 && lead >= 0xC2:
			return false // it may be a rune
		default:
			run = 0
		}
		lead = b
	}
	return true
}

// none is what is no digit of base64.
const none = 0xFF

// sextets are the digits of both alphabets of base64.
var sextets = func() (table [256]byte) {
	for c := range table {
		table[c] = none
	}
	for i, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/" {
		table[c] = byte(i)
	}
	table['-'], table['_'] = table['+'], table['/']
	return table
}()
