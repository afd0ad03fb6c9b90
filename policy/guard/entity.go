package guard

import (
	"bytes"
	"fmt"
	"math/bits"
	"regexp/syntax"
	"strings"

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
	// in lower case and stands for itself alone: tel is not in hotel. Chinese
	// words have no borders.
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
	sign // + / = @ and the like, which join parts of encoded text
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
	case r == '+' || r == '/' || r == '=' || r == '@' || r == '~' || r == '%' || r == '$':
		return sign
	}
	return otherNeighbour
}

// contextWindow is how many bytes before a match are searched for its context.
const contextWindow = 64

// entities is a guard of many entities, which share an automaton. It is safe for
// all streams at once.
type entities struct {
	specs     []entity
	at        []float64 // the score from which on each is a finding
	kinds     []policy.Kind
	bound     int
	contexts  [][][]byte // lists of context words
	contextOf []int      // which of them each has
	*automat
}

// newEntities makes a guard of entities; at is the score from which on each of
// them is a finding. It fails where an expression is not fit for it.
func newEntities(specs []entity, at []float64) (*entities, error) {
	e := &entities{specs: specs, at: at}
	b := automatBuilder{}
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
	e.shareContexts()
	if len(e.contexts) > 64 {
		return nil, fmt.Errorf("%d different lists of context words: want 64 at most", len(e.contexts))
	}
	e.automat = b.build(specs)
	return e, nil
}

// shareContexts gives entities with the same context words one list.
func (e *entities) shareContexts() {
	known := map[string]int{}
	for _, s := range e.specs {
		key := strings.Join(s.context, "\n")
		group, ok := known[key]
		if !ok {
			group = len(e.contexts)
			known[key] = group
			var words [][]byte
			for _, w := range s.context {
				words = append(words, []byte(w))
			}
			e.contexts = append(e.contexts, words)
		}
		e.contextOf = append(e.contextOf, group)
	}
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

// hasWord tells whether a text, in lower case, has one of these words as a word
// of its own in its last bytes: "tel" is none of "hotel".
func hasWord(text []byte, words [][]byte) bool {
	least := max(0, len(text)-contextWindow)
	for _, word := range words {
		for from := least; ; {
			i := bytes.Index(text[from:], word)
			if i < 0 {
				break
			}
			start, end := from+i, from+i+len(word)
			joinedLeft := start > 0 && isLower(text[start-1]) && isLower(word[0])
			joinedRight := end < len(text) && isLower(text[end]) && isLower(word[len(word)-1])
			if !joinedLeft && !joinedRight {
				return true
			}
			from = start + 1
		}
	}
	return false
}

// introduced tells whether a text, in lower case, ends in one of these words,
// but for what stands between a name and its number: order no. 1, 订单号：1.
func introduced(text []byte, words []string) bool {
	text = trimIntroduction(text)
	if endsInWord(text, words) {
		return true
	}
	for _, number := range []string{"no", "number", "num", "id", "号", "号码", "编号"} {
		if rest, ok := bytes.CutSuffix(text, []byte(number)); ok && endsInWord(trimIntroduction(rest), words) {
			return true
		}
	}
	return false
}

func trimIntroduction(text []byte) []byte {
	for {
		rest := bytes.TrimRight(text, " .:#(=\"")
		for _, between := range []string{"：", "（", "是", "为", " is"} {
			rest = bytes.TrimSuffix(rest, []byte(between))
		}
		if len(rest) == len(text) {
			return text
		}
		text = rest
	}
}

func endsInWord(text []byte, words []string) bool {
	for _, word := range words {
		rest, ok := bytes.CutSuffix(text, []byte(word))
		if ok && (len(rest) == 0 || !isLower(rest[len(rest)-1]) || !isLower(word[0])) {
			return true
		}
	}
	return false
}

func isLower(b byte) bool { return 'a' <= b && b <= 'z' }

// lowered turns ASCII letters into small ones, in place: the length of the text
// stays, and no language's rules are asked.
func lowered(text []byte) []byte {
	for i, b := range text {
		if b >= 'A' && b <= 'Z' {
			text[i] = b + 'a' - 'A'
		}
	}
	return text
}
