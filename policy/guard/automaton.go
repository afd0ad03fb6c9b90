package guard

import "slices"

// automaton is an Aho-Corasick automaton over bytes. A state is the longest
// suffix of the text that is a proper prefix of a term, so its depth is exactly
// what must be held back: the depth itself continues to a term, and what is
// before it cannot.
//
// States are numbered breadth first, which makes the children of one neighbours
// with rising labels: no edge list and no map, 15 bytes a state. State 0 is the
// root, and the only one whose edges are dense.
type automaton struct {
	first []uint32 // children of s are the states [first[s], first[s+1])
	label []byte   // the byte that leads to s from its parent
	fail  []uint32 // the longest proper suffix that has children: where to go on
	depth []uint16
	match []uint32 // the longest term that ends at s, in ends; 0 is none
	ends  []ending
	root  [256]uint32
}

// ending is a term, as the end of what was read.
type ending struct {
	length  uint16
	shorter uint32 // the next term that ends there as well, in ends; 0 is none
	term    uint32 // its place in the sorted terms
}

// newAutomaton builds it from terms that are sorted, all different, not empty and
// not longer than [policy.MaxTerm], plus what folding and the borders of words
// add: at most 32 times as much, so depths fit.
func newAutomaton(terms []string) *automaton {
	a := &automaton{ends: make([]ending, 1, len(terms)+1)}
	// A state is the range of sorted terms that begin with it. The ranges are
	// only needed while its children are made.
	type span struct{ lo, hi uint32 }
	ranges := []span{{0, uint32(len(terms))}}
	a.grow(0)
	for s := 0; s < len(ranges); s++ {
		lo, hi := ranges[s].lo, ranges[s].hi
		depth := int(a.depth[s])
		a.first = append(a.first, uint32(len(ranges)))
		if lo < hi && len(terms[lo]) == depth {
			a.match[s] = uint32(len(a.ends)) // the term itself sorts before its continuations
			a.ends = append(a.ends, ending{length: uint16(depth), term: lo})
			lo++
		}
		for lo < hi {
			b := terms[lo][depth]
			next := lo + uint32(groupEnd(terms[lo:hi], depth, b))
			ranges = append(ranges, span{lo, next})
			a.label = append(a.label, b)
			a.grow(depth + 1)
			lo = next
		}
	}
	a.first = append(a.first, uint32(len(ranges)))
	a.label = append([]byte{0}, a.label...)
	for t := a.first[0]; t < a.first[1]; t++ {
		a.root[a.label[t]] = t
	}
	a.link()
	return a
}

func (a *automaton) grow(depth int) {
	a.depth = append(a.depth, uint16(depth))
	a.match = append(a.match, 0)
}

// groupEnd is how many of the sorted terms have the byte at this depth.
func groupEnd(terms []string, depth int, b byte) int {
	if len(terms) == 1 || terms[len(terms)-1][depth] == b {
		return len(terms)
	}
	n, _ := slices.BinarySearchFunc(terms, b, func(term string, b byte) int {
		if term[depth] <= b {
			return -1
		}
		return 1
	})
	return n
}

// link computes where each state goes on when no child fits, and the longest
// term that ends there. A suffix is less deep than what it ends, so one pass in
// the order of states finds every suffix linked already.
func (a *automaton) link() {
	a.fail = make([]uint32, len(a.depth))
	for s := range uint32(len(a.depth)) {
		for t := a.first[s]; t < a.first[s+1]; t++ {
			suffix := uint32(0)
			if s != 0 {
				suffix = a.step(a.fail[s], a.label[t])
			}
			if own := a.match[t]; own != 0 {
				a.ends[own].shorter = a.match[suffix]
			} else {
				a.match[t] = a.match[suffix]
			}
			if a.leaf(suffix) {
				suffix = a.fail[suffix] // it leads nowhere and holds nothing
			}
			a.fail[t] = suffix
		}
	}
}

// leaf tells whether nothing continues s: it is a match and no prefix of one.
func (a *automaton) leaf(s uint32) bool { return a.first[s] == a.first[s+1] }

// child returns the state that a byte leads to from s, which is not the root; 0
// is none.
func (a *automaton) child(s uint32, b byte) uint32 {
	lo, hi := a.first[s], a.first[s+1]
	for hi-lo > 8 {
		mid := (lo + hi) / 2
		if a.label[mid] <= b {
			lo = mid
		} else {
			hi = mid
		}
	}
	for ; lo < hi; lo++ {
		if a.label[lo] == b {
			return lo
		}
	}
	return 0
}

// step returns the longest suffix of s followed by b that is a prefix of a
// term, the whole term included.
func (a *automaton) step(s uint32, b byte) uint32 {
	for s != 0 {
		if t := a.child(s, b); t != 0 {
			return t
		}
		s = a.fail[s]
	}
	return a.root[b]
}
