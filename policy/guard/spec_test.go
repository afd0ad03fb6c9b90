package guard_test

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/weir-gateway/weir/policy"
)

// This file is the specification that the Screen is held to: brute force over
// whole texts, written from the design and not from the code. It knows nothing
// of automata, watermarks kept on the way, or chunks.

// specRule is a rule as the specification sees it.
type specRule struct {
	yaml        string
	action      policy.Action
	placeholder string
	matches     func(text string, ended bool) [][2]int // decided stretches of the text so far
	live        func(text string) []int                // starts of what may still come or grow
	ends        func(text string) map[int][]string     // of an expression: how each of them may end
	limit       int                                    // of max_length; 0 is none
	toolArgs    bool                                   // tool_args: redact
}

func (r specRule) enforcing() bool { return r.action >= policy.Redact }

// ---- terms

func lowest(r rune) rune {
	least := unicode.ToLower(r)
	for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
		least = min(least, unicode.ToLower(f))
	}
	return least
}

func sameRune(a, b rune, exact bool) bool {
	return a == b || !exact && lowest(a) == lowest(b)
}

func wordy(r rune) bool {
	return r == '_' || '0' <= r && r <= '9' || 0x300 <= r && r <= 0x36F || unicode.In(r, unicode.Latin, unicode.Greek, unicode.Cyrillic)
}

// consume matches a term against text and returns the bytes it took, and
// whether that was all of the term.
func consume(term, text string, exact bool) (int, bool, bool) {
	n := 0
	for _, want := range term {
		if n == len(text) {
			return n, false, true // the text ends first
		}
		r, size := utf8.DecodeRuneInString(text[n:])
		if !sameRune(want, r, exact) {
			return 0, false, false
		}
		n += size
	}
	return n, true, true
}

func termRule(terms []string, exact, whole bool) specRule {
	startOK := func(text string, s int, term string) bool {
		first, _ := utf8.DecodeRuneInString(term)
		before, size := utf8.DecodeLastRuneInString(text[:s])
		return !whole || size == 0 || !wordy(first) || !wordy(before)
	}
	needsEnd := func(term string) bool {
		last, _ := utf8.DecodeLastRuneInString(term)
		return whole && wordy(last)
	}
	var r specRule
	r.matches = func(text string, ended bool) (out [][2]int) {
		for s := range text {
			for _, term := range terms {
				n, all, _ := consume(term, text[s:], exact)
				if !all || !startOK(text, s, term) {
					continue
				}
				if needsEnd(term) {
					if s+n == len(text) && !ended {
						continue
					}
					if after, size := utf8.DecodeRuneInString(text[s+n:]); size > 0 && wordy(after) {
						continue
					}
				}
				out = append(out, [2]int{s, s + n})
			}
		}
		return out
	}
	r.live = func(text string) (out []int) {
		for s := range text {
			for _, term := range terms {
				n, all, fits := consume(term, text[s:], exact)
				if fits && startOK(text, s, term) && s+n == len(text) && (!all || needsEnd(term)) {
					out = append(out, s)
				}
			}
		}
		return out
	}
	r.yaml = fmt.Sprintf("guard: lexicon, views: [raw], terms: %s, case: %s, whole_word: %t",
		quoted(terms), map[bool]string{true: "exact", false: "fold"}[exact], whole)
	return r
}

func quoted(terms []string) string {
	out := make([]string, len(terms))
	for i, t := range terms {
		out[i] = fmt.Sprintf("%q", t)
	}
	return "[" + strings.Join(out, ", ") + "]"
}

// ---- expressions

// expression finds every stretch that Go's regexp matches when it is held to
// exactly that stretch, borders seen in their place.
type expression struct {
	expr  string
	exact map[[2]int]*regexp.Regexp
	known map[string][][2]int
}

func newExpression(expr string) *expression {
	return &expression{expr: expr, exact: map[[2]int]*regexp.Regexp{}, known: map[string][][2]int{}}
}

func (x *expression) all(text string) [][2]int {
	if found, ok := x.known[text]; ok {
		return found
	}
	var out [][2]int
	runes := utf8.RuneCountInString(text)
	offsets := make([]int, 0, runes+1)
	for i := range text {
		offsets = append(offsets, i)
	}
	offsets = append(offsets, len(text))
	for s := 0; s < runes; s++ {
		for e := s + 1; e <= runes; e++ {
			key := [2]int{s, runes - e}
			re := x.exact[key]
			if re == nil {
				re = regexp.MustCompile(fmt.Sprintf(`\A(?s:.{%d})(?:%s)(?s:.{%d})\z`, s, x.expr, runes-e))
				x.exact[key] = re
			}
			if re.MatchString(text) {
				out = append(out, [2]int{offsets[s], offsets[e]})
			}
		}
	}
	if len(x.known) > 50_000 {
		clear(x.known)
	}
	x.known[text] = out
	return out
}

