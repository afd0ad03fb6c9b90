package guard

import (
	"encoding/binary"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"unicode/utf8"
)

// lazyDFA tells where entities can be: the automata of all expressions in one,
// which is deterministic and made as texts ask for it.
//
// A stretch is in one of its states. Many stretches can be alive at once, one
// for each place where an entity can begin; while all of them are short, they
// are a crowd, and a crowd with what it becomes by each rune is remembered too.
// So ordinary text, where everything that begins soon comes to nothing, costs
// one look-up a rune, and it is always known where what is alive began.
type lazyDFA struct {
	// A rune is known by its class: two runes of one class are alike to every
	// expression, as neighbours, and in how many bytes they have.
	ascii  [utf8.RuneSelf]uint16
	blocks [256]uint16   // of runes up to U+FFFF: which page they are on
	pages  [][256]uint16 // the classes of 256 runes
	cuts   []rune        // beyond: where the class changes, each the first rune of a stretch
	beyond []uint16      // the class of each stretch
	sample []rune        // a rune of each class
	beside []uint8       // the place in neighbours of each class
	specs  []entity

	threads []thread                  // of all expressions, one after the other
	root    [neighbourKinds]*dfaState // by the left neighbour

	// How many states and crowds are remembered at most, and how often a crowd
	// finds no room before all are forgotten.
	mostStates, mostCrowds int
	patience               int64

	mu      sync.Mutex
	states  map[string]*dfaState
	crowds  map[string]crowdState
	table   atomic.Pointer[crowdTable]
	used    crowdState   // the first that is free in the table
	refused atomic.Int64 // how often there was no room
}

// thread is a state of one expression's automaton.
type thread struct {
	spec int32
	*state
	base int32 // where its expression's threads begin
}

// dfaState is a set of threads that a stretch can be in.
type dfaState struct {
	id      uint32 // 0 where it is not remembered
	members []int32
	decided []int32 // the entities that the stretch is a match of, whatever follows
	waiting []int32 // those whose match waits for its neighbour
	next    []atomic.Pointer[dfaState]
}

// ended tells whether a stretch goes no further and waits for nothing.
func (s *dfaState) ended() bool { return len(s.members) == 0 && len(s.waiting) == 0 }

// dead is where no entity can come of a stretch any more.
var dead = &dfaState{}

// crowdState is where the row of a crowd begins in the table.
type crowdState uint32

const (
	unknown crowdState = iota // not asked for yet
	busy                      // no crowd: something is too old, or there is no room

	// matches is set in the table where a rune decides matches of the crowd.
	matches crowdState = 1 << 31
)

// crowdTable says what a crowd becomes by a rune: next[crowd+class]. The row of
// unknown and busy is empty, and those behind it are where nobody is alive, by
// the last rune. Rows are added in place; the table is replaced by a larger copy
// when it is full, in which the rows are the same, or by one that begins anew.
type crowdTable struct {
	beginning int // how many have begun anew
	next      []atomic.Uint32
	crowds    []crowd // by row
}

// crowd is all stretches that are alive at a place, the oldest first.
type crowd struct {
	prev  uint8 // the left neighbour, as a place in neighbours
	alive []aged
}

type aged struct {
	age   uint8 // bytes since it began
	state *dfaState
}

// Bounds on what is remembered: a text made for it could fill the memory
// otherwise. What is not remembered is found again when it is needed, which is
// ten times slower; so once that has cost more than to remember other crowds,
// those that such a text has left are forgotten.
const (
	maxAge    = 48 // bytes
	maxDFA    = 50_000
	maxCrowds = 8192
	patience  = 200_000
)

// dfaBuilder gathers the expressions.
type dfaBuilder struct {
	lazyDFA
	starts   [][]int32
	notAfter []neighbours
}

func (b *dfaBuilder) add(spec int32, p *program, notAfter neighbours) {
	base := int32(len(b.threads))
	for q := range p.states {
		b.threads = append(b.threads, thread{spec, &p.states[q], base})
	}
	var from []int32
	for _, edge := range p.start {
		from = append(from, base+edge.to)
	}
	b.starts = append(b.starts, from)
	b.notAfter = append(b.notAfter, notAfter)
}

