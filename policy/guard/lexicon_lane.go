package guard

import (
	"slices"
	"unicode/utf8"

	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/policy/fold"
)

// lane reads one view of a text through a dictionary. The state of the automaton
// is the longest suffix of the view that begins a term, so where that starts in
// the source is all that has to be held.
type lane struct {
	*dictionary
	fewest int // bytes of a term that counts
	state  uint32
	pos    int64 // of the source, read
	folded int64 // bytes of the view put through the automaton

	// Where the bytes of the view are in the source: drift is how much further
	// the next one is there than here, and anchors are where that changed, as far
	// back as a term can start. Before the first of them it was base.
	drift, base int64
	anchors     []anchor

	// Of a dictionary with leet: the view before classes, up to folded, as far
	// back as a term can start; and whether a letter stands before it.
	text   []byte
	window []byte // scratch
	letter bool

	word  bool  // the last rune was part of a word
	space bool  // the last rune was white space
	quiet int   // runes in a row that said nothing
	tail  int64 // where the longest term starts that ended with the last rune; -1 is none
	kind  int   // of that term
}

type anchor struct{ folded, drift int64 }

func newLane(d *dictionary) lane { return lane{dictionary: d, tail: -1} }

// copy makes l continue where from stands.
func (l *lane) copy(from *lane) {
	anchors, text, window := append(l.anchors[:0], from.anchors...), append(l.text[:0], from.text...), l.window
	*l = *from
	l.anchors, l.text, l.window = anchors, text, window
}

// hold is where the earliest term starts that may still come.
func (l *lane) hold() int64 {
	if l.state == 0 {
		return l.pos
	}
	return l.source(l.folded - int64(l.depth[l.state]))
}

// live is less where a term has ended that marks may still be added to.
func (l *lane) live() int64 {
	if l.tail >= 0 {
		return min(l.tail, l.hold())
	}
	return l.hold()
}

// source is where a byte of the view starts in the source.
func (l *lane) source(folded int64) int64 {
	for i := len(l.anchors) - 1; i >= 0; i-- {
		if a := l.anchors[i]; a.folded <= folded {
			return folded + a.drift
		}
	}
	return folded + l.base
}

// rune reads one rune of the view, folded, that stands for [start, end) of the
// source, when the source was read up to at.
func (l *lane) rune(r, source rune, start, end, at int64, found []policy.Span) []policy.Span {
	switch {
	case r == fold.Break:
		return l.stop(end, at, found)
	case r == fold.Nothing, r == ' ' && l.space:
		return l.nothing(end, at, found)
	}
	if l.state == 0 {
		l.forget()
	}
	l.tail, l.quiet, l.space = -1, 0, r == ' '
	if l.whole && l.isWord(r) != l.word {
		l.word = !l.word
		l.put(border, border, start)
		found = l.ending(l.pos, at, found)
		l.tail = -1
	}
	l.pos = end
	if r < utf8.RuneSelf {
		b := byte(r)
		class := b
		if l.leet {
			class = byte(fold.Class(r))
			if (r == 'i' || r == 'l') && fold.Bar(source) {
				b = bar
			}
		}
		l.put(class, b, start)
	} else {
		var buf [utf8.UTFMax]byte
		for _, b := range buf[:utf8.EncodeRune(buf[:], r)] {
			l.put(b, b, start)
		}
	}
	return l.ending(end, at, found)
}

// put reads one byte of the view: of its class, and as it is.
func (l *lane) put(class, b byte, start int64) {
	// The bytes of one rune all start where it does; that only the first is exact
	// harms nothing, for terms start on runes.
	if drift := start - l.folded; drift != l.drift && (b&0xC0 != 0x80 || b < utf8.RuneSelf) {
		l.drift = drift
		if l.state == 0 {
			l.base = drift
		} else {
			l.anchors = append(l.anchors, anchor{l.folded, drift})
		}
	}
	l.folded++
	if l.leet {
		l.text = append(l.text, b)
	}
	l.state = l.step(l.state, class)
}

// ending reports the longest term that ends here, for it contains the others,
// and leaves a state that nothing continues, for that holds nothing.
func (l *lane) ending(end, at int64, found []policy.Span) []policy.Span {
	for m := l.match[l.state]; m != 0; m = l.ends[m].shorter {
		n := int(l.ends[m].length)
		if n < l.fewest {
			break
		}
		kind, ok := l.says(l.ends[m], l.last(n), l.begins(n))
		if !ok {
			continue
		}
		l.tail, l.kind = l.source(l.folded-int64(n)), kind
		found = append(found, policy.Span{Start: l.tail, End: end, At: at, Kind: kind})
		break
	}
	if l.leaf(l.state) {
		l.state = l.fail[l.state]
	}
	return found
}

// last is the last n bytes of the view, of a dictionary with leet.
func (l *lane) last(n int) []byte {
	if !l.leet {
		return nil
	}
	return l.text[len(l.text)-n:]
}

// begins tells whether no letter stands before them.
func (l *lane) begins(n int) bool {
	if n >= len(l.text) {
		return !l.letter
	}
	return !endsInLetter(l.text[:len(l.text)-n])
}

