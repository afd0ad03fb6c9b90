package bpe

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
)

// file is the part of a tokenizer.json that counts tokens. What is behind a
// text (post_processor) belongs to the chat template.
type file struct {
	Added []struct {
		Content    string `json:"content"`
		SingleWord bool   `json:"single_word"`
		LStrip     bool   `json:"lstrip"`
		RStrip     bool   `json:"rstrip"`
	} `json:"added_tokens"`
	Normalizer   *step `json:"normalizer"`
	PreTokenizer *step `json:"pre_tokenizer"`
	Model        struct {
		Type         string            `json:"type"`
		Dropout      float64           `json:"dropout"`
		Prefix       string            `json:"continuing_subword_prefix"`
		Suffix       string            `json:"end_of_word_suffix"`
		ByteFallback bool              `json:"byte_fallback"`
		IgnoreMerges bool              `json:"ignore_merges"`
		Vocab        map[string]uint32 `json:"vocab"`
		Merges       []merge           `json:"merges"`
	} `json:"model"`
}

// step is a normalizer or a pre-tokenizer.
type step struct {
	Type          string `json:"type"`
	Normalizers   []step `json:"normalizers"`
	PreTokenizers []step `json:"pretokenizers"`
	Pattern       struct {
		Regex  string `json:"Regex"`
		String string `json:"String"`
	} `json:"pattern"`
	Behavior       string `json:"behavior"`
	Invert         bool   `json:"invert"`
	AddPrefixSpace bool   `json:"add_prefix_space"`
	UseRegex       *bool  `json:"use_regex"`
	Individual     bool   `json:"individual_digits"`
}

// merge is two tokens; older files write them in one string.
type merge [2]string

func (m *merge) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '[' {
		return json.Unmarshal(data, (*[2]string)(m))
	}
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		return err
	}
	left, right, _ := strings.Cut(s, " ")
	*m = merge{left, right}
	return nil
}

// gpt2Pattern is what the step ByteLevel cuts by (Hugging Face tokenizers,
// pre_tokenizers/byte_level.rs; GPT-2's encoder.py).
const gpt2Pattern = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

// Load reads a tokenizer.json of Hugging Face's tokenizers: byte-level BPE with
// no normal form or NFC. Anything else cannot be counted exactly here, and its
// error says what it is.
func Load(name string) (*Tokenizer, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("cannot read the tokenizer: %w", err)
	}
	var f file
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, fmt.Errorf("%s is no tokenizer.json: %w", name, err)
	}
	t, err := f.tokenizer()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: leave the tokenizer out, and calls are held by their bytes", name, err)
	}
	return t, nil
}

func (f *file) tokenizer() (*Tokenizer, error) {
	t := &Tokenizer{}
	if err := t.normalize(f.Normalizer); err != nil {
		return nil, err
	}
	byteLevel, err := t.split(f.PreTokenizer)
	if err != nil {
		return nil, err
	}
	m := &f.Model
	if m.Type != "BPE" || !byteLevel || m.ByteFallback || m.Dropout != 0 || m.Prefix != "" || m.Suffix != "" {
		return nil, errors.New("its model is not byte-level BPE, the only one that Weir counts")
	}
	var added []string
	for _, a := range f.Added {
		if a.SingleWord || a.LStrip || a.RStrip {
			return nil, fmt.Errorf("its added token %q takes in what is around it, which is not supported", a.Content)
		}
		if a.Content != "" {
			added = append(added, a.Content)
		}
	}
	t.marks = newMarks(added)
	return t, t.vocabulary.merges(m.Vocab, m.Merges, m.IgnoreMerges)
}

func (t *Tokenizer) normalize(n *step) error {
	switch {
	case n == nil:
	case n.Type == "NFC":
		t.nfc = true
	case n.Type == "Sequence":
		for i := range n.Normalizers {
			if err := t.normalize(&n.Normalizers[i]); err != nil {
				return err
			}
		}
	default:
		return fmt.Errorf("its normalizer %s is not supported", n.Type)
	}
	return nil
}

// split compiles the expressions of a pre-tokenizer, and tells whether what they
// leave is turned to bytes.
func (t *Tokenizer) split(p *step) (byteLevel bool, err error) {
	if p == nil {
		return false, nil
	}
	var expression string
	switch p.Type {
	case "Sequence":
		for i := range p.PreTokenizers {
			if byteLevel {
				return false, errors.New("its pre-tokenizer cuts after ByteLevel, which is not supported")
			}
			if byteLevel, err = t.split(&p.PreTokenizers[i]); err != nil {
				return false, err
			}
		}
		return byteLevel, nil
	case "Split":
		expression = p.Pattern.Regex
		if expression == "" || p.Behavior != "Isolated" || p.Invert {
			return false, fmt.Errorf("its pre-tokenizer Split (behavior %q) is not supported", p.Behavior)
		}
	case "Digits":
		expression = `\p{N}+`
		if p.Individual {
			expression = `\p{N}`
		}
	case "ByteLevel":
		if p.AddPrefixSpace {
			return false, errors.New("its pre-tokenizer puts a space before the text, which is not supported")
		}
		byteLevel = true
		if p.UseRegex != nil && !*p.UseRegex {
			return true, nil
		}
		expression = gpt2Pattern
	default:
		return false, fmt.Errorf("its pre-tokenizer %s is not supported", p.Type)
	}
	compiled, err := compile(expression)
	if err != nil {
		return false, err
	}
	t.patterns = append(t.patterns, compiled)
	return byteLevel, nil
}

// merges fills a vocabulary in which the pairs that can be merged are listed, in
// order of their ranks. With ignore, a piece that is a token is never merged.
func (v *vocabulary) merges(tokens map[string]uint32, merges []merge, ignore bool) error {
	names := byteNames()
	for b, name := range names {
		token, is := tokens[string(name)]
		if !is {
			return fmt.Errorf("its vocabulary has no token for byte %#x, so it is not byte-level BPE", b)
		}
		v.bytes[b] = token
	}
	v.pairs = newPairs(len(merges))
	v.made = make([]uint32, len(merges))
	for rank, m := range merges {
		left, isLeft := tokens[m[0]]
		right, isRight := tokens[m[1]]
		made, isMade := tokens[m[0]+m[1]]
		if !isLeft || !isRight || !isMade {
			return fmt.Errorf("its merge %d, of %q and %q, is of tokens that the vocabulary does not have", rank, m[0], m[1])
		}
		v.pairs.add(left, right, uint32(rank))
		v.made[rank] = made
	}
	values := make(map[rune]byte, len(names))
	for b, name := range names {
		values[name] = byte(b)
	}
	v.whole = make(map[string]struct{}, len(tokens))
	var work merger
	var text []byte
	for name := range tokens {
		text = text[:0]
		for _, r := range name {
			b, is := values[r]
			if !is {
				text = nil // one of the tokenizer's marks
				break
			}
			text = append(text, b)
		}
		// Without ignore_merges a token is what its merges make, and some vocabularies
		// have tokens that none do.
		if len(text) > 0 && (ignore || v.count(text, &work) == 1) {
			v.whole[string(text)] = struct{}{}
		}
	}
	return nil
}

// byteNames returns the characters that stand for the bytes in a byte-level
// vocabulary: printable ones for themselves, the others from U+0100 on (GPT-2,
// encoder.py, bytes_to_unicode).
func byteNames() (names [256]rune) {
	other := rune(0x100)
	for b := range names {
		r := rune(b)
		if r <= ' ' || r >= 0x7F && r <= 0xA0 || r == 0xAD {
			r = other
			other++
		}
		names[b] = r
	}
	return names
}
