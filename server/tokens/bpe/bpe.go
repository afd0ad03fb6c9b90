// Package bpe counts the tokens of text as byte-level byte-pair encoding does:
// OpenAI's cl100k and o200k, which are embedded, and the tokenizer.json files of
// Qwen, Llama 3, DeepSeek and others, which the operator names, since
// vocabularies keep their models' terms. It knows no request, no chat template
// and no model.
//
// The count of a text is exact: it is what tiktoken and Hugging Face's
// tokenizers make of it, which `make test-tokens` proves against both. What it
// cannot read exactly it refuses when it loads. Where a text has code points
// that our Unicode tables do not know yet, more than 30 combining marks on one
// letter, or a word of 16 KiB, the count says that it is not sure (Stream.Exact).
//
// It is our own, and not a library, for three reasons. No library in Go counts a
// text while it streams, at the cost of counting it once. None reads
// tokenizer.json without C. And the one that is best kept for OpenAI's two
// (github.com/tiktoken-go/tokenizer, MIT) brings a regular expression engine
// that backtracks, and allocates for each piece.
package bpe

import (
	"sync"
)

// A Tokenizer counts tokens by one vocabulary. It is immutable and safe for
// concurrent use.
type Tokenizer struct {
	vocabulary vocabulary
	patterns   []*pattern
	marks      marks
	nfc        bool // text is brought to its NFC form first

	mergers, streams sync.Pool
}

// Count returns the tokens of a text, and whether that is sure (see
// Stream.Exact).
func (t *Tokenizer) Count(text string) (n int, exact bool) {
	s, ok := t.streams.Get().(*Stream)
	if !ok {
		s = t.Stream()
	}
	s.Write(text)
	e := s.ended()
	n, exact = e.settled, !e.unsure
	s.reset()
	t.streams.Put(s)
	return n, exact
}

// count returns the tokens of one piece.
func (t *Tokenizer) count(piece []byte) int {
	if _, whole := t.vocabulary.whole[string(piece)]; whole {
		return 1
	}
	m, ok := t.mergers.Get().(*merger)
	if !ok {
		m = new(merger)
	}
	n := t.vocabulary.count(piece, m)
	t.mergers.Put(m)
	return n
}
