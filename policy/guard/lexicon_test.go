package guard_test

import (
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/policy/guard"
)

// open makes a guard from the YAML of a rule's own keys.
func open(rule string) (policy.Guard, error) {
	return openWith(rule, policy.Lexicon{Name: "list", Terms: []policy.Term{{Text: "zorblatt"}}, Category: "test/list", Severity: policy.High})
}

func openWith(rule string, list policy.Lexicon) (policy.Guard, error) {
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(rule), &n); err != nil {
		return nil, err
	}
	kind := "lexicon"
	if strings.Contains(rule, "expr:") || strings.Contains(rule, "builtin:") {
		kind = "pattern"
	}
	return guard.All()[kind](n.Content[0], policy.Env{
		Lexicon: func(name string) (policy.Lexicon, bool) { return list, name == list.Name },
		Share:   func(_ string, make func() (policy.Guard, error)) (policy.Guard, error) { return make() },
	})
}

// maximal runs a guard over text, cut where cut says, and returns the matches
// that no other contains; it checks what a Stream promises on the way.
func maximal(t testing.TB, g policy.Guard, text string, cut func(int) bool) [][2]int {
	t.Helper()
	s := g.Open()
	var found []policy.Span
	last := 0
	bound, bounded := g.Bound()
	step := func(upTo int) {
		before := len(found)
		found = s.Scan(text[last:upTo], found)
		for i, f := range found[before:] {
			if f.Start >= f.End || f.End > f.At || f.At > int64(upTo) || f.At <= int64(last) || before+i > 0 && f.End < found[before+i-1].End {
				t.Errorf("%q: match %+v after %+v, read up to %d", text, f, found[:before+i], upTo)
			}
		}
		last = upTo
		if s.Live() > s.Hold() || s.Hold() > int64(upTo) || bounded && int64(upTo)-s.Hold() > int64(bound) {
			t.Errorf("%q: at %d: live %d, hold %d, bound %d", text, upTo, s.Live(), s.Hold(), bound)
		}
	}
	for i := range text {
		if i > 0 && cut(i) {
			step(i)
		}
	}
	step(len(text))
	found = s.Close(found)
	if s.Hold() != int64(len(text)) || s.Live() != int64(len(text)) {
		t.Errorf("%q: something is live after the end", text)
	}
	var all [][2]int
	for _, f := range found {
		all = append(all, [2]int{int(f.Start), int(f.End)})
	}
	return onlyMaximal(all)
}

func onlyMaximal(all [][2]int) (out [][2]int) {
	slices.SortFunc(all, func(a, b [2]int) int {
		if a[0] != b[0] {
			return a[0] - b[0]
		}
		return b[1] - a[1]
	})
	end := -1
	for _, m := range all {
		if m[1] > end {
			out = append(out, m)
			end = m[1]
		}
	}
	return out
}

// TestLexiconAgainstNaiveSearch compares a list with many overlaps to searching
// for every term at every place.
func TestLexiconAgainstNaiveSearch(t *testing.T) {
	r := rand.New(rand.NewSource(3))
	letters := []string{"a", "b", "A", "ſ", "s", "K", "k", "\u212A", "中", "丰", "é", "É", "e\u0301", " ", "-", "1", "😀", "𐐀", "𐐨"}
	word := func(n int) string {
		var b strings.Builder
		for range n {
			b.WriteString(letters[r.Intn(len(letters))])
		}
		return b.String()
	}
	for i := range 400 {
		terms := make([]string, 1+r.Intn(30))
		for j := range terms {
			terms[j] = word(1 + r.Intn(4))
		}
		exact, whole := i%2 == 0, i%4 < 2
		rule := termRule(terms, exact, whole)
		g, err := open("{" + strings.SplitN(rule.yaml, ", ", 2)[1] + "}")
		if err != nil {
			t.Fatal(err)
		}
		text := word(40)
		want := onlyMaximal(rule.matches(text, true))
		for _, cut := range []func(int) bool{
			func(int) bool { return false }, func(int) bool { return true }, func(int) bool { return r.Intn(3) == 0 },
		} {
			if got := maximal(t, g, text, cut); !slices.Equal(got, want) {
				t.Fatalf("%s\n%q\n got %v\nwant %v", rule.yaml, text, got, want)
			}
		}
	}
}

// TestLexiconBoundIsReached: the bound is not only safe but the least.
func TestLexiconBoundIsReached(t *testing.T) {
	for _, c := range []struct {
		rule, text string
		bound      int
	}{
		{"{views: [raw], terms: [zorblatt]}", "zorblat", 7},
		{"{views: [raw], terms: [zorblatt], whole_word: true}", "zorblatt", 8},
		{"{views: [raw], terms: ['zorblatt!'], whole_word: true}", "zorblatt", 8},
		{"{views: [raw], terms: [测试词]}", "测试", 6},
		{"{views: [raw], terms: [测试词], whole_word: true}", "测试", 6},
		{"{views: [raw], terms: [kick]}", "\u212Aic", 5},
		{"{views: [raw], terms: [kick], case: exact}", "kic", 3},
		{"{views: [raw], terms: [a]}", "", 0},
	} {
		g, err := open(c.rule)
		if err != nil {
			t.Fatal(err)
		}
		s := g.Open()
		s.Scan(c.text, nil)
		if n, ok := g.Bound(); !ok || n != c.bound || int64(len(c.text))-s.Hold() != int64(n) {
			t.Errorf("%s: bound %d, want %d; %d bytes of %q held", c.rule, n, c.bound, int64(len(c.text))-s.Hold(), c.text)
		}
	}
}

