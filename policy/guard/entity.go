package guard

import (
	"fmt"
	"math/bits"
	"regexp/syntax"

	"github.com/weir-gateway/weir/policy"
)

// An entity is something that an expression finds and a check confirms: a card
// number and its check digit. Every stretch that the expression matches is
// offered to the check, whatever others overlap it: a candidate that fails
// takes nothing away from one that begins inside it.
//
// How to write one: the expression has no borders (\b, ^, $) and a longest
// match; what may stand beside it is said by notAfter and notBefore, which are
// looked at first and cost nothing. Where nothing is said of the right side, a
// match is decided with its last rune; else with the rune behind it. The check
// sees the stretch alone and is called for many that are none, so it looks at
// what is cheap first. All entities of a guard are read by one automaton: one
// more costs nothing in text where it does not begin, and what can tell early
// that a stretch is none (a fixed prefix, notAfter) makes it cheap where it does.
type entity struct {
	kind policy.Kind
	expr string
	// notAfter are the neighbours on the left that a match cannot have, notBefore
	// those on the right.
	notAfter, notBefore neighbours
	// valid confirms a stretch, which it must not keep; nil takes all of them.
	valid func(match []byte) bool

	// score is how sure the finding is by itself, and contextScore where one of
	// the context words stands close before it; equal where they are. Context
	// behind a match would have to be waited for, so it does not count. A word is
	// in lower case, begins with a letter, and stands for itself alone: tel is not
	// in hotel. Chinese words have no borders.
	score, contextScore float64
	context             []string
	// unless are words that say of what stands right behind them that it is
	// something else, as in version 1.2.3.4: then a finding is unclear at most.
	unless []string
}

// neighbours is a set of what a rune beside a match can be.
type neighbours uint16

const (
	noRune neighbours = 1 << iota // the beginning or the end of the text
	digit
	letter // of ASCII: Chinese text has no word borders
	underline
	dash
	dot
	sign // + / = @ # and the like, which join parts of encoded text
	otherNeighbour
	decimal // on the left: a dot behind a digit, so that what follows are decimals or a part of a version

	neighbourKinds = iota
)

// The places of some of them.
var (
	noRunePlace  = noRune.place()
	digitPlace   = digit.place()
	dotPlace     = dot.place()
	decimalPlace = decimal.place()
)

// place is the number of a neighbour among the kinds.
func (n neighbours) place() uint8 { return uint8(bits.TrailingZeros16(uint16(n))) }

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
	case r == '+' || r == '/' || r == '=' || r == '@' || r == '#' || r == '~' || r == '%' || r == '$':
		return sign
	}
	return otherNeighbour
}

// entities is a guard of many entities, which share an automaton. It is safe for
// all streams at once.
type entities struct {
	specs []entity
	at    []float64 // the score from which on each is a finding
	kinds []policy.Kind
	bound int
	contexts
	*lazyDFA
}

// newEntities makes a guard of entities; at is the score from which on each of
// them is a finding. It fails where an expression is not fit for it.
func newEntities(specs []entity, at []float64) (*entities, error) {
	e := &entities{specs: specs, at: at}
	b := dfaBuilder{}
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
		b.add(int32(i), p, s.notAfter)
	}
	var err error
	if e.contexts, err = newContexts(specs); err != nil {
		return nil, err
	}
	e.lazyDFA = b.build(specs)
	return e, nil
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

// Kinds are those of the entities, in their order.
func (e *entities) Kinds() []policy.Kind { return e.kinds }

// Bound is the longest match: it may wait for its right neighbour.
func (e *entities) Bound() (int, bool) { return e.bound, true }
