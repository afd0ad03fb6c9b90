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
	reader *fold.Reader
	emit   fold.Emit

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
	f := &fork{lane: newLane(d), view: v, reader: fold.NewReader(v), since: -1}
	if v == fold.Base64 {
		f.lane.fewest = fewest
	}
	f.emit = f.rune
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
	f.reader.Read(text, f.emit)
	found, f.found = f.found, nil
	return found
}

func (f *fork) close(found []policy.Span) []policy.Span {
	f.found = found
	f.reader.Close(f.emit)
	found, f.found = f.found, nil
	return f.lane.stop(f.at, f.at, found)
}

func (f *fork) hold() int64 { return min(f.lane.hold(), f.reader.Hold()) }

func (f *fork) copy(from *fork) {
	f.lane.copy(&from.lane)
	*f.reader = *from.reader
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
				f.at += int64(n)
				f.lane.pos = f.at
				f.lane.word, f.lane.space, f.lane.letter = false, false, false
				f.reader.Reset(f.at)
			}
			if i += n; i == len(text) {
				break
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