func TestLexiconOfAList(t *testing.T) {
	g, err := open("{list: list, terms: [Ärger]}")
	if err != nil {
		t.Fatal(err)
	}
	if k := g.Kinds()[0]; k.Category != "test/list" || k.Severity != policy.High {
		t.Errorf("class %s, %s", k.Category, k.Severity)
	}
	whole := func(int) bool { return false }
	if got := maximal(t, g, "ZORBLATTäRGER", whole); !slices.Equal(got, [][2]int{{0, 8}, {8, 14}}) {
		t.Errorf("got %v", got)
	}
}

func TestLexiconProblems(t *testing.T) {
	for rule, want := range map[string]string{
		"{}":                      "terms: no terms: give terms, or the name of a list",
		"{list: lst}":             `list: no lexicon "lst", of this tenant or of the platform: apply it with this policy`,
		"{terms: ['']}":           "terms[0]: is empty",
		"{terms: [a], case: any}": `case: want fold or exact, got "any"`,
		"{terms: [a], whole: 1}":  `whole: unknown field (known: case, list, terms, views, whole_word)`,
		"{terms: [" + strings.Repeat("a", 1025) + "]}": "terms[0]: want at most 1024 bytes, got 1025",
	} {
		if _, err := open(rule); err == nil || strings.TrimPrefix(err.Error(), "line 1: ") != want {
			t.Errorf("%.40s: got %v, want %s", rule, err, want)
		}
	}
}

// FuzzLexicon: terms (one a line) in text are what a search for each finds, for
// every chunking.
func FuzzLexicon(f *testing.F) {
	f.Add("ab\nbcd", "xabcdy", uint64(5), false, false)
	f.Add("Kick\n测试词", "\u212AICK 测试测试词", uint64(9), false, true)
	f.Add("ſs\nss", "SSſ", uint64(1), true, false)
	f.Fuzz(func(t *testing.T, list, text string, cuts uint64, exact, whole bool) {
		text = strings.ToValidUTF8(text, "\uFFFD")
		if len(text) > 200 || len(list) > 100 {
			return
		}
		var terms []string
		for term := range strings.SplitSeq(strings.ToValidUTF8(list, "\uFFFD"), "\n") {
			if term != "" {
				terms = append(terms, term)
			}
		}
		if len(terms) == 0 {
			return
		}
		how := map[bool]string{true: "exact", false: "fold"}[exact]
		g, err := openWith(fmt.Sprintf("{list: l, case: %s, whole_word: %t}", how, whole), policy.Lexicon{Name: "l", Terms: termsOf(terms)})
		if err != nil {
			t.Fatal(err)
		}
		want := onlyMaximal(termRule(terms, exact, whole).matches(text, true))
		if got := maximal(t, g, text, func(i int) bool { return cuts>>(i%64)&1 == 1 }); !slices.Equal(got, want) {
			t.Errorf("terms %q in %q: got %v, want %v", terms, text, got, want)
		}
	})
}

func termsOf(texts []string) (terms []policy.Term) {
	for _, t := range texts {
		terms = append(terms, policy.Term{Text: t})
	}
	return terms
}

// TestTermsOfSeveralKinds: a finding says what its term is, else what the list
// is, and a term can be a whole word among others that are not.
func TestTermsOfSeveralKinds(t *testing.T) {
	list := policy.Lexicon{Name: "list", Category: "test/list", Severity: policy.Low, Terms: []policy.Term{
		{Text: "zorb"}, {Text: "quim", Category: "test/own"}, {Text: "测试词", Severity: policy.High}, {Text: "vex"}, {Text: "vex", Category: "test/late"},
		{Text: "b0b", Category: "test/zero"}, {Text: "bob", Category: "test/bob"}, // alike in leet
	}}
	for _, views := range []string{"", "views: [raw], ", "views: [raw, fold, squeeze], "} {
		g, err := openWith("{"+views+"list: list, terms: [plain, {term: ass, whole_word: true, category: test/rude}]}", list)
		if err != nil {
			t.Fatal(err)
		}
		for text, want := range map[string]policy.Kind{
			"the zorbs": {Category: "test/list", Severity: policy.Low},
			"a quim":    {Category: "test/own", Severity: policy.Low},
			"有测试词的":     {Category: "test/list", Severity: policy.High},
			"vexed":     {Category: "test/list", Severity: policy.Low},
			"an ass":    {Category: "test/rude", Severity: policy.Low},
			"a bass":    {},
			"a b0b":     {Category: "test/zero", Severity: policy.Low},
			"a bob":     {Category: "test/bob", Severity: policy.Low},
			"explain":   {Category: "test/list", Severity: policy.Low},
		} {
			s := g.Open()
			found := s.Close(s.Scan(text, nil))
			if (want == policy.Kind{}) != (len(found) == 0) {
				t.Errorf("%s%q: found %v", views, text, found)
			}
			for _, f := range found {
				if got := g.Kinds()[f.Kind]; got != want {
					t.Errorf("%s%q is %v, want %v", views, text, got, want)
				}
			}
		}
		if n := len(g.Kinds()); n != 7 {
			t.Errorf("%s%d kinds: %v", views, n, g.Kinds())
		}
	}
}
