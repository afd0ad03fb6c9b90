package guard

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/weir-gateway/weir/policy"
)

// hostile are what texts are made of that want a lexicon to be slow: long terms
// almost said, escapes, marks, separators.
var hostile = map[string]string{
	"one letter":         "a",
	"a letter and a sep": "a-",
	"two and a sep":      "aa-",
	"leet":               "4a",
	"full width":         "ａ",
	"marked":             "a\u0301",
	"separators":         "-",
	"spaces":             " ",
	"percent":            "%61",
	"half percent":       "%",
	"references":         "&#97;",
	"half references":    "&#9",
	"escapes":            `\u0061`,
	"backslashes":        `\`,
	"half pairs":         `\ud83d`,
	"marks":              "\u0301",
	"tags":               "\U000E0061",
	"base64":             "YWFh",
	"base64 lines":       "YWFh\n",
	"broken base64":      "5rWL5rWL5g",
	"characters":         "测",
	"characters apart":   "测 ",
	"traditional":        "測",
	"invalid":            "\uFFFD",
}

// nested are terms of which the text is always nearly at the end of a long one,
// and always in the middle of many.
func nested() (terms []string) {
	for _, letter := range []string{"a", "测"} {
		terms = append(terms, strings.Repeat(letter, policy.MaxTerm/len(letter)-1)+"b")
		for n := 64; n < 72; n++ {
			terms = append(terms, strings.Repeat(letter, n)+"c")
		}
	}
	return append(terms, "aab", "a b", "试测")
}

// scanPieces reads a text in pieces, and returns what was found.
func scanPieces(g policy.Guard, text string, piece int, found []policy.Span) []policy.Span {
	s := g.Open()
	for len(text) > 0 {
		n := min(piece, len(text))
		for n < len(text) && !utf8.RuneStart(text[n]) {
			n++
		}
		found = s.Scan(text[:n], found)
		s.Hold()
		text = text[n:]
	}
	return s.Close(found)
}

// TestHostileTextsReadAlike: they are found in pieces what they are at once, and
// what is kept of them has an end.
func TestHostileTextsReadAlike(t *testing.T) {
	terms := append(nested(), strings.Repeat("a", 300), strings.Repeat("测", 70))
	for _, whole := range []bool{false, true} {
		g := newWords(entriesOf(terms), viewNames, whole, kindsOf(terms))
		for name, unit := range hostile {
			text := strings.Repeat(unit, 8_000/len(unit)) + "b"
			s := g.Open().(*wordStream)
			once := s.Scan(text, nil)
			if len(s.spaced.letters) > 2*policy.MaxTerm+64 || len(s.plain.text) > 5*policy.MaxTerm || len(s.plain.anchors) > 2*policy.MaxTerm {
				t.Errorf("%s, whole %t: keeps %d letters, %d bytes, %d anchors", name, whole, len(s.spaced.letters), len(s.plain.text), len(s.plain.anchors))
			}
			once = s.Close(once)
			if pieces := scanPieces(g, text, 7, nil); !slices.Equal(once, pieces) {
				t.Errorf("%s, whole %t: %d findings at once, %d in pieces", name, whole, len(once), len(pieces))
			}
		}
	}
}

// BenchmarkLexiconHostile reads 100 kB and 400 kB of each: the speeds are alike
// where the time is linear.
func BenchmarkLexiconHostile(b *testing.B) {
	for _, whole := range []bool{false, true} {
		g := newWords(entriesOf(nested()), viewNames, whole, kindsOf(nested()))
		for name, unit := range hostile {
			for _, size := range []int{100_000, 400_000} {
				b.Run(fmt.Sprintf("whole=%t/%s/%dk", whole, strings.ReplaceAll(name, " ", "_"), size/1000), func(b *testing.B) {
					text := strings.Repeat(unit, size/len(unit))
					var found []policy.Span
					b.SetBytes(int64(len(text)))
					b.ReportAllocs()
					for b.Loop() {
						found = scanPieces(g, text, 32, found[:0])
					}
				})
			}
		}
	}
}
