package guard_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/policy/guard"
)

// secretsRule is the guard as the specification of the Screen sees it: matches
// by brute force; what is live is what the guard itself says of the whole text,
// so that a Screen must hold the same for every chunking.
func secretsRule(t testing.TB) specRule {
	kinds := []string{"github_token", "model_api_key", "gitlab_token", "slack_token", "jwt", "private_key", "url_password", "bearer_token"}
	keys := "kinds: [" + strings.Join(kinds, ", ") + "]"
	g := guard.SecretGuard(t, "{"+keys+"}")
	known := map[string]map[bool][][2]int{}
	spec := guard.SecretSpec(kinds...)
	r := specRule{yaml: "guard: secrets, " + keys}
	r.matches = func(text string, ended bool) [][2]int {
		if known[text] == nil || len(known) > 20_000 {
			if len(known) > 20_000 {
				clear(known)
			}
			known[text] = map[bool][][2]int{false: spec(text, false), true: spec(text, true)}
		}
		return slices.Clone(known[text][ended]) // the specification sorts it
	}
	r.live = func(text string) []int {
		s := g.Open()
		s.Scan(text, nil)
		if hold := int(s.Hold()); hold < len(text) {
			return []int{hold}
		}
		return nil
	}
	return r
}

// TestSecretsBesideOtherRules: block, redact and flag, alone and mixed, in every
// chunking, over channels and candidates.
func TestSecretsBesideOtherRules(t *testing.T) {
	secrets := secretsRule(t)
	r := rand.New(rand.NewPCG(21, 22))
	var planted []string
	for _, kind := range []string{"github_token", "model_api_key", "gitlab_token", "slack_token", "jwt", "private_key", "url_password", "bearer_token"} {
		text := guard.MakeSecret(r, kind)
		planted = append(planted, text, text[:len(text)-3])
	}
	escaped := strings.ReplaceAll("-----BEGIN "+"PRIVATE KEY-----\nAb+/\n-----END "+"PRIVATE KEY-----", "\n", `\n`)
	planted = append(planted, escaped, "-----BEGIN "+"PRIVATE KEY-----\r\nAb")
	rapid.Check(t, func(t *rapid.T) {
		var sc scenario
		actions := []policy.Action{policy.Redact, policy.Redact, policy.Block, policy.Flag, policy.Shadow}
		mine := secrets
		mine.action = rapid.SampledFrom(actions).Draw(t, "secrets")
		mine.placeholder = "⟦s⟧"
		sc.rules = append(sc.rules, mine)
		if rapid.Bool().Draw(t, "beside") {
			other := termRule([]string{"-", "b c", "k-", "E", "中", "A"}[:rapid.IntRange(1, 6).Draw(t, "terms")], true, false)
			other.action = rapid.SampledFrom(actions).Draw(t, "other")
			other.placeholder = "⟦o⟧"
			sc.rules = append(sc.rules, other)
		}
		noise := []string{" ", "b c", "中", "\n", ".", "k", "sk-", "://u:p1@h", "eyJ", "Bearer "}
		for range rapid.IntRange(1, 4).Draw(t, "pieces") {
			candidate := rapid.SampledFrom([]int{0, 0, 3}).Draw(t, "candidate")
			channel := rapid.SampledFrom([]policy.Channel{policy.Content, policy.Content, policy.Reasoning}).Draw(t, "channel")
			from := noise
			if rapid.Bool().Draw(t, "planted") {
				from = planted
			}
			text := rapid.SampledFrom(from).Draw(t, "text")
			if n := len(text); n > 8 && rapid.Bool().Draw(t, "part") {
				text = text[:rapid.IntRange(1, n).Draw(t, "to")]
			}
			for _, b := range []byte(text) {
				sc.bytes = append(sc.bytes, arrival{candidate, channel, b})
			}
		}
		cuts := rapid.SliceOfN(rapid.Bool(), len(sc.bytes), len(sc.bytes)).Draw(t, "cuts")
		open := func(e *policy.Effective) screen { return e.Screen() }
		if err := checkAll(t, sc, func(i int) bool { return cuts[i] }, open); err != nil {
			t.Fatalf("%v\n%s", err, sc)
		}
	})
}

