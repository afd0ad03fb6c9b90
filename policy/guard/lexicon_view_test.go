package guard

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/policy/fold"
)

// This file is what a lexicon in views is held to: brute force over whole texts,
// by what Lexicon and spaced say, without automata and without streams.

// shown is a rune of a view with its place; end is behind all that says nothing
// after it.
type shown struct {
	r          rune
	start, end int
	bar        bool
}

// look is a text in a view: stretches between breaks, white space joined.
func look(view fold.View, text string, leet bool) [][]shown {
	runs := [][]shown{nil}
	quiet := 0
	emit := func(r rune, start, end int64) {
		run := &runs[len(runs)-1]
		if r == ' ' && len(*run) > 0 && (*run)[len(*run)-1].r == ' ' {
			r = fold.Nothing
		}
		if r == fold.Nothing {
			if quiet++; quiet > fold.MaxQuiet {
				r = fold.Break
			}
		}
		switch r {
		case fold.Nothing:
			if len(*run) > 0 {
				(*run)[len(*run)-1].end = int(end)
			}
			return
		case fold.Break:
			runs = append(runs, nil)
		default:
			source, _ := utf8.DecodeRuneInString(text[start:])
			*run = append(*run, shown{r, int(start), int(end), leet && view == fold.Fold && (r == 'i' || r == 'l') && fold.Bar(source)})
		}
		if r != fold.Break {
			quiet = 0
		}
	}
	r := fold.NewReader(view)
	r.Read(text, emit)
	r.Close(emit)
	return runs
}

func joinedSpace(s string) string { return strings.Join(strings.Fields(s), " ") }

// inText are the matches in a view that has the text as it reads.
func inText(view fold.View, terms []string, text string, leet, whole bool) (out [][2]int) {
	for _, run := range look(view, text, leet) {
		for _, term := range terms {
			want := []rune(joinedSpace(fold.String(fold.Fold, term)))
			if len(want) == 0 || view == fold.Base64 && len(string(want)) < 4 {
				continue
			}
			for i := 0; i+len(want) <= len(run); i++ {
				part := run[i : i+len(want)]
				classed := func(r rune) bool { return wordy(fold.Class(r)) }
				if sameRunes(part, want, leet && !whole) && (!whole || stands(run, i, i+len(want), wordy)) ||
					leet && (sameRunes(part, want, true) || inLeet(part, want, run[:i])) && (!whole || stands(run, i, i+len(want), classed)) {
					out = append(out, [2]int{part[0].start, part[len(part)-1].end})
				}
			}
		}
	}
	return out
}

func wordy(r rune) bool { return isWord(r) }

func sameRunes(part []shown, want []rune, bars bool) bool {
	for i, s := range part {
		if s.r != want[i] && !(bars && s.bar && (want[i] == 'i' || want[i] == 'l')) {
			return false
		}
	}
	return true
}

// stands tells whether what begins and ends with part of a word is not part of
// a longer one.
func stands(run []shown, from, to int, wordy func(rune) bool) bool {
	return !(from > 0 && wordy(run[from].r) && wordy(run[from-1].r)) && !(to < len(run) && wordy(run[to-1].r) && wordy(run[to].r))
}

func inLeet(part []shown, want []rune, before []shown) bool {
	signs, letters, bars := 0, 0, 0
	for i, s := range part {
		if fold.Class(s.r) != fold.Class(want[i]) {
			return false
		}
		if s.bar {
			bars++
		} else if strings.ContainsRune("0123456789!|@$+", s.r) {
			signs++
			if i > 0 && (s.r == '@' || s.r == '$') {
				letters++
			}
		} else if 'a' <= s.r && s.r <= 'z' || s.r >= utf8.RuneSelf {
			letters++
		}
	}
	begins := len(before) == 0 || !fold.Letter(before[len(before)-1].r) || !wordy(before[len(before)-1].r)
	return len(part) >= 3 && signs+bars > 0 && letters+bars > 0 && (2*signs <= len(part) || begins)
}

