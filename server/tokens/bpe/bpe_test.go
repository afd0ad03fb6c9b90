package bpe

import (
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// pieces are what tokenizers cut in surprising ways.
var pieces = []string{
	" ", "  ", "   ", "\n", "\r\n", "\n\n", "\t", "\u00A0", "\u3000", "\u2028", "\u0085", "\v",
	"hello", " world", "The", " QUICK", "camelCase", "HTTPServer", "snake_case", "'s", "'S", "'ſ", "'LL", "'re", "’s", "don't", " I'VE",
	"1", "12", "123", "1234", "٣", "①", "²", "3.14", "水", "河流", "一座堤坝调节河水。", "，", "。", "！", "ひらがな", "カタカナ", "한국어", "ไทย", "हिन्दी", "العربية",
	"é", "e\u0301", "\u0301", "\u0327", "ñ", "Å", "\u212B", "ﬁ", "ǅ", "ʰ", "क\u093C", "😀", "👩‍👩‍👧", "🇨🇳", "\u200D", "\uFEFF", "\uFFFD", "\u0000",
	"!", "...", "()", "{}", "//", "/", "</", "<think>", "</think>", "<|im_end|>", "<|im_", "<|endoftext|>", "<｜end▁of▁sentence｜>", "<", "|>", "<|",
	"aaaaaaaaaaaa", "--------", "========", "\\", "\"", "_", "$", "€", "x", "Z", "ß", "ЖЖ", "привет",
}

var loaded sync.Map

func named(t testing.TB, name string) *Tokenizer {
	t.Helper()
	if k, ok := loaded.Load(name); ok {
		return k.(*Tokenizer)
	}
	k, err := Named(name)
	if err != nil {
		t.Fatal(err)
	}
	loaded.Store(name, k)
	return k
}

// runes cuts the first n runes off.
func runes(s string, n int) (first, rest string) {
	at := 0
	for ; n > 0 && at < len(s); n-- {
		_, size := utf8.DecodeRuneInString(s[at:])
		at += size
	}
	return s[:at], s[at:]
}

func texts() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOf(rapid.OneOf(rapid.SampledFrom(pieces), rapid.String())).Draw(t, "pieces"), "")
	})
}

// Counted by tiktoken 0.14.
var golden = []struct {
	text          string
	cl100k, o200k int
}{
	{"", 0, 0},
	{"Hello, world!", 4, 4},
	{"A weir regulates the flow of a river.", 9, 10},
	{"一座堤坝调节河水。", 13, 10},
	{"我们在河边散步，看见一座水车。", 18, 13},
	{"don't DON'T don’t", 6, 4},
	{"1234567890", 4, 4},
	{"  leading\n\n  and trailing  \n  ", 8, 8},
	{"<|endoftext|>", 7, 7},
	{"func main() { fmt.Println(\"水\") }", 10, 10},
	{"👩\u200d👩\u200d👧 é e\u0301", 16, 11},
	{strings.Repeat("a", 1000), 125, 125},
	{strings.Repeat("a", longPiece), longPiece / 8, longPiece / 8},
}

func TestGoldenCounts(t *testing.T) {
	for _, g := range golden {
		for name, want := range map[string]int{"cl100k": g.cl100k, "o200k": g.o200k} {
			if got, exact := named(t, name).Count(g.text); got != want || !exact {
				t.Errorf("%s: %.40q has %d tokens (sure: %v), want %d", name, g.text, got, exact, want)
			}
		}
	}
}

// However a text is cut, a stream counts it as a whole, and on the way it never
// says less than the most.
func TestStreamCountsTheWhole(t *testing.T) {
	tokenizers := []*Tokenizer{named(t, "cl100k"), named(t, "o200k"), small(t, `{"type": "NFC"}`, digits)}
	rapid.Check(t, func(t *rapid.T) {
		k := tokenizers[rapid.IntRange(0, len(tokenizers)-1).Draw(t, "tokenizer")]
		text := texts().Draw(t, "text")
		want, wantExact := k.Count(text)
		s := k.Stream()
		written := ""
		for rest := text; rest != ""; {
			var part string
			part, rest = runes(rest, rapid.IntRange(1, 20).Draw(t, "runes"))
			s.Write(part)
			written += part
			if n, exact := k.Count(written); rapid.Bool().Draw(t, "ask") && exact && s.Tokens() != n {
				t.Fatalf("%q has %d tokens on the way, want %d", written, s.Tokens(), n)
			}
			if s.Most() < s.Tokens() {
				t.Fatalf("%q has %d tokens, at most %d", written, s.Tokens(), s.Most())
			}
		}
		if s.Exact() != wantExact || wantExact && s.Tokens() != want {
			t.Fatalf("%q has %d tokens (sure: %v), streamed %d (%v)", text, want, wantExact, s.Tokens(), s.Exact())
		}
	})
}

