package policy

import (
	"strings"
	"sync/atomic"
	"unicode/utf8"
)

// runes makes valid text of what arrives on a channel: an invalid byte becomes
// U+FFFD, one for each, and a rune that is cut waits for its rest.
type runes struct {
	cut [utf8.UTFMax]byte
	n   int
}

// take returns the text that is complete now. It allocates only where bytes
// were invalid or a rune was cut.
func (r *runes) take(text string) string {
	if r.n == 0 {
		whole := text[:len(text)-cutTail(text)]
		if utf8.ValidString(whole) {
			r.n = copy(r.cut[:], text[len(whole):])
			return whole
		}
	}
	text = string(r.cut[:r.n]) + text
	whole := text[:len(text)-cutTail(text)]
	r.n = copy(r.cut[:], text[len(whole):])
	return validText(whole)
}

// flush returns what waited for a rest that will not come.
func (r *runes) flush() string {
	text := string(r.cut[:r.n])
	r.n = 0
	return validText(text)
}

// cutTail is how many bytes at the end are the beginning of a rune.
func cutTail(text string) int {
	for n := 1; n < utf8.UTFMax && n <= len(text); n++ {
		if tail := text[len(text)-n:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRuneInString(tail) {
				return n
			}
			return 0
		}
	}
	return 0
}

func validText(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	b.Grow(len(text) + 2*utf8.UTFMax)
	for _, r := range text { // yields U+FFFD for each invalid byte
		b.WriteRune(r)
	}
	return b.String()
}

// runeTexts are runes as strings, 256 to a page. A page is made when it is first
// asked for, and stays: so reading escapes allocates nothing, and what all
// pages can take together is 4 MB.
var runeTexts [(utf8.MaxRune + 1) >> 8]atomic.Pointer[string]

// runeText is string(r) without an allocation: U+FFFD for half of a surrogate
// pair, as encoding/json reads one that is alone.
func runeText(r rune) string {
	page := runeTexts[r>>8].Load()
	if page == nil {
		var b strings.Builder
		for first := r &^ 0xFF; first <= r|0xFF; first++ {
			b.WriteRune(first) // a surrogate as U+FFFD, which is as long
		}
		text := b.String()
		page = &text
		runeTexts[r>>8].Store(page)
	}
	// All runes of a page are equally long, but for the first one.
	at, size := int(r&0xFF), len(*page)>>8
	if r>>8 == 0 {
		if at < utf8.RuneSelf {
			return (*page)[at : at+1]
		}
		at, size = at-utf8.RuneSelf/2, 2
	}
	return (*page)[at*size : at*size+size]
}
