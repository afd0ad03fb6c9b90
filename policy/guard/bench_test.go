package guard_test

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/policy/guard"
)

const (
	english = "The quick brown fox jumps over the lazy dog while seventeen clerks copy ledgers, 42 pages a day, and nobody asks who reads them in the end. "
	chinese = "水流到堰前被拦住，再一点一点地放出去；看守的人记下每天的水位，写在册子里，谁来问都可以给他看。"
)

// list compiles a rule over a list of n terms that sound like words.
func list(t testing.TB, n int, action string) *policy.Effective {
	t.Helper()
	r := rand.New(rand.NewSource(1))
	terms := make([]string, n)
	for i := range terms {
		var b strings.Builder
		for range 3 + r.Intn(3) {
			if i%3 == 0 {
				b.WriteRune(rune(0x4E00 + r.Intn(5000)))
			} else {
				b.WriteByte("bcdfghklmnprstvz"[r.Intn(16)])
				b.WriteByte("aeiou"[r.Intn(5)])
			}
		}
		terms[i] = b.String()
	}
	var node yaml.Node
	if err := yaml.Unmarshal([]byte(fmt.Sprintf("kind: Policy\nname: p\nsafety: {output: [{guard: lexicon, list: words, action: %s}]}", action)), &node); err != nil {
		t.Fatal(err)
	}
	d, err := policy.ParseDocument(&node)
	if err != nil {
		t.Fatal(err)
	}
	set, err := policy.Compile(1, []policy.Document{d}, []policy.Lexicon{{Name: "words", Terms: termsOf(terms)}}, guard.All())
	if err != nil {
		t.Fatal(err)
	}
	return set.Resolve(policy.Subject{})
}

// BenchmarkScan is one long text in one Write: the guards alone.
func BenchmarkScan(b *testing.B) {
	rules := map[string]*policy.Effective{
		"lexicon-idle":  effective(b, `{guard: lexicon, terms: [Zorblatt, Xylo, "§7"], action: block}`),
		"lexicon-exact": effective(b, `{guard: lexicon, terms: [Zorblatt, Xylo], case: exact, action: block}`),
		"lexicon-whole": effective(b, `{guard: lexicon, terms: [zorblatt], whole_word: true, action: block}`),
		"lexicon-10k":   list(b, 10_000, "redact"),
		"lexicon-100k":  list(b, 100_000, "redact"),
		"email":         effective(b, `{guard: pattern, builtin: email, action: redact}`),
		"pii":           effective(b, `{guard: pii, action: redact}`),
		"secrets":       effective(b, `{guard: secrets, action: redact}`),
		"secret":        effective(b, `{guard: pattern, expr: '\bsk-[A-Za-z0-9]{20,48}\b', action: redact}`),
		"card":          effective(b, `{guard: pattern, expr: '\b(?:\d[ -]?){12,18}\d\b', action: redact}`),
	}
	for name, e := range rules {
		for lang, sentence := range map[string]string{"en": english, "zh": chinese} {
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

// BenchmarkTokens is text as models send it, a few bytes at a time: what a chunk
// costs, and how much is held behind it.
func BenchmarkTokens(b *testing.B) {
	rules := map[string]*policy.Effective{
		"none":        effective(b),
		"lexicon-10k": list(b, 10_000, "block"),
		"email":       effective(b, `{guard: pattern, builtin: email, action: redact}`),
		"both": effective(b, `{guard: lexicon, terms: [zorblatt], action: block}`,
			`{guard: pattern, builtin: email, action: redact}`,
			`{guard: pattern, expr: '\bsk-[A-Za-z0-9]{20,48}\b', action: redact}`),
	}
	for name, e := range rules {
		for lang, sentence := range map[string]string{"en": english, "zh": chinese} {
			b.Run(name+"/"+lang, func(b *testing.B) {
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
				chunks, held, worst := 0, 0, 0
				b.ReportAllocs()
				for b.Loop() {
					out = s.Write(out[:0], tokens[chunks%len(tokens)])
					chunks++
					h := s.Held()
					held += h
					worst = max(worst, h)
				}
				b.ReportMetric(float64(held)/float64(chunks), "held-B/op")
				b.ReportMetric(float64(worst), "max-held-B")
			})
		}
	}
}

// jsonMembers are elements of an array, such as a tool gets: text, text all in
// escapes, numbers and literals.
func jsonMembers(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	for _, text := range []string{english, chinese, "🌊 water"} {
		plain, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, `{"id": 18446744, "text": %s, "escaped": %s, "score": -12.5e3, "tags": ["a", "b", null, true]},`, plain, strconv.QuoteToASCII(text))
	}
	// Go writes what is above U+FFFF in its own way.
	return strings.ReplaceAll(b.String(), `\U0001f30a`, `\ud83c\udf0a`)
}

// BenchmarkJSON is what tools get, as models send it.
func BenchmarkJSON(b *testing.B) {
	rules := map[string]*policy.Effective{
		"none":        effective(b),
		"lexicon-10k": list(b, 10_000, "block"),
		"email":       effective(b, `{guard: pattern, builtin: email, action: redact}`),
		"pii":         effective(b, `{guard: pii, action: redact}`),
		"secrets":     effective(b, `{guard: secrets, action: redact}`),
	}
	members := jsonMembers(b)
	for name, e := range rules {
		for _, channel := range []policy.Channel{policy.Content, policy.Structured} {
			for _, size := range []int{4, len(members)} {
				b.Run(fmt.Sprintf("%s/%s/%d", name, channel, size), func(b *testing.B) {
					var pieces []policy.Piece
					for rest := members; rest != ""; {
						n := min(size, len(rest))
						for n < len(rest) && rest[n]&0xC0 == 0x80 {
							n++
						}
						pieces = append(pieces, policy.Piece{Channel: channel, Text: rest[:n]})
						rest = rest[n:]
					}
					s := e.Screen()
					out := s.Write(nil, policy.Piece{Channel: channel, Text: "["})
					b.SetBytes(int64(len(members)))
					b.ReportAllocs()
					for b.Loop() {
						for _, p := range pieces {
							out = s.Write(out[:0], p)
						}
					}
				})
			}
		}
	}
}

// BenchmarkBuild compiles a large list.
func BenchmarkBuild(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				list(b, n, "block")
			}
		})
	}
}

