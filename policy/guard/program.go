package guard

import (
	"fmt"
	"regexp/syntax"
	"unicode"
	"unicode/utf8"
)

// program is an expression as a nondeterministic automaton over runes. A thread
// waits either at a state, to consume a rune, or at a gate, for the next rune
// to tell whether a border is there.
//
// States that no text can lead from to a match are not in it, borders
// considered, so that a live thread always has a completion: what it holds back
// is minimal.
type program struct {
	states []state
	gates  []gate
	start  []edge // where a match may start; the border conditions need both sides
	first  [256]bool
	only   byte // the first byte of all matches, where there is but one
	one    bool
	// second are the bytes that can follow a first one of a match: where another
	// does, nothing has begun.
	second [256][4]uint64
}

// state consumes one rune.
type state struct {
	ascii [2]uint64 // the ASCII runes it takes
	inst  *syntax.Inst
	next  []edge
}

// edge leads, after a rune, to a state, a gate, or a match. What needs of the
// text before it must hold (a line begins here); all else waits at a gate.
type edge struct {
	need syntax.EmptyOp
	to   int32
	gate bool
}

// gate is open where the borders that it needs are there.
type gate struct {
	need syntax.EmptyOp
	to   int32
	live classes // of the rune before: whether anything can come of it
}

// accept is where a match is complete.
const accept = int32(-1)

// What a border depends on is only the class of the runes beside it.
type class uint8

const (
	edgeOfText class = iota // no rune at all
	newline
	wordRune
	otherRune
	classCount
)

type classes uint8

func (c classes) has(k class) bool { return c&(1<<k) != 0 }

// sample is a rune of each class, for syntax.EmptyOpContext.
var sample = [classCount]rune{-1, '\n', 'a', ' '}

func classOf(r rune) class {
	switch {
	case r < 0:
		return edgeOfText
	case r == '\n':
		return newline
	case syntax.IsWordChar(r):
		return wordRune
	}
	return otherRune
}

// beginnings are the borders that the text before them decides.
const beginnings = syntax.EmptyBeginLine | syntax.EmptyBeginText

// Bounds on what an expression may cost: states times starts are walked for
// every rune while something is live.
const (
	maxStates = 4000
	maxEdges  = 200_000
)

func compile(re *syntax.Regexp) (*program, error) {
	prog, err := syntax.Compile(re.Simplify())
	if err != nil {
		return nil, err
	}
	b := builder{prog: prog, number: make([]int32, len(prog.Inst))}
	for pc := range prog.Inst {
		switch prog.Inst[pc].Op {
		case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
			b.number[pc] = int32(len(b.pcs))
			b.pcs = append(b.pcs, pc)
		}
	}
	if len(b.pcs) > maxStates {
		return nil, fmt.Errorf("the expression needs %d states, more than %d: use smaller repetitions", len(b.pcs), maxStates)
	}
	b.follow = make([][]passage, len(b.pcs))
	total := 0
	for q, pc := range b.pcs {
		b.follow[q] = b.closure(int(prog.Inst[pc].Out))
		if total += len(b.follow[q]); total > maxEdges {
			return nil, fmt.Errorf("the expression needs more than %d transitions: use fewer alternatives inside a repetition", maxEdges)
		}
	}
	return b.program(), nil
}

// builder makes a program of the instructions of package syntax.
type builder struct {
	prog   *syntax.Prog
	pcs    []int   // of the states
	number []int32 // of the state at a pc
	follow [][]passage
	takes  []classes // the classes of runes that a state consumes
	live   []classes // consuming one of which can lead to a match
}

// passage is a way to a state or a match that is open where its needs hold.
type passage struct {
	need syntax.EmptyOp
	to   int32
}

// closure lists the ways from a pc to what consumes a rune or accepts.
func (b *builder) closure(pc int) []passage {
	type at struct {
		pc   int
		need syntax.EmptyOp
	}
	var (
		ways []passage
		seen = map[at]bool{}
		todo = []at{{pc, 0}}
	)
	for len(todo) > 0 {
		here := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[here] {
			continue
		}
		seen[here] = true
		switch in := &b.prog.Inst[here.pc]; in.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			todo = append(todo, at{int(in.Out), here.need}, at{int(in.Arg), here.need})
		case syntax.InstCapture, syntax.InstNop:
			todo = append(todo, at{int(in.Out), here.need})
		case syntax.InstEmptyWidth:
			todo = append(todo, at{int(in.Out), here.need | syntax.EmptyOp(in.Arg)})
		case syntax.InstMatch:
			ways = append(ways, passage{here.need, accept})
		case syntax.InstFail:
		default:
			ways = append(ways, passage{here.need, b.number[here.pc]})
		}
	}
	return ways
}

