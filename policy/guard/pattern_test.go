package guard_test

import (
	"fmt"
	"regexp/syntax"
	"slices"
	"strings"
	"testing"

	"github.com/weir-gateway/weir/policy"
)

func TestPatternProblems(t *testing.T) {
	for rule, want := range map[string]string{
		"{expr: 'a*'}":                   "expr: the expression can match without any text, so it would match everywhere: make a part of it mandatory",
		`{expr: '\b'}`:                   "expr: the expression can match without any text, so it would match everywhere: make a part of it mandatory",
		"{expr: 'a|b?'}":                 "expr: the expression can match without any text, so it would match everywhere: make a part of it mandatory",
		"{expr: '(?:b?|a)'}":             "expr: the expression can match without any text, so it would match everywhere: make a part of it mandatory",
		"{expr: 'ab+'}":                  "expr: the expression has no longest match that could be held back: bound its repetitions, such as {1,64}, or give max_length (in bytes)",
		"{expr: 'ab+c', max_length: 2}":  "expr: max_length 2 is less than the 3 bytes of its shortest match",
		"{expr: 'ab', max_length: 0}":    "max_length: want from 1 to 65536 bytes, got 0",
		"{expr: '(a', max_length: 9}":    "expr: not a regular expression: missing closing ): `(a`",
		`{expr: 'a\bb'}`:                 "expr: the expression can never match",
		`{expr: 'a^b'}`:                  "expr: the expression can never match",
		`{expr: '[^\x00-\x{10FFFF}]'}`:   "expr: the expression can never match",
		"{builtin: emial}":               `builtin: unknown expression "emial" (known: email)`,
		"{builtin: email, expr: a}":      "builtin: is an expression of its own: remove it or expr",
		"{max_length: 3, expr: }":        "expr: no expression: give expr, or builtin (known: email)",
		"{expr: a, maxlength: 3}":        `maxlength: unknown field, did you mean "max_length"? (known: builtin, expr, max_length)`,
		"{expr: '(?:[a-z]{900}){900}x'}": "expr: not a regular expression: invalid repeat count: `{900}`",
		"{expr: '(?:a|b){1000}" + strings.Repeat("(?:c|d){1000}", 3) + "(?:ab?){1000}'}": "expr: the expression needs 5000 states, more than 4000: use smaller repetitions",
	} {
		if _, err := open(rule); err == nil || strings.TrimPrefix(err.Error(), "line 1: ") != want {
			t.Errorf("%.60s\n got %v\nwant %s", rule, err, want)
		}
	}
}

func TestPatternBounds(t *testing.T) {
	for rule, want := range map[string]int{
		"{expr: 'abc'}":                        2,
		`{expr: '\babc\b'}`:                    3,
		"{expr: 'a{2,5}'}":                     4,
		"{expr: '中.'}":                         6,
		"{expr: '(?i)k'}":                      2,
		"{expr: 'a|bcd|e{9}'}":                 8,
		"{expr: 'ab+c', max_length: 30}":       29,
		"{expr: 'a{5}', max_length: 30}":       4,
		"{expr: 'a{1,50}b', max_length: 30}":   29,
		"{expr: '(?:a*)bc{0}', max_length: 8}": 7,
		"{builtin: email}":                     319,
	} {
		g, err := open(rule)
		if err != nil {
			t.Errorf("%s: %v", rule, err)
			continue
		}
		if n, ok := g.Bound(); !ok || n != want {
			t.Errorf("%s: bound %d, want %d", rule, n, want)
		}
	}
}

func TestEmail(t *testing.T) {
	long := strings.Repeat("a", 64)
	for text, want := range map[string]string{
		"请联系张三zhang.san@example.com谢谢":               "请联系张三[EMAIL]谢谢",
		"write to o'brien+x_y%z@mail.example.co.uk.": "write to [EMAIL].",
		"a@b.co, c@d.org": "[EMAIL], [EMAIL]",
		"a@b@c.de":        "a@[EMAIL]",
		"a@b.c@d.ef":      "a@[EMAIL]",
		"a@b.cd@e.fg":     "[EMAIL]",
		"no@domain, @example.com, x@-a.com, y@1.2.3": "no@domain, @example.com, x@-a.com, y@1.2.3",
		"x@a-.com x@a..com":                          "x@a-.com x@a..com",
		long + "@e.com":                              "[EMAIL]",
		"b" + long + "@e.com":                        "b[EMAIL]",
		"a@" + strings.Repeat("sub.", 90) + "com!":   "[EMAIL]!",
		"a@" + strings.Repeat("x", 400) + " end":     "[EMAIL] end", // too long to be one, and too long to wait
		"a@" + strings.Repeat("x", 300) + " end":     "a@" + strings.Repeat("x", 300) + " end",
		"A@B.CO":                                     "[EMAIL]",
	} {
		e := effective(t, `{guard: pattern, builtin: email, action: redact}`)
		for _, size := range []int{1, 3, 7, 1000} {
			s := e.Screen()
			var out []policy.Piece
			for rest := text; rest != ""; {
				n := min(size, len(rest))
				out = s.Write(out, policy.Piece{Text: rest[:n]})
				rest = rest[n:]
			}
			if got := texts(s.End(out, 0)); got != want {
				t.Errorf("%.40q by %d:\n got %q\nwant %q", text, size, got, want)
			}
		}
	}
}