// patternRule: completions are ends of matches, enough of them that whatever can
// become a match becomes one with some of them.
func patternRule(expr string, limit int, completions ...string) specRule {
	x := newExpression(expr)
	nexts := []string{"\n", "a", " "}
	decidedAtEnd := func(text string, m [2]int) bool {
		for _, n := range nexts {
			if !slices.Contains(x.all(text+n), m) {
				return false
			}
		}
		return slices.Contains(x.all(text), m)
	}
	var r specRule
	r.limit = limit
	r.matches = func(text string, ended bool) (out [][2]int) {
		for _, m := range x.all(text) {
			if m[1] < len(text) || ended || decidedAtEnd(text, m) {
				out = append(out, m)
			}
		}
		return out
	}
	r.ends = func(text string) map[int][]string {
		out := map[int][]string{}
		note := func(m [2]int, next string) {
			if m[0] < len(text) && m[1] >= len(text) {
				out[m[0]] = append(out[m[0]], fmt.Sprintf("%q %d", next, m[1]))
			}
		}
		for _, w := range completions {
			for _, m := range x.all(text + w) {
				if m[1] > len(text) {
					note(m, w)
				}
			}
		}
		for _, n := range append(nexts, "") { // complete, but for a border
			for _, m := range x.all(text + n) {
				if m[1] == len(text) && !decidedAtEnd(text, m) {
					note(m, n)
				}
			}
		}
		return out
	}
	r.live = func(text string) []int { return slices.Collect(maps.Keys(r.ends(text))) }
	r.yaml = fmt.Sprintf("guard: pattern, expr: %q", expr)
	if limit > 0 {
		r.yaml += fmt.Sprintf(", max_length: %d", limit)
	}
	return r
}

// ---- candidates

// event is one rune that arrived on a channel.
type event struct {
	channel policy.Channel
	text    string
	after   int // how many bytes of the scenario had arrived
}

// spec is what must be visible of one candidate when k events have arrived.
type specState struct {
	out      []policy.Piece // merged; everything released so far
	held     int
	verdicts []policy.Verdict // only Rule, Action, Channel, Start, End are set
	blocked  bool
}

type candidateSpec struct {
	rules  []specRule
	events []event
}

func (c *candidateSpec) text(ch policy.Channel, k int) string {
	var b strings.Builder
	for _, e := range c.events[:k] {
		if e.channel == ch {
			b.WriteString(e.text)
		}
	}
	return b.String()
}

func (c *candidateSpec) channels(k int) (out []policy.Channel) {
	for _, e := range c.events[:k] {
		if !slices.Contains(out, e.channel) {
			out = append(out, e.channel)
		}
	}
	return out
}

// global is the place of a byte of a channel in the order of arrival.
func (c *candidateSpec) global(ch policy.Channel, offset int) int {
	at, seen := 0, 0
	for _, e := range c.events {
		if e.channel == ch {
			if offset < seen+len(e.text) {
				return at + offset - seen
			}
			seen += len(e.text)
		}
		at += len(e.text)
	}
	return at
}

// stretch is a match as it stands in the source. What is replaced or cut off
// because of it is wider where it is in a number of JSON.
type stretch struct {
	start, end int
	decided    int // the end that counts when placeholders are chosen
	from, to   int
	form       specForm
}

// decided are the matches of a rule on a channel, k events known.
func (c *candidateSpec) decided(i int, ch policy.Channel, k int, ended bool) (out []stretch) {
	r := c.rules[i]
	tokens, _ := c.tokens(ch, k, ended)
	for _, t := range tokens {
		all := r.matches(t.content, t.closed)
		for n := range t.content + "." { // whatever was long enough once
			if r.limit == 0 || n == 0 {
				continue
			}
			for _, s := range r.live(t.content[:n]) {
				if n-s >= r.limit {
					all = append(all, [2]int{s, n})
				}
			}
		}
		for _, m := range all {
			s := stretch{start: t.starts[m[0]], end: t.ends[m[1]-1], decided: t.ends[whenDecided(m, all, r.limit)-1], form: t.form}
			if s.from, s.to = s.start, s.end; t.form == formScalar {
				s.from, s.to = t.start, t.end
			}
			out = append(out, s)
		}
	}
	return out
}

// watermark is the place of the first byte that is not decided.
func (c *candidateSpec) watermark(k int) int {
	mark := 0
	for _, e := range c.events[:k] {
		mark += len(e.text)
	}
	for _, ch := range c.channels(k) {
		tokens, whole := c.tokens(ch, k, false)
		for _, r := range c.rules {
			if !r.enforcing() {
				continue
			}
			if whole < len(c.text(ch, k)) {
				mark = min(mark, c.global(ch, whole))
			}
			for _, t := range tokens {
				if t.closed {
					continue
				}
				for _, s := range holding(r, t.content) {
					mark = min(mark, c.global(ch, t.starts[s]))
				}
			}
		}
	}
	return mark
}

// holding are the live starts that hold text back. Under max_length these are
// not the ones that are a match by their length already, nor those that can
// only end where one of these ends too.
func holding(r specRule, text string) (out []int) {
	if r.limit == 0 {
		return r.live(text)
	}
	ends := r.ends(text)
	var going []string
	for s, how := range ends {
		if len(text)-s >= r.limit {
			going = append(going, how...)
		}
	}
	for s, how := range ends {
		inside := !slices.ContainsFunc(how, func(end string) bool { return !slices.Contains(going, end) })
		if len(text)-s < r.limit && !inside {
			out = append(out, s)
		}
	}
	return out
}

