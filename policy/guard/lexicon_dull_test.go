package guard

import (
	"encoding/base64"
	"testing"

	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/policy/fold"
)

// What is passed over as dull says nothing: a reader that reads it all comes to
// no run of text that a term could be in, and what is found is the same.
func TestDullTextHasNoTerm(t *testing.T) {
	terms := func() []entry {
		return []entry{{"pass", 0}, {"word", 0}, {"ab", 0}, {"xyz", 0}, {"\u0565\u0582", 0}, {"\u00e9\u00e9", 0}}
	}
	dictionaries := []*dictionary{newDictionary(terms(), false, false), newDictionary(terms(), true, false), newDictionary(terms(), false, true), newDictionary(terms(), true, true)}
	rapid.Check(t, func(t *rapid.T) {
		d := rapid.SampledFrom(dictionaries).Draw(t, "dictionary")
		var text string
		for range rapid.IntRange(0, 6).Draw(t, "words") {
			word := rapid.OneOf(
				rapid.StringMatching(`[A-Za-z0-9+/_-]{0,9}`),
				rapid.Map(rapid.SampledFrom([]string{"pass", "a word", "ab", "xyz", "\xffab\xff", "\u0587", "\u00e9\u00e9", "xx\u0587", "\xff\u00e9\u00e9"}),
					func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }),
			).Draw(t, "word")
			text += word + rapid.SampledFrom([]string{" ", ". ", "\n", "\r\n", "", "\u6c34"}).Draw(t, "between")
		}
		whole, slow := newFork(d, fold.Base64), newFork(d, fold.Base64)
		found := whole.alone(text, nil)
		var want []policy.Span
		for _, r := range text {
			want = slow.read(string(r), want)
		}
		if len(found) != len(want) || whole.hold() != slow.hold() || whole.lane.live() != slow.lane.live() {
			t.Fatalf("%q: found %v, and rune by rune %v; holds at %d and %d", text, found, want, whole.hold(), slow.hold())
		}
		found, want = whole.close(found), slow.close(want)
		for i := range want {
			if i >= len(found) || found[i] != want[i] {
				t.Fatalf("%q: found %v, and rune by rune %v", text, found, want)
			}
		}
		if len(found) != len(want) {
			t.Fatalf("%q: found %v, and rune by rune %v", text, found, want)
		}
	})
}
