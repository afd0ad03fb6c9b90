package fold_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/weir-gateway/weir/policy/fold"
)

// TestFold is one line for each thing that folding is about.
func TestFold(t *testing.T) {
	for from, want := range map[string]string{
		"Zorblatt":                                    "zorblatt",
		"\uFF3A\uFF4F\uFF52\uFF42\uFF11":              "zorb1",         // full width
		"z\u200Bo\u200Dr\u2060b\uFEFF":                "zorb",          // zero width
		"zo\u00ADrb":                                  "zorb",          // soft hyphen
		"z\u0306\u0306o\u0338r\u20DDb":                "zorb",          // marks
		"z\U000E006Fo\U000E0001rb":                    "zorb",          // tags
		"z\uFE0Fo\U000E0101rb":                        "zorb",          // variation selectors
		"\U0001D4E9\U0001D52C\U0001D597\U0001D7D9":    "zor1",          // mathematical
		"\u24E9\u24C4\u24AD\U0001F131":                "zo(r)b",        // enclosed; parenthesised ones decompose
		"\u0437\u043E\u0433\u042C \u0440\u0430\u0443": "\u025Corb pay", // Cyrillic
		"ΝΟΝΕ ΗΑΤ νοω":                                "none hat voω",
		"\u217C\u2170\u217F":                          "lim", // Roman numerals
		"Łódź Ærø ﬁne":                                "lodz aero fine",
		"中國臺灣發財，乾杯":                                   "中国台湾发财,干杯",
		"頭髮 裏面 裡面":                                    "头发 里面 里面",
		"\t\u00A0\u3000\n":                            "    ",
		"a\x00b\x7Fc\u0085":                           "abc ",
		"\u1112\u1161\u11ABᄀ":                         fold.String(fold.Fold, "한ᄀ"),
		"ß":                                           "ß", // as case folding of single runes has it
		"İı":                                          "ii",
	} {
		if got := fold.String(fold.Fold, from); got != want {
			t.Errorf("%q (%+q): got %q, want %q", from, from, got, want)
		}
	}
}

// TestFoldIsStable: what comes out folds to itself, decomposed and composed text
// fold alike, and so do letters that differ in case only (but for the Greek
// and Warang Citi capitals that are named).
func TestFoldIsStable(t *testing.T) {
	odd := map[rune]bool{'\u039D': true, '\u03A5': true, '\u0397': true, '\u03F2': true, '\u03F9': true, '\u0345': true, '\U000118A4': true, '\U000118BC': true} // the last is a mark with a case
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if !utf8.ValidRune(r) {
			continue
		}
		s := string(r)
		f := fold.String(fold.Fold, s)
		if again := fold.String(fold.Fold, f); again != f {
			t.Errorf("%U folds to %q and that to %q", r, f, again)
		}
		for _, form := range []norm.Form{norm.NFC, norm.NFD, norm.NFKC, norm.NFKD} {
			if strings.ContainsRune("\u03F2\u03F9\u02DB\u037A\uFFE8", r) {
				continue // they look like a c, an i and a bar, and decompose to a sigma, a space and a line
			}
			if g := fold.String(fold.Fold, form.String(s)); g != f {
				t.Errorf("%U folds to %q, normalized to %q", r, f, g)
			}
		}
		for o := unicode.SimpleFold(r); o != r; o = unicode.SimpleFold(o) {
			d := []rune(norm.NFKD.String(s + string(o)))
			if hasOdd(append(d, r, o), odd) {
				continue
			}
			if g := fold.String(fold.Fold, string(o)); g != f && unicode.Is(unicode.L, r) {
				t.Errorf("%U folds to %q, %U to %q", r, f, o, g)
			}
		}
	}
}

func hasOdd(d []rune, odd map[rune]bool) bool {
	for _, r := range d {
		if odd[r] {
			return true
		}
	}
	return false
}

func TestRuneOfNoText(t *testing.T) {
	for _, r := range []rune{-1, 0xD800, 0xDFFF, unicode.MaxRune + 1} {
		if one, more := fold.Rune(r); one != utf8.RuneError || more != nil {
			t.Errorf("%#x: got %#x, %v", r, one, more)
		}
	}
}

// TestViews: what the views that undo something say, runes and places.
func TestViews(t *testing.T) {
	for _, c := range []struct {
		view       fold.View
		text, want string
	}{
		{fold.Fold, "Aﬁ\u0301", "a0-1 f1-4 i1-4 _4-6"},
		{fold.Tags, "a\U000E0041\U000E007Fb", "/0-1 a1-5 /5-9 /9-10"},
		{fold.Squeeze, "a-b - c--------d", "a0-1 _1-2 b2-3 _3-4 _4-5 _5-6 c6-7 _7-8 _8-9 _9-10 _10-11 _11-12 _12-13 _13-14 /14-15 d15-16"},
		{fold.JSON, `a\u0062\n\/`, "a0-1 b1-7  7-9 /9-11"},
		{fold.JSON, `\ud83d\ude00`, "😀0-12"},
		{fold.JSON, `\ud83dx`, "/0-6 x6-7"},
		{fold.JSON, `\ud83d\n`, "/0-6  6-8"},
		{fold.JSON, `\ud83d\u0041`, "/0-6 a6-12"},
		{fold.JSON, `\ud83d\ud83d\ude00`, "/0-6 😀6-18"},
		{fold.JSON, `\ud83d\u00\u0041`, "/0-10 a10-16"},
		{fold.JSON, `\ude00\x\\`, `/0-6 /6-7 x7-8 \8-10`},
		{fold.JSON, `\u00`, "/0-4"},
		{fold.JSON, `\ud83d\`, "/0-7"},
		{fold.Encoded, "%41%e4%b8%ad%", "a0-3 中3-12 /12-13"},
		{fold.Encoded, "%e4x%zz", "/0-3 x3-4 /4-5 z5-6 z6-7"},
		{fold.Encoded, "&#65;&#x4e2d;&amp;&#65x&no;&", "a0-5 中5-13 &13-18 a18-22 x22-23 /23-26 ;26-27 /27-28"},
		{fold.Encoded, "&#65", "a0-4"},
		{fold.Encoded, "&#xD800;", "/0-8"},
		{fold.Encoded, "&#12345678", "/0-9 89-10"},
		{fold.Base64, "em9yYg==", "z0-4 o0-4 r0-4 b4-6 /6-7 /7-8"},
		{fold.Base64, "5Lit5paH", "中0-4 文4-8"},
		{fold.Base64, "YeS4rQ", "a0-4 中0-6"},
		{fold.Base64, "em9y\r\nYg==", "z0-4 o0-4 r0-4 _4-6 b6-8 /8-9 /9-10"},
		{fold.Base64, "YeS4\nrQ", "a0-4 中0-7"},
		{fold.Base64, "em9y\n Yg\nem9y\n\n\nem9y\n", "z0-4 o0-4 r0-4 /4-5 /5-6 b6-8 /8-9 z9-13 o9-13 r9-13 /13-15 /15-16 z16-20 o16-20 r16-20 /20-21"},
		{fold.Base64, "gICA.a", "/0-4 /0-4 /0-4 /4-5 /5-6"},
	} {
		if got := show(c.view, c.text, func(int) bool { return false }); got != c.want {
			t.Errorf("%v of %q: got\n%s, want\n%s", c.view, c.text, got, c.want)
		}
	}
}

func show(v fold.View, text string, cut func(int) bool) string {
	var out []string
	for _, u := range read(nil, v, text, cut) {
		out = append(out, u.String())
	}
	return strings.Join(out, " ")
}
