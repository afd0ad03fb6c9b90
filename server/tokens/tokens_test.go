package tokens

import (
	"context"
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/simulator"
)

// plain is a backend that cannot count.
type plain struct{ backend.Backend }

func sim(t testing.TB) *simulator.Backend {
	t.Helper()
	b, err := simulator.New(simulator.Config{Models: map[string]simulator.Profile{"m": {}}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func request(texts ...string) *backend.Request {
	req := &backend.Request{Model: "m", Candidates: 1}
	for _, s := range texts {
		req.Messages = append(req.Messages, backend.Message{Role: backend.User, Parts: []backend.Part{{Channel: backend.Content, Text: s}}})
	}
	return req
}

func TestExactByTheBackend(t *testing.T) {
	b := sim(t)
	req := request("What is a weir?", "一座堤坝。")
	want := int64(b.CountInput(req))
	if got := Input(b, nil, req); got != (Prompt{Tokens: want, Exact: true, Most: want}) {
		t.Errorf("input is %+v, want the exact %d", got, want)
	}
	s, err := b.Generate(context.Background(), request("think: 想一想 it over\nsay: A weir regulates 河流."))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c := NewCount(b, nil, "m")
	for {
		e, err := s.Recv()
		if err != nil {
			break
		}
		switch e.Kind {
		case backend.Delta:
			c.Add(e.Candidate, e.Channel, e.Text)
			c.Output() // asking on the way changes nothing
		case backend.Used:
			content, reasoning, exact := c.Output()
			output, _ := e.Usage.OutputTokens()
			if !exact || reasoning == 0 || content+reasoning != output {
				t.Errorf("counted are %d and %d (exact: %v), the backend says %d", content, reasoning, exact, output)
			}
		}
	}
}

// A token is counted over the whole text of a candidate: pieces of a word that
// arrive in two deltas are one token, those of two candidates are not.
func TestExactOverTheWholeText(t *testing.T) {
	c := NewCount(sim(t), nil, "m")
	c.Add(0, backend.Content, "ri")
	c.Add(1, backend.Content, "ri")
	c.Add(0, backend.Content, "ve")
	c.Add(0, backend.Refusal, "no")
	c.Add(0, backend.Reasoning, "ri")
	if content, reasoning, exact := c.Output(); content != 3 || reasoning != 1 || !exact {
		t.Errorf("counted are %d and %d (exact: %v)", content, reasoning, exact)
	}
}

// A tokenizer whose tokens are single bytes of the NFC form is the worst that
// Bound claims to cover.
func TestBoundCoversTheWorstTokenizer(t *testing.T) {
	strange := rapid.RuneFrom([]rune("a水😀é\u0301क़\U0001D160\u0958\uFB4E"))
	rapid.Check(t, func(t *rapid.T) {
		texts := rapid.SliceOf(rapid.StringOf(rapid.OneOf(rapid.Rune(), strange))).Draw(t, "texts")
		req := request(texts...)
		var worst, exact int64
		for i, s := range texts {
			req.Messages[i].Name = "bo"
			worst += int64(len(norm.NFC.String(s))) + 2 + 8 // marks of the largest template that we know
		}
		worst += 80 // its system prompt
		if got := Input(plain{}, nil, req).Most; got < worst {
			t.Fatalf("bound is %d, a tokenizer of bytes has %d", got, worst)
		}
		b, err := simulator.New(simulator.Config{})
		if err != nil {
			t.Fatal(err)
		}
		exact = int64(b.CountInput(req))
		if got := Input(plain{b}, nil, req).Most; got < exact {
			t.Fatalf("bound is %d, the simulator has %d", got, exact)
		}
	})
	if got := bound("\xff\xfe"); got < int64(len("\uFFFD\uFFFD")) {
		t.Errorf("bound of two bad bytes is %d, on the wire they have six", got)
	}
}

func TestEstimateIsNotBelowTheDeltas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		deltas := rapid.SliceOf(rapid.StringN(0, 6, -1)).Draw(t, "deltas")
		c := NewCount(plain{}, nil, "m")
		var content, reasoning int64
		for i, s := range deltas {
			channel := []backend.Channel{backend.Content, backend.Reasoning, backend.Refusal}[i%3]
			c.Add(i%2, channel, s)
			if s == "" {
				continue
			}
			if channel == backend.Reasoning {
				reasoning++
			} else {
				content++
			}
		}
		gotContent, gotReasoning, exact := c.Output()
		if gotContent < content || gotReasoning < reasoning || exact {
			t.Fatalf("estimate is %d and %d (exact: %v) for %d and %d deltas", gotContent, gotReasoning, exact, content, reasoning)
		}
	})
}

func TestEstimates(t *testing.T) {
	for s, want := range map[string]int64{
		"":                              0,
		"abcd":                          1,
		"abcde":                         2,
		strings.Repeat("word ", 80):     100,
		strings.Repeat("水车照看", 10):      30,
		strings.Repeat("é", 8):          4,
		"😀":                             2,
		strings.Repeat("水", 4) + "abcd": 4,
	} {
		c := NewCount(plain{}, nil, "m")
		c.Add(0, backend.Content, s)
		if got, _, _ := c.Output(); got != want {
			t.Errorf("estimate of %q is %d, want %d", s, got, want)
		}
		if got := Input(plain{}, nil, request(s)); got.Tokens != want+messageEstimate+requestEstimate || got.Exact {
			t.Errorf("input of %q is %+v, want %d", s, got, want+messageEstimate+requestEstimate)
		}
	}
}

func TestEstimateAllocatesNothing(t *testing.T) {
	c := NewCount(plain{}, nil, "m")
	if n := testing.AllocsPerRun(1000, func() {
		c.Add(0, backend.Content, " river 水车 é 😀")
		c.Most()
		c.Output()
	}); n != 0 {
		t.Errorf("%v allocations a delta, want none", n)
	}
}

func BenchmarkAdd(b *testing.B) {
	c := NewCount(plain{}, nil, "m")
	b.ReportAllocs()
	for b.Loop() {
		c.Add(0, backend.Content, " river")
	}
}