// inSpaced are the matches with the letters set apart.
func inSpaced(terms []string, text string, leet, whole bool) (out [][2]int) {
	type letter struct {
		shown
		apart, clause int // separators since the letter before
	}
	var runs [][]letter
	for _, run := range lookSpaced(text) {
		var letters []letter
		apart, clause := 0, 0
		for _, s := range run {
			if !fold.Letter(s.r) {
				if strings.ContainsRune(`,;:!?"'()、。˳《》「」`, s.r) || text[s.start] == '\n' {
					clause++
				}
				if apart++; apart > 3 {
					clause++
				}
				if apart > 7 {
					runs, letters, apart, clause = append(runs, letters), nil, 0, 0
				}
				continue
			}
			letters = append(letters, letter{s, apart, clause})
			apart, clause = 0, 0
		}
		runs = append(runs, letters)
	}
	for _, letters := range runs {
		for _, term := range terms {
			want := []rune(fold.String(fold.Squeeze, joinedSpace(fold.String(fold.Fold, term))))
			for i := 0; len(want) > 1 && i+len(want) <= len(letters); i++ {
				part := letters[i : i+len(want)]
				plain := make([]shown, len(part))
				gaps, adjoining, most, clauses := 0, 1, 1, 0
				for k, l := range part {
					plain[k] = l.shown
					plain[k].bar = false
					if k == 0 {
						continue
					}
					clauses += l.clause
					if l.apart > 0 {
						gaps++
						adjoining = 0
					}
					adjoining++
					most = max(most, adjoining)
				}
				if !sameRunes(plain, want, false) && !(leet && inLeet(plain, want, nil)) || most > 2 || 2*gaps <= len(part)-1 {
					continue
				}
				first, last := part[0], part[len(part)-1]
				if i > 0 && first.apart == 0 && wordy(first.r) && wordy(letters[i-1].r) {
					continue
				}
				next := i + len(part)
				adjoined := next < len(letters) && letters[next].apart == 0 && wordy(last.r) && wordy(letters[next].r)
				if adjoined && (whole || len(part) < 4 || gaps < len(part)-1) {
					continue
				}
				if len(part) == 3 && wordy(last.r) && clauses > 0 {
					continue
				}
				if len(part) == 2 && (wordy(first.r) || wordy(last.r) || clauses > 0) {
					continue
				}
				out = append(out, [2]int{first.start, last.end})
			}
		}
	}
	return out
}

// lookSpaced is look(fold.Fold) but for white space, each of which counts.
func lookSpaced(text string) [][]shown {
	runs := [][]shown{nil}
	emit := func(r rune, start, end int64) {
		run := &runs[len(runs)-1]
		switch r {
		case fold.Nothing:
			if len(*run) > 0 {
				(*run)[len(*run)-1].end = int(end)
			}
		case fold.Break:
			runs = append(runs, nil)
		default:
			*run = append(*run, shown{r, int(start), int(end), false})
		}
	}
	r := fold.NewReader(fold.Fold)
	r.Read(text, emit)
	return runs
}

// inViews are the maximal matches over all views.
func inViews(views, terms []string, text string, whole bool) [][2]int {
	has := func(name string) bool { return slices.Contains(views, name) }
	leet := has("leet")
	var all [][2]int
	if has("fold") || leet || has("json") || has("decoded") {
		all = append(all, inText(fold.Fold, terms, text, leet, whole)...)
	}
	for name, view := range map[string][]fold.View{"json": {fold.JSON}, "tags": {fold.Tags}, "decoded": {fold.Encoded, fold.Base64}} {
		if has(name) {
			for _, v := range view {
				all = append(all, inText(v, terms, text, leet && !whole, whole)...)
			}
		}
	}
	if has("squeeze") {
		all = append(all, inSpaced(terms, text, leet, whole)...)
	}
	return largest(all)
}

func largest(all [][2]int) (out [][2]int) {
	for _, m := range all {
		inside := slices.ContainsFunc(all, func(o [2]int) bool { return o != m && o[0] <= m[0] && m[1] <= o[1] })
		if !inside && !slices.Contains(out, m) {
			out = append(out, m)
		}
	}
	slices.SortFunc(out, func(a, b [2]int) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) })
	return out
}

func spansOf(found []policy.Span) (out [][2]int) {
	for _, s := range found {
		out = append(out, [2]int{int(s.Start), int(s.End)})
	}
	return out
}

// liveFold are where terms start that may still come in the view fold: what no
// scheme that leaks nothing could release.
func liveFold(terms []string, text string, whole bool) int {
	hold := len(text)
	runs := look(fold.Fold, text, false)
	run := runs[len(runs)-1]
	for _, term := range terms {
		want := []rune(joinedSpace(fold.String(fold.Fold, term)))
		for i := range run {
			rest := run[i:]
			if len(rest) > len(want) || len(rest) == len(want) && !(whole && wordy(want[len(want)-1])) {
				continue
			}
			if sameRunes(rest, want[:len(rest)], false) && (!whole || stands(run[:i+1], i, i+1, wordy)) {
				hold = min(hold, rest[0].start)
			}
		}
	}
	return hold
}

