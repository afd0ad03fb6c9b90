package guard

import "slices"

// openings is an Aho-Corasick automaton over bytes, with the letters of ASCII in
// one case. It is dense, for it is walked over everything that is said: a byte
// is two look-ups. States are numbered breadth first, so those that ordinary
// text moves among lie together.
type openings struct {
	lits  []literal
	class [256]uint8 // bytes that no literal tells apart share one
	shift uint8
	next  []uint16  // by state and class; the high bit says that a literal ends there
	ends  [][]int32 // literals that end at a state
	begun [][]begun // literals that are on their way, and what they hold
}

// begun is a literal of which the text ends with some bytes.
type begun struct{ lit, bytes int32 }

const (
	opens     = 1 << 15
	stateMask = opens - 1
)

func lower(b byte) byte {
	if b >= 'A' && b <= 'Z' {
		return b + 'a' - 'A'
	}
	return b
}

func newOpenings(lits []literal) *openings {
	o := &openings{lits: lits}
	classes := 1 // 0 is what is in no literal
	for _, l := range lits {
		for i := range len(l.text) {
			if b := lower(l.text[i]); o.class[b] == 0 {
				o.class[b] = uint8(classes)
				classes++
			}
		}
	}
	for b := byte('A'); b <= 'Z'; b++ {
		o.class[b] = o.class[lower(b)]
	}
	for 1<<o.shift < classes {
		o.shift++
	}
	o.build(classes)
	return o
}

// build makes the states level by level: those of one depth, then their fails.
func (o *openings) build(classes int) {
	type node struct {
		fail  uint16
		depth int32
		lits  []int32 // those that begin with it
	}
	all := make([]int32, len(o.lits))
	for i := range all {
		all[i] = int32(i)
	}
	nodes := []node{{lits: all}}
	o.next = make([]uint16, 1<<o.shift)
	o.ends, o.begun = [][]int32{nil}, [][]begun{nil}
	for s := 0; s < len(nodes); s++ {
		row := o.next[s<<o.shift:]
		if s > 0 { // where no child fits it goes on as its fail does
			copy(row[:1<<o.shift], o.next[int(nodes[s].fail)<<o.shift:])
		}
		children := map[uint8][]int32{}
		for _, id := range nodes[s].lits {
			if text := o.lits[id].text; int(nodes[s].depth) < len(text) {
				c := o.class[text[nodes[s].depth]]
				children[c] = append(children[c], id)
			}
		}
		for c := range uint8(classes) {
			lits, ok := children[c]
			if !ok {
				continue
			}
			t := len(nodes)
			var fail uint16
			if s > 0 {
				fail = row[c] & stateMask
			}
			n := node{fail, nodes[s].depth + 1, lits}
			nodes = append(nodes, n)
			o.next = append(o.next, make([]uint16, 1<<o.shift)...)
			row = o.next[s<<o.shift:]
			ends, begins := slices.Clone(o.ends[fail]), slices.Clone(o.begun[fail])
			for _, id := range lits {
				switch l := o.lits[id]; {
				case len(l.text) == int(n.depth):
					ends = append(ends, id)
				case int(n.depth) > l.from:
					begins = append(begins, begun{id, n.depth})
				}
			}
			slices.SortStableFunc(begins, func(a, b begun) int {
				return int(b.bytes) - o.lits[b.lit].from - int(a.bytes) + o.lits[a.lit].from
			})
			o.ends, o.begun = append(o.ends, ends), append(o.begun, begins)
			row[c] = uint16(t)
			if len(ends) > 0 {
				row[c] |= opens
			}
		}
	}
	if len(nodes) > stateMask {
		panic("guard: more openings of secrets than the automaton can number")
	}
}

// step reads a byte.
func (o *openings) step(state uint16, b byte) uint16 {
	return o.next[int(state&stateMask)<<o.shift|int(o.class[b])]
}
