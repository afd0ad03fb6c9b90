package guard

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/weir-gateway/weir/policy/fold"
)

// idea is something that can be said in many wordings, separated by |. A
// wording is whole words, or with * at its end the beginning of one; in scripts
// without spaces it stands anywhere. The idea without a name is of wordings
// that look like one of another idea and are not.
type idea struct{ name, wordings string }

// book is what families of phrases are looked up in: one automaton over the
// wordings of all ideas, and rules that say which ideas, how near to each other,
// make a family. "Ignore all of your previous instructions" is no entry of any
// list, but three ideas in a row.
//
// The automaton reads symbols and not bytes: a letter or digit of ASCII, one
// symbol for everything between words, and one for every other letter that some
// wording has. So a Chinese character is one step, and a rune that no wording
// has is one symbol too.
type book struct {
	dense []uint16 // by state and symbol below columns: the next state; spoken marks one that ends a wording
	fail  []uint16 // the longest proper suffix
	wide  wideEdges
	pages [][]uint16 // by rune >> 8 and rune & 255, the symbol of a rune that is not ASCII; 0 is none
	ascii [utf8.RuneSelf]uint8

	first []uint32 // by state: where its sayings begin; they end where those of the next begin
	says  []saying

	at    [][]ruleStep // by idea, the places in rules where it stands, last ones first
	rules []ideaRule
	steps int  // of all rules
	loose bool // spaces and borders do not count, and digits are letters: see [newBook]
}

// wideEdges are the edges of symbols that are not in the dense table.
type wideEdges struct {
	root   []uint16 // by symbol
	first  []uint32 // by state
	symbol []uint16
	next   []uint16
}

// saying is a wording that ends at a state: the idea, and how many words it is.
type saying struct{ idea, words uint16 }

// ideaRule is ideas in their order, each at most so many words behind the last.
type ideaRule struct {
	family int
	first  int // place of its first step among all steps
	gaps   []int32
}

// ruleStep is a step of a rule.
type ruleStep struct{ rule, step uint16 }

const (
	between  = 0  // what is not part of a word; one, however much there is
	foreign  = 37 // a letter that is in no wording
	columns  = 38 // letters are 1 to 26, digits 27 to 36
	spoken   = 1 << 15
	wideBase = columns
)

// newBook compiles families. In a loose book wordings are what is left of their
// letters when they are read as [fold.Class] has them, without anything in
// between: for text whose letters are written apart or replaced by digits.
// Short wordings are left out there, for without borders they are everywhere.
func newBook(ideas []idea, families []family, loose bool) *book {
	b := &book{loose: loose}
	for c := range b.ascii {
		switch {
		case 'a' <= c && c <= 'z':
			b.ascii[c] = uint8(c-'a') + 1
		case 'A' <= c && c <= 'Z':
			b.ascii[c] = uint8(c-'A') + 1
		case '0' <= c && c <= '9':
			b.ascii[c] = uint8(c-'0') + 27
		}
	}
	b.pages = make([][]uint16, (unicode.MaxRune+1)>>8)
	symbols := wideBase
	index := map[string]uint16{"": nobody}
	var all []wording
	for i, idea := range ideas {
		if idea.name != "" {
			index[idea.name] = uint16(i)
		}
		for text := range strings.SplitSeq(idea.wordings, "|") {
			if seq, words := b.spell(text, &symbols); len(seq) > 0 {
				all = append(all, wording{seq, saying{index[idea.name], words}})
			}
		}
	}
	b.wide.root = make([]uint16, symbols)
	b.link(tree(all))
	b.compile(ideas, families, index)
	return b
}

// wording is what says an idea, as symbols of two bytes each, so that they sort.
type wording struct {
	symbols string
	saying
}

// branch leads by a symbol to a state.
type branch struct{ symbol, to uint16 }

// node is a state while the automaton is made: what ends there, not counting
// what ends at its suffixes, and where it leads.
type node struct {
	own      []saying
	branches []branch
}