func (b *dfaBuilder) build(specs []entity) *lazyDFA {
	a := &b.lazyDFA
	a.specs = specs
	a.mostStates, a.mostCrowds, a.patience = maxDFA, maxCrowds, patience
	a.states = map[string]*dfaState{}
	a.classify()
	for n := range a.root {
		var members []int32
		for i, from := range b.starts {
			if b.notAfter[i]&(1<<n) == 0 {
				members = append(members, from...)
			}
		}
		a.root[n] = a.stateOf(members, nil)
	}
	a.begin(0)
	return a
}

// begin forgets all crowds.
func (a *lazyDFA) begin(beginning int) {
	a.table.Store(a.newTable(beginning, 16))
	a.crowds = map[string]crowdState{}
	a.used = crowdState(len(a.sample))
	a.refused.Store(0)
	for n := range a.root {
		a.crowdOf(crowd{prev: uint8(n)})
	}
}

// home is where nobody is alive behind such a rune.
func (a *lazyDFA) home(prev uint8) crowdState {
	return crowdState((1 + int(prev)) * len(a.sample))
}

// refuse notes that a crowd of a table had no room.
func (a *lazyDFA) refuse(t *crowdTable) {
	if len(t.crowds) < a.mostCrowds || a.refused.Add(1) < a.patience {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.table.Load().beginning == t.beginning {
		a.begin(t.beginning + 1)
	}
}

// classify finds the classes of runes.
func (a *lazyDFA) classify() {
	var cuts []rune
	for r := range rune(utf8.RuneSelf) {
		cuts = append(cuts, r)
	}
	cuts = append(cuts, utf8.RuneSelf, 0x800, 0x10000)
	for _, t := range a.threads {
		eachRange(t.inst, func(lo, hi rune) { cuts = append(cuts, lo, hi+1) })
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	alike := map[string]uint16{}
	signature := make([]byte, len(a.threads)+2)
	for _, lo := range cuts {
		for i, t := range a.threads {
			signature[i] = 0
			if t.takes(lo) {
				signature[i] = 1
			}
		}
		beside := neighbourOf(lo).place()
		signature[len(a.threads)], signature[len(a.threads)+1] = beside, uint8(max(1, utf8.RuneLen(lo)))
		id, ok := alike[string(signature)]
		if !ok {
			id = uint16(len(a.sample))
			alike[string(signature)] = id
			a.sample = append(a.sample, lo)
			a.beside = append(a.beside, beside)
		}
		if lo < utf8.RuneSelf {
			a.ascii[lo] = id
		} else {
			a.cuts = append(a.cuts, lo)
			a.beyond = append(a.beyond, id)
		}
	}
	// Most pages of 256 runes are alike, so there are few.
	known := map[[256]uint16]uint16{}
	for block := range a.blocks {
		var page [256]uint16
		for i := range page {
			if r := rune(block<<8 | i); r < utf8.RuneSelf {
				page[i] = a.ascii[r]
			} else {
				page[i] = a.search(r)
			}
		}
		id, ok := known[page]
		if !ok {
			id = uint16(len(a.pages))
			known[page] = id
			a.pages = append(a.pages, page)
		}
		a.blocks[block] = id
	}
}

// left is the left neighbour that a rune is, given the one before it.
func (a *lazyDFA) left(prev uint8, class uint16) uint8 {
	if a.beside[class] == dotPlace && prev == digitPlace {
		return decimalPlace
	}
	return a.beside[class]
}

func (a *lazyDFA) search(r rune) uint16 {
	i := sort.Search(len(a.cuts), func(i int) bool { return a.cuts[i] > r })
	return a.beyond[i-1]
}

func (a *lazyDFA) class(r rune) uint16 {
	if uint32(r) < 0x10000 {
		return a.pages[a.blocks[r>>8]][r&0xFF]
	}
	return a.search(r)
}

// stateOf returns the state of a set, which is made once.
func (a *lazyDFA) stateOf(members, accepts []int32) *dfaState {
	if len(members) == 0 && len(accepts) == 0 {
		return dead
	}
	slices.Sort(members)
	members = slices.Compact(members)
	slices.Sort(accepts)
	accepts = slices.Compact(accepts)
	var key []byte
	for _, m := range members {
		key = binary.LittleEndian.AppendUint32(key, uint32(m))
	}
	key = append(key, '|')
	for _, m := range accepts {
		key = binary.LittleEndian.AppendUint32(key, uint32(m))
	}
	if s, ok := a.states[string(key)]; ok {
		return s
	}
	s := &dfaState{members: members, next: make([]atomic.Pointer[dfaState], len(a.sample))}
	for _, spec := range accepts {
		if a.specs[spec].notBefore == 0 {
			s.decided = append(s.decided, spec)
		} else {
			s.waiting = append(s.waiting, spec)
		}
	}
	if len(a.states) < a.mostStates {
		a.states[string(key)] = s
		s.id = uint32(len(a.states))
	}
	return s
}

// step is where a stretch is after one more rune.
func (a *lazyDFA) step(from *dfaState, class uint16) *dfaState {
	if from == dead {
		return dead
	}
	if to := from.next[class].Load(); to != nil {
		return to
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.find(from, class)
}

// find is step under the lock.
func (a *lazyDFA) find(from *dfaState, class uint16) *dfaState {
	if to := from.next[class].Load(); to != nil {
		return to
	}
	r := a.sample[class]
	var members, accepts []int32
	for _, m := range from.members {
		t := &a.threads[m]
		if !t.takes(r) {
			continue
		}
		for _, edge := range t.state.next {
			if edge.to == accept {
				accepts = append(accepts, t.spec)
			} else {
				members = append(members, t.base+edge.to)
			}
		}
	}
	to := a.stateOf(members, accepts)
	if to == dead || to.id != 0 {
		from.next[class].Store(to)
	}
	return to
}

// newTable makes room for so many crowds.
func (a *lazyDFA) newTable(beginning, crowds int) *crowdTable {
	return &crowdTable{beginning: beginning, next: make([]atomic.Uint32, crowds*len(a.sample)), crowds: make([]crowd, crowds)}
}

// crowdOf returns the row of a crowd, which is made once; busy where there is no
// room.
func (a *lazyDFA) crowdOf(c crowd) crowdState {
	key := []byte{c.prev}
	for _, l := range c.alive {
		key = binary.LittleEndian.AppendUint32(append(key, l.age), l.state.id)
	}
	if id, ok := a.crowds[string(key)]; ok {
		return id
	}
	t := a.table.Load()
	if int(a.used) == len(t.next) {
		if len(t.crowds) >= a.mostCrowds {
			return busy
		}
		larger := a.newTable(t.beginning, 2*len(t.crowds))
		copy(larger.crowds, t.crowds)
		for i := range t.next {
			larger.next[i].Store(t.next[i].Load())
		}
		a.table.Store(larger)
		t = larger
	}
	id := a.used
	a.used += crowdState(len(a.sample))
	*a.crowdAt(t, id) = c
	a.crowds[string(key)] = id
	return id
}

// crowdAt is the crowd of a row.
func (a *lazyDFA) crowdAt(t *crowdTable, id crowdState) *crowd {
	return &t.crowds[int(id)/len(a.sample)]
}

// gather finds what a crowd of a table becomes by a rune, and whether that
// decides matches. It returns the table that has it.
func (a *lazyDFA) gather(in *crowdTable, from crowdState, class uint16) (crowdState, *crowdTable) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.table.Load()
	if t.beginning != in.beginning {
		return busy, in
	}
	if to := crowdState(t.next[from+crowdState(class)].Load()); to != unknown {
		return to, t
	}
	was := a.crowdAt(t, from)
	size := uint8(max(1, utf8.RuneLen(a.sample[class])))
	c := crowd{prev: a.left(was.prev, class)}
	fits, decides := true, crowdState(0)
	grow := func(age uint8, state *dfaState) {
		if state == dead {
			return
		}
		for _, spec := range state.waiting {
			if a.specs[spec].notBefore&(1<<a.beside[class]) == 0 {
				decides = matches
			}
		}
		state = a.find(state, class)
		if len(state.decided) > 0 {
			decides = matches
		}
		if state != dead && state.id == 0 {
			fits = false
		}
		if !state.ended() {
			fits = fits && age+size <= maxAge
			c.alive = append(c.alive, aged{age + size, state})
		}
	}
	for _, l := range was.alive {
		grow(l.age, l.state)
	}
	grow(0, a.root[was.prev])
	to := busy
	if fits {
		to = a.crowdOf(c)
	}
	if to != busy {
		to |= decides
	}
	t = a.table.Load()
	t.next[from+crowdState(class)].Store(uint32(to))
	return to, t
}