// TestLongRunDoesNotLeak: a stretch longer than max_length is a match that goes
// on, redacted to its end, and blocked where it reaches that length.
func TestLongRunDoesNotLeak(t *testing.T) {
	redact := effective(t, `{guard: pattern, expr: 'sk-[a-z]+', max_length: 16, action: redact, placeholder: "[K]"}`)
	block := effective(t, `{guard: pattern, expr: 'sk-[a-z]+!', max_length: 16, action: block}`)
	text := "key sk-" + strings.Repeat("z", 500) + " end"
	for cut := range len(text) {
		s := redact.Screen()
		out := s.Write(nil, policy.Piece{Text: text[:cut]})
		if s.Held() > 15 {
			t.Fatalf("%d bytes held", s.Held())
		}
		out = s.End(s.Write(out, policy.Piece{Text: text[cut:]}), 0)
		vs := s.Verdicts()
		if got := texts(out); got != "key [K] end" || len(vs) != 1 || vs[0].Start != 4 || vs[0].End != 507 {
			t.Fatalf("cut at %d: %q, %+v", cut, got, vs)
		}
		s = block.Screen()
		out = s.End(s.Write(s.Write(nil, policy.Piece{Text: text[:cut]}), policy.Piece{Text: text[cut:]}), 0)
		vs = s.Verdicts()
		if got := texts(out); got != "key " || !s.Blocked(0) || len(vs) != 1 || vs[0].Start != 4 || vs[0].End != 20 {
			t.Fatalf("cut at %d: %q, %+v", cut, got, vs)
		}
	}
}

// TestPatternAgainstRegexp compares matches to what Go's regexp says of every
// stretch, for expressions without a bound on what is tested elsewhere.
func TestPatternAgainstRegexp(t *testing.T) {
	for _, c := range []struct{ expr, text string }{
		{`\d{3}`, "12345 678"},
		{`\b\w{2,3}\b`, "ab abc abcd é1 12"},
		{`(?:\d[ -]?){3,5}\d\b`, "1 2-3 4567 89"},
		{`(a|ab)(c|bcd)`, "abcd abc acd"},
		{`(?i)straße|ſet`, "STRAßE SET ſEt straſſe"},
		{`[^中]文`, "中文 文文文"},
		{`(?m)^.{1,3}$`, "a\nbcd\n\nabcd\nxy"},
		{`x{2,3}?y{0,2}?`, "xxxxyyy"},
		{`[a-c]{2,4}b`, "abcbcbab"},
		{`[ab]{2,3}[@c]b`, "aac@b aacb a@b"},
		{`abc|c\b`, "abc abcd"},
		{`(?ms).^b`, "a\nb ab\n\nb"},
		{`\Bab|ab\B`, "ab abab xab abx"},
		{`(?s).{3}$`, "ab\ncd"},
		{`\A.b|b\z`, "abab"},
		{`[\x{4e00}-\x{9fff}]{2}\d`, "中文1文字22中3"},
		{`😀[^a]`, "😀a😀b😀"},
	} {
		g, err := open(fmt.Sprintf("{expr: %q}", c.expr))
		if err != nil {
			t.Errorf("%s: %v", c.expr, err)
			continue
		}
		want := onlyMaximal(newExpression(c.expr).all(c.text))
		for n := 1; n <= 4; n++ {
			if got := maximal(t, g, c.text, func(i int) bool { return i%n == 0 }); !slices.Equal(got, want) {
				t.Errorf("%s in %q by %d: got %v, want %v", c.expr, c.text, n, got, want)
			}
		}
	}
}

// TestHopelessBeginningIsNotHeld: no text makes a match of it, for borders
// forbid it.
func TestHopelessBeginningIsNotHeld(t *testing.T) {
	for _, c := range []struct{ expr, text string }{
		{`[a-](?:b\bb|\bx)`, "a"}, {`[ac]b\bb|aa`, "cb"}, {`[a-]\bb`, "a"}, {`x\Ba|x\b-`, "x-"}, {`a$b|aa`, "b"},
	} {
		g, err := open(fmt.Sprintf("{expr: %q}", c.expr))
		if err != nil {
			t.Fatal(err)
		}
		s := g.Open()
		s.Scan(c.text, nil)
		if s.Hold() != int64(len(c.text)) {
			t.Errorf("%s: %q is held from %d", c.expr, c.text, s.Hold())
		}
	}
}

// FuzzPattern: for any expression and text the matches are those of Go's regexp
// on every stretch, and the bound holds.
func FuzzPattern(f *testing.F) {
	f.Add(`\bab?\b`, "ab a bab", uint64(3))
	f.Add(`(?i)[a-k]{1,3}\x{212a}`, "abK", uint64(7))
	f.Add(`(?m)^a|b$|中`, "a\nb\n中", uint64(1))
	f.Add(`[ab]{1,3}@\w`, "abab@a@b", uint64(5))
	f.Fuzz(func(t *testing.T, expr, text string, cuts uint64) {
		text = strings.ToValidUTF8(text, "\uFFFD")
		if len(text) > 24 || len(expr) > 24 || strings.ContainsAny(expr, "\x00") {
			return
		}
		if _, err := syntax.Parse(`(?:`+expr+`)`, syntax.Perl); err != nil {
			return // such as a)(b, which is one only where it is put into another
		}
		g, err := open(fmt.Sprintf("{expr: %s}", yamlText(expr)))
		if err != nil {
			return
		}
		want := onlyMaximal(newExpression(expr).all(text))
		if got := maximal(t, g, text, func(i int) bool { return cuts>>(i%64)&1 == 1 }); !slices.Equal(got, want) {
			t.Errorf("%q in %q: got %v, want %v", expr, text, got, want)
		}
	})
}

// yamlText writes any text as a YAML scalar.
func yamlText(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		fmt.Fprintf(&b, `\U%08X`, r)
	}
	b.WriteByte('"')
	return b.String()
}
