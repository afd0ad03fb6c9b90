package guard

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/policy"
)

// secretSpec is what the guard is held to for everything that has no name before
// it: brute force over a whole text with Go's regexp, from each place where
// something can begin. It knows nothing of automata, readers or Scans.
type secretSpec struct {
	rules []secretRule
	exprs []*regexp.Regexp
}

func newSecretSpec(kinds ...string) *secretSpec {
	x := &secretSpec{}
	for _, r := range secretRules() {
		if !slices.Contains(kinds, r.kind) && len(kinds) > 0 || r.reader == namedReader {
			continue
		}
		expr := r.form
		switch r.reader {
		case urlReader:
			// The last @ of the authority.
			c := "[!%&()+,.0-9:;=A-Z\\[\\]_a-z~-]"
			expr = "://" + strings.Replace(c, ":", "", 1) + "{0,63}:((?:" + c + "|@)*)"
		case jwtReader:
			expr = `(eyJ[A-Za-z0-9_-]{0,508}\.[A-Za-z0-9_.-]*)`
		case pemReader:
			expr = `(?s)----(?:-BEGIN| BEGIN) ([A-Z0-9 ]{0,48})-`
		}
		if _, err := r.prepare(); err != nil {
			panic(err)
		}
		x.rules = append(x.rules, r)
		x.exprs = append(x.exprs, regexp.MustCompile(`\A(?:`+expr+`)`))
	}
	return x
}

// secretMatch is a match, and how much text it takes to decide it.
type secretMatch struct {
	start, end, known int
	stops             int // the full stops behind it that are none of it
}

func (x *secretSpec) all(text string) (out []secretMatch) {
	for i := range x.rules {
		r := &x.rules[i]
		for at := range len(text) {
			m := x.exprs[i].FindStringSubmatchIndex(text[at:])
			if m == nil || r.notAfter != 0 && r.notAfter&standsBefore(text, at) != 0 {
				continue
			}
			for j := range m {
				m[j] += at
			}
			start, end := m[0], m[1]
			switch r.reader {
			case tokenReader:
				if len(m) > 2 {
					start = m[2]
				}
				out = append(out, x.token(r, text, start, end)...)
			case urlReader:
				out = append(out, x.url(r, text, m[2], m[3])...)
			case jwtReader:
				out = append(out, x.jwt(text, start, end)...)
			case pemReader:
				label := strings.TrimSuffix(strings.TrimSuffix(text[m[2]:m[3]], " "), " BLOCK")
				if !strings.HasSuffix(label, "PRIVATE KEY") {
					continue
				}
				closer := regexp.MustCompile(`----[- ]END[A-Z0-9 ]{0,48}-+`)
				stop := len(text)
				for from := end; ; {
					c := closer.FindStringIndex(text[from:])
					if c == nil {
						break
					}
					words := strings.ReplaceAll(strings.Trim(text[from+c[0]+8:from+c[1]], "-"), " ", "")
					if strings.HasSuffix(words, "EKEY") || strings.HasSuffix(words, "BLOCK") {
						stop = from + c[1]
						break
					}
					from += c[0] + 8
				}
				out = append(out, secretMatch{start, stop, end, 0})
			}
		}
	}
	return out
}

func standsBefore(text string, at int) neighbours {
	if at == 0 {
		return noRune
	}
	for _, escape := range []string{`\n`, `\r`, `\t`} {
		if strings.HasSuffix(text[:at], escape) {
			return otherNeighbour
		}
	}
	r, _ := utf8.DecodeLastRuneInString(text[:at])
	return neighbourOf(r)
}

// valid is what a rule, and every rule, asks of a stretch.
func (x *secretSpec) valid(r *secretRule, text string) bool {
	return text != "" && !isFiller(text) && (r.valid == nil || r.valid(text))
}

