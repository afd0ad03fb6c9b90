package guard

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/policy/fold"
)

// words finds terms however they are spelled, in several views of the text at
// once. The views see most text alike, so they are not read one after another:
// one lane reads the text as it folds, and another one only where its view
// differs.
type words struct {
	kinds []policy.Kind
	bound int
	whole bool

	plain  *dictionary // the folded terms; with leet too, but for whole words
	leet   *dictionary // of whole words: in leet, where a sign can be a letter, borders differ
	apart  *dictionary // the terms without what separates letters
	views  map[string]bool
	forked []fold.View // the views that undo something
}

// viewNames are the ways in which a lexicon can see text, beside raw; all of
// them by default. What a model answers is shown and not decoded.
var viewNames = []string{"fold", "squeeze", "leet", "json", "tags", "decoded"}

var outputViews = viewNames[:5]

func newWords(entries []entry, views []string, whole bool, kinds []policy.Kind) *words {
	w := &words{kinds: kinds, whole: whole, views: map[string]bool{}}
	for _, v := range views {
		w.views[v] = true
	}
	var folded, joined []entry
	runes := 0
	for _, e := range entries {
		f := strings.Join(strings.Fields(fold.String(fold.Fold, e.text)), " ")
		if f == "" || strings.ContainsRune(f, utf8.RuneError) {
			continue // nothing that a text can say
		}
		folded = append(folded, entry{f, e.kind})
		runes = max(runes, utf8.RuneCountInString(f))
		if w.views["squeeze"] {
			if j := fold.String(fold.Squeeze, f); utf8.RuneCountInString(j) >= 2 && !strings.ContainsRune(j, utf8.RuneError) {
				joined = append(joined, entry{j, e.kind})
			}
		}
	}
	same := slices.Equal(folded, joined)
	unit := 0 // the most bytes of source that say one rune
	if w.reads() || w.views["tags"] {
		unit = utf8.UTFMax
		if whole && w.views["leet"] {
			w.leet = newDictionary(slices.Clone(folded), true, true)
		}
		w.plain = newDictionary(folded, w.views["leet"] && !whole, whole)
	}
	if w.views["json"] {
		w.forked = append(w.forked, fold.JSON)
		unit = len(`\ud83d\ude00`)
	}
	if w.views["decoded"] {
		w.forked = append(w.forked, fold.Encoded)
		unit = 3 * utf8.UTFMax // %F0%9F%98%80
	}
	// Every rune may be followed by as many that say nothing.
	w.bound = (runes+1)*(fold.MaxQuiet+1)*unit + fold.Bound(fold.JSON)
	if w.views["squeeze"] {
		if same && w.plain != nil && !whole {
			w.apart = w.plain
		} else {
			w.apart = newDictionary(joined, w.views["leet"], false)
		}
		w.bound = max(w.bound, (runes+1)*(fold.MaxQuiet+1)*(fold.MaxSeparators+1)*utf8.UTFMax)
	}
	return w
}

// reads tells whether some view has the folded text itself.
func (w *words) reads() bool {
	return w.views["fold"] || w.views["leet"] || w.views["json"] || w.views["decoded"]
}

func (w *words) Kinds() []policy.Kind { return w.kinds }

// Bound counts what says nothing, and what separates, between the letters of a
// term.
func (w *words) Bound() (int, bool) { return w.bound, true }

func (w *words) Open() policy.Stream {
	s := &wordStream{words: w, lanes: make([]*lane, 0, 2), own: make([]*fork, 0, 2)}
	if w.reads() {
		s.plain = newLane(w.plain)
		s.lanes = append(s.lanes, &s.plain)
	}
	if w.leet != nil {
		s.leet = newLane(w.leet)
		s.lanes = append(s.lanes, &s.leet)
	}
	for _, v := range w.forked {
		s.forks = append(s.forks, newFork(w.plain, v))
	}
	if w.views["tags"] {
		s.own = append(s.own, newFork(w.plain, fold.Tags))
	}
	if w.views["decoded"] {
		s.own = append(s.own, newFork(w.plain, fold.Base64))
	}
	if w.apart != nil {
		s.spaced = newSpaced(w.apart, w.whole)
	}
	return s
}

