package guard

import (
	"fmt"
	"regexp/syntax"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/weir-gateway/weir/policy"
)

// An entity is something that an expression finds and a check confirms: a card
// number and its check digit. Every stretch that the expression matches is
// offered to the check, whatever others overlap it: a candidate that fails
// takes nothing away from one that begins inside it.
//
// How to write one: the expression has no borders (\b, ^, $) and a longest
// match; what may stand beside it is said by notAfter and notBefore, which are
// looked at first and cost nothing. The check sees the stretch alone.
type entity struct {
	kind policy.Kind
	expr string
	// notAfter are the neighbours on the left that a match cannot have, notBefore
	// those on the right. A match is decided when its right neighbour is known.
	notAfter, notBefore neighbours
	// valid confirms a stretch; nil takes all of them.
	valid func(match string) bool

	// score is how sure the finding is by itself, and contextScore where one of
	// the context words stands close before it; equal where they are. Context
	// behind a match would have to be waited for, so it does not count.
	score, contextScore float64
	context             []string // lower case
}

// neighbours is a set of what a rune beside a match can be.
type neighbours uint8

const (
	noRune neighbours = 1 << iota // the beginning or the end of the text
	digit
	letter // of ASCII: Chinese text has no word borders
	underline
	dash
	dot
	sign // + / = @ and the like, which join parts of encoded text
	otherNeighbour
)

func neighbourOf(r rune) neighbours {
	switch {
	case r < 0:
		return noRune
	case r >= '0' && r <= '9':
		return digit
	case r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z':
		return letter
	case r == '_':
		return underline
	case r == '-':
		return dash
	case r == '.':
		return dot
	case r == '+' || r == '/' || r == '=' || r == '@' || r == '~' || r == '%' || r == '$':
		return sign
	}
	return otherNeighbour
}

// contextWindow is how many bytes before a match are searched for its context.
const contextWindow = 64

// entities is a guard of many entities: one automaton reads the text for all of
// them. It is deterministic and made as texts ask for it, shared by all streams.
type entities struct {
	specs []entity
	at    []float64 // the score from which on each is a finding
	kinds []policy.Kind
	bound int

	// A rune is known by its class: two runes of one class are alike to every
	// expression.
	ascii   [utf8.RuneSelf]uint16
	borders []rune   // beyond ASCII, where the class changes: each the first rune of a stretch
	beyond  []uint16 // the class of each stretch
	sample  []rune   // a rune of each class
	first   [256]bool
	// pairs are the bytes that can follow one with which an entity begins: most
	// words are passed over by it.
	pairs [256][4]uint64

	states []entityState // of all expressions, one after the other
	root   [8]*dfaState  // by the left neighbour

	mu    sync.Mutex
	known map[string]*dfaState
}

// entityState is a state of one expression's automaton.
type entityState struct {
	spec int32
	*state
	base int32 // where its expression's states begin
}

// dfaState is a set of states that a stretch can be in.
type dfaState struct {
	members []int32
	accepts []int32 // the entities that the stretch is a match of
	next    []atomic.Pointer[dfaState]
}

// dead is where no entity can come of a stretch any more.
var dead = &dfaState{}

// maxKnown bounds the states that are remembered.
const maxKnown = 50_000

