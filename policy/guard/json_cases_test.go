package guard_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/policy"
)

func lexiconRule(rest string) string {
	return `{guard: lexicon, views: [raw], terms: [zorblatt], placeholder: "[1]", action: redact` + rest + `}`
}

// TestJSONCases keeps what JSON is guarded by, a case each.
func TestJSONCases(t *testing.T) {
	number := `{guard: pattern, expr: "41+", max_length: 5, action: redact, placeholder: "[1]", tool_args: redact}`
	args := policy.ToolArguments(0)
	for _, c := range []struct {
		name    string
		channel policy.Channel
		rule    string
		text    string
		want    string
		span    [2]int64 // of the only verdict; none where the end is 0
	}{
		{"a number is replaced whole", policy.Structured, number, `{"n":99411}`, `{"n":"[1]"}`, [2]int64{7, 10}},
		{"so is one in arguments that may be redacted", args, number, `{"n":99411}`, `{"n":"[1]"}`, [2]int64{7, 10}},
		{"two matches are one placeholder", policy.Structured, `{guard: lexicon, terms: ["1", "2"], action: redact, placeholder: "[1]"}`, `[1002]`, `["[1]"]`, [2]int64{}},
		{"a literal", policy.Structured, `{guard: lexicon, terms: [tru], action: redact, placeholder: "[1]"}`, `[true ,"true"]`, `["[1]" ,"[1]e"]`, [2]int64{}},
		{"an empty placeholder is an empty string", policy.Structured, `{guard: lexicon, terms: [nul, x], action: redact, placeholder: ""}`, `[null,"x"]`, `["",""]`, [2]int64{}},
		{"two elements are two texts", policy.Structured, lexiconRule(""), `["zorb","latt"]`, `["zorb","latt"]`, [2]int64{}},
		{"a key and its value too", policy.Structured, lexiconRule(""), `{"zorb":"latt"}`, `{"zorb":"latt"}`, [2]int64{}},
		{"an escape is what it says", policy.Structured, lexiconRule(""), `{"a":"zorb\u006cattt"}`, `{"a":"[1]t"}`, [2]int64{6, 19}},
		{"and goes whole", policy.Structured, lexiconRule(""), `{"a":"\u007Aorblat\u0074"}`, `{"a":"[1]"}`, [2]int64{6, 24}},
		{"other escapes stay as they are", policy.Structured, lexiconRule(""), `"\u0061\/\n zorblatt\ud83d\ude00\u0041"`, `"\u0061\/\n [1]\ud83d\ude00\u0041"`, [2]int64{12, 20}},
		{"keys are strings", policy.Structured, lexiconRule(""), `{"zorblatt":{"xzorblatt":1}}`, `{"[1]":{"x[1]":1}}`, [2]int64{}},
		{"a placeholder is escaped", policy.Structured, `{guard: lexicon, terms: [zorblatt, "41"], action: redact, placeholder: "\"\\\u0001\n"}`, `["zorblatt",41]`, `["\"\\\u0001\n","\"\\\u0001\n"]`, [2]int64{}},
		{"arguments are blocked", args, lexiconRule(""), `{"a":"x zorblatt"}`, `{"a":"x `, [2]int64{8, 16}},
		{"but for a rule that says otherwise", args, lexiconRule(", tool_args: redact"), `{"a":"x zorblatt"}`, `{"a":"x [1]"}`, [2]int64{8, 16}},
		{"and a rule may say so", args, lexiconRule(", tool_args: block"), `{"a":"x zorblatt"}`, `{"a":"x `, [2]int64{8, 16}},
		{"a name is blocked", policy.ToolName(0), lexiconRule(""), `"x zorblatt"`, `"x `, [2]int64{3, 11}},
		{"whatever a rule says of arguments", policy.ToolName(0), lexiconRule(", tool_args: redact"), `"x zorblatt"`, `"x `, [2]int64{3, 11}},
		{"a block leaves nothing of a number", policy.Structured, `{guard: lexicon, terms: ["41"], action: block}`, `[7,99411,1]`, `[7,`, [2]int64{5, 7}},
		{"half a pair is U+FFFD", policy.Structured, `{guard: lexicon, views: [raw], terms: ["\uFFFDb"], action: redact, placeholder: "[1]"}`, `["\ud83db\ud83d\u0062","\ude00b"]`, `["[1][1]","[1]"]`, [2]int64{}},
		{"a pair is one", policy.Structured, `{guard: lexicon, views: [raw], terms: ["😀b", "\uFFFD"], action: redact, placeholder: "[1]"}`, `["\ud83d\ude00b"]`, `["[1]"]`, [2]int64{2, 15}},
		{"of two first halves the second may be one of a pair", policy.Structured, `{guard: lexicon, views: [raw], terms: ["😀", "\uFFFD"], action: redact, placeholder: "[1]"}`, `["\ud83d\ud83d\ude00"]`, `["[1][1]"]`, [2]int64{}},
		{"what is no JSON is one text", policy.Structured, lexiconRule(""), `{"a":"zorb", zorb:"latt","zorblatt`, `{"a":"zorb", zorb:"latt","[1]`, [2]int64{26, 34}},
		{"and reads as it is", policy.Structured, lexiconRule(""), `{} "zorb\u006catt" zorblatt`, `{} "zorb\u006catt" [1]`, [2]int64{19, 27}},
		{"a literal that is none belongs to it", policy.Structured, `{guard: lexicon, terms: [trzorb], action: redact, placeholder: "[1]"}`, `trzorb`, `[1]`, [2]int64{0, 6}},
		{"a number that is none", policy.Structured, `{guard: lexicon, terms: ["[41x"], action: redact, placeholder: "[1]"}`, `[41x`, `[41x`, [2]int64{}},
		{"its digits too", policy.Structured, `{guard: lexicon, terms: ["41x"], action: redact, placeholder: "[1]"}`, `[41x`, `[[1]`, [2]int64{1, 4}},
		{"an escape that is none", policy.Structured, `{guard: lexicon, views: [raw], terms: ['\q'], action: redact, placeholder: "[1]"}`, `"\q`, `"[1]`, [2]int64{1, 3}},
		{"one that the end cuts", policy.Structured, `{guard: lexicon, views: [raw], terms: ['\u00'], action: redact, placeholder: "[1]"}`, `"a\u00`, `"a[1]`, [2]int64{2, 6}},
		{"a number that the end cuts is none", policy.Structured, `{guard: lexicon, terms: ["1."], action: redact, placeholder: "[1]"}`, `[1.`, `[[1]`, [2]int64{1, 3}},
		{"one that is whole is one", policy.Structured, `{guard: lexicon, terms: ["1"], action: redact, placeholder: "[1]"}`, `[10`, `["[1]"`, [2]int64{1, 2}},
		{"a token ends a word", policy.Structured, `{guard: lexicon, terms: [zorblatt], whole_word: true, action: redact, placeholder: "[1]"}`, `["zorblatt"]`, `["[1]"]`, [2]int64{2, 10}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := effective(t, c.rule)
			for first := 0; first <= len(c.text); first++ {
				for second := first; second <= len(c.text); second++ {
					s := e.Screen()
					var out []policy.Piece
					for _, text := range []string{c.text[:first], c.text[first:second], c.text[second:]} {
						out = s.Write(out, policy.Piece{Channel: c.channel, Text: text})
					}
					got := texts(s.End(out, 0))
					if got != c.want {
						t.Fatalf("cut at %d and %d: got %s, want %s", first, second, got, c.want)
					}
					if v := s.Verdicts(); c.span[1] > 0 && (len(v) != 1 || v[0].Start != c.span[0] || v[0].End != c.span[1] || (v[0].Action == policy.Block) != s.Blocked(0)) {
						t.Fatalf("cut at %d and %d: %+v", first, second, v)
					}
				}
			}
		})
	}
}