func endsInLetter(text []byte) bool {
	r, _ := utf8.DecodeLastRune(text)
	return joins(r) || r == bar
}

// joins tells whether a rune of the folded text, before a word, makes one with
// it: Chinese characters do not.
func joins(r rune) bool { return fold.Letter(r) && isWord(r) }

// nothing reads a rune that the view leaves out. It belongs to the one before.
func (l *lane) nothing(end, at int64, found []policy.Span) []policy.Span {
	if l.quiet++; l.quiet > fold.MaxQuiet {
		return l.stop(end, at, found)
	}
	l.pos = end
	if l.tail >= 0 {
		found = append(found, policy.Span{Start: l.tail, End: end, At: at, Grown: true, Kind: l.kind})
	}
	return found
}

// stop reads what no term goes across, or the end of the text.
func (l *lane) stop(end, at int64, found []policy.Span) []policy.Span {
	if l.word {
		l.put(border, border, l.pos)
		found = l.ending(l.pos, at, found)
	}
	l.state, l.pos = 0, end
	l.tail, l.quiet, l.word, l.space = -1, 0, false, false
	l.forget()
	l.letter = false
	return found
}

// forget drops what is remembered of what is before anything live.
func (l *lane) forget() {
	live := l.folded - int64(l.depth[l.state])
	n := 0
	for n < len(l.anchors) && l.anchors[n].folded <= live {
		l.base = l.anchors[n].drift
		n++
	}
	if n > 0 {
		l.anchors = slices.Delete(l.anchors, 0, n)
	}
	if l.state == 0 {
		l.base = l.drift
	}
	if drop := len(l.text) - int(l.depth[l.state]); drop > 0 {
		l.letter = endsInLetter(l.text[:drop])
		l.text = append(l.text[:0], l.text[drop:]...)
	}
}

// ---- the text itself, folded

// fold reads a rune of the source as it folds.
func (l *lane) fold(r rune, n int, found []policy.Span) []policy.Span {
	if len(l.text) > 1<<12 || len(l.anchors) > 1<<8 {
		l.forget()
	}
	start := l.pos
	end := start + int64(n)
	one, more := fold.Rune(r)
	if len(more) == 0 {
		return l.rune(one, r, start, end, end, found)
	}
	for _, one := range more {
		found = l.rune(one, r, start, end, end, found)
	}
	return found
}

// scan reads a stretch of text. What is plain, and begins no term, goes by fast.
func (l *lane) scan(text string, found []policy.Span) []policy.Span {
	base := l.pos
	seen := 0 // up to where matches are reported
	back := 0 // where it went back to a live start last
	for i := 0; i < len(text); {
		if l.state == 0 {
			var n int
			if l.whole {
				n = l.passWords(text[i:])
			} else {
				n, found = l.plain(text[i:], seen-i, found)
			}
			if i += n; i == len(text) {
				break
			}
		}
		r, n := rune(text[i]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRuneInString(text[i:])
		}
		found = l.fold(r, n, found)
		i += n
		seen = i
		// What is live may be plain again: then it is cheaper to look at it once
		// more, from where it starts.
		if depth := int(l.depth[l.state]); depth > 0 && depth < 4 && !l.whole && l.tail < 0 {
			if start := int(l.hold() - base); start > back && start+depth == i && isPlain(text[start:i]) {
				back = start
				l.leave(text[:start], base)
				i = start
			}
		}
	}
	return found
}