// TestNoAllocations: where nothing matches a chunk costs no memory, whatever the
// rules are.
func TestNoAllocations(t *testing.T) {
	all := []string{
		`{guard: lexicon, terms: [zorblatt, ledgerz, 水流到堰后], action: block}`,
		`{guard: lexicon, terms: [zorblatt], whole_word: true, action: redact}`,
		`{guard: lexicon, terms: [zorblatt], case: exact, action: flag}`,
		`{guard: pattern, builtin: email, action: redact}`,
		`{guard: pattern, expr: '\bsk-[A-Za-z0-9]{20,48}\b', action: block}`,
		`{guard: pattern, expr: 'the.*wrong', max_length: 300, action: shadow}`,
	}
	for name, rules := range map[string][]string{"none": nil, "all": all} {
		t.Run(name, func(t *testing.T) {
			s := effective(t, rules...).Screen()
			out := make([]policy.Piece, 0, 256)
			text := english + chinese
			write := func() {
				for rest := text; rest != ""; {
					n := min(5, len(rest))
					for n < len(rest) && rest[n]&0xC0 == 0x80 {
						n++
					}
					out = s.Write(out[:0], policy.Piece{Channel: policy.Content, Text: rest[:n]})
					out = s.Write(out[:0], policy.Piece{Channel: policy.Reasoning, Text: rest[:n]})
					rest = rest[n:]
				}
			}
			write() // the first text makes the room
			if n := testing.AllocsPerRun(20, write); n != 0 {
				t.Errorf("%v allocations per %d bytes", n, len(text))
			}
			members := jsonMembers(t)
			s.Write(out[:0], policy.Piece{Channel: policy.ToolArguments(0), Text: `[`})
			s.Write(out[:0], policy.Piece{Channel: policy.Structured, Text: `[`})
			write = func() {
				for rest := members; rest != ""; {
					n := min(5, len(rest))
					for n < len(rest) && rest[n]&0xC0 == 0x80 {
						n++
					}
					out = s.Write(out[:0], policy.Piece{Channel: "tool/0/arguments", Text: rest[:n]})
					out = s.Write(out[:0], policy.Piece{Channel: policy.Structured, Text: rest[:n]})
					rest = rest[n:]
				}
			}
			write()
			if n := testing.AllocsPerRun(20, write); n != 0 {
				t.Errorf("JSON: %v allocations per %d bytes", n, len(members))
			}
		})
	}
}
