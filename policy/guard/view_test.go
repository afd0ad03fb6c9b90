package guard

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/policy/fold"
)

func wordsIn(t failer, rule, text string) (found []string) {
	s := compileText(t, "kind: Policy\nname: p\nsafety: {output: [{guard: lexicon, "+rule+", action: flag}]}\n").Resolve(policy.Subject{}).Screen()
	s.Write(nil, policy.Piece{Text: text})
	s.End(nil, 0)
	for _, v := range s.Verdicts() {
		found = append(found, text[v.Start:v.End])
	}
	return found
}

// mapped writes a word with each rune replaced.
func mapped(word string, to func(rune) string) string {
	var b strings.Builder
	for _, r := range word {
		b.WriteString(to(r))
	}
	return b.String()
}

// evasions are the ways to write a word so that a search for its letters misses
// it and a reader does not.
var evasions = map[string]func(word string) string{
	"full width": func(w string) string {
		return mapped(w, func(r rune) string { return string(r - '!' + '！') })
	},
	"zero width":   func(w string) string { return mapped(w, func(r rune) string { return string(r) + "\u200b" }) },
	"soft hyphen":  func(w string) string { return mapped(w, func(r rune) string { return string(r) + "\u00ad" }) },
	"combining":    func(w string) string { return mapped(w, func(r rune) string { return string(r) + "\u0301" }) },
	"tags between": func(w string) string { return mapped(w, func(r rune) string { return string(r) + "\U000E0041" }) },
	"tags alone":   func(w string) string { return mapped(w, func(r rune) string { return string(r + 0xE0000) }) },
	"mathematical": func(w string) string {
		return mapped(w, func(r rune) string { return string(r - 'a' + 0x1D41A) })
	},
	"capitals": strings.ToUpper,
	"separators": func(w string) string {
		return strings.TrimSuffix(mapped(w, func(r rune) string { return string(r) + "-" }), "-")
	},
	"spaces": func(w string) string {
		return strings.TrimSuffix(mapped(w, func(r rune) string { return string(r) + " " }), " ")
	},
	"JSON escapes": func(w string) string { return mapped(w, func(r rune) string { return fmt.Sprintf(`\u%04x`, r) }) },
	"confusables": func(w string) string {
		return strings.NewReplacer("a", "а", "e", "е", "o", "о", "p", "р", "c", "с", "x", "х", "i", "і").Replace(w)
	},
	"leet": func(w string) string {
		return strings.NewReplacer("a", "4", "e", "3", "o", "0", "i", "1", "s", "5").Replace(w)
	},
}

func TestAWordIsFoundHoweverItIsSpelled(t *testing.T) {
	words := []string{"zorblatt", "quimpado", "vexalion", "brindose", "farquist"}
	for name, spell := range evasions {
		for _, word := range words {
			spelled := spell(word)
			text := "the " + spelled + " is here"
			found := wordsIn(t, "terms: ["+strings.Join(words, ", ")+"]", text)
			if len(found) != 1 || len(found[0]) < len(spelled)-4 || !strings.Contains(spelled, strings.TrimRight(found[0], "\u200b\u00ad\u0301")) {
				t.Errorf("%s: %q gives %q", name, text, found)
			}
		}
	}
	for _, c := range []struct{ term, text string }{{"测试词语", "这是測試詞語吗"}, {"測試詞語", "这是测试词语吗"}, {"测试词语", "测-试-词-语"}, {"测试词语", "测\u200b试词语"}} {
		if found := wordsIn(t, "terms: ["+c.term+"]", c.text); len(found) != 1 {
			t.Errorf("%s in %s: %q", c.term, c.text, found)
		}
	}
}

// What only looks like a spaced or replaced word is none.
func TestScunthorpeIsATown(t *testing.T) {
	for _, c := range []struct{ rule, text string }{
		{"terms: [asses]", "he was as sessile as a mussel"},
		{"terms: [shed]", "she drove there"},
		{"terms: [lol]", "101 and 10 1 are numbers"},
		{"terms: [bass], whole_word: true", "the embassy and bassoon"},
		{"terms: [ab]", "a b a-b"},
	} {
		if found := wordsIn(t, c.rule, c.text); found != nil {
			t.Errorf("%s: %q gives %q", c.rule, c.text, found)
		}
	}
}

// seenRune is a rune of a view with its place.
type seenRune struct {
	r          rune
	start, end int64
	gap        bool
	symbol     bool
}

// look is a whole text in a view: runs between breaks, white space joined.
func look(view fold.View, text string) (runs [][]seenRune) {
	runs = append(runs, nil)
	gap := false
	emit := func(r rune, start, end int64) {
		last := &runs[len(runs)-1]
		switch {
		case r == fold.Nothing:
			gap = true
		case r == fold.Break:
			runs = append(runs, nil)
			gap = false
		case r == ' ' && len(*last) > 0 && (*last)[len(*last)-1].r == ' ':
		default:
			src, _ := utf8.DecodeRuneInString(text[start:])
			symbol := src < utf8.RuneSelf && !('a' <= src && src <= 'z' || 'A' <= src && src <= 'Z')
			*last = append(*last, seenRune{r, start, end, gap, symbol})
			gap = false
		}
	}
	r := fold.NewReader(view)
	r.Read(text, emit)
	r.Close(emit)
	return runs
}