// isPlain tells whether the few bytes of text are ASCII, or one plain character.
func isPlain(text string) bool {
	if text[0] >= utf8.RuneSelf {
		return plainRune(text) != 0
	}
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// leave makes the lane stand at the end of text, which starts at base and ends
// with a rune that is not left out, with nothing live.
func (l *lane) leave(text string, base int64) {
	l.state, l.tail, l.quiet = 0, -1, 0
	l.pos = base + int64(len(text))
	l.drift = l.pos - l.folded
	l.forget()
	r, _ := utf8.DecodeLastRuneInString(text)
	one, more := fold.Rune(r)
	if len(more) > 0 {
		one = more[len(more)-1]
	}
	if one >= 0 {
		l.space, l.word, l.letter = one == ' ', l.isWord(one), joins(one)
	}
}

// passWords reads text in which no whole word begins, and returns how much.
func (l *lane) passWords(text string) int {
	word := l.word
	i := 0
	for i < len(text) {
		b := text[i]
		if b < utf8.RuneSelf {
			w := l.words[b]
			if l.code[b] == odd || !(w && word) && !l.idle[b] && l.pass(text[i:min(i+8, len(text))]) == 0 {
				break
			}
			word = w
			i++
			continue
		}
		if plainRune(text[i:]) == 0 || l.pass(text[i:min(i+8, len(text))]) == 0 {
			break
		}
		word = false
		i += 3
	}
	if i > 0 {
		l.leave(text[:i], l.pos)
	}
	return i
}

// plain reads plain text while nothing is live but what began in it, and returns
// how much. A plain rune has as many bytes folded as it has in the text, so all
// there is to know is the state. What ends up to seen has been reported.
func (l *lane) plain(text string, seen int, found []policy.Span) (int, []policy.Span) {
	i := l.pass(text)
	for i < len(text) {
		// From i on a term may begin.
		state, j := uint32(0), i
		ended := -1 // where the longest term starts that ended at j
		for {
			n := 0
			if j < len(text) {
				if b := text[j]; b >= utf8.RuneSelf {
					if r := plainRune(text[j:]); r != 0 {
						n = 3
						state = l.stepPlain(state, r)
					}
				} else if class := l.class[b]; class != 0 && (class != ' ' || !l.spaced(text[:j])) {
					n = 1
					state = l.step(state, class)
				}
			}
			if n == 0 {
				// What is not plain, but ends whatever is live, is no matter either.
				if width := l.barrier(text[j:], state); width > 0 && ended < 0 {
					i = j + width
					seen = max(seen, i)
					break
				}
				l.resume(text[:j], state, ended)
				return j, found
			}
			j += n
			ended = -1
			if m := l.match[state]; m != 0 {
				if j > seen {
					if n, kind := l.longestEnding(text[:j], m); n > 0 {
						ended = j - n
						l.kind = kind
						found = append(found, policy.Span{Start: l.pos + int64(ended), End: l.pos + int64(j), At: l.pos + int64(j), Kind: kind})
					}
				}
				if l.leaf(state) {
					state = l.fail[state]
				}
			}
			seen = max(seen, j)
			if start := j - int(l.depth[state]); start > i {
				i = start
				if l.depth[state] < 4 && ended < 0 {
					break
				}
			}
		}
		i += l.pass(text[i:])
	}
	l.resume(text, 0, -1)
	return len(text), found
}

// barrier returns the bytes of the rune that text begins with, if that folds to
// one rune other than white space, and nothing is live behind it in a state;
// else 0.
func (l *lane) barrier(text string, state uint32) int {
	if text == "" || text[0] < utf8.RuneSelf {
		return 0
	}
	r, n := utf8.DecodeRuneInString(text)
	one, more := fold.Rune(r)
	if len(more) > 0 || one <= ' ' {
		return 0
	}
	var buf [utf8.UTFMax]byte
	for _, b := range buf[:utf8.EncodeRune(buf[:], one)] {
		if l.leet && b < utf8.RuneSelf {
			b = byte(fold.Class(rune(b)))
		}
		state = l.step(state, b)
	}
	if state != 0 {
		return 0
	}
	return n
}

// spaced tells whether text, which is what plain has read, ends with white
// space, or what was read before does.
func (l *lane) spaced(text string) bool {
	if text == "" {
		return l.space
	}
	b := text[len(text)-1]
	return b < utf8.RuneSelf && l.class[b] == ' '
}

// longestEnding is the length and the kind of the longest term that ends with
// plain text; 0 where none does.
func (l *lane) longestEnding(text string, m uint32) (n, kind int) {
	if !l.leet {
		return int(l.ends[m].length), kindAt(l.kindOf, l.ends[m].term)
	}
	for ; m != 0; m = l.ends[m].shorter {
		n := int(l.ends[m].length)
		before := text[:len(text)-n]
		begins := !l.letter
		if before != "" {
			r, _ := utf8.DecodeLastRuneInString(before)
			begins = !joins(r)
		} else if len(l.text) > 0 {
			begins = !endsInLetter(l.text)
		}
		l.window = appendPlain(l.window[:0], text[len(before):])
		if kind, ok := l.says(l.ends[m], l.window, begins); ok {
			return n, kind
		}
	}
	return 0, 0
}

// appendPlain appends plain text, folded.
func appendPlain(to []byte, text string) []byte {
	for i := 0; i < len(text); {
		if b := text[i]; b < utf8.RuneSelf {
			r, _ := fold.Rune(rune(b))
			to = append(to, byte(r))
			i++
		} else {
			to = utf8.AppendRune(to, plainRune(text[i:]))
			i += 3
		}
	}
	return to
}

// resume makes the lane stand behind plain text, in a state, where a term has
// just ended that started at ended, or none.
func (l *lane) resume(text string, state uint32, ended int) {
	if text == "" {
		return
	}
	live := len(text) - int(l.depth[state])
	if live > 0 {
		l.leave(text[:live], l.pos)
	} else {
		l.tail, l.quiet = -1, 0
		l.forget()
	}
	rest := text[live:]
	if rest != "" {
		l.drift = l.pos - l.folded
		l.base = l.drift
		l.folded += int64(len(rest))
		l.pos += int64(len(rest))
		l.state = state
		if l.leet {
			l.text = appendPlain(l.text[:0], rest)
		}
		r, _ := utf8.DecodeLastRuneInString(rest)
		one, _ := fold.Rune(r)
		l.space, l.word = one == ' ', l.isWord(one)
	}
	if ended >= 0 {
		l.tail = l.pos - int64(len(text)-ended)
	}
}
