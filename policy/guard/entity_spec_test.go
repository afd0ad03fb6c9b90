package guard_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/policy/guard"
)

// specEntities are small forms that overlap, touch, and fail their checks: with
// a neighbour to wait for and without, with context, and one that
// is longer than what is remembered of ordinary text.
var specEntities = []guard.EntityForTest{
	{Expr: `\d(?:[ -]?\d){2,4}`, NotAfter: []string{"digit", "letter", "underline", "decimal"}, NotBefore: []string{"digit", "letter", "underline"}, Valid: sumOfThrees, Score: 0.9, At: 0.5},
	{Expr: `[A-C]{1,2}\d{1,3}`, NotAfter: []string{"letter"}, Score: 0.6, ContextScore: 0.8, Context: []string{"码", "tel"}, At: 0.7},
	{Expr: `[京沪][A-C]\d{2}`, NotBefore: []string{"digit"}, Score: 0.7, At: 0.5},
	{Expr: `@[A-C1-3 é😀_]{0,30}[x2]`, Score: 0.7, At: 0.5},
	{Expr: `_[A-C]{1,3}[12]`, Valid: func(s string) bool { return s != "_AA1" }, Score: 0.7, At: 0.5},
	{Expr: `码\d{2}`, Score: 0.4, ContextScore: 0.8, Context: []string{"码"}, At: 0.7},             // its own words are no context
	{Expr: `1{2}`, NotAfter: []string{"dash"}, NotBefore: []string{"dash"}, Score: 0.4, At: 0.5}, // never sure enough
}

// specEndings complete each of them from wherever it stands.
var specEndings = [][]string{{"1", "12", "123"}, {"1", "A1"}, {"A11", "11", "1"}, {"x"}, {"1", "A1"}, {"1", "11"}, {"1", "11"}}

func sumOfThrees(s string) bool {
	sum := 0
	for _, r := range s {
		if r >= '0' && r <= '9' {
			sum += int(r - '0')
		}
	}
	return sum%3 == 0
}

func isA(r rune, kinds []string) bool {
	for _, k := range kinds {
		switch {
		case k == "digit" && r >= '0' && r <= '9',
			k == "letter" && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'),
			k == "underline" && r == '_',
			k == "dash" && r == '-':
			return true
		}
	}
	return false
}

// entityRule is brute force over all stretches: each that an expression matches
// whole, that stands free, that the check confirms and that is sure enough.
func entityRule() specRule {
	var whole []*regexp.Regexp
	for _, e := range specEntities {
		whole = append(whole, regexp.MustCompile(`\A(?:`+e.Expr+`)\z`))
	}
	words := map[string]*regexp.Regexp{"码": regexp.MustCompile("码"), "tel": regexp.MustCompile(`(?i)(?:\A|[^a-z])tel(?:[^a-z]|\z)`)}
	decimals := regexp.MustCompile(`[0-9]\.\z`)
	free := func(text string, s int, e guard.EntityForTest) bool {
		if slices.Contains(e.NotAfter, "decimal") && decimals.MatchString(text[:s]) {
			return false
		}
		before, n := utf8.DecodeLastRuneInString(text[:s])
		return n == 0 || !isA(before, e.NotAfter)
	}
	starts := func(text string, i int) (out []int) {
		for s := range text {
			if free(text, s, specEntities[i]) {
				out = append(out, s)
			}
		}
		return out
	}
	known := map[string][][2]int{}
	var r specRule
	r.matches = func(text string, ended bool) (out [][2]int) {
		key := fmt.Sprint(ended, text)
		if out, ok := known[key]; ok {
			return out
		}
		for i, e := range specEntities {
			for _, s := range starts(text, i) {
				for end := s + 1; end <= len(text); end++ {
					if end < len(text) && !utf8.RuneStart(text[end]) || !whole[i].MatchString(text[s:end]) {
						continue
					}
					if end == len(text) && !ended && len(e.NotBefore) > 0 {
						continue // its neighbour is to come
					}
					if after, n := utf8.DecodeRuneInString(text[end:]); n > 0 && isA(after, e.NotBefore) {
						continue
					}
					if e.Valid != nil && !e.Valid(text[s:end]) {
						continue
					}
					score := e.Score
					for _, word := range e.Context {
						if from := max(0, s-64); words[word].MatchString(text[from:s]) {
							score = e.ContextScore
						}
					}
					if score < e.At {
						continue
					}
					out = append(out, [2]int{s, end})
				}
			}
		}
		if len(known) > 50_000 {
			clear(known)
		}
		known[key] = out
		return out
	}
	r.live = func(text string) (out []int) {
		for i, e := range specEntities {
			for _, s := range starts(text, i) {
				going := len(e.NotBefore) > 0 && whole[i].MatchString(text[s:])
				for _, end := range specEndings[i] {
					going = going || whole[i].MatchString(text[s:]+end)
				}
				if going {
					out = append(out, s)
				}
			}
		}
		return out
	}
	r.yaml = "guard: entities"
	return r
}