// whenDecided is the length that counts when placeholders are chosen: under
// max_length, what a match had when it first was that long.
func whenDecided(m [2]int, all [][2]int, limit int) int {
	end := m[1]
	for _, o := range all {
		if limit > 0 && o[0] == m[0] && o[1]-o[0] >= limit {
			end = min(end, o[1])
		}
	}
	return end
}

// render is the text before a place, with placeholders.
func (c *candidateSpec) render(k, before int, ended bool) (out []policy.Piece) {
	type span struct {
		stretch
		rule int
	}
	spans := map[policy.Channel][]span{}
	for _, ch := range c.channels(k) {
		var all []span
		for i, r := range c.rules {
			if r.on(ch) == policy.Redact {
				for _, m := range c.decided(i, ch, k, ended) {
					all = append(all, span{m, i})
				}
			}
		}
		slices.SortFunc(all, func(a, b span) int {
			return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(b.decided, a.decided), cmp.Compare(a.rule, b.rule))
		})
		spans[ch] = all
	}
	write := func(ch policy.Channel, text string) {
		if n := len(out); n > 0 && out[n-1].Channel == ch {
			out[n-1].Text += text
		} else if text != "" {
			out = append(out, policy.Piece{Channel: ch, Text: text})
		}
	}
	covered := map[policy.Channel]int{}
	seen := map[policy.Channel]int{}
	at := 0
	for _, e := range c.events[:k] {
		for b := range len(e.text) {
			offset := seen[e.channel] + b
			if at+b >= before {
				return out
			}
			for _, s := range spans[e.channel] {
				if s.from != offset {
					continue
				}
				if offset >= covered[e.channel] {
					write(e.channel, written(c.rules[s.rule].placeholder, s.form))
				}
				covered[e.channel] = max(covered[e.channel], s.to)
			}
			if offset >= covered[e.channel] {
				write(e.channel, e.text[b:b+1])
			}
		}
		seen[e.channel] += len(e.text)
		at += len(e.text)
	}
	return out
}

// findings are the maximal matches of the rules that do not block.
func (c *candidateSpec) findings(k int, ended bool) (out []policy.Verdict) {
	for _, ch := range c.channels(k) {
		for i, r := range c.rules {
			if r.on(ch) == policy.Block {
				continue
			}
			var all [][2]int
			for _, m := range c.decided(i, ch, k, ended) {
				all = append(all, [2]int{m.start, m.end})
			}
			slices.SortFunc(all, func(a, b [2]int) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) })
			for _, m := range slices.Compact(all) {
				inside := slices.ContainsFunc(all, func(o [2]int) bool { return o != m && o[0] <= m[0] && m[1] <= o[1] })
				if !inside {
					out = append(out, verdict(i, r.on(ch), ch, m))
				}
			}
		}
	}
	return out
}

func verdict(rule int, action policy.Action, ch policy.Channel, m [2]int) policy.Verdict {
	return policy.Verdict{
		Rule: fmt.Sprintf("output[%d]", rule), Action: action, Channel: ch, Start: int64(m[0]), End: int64(m[1]),
	}
}

// run returns the state after 0, 1, … all events, and after the end.
func (c *candidateSpec) run() []specState {
	states := []specState{{}}
	before := map[string]bool{} // block matches that were decided earlier
	for k := 1; k <= len(c.events)+1; k++ {
		n, ended := min(k, len(c.events)), k > len(c.events)
		var best struct {
			place, start, rule, end int
			verdict                 policy.Verdict
		}
		best.place = math.MaxInt
		for _, ch := range c.channels(n) {
			for i, r := range c.rules {
				if r.on(ch) != policy.Block {
					continue
				}
				for _, m := range c.decided(i, ch, n, ended) {
					key := fmt.Sprint(ch, i, m.start, m.end)
					if before[key] {
						continue
					}
					before[key] = true
					place, start := c.global(ch, m.from), c.global(ch, m.start)
					if cmp.Or(cmp.Compare(place, best.place), cmp.Compare(start, best.start), cmp.Compare(i, best.rule), cmp.Compare(best.end, m.end)) < 0 {
						best.place, best.start, best.rule, best.end = place, start, i, m.end
						best.verdict = verdict(i, r.on(ch), ch, [2]int{m.start, m.end})
					}
				}
			}
		}
		mark := c.watermark(n)
		if ended {
			mark = math.MaxInt
		}
		if best.place != math.MaxInt {
			final := specState{
				out: c.render(n, min(best.place, mark), ended), blocked: true,
				verdicts: append(c.findings(n, ended), best.verdict),
			}
			for len(states) < len(c.events)+2 {
				states = append(states, final)
			}
			return states
		}
		st := specState{out: c.render(n, mark, ended)}
		if ended {
			st.verdicts = c.findings(n, true)
		} else {
			for _, e := range c.events[:n] {
				st.held += len(e.text)
			}
			st.held -= mark
		}
		states = append(states, st)
	}
	return states
}
