package guard_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/policy"
)

// jsonPatterns are for what only JSON has: numbers, literals, quotes.
var jsonPatterns = []specRule{
	patternRule(`41{1,3}`, 0, "1"),
	patternRule(`1\.?2`, 0, "2", ".2"),
	patternRule(`^1|2$`, 0),
	patternRule(`1[12]*4`, 3, "4"),
	patternRule(`[12]+\.`, 2, "."),
	patternRule(`nul{1,2}|tr?u`, 0, "l", "ul", "u", "ru"),
	patternRule(`["\\]a?b`, 0, "b", "ab"),
	patternRule(`\n?1`, 0, "1"),
	patternRule(`\Aa\z`, 0),
	patternRule(`\x{FFFD}.?b`, 0, "b", "ab"),
	patternRule(`[u\\]{1,2}0`, 0, "0", "u0"),
}

var (
	jsonLetters = []string{"a", "b", "c", "1", "2", "4", ".", `"`, `\`, "/", "\n", "中", "é", "\uFFFD", "😀", "e", " ", "@", "A", "u", "0"}
	jsonNumbers = []string{"1", "12", "-1.2", "4112", "1.2e4", "0", "-0", "2E+41", "99411", "true", "false", "null"}
	jsonBreaks  = []string{",", `"`, "\x01", "]", "}", "{", "[", ":", "q", `\`, `\u`, `\u00`, `\ud83d`, `\ude00`, "1", ".", "-", " ", "t", "中", "\uFEFF", "\xE4", "\xFF"}
)

// drawString writes a string, some of its runes as escapes.
func drawString(t *rapid.T, letters []string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, l := range rapid.SliceOfN(rapid.SampledFrom(letters), 0, 5).Draw(t, "string") {
		r, _ := utf8.DecodeRuneInString(l)
		how := rapid.IntRange(0, 5).Draw(t, "escape")
		switch {
		case how == 0 && r > 0xFFFF:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04X`, high, low)
		case how == 0 && l == "\uFFFD":
			b.WriteString(rapid.SampledFrom([]string{`\ud83d`, `\uDE00`, `\uD800\ud800`, `\ufffd`}).Draw(t, "lone"))
		case how <= 1 && r <= 0xFFFF:
			fmt.Fprintf(&b, `\u%04x`, r)
		case l == "\n":
			b.WriteString(`\n`)
		case l == `"` || l == `\` || l == "/" && how == 2:
			b.WriteString(`\` + l)
		default:
			b.WriteString(l)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func drawJSON(t *rapid.T, letters []string, depth int) string {
	space := rapid.SampledFrom([]string{"", "", "", " ", "\n"}).Draw(t, "space")
	kind := rapid.IntRange(0, 9).Draw(t, "kind")
	switch {
	case kind < 4 || depth == 0 && kind > 6:
		return drawString(t, letters) + space
	case kind < 7:
		return rapid.SampledFrom(jsonNumbers).Draw(t, "number") + space
	}
	var parts []string
	for range rapid.IntRange(0, 2).Draw(t, "parts") {
		part := drawJSON(t, letters, depth-1)
		if kind > 7 {
			part = drawString(t, letters) + ":" + space + part
		}
		parts = append(parts, part)
	}
	if kind > 7 {
		return "{" + space + strings.Join(parts, ",") + "}"
	}
	return "[" + strings.Join(parts, ","+space) + "]"
}

// drawJSONText is JSON, or was before something happened to it.
func drawJSONText(t *rapid.T, letters []string) string {
	text := drawJSON(t, letters, 2)
	for rapid.IntRange(0, 2).Draw(t, "broken") == 0 {
		at := rapid.IntRange(0, len(text)).Draw(t, "at")
		switch rapid.IntRange(0, 2).Draw(t, "how") {
		case 0:
			text = text[:at]
		case 1:
			text = text[:at] + rapid.SampledFrom(jsonBreaks).Draw(t, "break") + text[at:]
		default:
			text = text[:at] + rapid.SampledFrom(jsonBreaks).Draw(t, "break") + text[min(len(text), at+1):]
		}
	}
	return text[:min(len(text), 48)]
}

func drawJSONScenario(t *rapid.T) scenario {
	var sc scenario
	letters := append([]string{"a", "b"}, rapid.SliceOfN(rapid.SampledFrom(jsonLetters), 1, 4).Draw(t, "letters")...)
	for i := range rapid.IntRange(1, 3).Draw(t, "rules") {
		r := drawRule(t, i, letters)
		if rapid.IntRange(0, 3).Draw(t, "json") == 0 {
			action := r.action
			r = rapid.SampledFrom(jsonPatterns).Draw(t, "pattern")
			r.action = action
		}
		r.placeholder = fmt.Sprintf("⟦%d\"\n⟧", i)
		r.toolArgs = r.action == policy.Redact && rapid.Bool().Draw(t, "tool_args")
		sc.rules = append(sc.rules, r)
	}
	type place struct {
		candidate int
		channel   policy.Channel
	}
	channels := []policy.Channel{policy.ToolArguments(0), policy.Structured, policy.ToolArguments(0), policy.ToolArguments(11), policy.ToolName(0), policy.Content}
	texts := map[place]string{}
	var order []place
	for range rapid.IntRange(1, 3).Draw(t, "texts") {
		p := place{rapid.SampledFrom([]int{0, 0, 0, 3}).Draw(t, "candidate"), rapid.SampledFrom(channels).Draw(t, "channel")}
		if texts[p] != "" {
			continue
		}
		order = append(order, p)
		if texts[p] = drawJSONText(t, letters); !p.channel.JSON() {
			texts[p] = strings.Join(rapid.SliceOfN(rapid.SampledFrom(letters), 1, 6).Draw(t, "text"), "")
		}
	}
	for len(order) > 0 { // they take turns
		i := rapid.IntRange(0, len(order)-1).Draw(t, "turn")
		p := order[i]
		n := min(len(texts[p]), rapid.SampledFrom([]int{1, 3, 7, 48}).Draw(t, "bytes"))
		for _, b := range []byte(texts[p][:n]) {
			sc.bytes = append(sc.bytes, arrival{p.candidate, p.channel, b})
		}
		if texts[p] = texts[p][n:]; texts[p] == "" {
			order = append(order[:i], order[i+1:]...)
		}
	}
	return sc
}

// TestScreenJSON holds the Screen to the specification on channels of JSON,
// among others, whole and broken. There is more that can go wrong in them than
// in plain text, so it looks longer.
func TestScreenJSON(t *testing.T) {
	for i := range 10 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				sc := drawJSONScenario(t)
				cuts := rapid.SliceOfN(rapid.Bool(), len(sc.bytes), len(sc.bytes)).Draw(t, "cuts")
				open := func(e *policy.Effective) screen { return e.Screen() }
				if err := checkAll(t, sc, func(i int) bool { return cuts[i] }, open); err != nil {
					t.Fatalf("%v\n%s", err, sc)
				}
			})
		})
	}
}

// jsonFuzzRules are enough to tell where anything is looked at, and as what.
func jsonFuzzRules() []specRule {
	term := func(action policy.Action, terms ...string) specRule {
		r := termRule(terms, false, false)
		r.action, r.placeholder, r.toolArgs = action, "⟦\"⟧", action == policy.Redact
		return r
	}
	number := jsonPatterns[0]
	number.action, number.placeholder, number.toolArgs = policy.Redact, "⟦n⟧", true
	edge := jsonPatterns[8]
	edge.action = policy.Flag
	return []specRule{term(policy.Redact, "zorb", "\uFFFDb", "😀"), number, term(policy.Block, "latt", "ue"), edge, term(policy.Flag, "q", `\u`)}
}

// FuzzScreenJSON takes one text on a channel of JSON, and where to cut it.
func FuzzScreenJSON(f *testing.F) {
	rules := jsonFuzzRules()
	f.Fuzz(func(t *testing.T, text string, cuts uint64) {
		sc := scenario{rules: rules}
		for _, b := range []byte(text[:min(len(text), 60)]) {
			sc.bytes = append(sc.bytes, arrival{0, policy.Structured, b})
		}
		open := func(e *policy.Effective) screen { return e.Screen() }
		if err := checkAll(t, sc, func(i int) bool { return cuts>>(i%64)&1 == 1 }, open); err != nil {
			t.Fatalf("%v\n%s", err, sc)
		}
	})
}