var (
	viewTerms = []string{"abca", "bcab", "cab", "a b", "测试", "0ab", "测试词语", "试a测", "lila", "a-b-b", "a", "ß b", "aabb", "bbb", "a测b"}
	viewParts = []string{
		"a", "b", "c", "A", "В", "ａ", "l", "i", "I", "Ӏ", "0", "4", "8", "1", "@", "!", "-", ".", "，", "…", " ", "  ", "\u200b", "\u0301", "ﬁ", "测", "試", "词", "语", "ω",
		`\u0061`, `\u0062`, `\n`, `\`, `\u`, "%61", "%6", "&#98;", "&#97", "%E6%B5%8B", "&", "YWJjYQ", "YWFiYmFi", "YWJj", "YQ", "5rWL", "5rWL6K+V\r", "6K+V", "Yea1", "i+ivlQ", "=", "/",
		"\U000E0061", "\U000E0062", "\U000E0063", "x", "\n", "-----", " - ", "abca", "cab", "the ", "\x00", "'", "ab", "bb", strings.Repeat("\u0301", 33), strings.Repeat(" ", 20),
	}
	viewSets = [][]string{
		{"fold"}, {"leet"}, {"squeeze"}, {"json"}, {"tags"}, {"decoded"}, {"fold", "squeeze"}, {"leet", "squeeze"}, viewNames[:5], viewNames,
	}
)

// viewProperty: in every view and in all, what is found is what there is, for
// every chunking; nothing is passed by that is found later; in the view fold
// nothing is held that need not be.
func viewProperty(t *rapid.T) {
	views := rapid.SampledFrom(viewSets).Draw(t, "views")
	whole := rapid.Bool().Draw(t, "whole")
	terms := rapid.SliceOfN(rapid.SampledFrom(viewTerms), 1, 4).Draw(t, "terms")
	some := rapid.SliceOfN(rapid.SampledFrom(viewParts), 2, 8).Draw(t, "some")
	parts := rapid.SliceOfN(rapid.SampledFrom(some), 0, 24).Draw(t, "text")
	if err := checkViews(views, terms, strings.Join(parts, ""), whole, func() bool { return rapid.Bool().Draw(t, "cut") }); err != nil {
		t.Fatal(err)
	}
}

func entriesOf(terms []string) (entries []entry) {
	for i, t := range terms {
		entries = append(entries, entry{t, uint32(i)})
	}
	return entries
}

// kindsOf are as many kinds as there are terms.
func kindsOf(terms []string) (kinds []policy.Kind) {
	for i := range terms {
		kinds = append(kinds, policy.Kind{Category: strconv.Itoa(i)})
	}
	return kinds
}

func checkViews(views, terms []string, text string, whole bool, cut func() bool) error {
	g := newWords(entriesOf(terms), views, whole, kindsOf(terms))
	want := inViews(views, terms, text, whole)
	var first []policy.Span
	for way, cut := range []func() bool{func() bool { return false }, func() bool { return true }, cut, cut} {
		s := g.Open()
		var found []policy.Span
		last := 0
		step := func(upTo int) error {
			n := len(found)
			found = s.Scan(text[last:upTo], found)
			for i, f := range found[n:] {
				if f.Start >= f.End || f.End > f.At || f.At > int64(upTo) || f.At <= int64(last) || n+i > 0 && f.End < found[n+i-1].End {
					return fmt.Errorf("%q: match %+v after %+v, read from %d to %d", text, f, found[:n+i], last, upTo)
				}
			}
			last = upTo
			once := g.Open()
			once.Scan(text[:upTo], nil)
			if once.Hold() != s.Hold() || once.Live() != s.Live() || s.Live() > s.Hold() {
				return fmt.Errorf("%q: at %d: hold %d, live %d; read at once: %d, %d", text, upTo, s.Hold(), s.Live(), once.Hold(), once.Live())
			}
			if n, ok := g.Bound(); !ok || upTo-int(s.Hold()) > n {
				return fmt.Errorf("%q: at %d: hold %d, bound %d", text, upTo, s.Hold(), n)
			}
			for _, m := range want {
				known := slices.ContainsFunc(found, func(f policy.Span) bool { return int(f.Start) <= m[0] && int(f.End) > m[0] })
				if m[0] < int(s.Hold()) && !known {
					return fmt.Errorf("%q: %v starts before the watermark %d and is not known at %d", text, m, s.Hold(), upTo)
				}
				whole := slices.ContainsFunc(found, func(f policy.Span) bool { return int(f.Start) <= m[0] && int(f.End) >= m[1] })
				if m[0] < int(s.Live()) && !whole {
					return fmt.Errorf("%q: %v starts before all that is live, from %d, and is not known at %d", text, m, s.Live(), upTo)
				}
			}
			if slices.Equal(views, []string{"fold"}) {
				if least := liveFold(terms, text[:upTo], whole); whole && least < int(s.Hold()) || !whole && least != int(s.Hold()) {
					return fmt.Errorf("%q: at %d: hold %d, which must be %d", text, upTo, s.Hold(), least)
				}
			}
			if way == 3 {
				other := g.Open()
				other.Scan("aab测试\\u0061-b", nil)
				other.Copy(s)
				s.Scan("b cab", nil)
				s = other
			}
			return nil
		}
		for i := range text {
			if i > 0 && cut() {
				if err := step(i); err != nil {
					return err
				}
			}
		}
		if err := step(len(text)); err != nil {
			return err
		}
		found = s.Close(found)
		if s.Hold() != int64(len(text)) || s.Live() != int64(len(text)) {
			return fmt.Errorf("%q: something is live after the end", text)
		}
		if got := largest(spansOf(found)); !slices.Equal(got, want) {
			return fmt.Errorf("views %v, terms %q, whole %t, %q: found %v, there are %v", views, terms, whole, text, got, want)
		}
		if way == 0 {
			for _, f := range found {
				m := [2]int{int(f.Start), int(f.End)}
				if slices.Contains(want, m) && !slices.Contains(inViews(views, terms[f.Kind:f.Kind+1], text, whole), m) {
					return fmt.Errorf("views %v, terms %q, whole %t, %q: %v is not of kind %d", views, terms, whole, text, m, f.Kind)
				}
			}
			first = found
		} else if !slices.Equal(first, found) {
			return fmt.Errorf("views %v, terms %q, whole %t, %q: at once %v, in pieces %v", views, terms, whole, text, first, found)
		}
	}
	return nil
}

func TestViewsFindWhatBruteForceFinds(t *testing.T) { rapid.Check(t, viewProperty) }

func FuzzViews(f *testing.F) { f.Fuzz(rapid.MakeFuzz(viewProperty)) }

// TestViewsCases are texts in which one thing stands in the way of another.
func TestViewsCases(t *testing.T) {
	for name, c := range map[string]struct {
		views, terms []string
		text         string
		whole        bool
		found        int
	}{
		"a word behind an undone letter":           {[]string{"decoded"}, []string{"a"}, "%E6%B5%8Ba", true, 1},
		"a word behind what belongs to an escape":  {viewNames, []string{"a"}, "\\u\u200ba", true, 1},
		"no word behind an undone letter":          {[]string{"json"}, []string{"a"}, `-\u0062a`, true, 0},
		"an escape that is taken for text":         {[]string{"json"}, []string{"72ab"}, `\u0072a\u0062`, false, 0},
		"escapes in a row":                         {[]string{"json"}, []string{"abca", "bcab"}, `x\u0061\u0062c\u0061b `, false, 2},
		"the end of a stretch begins what follows": {[]string{"squeeze"}, []string{"测试词语"}, "语语语测试-词-语语语", false, 1},
		"two stretches that make a term":           {[]string{"squeeze"}, []string{"试测"}, "语语语试 测语语语", false, 1},
		"two characters with a wide gap":           {[]string{"squeeze"}, []string{"试测"}, "试----测 试 - 测", false, 1},
		"two stretches that make none":             {[]string{"squeeze"}, []string{"试测"}, "语语语试，测语语语", false, 0},
		"a short word between long ones":           {[]string{"squeeze"}, []string{"abca"}, "the a b c a the", false, 1},
		"the first letter of a long word":          {[]string{"squeeze"}, []string{"abca"}, "the a.b.c.abc", false, 1},
		"eight separators":                         {[]string{"squeeze"}, []string{"abca"}, "a--------b--------c--------a a.......b...c...a", false, 1},
		"a term that waits for the next letter":    {[]string{"squeeze"}, []string{"cab"}, "c-a-b c-a-ba", false, 1},
		"the longer one is not said":               {[]string{"leet"}, []string{"0la", "la"}, "xola", false, 1},
		"the longer one is adjoined":               {[]string{"squeeze"}, []string{"xbca", "ca测"}, "x-b-c-a-测", false, 2},
		"a term of many runes that shrink":         {[]string{"fold"}, []string{strings.Repeat("a", 300), "b"}, strings.Repeat("á", 20) + "b" + strings.Repeat("á", 340) + "b", false, 43},
		"tags between letters and as letters":      {viewNames, []string{"abca"}, "a\U000E0061b\U000E0062c\U000E0063a\U000E0061", false, 1},
	} {
		if got := inViews(c.views, c.terms, c.text, c.whole); len(got) != c.found {
			t.Errorf("%s: by brute force %v, want %d", name, got, c.found)
		}
		r := uint32(1)
		cut := func() bool { r = r*1664525 + 1013904223; return r>>31 == 1 }
		if err := checkViews(c.views, c.terms, c.text, c.whole, cut); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
