package guard_test

import (
	"fmt"
	"math/rand"
	"strings"
	"testing"

	"github.com/weir-gateway/weir/policy"
)

// Prose as models write it, with the numbers, names, addresses and lists that
// make guards wait.
var answers = map[string][]string{
	"en": {
		english,
		"In 1928, the engineer moved to Rotterdam (51.9244, 4.4777) and built locks of 12.5 m; by 1934 there were 17 of them. ",
		"To reset it, open https://docs.example.com/reset?step=2, wait 30 seconds, then write to help@example.com or call extension 4021. ",
		"1. Boil 250 ml of water.\n2. Add 2 spoons of tea.\n3. Wait for 4-5 minutes.\n\n",
		"```go\nfor i := 0; i < len(rows); i++ {\n\ttotal += rows[i].Amount // 0x1F2E\n}\n```\n",
		"The order 20261124-0117 costs 1,299.00 EUR and arrives between 10:30 and 12:00 on 2026-12-03. ",
	},
	"zh": {
		chinese,
		"1928年，工程师搬到鹿特丹，修建了长12.5米的船闸；到1934年一共有17座，平均每年2.8座。",
		"如需重置，请打开 https://docs.example.com/reset?step=2 ，等待30秒，然后写信给 help@example.com 或拨打分机4021。",
		"一、烧开250毫升水。\n二、放入2勺茶叶。\n三、等待4到5分钟。\n\n",
		"订单20261124-0117的价格是1,299.00元，将于2026年12月3日10:30至12:00之间送达。",
		"他说：“水到渠成。”又过了三天，河上的雾散了，船一条接一条地开走，谁也没有回头。",
	},
}

// answer is n bytes of it, cut into pieces as long as models' tokens are: one to
// eight bytes of English, one or two characters of Chinese.
func answer(lang string, seed int64, n int) (tokens []policy.Piece) {
	r := rand.New(rand.NewSource(seed))
	var b strings.Builder
	for b.Len() < n {
		b.WriteString(answers[lang][r.Intn(len(answers[lang]))])
	}
	for rest := b.String(); rest != ""; {
		runes := 1 + r.Intn(8)
		if lang == "zh" {
			runes = 1 + r.Intn(2)
		}
		end := len(rest)
		for i := range rest {
			if runes == 0 {
				end = i
				break
			}
			runes--
		}
		tokens = append(tokens, policy.Piece{Channel: policy.Content, Text: rest[:end]})
		rest = rest[end:]
	}
	return tokens
}

// counts is how often each number came, to tell percentiles by.
type counts []int

func (c *counts) add(n int) {
	for len(*c) <= n {
		*c = append(*c, 0)
	}
	(*c)[n]++
}

func (c counts) report(b *testing.B, unit string) {
	total, sum := 0, 0
	for n, times := range c {
		total, sum = total+times, sum+n*times
	}
	b.ReportMetric(float64(sum)/float64(total), "mean-"+unit)
	for _, p := range []int{50, 99} {
		seen := 0
		for n, times := range c {
			if seen += times; seen*100 >= total*p {
				b.ReportMetric(float64(n), fmt.Sprintf("p%d-%s", p, unit))
				break
			}
		}
	}
	b.ReportMetric(float64(len(c)-1), "max-"+unit)
}

// BenchmarkHeld is what waits, after each token of an answer, under the default
// policy and under each guard that holds text back; and what a token costs.
func BenchmarkHeld(b *testing.B) {
	rules := map[string]*policy.Effective{
		"default":      defaultPolicy(b),
		"lexicon-100k": list(b, 100_000, "redact"),
		"pii":          effective(b, `{guard: pii, action: redact}`),
		"secrets":      effective(b, `{guard: secrets, action: redact}`),
	}
	for name, e := range rules {
		for _, lang := range []string{"en", "zh"} {
			b.Run(name+"/"+lang, func(b *testing.B) {
				tokens := answer(lang, 1, 1<<20)
				var (
					s    = e.Screen()
					out  []policy.Piece
					held = make(counts, 0, 4096)
					next int
				)
				b.ReportAllocs()
				for b.Loop() {
					out = s.Write(out[:0], tokens[next%len(tokens)])
					next++
					held.add(s.Held())
				}
				held.report(b, "held-B")
			})
		}
	}
}

// BenchmarkFirstToken is how many tokens of an answer have come when its first
// text goes out, over many answers: 1 is no wait at all. With the model's pace
// it says what a policy adds to the time to the first token.
func BenchmarkFirstToken(b *testing.B) {
	rules := map[string]*policy.Effective{
		"default":      defaultPolicy(b),
		"lexicon-100k": list(b, 100_000, "redact"),
		"pii":          effective(b, `{guard: pii, action: redact}`),
	}
	for name, e := range rules {
		for _, lang := range []string{"en", "zh"} {
			b.Run(name+"/"+lang, func(b *testing.B) {
				begun := make([][]policy.Piece, 500)
				for i := range begun {
					begun[i] = answer(lang, int64(i), 256)
				}
				var (
					out  []policy.Piece
					wait = make(counts, 0, 256)
					next int
				)
				b.ReportAllocs()
				for b.Loop() {
					s := e.Screen()
					for i, p := range begun[next%len(begun)] {
						if out = s.Write(out[:0], p); len(out) > 0 {
							wait.add(i + 1)
							break
						}
					}
					next++
				}
				wait.report(b, "tokens")
			})
		}
	}
}
