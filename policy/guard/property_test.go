package guard_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/policy"
)

// screen is what the properties need of a Screen, so that broken ones can be
// put in its place.
type screen interface {
	Write(dst []policy.Piece, p policy.Piece) []policy.Piece
	End(dst []policy.Piece, candidate int) []policy.Piece
	Blocked(candidate int) bool
	Verdicts() []policy.Verdict
	Held() int
}

// arrival is one byte on its way.
type arrival struct {
	candidate int
	channel   policy.Channel
	b         byte
}

// scenario is rules, and bytes in the order in which they arrive.
type scenario struct {
	rules []specRule
	bytes []arrival
}

func (sc scenario) String() string {
	var b strings.Builder
	for _, r := range sc.rules {
		b.WriteString("  " + r.line() + "\n")
	}
	for _, p := range sc.pieces(func(int) bool { return false }) {
		fmt.Fprintf(&b, "  %d %s %q\n", p.Candidate, p.Channel, p.Text)
	}
	return b.String()
}

func (r specRule) line() string {
	line := "{" + r.yaml + ", action: " + r.action.String()
	if r.action == policy.Redact {
		line += fmt.Sprintf(", placeholder: %q", r.placeholder)
	}
	if r.toolArgs {
		line += ", tool_args: redact"
	}
	return line + "}"
}

func (sc scenario) lines() (out []string) {
	for _, r := range sc.rules {
		out = append(out, r.line())
	}
	return out
}

// pieces joins the bytes to Writes; cut says whether to start a new one before
// the i-th byte, which also a change of channel does.
func (sc scenario) pieces(cut func(int) bool) (out []policy.Piece) {
	for i, a := range sc.bytes {
		if i == 0 || cut(i) || a.candidate != sc.bytes[i-1].candidate || a.channel != sc.bytes[i-1].channel {
			out = append(out, policy.Piece{Candidate: a.candidate, Channel: a.channel})
		}
		out[len(out)-1].Text += string([]byte{a.b})
	}
	return out
}

func (sc scenario) candidates() (out []int) {
	for _, a := range sc.bytes {
		if !slices.Contains(out, a.candidate) {
			out = append(out, a.candidate)
		}
	}
	slices.Sort(out)
	return out
}

func (sc scenario) channels() (out []policy.Channel) {
	for _, a := range sc.bytes {
		if !slices.Contains(out, a.channel) {
			out = append(out, a.channel)
		}
	}
	return out
}

// events decodes the bytes of a candidate: a byte that cannot be part of a rune
// is U+FFFD, and a rune arrives with its last byte.
func (sc scenario) events(candidate int) (out []event) {
	waiting := map[policy.Channel][]byte{}
	var order []policy.Channel
	for i, a := range sc.bytes {
		if a.candidate != candidate {
			continue
		}
		if !slices.Contains(order, a.channel) {
			order = append(order, a.channel)
		}
		buf := append(waiting[a.channel], a.b)
		for len(buf) > 0 && utf8.FullRune(buf) {
			r, n := utf8.DecodeRune(buf)
			out = append(out, event{a.channel, string(r), i + 1})
			buf = buf[n:]
		}
		waiting[a.channel] = buf
	}
	for _, ch := range order { // at the end
		for range waiting[ch] {
			out = append(out, event{ch, "\uFFFD", len(sc.bytes) + 1})
		}
	}
	return out
}

// merged joins neighbouring pieces of one channel, for where a release is cut
// is nobody's business.
func merged(pieces []policy.Piece, candidate int) (out []policy.Piece) {
	for _, p := range pieces {
		if p.Candidate != candidate || p.Text == "" {
			continue
		}
		p = policy.Piece{Channel: p.Channel, Text: p.Text}
		if n := len(out); n > 0 && out[n-1].Channel == p.Channel {
			out[n-1].Text += p.Text
		} else {
			out = append(out, p)
		}
	}
	return out
}