// tree is the states of wordings, which are their beginnings, breadth first.
func tree(all []wording) []node {
	slices.SortFunc(all, func(x, y wording) int {
		return cmp.Or(strings.Compare(x.symbols, y.symbols), cmp.Compare(x.idea, y.idea))
	})
	type span struct{ lo, hi, depth int } // those that begin so
	spans := []span{{0, len(all), 0}}
	var nodes []node
	for s := 0; s < len(spans); s++ {
		lo, hi, depth := spans[s].lo, spans[s].hi, 2*spans[s].depth
		var n node
		for lo < hi && len(all[lo].symbols) == depth {
			n.own = append(n.own, all[lo].saying)
			lo++
		}
		for lo < hi {
			symbol := all[lo].symbols[depth : depth+2]
			end := lo + 1
			for end < hi && all[end].symbols[depth:depth+2] == symbol {
				end++
			}
			n.branches = append(n.branches, branch{uint16(symbol[0])<<8 | uint16(symbol[1]), uint16(len(spans))})
			spans = append(spans, span{lo, end, spans[s].depth + 1})
			lo = end
		}
		nodes = append(nodes, n)
	}
	if len(nodes) >= spoken {
		panic(fmt.Sprintf("guard: %d states of phrases, %d are the most", len(nodes), spoken-1))
	}
	return nodes
}

// link makes the tables. Suffixes are less deep than what they end, so one pass
// in the order of states finds every one linked already.
func (b *book) link(nodes []node) {
	b.fail = make([]uint16, len(nodes))
	b.dense = make([]uint16, len(nodes)*columns)
	said := make([][]saying, len(nodes))
	for s, n := range nodes {
		b.wide.first = append(b.wide.first, uint32(len(b.wide.symbol)))
		said[s] = n.own
		if s > 0 {
			if slices.ContainsFunc(n.own, func(x saying) bool { return x.idea == nobody }) {
				said[s] = nil
			} else {
				said[s] = append(said[s], said[b.fail[s]]...)
			}
			copy(b.dense[s*columns:(s+1)*columns], b.dense[int(b.fail[s])*columns:])
			for _, e := range n.branches {
				b.fail[e.to] = b.step(b.fail[s], e.symbol)
			}
		}
		b.first = append(b.first, uint32(len(b.says)))
		b.says = append(b.says, said[s]...)
		for _, e := range n.branches {
			switch {
			case e.symbol < columns:
				b.dense[s*columns+int(e.symbol)] = e.to
			case s == 0:
				b.wide.root[e.symbol] = e.to
			default:
				b.wide.symbol = append(b.wide.symbol, e.symbol)
				b.wide.next = append(b.wide.next, e.to)
			}
		}
	}
	b.first = append(b.first, uint32(len(b.says)))
	b.wide.first = append(b.wide.first, uint32(len(b.wide.symbol)))
	for i, s := range b.dense {
		if len(said[s]) > 0 {
			b.dense[i] |= spoken
		}
	}
}

// nobody is the idea of wordings that only look like one: where such a wording
// ends, the shorter ones that end there too are not meant ("do not ignore").
const nobody = 1<<16 - 1

