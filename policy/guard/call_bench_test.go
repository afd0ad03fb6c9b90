package guard_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weir-gateway/weir/policy"
)

// careful are the rules of a careful platform, each with its own word list.
func careful(b *testing.B, stage policy.Stage) *policy.Effective {
	var terms []string
	for n := range 10_000 {
		terms = append(terms, fmt.Sprintf("zorb%06dlatt", n*7919%1_000_003))
	}
	rules := []string{
		"{guard: lexicon, terms: [" + strings.Join(terms, ", ") + "], action: block}",
		"{guard: secrets, action: redact}", "{guard: pii, action: redact}",
	}
	if stage == policy.Input {
		rules = append(rules, "{guard: injection, at: 0.8, action: block}")
	}
	return effectiveAt(b, stage, rules)
}

// BenchmarkPrompt is what the rules of one call cost its prompt of a kilobyte:
// with short texts it is not the scanning alone but what begins with each.
func BenchmarkPrompt(b *testing.B) {
	e := careful(b, policy.Input)
	text := strings.Repeat(english, 10)[:830]
	b.ReportAllocs()
	for b.Loop() {
		if e.JudgeInput([]policy.InputText{{Text: text}}).Blocked {
			b.Fatal("blocked")
		}
	}
}

// BenchmarkAnswer is the same for an answer in 64 pieces, and for the name that
// a backend gives itself.
func BenchmarkAnswer(b *testing.B) {
	e := careful(b, policy.Output)
	text := strings.Repeat(english, 12)[:1024]
	b.Run("pieces", func(b *testing.B) {
		var out []policy.Piece
		b.ReportAllocs()
		for b.Loop() {
			s := e.Screen()
			for i := 0; i < len(text); i += 16 {
				out = s.Write(out[:0], policy.Piece{Channel: policy.Content, Text: text[i : i+16]})
			}
			out = s.End(out[:0], 0)
		}
	})
	b.Run("name", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if !e.Clean("gpt-5.5-2026-10-01") {
				b.Fatal("not clean")
			}
		}
	})
}
