package bpe

import "math"

// vocabulary is the tokens of a tokenizer and how bytes are merged into them.
type vocabulary struct {
	bytes [256]uint32 // the token of each single byte
	pairs pairs
	// made is the token that each rank of a merge makes; nil where rank and token
	// are the same number.
	made []uint32
	// whole has the tokens that a piece of the same bytes becomes at once.
	whole map[string]struct{}
}

// pairs is the ranks of all merges by the two tokens that are merged: a hash
// table with open addressing, since it is asked for each byte of a text.
type pairs struct {
	keys  []uint64
	ranks []uint32
	shift int
}

const (
	noRank = math.MaxUint32
	noPair = math.MaxUint64
)

func newPairs(n int) pairs {
	bits := 4
	for 1<<bits < 2*n {
		bits++
	}
	p := pairs{keys: make([]uint64, 1<<bits), ranks: make([]uint32, 1<<bits), shift: 64 - bits}
	for i := range p.keys {
		p.keys[i] = noPair
	}
	return p
}

// find returns the slot of a key, or the free one where it belongs.
func (p *pairs) find(key uint64) uint64 {
	slot := key * 0x9E3779B97F4A7C15 >> p.shift // Fibonacci hashing (Knuth, TAOCP 3, 6.4)
	for p.keys[slot] != key && p.keys[slot] != noPair {
		slot = (slot + 1) & uint64(len(p.keys)-1)
	}
	return slot
}

// add keeps the first rank of a pair.
func (p *pairs) add(left, right, rank uint32) {
	slot := p.find(uint64(left)<<32 | uint64(right))
	if p.keys[slot] == noPair {
		p.keys[slot], p.ranks[slot] = uint64(left)<<32|uint64(right), rank
	}
}

func (p *pairs) rank(left, right uint32) uint32 {
	slot := p.find(uint64(left)<<32 | uint64(right))
	if p.keys[slot] == noPair {
		return noRank
	}
	return p.ranks[slot]
}

// merger is the workspace of a merge.
type merger struct {
	parts []part
	heap  []uint64 // rank and place of each pair that can be merged, least first
}

// part is one token of a piece that is being merged.
type part struct {
	token    uint32
	rank     uint32 // of the pair with the next one
	previous int32
	next     int32
}

// count returns the tokens of a piece: the pair of the least rank is merged,
// the leftmost of several, until none is left. It takes n log n steps, also for
// a piece that is meant to be slow.
func (v *vocabulary) count(piece []byte, m *merger) int {
	n := len(piece)
	m.parts, m.heap = m.parts[:0], m.heap[:0]
	for i, c := range piece {
		m.parts = append(m.parts, part{token: v.bytes[c], previous: int32(i) - 1, next: int32(i) + 1})
	}
	for i := range m.parts {
		v.rank(m, i, n)
	}
	count := n
	for len(m.heap) > 0 {
		least := m.heap[0]
		last := len(m.heap) - 1
		m.heap[0] = m.heap[last]
		m.heap = m.heap[:last]
		m.down()
		at := int32(least & math.MaxUint32)
		left := &m.parts[at]
		rank := uint32(least >> 32)
		if left.rank != rank {
			continue // one of the two has been merged with another
		}
		right := &m.parts[left.next]
		left.token = rank
		if v.made != nil {
			left.token = v.made[rank]
		}
		left.next = right.next
		right.rank = noRank
		if int(left.next) < n {
			m.parts[left.next].previous = at
		}
		count--
		v.rank(m, int(at), n)
		if left.previous >= 0 {
			v.rank(m, int(left.previous), n)
		}
	}
	return count
}

// rank finds what a part and the next one can be merged to.
func (v *vocabulary) rank(m *merger, at, n int) {
	left := &m.parts[at]
	left.rank = noRank
	if int(left.next) >= n {
		return
	}
	if left.rank = v.pairs.rank(left.token, m.parts[left.next].token); left.rank != noRank {
		m.push(uint64(left.rank)<<32 | uint64(at))
	}
}

func (m *merger) push(x uint64) {
	m.heap = append(m.heap, x)
	for i := len(m.heap) - 1; i > 0; {
		up := (i - 1) / 2
		if m.heap[up] <= x {
			break
		}
		m.heap[i], m.heap[up] = m.heap[up], x
		i = up
	}
}

func (m *merger) down() {
	for i := 0; ; {
		least := 2*i + 1
		if least >= len(m.heap) {
			return
		}
		if least+1 < len(m.heap) && m.heap[least+1] < m.heap[least] {
			least++
		}
		if m.heap[i] <= m.heap[least] {
			return
		}
		m.heap[i], m.heap[least] = m.heap[least], m.heap[i]
		i = least
	}
}