// spell returns the symbols of a wording, and how many words it has. A wording
// ends with a border of words unless it ends in *.
func (b *book) spell(text string, symbols *int) (string, uint16) {
	text, stem := strings.CutSuffix(text, "*")
	var out []byte
	put := func(symbol int) { out = append(out, byte(symbol>>8), byte(symbol)) }
	words, before := 0, atBorder
	if !b.loose {
		if r, _ := utf8.DecodeRuneInString(fold.String(fold.Fold, text)); !spaceless(r) {
			put(between)
		}
	}
	for _, r := range fold.String(fold.Fold, text) {
		if b.loose {
			r = fold.Class(r)
		}
		symbol := between
		switch {
		case r < utf8.RuneSelf:
			symbol = int(b.ascii[r])
		case fold.Letter(r):
			symbol = int(b.symbol(r))
			if symbol == foreign {
				if b.pages[r>>8] == nil {
					b.pages[r>>8] = make([]uint16, 256)
				}
				symbol = *symbols
				b.pages[r>>8][r&255] = uint16(symbol)
				*symbols++
			}
		}
		switch {
		case b.loose:
			if symbol != between {
				put(symbol)
				words++
			}
			continue
		case symbol == between:
			if before != atBorder {
				put(between)
			}
			before = atBorder
			continue
		case spaceless(r):
			if before == inWord {
				put(between)
			}
			words++
			before = inSpaceless
		default:
			if before == inSpaceless {
				put(between)
			}
			if before != inWord {
				words++
			}
			before = inWord
		}
		put(symbol)
	}
	if !b.loose && !stem && before == inWord {
		put(between)
	}
	if words == 0 {
		panic(fmt.Sprintf("guard: %q is no wording", text))
	}
	if b.loose && len(out) < 2*5 && before != inSpaceless && len(out) > 0 && out[0] == 0 && out[1] < columns {
		return "", 0
	}
	return string(out), uint16(words)
}

// What the last rune was.
const (
	atBorder = iota
	inWord
	inSpaceless
)

// spaceless tells whether a letter is of a script that puts no spaces between
// words: there, a wording begins and ends anywhere.
func spaceless(r rune) bool {
	return r >= 0x0E00 && (r <= 0x109F && (r <= 0x0EFF || r >= 0x1000) || // Thai, Lao, Burmese
		r >= 0x1780 && r <= 0x17FF || // Khmer
		r >= 0x3005 && r <= 0x30FF || // kana
		r >= 0x3400 && r <= 0x9FFF || r >= 0x20000 && r <= 0x3FFFF)
}

// symbol is that of a letter that is not ASCII.
func (b *book) symbol(r rune) uint16 {
	if page := b.pages[r>>8]; page != nil && page[r&255] != 0 {
		return page[r&255]
	}
	return foreign
}

// step returns the longest suffix of a state and a symbol that begins a wording.
func (b *book) step(s, symbol uint16) uint16 {
	if symbol < columns {
		return b.dense[int(s)*columns+int(symbol)] &^ spoken
	}
	for s != 0 {
		for i := b.wide.first[s]; i < b.wide.first[s+1]; i++ {
			if b.wide.symbol[i] == symbol {
				return b.wide.next[i]
			}
		}
		s = b.fail[s]
	}
	return b.wide.root[symbol]
}

// compile reads the rules of families: names of ideas, each but the first after
// <n, the number of words that may stand before it. A loose book has only the
// strong ones.
func (b *book) compile(ideas []idea, families []family, index map[string]uint16) {
	b.at = make([][]ruleStep, len(ideas))
	for f, family := range families {
		if b.loose && family.weight < strong {
			continue
		}
		for _, text := range family.rules {
			rule := ideaRule{family: f, first: b.steps}
			gap := int32(0)
			for _, word := range strings.Fields(text) {
				if word[0] == '<' {
					if _, err := fmt.Sscanf(word, "<%d", &gap); err != nil {
						panic(fmt.Sprintf("guard: family %s: %q is no gap", family.name, word))
					}
					continue
				}
				i, ok := index[word]
				if !ok {
					panic(fmt.Sprintf("guard: family %s: there is no idea %q", family.name, word))
				}
				if b.loose {
					gap = 7 * (gap + 1) // letters
				}
				b.at[i] = append(b.at[i], ruleStep{uint16(len(b.rules)), uint16(len(rule.gaps))})
				rule.gaps = append(rule.gaps, gap)
				gap = 0
			}
			b.rules = append(b.rules, rule)
			b.steps += len(rule.gaps)
		}
	}
	for _, places := range b.at {
		// Of a rule with an idea twice, the later place is looked at first: one
		// wording is not both.
		slices.SortStableFunc(places, func(x, y ruleStep) int { return cmp.Compare(y.step, x.step) })
	}
}