// inView is what there is to find, by brute force.
func inView(view fold.View, terms []string, text string) (out [][2]int) {
	var all [][2]int
	for _, term := range terms {
		want := []rune(strings.Join(strings.Fields(fold.String(view, term)), " "))
		joins := view == fold.Squeeze || view == fold.Leet
		if len(want) == 0 || joins && len(want) < shortest {
			continue
		}
		for _, run := range look(view, text) {
			for i := 0; i+len(want) <= len(run); i++ {
				part := run[i : i+len(want)]
				if !slices.EqualFunc(part, want, func(a seenRune, b rune) bool { return a.r == b }) {
					continue
				}
				gaps, symbols := 0, 0
				for k, s := range part {
					if k > 0 && s.gap {
						gaps++
					}
					if s.symbol {
						symbols++
					}
				}
				if view == fold.Squeeze && 2*gaps <= len(want)-1 || view == fold.Leet && (symbols == 0 || 2*symbols > len(want)) {
					continue
				}
				all = append(all, [2]int{int(part[0].start), int(part[len(part)-1].end)})
			}
		}
	}
	for _, m := range all {
		inside := slices.ContainsFunc(all, func(o [2]int) bool { return o != m && o[0] <= m[0] && m[1] <= o[1] })
		if !inside && !slices.Contains(out, m) {
			out = append(out, m)
		}
	}
	slices.SortFunc(out, func(a, b [2]int) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) })
	return out
}

func TestViewsFindWhatBruteForceFinds(t *testing.T) {
	terms := []string{"abca", "bcab", "cab", "a b", "测试", "0ab"}
	parts := []string{"a", "b", "c", "A", "В", "ａ", "0", "4", "-", " ", "  ", "\u200b", "́", "测", "試", `\u0061`, `\`, "\U000E0061", "\U000E0062", "\U000E0063", "x", "\n"}
	for name, view := range viewsByName {
		t.Run(name, func(t *testing.T) {
			g := newViewed(view, terms, false)
			rapid.Check(t, func(t *rapid.T) {
				text := strings.Join(rapid.SliceOfN(rapid.SampledFrom(parts), 0, 20).Draw(t, "text"), "")
				whole := g.Open()
				all := whole.Close(whole.Scan(text, nil))
				got, want := maximalOf(all), inView(view, terms, text)
				if !slices.Equal(got, want) {
					t.Fatalf("%q: found %v, there are %v", text, got, want)
				}
				cut := g.Open()
				var found []policy.Span
				read := ""
				for _, p := range pieces(t, text) {
					found = cut.Scan(p, found)
					read += p
					once := g.Open()
					once.Scan(read, nil)
					if cut.Hold() != once.Hold() {
						t.Fatalf("%q in pieces holds from %d, at once from %d", read, cut.Hold(), once.Hold())
					}
					if n, _ := g.Bound(); int64(len(read))-cut.Hold() > int64(n) {
						t.Fatalf("%q: %d bytes are held, the bound is %d", read, int64(len(read))-cut.Hold(), n)
					}
					for _, m := range want {
						if int64(m[0]) < cut.Hold() && !slices.ContainsFunc(found, func(s policy.Span) bool { return int(s.Start) <= m[0] && int(s.End) > m[0] }) {
							t.Fatalf("%q: %v begins before the watermark %d and is not known", read, m, cut.Hold())
						}
					}
					if rapid.Bool().Draw(t, "copy") {
						other := g.Open()
						other.Copy(cut)
						cut = other
					}
				}
				if found = cut.Close(found); !slices.Equal(found, all) {
					t.Fatalf("%q: in pieces %v, at once %v", text, found, all)
				}
			})
		})
	}
}

func TestViewsThroughTheScreen(t *testing.T) {
	for _, action := range []string{"redact", "block"} {
		e := compileText(t, "kind: Policy\nname: p\nsafety: {output: [{guard: lexicon, terms: [zorblatt, 测试词语], action: "+action+"}]}\n").Resolve(policy.Subject{})
		rapid.Check(t, func(t *rapid.T) {
			names := make([]string, 0, len(evasions))
			for name := range evasions {
				names = append(names, name)
			}
			slices.Sort(names)
			secret := evasions[rapid.SampledFrom(names).Draw(t, "evasion")]("zorblatt")
			text := rapid.SampledFrom([]string{"", "say ", "zor", "说", "\xff"}).Draw(t, "before") + secret + rapid.SampledFrom([]string{"", " on", "。", "\xe6"}).Draw(t, "after")
			run := func(cut func() int) string { out, _ := screened(e, text, cut); return out }
			whole, byteWise := run(func() int { return len(text) }), run(func() int { return 1 })
			if random := run(func() int { return rapid.IntRange(1, 9).Draw(t, "cut") }); whole != byteWise || whole != random {
				t.Fatalf("%q:\nat once  %q\nbytewise %q\nrandomly %q", text, whole, byteWise, random)
			}
			if first, _ := utf8.DecodeRuneInString(secret); strings.Contains(whole, secret) || strings.Count(whole, string(first)) > strings.Count(strings.Replace(text, secret, "", 1), string(first)) {
				t.Fatalf("%q leaks: %q", text, whole)
			}
		})
	}
}