// program keeps what is live and splits each way by when it is decided.
func (b *builder) program() *program {
	b.liveness()
	p := &program{states: make([]state, len(b.pcs))}
	gates := map[passage]int32{}
	for q, pc := range b.pcs {
		st := &p.states[q]
		st.inst = &b.prog.Inst[pc]
		for r := range rune(utf8.RuneSelf) {
			if st.inst.MatchRune(r) {
				st.ascii[r>>6] |= 1 << (r & 63)
			}
		}
		for _, way := range b.follow[q] {
			if way.need&^beginnings == 0 {
				if way.to == accept || b.live[way.to] != 0 {
					st.next = append(st.next, edge{need: way.need, to: way.to})
				}
				continue
			}
			id, ok := gates[way]
			if !ok {
				id = int32(len(p.gates))
				gates[way] = id
				p.gates = append(p.gates, gate{need: way.need, to: way.to, live: b.before(way)})
			}
			if p.gates[id].live != 0 {
				st.next = append(st.next, edge{to: id, gate: true})
			}
		}
	}
	for _, way := range b.closure(b.prog.Start) {
		if way.to == accept || b.before(way) == 0 {
			continue
		}
		p.start = append(p.start, edge{need: way.need, to: way.to})
		b.markFirst(&p.first, &p.states[way.to])
		p.markSecond(&p.states[way.to])
	}
	n := 0
	for b, is := range p.first {
		if is {
			p.only = byte(b)
			n++
		}
	}
	p.one = n == 1
	return p
}

// markSecond marks what can follow the bytes that a first state takes. The
// second byte of a rune beyond ASCII can be any.
func (p *program) markSecond(st *state) {
	any := [4]uint64{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}
	var after [4]uint64
	for _, e := range st.next {
		if e.gate || e.to == accept {
			after = any
			break
		}
		next := &p.states[e.to]
		after[0] |= next.ascii[0]
		after[1] |= next.ascii[1]
		if beyondASCII(next.inst) {
			after[2], after[3] = any[2], any[3]
		}
	}
	for b := range p.second {
		switch {
		case b >= utf8.RuneSelf:
			p.second[b] = any
		case st.ascii[b>>6]&(1<<(b&63)) != 0:
			for i := range after {
				p.second[b][i] |= after[i]
			}
		}
	}
}

// liveness finds, for every state, the classes of runes after which a match is
// still possible: the least fixpoint of "it is complete, or a next rune exists
// that leads on".
func (b *builder) liveness() {
	b.takes = make([]classes, len(b.pcs))
	b.live = make([]classes, len(b.pcs))
	for q, pc := range b.pcs {
		b.takes[q] = classesOf(&b.prog.Inst[pc])
	}
	for changed := true; changed; {
		changed = false
		for q := len(b.pcs) - 1; q >= 0; q-- {
			for k := newline; k < classCount; k++ {
				if !b.takes[q].has(k) || b.live[q].has(k) {
					continue
				}
				for _, way := range b.follow[q] {
					if b.before(way).has(k) {
						b.live[q] |= 1 << k
						changed = true
						break
					}
				}
			}
		}
	}
}

// before returns the classes of the rune before a border for which the way can
// still come to a match.
func (b *builder) before(way passage) (out classes) {
	for prev := edgeOfText; prev < classCount; prev++ {
		for next := edgeOfText; next < classCount; next++ {
			if way.need&^syntax.EmptyOpContext(sample[prev], sample[next]) != 0 {
				continue
			}
			if way.to == accept || b.live[way.to].has(next) {
				out |= 1 << prev
			}
		}
	}
	return out
}

func classesOf(in *syntax.Inst) (out classes) {
	if in.MatchRune('\n') {
		out |= 1 << newline
	}
	for r := range rune(utf8.RuneSelf) {
		if in.MatchRune(r) && r != '\n' {
			out |= 1 << classOf(r)
		}
	}
	if beyondASCII(in) {
		out |= 1 << otherRune
	}
	return out
}

func beyondASCII(in *syntax.Inst) bool {
	found := false
	eachRange(in, func(_, hi rune) { found = found || hi >= utf8.RuneSelf })
	return found
}

// eachRange yields ranges of runes that hold all that an instruction takes; only
// that of any but a newline holds more.
func eachRange(in *syntax.Inst, f func(lo, hi rune)) {
	switch {
	case in.Op == syntax.InstRuneAny || in.Op == syntax.InstRuneAnyNotNL:
		f(0, unicode.MaxRune)
	case len(in.Rune) == 1:
		f(in.Rune[0], in.Rune[0])
		if syntax.Flags(in.Arg)&syntax.FoldCase != 0 {
			for r := unicode.SimpleFold(in.Rune[0]); r != in.Rune[0]; r = unicode.SimpleFold(r) {
				f(r, r)
			}
		}
	default:
		for i := 0; i+1 < len(in.Rune); i += 2 {
			f(in.Rune[i], in.Rune[i+1])
		}
	}
}

// markFirst marks the bytes that can begin a rune that the state takes.
func (b *builder) markFirst(first *[256]bool, st *state) {
	eachRange(st.inst, func(lo, hi rune) {
		for c := leadByte(lo); ; c++ {
			first[c] = true
			if c == leadByte(hi) {
				return
			}
		}
	})
}

func leadByte(r rune) byte {
	var buf [utf8.UTFMax]byte
	utf8.EncodeRune(buf[:], min(max(r, 0), unicode.MaxRune))
	return buf[0]
}

func (st *state) takes(r rune) bool {
	if r < utf8.RuneSelf {
		return st.ascii[r>>6]&(1<<(r&63)) != 0
	}
	return st.inst.MatchRune(r)
}