// newEntities makes a guard of entities; at is the score from which on each of
// them is a finding. It fails where an expression is not fit for it.
func newEntities(specs []entity, at []float64) (*entities, error) {
	e := &entities{specs: specs, at: at, known: map[string]*dfaState{}}
	var starts [][]int32
	for i, s := range specs {
		re, err := syntax.Parse(s.expr, syntax.Perl)
		if err != nil {
			return nil, fmt.Errorf("entity %s: %w", s.kind.Category, err)
		}
		least, most := lengths(re)
		if least == 0 || most == unbounded {
			return nil, fmt.Errorf("entity %s: its expression must match something and have a longest match", s.kind.Category)
		}
		p, err := compile(re)
		if err != nil {
			return nil, fmt.Errorf("entity %s: %w", s.kind.Category, err)
		}
		if len(p.gates) > 0 || p.hasBorders() {
			return nil, fmt.Errorf("entity %s: its expression has borders: say them as neighbours", s.kind.Category)
		}
		e.bound = max(e.bound, most)
		e.kinds = append(e.kinds, s.kind)
		base := int32(len(e.states))
		for q := range p.states {
			e.states = append(e.states, entityState{int32(i), &p.states[q], base})
		}
		var from []int32
		for _, edge := range p.start {
			from = append(from, base+edge.to)
		}
		starts = append(starts, from)
		for b := range p.first {
			e.first[b] = e.first[b] || p.first[b]
		}
	}
	e.classify()
	for _, from := range starts {
		for _, q := range from {
			e.markPairs(&e.states[q])
		}
	}
	for n := range e.root {
		var members []int32
		for i, s := range specs {
			if s.notAfter&(1<<n) == 0 {
				members = append(members, starts[i]...)
			}
		}
		e.root[n] = e.state(members, nil)
	}
	return e, nil
}

// markPairs notes which bytes can follow each byte that a first state takes.
func (e *entities) markPairs(s *entityState) {
	var after [4]uint64
	for _, edge := range s.state.next {
		if edge.to == accept {
			after = [4]uint64{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}
			break
		}
		next := &e.states[s.base+edge.to]
		after[0] |= next.ascii[0]
		after[1] |= next.ascii[1]
		if beyondASCII(next.inst) {
			after[2], after[3] = ^uint64(0), ^uint64(0)
		}
	}
	for b := range 256 {
		if b >= utf8.RuneSelf || s.ascii[b>>6]&(1<<(b&63)) != 0 {
			for i := range after {
				if b >= utf8.RuneSelf { // the second byte is of the same rune
					after[i] = ^uint64(0)
				}
				e.pairs[b][i] |= after[i]
			}
		}
	}
}

// begins tells whether an entity can begin with these bytes.
func (e *entities) begins(text string) bool {
	if !e.first[text[0]] {
		return false
	}
	return len(text) == 1 || e.pairs[text[0]][text[1]>>6]&(1<<(text[1]&63)) != 0
}

// hasBorders tells whether a match depends on what stands beside its beginning.
func (p *program) hasBorders() bool {
	for _, edge := range p.start {
		if edge.need != 0 {
			return true
		}
	}
	for _, s := range p.states {
		for _, edge := range s.next {
			if edge.need != 0 {
				return true
			}
		}
	}
	return false
}

