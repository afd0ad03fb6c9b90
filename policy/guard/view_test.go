package guard

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/policy"
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

// What only looks like a spaced or replaced word is none. The town gave the name
// to all words that were taken for what is inside of them.
func TestScunthorpeIsATown(t *testing.T) {
	for name, c := range map[string]struct{ rule, text string }{
		"two words that meet":      {"terms: [asses]", "he was as sessile as a mussel"},
		"part of a gap":            {"terms: [ass]", "as sess, as s, mas s s"},
		"letters after apostrophe": {"terms: [ass, tsat]", "Alexa's system says it's a trap"},
		"a word of one letter":     {"terms: [fag, sin]", "of a great many, as I note"},
		"a word of two letters":    {"terms: [shit, tito]", "the news hi there, that it of"},
		"pronoun in between":       {"terms: [shed]", "she drove there, s he drove"},
		"numbers":                  {"terms: [lol, boob, sos]", "101 and 10 1 are numbers, 8008 and 505 too, and $05 @505"},
		"a version":                {"terms: [via, vila]", "v1.4 and v4"},
		"a hash":                   {"terms: [ass, boo]", "d4a55e1f 3b00c4 is the commit"},
		"whole words":              {"terms: [bass], whole_word: true", "the embassy and bassoon"},
		"two letters":              {"terms: [ab, hi]", "a b a-b h1 h!"},
		"clauses":                  {"terms: [法轮, 人民]", "有方法，轮到你了。来了很多人\n民国时候"},
		"clauses of three":         {"terms: [测试词]", "他去测，试词也行；测试，词"},
		"code":                     {"terms: [fab, nil]", "for f, a, bar := range n { i, l2 = f(a, b) }"},
		"words in base64":          {"terms: [zor, b], views: [decoded]", "em9y Yg YQ"},
		"half an escape":           {"terms: [zorb]", `z\u00rb z\u006frx`},
	} {
		if found := wordsIn(t, c.rule, c.text); found != nil {
			t.Errorf("%s: %s: %q gives %q", name, c.rule, c.text, found)
		}
	}
	// And what is one, though a letter, a digit or a word stands nearby.
	for _, c := range []struct{ rule, text, want string }{
		{"terms: [zorb]", "a z-o-r-b, and", "z-o-r-b"},
		{"terms: [zorb]", "z.o.r.bing", "z.o.r.b"},
		{"terms: [zorb]", "(z * o * r * b)", "z * o * r * b"},
		{"terms: [zorb]", "zo r b.", "zo r b"},
		{"terms: [zor]", "1. z o r 2", "z o r"},
		{"terms: [zorb]", "z-0-r-b", "z-0-r-b"},
		{"terms: [shit]", "5h17 and", "5h17"},
		{"terms: [shit]", "说5h17就", "5h17"},
		{"terms: [boat]", "a 80@7", "80@7"},
		{"terms: [zorb latt]", "z - o - r - b -   - l - a - t - t", "z - o - r - b -   - l - a - t - t"},
		{"terms: [zorb]", "z—o—r—b", "z—o—r—b"},
		{"terms: [hitler]", "Hℓtler", "Hℓtler"},
		{"terms: [测试]", "我要测*试一下", "测*试"},
		{"terms: [测试词]", "我要测，试，词吧", "测，试，词"},
		{"terms: [zorb latt]", "z o r b  l a t t", "z o r b  l a t t"},
		{"terms: [zorb latt]", "zorb \n latt", "zorb \n latt"},
		{"terms: [zorb]", "zorb\u0301\u200b!", "zorb\u0301\u200b"},
		{"terms: [zorb], whole_word: true", "z\u0301orb\u0301!", "z\u0301orb\u0301"},
		{"terms: [zorb], whole_word: true", "a z0rb, $ is", "z0rb"},
		{"terms: [zass], whole_word: true", "a za$$, is", "za$$"},
		{"terms: [zorb], views: [decoded]", "data em9yYg== and", "em9yYg"},
		{"terms: [zorbish], views: [decoded]", "data em9y\r\nYmlz\naA== and", "em9y\r\nYmlz\naA"},
		{"terms: [zorb], views: [decoded]", "this\nem9yYg\n", "em9yYg"},
		{"terms: [zorb], views: [decoded]", "q=%7Aorb", "%7Aorb"},
		{"terms: [zorb], views: [decoded]", "&#122;&#x6f;r&shy;b", "&#122;&#x6f;r&shy;b"},
	} {
		if found := wordsIn(t, c.rule, c.text); len(found) != 1 || found[0] != c.want {
			t.Errorf("%s: %q gives %q, want %q", c.rule, c.text, found, c.want)
		}
	}
}

// TestOnlyInputIsDecoded: by default rules decode what callers send, and nothing
// of what a model answers.
func TestOnlyInputIsDecoded(t *testing.T) {
	const rule = "[{guard: lexicon, terms: [zorblatt], action: flag}]"
	e := compileText(t, "kind: Policy\nname: p\nsafety: {input: "+rule+", output: "+rule+"}\n").Resolve(policy.Subject{})
	for _, text := range []string{"em9yYmxhdHQ=", "%7Aorblatt", "&#122;orblatt"} {
		if got := e.JudgeInput([]policy.InputText{{Text: text}}).Verdicts; len(got) != 1 {
			t.Errorf("input %q: %v", text, got)
		}
		if found := wordsIn(t, "terms: [zorblatt]", text); found != nil {
			t.Errorf("output %q: %q", text, found)
		}
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
			text := rapid.SampledFrom([]string{"", "say ", "zor ", "说", "\xff"}).Draw(t, "before") + secret + rapid.SampledFrom([]string{"", " on", "。", "\xe6"}).Draw(t, "after")
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