// check runs a scenario, cut in a given way, and returns the first property
// that does not hold.
func check(sc scenario, specs map[int][]specState, events map[int][]event, s screen, cut func(int) bool, bound int) error {
	var out []policy.Piece
	arrived := 0
	for _, p := range sc.pieces(cut) {
		arrived += len(p.Text)
		n := len(out)
		out = s.Write(out, p)
		held := 0
		for _, released := range out[n:] {
			if !utf8.ValidString(released.Text) {
				return fmt.Errorf("after %d bytes: released half a rune: %q", arrived, released.Text)
			}
			if released.Candidate != p.Candidate {
				return fmt.Errorf("after %d bytes: released candidate %d for %d", arrived, released.Candidate, p.Candidate)
			}
		}
		for _, c := range sc.candidates() {
			k := 0
			for k < len(events[c]) && events[c][k].after <= arrived {
				k++
			}
			want := specs[c][k]
			if got := merged(out, c); !slices.Equal(got, want.out) {
				return fmt.Errorf("after %d bytes: candidate %d released\n  %v, want\n  %v", arrived, c, got, want.out)
			}
			if s.Blocked(c) != want.blocked {
				return fmt.Errorf("after %d bytes: candidate %d blocked %t, want %t", arrived, c, s.Blocked(c), want.blocked)
			}
			held += want.held
		}
		if one := len(sc.candidates()) == 1 && len(sc.channels()) == 1; one && s.Held() > bound {
			return fmt.Errorf("after %d bytes: %d bytes held, more than the bound of %d", arrived, s.Held(), bound)
		}
		if s.Held() != held {
			return fmt.Errorf("after %d bytes: %d bytes are held, of which %d have a witness", arrived, s.Held(), held)
		}
	}
	for _, c := range sc.candidates() {
		out = s.End(out, c)
	}
	if s.Held() != 0 {
		return fmt.Errorf("at the end: %d bytes held", s.Held())
	}
	for _, c := range sc.candidates() {
		want := specs[c][len(specs[c])-1]
		if got := merged(out, c); !slices.Equal(got, want.out) {
			return fmt.Errorf("at the end: candidate %d released\n  %v, want\n  %v", c, got, want.out)
		}
		if s.Blocked(c) != want.blocked {
			return fmt.Errorf("at the end: candidate %d blocked %t, want %t", c, s.Blocked(c), want.blocked)
		}
		var got []policy.Verdict
		for _, v := range s.Verdicts() {
			if v.Candidate == c {
				got = append(got, policy.Verdict{Rule: v.Rule, Action: v.Action, Channel: v.Channel, Start: v.Start, End: v.End})
			}
		}
		sortVerdicts(got)
		sortVerdicts(want.verdicts)
		if !slices.Equal(got, want.verdicts) {
			return fmt.Errorf("candidate %d: verdicts\n  %v, want\n  %v", c, got, want.verdicts)
		}
		if err := leak(sc, events[c], merged(out, c)); err != nil {
			return fmt.Errorf("candidate %d: %w", c, err)
		}
		if want.blocked {
			continue
		}
		if err := parses(sc, events[c], merged(out, c)); err != nil {
			return fmt.Errorf("candidate %d: %w", c, err)
		}
	}
	return nil
}

func sortVerdicts(vs []policy.Verdict) {
	slices.SortFunc(vs, func(a, b policy.Verdict) int {
		return cmp.Or(cmp.Compare(a.Channel, b.Channel), cmp.Compare(a.Start, b.Start), cmp.Compare(a.End, b.End), cmp.Compare(a.Rule, b.Rule))
	})
}

// leak looks at what was released without the rest of the specification: taken
// together and without placeholders it must be a beginning of the text that no
// redaction covers and that stands before every match of a blocking rule,
// matches of the whole text that is.
func leak(sc scenario, events []event, out []policy.Piece) error {
	c := candidateSpec{rules: sc.rules, events: events}
	total := 0
	for _, e := range events {
		total += len(e.text)
	}
	covered := make([]bool, total)
	stop := total
	for _, ch := range c.channels(len(events)) {
		for i, r := range sc.rules {
			if !r.enforcing() {
				continue
			}
			for _, m := range c.decided(i, ch, len(events), true) {
				if r.on(ch) == policy.Block {
					stop = min(stop, c.global(ch, m.from))
					continue
				}
				for b := m.from; b < m.to; b++ {
					covered[c.global(ch, b)] = true
				}
			}
		}
	}
	var open strings.Builder
	at := 0
	for _, e := range events {
		for b := range len(e.text) {
			if at < stop && !covered[at] {
				open.WriteByte(e.text[b])
			}
			at++
		}
	}
	var got strings.Builder
	for _, p := range out {
		for _, r := range sc.rules {
			if r.action == policy.Redact {
				p.Text = strings.ReplaceAll(p.Text, r.placeholder, "")
				p.Text = strings.ReplaceAll(p.Text, written(r.placeholder, formString), "")
			}
		}
		got.WriteString(p.Text)
	}
	// A quote can be of a placeholder that stands for a number, and tells nothing.
	bare := func(b *strings.Builder) string { return strings.ReplaceAll(b.String(), `"`, "") }
	if !strings.HasPrefix(bare(&open), bare(&got)) {
		return fmt.Errorf("leak: released %q, only %q may be", bare(&got), bare(&open))
	}
	return nil
}