func (x *secretSpec) token(r *secretRule, text string, start, end int) []secretMatch {
	if r.checked {
		if !x.valid(r, text[start:end]) {
			return nil
		}
		return []secretMatch{{start, end, end, 0}}
	}
	if strings.HasSuffix(r.form, ",})") || strings.HasSuffix(r.form, ",}") {
		if end-start >= maxSecret { // decided at that length, and goes on
			if !x.valid(r, text[start:start+maxSecret]) {
				return nil
			}
			return []secretMatch{{start, end, start + maxSecret, 0}}
		}
	}
	next := rune(-1)
	if end < len(text) {
		next, _ = utf8.DecodeRuneInString(text[end:])
	}
	own := *r
	own.parts, own.from = nil, 0
	if _, err := own.read(); err != nil {
		panic(err)
	}
	last := own.parts[len(own.parts)-1].set
	if last.has(next) || r.notBefore&neighbourOf(next) != 0 {
		return nil
	}
	known := end + 1
	if last.has('.') {
		end = start + len(strings.TrimRight(text[start:end], ".:?"))
	}
	if !x.valid(r, text[start:end]) {
		return nil
	}
	return []secretMatch{{start, end, known, known - 1 - end}}
}

func (x *secretSpec) url(r *secretRule, text string, start, end int) (out []secretMatch) {
	for at := start; at+1 < min(end, start+maxSecret-1); at++ {
		if text[at] == '@' && text[at+1] != '@' && x.valid(r, text[start:at]) {
			out = append(out, secretMatch{start, at, at + 2, 0})
		}
	}
	return out
}

func (x *secretSpec) jwt(text string, start, end int) []secretMatch {
	parts := strings.Split(text[start:end], ".")
	dots := jwtDots(parts[0])
	if dots == 0 {
		return nil
	}
	parts = parts[:min(len(parts), dots+1)]
	end = start + len(strings.Join(parts, "."))
	count := 0
	for at := start + len(parts[0]) + 1; at < end; at++ {
		if text[at] != '.' {
			count++
		}
		if count == minPayload {
			if isFiller(text[start : at+1]) {
				return nil
			}
			return []secretMatch{{start, end, at + 1, 0}}
		}
	}
	return nil
}

// decided are the stretches that are known when a text has been read so far.
func (x *secretSpec) decided(text string, ended bool) (out [][2]int) {
	all := x.all(text)
	for _, m := range all {
		if m.known <= len(text) || ended {
			// Matches are decided in the order of their ends: where another that is
			// known has a full stop, this one has it.
			for _, o := range all {
				if stop := min(o.end, m.end+m.stops); stop > m.end && o.known <= m.end+m.stops {
					m.stops, m.end = m.stops+m.end-stop, stop
				}
			}
			out = append(out, [2]int{m.start, m.end})
		}
	}
	return out
}

// outermost are those that no other contains, by start.
func outermost(all [][2]int) (out [][2]int) {
	slices.SortFunc(all, func(a, b [2]int) int {
		if a[0] != b[0] {
			return a[0] - b[0]
		}
		return b[1] - a[1]
	})
	end := -1
	for _, m := range all {
		if m[1] > end {
			out = append(out, m)
			end = m[1]
		}
	}
	return out
}

// pool is text that secrets are put together from, and fall apart into.
func pool() (out []string) {
	r := rand.New(rand.NewPCG(11, 12))
	for _, rule := range secretRules() {
		if rule.reader == namedReader {
			continue
		}
		text, _ := makeSecret(r, &rule)
		out = append(out, text, text[:len(text)/2], text[len(text)/2:])
	}
	return out
}

var noise = []string{
	" ", "\n", "a", "Z", "-", ".", "_", "/", "@", ":", "://", "中", "é", "\\n", `"`, "=", "sk-", "eyJ", "-----BEGIN ", "PRIVATE KEY", "-----", "-----END ", "END", "---- BEGIN ",
	"bearer ", "ghp_", "://u:", "x:y@h", "1234", "\u200b", "token", "password: ", "secret = ", "密码是", " is ", "xoxb-", "\r\n", "glpat-", "EAAA", "s.", "api_key",
}

