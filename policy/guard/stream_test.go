package guard_test

import (
	"math/rand"
	"slices"
	"strings"
	"testing"

	"github.com/weir-gateway/weir/policy"
)

// TestCopy: a stream that was copied goes on like one that read the text
// itself, whatever became of the one it was copied from.
func TestCopy(t *testing.T) {
	r := rand.New(rand.NewSource(5))
	letters := []string{"a", "b", "k", "\u212A", " ", "@", "-", "中"}
	text := func() string {
		var b strings.Builder
		for range r.Intn(12) {
			b.WriteString(letters[r.Intn(len(letters))])
		}
		return b.String()
	}
	for _, rule := range []string{
		`{terms: ["k k-k", "kab", "bk", "kkkkk"]}`,
		`{terms: ["k k-k", "a b k", "b"], whole_word: true}`,
		`{expr: "[ab]{2,4}@b"}`,
		`{expr: '\bk.{0,3}\b'}`,
		`{expr: "a[bk]*@", max_length: 5}`,
	} {
		g, err := open(rule)
		if err != nil {
			t.Fatal(err)
		}
		for range 3000 {
			head, away, tail := text(), text(), text()
			a, b, want := g.Open(), g.Open(), g.Open()
			a.Scan(head, nil)
			b.Scan(away, nil)
			b.Copy(a)
			a.Scan(away, nil)
			a.Scan(tail, nil)
			want.Scan(head, nil)
			got, wanted := b.Scan(tail, nil), want.Scan(tail, nil)
			if !slices.Equal(got, wanted) || b.Hold() != want.Hold() || b.Live() != want.Live() || !slices.Equal(b.Close(nil), want.Close(nil)) {
				t.Fatalf("%s: %q, then %q: %v, want %v; hold %d, want %d", rule, head, tail, got, wanted, b.Hold(), want.Hold())
			}
		}
	}
}

// TestStreamsDoNotShare: streams of one guard know nothing of each other.
func TestStreamsDoNotShare(t *testing.T) {
	g, err := open(`{builtin: email}`)
	if err != nil {
		t.Fatal(err)
	}
	one, other := g.Open(), g.Open()
	one.Scan("zhang.san@exam", nil)
	if other.Scan("ple.com ", nil) != nil || other.Hold() != 8 {
		t.Error("a match across two streams")
	}
	if found := one.Scan("ple.com ", nil); len(found) == 0 || found[len(found)-1] != (policy.Span{Start: 0, End: 21, At: 21}) {
		t.Errorf("found %v", found)
	}
}
