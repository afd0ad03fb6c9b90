package tokens

import (
	"testing"

	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"
)

// A tokenizer of bytes that marks both ends of each text is within the bound.
func TestTextsToEmbedAreBounded(t *testing.T) {
	b := sim(t)
	rapid.Check(t, func(t *rapid.T) {
		texts := rapid.SliceOf(rapid.String()).Draw(t, "texts")
		var worst, exact int64
		for _, s := range texts {
			worst += int64(len(norm.NFC.String(s))) + 2
			exact += int64(b.CountOutput("m", s))
		}
		if got := Texts(plain{}, nil, "m", texts); got.Exact || got.Most < worst {
			t.Fatalf("bound is %+v, a tokenizer of bytes has %d", got, worst)
		}
		if got := Texts(b, nil, "m", texts); got != (Prompt{Tokens: exact, Exact: true, Most: exact}) {
			t.Fatalf("counted are %+v, the backend says %d", got, exact)
		}
	})
}
