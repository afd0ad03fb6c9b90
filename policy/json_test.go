package policy

import (
	"encoding/json"
	"errors"
	"math/rand"
	"strings"
	"testing"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

func TestRuneText(t *testing.T) {
	for r := rune(0); r <= utf8.MaxRune; r++ {
		if got := runeText(r); got != string(r) {
			t.Fatalf("%U: %q", r, got)
		}
	}
}

func TestJSONChannels(t *testing.T) {
	for channel, want := range map[Channel]bool{
		Content: false, Reasoning: false, Structured: true, ToolName(3): true, ToolArguments(3): true,
		"tool/12/name": true, "tool/12/arguments": true,
	} {
		if channel.JSON() != want {
			t.Errorf("%s: %t", channel, !want)
		}
	}
	for channel, want := range map[Channel]struct {
		n        int
		name, ok bool
	}{
		ToolName(12): {12, true, true}, ToolArguments(0): {0, false, true}, Content: {}, Structured: {}, "tool/x/name": {0, true, false},
	} {
		if n, name, ok := channel.ToolCall(); n != want.n || name != want.name || ok != want.ok {
			t.Errorf("%s: %d, %t, %t", channel, n, name, ok)
		}
	}
	if ToolName(12) != "tool/12/name" || ToolArguments(12) != "tool/12/arguments" {
		t.Errorf("%s, %s", ToolName(12), ToolArguments(12))
	}
}

func TestToolArgs(t *testing.T) {
	for _, c := range []struct{ stage, rule, want string }{
		{"output", "action: redact, tool_args: redact", ""},
		{"output", "action: redact, tool_args: block", ""},
		{"output", "action: redact, tool_args: flag", "safety.output[0].tool_args: want redact or block, got flag"},
		{"output", "action: redact, tool_args: never", `safety.output[0].tool_args: unknown action "never"`},
		{"output", "action: block, tool_args: redact", "safety.output[0].tool_args: only action: redact does something else there, not block"},
		{"input", "action: redact, tool_args: redact", "safety.input[0].tool_args: is for output rules: no tool is called by what a caller sends"},
	} {
		var n yaml.Node
		if err := yaml.Unmarshal([]byte("kind: Policy\nname: p\nsafety:\n  "+c.stage+":\n    - {guard: x, "+c.rule+"}\n"), &n); err != nil {
			t.Fatal(err)
		}
		_, err := ParseDocument(&n)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", c.rule, err)
		}
	}
}

// prophet is a guard whose streams are told what they find.
type prophet struct{}

func (prophet) Kinds() []Kind      { return []Kind{{}} }
func (prophet) Bound() (int, bool) { return 100, true }
func (prophet) Open() Stream       { return &prophecy{} }

type prophecy struct {
	end    int64
	coming []Span
}

func (p *prophecy) expect(s Span) { p.coming = append(p.coming, s) }

func (p *prophecy) Scan(text string, found []Span) []Span {
	p.end += int64(len(text))
	for len(p.coming) > 0 && p.coming[0].End <= p.end {
		found = append(found, p.coming[0])
		p.coming = p.coming[1:]
	}
	return found
}

func (p *prophecy) Close(found []Span) []Span { return found }

func (p *prophecy) Hold() int64 {
	if len(p.coming) > 0 {
		return min(p.end, p.coming[0].Start)
	}
	return p.end
}

func (p *prophecy) Live() int64 { return p.Hold() }

func (p *prophecy) Copy(from Stream) {
	f := from.(*prophecy)
	p.end, p.coming = f.end, append(p.coming[:0], f.coming...)
}

// letters is a guard that finds one letter.
type letters byte

func (letters) Kinds() []Kind      { return []Kind{{}} }
func (letters) Bound() (int, bool) { return 0, true }
func (g letters) Open() Stream     { return &letterStream{letter: byte(g)} }

type letterStream struct {
	letter byte
	pos    int64
}

func (s *letterStream) Scan(text string, found []Span) []Span {
	for _, b := range []byte(text) {
		if s.pos++; b == s.letter {
			found = append(found, Span{Start: s.pos - 1, End: s.pos, At: s.pos})
		}
	}
	return found
}

func (s *letterStream) Close(found []Span) []Span { return found }
func (s *letterStream) Hold() int64               { return s.pos }
func (s *letterStream) Live() int64               { return s.pos }
func (s *letterStream) Copy(from Stream)          { *s = *from.(*letterStream) }

