// Package tokens counts tokens where the gateway must have a figure of its
// own: before a call, when money is held for it, and beside the backend's
// usage, which can be late, missing or wrong. It knows no vendor, no price and
// no vocabulary file.
//
// How much a figure is worth:
//
//   - Exact: where the backend is a backend.Counter. Nothing else is.
//   - Bounded: Bound is at least the input of a call for every tokenizer whose
//     tokens cover at least one byte of the NFC form of the text, which is so
//     for byte-level BPE (GPT, Llama 3, Qwen, DeepSeek) and for SentencePiece
//     with byte fallback (Llama 2, Mistral, Gemma). It is not so for a
//     tokenizer that rewrites text to a longer form first (NFKC: T5, XLM-R).
//     What a chat template adds is covered by an allowance that no one has
//     proven: a template can hold a system prompt of any length.
//   - Estimated: everything else. An estimate is good for a report and for a
//     running cut, and never for the claim that a call was that long.
package tokens

import (
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/weir-gateway/weir/server/backend"
)

// The allowances of Bound. A turn of the templates that we know (ChatML,
// Llama 3, Mistral, Gemma, Harmony) has 4 to 8 marks and role words; the
// default system prompts that they put in front have up to about 80 tokens.
const (
	messageAllowance = 16
	requestAllowance = 128
	// What is put around tools: up to about 300 tokens of instructions, and
	// marks around each of them and around a call or a result.
	toolsAllowance = 512
	partAllowance  = 32
)

// The chat template in an estimate: what ChatML costs.
const (
	messageEstimate = 4
	requestEstimate = 3
)

// Bound returns what the input of a request can have in tokens at the most,
// within the limits that the package comment names. It is exact where b is a
// backend.Counter.
func Bound(b backend.Backend, req *backend.Request) int64 {
	if c, ok := b.(backend.Counter); ok {
		return int64(c.CountInput(req))
	}
	n := int64(requestAllowance)
	for _, m := range req.Messages {
		n += messageAllowance + bound(m.Name)
		for _, p := range m.Parts {
			n += bound(p.Text)
			if p.CallID != "" || p.Tool != "" {
				n += partAllowance + bound(p.CallID) + bound(p.Tool)
			}
		}
	}
	if len(req.Tools) > 0 || req.Format != nil {
		n += toolsAllowance
		for _, d := range req.Definitions() {
			// Templates write JSON anew, with a space behind each sign.
			n += partAllowance + 2*bound(d)
		}
	}
	return n
}

// bound returns the bytes of a text as a tokenizer may see it. NFC is shorter
// than the text but for a few runes that it takes apart.
func bound(s string) int64 {
	if !utf8.ValidString(s) {
		return 3 * int64(len(s)) // each bad byte becomes U+FFFD on the way; no NFC form is longer than this
	}
	if norm.NFC.IsNormalString(s) {
		return int64(len(s))
	}
	return int64(max(len(s), len(norm.NFC.String(s))))
}

// Input returns the tokens of a request's input and whether they are exact.
func Input(b backend.Backend, req *backend.Request) (n int64, exact bool) {
	if c, ok := b.(backend.Counter); ok {
		return int64(c.CountInput(req)), true
	}
	n = requestEstimate
	for _, m := range req.Messages {
		n += messageEstimate + ceil(weigh(m.Name))
		for _, p := range m.Parts {
			n += ceil(weigh(p.Text) + weigh(p.CallID) + weigh(p.Tool))
		}
	}
	for _, d := range req.Definitions() {
		n += ceil(weigh(d))
	}
	return n, false
}

// A Count counts the output of one call while it streams. It is used by one
// goroutine.
type Count struct {
	counter backend.Counter // nil where the backend is none
	model   string
	// content and reasoning are the two sides of the estimate.
	content, reasoning side
	// texts are kept only for the counter, by candidate and channel.
	texts map[slot]*text
}

type side struct {
	weight int64 // in quarters of a token
	deltas int64
}

type slot struct {
	candidate int
	channel   backend.Channel
}

type text struct {
	all     []byte
	counted int // bytes of all that tokens covers
	tokens  int64
}

// NewCount makes a Count of a call of a model at a backend.
func NewCount(b backend.Backend, model string) *Count {
	c := &Count{model: model}
	if counter, ok := b.(backend.Counter); ok {
		c.counter, c.texts = counter, map[slot]*text{}
	}
	return c
}

// Add counts the text of one delta. What is not Reasoning is content.
func (c *Count) Add(candidate int, channel backend.Channel, s string) {
	if s == "" {
		return
	}
	sd := &c.content
	if channel == backend.Reasoning {
		sd = &c.reasoning
	}
	sd.deltas++
	sd.weight += weigh(s)
	if c.counter == nil {
		return
	}
	at := slot{candidate, channel}
	t := c.texts[at]
	if t == nil {
		t = new(text)
		c.texts[at] = t
	}
	t.all = append(t.all, s...)
}

// Output returns the output tokens so far and whether they are exact: counted
// by the backend's own tokenizer, over each text as a whole. Otherwise they are
// what Estimate returns.
//
// An exact count reads again each text that has grown since the last Output.
// Ask at the end of a call, and for Estimate on the way.
func (c *Count) Output() (content, reasoning int64, exact bool) {
	if c.counter == nil {
		content, reasoning = c.Estimate()
		return content, reasoning, false
	}
	for at, t := range c.texts {
		if t.counted < len(t.all) {
			t.tokens = int64(c.counter.CountOutput(c.model, string(t.all)))
			t.counted = len(t.all)
		}
		if at.channel == backend.Reasoning {
			reasoning += t.tokens
		} else {
			content += t.tokens
		}
	}
	return content, reasoning, true
}

// Estimate returns about how many output tokens there are so far. It costs
// nothing. It is never below the number of deltas with text, since backends
// send at least one token in each.
func (c *Count) Estimate() (content, reasoning int64) {
	return c.content.estimate(), c.reasoning.estimate()
}

func (s side) estimate() int64 { return max(s.deltas, ceil(s.weight)) }

// ceil turns quarters of a token into whole ones.
func ceil(quarters int64) int64 { return (quarters + 3) / 4 }

// weigh estimates a text in quarters of a token: four bytes of ASCII, or one
// and a third CJK runes, or two other runes, or half an emoji a token.
func weigh(s string) (quarters int64) {
	for i := 0; i < len(s); {
		if s[i] < utf8.RuneSelf {
			quarters++
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		i += size
		switch {
		case r >= 0x1F000 && r < 0x20000: // emoji and other signs
			quarters += 8
		case r >= 0x2E80: // CJK, kana, Hangul, full-width forms
			quarters += 3
		default:
			quarters += 2
		}
	}
	return quarters
}
