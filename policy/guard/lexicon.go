package guard

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/weir-gateway/weir/policy"
)

// Lexicon makes a guard that finds terms. Its keys:
//
//	terms: [zorblatt, 测试词]   # text, or as policy.Term has it; and/or
//	list: prohibited           # a kind: Lexicon, of the tenant, else the platform's
//	case: fold                 # fold (default): letters match in either case; exact
//	views: [fold, squeeze]     # how the text is seen
//	whole_word: true           # a term that begins or ends in a letter or digit
//	                           # matches only where no other one adjoins
//
// The views, of which all but the first apply where none is named, and the last
// only to what callers send:
//
//   - raw: the text as it is, but for case; with case: exact, as it is
//   - fold: without regard to case, accents, width, look-alike letters, invisible
//     characters, and traditional or simplified Chinese
//   - leet: fold, and with digits and signs for letters (z0rb), in terms of three
//     letters or more
//   - json: fold, and with the escapes of JSON strings undone
//   - squeeze: fold, with letters that were set apart joined (z-o-r-b): what
//     counts as that is said at spaced
//   - tags: what is written in tag characters, which are not seen
//   - decoded: fold, and with percent encoding, character references of HTML and
//     base64 undone
//
// White space in a term is any run of white space, but in raw, where it is what
// it is.
//
// All terms are found, overlapping ones too. In raw, folding is rune by rune: ß
// is not ss. whole_word knows the borders of Latin, Greek and Cyrillic words and of
// numbers; there are none between Chinese characters, so Chinese terms match
// anywhere. A whole word is held one rune longer, for that decides it.
//
// The hold-back is the length of the longest suffix of the text that begins a
// term in one of the views. In raw and fold no scheme that leaks nothing holds
// less; in the others some of what is held may not count in the end.
func Lexicon(rule *yaml.Node, env policy.Env) (policy.Guard, error) {
	var raw struct {
		Terms     []policy.Term `yaml:"terms"`
		List      string        `yaml:"list"`
		Case      string        `yaml:"case"`
		Views     []string      `yaml:"views"`
		WholeWord bool          `yaml:"whole_word"`
	}
	raw.Case = "fold"
	if err := policy.Decode(rule, &raw); err != nil {
		return nil, err
	}
	var ps policy.Problems
	if raw.Case != "fold" && raw.Case != "exact" {
		ps = append(ps, policy.Fault(rule, "case", "want fold or exact, got %q", raw.Case))
	}
	if raw.Views == nil {
		raw.Views = viewNames
		if env.Stage == policy.Output {
			raw.Views = outputViews
		}
		if raw.Case == "exact" {
			raw.Views = []string{"raw"}
		}
	}
	for i, name := range raw.Views {
		if name != "raw" && !slices.Contains(viewNames, name) {
			ps = append(ps, policy.Fault(rule, fmt.Sprintf("views[%d]", i), "unknown view %q (known: raw, %s)", name, strings.Join(viewNames, ", ")))
		}
		if raw.Case == "exact" && name != "raw" {
			ps = append(ps, policy.Fault(rule, fmt.Sprintf("views[%d]", i), "%q knows no case: case: exact goes with raw", name))
		}
	}
	if len(raw.Views) == 0 {
		ps = append(ps, policy.Fault(rule, "views", "names none: leave it out for the usual ones"))
	}
	var list policy.Lexicon
	if raw.List != "" {
		var ok bool
		if list, ok = env.Lexicon(raw.List); !ok {
			ps = append(ps, policy.Fault(rule, "list", "no lexicon %q, of this tenant or of the platform: apply it with this policy", raw.List))
		}
	}
	if len(raw.Terms)+len(list.Terms) == 0 && len(ps) == 0 {
		ps = append(ps, policy.Fault(rule, "terms", "no terms: give terms, or the name of a list"))
	}
	if err := ps.Err(); err != nil {
		return nil, err
	}
	// A list is known by its name; terms written in the rule by what they are.
	own := sha256.New()
	for _, t := range raw.Terms {
		fmt.Fprintf(own, "%q %q %d %t\n", t.Text, t.Category, t.Severity, wholeWord(t, raw.WholeWord))
	}
	key := fmt.Sprintf("%s %t %q %q %x", raw.Case, raw.WholeWord, raw.Views, list.FullName(), own.Sum(nil))
	return env.Share(key, func() (policy.Guard, error) {
		return newLexicons(raw.Terms, list, raw.Views, raw.Case == "exact", raw.WholeWord), nil
	})
}

// entry is a term with its place in the kinds of the guard.
type entry struct {
	text string
	kind uint32
}

// sortEntries sorts by text and keeps the first of those that have the same.
func sortEntries(entries []entry) []entry {
	slices.SortStableFunc(entries, func(a, b entry) int { return strings.Compare(a.text, b.text) })
	return slices.CompactFunc(entries, func(a, b entry) bool { return a.text == b.text })
}