// TestJSONOfSeveralRules: the counter-examples of plain text, in tokens.
func TestJSONOfSeveralRules(t *testing.T) {
	block := func(term string) string {
		return `{guard: lexicon, views: [raw], terms: ["` + term + `"], action: block}`
	}
	flag := func(term string) string {
		return `{guard: lexicon, views: [raw], terms: ["` + term + `"], action: flag}`
	}
	redact := func(term, word string) string {
		return `{guard: lexicon, views: [raw], terms: ["` + term + `"], action: redact, placeholder: "` + word + `"}`
	}
	for _, c := range []struct {
		text, want string
		verdicts   int
		rules      []string
	}{
		{`["xx","abcb"]`, `["xx","a`, 1, []string{block("c"), block("bcb")}},
		{`["xabcdy","abcd"]`, `["x[1]y","[1]"]`, 4, []string{redact("ab", "[1]"), redact("bcd", "[2]")}},
		{`["a","aa"]`, `["[1]","`, 4, []string{redact("a", "[1]"), block("aa")}},
		{`[1234]`, `["[1]"]`, 2, []string{redact("23", "[2]"), redact("12", "[1]")}},
		{`[1234]`, `["[2]"]`, 2, []string{redact("12", "[1]"), redact("123", "[2]")}},
		{`[123,4]`, `[`, 1, []string{block("3"), block("12")}},
		{`[123,4]`, `[`, 2, []string{redact("1", "[1]"), block("23"), flag("4")}},
		{`[] xaxbx`, `[] x`, 1, []string{block("a"), flag("b")}},
		{`["\ud83daxbx"]`, `["\ud83d`, 2, []string{block("a"), flag("b"), flag("\uFFFD")}},
		{`["\ud83d","b"]`, `["`, 1, []string{block("\uFFFD"), flag("b")}},
		{`-1.`, `-`, 1, []string{block("1."), block("1")}},
		{`tra b`, ``, 1, []string{block("tr"), flag("b")}},
		{`tra b`, ``, 2, []string{block("tr"), flag("a")}},
	} {
		t.Run(c.text, func(t *testing.T) {
			e := effective(t, c.rules...)
			for first := 0; first <= len(c.text); first++ {
				for second := first; second <= len(c.text); second++ {
					s := e.Screen()
					var out []policy.Piece
					for _, text := range []string{c.text[:first], c.text[first:second], c.text[second:]} {
						out = s.Write(out, policy.Piece{Channel: policy.Structured, Text: text})
					}
					if got := texts(s.End(out, 0)); got != c.want || len(s.Verdicts()) != c.verdicts {
						t.Fatalf("cut at %d and %d: got %s, want %s; %d verdicts", first, second, got, c.want, len(s.Verdicts()))
					}
				}
			}
		})
	}
}