var entityLetters = []string{
	"1", ".", "2.12", "2", "3", "42", " ", "-", "A", "B", "C1", "京", "沪A", "码", "tel ", "hotel ", "x", "@", "_", "_AA1", "_AB12", "é", "😀", "\n", "12 3", "A12", "11",
	"@AB AB AB é😀é😀 123 ABC 123 ", "@_A2", "码码11", "1 2 3 1 2 3", "-1-1-1",
}

// checkEntities holds a scenario to the specification, cut in three ways.
func checkEntities(t fataler, sc scenario, cut func(int) bool, open func(*policy.Effective) screen) error {
	t.Helper()
	e := compiled(t, policy.Output, sc.lines(), guard.WithEntities(specEntities))
	bound, bounded := e.Screen().Bound()
	if !bounded {
		return fmt.Errorf("a rule has no bound")
	}
	specs, events := map[int][]specState{}, map[int][]event{}
	for _, c := range sc.candidates() {
		events[c] = sc.events(c)
		spec := candidateSpec{rules: sc.rules, events: events[c]}
		specs[c] = spec.run()
	}
	for name, cut := range map[string]func(int) bool{
		"whole": func(int) bool { return false }, "byte by byte": func(int) bool { return true }, "at random": cut,
	} {
		if err := check(sc, specs, events, open(e), cut, bound); err != nil {
			return fmt.Errorf("cut %s: %w", name, err)
		}
	}
	return nil
}

// drawEntities draws a rule of entities and up to two others, over text in which
// there are many of them.
func drawEntities(t *rapid.T) scenario {
	var sc scenario
	letters := append([]string{"1", "A"}, rapid.SliceOfN(rapid.SampledFrom(entityLetters), 1, 5).Draw(t, "letters")...)
	sc.rules = []specRule{entityRule()}
	for range rapid.IntRange(0, 2).Draw(t, "others") {
		switch rapid.IntRange(0, 2).Draw(t, "other") {
		case 0:
			sc.rules = append(sc.rules, termRule(rapid.SliceOfN(rapid.SampledFrom(letters), 1, 2).Draw(t, "terms"), true, rapid.Bool().Draw(t, "whole")))
		case 1:
			sc.rules = append(sc.rules, patternRule(`[A1]{1,2}-`, 0, "-"))
		case 2:
			sc.rules = append(sc.rules, entityRule())
		}
	}
	for i := range sc.rules {
		sc.rules[i].action = rapid.SampledFrom([]policy.Action{policy.Redact, policy.Redact, policy.Block, policy.Flag}).Draw(t, "action")
		sc.rules[i].placeholder = fmt.Sprintf("⟦%d⟧", i)
	}
	for range rapid.IntRange(1, 4).Draw(t, "pieces") {
		candidate := rapid.SampledFrom([]int{0, 0, 0, 3}).Draw(t, "candidate")
		channel := rapid.SampledFrom([]policy.Channel{policy.Content, policy.Content, policy.Reasoning}).Draw(t, "channel")
		for _, text := range rapid.SliceOfN(rapid.SampledFrom(letters), 1, 6).Draw(t, "text") {
			if rapid.IntRange(0, 29).Draw(t, "broken") == 29 {
				text = rapid.SampledFrom([]string{"\xE4", "\xE4\xB8", "\xFF"}).Draw(t, "bytes")
			}
			for _, b := range []byte(text) {
				sc.bytes = append(sc.bytes, arrival{candidate, channel, b})
			}
		}
	}
	return sc
}

func entityProperty(t *rapid.T) {
	sc := drawEntities(t)
	cuts := rapid.SliceOfN(rapid.Bool(), len(sc.bytes), len(sc.bytes)).Draw(t, "cuts")
	if err := checkEntities(t, sc, func(i int) bool { return cuts[i] }, func(e *policy.Effective) screen { return e.Screen() }); err != nil {
		t.Fatalf("%v\n%s", err, sc)
	}
}

// TestEntitiesInTheScreen holds entities to the specification together with other
// rules: what is released after every Write, what is held, blocked, found.
func TestEntitiesInTheScreen(t *testing.T) { rapid.Check(t, entityProperty) }

// FuzzEntities reads a text that is cut by a number's bits, and compares what is
// found with brute force.
func FuzzEntities(f *testing.F) {
	factory := guard.WithEntities(specEntities)["entities"]
	g, err := factory(nil, policy.Env{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string, cuts uint64) {
		text = strings.ToValidUTF8(text, "\uFFFD")
		if len(text) > 200 {
			return
		}
		want := onlyMaximal(slices.Clone(entityRule().matches(text, true)))
		for _, cut := range []func(int) bool{
			func(int) bool { return false },
			func(int) bool { return true },
			func(i int) bool { return cuts>>(i&63)&1 == 1 },
		} {
			if got := maximal(t, g, text, cut); !slices.Equal(got, want) {
				t.Fatalf("%q: found %v, there are %v", text, got, want)
			}
		}
	})
}