func secretText(t *rapid.T, pool []string) string {
	var b strings.Builder
	for range rapid.IntRange(0, 8).Draw(t, "pieces") {
		from := noise
		if rapid.IntRange(0, 2).Draw(t, "planted") == 0 {
			from = pool
		}
		b.WriteString(rapid.SampledFrom(from).Draw(t, "piece"))
		if rapid.IntRange(0, 40).Draw(t, "long") == 0 {
			b.WriteString(strings.Repeat("Ab9", rapid.IntRange(10, 120).Draw(t, "times")))
		}
	}
	return b.String()
}

// TestSecretsAreThoseOfBruteForce: for every chunking, what is found of kinds
// without names is what the specification finds, and not one byte of it is
// released before it is decided.
func TestSecretsAreThoseOfBruteForce(t *testing.T) {
	spec := newSecretSpec()
	var kinds []string
	for _, r := range spec.rules {
		kinds = append(kinds, r.kind)
	}
	g, err := newSecrets(func(kind string) bool { return slices.Contains(kinds, kind) && kind != "heroku_key" }, nil)
	if err != nil {
		t.Fatal(err)
	}
	spec.drop("heroku_key") // there are named ones of this kind
	pool := pool()
	rapid.Check(t, func(t *rapid.T) {
		text := secretText(t, pool)
		want := outermost(spec.decided(text, true))
		cuts := rapid.SliceOfN(rapid.Bool(), len(text)+1, len(text)+1).Draw(t, "cuts")
		for _, cut := range []func(int) bool{whole, func(int) bool { return true }, func(i int) bool { return cuts[i] }} {
			var got [][2]int
			for _, f := range secretsIn(t, g, text, cut) {
				got = append(got, [2]int{int(f.Start), int(f.End)})
			}
			if got = outermost(got); !slices.Equal(got, want) {
				t.Fatalf("%q:\n got %v %q\nwant %v %q", text, got, pick(text, got), want, pick(text, want))
			}
		}
	})
}

func (x *secretSpec) drop(kind string) {
	for i := len(x.rules) - 1; i >= 0; i-- {
		if x.rules[i].kind == kind {
			x.rules, x.exprs = slices.Delete(x.rules, i, i+1), slices.Delete(x.exprs, i, i+1)
		}
	}
}

func pick(text string, spans [][2]int) (out []string) {
	for _, m := range spans {
		out = append(out, text[m[0]:m[1]])
	}
	return out
}

// secretsSame holds every chunking to the whole text, with kinds: after any
// beginning of a text the same is held, live and found.
func secretsSame(t reporter, g policy.Guard, text string, cut func(int) bool) {
	t.Helper()
	want := secretsIn(t, g, text, whole)
	for name, cut := range map[string]func(int) bool{"rune by rune": func(int) bool { return true }, "at random": cut} {
		got := secretsIn(t, g, text, cut)
		same := slices.EqualFunc(got, want, func(a, b policy.Span) bool {
			return a.Start == b.Start && a.End == b.End && a.Kind == b.Kind
		})
		if !same {
			t.Fatalf("%q %s:\n got %v\nwant %v", text, name, kindsAndTexts(g, text, got), kindsAndTexts(g, text, want))
		}
	}
	pieces := g.Open()
	last := 0
	for i := range text + "." {
		if i == 0 || i < len(text) && !cut(i) {
			continue
		}
		pieces.Scan(text[last:i], nil)
		last = i
		once, copied := g.Open(), g.Open()
		once.Scan(text[:i], nil)
		copied.Scan("password: abc", nil)
		copied.Copy(pieces)
		for _, s := range []policy.Stream{pieces, copied} {
			if s.Hold() != once.Hold() || s.Live() != once.Live() {
				t.Fatalf("%q: after %d bytes: hold %d, live %d; at once %d, %d", text, i, s.Hold(), s.Live(), once.Hold(), once.Live())
			}
		}
		pieces = copied // and goes on as the original would
	}
}

