package bpe

import (
	"errors"
	"fmt"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A pattern is the regular expression by which a tokenizer cuts text into the
// pieces that it merges bytes in, as a deterministic automaton. The matches are
// those of a backtracking engine: leftmost, and of several the one that comes
// first in the expression. That is the construction of the Go project's and
// RE2's automata (Russ Cox, "Regular Expression Matching in the Wild", 2010),
// with one addition: what is behind the end of a match may be asked for, one
// rune deep, which is all that the look-aheads of tokenizers do.
//
// It is immutable and safe for concurrent use.
type pattern struct {
	ascii [utf8.RuneSelf]uint8
	pages [(unicode.MaxRune + 1) >> 8]uint16
	page  [][256]uint8
	// next holds, by state and class, the next state and what the step tells.
	// The last class is the end of the text.
	next  []uint32
	width int
}

// What a step tells, in the low bits of pattern.next.
const (
	matched  = 1 << iota // a match ends before the rune
	unknown              // the rune is in no category of our Unicode tables
	stepBits = 2
)

const (
	deadState  = 0
	firstState = 1
	// maxStates is far above what the expressions of tokenizers need (30 to 60).
	maxStates = 4096
)

// notBeforeText stands for (?!\S) in the expression that the syntax package
// reads. It is no character.
const notBeforeText = unicode.MaxRune

// spaces is \s of the engines that tokenizers use, Unicode's White_Space, as
// the inside of a class. That of Go has ASCII only.
const spaces = `\t-\r \x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}`

// assigned is what the Unicode tables of the Go version know.
var assigned = []*unicode.RangeTable{unicode.L, unicode.M, unicode.N, unicode.P, unicode.S, unicode.Z, unicode.Cc, unicode.Cf, unicode.Co}

// compile makes the automaton of an expression. It fails on what it cannot do
// exactly.
func compile(expression string) (*pattern, error) {
	text, err := rewrite(expression)
	if err != nil {
		return nil, err
	}
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("expression %q: %w", expression, err)
	}
	program, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return nil, fmt.Errorf("expression %q: %w", expression, err)
	}
	b := builder{program: program, states: map[string]uint32{}}
	p := &pattern{}
	b.classify(p)
	if err := b.build(p); err != nil {
		return nil, fmt.Errorf("expression %q: %w", expression, err)
	}
	return p, nil
}

// rewrite puts an expression in the words of the syntax package.
func rewrite(expression string) (string, error) {
	var out strings.Builder
	class := false
	for s := expression; s != ""; {
		switch {
		case strings.HasPrefix(s, `\s`) && class:
			out.WriteString(spaces)
			s = s[2:]
		case strings.HasPrefix(s, `\s`):
			out.WriteString("[" + spaces + "]")
			s = s[2:]
		case strings.HasPrefix(s, `\S`) && !class:
			out.WriteString("[^" + spaces + "]")
			s = s[2:]
		case strings.HasPrefix(s, `(?!\S)`) && !class:
			out.WriteRune(notBeforeText)
			s = s[len(`(?!\S)`):]
		case len(s) > 1 && s[0] == '\\':
			if strings.IndexByte(`dDwWbBA`, s[1]) >= 0 || s[1] == 'S' { // ASCII here and Unicode there
				return "", fmt.Errorf("expression %q has %s, which is not supported", expression, s[:2])
			}
			out.WriteString(s[:2])
			s = s[2:]
		case (s[0] == '$' || s[0] == '^') && !class: // line or text: engines differ
			return "", fmt.Errorf("expression %q has %c, which is not supported", expression, s[0])
		default:
			class = s[0] == '[' || class && s[0] != ']'
			out.WriteByte(s[0])
			s = s[1:]
		}
	}
	return out.String(), nil
}

// class returns the class of the first rune of b, and the length of the rune.
func (p *pattern) class(b []byte) (class uint8, size int) {
	if b[0] < utf8.RuneSelf {
		return p.ascii[b[0]], 1
	}
	r, size := utf8.DecodeRune(b)
	return p.page[p.pages[r>>8]][r&0xFF], size
}

// builder makes an automaton from a program.
type builder struct {
	program *syntax.Prog
	sample  []rune // one rune of each class; the end of the text has none
	states  map[string]uint32
	queue   [][]uint32
}

