package guard

import (
	"regexp/syntax"
	"strings"
	"unicode/utf8"

	"github.com/weir-gateway/weir/policy"
)

// patternStream runs the threads of an expression over the text of a channel.
// Of all threads at one state only the earliest start is kept: what they match
// from there on ends alike, so the others' matches are inside its own.
type patternStream struct {
	*pattern
	pos  int64
	prev rune // -1 at the beginning of the text
	run  int  // length of the run of the lead's class that ends here

	states, next   threads // waiting to consume a rune
	gates, waiting threads // waiting to know the next rune
}

// threads maps states (or gates) to starts: a sparse set, so that clearing and
// walking it costs what is live and not what the expression has.
type threads struct {
	ids    []int32
	start  []int64
	round  []uint32
	now    uint32
	oldest int64 // start of all in it
}

const never = int64(1<<63 - 1)

func newThreads(n int) threads {
	return threads{ids: make([]int32, 0, n), start: make([]int64, n), round: make([]uint32, n), now: 1, oldest: never}
}

func (t *threads) add(id int32, start int64) {
	t.oldest = min(t.oldest, start)
	if t.round[id] == t.now {
		t.start[id] = min(t.start[id], start)
		return
	}
	t.round[id], t.start[id] = t.now, start
	t.ids = append(t.ids, id)
}

func (t *threads) clear() {
	t.ids, t.oldest = t.ids[:0], never
	if t.now++; t.now == 0 {
		clear(t.round)
		t.now = 1
	}
}

func (t *threads) copy(from *threads) {
	t.clear()
	for _, id := range from.ids {
		t.add(id, from.start[id])
	}
}

func newPatternStream(p *pattern) *patternStream {
	states, gates := len(p.program.states), len(p.program.gates)
	return &patternStream{
		pattern: p, prev: -1,
		states: newThreads(states), next: newThreads(states),
		gates: newThreads(gates), waiting: newThreads(gates),
	}
}

func (s *patternStream) Scan(text string, found []policy.Span) []policy.Span {
	for i := 0; i < len(text); {
		if len(s.states.ids)+len(s.gates.ids) == 0 {
			n := s.idle(text[i:])
			if n > 0 {
				i += n
				s.pos += int64(n)
				s.prev, _ = utf8.DecodeLastRuneInString(text[:i])
			}
			if i == len(text) {
				break
			}
		}
		r, n := rune(text[i]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRuneInString(text[i:])
		}
		found = s.rune(r, n, found)
		i += n
	}
	return found
}

// idle is how many bytes pass while nothing is live and nothing starts, but for
// the run of the lead.
func (s *patternStream) idle(text string) int {
	first := &s.program.first
	if s.lead.most == 0 {
		for i := 0; i < len(text); i++ {
			if s.program.one { // nothing else is as fast
				n := strings.IndexByte(text[i:], s.program.only)
				if n < 0 {
					break
				}
				i += n
			}
			if first[text[i]] && s.begins(text[i:]) {
				return i
			}
		}
		return len(text)
	}
	run := s.run
	for i := range len(text) {
		b := text[i]
		if first[b] && run >= s.lead.least && s.begins(text[i:]) {
			s.run = run
			return i
		}
		if s.lead.class[b] {
			run++
		} else {
			run = 0
		}
	}
	s.run = run
	return len(text)
}

// begins tells whether a match can begin with a byte that is a first one, by the
// byte behind it, if that is here. Under a limit of one byte what has begun is a
// match at once.
func (s *patternStream) begins(text string) bool {
	if len(text) == 1 || s.limit == 1 {
		return true
	}
	return s.program.second[text[0]][text[1]>>6]&(1<<(text[1]&63)) != 0
}