func TestSecretsAreTheSameForEveryChunking(t *testing.T) {
	g := openSecrets(t, "{}")
	pool := pool()
	r := rand.New(rand.NewPCG(13, 14))
	for _, rule := range append(namedSecrets(), assignedSecrets()...) {
		text, _ := makeSecret(r, &rule)
		pool = append(pool, text, text[:len(text)*2/3])
	}
	// A token that ends in a full stop, inside one that does not.
	_, jwt := MakeSecretIn(r, "jwt")
	header, rest, _ := strings.Cut(jwt, ".")
	payload, _, _ := strings.Cut(rest, ".")
	stop := "Bearer a1b2.c3d4." + header + "." + payload + ". x"
	pool = append(pool, stop)
	for every := 1; every < 9; every++ {
		secretsSame(t, g, stop, func(i int) bool { return i%every == len(stop)%every })
	}
	for at := range stop {
		secretsSame(t, g, stop, func(i int) bool { return i == at })
	}
	rapid.Check(t, func(t *rapid.T) {
		text := secretText(t, pool)
		cuts := rapid.SliceOfN(rapid.Bool(), len(text)+1, len(text)+1).Draw(t, "cuts")
		secretsSame(t, g, text, func(i int) bool { return cuts[i] })
	})
}

// FuzzSecrets: any text, any chunking.
func FuzzSecrets(f *testing.F) {
	g := openSecrets(f, "{}")
	spec := newSecretSpec()
	spec.drop("heroku_key")
	var kinds []string
	for _, r := range spec.rules {
		kinds = append(kinds, r.kind)
	}
	plain := openSecrets(f, "{kinds: ["+strings.Join(slices.Compact(kinds), ",")+"]}")
	f.Add("-----BEGIN PRIVATE KEY-----a-----END", uint64(5))
	f.Add("password = \"a1b2c3d4\" https://u:pw12@h eyJhbGciOiJub25lIn0."+"eyJhIjoxfQ.", uint64(77))
	f.Add("sk-"+strings.Repeat("aB3", 11)+"x7", uint64(1<<40))
	f.Add("Bearer "+strings.Repeat("aB3", 6)+"x7.", uint64(9))
	f.Fuzz(func(t *testing.T, text string, cuts uint64) {
		text = strings.ToValidUTF8(text, "\uFFFD")
		if len(text) > 800 {
			return
		}
		cut := func(i int) bool { return cuts>>(i%64)&1 == 1 }
		secretsSame(t, g, text, cut)
		var got [][2]int
		for _, m := range secretsIn(t, plain, text, cut) {
			got = append(got, [2]int{int(m.Start), int(m.End)})
		}
		if want := outermost(spec.decided(text, true)); !slices.Equal(outermost(got), want) {
			t.Fatalf("%q: got %q, want %q", text, pick(text, got), pick(text, want))
		}
	})
}

// SecretSpec gives the specification to the tests of the Screen.
func SecretSpec(kinds ...string) func(text string, ended bool) [][2]int {
	return newSecretSpec(kinds...).decided
}

// SecretGuard, SecretKinds and the makers are for the tests of the Screen, too.
func SecretGuard(t testing.TB, keys string) policy.Guard { return openSecrets(t, keys) }

func SecretKinds() []string { return secretKinds() }

func MakeSecret(r *rand.Rand, kind string) string {
	text, _ := MakeSecretIn(r, kind)
	return text
}

func MakeSecretIn(r *rand.Rand, kind string) (text, secret string) {
	for _, rule := range secretRules() {
		if rule.kind == kind {
			return makeSecret(r, &rule)
		}
	}
	panic("no kind " + kind)
}