// TestNoByteOfASecretLeaves: a secret of every kind, at every split, is replaced
// whole; unary and stream agree.
func TestNoByteOfASecretLeaves(t *testing.T) {
	e := effective(t, `{guard: secrets, action: redact, placeholder: "#"}`)
	in := effectiveAt(t, policy.Input, []string{`{guard: secrets, action: redact, placeholder: "#"}`})
	r := rand.New(rand.NewPCG(23, 24))
	for _, kind := range guard.SecretKinds() {
		made, secret := guard.MakeSecretIn(r, kind)
		text := "见 " + made + "\n完"
		want := in.JudgeInput([]policy.InputText{{Text: text}}).Texts[0]
		if strings.Contains(want, secret) || !strings.Contains(want, "#") {
			t.Errorf("%s: %q becomes %q", kind, text, want)
		}
		for cut := range text {
			s := e.Screen()
			out := s.Write(nil, policy.Piece{Text: text[:cut]})
			if got := texts(out); !strings.HasPrefix(want, got) {
				t.Fatalf("%s: %q gives out %q", kind, text[:cut], got)
			}
			out = s.End(s.Write(out, policy.Piece{Text: text[cut:]}), 0)
			if got := texts(out); got != want {
				t.Fatalf("%s: %q cut at %d becomes %q, want %q", kind, text, cut, got, want)
			}
		}
	}
}

// ---- speed

// code makes text like that of programs and their settings, by a seeded
// generator: names, calls, strings, numbers, and now and then a name that a
// secret could be assigned to.
func code(n int) string {
	r := rand.New(rand.NewPCG(31, 32))
	word := func() string {
		parts := []string{"user", "get", "Handler", "config", "index", "max", "request", "store", "err", "ctx", "list", "parse", "key", "token", "password", "secret", "auth", "base", "path", "url"}
		w := parts[r.IntN(len(parts))]
		for range r.IntN(3) {
			w += []string{"_", ""}[r.IntN(2)] + parts[r.IntN(len(parts)-6)]
		}
		return w
	}
	var b strings.Builder
	for b.Len() < n {
		switch r.IntN(6) {
		case 0:
			fmt.Fprintf(&b, "func %s(%s string, n int) (%s, error) {\n", word(), word(), word())
		case 1:
			fmt.Fprintf(&b, "\t%s := %s.%s(%s, %d)\n", word(), word(), word(), word(), r.IntN(1000))
		case 2:
			fmt.Fprintf(&b, "\tif %s == nil || len(%s) > %d {\n\t\treturn fmt.Errorf(\"%s: %%w\", err)\n\t}\n", word(), word(), r.IntN(100), word())
		case 3:
			fmt.Fprintf(&b, "  \"%s\": \"%s\",\n", word(), word())
		case 4:
			fmt.Fprintf(&b, "# %s the %s of %s before %s\n", word(), word(), word(), word())
		case 5:
			fmt.Fprintf(&b, "import { %s } from './%s/%s.js';\n", word(), word(), word())
		}
	}
	return b.String()[:n]
}

// BenchmarkSecrets: one long text in one Write, and the same in tokens of four
// bytes, with what is held behind them.
func BenchmarkSecrets(b *testing.B) {
	e := effective(b, `{guard: secrets, action: redact}`)
	for name, text := range map[string]string{
		"en": strings.Repeat(english, 1<<16/len(english)), "zh": strings.Repeat(chinese, 1<<16/len(chinese)), "code": code(1 << 16),
	} {
		b.Run("whole/"+name, func(b *testing.B) {
			s := e.Screen()
			var out []policy.Piece
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				out = s.Write(out[:0], policy.Piece{Text: text})
			}
		})
		b.Run("tokens/"+name, func(b *testing.B) {
			var tokens []policy.Piece
			for rest := text; rest != ""; {
				n := min(4, len(rest))
				for n < len(rest) && rest[n]&0xC0 == 0x80 {
					n++
				}
				tokens = append(tokens, policy.Piece{Text: rest[:n]})
				rest = rest[n:]
			}
			s := e.Screen()
			var out []policy.Piece
			chunks, held, worst := 0, 0, 0
			b.ReportAllocs()
			for b.Loop() {
				out = s.Write(out[:0], tokens[chunks%len(tokens)])
				chunks++
				held += s.Held()
				worst = max(worst, s.Held())
			}
			b.ReportMetric(float64(held)/float64(chunks), "held-B/op")
			b.ReportMetric(float64(worst), "max-held-B")
		})
	}
}

// TestSecretsAllocateNothingWhereThereAreNone, names and code included.
func TestSecretsAllocateNothingWhereThereAreNone(t *testing.T) {
	s := effective(t, `{guard: secrets, action: redact}`).Screen()
	out := make([]policy.Piece, 0, 256)
	text := english + chinese + code(4000)
	write := func() {
		for rest := text; rest != ""; {
			n := min(5, len(rest))
			for n < len(rest) && rest[n]&0xC0 == 0x80 {
				n++
			}
			out = s.Write(out[:0], policy.Piece{Channel: policy.Content, Text: rest[:n]})
			rest = rest[n:]
		}
	}
	write()
	if n := testing.AllocsPerRun(20, write); n != 0 {
		t.Errorf("%v allocations per %d bytes", n, len(text))
	}
	if vs := s.Verdicts(); len(vs) != 0 {
		t.Errorf("found %v", vs)
	}
}