// rune takes one rune of n bytes. It decides the matches that end before it and
// needed it, then those that end with it.
func (s *patternStream) rune(r rune, n int, found []policy.Span) []policy.Span {
	after := s.pos + int64(n)
	borders := syntax.EmptyOpContext(s.prev, r)
	if earliest := s.open(borders); earliest != never {
		found = append(found, s.span(earliest, s.pos, after))
	}
	s.begin(borders)

	s.next.clear()
	s.waiting.clear()
	own := syntax.EmptyOp(0)
	if r == '\n' {
		own = syntax.EmptyBeginLine
	}
	earliest := never
	for _, id := range s.states.ids {
		st := &s.program.states[id]
		if !st.takes(r) {
			continue
		}
		start := s.states.start[id]
		for _, e := range st.next {
			switch {
			case e.gate:
				if s.program.gates[e.to].live.has(classOf(r)) {
					s.waiting.add(e.to, start)
				}
			case e.need&^own != 0:
			case e.to == accept:
				earliest = min(earliest, start)
			default:
				s.next.add(e.to, start)
			}
		}
	}
	s.states, s.next = s.next, s.states
	s.gates, s.waiting = s.waiting, s.gates
	if s.lead.most > 0 {
		if r < utf8.RuneSelf && s.lead.class[r] {
			s.run++
		} else {
			s.run = 0
		}
	}
	// A stretch of the greatest length is a match as it stands, and grows.
	if oldest := min(s.states.oldest, s.gates.oldest); s.limit != 0 && oldest != never && after-oldest >= int64(s.limit) {
		earliest = min(earliest, oldest)
	}
	if earliest != never {
		found = append(found, s.span(earliest, after, after))
	}
	s.pos, s.prev = after, r
	return found
}

// span is a match, decided while the rune behind pos is read.
func (s *patternStream) span(start, end, at int64) policy.Span {
	grown := s.limit != 0 && s.pos-start >= int64(s.limit)
	return policy.Span{Start: start, End: end, At: at, Grown: grown}
}

// open moves the threads at gates on, now that the borders are known, and
// returns the earliest start of those that are matches, or never.
func (s *patternStream) open(borders syntax.EmptyOp) int64 {
	earliest := never
	for _, id := range s.gates.ids {
		g := &s.program.gates[id]
		switch {
		case g.need&^borders != 0:
		case g.to == accept:
			earliest = min(earliest, s.gates.start[id])
		default:
			s.states.add(g.to, s.gates.start[id])
		}
	}
	return earliest
}

// begin starts the matches that can start here: at this rune, or, with a lead,
// as far back as its run goes.
func (s *patternStream) begin(borders syntax.EmptyOp) {
	start := s.pos
	if s.lead.most > 0 {
		if s.run < s.lead.least {
			return
		}
		start -= int64(min(s.run, s.lead.most))
	}
	for _, e := range s.program.start {
		if e.need&^borders == 0 {
			s.states.add(e.to, start)
		}
	}
}

func (s *patternStream) Close(found []policy.Span) []policy.Span {
	if earliest := s.open(syntax.EmptyOpContext(s.prev, -1)); earliest != never {
		found = append(found, s.span(earliest, s.pos, s.pos))
	}
	s.states.clear()
	s.gates.clear()
	s.run = 0
	return found
}

func (s *patternStream) Live() int64 {
	live := min(s.states.oldest, s.gates.oldest, s.pos)
	if s.run > 0 {
		live = min(live, s.pos-int64(min(s.run, s.lead.most)))
	}
	return live
}

// Hold leaves out what is a match by its length already.
func (s *patternStream) Hold() int64 {
	hold := s.Live()
	if s.limit == 0 || s.pos-hold < int64(s.limit) {
		return hold
	}
	hold = s.pos
	for _, t := range []*threads{&s.states, &s.gates} {
		for _, id := range t.ids {
			if start := t.start[id]; s.pos-start < int64(s.limit) {
				hold = min(hold, start)
			}
		}
	}
	if s.run > 0 {
		hold = min(hold, s.pos-int64(min(s.run, s.lead.most)))
	}
	return hold
}

func (s *patternStream) Copy(from policy.Stream) {
	f := from.(*patternStream)
	s.pos, s.prev, s.run = f.pos, f.prev, f.run
	s.states.copy(&f.states)
	s.gates.copy(&f.gates)
}