// parses wants JSON wherever it was JSON, and the text as it was where nothing
// was redacted.
func parses(sc scenario, events []event, out []policy.Piece) error {
	c := candidateSpec{rules: sc.rules, events: events}
	for _, ch := range c.channels(len(events)) {
		source, got := c.text(ch, len(events)), ""
		for _, p := range out {
			if p.Channel == ch {
				got += p.Text
			}
		}
		if ch.JSON() && json.Valid([]byte(source)) && !json.Valid([]byte(got)) {
			return fmt.Errorf("%s: %s was JSON, %s is not", ch, source, got)
		}
		redacts := func(i int) bool {
			return sc.rules[i].on(ch) == policy.Redact && len(c.decided(i, ch, len(events), true)) > 0
		}
		var any bool
		for i := range sc.rules {
			any = any || redacts(i)
		}
		if !any && source != got {
			return fmt.Errorf("%s: nothing is redacted in %q, which became %q", ch, source, got)
		}
	}
	return nil
}

// checkAll runs a scenario whole, byte by byte and as cut says.
func checkAll(t fataler, sc scenario, cut func(int) bool, open func(*policy.Effective) screen) error {
	t.Helper()
	e := effective(t, sc.lines()...)
	bound, bounded := e.Screen().Bound()
	if slices.ContainsFunc(sc.channels(), policy.Channel.JSON) {
		bound, bounded = e.Screen().JSONBound()
	}
	if !bounded {
		return fmt.Errorf("a rule has no bound")
	}
	specs, events := map[int][]specState{}, map[int][]event{}
	for _, c := range sc.candidates() {
		events[c] = sc.events(c)
		spec := candidateSpec{rules: sc.rules, events: events[c]}
		specs[c] = spec.run()
	}
	for _, way := range []struct {
		name string
		cut  func(int) bool
	}{
		{"whole", func(int) bool { return false }},
		{"byte by byte", func(int) bool { return true }},
		{"at random", cut},
	} {
		if err := check(sc, specs, events, open(e), way.cut, bound); err != nil {
			return fmt.Errorf("cut %s: %w", way.name, err)
		}
	}
	return nil
}

// ---- scenarios

var alphabet = []string{"a", "b", "c", "A", " ", "\n", "@", "中", "文", "é", "\u212A", "k", "-"}

// patterns are expressions with enough completions for the witness of what is
// live; see patternRule.
var patterns = []specRule{
	patternRule(`a[bc]{1,3}`, 0, "b"),
	patternRule(`ab|abca|ca`, 0, "b", "a", "ca", "bca"),
	patternRule(`\bab\b`, 0, "b"),
	patternRule(`(?i)ab?c`, 0, "c", "bc"),
	patternRule(`a$`, 0),
	patternRule(`^ab`, 0, "b"),
	patternRule(`(?m)^b.`, 0, "b"),
	patternRule(`(?m)ab?$`, 0, "b"),
	patternRule(`[ab]{1,3}c`, 0, "c"),
	patternRule(`[ab]{2,3}[@c]b`, 0, "b", "@b", "a@b", "aa@b"),
	patternRule(`中[文a]`, 0, "a"),
	patternRule(`é.{0,2}c`, 0, "c"),
	patternRule(`a.b`, 0, "b", "ab"),
	patternRule(`a\Bb|b\b `, 0, "b", " "),
	patternRule(`(?i)k[a中]?b`, 0, "b", "ab"),
	patternRule(`(?s)b.c`, 0, "c", "ac"),
	patternRule(`[^a]a`, 0, "a"),
	patternRule(`[a-]\bb`, 0, "b"),
	patternRule(`[a-](?:b\bb|\bc)`, 0, "c"),
	patternRule(`(?ms).^b`, 0, "b"),
	patternRule(`abc|c\b`, 0, "c", "bc"),
	patternRule(`ab*c`, 4, "c", "bc"),
	patternRule(`[ab]+@`, 3, "@"),
	patternRule(`a[bc]{0,5}a`, 4, "a"),
	patternRule(`c\b [ab]*@`, 5, "@", " @"),
}

