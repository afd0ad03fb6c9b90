package guard_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/policy/guard"
)

// digitDense is what numbers look like that are nobody's: a table, a log, and
// among them a few that are somebody's.
const digitDense = "2024-03-15 10:22:31.501 GET /v1/items/48213907 200 1532 0.0213; 18 446 744 073 709, 3.14159, 0x1F40, 4111 1111 1111 1112, 1-2-3, " +
	"id=20240315000123 total 1,234,567.89 EUR 42; rows 1..99 of 1024, AB 12 34, call 010-62781234 or 13812345678, 9e10 7777777 "

// BenchmarkPII is all of its entities, and all of them with all secrets, in one
// Write: English, Chinese, and text full of numbers.
func BenchmarkPII(b *testing.B) {
	every := "{guard: pii, entities: [" + strings.Join(allEntities(b), ", ") + "], action: redact}"
	rules := map[string]*policy.Effective{
		"default":     effective(b, `{guard: pii, action: redact}`),
		"every":       effective(b, every),
		"and-secrets": effective(b, every, `{guard: secrets, action: redact}`),
	}
	for name, e := range rules {
		for lang, sentence := range map[string]string{"en": english, "zh": chinese, "digits": digitDense} {
			b.Run(name+"/"+lang, func(b *testing.B) {
				text := strings.Repeat(sentence, 1<<16/len(sentence))
				s := e.Screen()
				var out []policy.Piece
				b.SetBytes(int64(len(text)))
				b.ReportAllocs()
				for b.Loop() {
					out = s.Write(out[:0], policy.Piece{Channel: policy.Content, Text: text})
				}
			})
		}
	}
}

// BenchmarkPIIAdversary is text made to be dear: characters by chance of which
// every kind of number is made, so that much begins everywhere. A tenth and ten
// times of it cost the same a byte: the time is linear.
func BenchmarkPIIAdversary(b *testing.B) {
	e := effective(b, `{guard: pii, action: redact}`)
	for name, letters := range map[string]string{"numbers": "0123456789 -", "mail": "0123456789 -@.", "all-of-it": "0123456789abcdefABCDEF :.-@+()京"} {
		for _, size := range []int{10_000, 100_000, 1_000_000} {
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
				r := rand.New(rand.NewPCG(1, uint64(size)))
				runes := []rune(letters)
				var text strings.Builder
				for text.Len() < size {
					text.WriteRune(runes[r.IntN(len(runes))])
				}
				b.SetBytes(int64(text.Len()))
				b.ReportAllocs()
				var out []policy.Piece
				for b.Loop() {
					s := e.Screen()
					out = s.Write(out[:0], policy.Piece{Channel: policy.Content, Text: text.String()})
					out = s.End(out, 0)
				}
			})
		}
	}
}

// BenchmarkPIITokens is text as models send it: what is held behind a chunk.
func BenchmarkPIITokens(b *testing.B) {
	e := effective(b, `{guard: pii, action: redact}`)
	for lang, sentence := range map[string]string{"en": english, "zh": chinese, "digits": digitDense} {
		b.Run(lang, func(b *testing.B) {
			var tokens []policy.Piece
			for rest := strings.Repeat(sentence, 20); rest != ""; {
				n := min(4, len(rest))
				for n < len(rest) && rest[n]&0xC0 == 0x80 {
					n++
				}
				tokens = append(tokens, policy.Piece{Channel: policy.Content, Text: rest[:n]})
				rest = rest[n:]
			}
			s := e.Screen()
			var out []policy.Piece
			var held []int
			sum := 0
			b.ReportAllocs()
			for b.Loop() {
				out = s.Write(out[:0], tokens[len(held)%len(tokens)])
				held = append(held, s.Held())
				sum += s.Held()
			}
			slices.Sort(held)
			b.ReportMetric(float64(sum)/float64(len(held)), "held-B/op")
			b.ReportMetric(float64(held[len(held)*99/100]), "p99-held-B")
			b.ReportMetric(float64(held[len(held)-1]), "max-held-B")
		})
	}
}

// allEntities are the names that the guard knows, as it tells who asks for a
// wrong one.
func allEntities(t testing.TB) []string {
	t.Helper()
	var n yaml.Node
	if err := yaml.Unmarshal([]byte("entities: [none]"), &n); err != nil {
		t.Fatal(err)
	}
	_, err := guard.PII(n.Content[0], policy.Env{})
	if err == nil {
		t.Fatal("an entity that is none was taken")
	}
	_, list, ok := strings.Cut(err.Error(), "known: ")
	if !ok {
		t.Fatal(err)
	}
	list, _, _ = strings.Cut(list, ")")
	return strings.Split(list, ", ")
}

// TestEveryEntityIsKnown: those that rules are promised.
func TestEveryEntityIsKnown(t *testing.T) {
	known := allEntities(t)
	for _, name := range strings.Fields("email phone credit_card iban ip_address url us_ssn cn_resident_id cn_uscc cn_mobile cn_bank_card cn_passport cn_plate") {
		if !slices.Contains(known, name) {
			t.Errorf("%s is not among %v", name, known)
		}
	}
	if s := fmt.Sprint(known); len(known) < 30 || !strings.Contains(s, "date_of_birth") {
		t.Errorf("%d entities: %v", len(known), known)
	}
}
