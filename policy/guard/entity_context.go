package guard

import (
	"bytes"
	"fmt"
	"strings"
)

// contextWindow is how many bytes before a match are searched for its context.
const contextWindow = 64

// contexts are the context words of entities. What stands before a place is
// looked at once for the words of all of them.
type contexts struct {
	of    []uint64           // a bit for the list of words that each entity has
	words [256][]contextWord // by their first byte
}

type contextWord struct {
	rest  string // behind the first byte
	lists uint64 // that have it
}

// newContexts fails where there are more lists than bits.
func newContexts(specs []entity) (c contexts, err error) {
	lists, words := map[string]uint64{}, map[string]uint64{}
	for _, s := range specs {
		key := strings.Join(s.context, "\n")
		if _, ok := lists[key]; !ok {
			lists[key] = 1 << len(lists)
		}
		for _, w := range s.context {
			words[w] |= lists[key]
		}
		c.of = append(c.of, lists[key])
	}
	if len(lists) > 64 {
		return c, fmt.Errorf("%d different lists of context words: want 64 at most", len(lists))
	}
	for w, in := range words {
		if !isLower(w[0]) && w[0] < 0x80 {
			return c, fmt.Errorf("context word %q: want it to begin with a small letter", w)
		}
		c.words[w[0]] = append(c.words[w[0]], contextWord{w[1:], in})
	}
	return c, nil
}

// in returns the lists that have a word in a text, in lower case: a word of its
// own, so "tel" is none of "hotel". Of the text only the window counts; a byte
// before it is there for the border.
func (c *contexts) in(text []byte) (lists uint64) {
	for i := max(0, len(text)-contextWindow); i < len(text); i++ {
		words := c.words[text[i]]
		if len(words) == 0 || isLower(text[i]) && i > 0 && isLower(text[i-1]) {
			continue
		}
		for _, w := range words {
			end := i + 1 + len(w.rest)
			if end > len(text) || string(text[i+1:end]) != w.rest {
				continue
			}
			if end == len(text) || !isLower(text[end]) || !isLower(text[end-1]) {
				lists |= w.lists
			}
		}
	}
	return lists
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