// TestToldInJSON: what a rule is told in places of the source holds in JSON too,
// over the borders of tokens. Nothing can be put in its place there, so it
// blocks. Whichever match is decided first counts.
func TestToldInJSON(t *testing.T) {
	const text = `["ab",17,"\u0063d",{"e":1}]`
	made := func(g Guard, a Action) *rule {
		r := &rule{action: a, guard: g, kinds: []kind{{placeholder: "_"}}}
		r.verdict.Action = a
		r.strict = r.strictly()
		return r
	}
	for _, c := range []struct {
		name       string
		rules      []*rule
		span       Span
		want       string
		start, end int64
	}{
		{"it blocks", []*rule{made(prophet{}, Redact), made(letters('a'), Redact)}, Span{Start: 4, End: 14, At: 14}, `["_b`, 4, 14},
		{"another comes first", []*rule{made(prophet{}, Redact), made(letters('7'), Block)}, Span{Start: 6, End: 14, At: 14}, `["ab",`, 7, 8},
		{"another comes first, inside it", []*rule{made(letters('b'), Block), made(prophet{}, Block)}, Span{Start: 2, End: 14, At: 14}, `["`, 3, 4},
		{"another comes later", []*rule{made(prophet{}, Block), made(letters('c'), Block)}, Span{Start: 6, End: 14, At: 14}, `["ab",`, 6, 14},
		{"at once, the first rule counts", []*rule{made(letters('c'), Block), made(prophet{}, Block)}, Span{Start: 10, End: 16, At: 16}, `["ab",17,"`, 10, 16},
		{"a number is decided by what follows it", []*rule{made(letters('7'), Block), made(prophet{}, Block)}, Span{Start: 6, End: 9, At: 9}, `["ab",`, 6, 9},
		{"at once, what starts first counts", []*rule{made(letters('c'), Block), made(prophet{}, Block)}, Span{Start: 6, End: 16, At: 16}, `["ab",`, 6, 16},
	} {
		t.Run(c.name, func(t *testing.T) {
			for cut := 0; cut <= len(text); cut++ {
				s := newScreen(c.rules)
				ch := s.candidate(0).channel(Structured, s.rules)
				for i := range ch.lanes {
					if p, is := ch.lanes[i].stream.(*prophecy); is {
						p.expect(c.span)
					}
				}
				out := s.Write(nil, Piece{Channel: Structured, Text: text[:cut]})
				out = s.Write(out, Piece{Channel: Structured, Text: text[cut:]})
				got := join(s.End(out, 0))
				var v Verdict
				for _, found := range s.Verdicts() {
					if found.Action == Block {
						v = found
					}
				}
				if got != c.want || v.Start != c.start || v.End != c.end {
					t.Fatalf("cut at %d: %q, block %d-%d", cut, got, v.Start, v.End)
				}
			}
		})
	}
}

// TestNumbersAreHeldForWhoeverEnforces, one who reads no tokens too.
func TestNumbersAreHeldForWhoeverEnforces(t *testing.T) {
	s := newScreen([]*rule{{action: Block, guard: prophet{}, kinds: []kind{{}}}})
	if got := join(s.Write(nil, Piece{Channel: Structured, Text: "[12"})); got != "[" {
		t.Errorf("released %q", got)
	}
}

// TestJSONReader: the reader knows JSON as encoding/json does, and the first
// byte that is not.
func TestJSONReader(t *testing.T) {
	parts := []string{"{", "}", "[", "]", ",", ":", `"`, `""`, `"a":`, " ", "\n", "0", "1", "-", ".", "e", "+", "1", `\`, `\n`, `\"`, "u", `"\u00e9"`, `\ud83d`, `\ude00`, "a", "true", "t", "null", "fa", "false", "\x01", "\x00", "é", "\uFEFF", "{", "[", "]", "}", `"b"`, "1.5", ","}
	random := rand.New(rand.NewSource(3))
	whole := 0
	for range 200_000 {
		var b strings.Builder
		for range random.Intn(10) {
			b.WriteString(parts[random.Intn(len(parts))])
		}
		text := b.String()
		// A NUL is never JSON, so with it there is a first byte that is wrong.
		var raw json.RawMessage
		var syntax *json.SyntaxError
		if !errors.As(json.Unmarshal([]byte(text+"\x00"), &raw), &syntax) {
			t.Fatalf("%q and a NUL are JSON", text)
		}
		want := int(syntax.Offset) - 1

		var r jsonReader
		at := 0
		for at < len(text) && !r.broken {
			rest := text[at:]
			if random.Intn(2) == 0 { // a piece of it, cut between runes
				_, n := utf8.DecodeRuneInString(rest)
				rest = rest[:n]
			}
			at += r.next(rest).n
		}
		if at != want {
			t.Fatalf("%q is JSON up to %d, not %d", text, at, want)
		}
		valid := !r.broken
		for part := r.finish(); part.kind != jsonEnd; part = r.finish() {
			valid = valid && part.kind != jsonBroken
		}
		valid = valid && r.want == wantMore && r.nesting.depth == 0 && !r.inString
		if valid != json.Valid([]byte(text)) {
			t.Fatalf("%q: valid %t", text, valid)
		}
		if valid {
			whole++
		}
	}
	if whole < 1000 {
		t.Errorf("only %d of the texts were JSON", whole)
	}
}
