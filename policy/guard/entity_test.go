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
)

// Entities of the tests: small forms that overlap, touch and fail their checks.
var testEntities = []entity{
	{kind: policy.Kind{Category: "t/sum"}, expr: `\d(?:[ -]?\d){2,4}`, notAfter: besideNumber, notBefore: besideNumber, valid: func(s []byte) bool {
		sum := 0
		for _, d := range digitsOf(nil, s) {
			sum += int(d - '0')
		}
		return sum%3 == 0
	}, score: 0.9},
	{kind: policy.Kind{Category: "t/code"}, expr: `[A-C]{1,2}\d{1,3}`, notAfter: letter, score: 0.6, contextScore: 0.8, context: []string{"码"}},
	{kind: policy.Kind{Category: "t/plate"}, expr: `[京沪][A-C]\d{2}`, notBefore: digit, score: 0.7},
}

func testGuard(t testing.TB) *entities {
	g, err := newEntities(testEntities, []float64{0.5, 0.7, 0.5})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func entityText(t *rapid.T) string {
	parts := rapid.SliceOfN(rapid.SampledFrom([]string{"1", "2", "3", "42", " ", "-", "A", "B", "C1", "京", "沪A", "码", "x", "_", "é", "\n", "12 3", "A12"}), 0, 24).Draw(t, "text")
	return strings.Join(parts, "")
}

// maximalOf are the matches that no other contains.
func maximalOf(found []policy.Span) (out [][2]int) {
	for _, m := range found {
		inside := false
		for _, other := range found {
			inside = inside || (other.Start != m.Start || other.End != m.End) && other.Start <= m.Start && m.End <= other.End
		}
		if at := [2]int{int(m.Start), int(m.End)}; !inside && !slices.Contains(out, at) {
			out = append(out, at)
		}
	}
	slices.SortFunc(out, func(a, b [2]int) int { return cmp.Compare(a[0], b[0]) })
	return out
}

// pieces cuts a text between runes.
func pieces(t *rapid.T, text string) (out []string) {
	for text != "" {
		n := rapid.IntRange(1, 6).Draw(t, "cut")
		for n = min(n, len(text)); n < len(text) && !utf8.RuneStart(text[n]); n++ {
		}
		out = append(out, text[:n])
		text = text[n:]
	}
	return out
}

// Whether they are the right ones is held to brute force in package guard_test.
func TestEntitiesAreTheSameForEveryChunking(t *testing.T) {
	g := testGuard(t)
	rapid.Check(t, func(t *rapid.T) {
		text := entityText(t)
		whole := g.Open()
		all := whole.Close(whole.Scan(text, nil))
		// So is the watermark after every text.
		cut := g.Open()
		var found []policy.Span
		read := ""
		for _, p := range pieces(t, text) {
			found = cut.Scan(p, found)
			read += p
			once := g.Open()
			once.Scan(read, nil)
			if cut.Hold() != once.Hold() || cut.Live() != once.Live() {
				t.Fatalf("%q in pieces holds %d, at once %d", read, cut.Hold(), once.Hold())
			}
			if n, _ := g.Bound(); int64(len(read))-cut.Hold() > int64(n) {
				t.Fatalf("%q: %d bytes are held, the bound is %d", read, int64(len(read))-cut.Hold(), n)
			}
			for _, m := range maximalOf(all) {
				if int64(m[0]) < cut.Hold() && !slices.ContainsFunc(found, func(s policy.Span) bool { return int(s.Start) <= m[0] }) {
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
		for i := 1; i < len(all); i++ {
			if all[i].End < all[i-1].End || all[i].At < all[i-1].At {
				t.Fatalf("%q: out of order: %v", text, all)
			}
		}
	})
}

// Context counts where it begins in the window, not before it, and a border there
// is one of the text's.
func TestContextWindow(t *testing.T) {
	c, err := newContexts([]entity{{context: []string{"tel", "电话"}}, {context: []string{"call"}}})
	if err != nil {
		t.Fatal(err)
	}
	for before, want := range map[string]uint64{
		"tel" + strings.Repeat(" ", 61):  1,
		"tel" + strings.Repeat(" ", 62):  0,
		"ntel" + strings.Repeat(" ", 61): 0,
		"电话" + strings.Repeat("是", 19):   1,
		"电话" + strings.Repeat("是", 20):   0,
		"tel, call:":                     3,
		"tell, hotel, recall, calls":     0,
		"tel":                            1,
		"":                               0,
	} {
		if got := c.in([]byte(before[max(0, len(before)-contextWindow-1):])); got != want {
			t.Errorf("%q: lists %b, want %b", before, got, want)
		}
	}
	if _, err := newContexts([]entity{{context: []string{"Tel"}}}); err == nil {
		t.Error("a word in capitals was taken: it is never found")
	}
}

// Words right before a number say that it is something else.
func TestIntroductions(t *testing.T) {
	for before, want := range map[string]bool{
		"version ": true, "version no. ": true, "version: ": true, "订单号：": true, "订单编号是": true, "the version is ": true, "order #": true,
		"conversion ": false, "version of ": false, "versions": false, "订单和": false, "": false,
	} {
		if got := introduced([]byte(before), []string{"version", "order", "订单"}); got != want {
			t.Errorf("%q: %v", before, got)
		}
	}
}

// A rejected candidate takes nothing from one that begins inside it.
func TestARejectedCandidateSuppressesNothing(t *testing.T) {
	g, err := newEntities([]entity{{expr: `\d(?:[ -]?\d){11,18}`, notAfter: besideNumber, notBefore: besideNumber, valid: isCard, score: sure}}, []float64{0.5})
	if err != nil {
		t.Fatal(err)
	}
	s := g.Open()
	text := "line 1 4111 1111 1111 1111, line 2"
	if got := maximalOf(s.Close(s.Scan(text, nil))); len(got) != 1 || text[got[0][0]:got[0][1]] != "4111 1111 1111 1111" {
		t.Errorf("found %v", got)
	}
}

func TestEntitiesThatCannotBeHeldAreRefused(t *testing.T) {
	for expr, why := range map[string]string{`\d+`: "longest match", `\d*`: "match something", `\b\d`: "borders", `(`: "missing"} {
		if _, err := newEntities([]entity{{kind: policy.Kind{Category: "x"}, expr: expr}}, []float64{0.5}); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want %q", expr, err, why)
		}
	}
}

func TestEntitiesAllocateNothingWhereNothingMatches(t *testing.T) {
	s := testGuard(t).Open()
	text := "the weir holds 1 river and 2 streams 京 back "
	var found []policy.Span
	s.Scan(strings.Repeat(text, 100), nil)
	if n := testing.AllocsPerRun(100, func() { found = s.Scan(text, found[:0]) }); n != 0 {
		t.Errorf("%v allocations a Scan", n)
	}
}

// A Screen with every entity, a blocking list and odd chunks: what leaves is the
// same for each, and no part of what was found.
func TestPIIThroughTheScreen(t *testing.T) {
	documents := `
kind: Policy
name: p
safety:
  output:
    - {guard: pii, action: redact}
    - {guard: lexicon, terms: [zorblatt], action: block}
`
	set := compileText(t, documents)
	e := set.Resolve(policy.Subject{})
	samples := []string{
		"4111 1111 1111 1111", "411111111111111", "13812345678", "11010519491231002X", "91350100M000100Y43", "GB82 WEST 1234 5698 7654 32",
		"bob@example.com", "10.0.0.1", "+1-984-182-0190", "护照号E12345678", " ", "，", "联系", "a", "1", "-", "zorb", "zorblatt", "\xff", "é",
	}
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOfN(rapid.SampledFrom(samples), 0, 10).Draw(t, "text"), "")
		run := func(cut func() int) (string, string) {
			out, s := screened(e, text, cut)
			return out, fmt.Sprint(s.Blocked(0), len(s.Verdicts()))
		}
		whole, told := run(func() int { return len(text) })
		byteWise, told1 := run(func() int { return 1 })
		random, told2 := run(func() int { return rapid.IntRange(1, 7).Draw(t, "cut") })
		if whole != byteWise || whole != random || told != told1 || told != told2 {
			t.Fatalf("%q:\nat once  %q %s\nbytewise %q %s\nrandomly %q %s", text, whole, told, byteWise, told1, random, told2)
		}
		for _, secret := range []string{"4111 1111 1111 1111", "11010519491231002X", "91350100M000100Y43", "bob@example.com"} {
			// Glued to a neighbour it may be part of something else.
			if strings.Contains(" "+whole+" ", " "+secret+" ") {
				t.Fatalf("%q leaks %q: %q", text, secret, whole)
			}
		}
	})
}
