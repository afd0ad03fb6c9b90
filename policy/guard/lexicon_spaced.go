package guard

import (
	"sort"
	"unicode/utf8"

	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/policy/fold"
)

// spaced finds terms whose letters are set apart: z-o-r-b, zo.r.b, 测 试 词. In
// any text letters stand next to letters across the gaps between words ("as
// sess", "it's a trap", "of a great"), so a term counts only where
//
//   - most gaps between its letters have a separator in them, one to seven runes
//     that are no letters or digits;
//   - no three of its letters adjoin;
//   - no other letter adjoins its first one, nor its last one, unless it has four
//     letters or more and a separator in each gap (f.o.u.r.s). This is asked of
//     letters whose scripts have borders between words: among Chinese characters
//     any may adjoin;
//   - a term of two letters is none of those, and has no comma, bracket, end of
//     line or the like in its gap, as two clauses have, nor more than three
//     separators; nor has one of three letters that ends in one of those, as
//     lists have (a, b, c).
type spaced struct {
	*dictionary
	wholes bool // the last letter is never adjoined

	state   uint32
	pos     int64
	letters []spacedLetter // as far back as a term can start
	bytes   int64          // of all letters so far
	text    []byte         // of a dictionary with leet: theirs, as far back
	third   int64          // where the last one stands that is the third to adjoin, in bytes of letters

	run    int  // letters that adjoin, up to here; 0 behind a separator
	word   bool // the last letter was part of a word
	apart  int  // separators since the last letter
	clause bool // one of them ends a clause
	quiet  int
	tail   int64
	kind   int // of the term that starts at tail

	// A term that has ended, unless a letter adjoins, and its kind; -1 is none.
	waiting     int64
	waitingKind int
}

type spacedLetter struct {
	start  int64 // in the source
	at     int64 // in bytes of letters
	gaps   int64 // gaps with a separator, up to here
	gap    bool  // one of them is right before it
	clause bool  // and it ends a clause
	first  bool  // it may be the first of a term
	word   bool  // it is of a script with borders between words
}

func newSpaced(d *dictionary, wholes bool) *spaced {
	return &spaced{dictionary: d, wholes: wholes, tail: -1, waiting: -1}
}

func (s *spaced) copy(from *spaced) {
	letters, text := append(s.letters[:0], from.letters...), append(s.text[:0], from.text...)
	*s = *from
	s.letters, s.text = letters, text
}

func (s *spaced) hold() int64 {
	hold := s.pos
	if s.state != 0 {
		hold = s.letters[len(s.letters)-s.count(int(s.depth[s.state]))].start
	}
	if s.waiting >= 0 {
		hold = min(hold, s.waiting)
	}
	return hold
}

func (s *spaced) live() int64 {
	if s.tail >= 0 {
		return min(s.tail, s.hold())
	}
	return s.hold()
}

// count is how many of the last letters have so many bytes.
func (s *spaced) count(bytes int) int {
	at := s.bytes - int64(bytes)
	return len(s.letters) - sort.Search(len(s.letters), func(i int) bool { return s.letters[i].at >= at })
}

func (s *spaced) scan(text string, found []policy.Span) []policy.Span {
	for i := 0; i < len(text); {
		if n := s.pass(text[i:]); n > 0 {
			i += n
			continue
		}
		r, n := rune(text[i]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRuneInString(text[i:])
		}
		i += n
		start := s.pos
		end := start + int64(n)
		one, more := fold.Rune(r)
		if len(more) == 0 {
			found = s.rune(one, start, end, found)
		}
		for _, one := range more {
			found = s.rune(one, start, end, found)
		}
		// Lines end clauses, though they fold to white space.
		s.clause = s.clause || (r == '\n' || r == '\r') && s.apart > 0
	}
	return found
}

// alnum are the ASCII letters and digits; plainOther all else that folds to one
// rune of ASCII.
var alnum, plainOther = func() (a, o [256]bool) {
	for b := range rune(utf8.RuneSelf) {
		r, _ := fold.Rune(b)
		a[b], o[b] = fold.Letter(b), r >= 0 && !fold.Letter(b)
	}
	return a, o
}()

