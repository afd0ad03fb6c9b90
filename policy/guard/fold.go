package guard

import (
	"unicode"
	"unicode/utf8"
)

// foldRune returns the one rune that stands for all that differ from r in case
// only: one rune for one rune, so that source offsets stay exact, though the
// two may differ in bytes (the Kelvin sign, three bytes, folds to k).
func foldRune(r rune) rune {
	if r < utf8.RuneSelf {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}
	least := r
	for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
		least = min(least, next)
	}
	if 'A' <= least && least <= 'Z' {
		least += 'a' - 'A'
	}
	return least
}

// widest is the most bytes that a rune equal to r in this view can have.
func widest(r rune, exact bool) int {
	n := runeLen(r)
	if !exact {
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			n = max(n, runeLen(next))
		}
	}
	return n
}

// runeLen is the bytes of a rune; of one that no text has (half of a surrogate
// pair), those of U+FFFD.
func runeLen(r rune) int {
	if n := utf8.RuneLen(r); n > 0 {
		return n
	}
	return utf8.RuneLen(utf8.RuneError)
}

// caseless tells whether b begins only runes that have no case (U+3000 to
// U+9FFF, the Chinese and Japanese ones), all of three bytes, so that they need
// not be decoded.
func caseless(b byte) bool { return 0xE3 <= b && b <= 0xE9 }

// isWord tells whether a rune is part of a word in a script that puts borders
// between words: digits, the underscore, Latin, Greek and Cyrillic letters and
// the accents on them. Chinese and its like have no such borders.
func isWord(r rune) bool {
	if r < utf8.RuneSelf {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_'
	}
	if 0x3000 <= r && r <= 0x9FFF {
		return false
	}
	return 0x300 <= r && r <= 0x36F || unicode.In(r, unicode.Latin, unicode.Greek, unicode.Cyrillic)
}
