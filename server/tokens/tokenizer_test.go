package tokens

import (
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/tokens/bpe"
)

var load = sync.OnceValues(func() (all []*bpe.Tokenizer, err error) {
	for _, name := range []string{"cl100k", "o200k"} {
		k, err := bpe.Named(name)
		if err != nil {
			return nil, err
		}
		all = append(all, k)
	}
	return all, nil
})

// tokenizers are cl100k and o200k.
func tokenizers(t testing.TB) []*bpe.Tokenizer {
	t.Helper()
	all, err := load()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// prompts are texts in English and Chinese, of spaces, of anything, and of bytes
// that are no text.
func prompts() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.Custom(func(t *rapid.T) string {
			return strings.Join(rapid.SliceOf(rapid.SampledFrom([]string{
				"A weir", " regulates", " the river", ". ", "一座堤坝", "调节河水", "，", "。", " ", "  ", "\n", "\t", "\r\n", "\u3000", "x", "Bonjour", "123456", "é", "e\u0301", "😀", "'s",
			})).Draw(t, "words"), "")
		}),
		rapid.String(),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
	)
}

// The bound holds for what chat templates make of a request, with the tokenizer
// and by the bytes alone. Marks are tokens of their own and cut the text.
func TestBoundCoversTemplates(t *testing.T) {
	all := tokenizers(t)
	count := func(k *bpe.Tokenizer, between ...string) (n int64, sure bool) {
		sure = true
		for _, s := range between {
			tokens, exact := k.Count(s)
			n += int64(tokens) + 1 // the mark behind it
			sure = sure && exact
		}
		return n, sure
	}
	rapid.Check(t, func(t *rapid.T) {
		texts := rapid.SliceOfN(prompts(), 1, 5).Draw(t, "texts")
		req := request(texts...)
		for _, k := range all {
			var chatML, llama3 int64
			sure := true
			for _, s := range texts {
				n, ok := count(k, "", "user\n"+s, "\n")
				chatML += n
				m, also := count(k, "", "user", "\n\n"+strings.TrimSpace(s))
				llama3 += m
				sure = sure && ok && also
			}
			if !sure {
				continue // the counts of this test are not
			}
			exact := max(chatML, llama3)
			if got := Input(plain{}, k, req); got.Most < exact || got.Most < got.Tokens || got.Exact {
				t.Fatalf("bound is %+v, a template has %d", got, exact)
			}
			if got := Input(plain{}, nil, req).Most; got < exact {
				t.Fatalf("bound by bytes is %d, a template has %d", got, exact)
			}
		}
	})
}

// Where a count is not sure, the bytes bound the text.
func TestBoundOfYoungText(t *testing.T) {
	young := strings.Repeat(" river \U00050000", 100)
	for _, k := range tokenizers(t) {
		with, without := Input(plain{}, k, request(young)).Most, Input(plain{}, nil, request(young)).Most
		if with != without {
			t.Errorf("bound is %d, want that by bytes, %d", with, without)
		}
	}
}

// English has four bytes a token, so a hold by tokens is a quarter of that by
// bytes.
func TestBoundWithATokenizerIsSmaller(t *testing.T) {
	req := request(strings.Repeat("A weir regulates the flow of a river. ", 100))
	o200k := tokenizers(t)[1]
	if got := Input(plain{}, o200k, req); got.Tokens != 1001+messageEstimate+requestEstimate || got.Most != 1002+messageAllowance+requestAllowance {
		t.Errorf("input is %+v", got)
	}
	if got := Input(plain{}, nil, req).Most; got != 3800+messageAllowance+requestAllowance {
		t.Errorf("input by bytes is at most %d", got)
	}
}

func TestDocumentedTemplate(t *testing.T) {
	req := request("Hello, world!")
	req.Messages[0].Name = "bo"
	o200k := tokenizers(t)[1]
	// Four of the text; three marks, a role and a name with its mark; three that
	// begin the answer.
	if got := Input(plain{}, o200k, req).Tokens; got != 4+3+1+2+3 {
		t.Errorf("input has %d tokens", got)
	}
}

// The parts of a message are one text to the backend.
func TestPartsAreOneText(t *testing.T) {
	req := request("")
	req.Messages[0].Parts = []backend.Part{{Channel: backend.Content, Text: "Hel"}, {Channel: backend.Refusal, Text: "no"}, {Channel: backend.Content, Text: "lo, wor"}, {Channel: backend.Content, Text: "ld!"}}
	o200k := tokenizers(t)[1]
	if got := Input(plain{}, o200k, req).Tokens; got != 4+1+messageEstimate+requestEstimate {
		t.Errorf("input has %d tokens", got)
	}
}

// The output is exact at any time, for each candidate and channel by itself, and
// at most what Most says.
func TestOutputIsExactWithATokenizer(t *testing.T) {
	all := tokenizers(t)
	rapid.Check(t, func(t *rapid.T) {
		k := all[rapid.IntRange(0, len(all)-1).Draw(t, "tokenizer")]
		c := NewCount(plain{}, k, "m")
		texts := map[slot]string{}
		for range rapid.IntRange(0, 30).Draw(t, "deltas") {
			at := slot{rapid.IntRange(0, 1).Draw(t, "candidate"), rapid.SampledFrom([]backend.Channel{backend.Content, backend.Reasoning, backend.Refusal}).Draw(t, "channel")}
			s := strings.ToValidUTF8(prompts().Draw(t, "delta"), "")
			c.Add(at.candidate, at.channel, s)
			texts[at] += s
			var wantContent, wantReasoning int64
			wantExact := true
			for at, s := range texts {
				n, exact := k.Count(s)
				if wantExact = wantExact && exact; at.channel == backend.Reasoning {
					wantReasoning += int64(n)
				} else {
					wantContent += int64(n)
				}
			}
			content, reasoning, exact := c.Output()
			if exact != wantExact || exact && (content != wantContent || reasoning != wantReasoning) {
				t.Fatalf("counted are %d and %d (exact: %v), want %d and %d (%v)", content, reasoning, exact, wantContent, wantReasoning, wantExact)
			}
			if c.Most() < content+reasoning {
				t.Fatalf("counted are %d and %d, at most %d", content, reasoning, c.Most())
			}
		}
	})
}

// On the way the margin is the piece that has not ended, however long the text.
func TestMostIsNear(t *testing.T) {
	c := NewCount(plain{}, tokenizers(t)[1], "m")
	for range 1000 {
		c.Add(0, backend.Content, " river")
	}
	if content, _, _ := c.Output(); c.Most()-content > int64(len(" river")) {
		t.Errorf("counted are %d, at most %d", content, c.Most())
	}
}

func TestCountAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates: make test measures")
	}
	c := NewCount(plain{}, tokenizers(t)[1], "m")
	delta := func() {
		c.Add(0, backend.Content, " river 水车 é 😀")
		c.Most()
	}
	for range 100 {
		delta()
	}
	if n := testing.AllocsPerRun(1000, delta); n != 0 {
		t.Errorf("%v allocations a delta, want none", n)
	}
}

func BenchmarkAddWithATokenizer(b *testing.B) {
	c := NewCount(plain{}, tokenizers(b)[1], "m")
	b.ReportAllocs()
	for b.Loop() {
		c.Add(0, backend.Content, " river")
	}
}