// drawRule draws terms from few letters, so that they overlap, or a pattern.
func drawRule(t *rapid.T, i int, letters []string) specRule {
	var r specRule
	if rapid.Bool().Draw(t, "lexicon") {
		term := rapid.Custom(func(t *rapid.T) string {
			return strings.Join(rapid.SliceOfN(rapid.SampledFrom(letters), 1, 4).Draw(t, "runes"), "")
		})
		r = termRule(rapid.SliceOfN(term, 1, 3).Draw(t, "terms"), rapid.Bool().Draw(t, "exact"), rapid.Bool().Draw(t, "whole"))
	} else {
		r = rapid.SampledFrom(patterns).Draw(t, "pattern")
	}
	r.action = rapid.SampledFrom([]policy.Action{policy.Redact, policy.Redact, policy.Block, policy.Flag, policy.Shadow}).Draw(t, "action")
	r.placeholder = fmt.Sprintf("⟦%d⟧", i)
	return r
}

func drawScenario(t *rapid.T) scenario {
	var sc scenario
	letters := append([]string{"a", "b"}, rapid.SliceOfN(rapid.SampledFrom(alphabet), 1, 3).Draw(t, "letters")...)
	for i := range rapid.IntRange(1, 3).Draw(t, "rules") {
		sc.rules = append(sc.rules, drawRule(t, i, letters))
	}
	channels := []policy.Channel{policy.Content, policy.Content, policy.Reasoning}
	for range rapid.IntRange(1, 4).Draw(t, "pieces") {
		candidate := rapid.SampledFrom([]int{0, 0, 0, 3}).Draw(t, "candidate")
		channel := rapid.SampledFrom(channels).Draw(t, "channel")
		for _, r := range rapid.SliceOfN(rapid.SampledFrom(letters), 1, 7).Draw(t, "text") {
			text := []byte(r)
			if rapid.IntRange(0, 30).Draw(t, "broken") == 0 {
				text = rapid.SampledFrom([][]byte{{0xE4}, {0xE4, 0xB8}, {0xFF}, {0xAD}, {0xF0, 0x9F}}).Draw(t, "bytes")
			}
			for _, b := range text {
				sc.bytes = append(sc.bytes, arrival{candidate, channel, b})
			}
		}
	}
	return sc
}

func property(t *rapid.T) {
	sc := drawScenario(t)
	cuts := rapid.SliceOfN(rapid.Bool(), len(sc.bytes), len(sc.bytes)).Draw(t, "cuts")
	open := func(e *policy.Effective) screen { return e.Screen() }
	if err := checkAll(t, sc, func(i int) bool { return cuts[i] }, open); err != nil {
		t.Fatalf("%v\n%s", err, sc)
	}
}

// TestScreen holds the Screen to the specification: what is released after every
// Write, what is held (exactly what has a witness), what is blocked, all
// verdicts, and that nothing leaks, for every chunking.
func TestScreen(t *testing.T) { rapid.Check(t, property) }

// TestUnaryEqualsStream: a text that is judged whole, on the way in, becomes
// what it would as a stream.
func TestUnaryEqualsStream(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sc := drawScenario(t)
		for i := range sc.bytes {
			sc.bytes[i].candidate, sc.bytes[i].channel = 0, policy.Content
		}
		whole := sc.pieces(func(int) bool { return false })[0].Text
		res := effectiveAt(t, policy.Input, sc.lines()).JudgeInput([]policy.InputText{{Text: whole}})
		s := effective(t, sc.lines()...).Screen()
		var out []policy.Piece
		for _, p := range sc.pieces(func(int) bool { return true }) {
			out = s.Write(out, p)
		}
		if got := texts(s.End(out, 0)); got != res.Texts[0] || s.Blocked(0) != res.Blocked || len(s.Verdicts()) != len(res.Verdicts) {
			t.Fatalf("stream %q, blocked %t; unary %q, %t\n%s", got, s.Blocked(0), res.Texts[0], res.Blocked, sc)
		}
		for i, v := range s.Verdicts() {
			if u := res.Verdicts[i]; u.Start != v.Start || u.End != v.End || u.Action != v.Action {
				t.Fatalf("stream %+v, unary %+v\n%s", v, u, sc)
			}
		}
	})
}

func FuzzScreen(f *testing.F) { f.Fuzz(rapid.MakeFuzz(property)) }