// wordStream is words at work.
type wordStream struct {
	*words
	pos int64

	plain, leet lane
	lanes       []*lane // the two, as far as they are in use
	forks       []*fork // read what plain reads, until something is to be undone
	own         []*fork // read by themselves
	spaced      *spaced
}

func (s *wordStream) Scan(text string, found []policy.Span) []policy.Span {
	before := len(found)
	if s.reads() {
		found = s.read(text, found)
	}
	if s.words.leet != nil {
		found = s.leet.scan(text, found)
	}
	for _, f := range s.own {
		found = f.alone(text, found)
	}
	if s.spaced != nil {
		found = s.spaced.scan(text, found)
	}
	s.pos += int64(len(text))
	sortSpans(found[before:])
	return found
}

// sortSpans puts what several lanes have found into the order in which it was
// decided. What one rune decides falls into one Scan, so the order is the same
// for every chunking.
func sortSpans(found []policy.Span) {
	if len(found) > 1 {
		slices.SortStableFunc(found, func(a, b policy.Span) int {
			return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.End, b.End))
		})
	}
}

// read lets the plain lane and its forks read: the lane alone and fast, but from
// where a fork has something to undo to where it is in step again, rune by rune.
func (s *wordStream) read(text string, found []policy.Span) []policy.Span {
	active := 0
	for _, f := range s.forks {
		if f.active {
			active++
		}
	}
	for i := 0; i < len(text); {
		if active == 0 {
			n := len(text) - i
			for _, f := range s.forks {
				n = f.until(text, i, n)
			}
			found = s.plain.scan(text[i:i+n], found)
			if i += n; i == len(text) {
				break
			}
		}
		r, n := rune(text[i]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRuneInString(text[i:])
		}
		for _, f := range s.forks {
			if !f.active && f.triggers(text[i]) {
				f.begin(&s.plain)
				active++
			}
			if f.active {
				found = f.read(text[i:i+n], found)
				if f.inStep() {
					f.active = false
					active--
				}
			}
		}
		found = s.plain.fold(r, n, found)
		i += n
	}
	for _, f := range s.forks {
		f.passed -= len(text)
	}
	return found
}

func (s *wordStream) Close(found []policy.Span) []policy.Span {
	before := len(found)
	for _, l := range s.lanes {
		found = l.stop(s.pos, s.pos, found)
	}
	for _, f := range s.forks {
		if f.active {
			found = f.close(found)
			f.active = false
		}
	}
	for _, f := range s.own {
		found = f.close(found)
	}
	if s.spaced != nil {
		found = s.spaced.close(found)
	}
	sortSpans(found[before:])
	return found
}

func (s *wordStream) Hold() int64 {
	hold := s.pos
	for _, l := range s.lanes {
		hold = min(hold, l.hold())
	}
	for _, f := range s.forks {
		if f.active {
			hold = min(hold, f.hold())
		}
	}
	for _, f := range s.own {
		hold = min(hold, f.hold())
	}
	if s.spaced != nil {
		hold = min(hold, s.spaced.hold())
	}
	return hold
}

func (s *wordStream) Live() int64 {
	live := s.Hold()
	for _, l := range s.lanes {
		live = min(live, l.live())
	}
	for _, f := range s.forks {
		if f.active {
			live = min(live, f.lane.live())
		}
	}
	for _, f := range s.own {
		live = min(live, f.lane.live())
	}
	if s.spaced != nil {
		live = min(live, s.spaced.live())
	}
	return live
}

func (s *wordStream) Copy(from policy.Stream) {
	f := from.(*wordStream)
	s.pos = f.pos
	s.plain.copy(&f.plain)
	s.leet.copy(&f.leet)
	for i := range s.forks {
		s.forks[i].copy(f.forks[i])
	}
	for i := range s.own {
		s.own[i].copy(f.own[i])
	}
	if s.spaced != nil {
		s.spaced.copy(f.spaced)
	}
}