// pass reads text that matters to no term that is set apart, and returns how
// much: the inside of words, and what is between those of three letters or more
// but for single short words. What that relies on:
//
//   - a term has no letter in the inside of such a word, behind the first; and
//     the first only if it is the last of four that stand alone
//   - a term has most gaps filled, so a word of one or two letters between such
//     words is none, nor the end or the beginning of one
func (s *spaced) pass(text string) int {
	if s.waiting >= 0 || s.tail >= 0 {
		return 0
	}
	if text[0] >= utf8.RuneSelf {
		return s.passPlain(text)
	}
	if s.state != 0 && (s.run > 0 || s.depth[s.state] > 2 || !longWord(text)) {
		return 0
	}
	i := 0
	run, word := s.run, s.word
	for i < len(text) {
		b := text[i]
		if plainOther[b] {
			i++
			run, word = 0, false
			continue
		}
		if !alnum[b] || run > 0 && !word {
			break
		}
		if run > 0 || longWord(text[i:]) {
			for i < len(text) && alnum[text[i]] {
				i++
			}
			run, word = 3, true
			continue
		}
		// A short word, what is between, and a long one.
		j := i + 1
		if j < len(text) && alnum[text[j]] {
			j++
		}
		k := j
		for k < len(text) && plainOther[text[k]] {
			k++
		}
		if k == j || !longWord(text[k:]) {
			break
		}
		i = k
		run, word = 0, false
	}
	if i > 0 {
		s.run, s.word = run, word
		s.skip(i)
	}
	return i
}

// longWord tells whether text begins with three ASCII letters or digits.
func longWord(text string) bool {
	return len(text) > 2 && alnum[text[0]] && alnum[text[1]] && alnum[text[2]]
}

// passPlain is pass for stretches of plain characters, three or more, of which
// the last two alone can begin a term with what follows; if that is another such
// stretch, the last one and its first, as a term of two.
func (s *spaced) passPlain(text string) int {
	if s.run == 1 || s.run == 0 && s.state != 0 {
		return 0
	}
	passed := 0
	for i := 0; ; {
		j := i
		last := rune(0)
		for j < len(text) {
			r := plainRune(text[j:])
			if r == 0 || !fold.Letter(r) {
				break
			}
			last = r
			j += 3
		}
		if j-i < 3*3 {
			break
		}
		passed = j - 2*3
		for range fold.MaxSeparators {
			n := separator(text[j:])
			if n == 0 {
				break
			}
			j += n
			i = j
		}
		if i != j || !s.unlike(last, text[i:]) {
			break
		}
	}
	if passed > 0 {
		s.run, s.word = 3, false
		s.skip(passed)
	}
	return passed
}

// separator is the bytes of the rune that text begins with, if that is one
// separator; else 0.
func separator(text string) int {
	if text == "" {
		return 0
	}
	if b := text[0]; b < utf8.RuneSelf {
		if plainOther[b] {
			return 1
		}
		return 0
	}
	r, n := utf8.DecodeRuneInString(text)
	if one, more := fold.Rune(r); len(more) > 0 || one < 0 || fold.Letter(one) {
		return 0
	}
	return n
}

// unlike tells whether text begins with three plain characters that are letters,
// of which the first makes no term with the one before.
func (s *spaced) unlike(before rune, text string) bool {
	if len(text) < 3*3 {
		return false
	}
	for i := 0; i < 3*3; i += 3 {
		if r := plainRune(text[i:]); r == 0 || !fold.Letter(r) {
			return false
		}
	}
	switch s.opens[before-firstPlain] {
	case 0:
		return true
	case 1:
		at := hash(before, plainRune(text)) >> s.shift
		return s.pairs[at/64]>>(at%64)&1 == 0
	}
	return false
}

func (s *spaced) skip(n int) {
	s.pos += int64(n)
	s.apart, s.clause, s.quiet, s.state = 0, false, 0, 0
	s.letters, s.text = s.letters[:0], s.text[:0]
}

// rune reads one rune of the folded text.
func (s *spaced) rune(r rune, start, end int64, found []policy.Span) []policy.Span {
	switch {
	case r == fold.Nothing:
		s.quiet++
		if s.quiet > fold.MaxQuiet {
			return s.stop(end, found)
		}
		s.pos = end
		if s.tail >= 0 {
			found = append(found, policy.Span{Start: s.tail, End: end, At: end, Grown: true, Kind: s.kind})
		}
		return found
	case !fold.Letter(r):
		if s.apart == fold.MaxSeparators {
			return s.stop(end, found)
		}
		found = s.decide(end, found)
		s.tail, s.quiet, s.run, s.pos = -1, 0, 0, end
		s.apart++
		s.clause = s.clause || s.apart > narrow || endsClause(r)
		return found
	}
	if s.run > 0 && isWord(r) {
		s.waiting = -1 // it is adjoined
	} else {
		found = s.decide(end, found)
	}
	return s.letter(r, start, end, found)
}

// narrow is how many separators stand between letters of one clause.
const narrow = 3

// endsClause tells whether a rune of the folded text stands between clauses.
func endsClause(r rune) bool {
	switch r {
	case ',', ';', ':', '!', '?', '"', '\'', '(', ')', '、', '。', '˳', '《', '》', '「', '」':
		return true
	}
	return false
}