// classify finds the classes of runes.
func (e *entities) classify() {
	cuts := []rune{0, utf8.RuneSelf}
	for _, s := range e.states {
		eachRange(s.inst, func(lo, hi rune) { cuts = append(cuts, lo, hi+1) })
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	// Runes between two cuts are alike; ASCII ones that are alike share a class
	// wherever they stand, since most expressions tell few of them apart.
	alike := map[string]uint16{}
	for _, lo := range cuts {
		signature := make([]byte, len(e.states))
		for i, s := range e.states {
			if s.takes(lo) {
				signature[i] = 1
			}
		}
		id, ok := alike[string(signature)]
		if !ok {
			id = uint16(len(e.sample))
			alike[string(signature)] = id
			e.sample = append(e.sample, lo)
		}
		if lo >= utf8.RuneSelf {
			e.borders = append(e.borders, lo)
			e.beyond = append(e.beyond, id)
		}
		for r := lo; r < utf8.RuneSelf && (r == lo || !slices.Contains(cuts, r)); r++ {
			e.ascii[r] = id
		}
	}
}

func (e *entities) class(r rune) uint16 {
	if r < utf8.RuneSelf {
		return e.ascii[r]
	}
	i := sort.Search(len(e.borders), func(i int) bool { return e.borders[i] > r })
	return e.beyond[i-1]
}

// state returns the state of a set, which is made once.
func (e *entities) state(members, accepts []int32) *dfaState {
	if len(members) == 0 && len(accepts) == 0 {
		return dead
	}
	slices.Sort(members)
	members = slices.Compact(members)
	slices.Sort(accepts)
	accepts = slices.Compact(accepts)
	key := fmt.Sprint(members, accepts)
	if s, ok := e.known[key]; ok {
		return s
	}
	s := &dfaState{members: members, accepts: accepts, next: make([]atomic.Pointer[dfaState], len(e.sample))}
	if len(e.known) < maxKnown {
		e.known[key] = s
	}
	return s
}

// step is where a stretch is after one more rune.
func (e *entities) step(from *dfaState, class uint16) *dfaState {
	if to := from.next[class].Load(); to != nil {
		return to
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	r := e.sample[class]
	var members, accepts []int32
	for _, m := range from.members {
		s := &e.states[m]
		if !s.takes(r) {
			continue
		}
		for _, edge := range s.state.next {
			if edge.to == accept {
				accepts = append(accepts, s.spec)
			} else {
				members = append(members, s.base+edge.to)
			}
		}
	}
	to := e.state(members, accepts)
	if len(e.known) < maxKnown { // else a text made for it could fill the memory
		from.next[class].Store(to)
	}
	return to
}

// Kinds are those of the entities, in their order.
func (e *entities) Kinds() []policy.Kind { return e.kinds }

// Bound is the longest match: it waits for its right neighbour.
func (e *entities) Bound() (int, bool) { return e.bound, true }

// Open starts a channel.
func (e *entities) Open() policy.Stream { return &entityStream{entities: e, prev: -1} }

// entityStream keeps every stretch that can still become an entity.
type entityStream struct {
	*entities
	pos  int64
	prev rune

	live    []stretch   // by start
	matched []candidate // end at pos and wait for the neighbour
	tail    []byte      // the text before pos, as far back as anything asks for
}

type stretch struct {
	start int64
	state *dfaState
}

type candidate struct {
	start int64
	spec  int32
}

// Scan implements policy.Stream.
func (s *entityStream) Scan(text string, found []policy.Span) []policy.Span {
	base := s.pos
	for i := 0; i < len(text); {
		if len(s.live) == 0 && len(s.matched) == 0 {
			n := i
			for n < len(text) && !s.begins(text[n:]) {
				n++
			}
			if n > i {
				s.prev, _ = utf8.DecodeLastRuneInString(text[:n])
				s.pos += int64(n - i)
				i = n
			}
			if i == len(text) {
				break
			}
		}
		r, n := rune(text[i]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRuneInString(text[i:])
		}
		after := s.pos + int64(n)
		if len(s.matched) > 0 {
			found = s.decide(neighbourOf(r), after, base, text, found)
		}
		s.advance(r, text[i:], after)
		s.pos, s.prev = after, r
		i += n
	}
	s.remember(text)
	return found
}

// advance reads one rune: stretches go on, end, or begin with it.
func (s *entityStream) advance(r rune, rest string, after int64) {
	class := s.class(r)
	kept := s.live[:0]
	for _, l := range s.live {
		if l.state = s.step(l.state, class); l.state != dead {
			kept = s.keep(kept, l)
		}
	}
	if s.begins(rest) {
		root := s.root[neighbourIndex(neighbourOf(s.prev))]
		if root != dead {
			if to := s.step(root, class); to != dead {
				kept = s.keep(kept, stretch{s.pos, to})
			}
		}
	}
	s.live = kept
}

// keep notes what a stretch is a match of, and the stretch if it can go on.
func (s *entityStream) keep(kept []stretch, l stretch) []stretch {
	for _, spec := range l.state.accepts {
		s.matched = append(s.matched, candidate{l.start, spec})
	}
	if len(l.state.members) > 0 {
		kept = append(kept, l)
	}
	return kept
}

func neighbourIndex(n neighbours) int {
	i := 0
	for n > 1 {
		n >>= 1
		i++
	}
	return i
}

// decide looks at the matches that end at pos, now that their neighbour is
// known.
func (s *entityStream) decide(next neighbours, at, base int64, text string, found []policy.Span) []policy.Span {
	before := len(found)
	for i, c := range s.matched {
		spec := &s.specs[c.spec]
		if spec.notBefore&next != 0 {
			continue
		}
		score, ok := s.judge(spec, c.start, base, text)
		if !ok || score < s.at[c.spec] {
			continue
		}
		span := policy.Span{Start: c.start, End: s.pos, At: at, Kind: int(c.spec), Score: score}
		// Of two entities at one place the surer one is reported, then the first.
		if n := len(found); i > 0 && n > before && found[n-1].Start == span.Start && found[n-1].End == span.End {
			if found[n-1].Score < score {
				found[n-1] = span
			}
			continue
		}
		found = append(found, span)
	}
	s.matched = s.matched[:0]
	return found
}

func (s *entityStream) judge(spec *entity, start, base int64, text string) (score float64, ok bool) {
	if spec.valid != nil && !spec.valid(s.between(start, s.pos, base, text)) {
		return 0, false
	}
	if len(spec.context) == 0 || spec.contextScore <= spec.score {
		return spec.score, true
	}
	before := strings.ToLower(s.between(max(0, start-contextWindow), start, base, text))
	for _, word := range spec.context {
		if hasWord(before, word) {
			return spec.contextScore, true
		}
	}
	return spec.score, true
}

// hasWord tells whether a text has a word as a word of its own: "tel" is none
// of "hotel". Chinese words have no borders.
func hasWord(text, word string) bool {
	isLetter := func(b byte) bool { return 'a' <= b && b <= 'z' }
	for from := 0; ; {
		i := strings.Index(text[from:], word)
		if i < 0 {
			return false
		}
		start, end := from+i, from+i+len(word)
		joinedLeft := start > 0 && isLetter(text[start-1]) && isLetter(word[0])
		joinedRight := end < len(text) && isLetter(text[end]) && isLetter(word[len(word)-1])
		if !joinedLeft && !joinedRight {
			return true
		}
		from = start + 1
	}
}

// between is a stretch of the text, some of which may lie before the present
// Scan.
func (s *entityStream) between(start, end, base int64, text string) string {
	if start >= base {
		return text[start-base : end-base]
	}
	from := max(0, int64(len(s.tail))-(base-start))
	if end <= base {
		return string(s.tail[from : int64(len(s.tail))-(base-end)])
	}
	return string(s.tail[from:]) + text[:end-base]
}

// remember keeps the end of the text for what begins in it.
func (s *entityStream) remember(text string) {
	need := s.bound + contextWindow
	if len(text) >= need {
		s.tail = append(s.tail[:0], text[len(text)-need:]...)
		return
	}
	if over := len(s.tail) + len(text) - need; over > need { // seldom, for it moves
		s.tail = append(s.tail[:0], s.tail[over:]...)
	}
	s.tail = append(s.tail, text...)
}

// Close implements policy.Stream.
func (s *entityStream) Close(found []policy.Span) []policy.Span {
	if len(s.matched) > 0 {
		found = s.decide(noRune, s.pos, s.pos, "", found)
	}
	s.live, s.matched = s.live[:0], s.matched[:0]
	return found
}

// Hold implements policy.Stream.
func (s *entityStream) Hold() int64 { return s.Live() }

// Live implements policy.Stream.
func (s *entityStream) Live() int64 {
	oldest := s.pos
	if len(s.live) > 0 {
		oldest = s.live[0].start
	}
	for _, c := range s.matched {
		oldest = min(oldest, c.start)
	}
	return oldest
}

// Copy implements policy.Stream.
func (s *entityStream) Copy(from policy.Stream) {
	f := from.(*entityStream)
	s.pos, s.prev = f.pos, f.prev
	s.live = append(s.live[:0], f.live...)
	s.matched = append(s.matched[:0], f.matched...)
	s.tail = append(s.tail[:0], f.tail...)
}