// The merge is what the definition says, done slowly.
func TestMergeIsByRank(t *testing.T) {
	tokens, err := unpackTokens(o200k)
	if err != nil {
		t.Fatal(err)
	}
	ranks := map[string]int{}
	for i, token := range tokens {
		ranks[token] = i
	}
	slowly := func(piece string) int {
		parts := strings.Split(piece, "")[:0]
		for i := range len(piece) {
			parts = append(parts, piece[i:i+1])
		}
		for {
			best, at := len(tokens), -1
			for i := range len(parts) - 1 {
				if rank, is := ranks[parts[i]+parts[i+1]]; is && rank < best {
					best, at = rank, i
				}
			}
			if at < 0 {
				return len(parts)
			}
			parts[at] += parts[at+1]
			parts = append(parts[:at+1], parts[at+2:]...)
		}
	}
	k := named(t, "o200k")
	var work merger
	rapid.Check(t, func(t *rapid.T) {
		piece := rapid.OneOf(texts(), rapid.StringMatching(`[a-c]{1,60}`)).Draw(t, "piece")
		if got, want := k.vocabulary.count([]byte(piece), &work), slowly(piece); got != want {
			t.Fatalf("%q is merged to %d tokens, want %d", piece, got, want)
		}
	})
}

// No text has more tokens than bytes, whatever the bytes are: bounds elsewhere
// rest on that. A bad byte is U+FFFD.
func TestNoMoreTokensThanBytes(t *testing.T) {
	tokenizers := []*Tokenizer{named(t, "cl100k"), named(t, "o200k"), small(t, `{"type": "NFC"}`, digits)}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(texts(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })).Draw(t, "text")
		for _, k := range tokenizers {
			most := len(text)
			if k.nfc || !utf8.ValidString(text) {
				most *= 3
			}
			if n, _ := k.Count(text); n > most || n == 0 && text != "" {
				t.Fatalf("%q has %d tokens", text, n)
			}
		}
	})
}

func TestUnsure(t *testing.T) {
	k := named(t, "o200k")
	for text, want := range map[string]bool{"水 and river": true, "\U000323AF": true, "\U00050000": false, "river \U00050000 water": false} {
		if _, exact := k.Count(text); exact != want {
			t.Errorf("the count of %q is sure: %v, want %v", text, exact, want)
		}
	}
	if n, exact := k.Count(strings.Repeat("a", 10*longPiece)); exact || n != 10*longPiece/8 {
		t.Errorf("the count of a word of %d bytes is %d, and sure: %v", 10*longPiece, n, exact)
	}
	composed := small(t, `{"type": "NFC"}`, digits)
	if _, exact := composed.Count("a" + strings.Repeat("\u0301", 40)); exact {
		t.Error("the count of 40 marks on one letter is sure")
	}
}

func TestUnknownName(t *testing.T) {
	if _, err := Named("p50k"); err == nil || !strings.Contains(err.Error(), "cl100k and o200k") {
		t.Errorf("the error is %v", err)
	}
}

func TestStreamAllocatesNothing(t *testing.T) {
	s := named(t, "o200k").Stream()
	deltas := []string{" river", " 水", "车", " é", ", and", "\n", "12", "34", "😀", " flow"}
	i := 0
	delta := func() {
		s.Write(deltas[i%len(deltas)])
		s.Most()
		i++
	}
	for range 1000 {
		delta()
	}
	s.Tokens()
	if n := testing.AllocsPerRun(5000, delta); n != 0 {
		t.Errorf("%v allocations a delta, want none", n)
	}
	if n := testing.AllocsPerRun(100, func() { s.Tokens() }); n != 0 {
		t.Errorf("%v allocations where the count is asked for, want none", n)
	}
}

const english = "A weir is a low dam that is built across a river to raise the level of the water, or to measure how much of it flows. "
const chinese = "堰是横跨河流的低坝，用来抬高水位，或者测量流量。水流过堰顶，继续向下游流去。"

func BenchmarkCount(b *testing.B) {
	for _, text := range []struct{ name, text string }{
		{"english", strings.Repeat(english, 80)}, {"chinese", strings.Repeat(chinese, 80)}, {"one_piece", strings.Repeat("a", 10_000)},
	} {
		for _, name := range []string{"cl100k", "o200k"} {
			b.Run(name+"/"+text.name, func(b *testing.B) {
				k := named(b, name)
				k.Count(text.text)
				b.ReportAllocs()
				b.SetBytes(int64(len(text.text)))
				for b.Loop() {
					k.Count(text.text)
				}
			})
		}
	}
}

// One delta of a stream of four bytes each.
func BenchmarkStream(b *testing.B) {
	for _, text := range []struct{ name, text string }{{"english", english}, {"chinese", chinese}, {"one_piece", "aaaaaaaaaaaa"}} {
		b.Run(text.name, func(b *testing.B) {
			var deltas []string
			for rest := text.text; rest != ""; {
				n := 4
				if text.name == "chinese" {
					n = 2
				}
				var delta string
				delta, rest = runes(rest, n)
				deltas = append(deltas, delta)
			}
			s := named(b, "o200k").Stream()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%100_000 == 0 {
					s.reset()
				}
				s.Write(deltas[i%len(deltas)])
			}
		})
	}
}

func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		if _, err := Named("o200k"); err != nil {
			b.Fatal(err)
		}
	}
}
