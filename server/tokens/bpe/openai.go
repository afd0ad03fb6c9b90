package bpe

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The vocabularies of OpenAI as bpe/vocabularies packs them.
var (
	//go:embed cl100k.gz
	cl100k []byte
	//go:embed o200k.gz
	o200k []byte
)

// The expressions are those of tiktoken 0.14 (tiktoken_ext/openai_public.py)
// without the possessive marks, which change how fast a backtracking engine is
// and not what it finds here.
const (
	cl100kPattern = `'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+\z|\s*[\r\n]|\s+(?!\S)|\s`
	o200kPattern  = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?` +
		`|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?` +
		`|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

// Named returns an embedded tokenizer: cl100k (GPT-3.5, GPT-4) or o200k (GPT-4o
// and what came after it). Marks such as <|endoftext|> in a text are text, as
// they are to OpenAI's API. Each call loads it anew, into 10 to 20 MB.
func Named(name string) (*Tokenizer, error) {
	switch name {
	case "cl100k":
		return unpack(cl100k, cl100kPattern)
	case "o200k":
		return unpack(o200k, o200kPattern)
	}
	return nil, fmt.Errorf("there is no tokenizer %q: known are cl100k and o200k", name)
}

func unpack(packed []byte, expression string) (*Tokenizer, error) {
	p, err := compile(expression)
	if err != nil {
		return nil, err
	}
	tokens, err := unpackTokens(packed)
	if err != nil {
		return nil, err
	}
	t := &Tokenizer{patterns: []*pattern{p}}
	t.vocabulary.ranked(tokens)
	return t, nil
}

// unpackTokens reads how many tokens there are (32 bits, big-endian), the length
// of each in a byte, and their bytes.
func unpackTokens(packed []byte) ([]string, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	all, err := io.ReadAll(z)
	if err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint32(all))
	lengths, text := all[4:4+n], string(all[4+n:])
	tokens := make([]string, n)
	for i, l := range lengths {
		tokens[i], text = text[:l], text[l:]
	}
	if text != "" {
		return nil, errors.New("an embedded vocabulary is not what bpe/vocabularies packs")
	}
	return tokens, nil
}

// ranked fills a vocabulary in which a token's number is its rank and whatever
// two tokens make a token can be merged.
func (v *vocabulary) ranked(tokens []string) {
	ranks := make(map[string]uint32, len(tokens))
	v.whole = make(map[string]struct{}, len(tokens))
	for i, token := range tokens {
		ranks[token] = uint32(i)
		v.whole[token] = struct{}{}
		if len(token) == 1 {
			v.bytes[token[0]] = uint32(i)
		}
	}
	type split struct{ left, right, rank uint32 }
	var splits []split
	for i, token := range tokens {
		for cut := 1; cut < len(token); cut++ {
			left, is := ranks[token[:cut]]
			if !is {
				continue
			}
			if right, is := ranks[token[cut:]]; is {
				splits = append(splits, split{left, right, uint32(i)})
			}
		}
	}
	v.pairs = newPairs(len(splits))
	for _, s := range splits {
		v.pairs.add(s.left, s.right, s.rank)
	}
}