// TestJSONIsHeldWhole: what is released after each Write.
func TestJSONIsHeldWhole(t *testing.T) {
	for _, c := range []struct{ text, want []string }{
		{[]string{`[1`, `2.5e`, `3`, `,`, `tr`, `ue`, `]`}, []string{`[`, ``, ``, `12.5e3,`, ``, ``, `true]`}},
		{[]string{`"a\`, `u4e`, `2d`, `b"`}, []string{`"a`, ``, `\u4e2d`, `b"`}},
		{[]string{`"\ud83d`, `\`, `ude`, `00"`}, []string{`"`, ``, ``, `\ud83d\ude00"`}},
		{[]string{`"\ud83d`, `\`, `n"`}, []string{`"`, ``, `\ud83d\n"`}},
		{[]string{`"\ud83d`, `\u0`, `061"`}, []string{`"`, `\ud83d`, `\u0061"`}},
		{[]string{`"\ud83d`, `x"`}, []string{`"`, `\ud83dx"`}},
		{[]string{`"zorb`, `\u006`, `catx`, `"`}, []string{`"`, ``, `zorb\u006catx`, `"`}},
		{[]string{`12`, `x`, `34`}, []string{``, `12x`, `34`}},
	} {
		s := effective(t, lexiconRule("")).Screen()
		for i, text := range c.text {
			if got := texts(s.Write(nil, policy.Piece{Channel: policy.Structured, Text: text})); got != c.want[i] {
				t.Errorf("%q: after %q released %q, want %q", c.text, text, got, c.want[i])
			}
		}
	}
	// Nothing waits where nothing can be done about it.
	s := effective(t, `{guard: lexicon, terms: ["12"], action: flag}`).Screen()
	if got := texts(s.Write(nil, policy.Piece{Channel: policy.Structured, Text: `[12`})); got != `[12` {
		t.Errorf("released %q", got)
	}
}

// TestToolCallBehindHeldContent: a held tail of the content holds the call that
// arrives behind it, and a match goes on across the call.
func TestToolCallBehindHeldContent(t *testing.T) {
	e := effective(t, `{guard: lexicon, terms: [zorblatt], action: redact, placeholder: "[1]"}`)
	for tail, want := range map[string]string{
		"latt!": `a [1]"f"{"x":1}!`,
		"al":    `a zorb"f"{"x":1}al`,
	} {
		s := e.Screen()
		out := s.Write(nil, policy.Piece{Channel: policy.Content, Text: "a zorb"})
		out = s.Write(out, policy.Piece{Channel: policy.ToolName(0), Text: `"f"`})
		out = s.Write(out, policy.Piece{Channel: policy.ToolArguments(0), Text: `{"x"`})
		out = s.Write(out, policy.Piece{Channel: policy.ToolArguments(0), Text: `:1}`})
		if got := texts(out); got != "a " {
			t.Fatalf("released %q", got)
		}
		out = s.Write(out, policy.Piece{Channel: policy.Content, Text: tail})
		if got := texts(s.End(out, 0)); got != want {
			t.Errorf("%s: got %q, want %q", tail, got, want)
		}
	}
}

// TestOfTwoNumbersTheFirstCounts: both are decided by the end, and a block
// leaves nothing of a number, wherever in it the match is.
func TestOfTwoNumbersTheFirstCounts(t *testing.T) {
	s := effective(t, `{guard: lexicon, terms: ["12"], action: block}`).Screen()
	var out []policy.Piece
	for _, p := range []policy.Piece{{Channel: "tool/0/arguments", Text: "-"}, {Channel: policy.Structured, Text: "12"}, {Channel: "tool/0/arguments", Text: "12"}} {
		out = s.Write(out, p)
	}
	out = s.End(out, 0)
	if v := s.Verdicts(); len(out) != 0 || len(v) != 1 || v[0].Channel != "tool/0/arguments" {
		t.Errorf("released %v, found %+v", out, v)
	}
}

// TestCallsTakeTurns: the texts of two calls that arrive in turns are two texts.
func TestCallsTakeTurns(t *testing.T) {
	e := effective(t, lexiconRule(", tool_args: redact"))
	s := e.Screen()
	var out []policy.Piece
	one, two := `{"a":"zorblatt","b":"zorb"}`, `["latt","zorb\u006catt"]`
	for i := range max(len(one), len(two)) {
		for n, text := range []string{one, two} {
			if i < len(text) {
				out = s.Write(out, policy.Piece{Channel: policy.ToolArguments(n), Text: text[i : i+1]})
			}
		}
	}
	var got [2]string
	for _, p := range s.End(out, 0) {
		n := slices.Index([]policy.Channel{"tool/0/arguments", "tool/1/arguments"}, p.Channel)
		got[n] += p.Text
	}
	if got != [2]string{`{"a":"[1]","b":"zorb"}`, `["latt","[1]"]`} {
		t.Errorf("got %q", got)
	}
}

// TestJSONBounds: what is nested too deep, or too long a number, is guarded as
// plain text from there on. No parser that we know goes deeper.
func TestJSONBounds(t *testing.T) {
	e := effective(t, lexiconRule(""), `{guard: lexicon, terms: ["77"], action: redact, placeholder: "[1]"}`)
	run := func(text string) string {
		s := e.Screen()
		var out []policy.Piece
		for rest := text; rest != ""; {
			n := min(len(rest), 777)
			out = s.Write(out, policy.Piece{Channel: policy.Structured, Text: rest[:n]})
			rest = rest[n:]
		}
		return texts(s.End(out, 0))
	}
	const escaped = `"zorb\u006catt"`
	for depth, seen := range map[int]bool{10_000: true, 10_001: false} {
		text := strings.Repeat("[", depth) + escaped + strings.Repeat("]", depth)
		want := text
		if seen {
			want = strings.Replace(text, escaped, `"[1]"`, 1)
		}
		if got := run(text); got != want || json.Valid([]byte(text)) != seen {
			t.Errorf("depth %d: %d bytes, want %d", depth, len(got), len(want))
		}
	}
	deep := strings.Repeat(`{"a":[`, 3000)
	if got, want := run(deep+escaped+"],zorblatt"), deep+`"[1]"],[1]`; got != want { // a key is missing
		t.Errorf("got …%s", got[len(got)-40:])
	}
	digits := strings.Repeat("0", 1000)
	if got, want := run("[1"+digits+"77]"), `["[1]"]`; got != want {
		t.Errorf("got %s", got)
	}
	digits += strings.Repeat("0", 100)
	if got, want := run("[1"+digits+"77]"), "[1"+digits+"[1]]"; got != want {
		t.Errorf("got %s", got)
	}
}

// TestLongEscapedText: every place of a long text of escapes is known.
func TestLongEscapedText(t *testing.T) {
	e := effective(t, lexiconRule(""), `{guard: pattern, expr: 'x[^y]{0,300}y', action: flag}`)
	var b strings.Builder
	for i := range 4000 {
		switch i % 50 {
		case 0:
			b.WriteString("水")
		case 7:
			b.WriteString(`z\u006f\u0072blatt`)
		case 9:
			b.WriteString(`\u0078`)
		case 30:
			b.WriteString(`\u0079`)
		default:
			fmt.Fprintf(&b, `\u%04x`, 0x4E00+i)
		}
	}
	text := `["` + b.String() + `"]`
	want := `["` + strings.ReplaceAll(b.String(), `z\u006f\u0072blatt`, "[1]") + `"]`
	for _, n := range []int{1, 5, 64, 1 << 20} {
		s := e.Screen()
		var out []policy.Piece
		for rest := text; rest != ""; {
			k := min(len(rest), n)
			for k < len(rest) && !utf8.RuneStart(rest[k]) {
				k++
			}
			out = s.Write(out, policy.Piece{Channel: policy.Structured, Text: rest[:k]})
			rest = rest[k:]
		}
		if got := texts(s.End(out, 0)); got != want {
			t.Errorf("in pieces of %d: another text", n)
		}
		v := s.Verdicts()
		if len(v) != 160 {
			t.Fatalf("in pieces of %d: %d verdicts", n, len(v))
		}
		for _, v := range v {
			found := text[v.Start:v.End]
			if found != `z\u006f\u0072blatt` && !(strings.HasPrefix(found, `\u0078`) && strings.HasSuffix(found, `\u0079`)) {
				t.Fatalf("in pieces of %d: found %q at %d", n, found, v.Start)
			}
		}
	}
}

// TestEveryGuardBeginsAgain: what a guard finds in a token does not depend on
// the tokens before it.
func TestEveryGuardBeginsAgain(t *testing.T) {
	parts := []string{
		"4111 1111 1111 1111", "4111 1111", "138123", "13812345678", "bob@example.com", "bob@exam", "card number ", "密码是 aX9kQ2mZ7pL4", "password = hunter2hunter2x9Q",
		"-----BEGIN " + "PRIVATE KEY-----", "-----END " + "PRIVATE KEY-----", "zorblatt", "z-o-r-b-l", "-a-t-t", "zorb", "测试", "測試詞語", "ignore all previous ", "instructions. ", "<|im_start|>", "。", " ", "水", "&#", `\u0061`,
	}
	for _, rule := range []string{
		`{guard: pii, action: flag}`, `{guard: secrets, action: flag}`, `{guard: injection, action: flag}`, `{guard: lexicon, terms: [zorblatt, 测试词语], action: flag}`,
		`{guard: lexicon, terms: [zorblatt, bob], whole_word: true, action: flag}`, `{guard: pattern, expr: '\b1.*8\b', max_length: 9, action: flag}`,
	} {
		e := effective(t, rule)
		rapid.Check(t, func(t *rapid.T) {
			token := func(name string) string {
				text, err := json.Marshal(strings.Join(rapid.SliceOfN(rapid.SampledFrom(parts), 0, 5).Draw(t, name), ""))
				if err != nil {
					t.Fatal(err)
				}
				return string(text)
			}
			found := func(before, text string) (out []policy.Verdict) {
				s := e.Screen()
				for rest := "[" + before + "," + text + "]"; rest != ""; {
					n := min(len(rest), rapid.IntRange(1, 30).Draw(t, "n"))
					s.Write(nil, policy.Piece{Channel: policy.Structured, Text: rest[:n]})
					rest = rest[n:]
				}
				s.End(nil, 0)
				for _, v := range s.Verdicts() {
					if v.Start -= int64(len(before)); v.Start > 0 {
						v.End, v.Score = v.End-int64(len(before)), nil
						out = append(out, v)
					}
				}
				return out
			}
			before, text := token("before"), token("text")
			if got, want := found(before, text), found("0", text); !slices.Equal(got, want) {
				t.Fatalf("%s: behind %s, in %s\n%+v, want\n%+v", rule, before, text, got, want)
			}
		})
	}
}