// textsOf are the texts of entries, and their kinds; nil where all are of one.
func textsOf(entries []entry) (texts []string, kinds []uint32) {
	texts = make([]string, len(entries))
	one := true
	for i, e := range entries {
		texts[i] = e.text
		one = one && e.kind == 0
	}
	if one {
		return texts, nil
	}
	kinds = make([]uint32, len(entries))
	for i, e := range entries {
		kinds[i] = e.kind
	}
	return texts, kinds
}

// newLexicons makes the guard of the terms of a rule and of its list: one for
// the whole words among them and one for the others.
func newLexicons(own []policy.Term, list policy.Lexicon, views []string, exact, whole bool) policy.Guard {
	var kinds []policy.Kind
	place := map[policy.Kind]uint32{}
	var some, wholes []entry
	for _, t := range slices.Concat(own, list.Terms) {
		k := policy.Kind{Category: cmp.Or(t.Category, list.Category), Severity: cmp.Or(t.Severity, list.Severity)}
		at, ok := place[k]
		if !ok {
			at = uint32(len(kinds))
			place[k] = at
			kinds = append(kinds, k)
		}
		if wholeWord(t, whole) {
			wholes = append(wholes, entry{t.Text, at})
		} else {
			some = append(some, entry{t.Text, at})
		}
	}
	folding := slices.DeleteFunc(slices.Clone(views), func(name string) bool { return name == "raw" })
	var parts []policy.Guard
	add := func(entries []entry, whole bool) {
		if len(entries) > 0 && len(folding) < len(views) {
			parts = append(parts, newLexicon(entries, exact, whole, kinds))
		}
		if len(entries) > 0 && len(folding) > 0 {
			parts = append(parts, newWords(entries, folding, whole, kinds))
		}
	}
	add(some, false)
	add(wholes, true)
	return newUnion(parts...)
}

// wholeWord tells whether a term of a rule is to be found as a whole word only.
func wholeWord(t policy.Term, rule bool) bool {
	if t.WholeWord != nil {
		return *t.WholeWord
	}
	return rule
}

// lexicon is the automaton of the folded terms.
type lexicon struct {
	terms        *automaton
	kinds        []policy.Kind
	kindOf       []uint32 // by term; nil where all are of the first kind
	exact, whole bool
	bound        int

	fold [utf8.RuneSelf]byte // of ASCII
	raw  [256]bool           // bytes that begin a rune that folds to itself
	idle [256]bool           // bytes that leave the root at the root
}

// border is the byte that whole words put, in terms and text alike, between a
// rune that is part of a word and one that is not. It is in no UTF-8.
const border = 0xFF

func newLexicon(entries []entry, exact, whole bool, kinds []policy.Kind) *lexicon {
	l := &lexicon{kinds: kinds, exact: exact, whole: whole}
	for b := range l.fold {
		l.fold[b] = byte(b)
		if !exact {
			l.fold[b] = byte(foldRune(rune(b)))
		}
	}
	folded := make([]entry, len(entries))
	var buf []byte
	for i, e := range entries {
		term := e.text
		buf = buf[:0]
		held, word := 0, false
		for j, r := range term {
			last := j+utf8.RuneLen(r) == len(term)
			if !exact {
				r = foldRune(r)
			}
			if whole && isWord(r) != word {
				word = !word
				buf = append(buf, border)
			}
			buf = utf8.AppendRune(buf, r)
			if !last || word {
				held += widest(r, exact)
			}
		}
		if word {
			buf = append(buf, border)
		}
		folded[i] = entry{string(buf), e.kind}
		l.bound = max(l.bound, held)
	}
	terms, kindOf := textsOf(sortEntries(folded))
	l.terms, l.kindOf = newAutomaton(terms), kindOf
	for b := range l.raw {
		l.raw[b] = exact || b < utf8.RuneSelf || caseless(byte(b))
		switch {
		case b < utf8.RuneSelf:
			l.idle[b] = l.terms.root[l.fold[b]] == 0
		case utf8.RuneStart(byte(b)):
			l.idle[b] = l.raw[b] && l.terms.root[b] == 0
		default:
			l.idle[b] = true // the rest of a rune goes the way of its first byte
		}
	}
	return l
}

func (l *lexicon) Kinds() []policy.Kind { return l.kinds }

func kindAt(kindOf []uint32, term uint32) int {
	if kindOf == nil {
		return 0
	}
	return int(kindOf[term])
}

// Bound is the longest term less its last rune (whole words: with it), each
// rune in its widest form.
func (l *lexicon) Bound() (int, bool) { return l.bound, true }

func (l *lexicon) Open() policy.Stream { return &lexiconStream{lexicon: l} }

// lexiconStream walks the automaton over the folded text. Where a rune and its
// folded form differ in bytes, and at the borders of words, folded offsets
// drift from those of the source: shifts remembers by how much, as far back as
// a match can start.
type lexiconStream struct {
	*lexicon
	state  uint32
	word   bool  // the last rune was part of one
	pos    int64 // in the source
	folded int64 // in the folded text
	shifts []shift
}

