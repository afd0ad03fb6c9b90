package guard

import (
	"regexp/syntax"
	"unicode/utf8"
)

// unbounded is the length of an expression that repeats without end.
const unbounded = -1

// lengths returns the least and the most bytes that an expression can match.
// The most is proved, not measured: each rune counts in the widest form that it
// allows.
func lengths(re *syntax.Regexp) (least, most int) {
	switch re.Op {
	case syntax.OpNoMatch:
		return 1, 1 // not nothing: it matches no text at all
	case syntax.OpLiteral:
		for _, r := range re.Rune {
			least += narrowest(r, re.Flags)
			most += widest(r, re.Flags&syntax.FoldCase == 0)
		}
	case syntax.OpCharClass:
		if len(re.Rune) == 0 {
			return 1, 1 // the same
		}
		return runeLen(re.Rune[0]), runeLen(re.Rune[len(re.Rune)-1])
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return 1, utf8.UTFMax
	case syntax.OpCapture:
		return lengths(re.Sub[0])
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			l, m := lengths(sub)
			least, most = least+l, plus(most, m)
		}
	case syntax.OpAlternate:
		least, most = lengths(re.Sub[0])
		for _, sub := range re.Sub[1:] {
			l, m := lengths(sub)
			least = min(least, l)
			if most == unbounded || m == unbounded {
				most = unbounded
			} else {
				most = max(most, m)
			}
		}
	case syntax.OpQuest:
		_, most = lengths(re.Sub[0])
	case syntax.OpStar, syntax.OpPlus:
		l, m := lengths(re.Sub[0])
		if re.Op == syntax.OpPlus {
			least = l
		}
		most = times(m, unbounded)
	case syntax.OpRepeat:
		l, m := lengths(re.Sub[0])
		return l * re.Min, times(m, re.Max)
	}
	return least, most
}

func plus(a, b int) int {
	if a == unbounded || b == unbounded {
		return unbounded
	}
	return a + b
}

// times is n repetitions of what has a length; nothing repeated without end is
// still nothing.
func times(length, n int) int {
	if length == 0 || n == 0 {
		return 0
	}
	if length == unbounded || n == unbounded {
		return unbounded
	}
	return length * n
}

func narrowest(r rune, flags syntax.Flags) int {
	n := runeLen(r)
	if flags&syntax.FoldCase != 0 {
		n = min(n, runeLen(foldRune(r)))
	}
	return n
}