func (s *spaced) letter(r rune, start, end int64, found []policy.Span) []policy.Span {
	if s.state == 0 && s.run == 0 {
		s.letters, s.text = s.letters[:0], s.text[:0]
	}
	gap := s.run == 0
	word := isWord(r)
	l := spacedLetter{start: start, at: s.bytes, gap: gap, clause: s.clause, first: gap || !word || !s.word, word: word}
	if n := len(s.letters); n > 0 {
		l.gaps = s.letters[n-1].gaps
		if !gap && !s.letters[n-1].gap {
			s.third = l.at
		}
	}
	if gap {
		l.gaps++
	}
	s.letters = append(s.letters, l)
	s.bytes += int64(runeLen(r))
	s.run++
	s.word, s.apart, s.clause, s.quiet, s.tail, s.pos = word, 0, false, 0, -1, end
	if r < utf8.RuneSelf {
		b := byte(r)
		if s.leet {
			s.text = append(s.text, b)
			b = byte(fold.Class(r))
		}
		s.state = s.step(s.state, b)
	} else {
		if s.leet {
			s.text = utf8.AppendRune(s.text, r)
		}
		if firstPlain <= r && r <= lastPlain {
			s.state = s.stepPlain(s.state, r)
		} else {
			var buf [utf8.UTFMax]byte
			for _, b := range buf[:utf8.EncodeRune(buf[:], r)] {
				s.state = s.step(s.state, b)
			}
		}
	}
	found = s.ending(word, end, found)
	if s.leaf(s.state) {
		s.state = s.fail[s.state]
	}
	for s.state != 0 {
		n := s.count(int(s.depth[s.state]))
		if _, ok := s.gaps(n); ok {
			break
		}
		s.state = s.fail[s.state]
	}
	s.forget()
	return found
}

// gaps counts those with separators between the last n letters, and tells
// whether a term may begin so.
func (s *spaced) gaps(n int) (gaps int, ok bool) {
	letters := s.letters[len(s.letters)-n:]
	gaps = int(letters[n-1].gaps - letters[0].gaps)
	return gaps, letters[0].first && (n < 3 || s.third < letters[2].at)
}

// ending reports the longest term that ends here, or keeps it until it is known
// that no letter adjoins; then also the longest that need not wait.
func (s *spaced) ending(word bool, end int64, found []policy.Span) []policy.Span {
	s.waiting = -1
	for m := s.match[s.state]; m != 0; m = s.ends[m].shorter {
		n := s.count(int(s.ends[m].length))
		gaps, ok := s.gaps(n)
		if !ok || 2*gaps <= n-1 {
			continue
		}
		first := s.letters[len(s.letters)-n:]
		if n == 2 && (word || first[0].word || first[1].clause) {
			continue
		}
		if n == 3 && word && (first[1].clause || first[2].clause) {
			continue
		}
		var said []byte
		if s.leet {
			said = s.text[len(s.text)-int(s.ends[m].length):]
		}
		kind, ok := s.says(s.ends[m], said, true)
		if !ok {
			continue
		}
		if word && (s.wholes || n < 4 || gaps < n-1) {
			if s.waiting < 0 {
				s.waiting, s.waitingKind = first[0].start, kind
			}
			continue
		}
		s.tail, s.kind = first[0].start, kind
		return append(found, policy.Span{Start: s.tail, End: end, At: end, Kind: kind})
	}
	return found
}

// decide takes the term that waited: nothing adjoins it.
func (s *spaced) decide(at int64, found []policy.Span) []policy.Span {
	if s.waiting >= 0 {
		found = append(found, policy.Span{Start: s.waiting, End: s.pos, At: at, Kind: s.waitingKind})
		s.waiting = -1
	}
	return found
}

// stop reads what no term goes across, or the end of the text.
func (s *spaced) stop(end int64, found []policy.Span) []policy.Span {
	found = s.decide(end, found)
	s.state, s.pos = 0, end
	s.run, s.word, s.apart, s.clause, s.quiet, s.tail = 0, false, 0, false, 0, -1
	s.letters, s.text = s.letters[:0], s.text[:0]
	return found
}

func (s *spaced) close(found []policy.Span) []policy.Span { return s.stop(s.pos, found) }

// forget drops letters before anything live once they are many, and as many as
// the live ones, so that dropping costs little a letter.
func (s *spaced) forget() {
	if len(s.letters) < 64 {
		return
	}
	keep := max(2, s.count(int(s.depth[s.state])))
	drop := len(s.letters) - keep
	if drop < keep {
		return
	}
	bytes := int(s.bytes - s.letters[drop].at)
	s.letters = append(s.letters[:0], s.letters[drop:]...)
	if s.leet {
		s.text = append(s.text[:0], s.text[len(s.text)-bytes:]...)
	}
}
