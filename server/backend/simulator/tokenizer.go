package simulator

import (
	"unicode"
	"unicode/utf8"

	"github.com/weir-gateway/weir/server/backend"
)

// The chat template: what a message and a request cost beside their text.
const (
	messageTokens = 4
	requestTokens = 3
)

// pieceBytes is how many bytes of a word make one token. Real vocabularies
// have about as many for English.
const pieceBytes = 4

// firstToken returns the length of the first token of s, which is not empty.
//
// A token is a Han, kana or Hangul rune; or up to four bytes of a word, with
// one space before it; or any other rune. It is found from left to right and
// its end depends on nothing that lies behind it but the first rune, so a text
// that is cut between two tokens has the tokens before the cut, and the
// tokens of a text joined are the text.
func firstToken(s string) int {
	n := 0
	if s[0] == ' ' {
		n = 1
	}
	r, size := utf8.DecodeRuneInString(s[n:])
	if !inWord(r) {
		if n == 1 {
			return 1
		}
		return size
	}
	end := n + size
	for end < len(s) {
		r, size = utf8.DecodeRuneInString(s[end:])
		if !inWord(r) || end+size-n > pieceBytes {
			break
		}
		end += size
	}
	return end
}

func inWord(r rune) bool {
	switch {
	case r < utf8.RuneSelf:
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
	case ideographic(r) || r == utf8.RuneError:
		return false
	}
	return unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsDigit(r)
}

// ideographic tells the scripts in which a rune is about a token.
func ideographic(r rune) bool {
	return r >= 0x2E80 && unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul)
}

func countTokens(s string) int {
	n := 0
	for s != "" {
		s = s[firstToken(s):]
		n++
	}
	return n
}

// firstTokens cuts s after its first n tokens and tells whether it had more.
func firstTokens(s string, n int) (head string, count int, more bool) {
	at := 0
	for at < len(s) {
		if count == n {
			return s[:at], count, true
		}
		at += firstToken(s[at:])
		count++
	}
	return s, count, false
}

func countInput(req *backend.Request) int {
	n := requestTokens
	for _, m := range req.Messages {
		// The parts of the content are one text to a model, as they are to the
		// chat templates of real ones.
		n += messageTokens + countTokens(m.Name) + countTokens(m.Text())
		for _, p := range m.Parts {
			if p.Channel != backend.Content {
				n += countTokens(p.Text) + countTokens(p.Tool)
			}
			if p.Media != nil {
				n += mediaTokens
			}
		}
	}
	for _, d := range req.Definitions() {
		n += countTokens(d)
	}
	return n
}