// classify finds the classes of runes that no instruction tells apart.
func (b *builder) classify(p *pattern) {
	borders := []rune{0, unicode.MaxRune + 1}
	add := func(lo, hi rune) { borders = append(borders, lo, hi+1) }
	tables := append([]*unicode.RangeTable{unicode.White_Space}, assigned...)
	for _, t := range tables {
		for _, r := range t.R16 {
			for c := rune(r.Lo); c <= rune(r.Hi); c += rune(r.Stride) {
				if r.Stride == 1 {
					add(rune(r.Lo), rune(r.Hi))
					break
				}
				add(c, c)
			}
		}
		for _, r := range t.R32 {
			for c := rune(r.Lo); c <= rune(r.Hi); c += rune(r.Stride) {
				if r.Stride == 1 {
					add(rune(r.Lo), rune(r.Hi))
					break
				}
				add(c, c)
			}
		}
	}
	var runes []*syntax.Inst
	for i := range b.program.Inst {
		inst := &b.program.Inst[i]
		switch inst.Op {
		case syntax.InstRune, syntax.InstRune1:
			runes = append(runes, inst)
			for j := 0; j+1 < len(inst.Rune); j += 2 {
				add(inst.Rune[j], inst.Rune[j+1])
			}
			if len(inst.Rune) == 1 {
				for r := inst.Rune[0]; ; {
					add(r, r)
					if r = unicode.SimpleFold(r); r == inst.Rune[0] {
						break
					}
				}
			}
		case syntax.InstRuneAnyNotNL:
			runes = append(runes, inst)
			add('\n', '\n')
		}
	}
	slices.Sort(borders)
	borders = slices.Compact(borders)

	classes := map[string]uint8{}
	var all [unicode.MaxRune + 1]uint8
	for i := range len(borders) - 1 {
		r := borders[i]
		key := make([]byte, 0, len(runes)+2)
		key = append(key, flag(unicode.IsSpace(r)), flag(unicode.In(r, assigned...)))
		for _, inst := range runes {
			key = append(key, flag(inst.MatchRune(r)))
		}
		class, known := classes[string(key)]
		if !known {
			class = uint8(len(b.sample))
			classes[string(key)] = class
			b.sample = append(b.sample, r)
		}
		for ; r < borders[i+1]; r++ {
			all[r] = class
		}
	}
	copy(p.ascii[:], all[:])
	seen := map[[256]uint8]uint16{}
	for i := range p.pages {
		page := [256]uint8(all[i<<8:])
		at, known := seen[page]
		if !known {
			at = uint16(len(p.page))
			seen[page] = at
			p.page = append(p.page, page)
		}
		p.pages[i] = at
	}
}

func flag(set bool) byte {
	if set {
		return 1
	}
	return 0
}

func (b *builder) build(p *pattern) error {
	if len(b.sample) > 255 {
		return errors.New("it tells too many kinds of runes apart")
	}
	p.width = len(b.sample) + 1
	b.state(nil)
	var first []uint32
	b.follow(&first, make(map[uint32]bool), uint32(b.program.Start), nil)
	b.state(first)
	for i := 0; i < len(b.queue); i++ {
		for class := range p.width {
			var r *rune
			var step uint32
			if class < len(b.sample) {
				if r = &b.sample[class]; !unicode.In(*r, assigned...) {
					step |= unknown
				}
			}
			threads, match := b.step(b.queue[i], r)
			if match {
				step |= matched
			}
			p.next = append(p.next, b.state(threads)<<stepBits|step)
		}
		if len(b.queue) > maxStates {
			return errors.New("it is too large")
		}
	}
	return nil
}

// state numbers a list of threads.
func (b *builder) state(threads []uint32) uint32 {
	key := fmt.Sprint(threads)
	n, known := b.states[key]
	if !known {
		n = uint32(len(b.queue))
		b.states[key] = n
		b.queue = append(b.queue, threads)
	}
	return n
}

// step moves threads over a rune, nil for the end of the text, and tells
// whether a match ends before it. Threads stand in order of preference: what
// comes after one that matches is dropped.
func (b *builder) step(threads []uint32, r *rune) (next []uint32, match bool) {
	var here []uint32
	asked, seen := map[uint32]bool{}, map[uint32]bool{}
	for _, pc := range threads {
		b.follow(&here, asked, pc, &ahead{r})
	}
	for _, pc := range here {
		inst := &b.program.Inst[pc]
		switch inst.Op {
		case syntax.InstMatch:
			return next, true
		case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
			if r != nil && inst.MatchRune(*r) {
				b.follow(&next, seen, inst.Out, nil)
			}
		}
	}
	return next, false
}

// ahead is the next rune, nil at the end of the text.
type ahead struct{ r *rune }

// follow adds what a thread comes to without reading. Where it asks for what is
// ahead and that is not known yet, it waits there.
func (b *builder) follow(threads *[]uint32, seen map[uint32]bool, pc uint32, a *ahead) {
	if seen[pc] {
		return
	}
	seen[pc] = true
	inst := &b.program.Inst[pc]
	switch {
	case inst.Op == syntax.InstAlt || inst.Op == syntax.InstAltMatch:
		b.follow(threads, seen, inst.Out, a)
		b.follow(threads, seen, inst.Arg, a)
	case inst.Op == syntax.InstCapture || inst.Op == syntax.InstNop:
		b.follow(threads, seen, inst.Out, a)
	case inst.Op == syntax.InstFail:
	case a != nil && asksForText(inst):
		if a.r == nil || unicode.IsSpace(*a.r) {
			b.follow(threads, seen, inst.Out, a)
		}
	case a != nil && inst.Op == syntax.InstEmptyWidth: // \z: no other passes rewrite
		if a.r == nil {
			b.follow(threads, seen, inst.Out, a)
		}
	default:
		*threads = append(*threads, pc)
	}
}

func asksForText(inst *syntax.Inst) bool {
	return (inst.Op == syntax.InstRune1 || inst.Op == syntax.InstRune) && len(inst.Rune) == 1 && inst.Rune[0] == notBeforeText
}