// shift is a place in the folded text, and how much longer than there its rune
// is in the source.
type shift struct{ at, by int64 }

func (s *lexiconStream) Scan(text string, found []policy.Span) []policy.Span {
	for i := 0; i < len(text); {
		if s.state == 0 {
			n := s.idling(text[i:])
			s.skip(int64(n))
			if i += n; i == len(text) {
				break
			}
		}
		b := text[i]
		switch {
		case s.whole || !s.raw[b]:
			r, n := utf8.DecodeRuneInString(text[i:])
			found = s.rune(r, n, found)
			i += n
		case b < utf8.RuneSelf:
			s.advance(s.fold[b])
			s.pos++
			found = s.found(found, s.pos)
			i++
		default:
			s.advance(b)
			for i++; i < len(text) && !utf8.RuneStart(text[i]); i++ {
				s.advance(text[i])
				s.pos++
			}
			s.pos++
			found = s.found(found, s.pos)
		}
	}
	return found
}

// idling is how many bytes at the beginning of text begin no term, nor the
// border of a word.
func (s *lexiconStream) idling(text string) int {
	for i := range len(text) {
		b := text[i]
		switch {
		case !s.idle[b]:
			return i
		case !s.whole:
		case b < utf8.RuneSelf:
			if isWord(rune(b)) != s.word {
				return i
			}
		case s.word || utf8.RuneStart(b) && !caseless(b):
			return i // what has no case is no part of a word
		}
	}
	return len(text)
}

// skip passes text that begins no term.
func (s *lexiconStream) skip(n int64) {
	s.pos += n
	s.folded += n
	s.shifts = s.shifts[:0] // nothing starts before here any more
}

// rune reads one rune the long way: with its border and its folded form.
func (s *lexiconStream) rune(r rune, n int, found []policy.Span) []policy.Span {
	if !s.exact {
		r = foldRune(r)
	}
	if s.whole && isWord(r) != s.word {
		s.word = !s.word
		s.shifted(-1)
		s.advance(border)
		found = s.found(found, s.pos+int64(n))
	}
	var buf [utf8.UTFMax]byte
	form := buf[:utf8.EncodeRune(buf[:], r)]
	if len(form) != n {
		s.shifted(int64(n - len(form)))
	}
	for _, b := range form {
		s.advance(b)
	}
	s.pos += int64(n)
	return s.found(found, s.pos)
}

// advance reads a byte of the folded text.
func (s *lexiconStream) advance(b byte) {
	s.folded++
	s.state = s.terms.step(s.state, b)
}

// found appends the longest term that ends here: it contains the others. It
// leaves a state that nothing continues, for that holds nothing.
func (s *lexiconStream) found(found []policy.Span, at int64) []policy.Span {
	if m := s.terms.match[s.state]; m != 0 {
		end := s.terms.ends[m]
		found = append(found, policy.Span{Start: s.source(s.folded - int64(end.length)), End: s.pos, At: at, Kind: kindAt(s.kindOf, end.term)})
	}
	if s.terms.leaf(s.state) {
		s.state = s.terms.fail[s.state]
	}
	return found
}

// shifted notes that the next rune of the folded text is shorter by so much
// than in the source.
func (s *lexiconStream) shifted(by int64) {
	if len(s.shifts) == cap(s.shifts) {
		s.forget()
	}
	s.shifts = append(s.shifts, shift{s.folded, by})
}

// forget drops the shifts before anything that is live.
func (s *lexiconStream) forget() {
	live := s.folded - int64(s.terms.depth[s.state])
	n := 0
	for n < len(s.shifts) && s.shifts[n].at < live {
		n++
	}
	s.shifts = s.shifts[:copy(s.shifts, s.shifts[n:])]
}

// source is the offset in the source of one in the folded text, not before the
// earliest live start.
func (s *lexiconStream) source(folded int64) int64 {
	at := s.pos - s.folded + folded
	for i := len(s.shifts) - 1; i >= 0 && s.shifts[i].at >= folded; i-- {
		at -= s.shifts[i].by
	}
	return at
}

func (s *lexiconStream) Close(found []policy.Span) []policy.Span {
	if s.word {
		s.word = false
		s.shifted(-1)
		s.advance(border)
		found = s.found(found, s.pos)
	}
	s.state = 0
	return found
}

func (s *lexiconStream) Hold() int64 {
	if s.state == 0 {
		return s.pos
	}
	return s.source(s.folded - int64(s.terms.depth[s.state]))
}

func (s *lexiconStream) Live() int64 { return s.Hold() }

func (s *lexiconStream) Copy(from policy.Stream) {
	f := from.(*lexiconStream)
	shifts := append(s.shifts[:0], f.shifts...)
	*s = *f
	s.shifts = shifts
}