// TestEntitiesGoOnWhereTheyWereCopied: a stream that is made to go on elsewhere
// knows nothing any more of where it was.
func TestEntitiesGoOnWhereTheyWereCopied(t *testing.T) {
	g, err := guard.WithEntities(specEntities)["entities"](nil, policy.Env{})
	if err != nil {
		t.Fatal(err)
	}
	parts := []string{"", "tel A", "xyz A", "tel A1", "xyz A1", "1", "12-", "码A", "京A1", "@A A", "_AA", " ", "x"}
	for _, head := range parts {
		for _, away := range parts {
			for _, tail := range parts {
				from, got, want := g.Open(), g.Open(), g.Open()
				from.Scan(head, nil)
				got.Scan(away, nil)
				got.Copy(from)
				from.Scan(away, nil)
				want.Scan(head, nil)
				a, b := got.Scan(tail, nil), want.Scan(tail, nil)
				if !slices.Equal(a, b) || got.Hold() != want.Hold() || got.Live() != want.Live() || !slices.Equal(got.Close(nil), want.Close(nil)) {
					t.Fatalf("%q, not %q, then %q: found %v, want %v", head, away, tail, a, b)
				}
			}
		}
	}
}

// TestEntityMutantsFail: the properties fail for Screens that are wrong.
func TestEntityMutantsFail(t *testing.T) {
	mutants := map[string]func(*policy.Effective) screen{
		"releases everything scanned": func(e *policy.Effective) screen { return releasesAll{e.Screen(), map[int]bool{}} },
		"redacts chunk by chunk":      func(e *policy.Effective) screen { return perChunk{e.Screen(), e} },
		"forgets one channel":         func(e *policy.Effective) screen { return forgetsChannel{e.Screen()} },
		"resets between Writes":       func(e *policy.Effective) screen { return &resets{e.Screen(), e} },
		"drops what is held":          func(e *policy.Effective) screen { return dropsAtEnd{e.Screen()} },
	}
	scenarios := rapid.Custom(drawEntities)
	for name, open := range mutants {
		t.Run(name, func(t *testing.T) {
			const tries = 100
			failed := 0
			for i := range tries {
				if checkEntities(t, scenarios.Example(i), func(i int) bool { return i%2 == 0 }, open) != nil {
					failed++
				}
			}
			if failed == 0 {
				t.Errorf("no property failed in %d scenarios", tries)
			}
			t.Logf("failed in %d of %d scenarios", failed, tries)
		})
	}
}

// TestEntityCases are counter-examples to ways of doing it that seem right.
func TestEntityCases(t *testing.T) {
	for _, c := range []struct{ rule, in, want string }{
		// The match from "1" fails its check digit; the card inside it does not.
		{`{guard: pii, entities: [credit_card], action: redact}`, "line 1 4111 1111 1111 1111 ok", "line 1 [CREDIT_CARD] ok"},
		// The number goes on: no part of it is a card.
		{`{guard: pii, entities: [credit_card], action: redact}`, "4111111111111111222222", "4111111111111111222222"},
		// Decided without the rune behind it.
		{`{guard: pii, entities: [hk_id], action: redact}`, "A123456(3)4", "[HK_ID]4"},
		// Context behind a match comes too late; before it, it counts, and not far away.
		{`{guard: pii, entities: [cn_passport], action: redact}`, "E12345678是护照", "E12345678是护照"},
		{`{guard: pii, entities: [cn_passport], action: redact}`, "护照E12345678", "护照[CN_PASSPORT]"},
		{`{guard: pii, entities: [cn_passport], action: redact}`, "护照" + strings.Repeat("水", 22) + "E12345678", "护照" + strings.Repeat("水", 22) + "E12345678"},
		// A number in Chinese text has no borders but digits and letters.
		{`{guard: pii, entities: [cn_mobile], action: redact}`, "请拨打13812345678联系", "请拨打[CN_MOBILE]联系"},
		// The longest that is valid, not the longest that has the form.
		{`{guard: pii, entities: [ip_address], action: redact}`, "10.0.0.1.5", "[IP_ADDRESS].5"},
	} {
		for _, size := range []int{1, 3, len(c.in)} {
			s := effective(t, c.rule).Screen()
			var out []policy.Piece
			for rest := c.in; rest != ""; {
				n := min(size, len(rest))
				out = s.Write(out, policy.Piece{Text: rest[:n]})
				rest = rest[n:]
			}
			if got := texts(s.End(out, 0)); got != c.want {
				t.Errorf("%s: %q, %d at a time: %q, want %q", c.rule, c.in, size, got, c.want)
			}
		}
	}
}
