// Package tokens counts tokens where the gateway must have a figure of its
// own: before a call, when money is held for it, and beside the backend's
// usage, which can be late, missing or wrong. It knows no vendor and no price;
// vocabularies are those of package bpe.
//
// How much a figure is worth:
//
//   - Exact: where the backend is a backend.Counter, and the output wherever the
//     target has a tokenizer.
//   - Bounded: Prompt.Most is at least the input of a call. With a tokenizer it
//     is the exact count of the texts, as far as the chat template puts each
//     between marks or after a line break, whole or without the space around it.
//     Without one it is the bytes of the texts, which holds for every tokenizer
//     whose tokens cover at least one byte of the NFC form: byte-level BPE (GPT,
//     Llama 3, Qwen, DeepSeek) and SentencePiece with byte fallback (Llama 2,
//     Mistral, Gemma). It does not hold for a tokenizer that rewrites text to a
//     longer form first (NFKC: T5, XLM-R). What the template adds is covered by
//     an allowance that no one has proven: a template can hold a system prompt of
//     any length.
//   - Estimated: everything else. An estimate is good for a report and for a
//     running cut, and never for the claim that a call was that long.
package tokens

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/tokens/bpe"
)

// The allowances of Prompt.Most. A turn of the templates that we know (ChatML,
// Llama 3, Mistral, Gemma, Harmony) has 4 to 8 marks and role words; the
// default system prompts that they put in front have up to about 80 tokens.
const (
	messageAllowance = 16
	requestAllowance = 128
	// What is put around tools: up to about 300 tokens of instructions, and
	// marks around each of them and around a call or a result.
	toolsAllowance = 512
	partAllowance  = 32
	// What an embedding model puts around a text: BERT's and its kin have a mark
	// before and one behind it, and some servers a word such as "query: ".
	textAllowance = 8
)

// The chat template in a count that is not exact: ChatML, as OpenAI's cookbook
// ("How to count tokens with tiktoken") counts it: three marks and a role a
// message, one more with a name, and three that begin the answer. OpenAI calls
// that an estimate itself.
const (
	messageEstimate = 4
	nameEstimate    = 1
	requestEstimate = 3
)

// A Prompt is the input of a call in tokens.
type Prompt struct {
	// Tokens is our count, and Exact tells whether the backend's must be the same.
	Tokens int64
	Exact  bool
	// Most is what the input can have at the most, within the limits that the
	// package comment names.
	Most int64
}

// Input counts the input of a request to a target. The tokenizer is nil where
// the target's is not known.
func Input(b backend.Backend, k *bpe.Tokenizer, req *backend.Request) Prompt {
	if c, ok := b.(backend.Counter); ok {
		n := int64(c.CountInput(req))
		return Prompt{Tokens: n, Exact: true, Most: n}
	}
	p := Prompt{Tokens: requestEstimate, Most: requestAllowance}
	for _, m := range req.Messages {
		p.Tokens += messageEstimate
		p.Most += messageAllowance
		if m.Name != "" {
			p.Tokens += nameEstimate
			p.add(k, m.Name)
		}
		for _, channel := range []backend.Channel{backend.Content, backend.Reasoning, backend.Refusal} {
			p.add(k, text(m.Parts, channel))
		}
		for i := range m.Parts {
			part := &m.Parts[i]
			switch part.Channel {
			case backend.Arguments:
				p.addJSON(part.Text)
			case backend.Result:
				p.add(k, part.Text)
			default:
				continue
			}
			p.Most += partAllowance
			p.add(k, part.CallID)
			p.add(k, part.Tool)
		}
	}
	if media := req.Media(); len(media) > 0 {
		can := b.Capabilities(req.Model).Media
		for _, m := range media {
			// What it is in the end only the backend knows: until it tells, the most.
			p.Tokens += can[m.Modality]
			p.Most += can[m.Modality] + partAllowance
			p.add(k, m.Name)
		}
	}
	if len(req.Tools) > 0 || req.Format != nil || len(req.Vendor) > 0 {
		p.Most += toolsAllowance
		for _, d := range req.Definitions() {
			p.Most += partAllowance
			p.addJSON(d)
		}
	}
	return p
}

// Texts counts texts that a target is to embed. No chat template is around them.
func Texts(b backend.Backend, k *bpe.Tokenizer, model string, texts []string) (p Prompt) {
	counter, counts := b.(backend.Counter)
	p.Exact = counts
	for _, s := range texts {
		if counts {
			n := int64(counter.CountOutput(model, s))
			p.Tokens += n
			p.Most += n
			continue
		}
		p.Most += textAllowance
		p.add(k, s)
	}
	return p
}

// text joins the parts of a channel, which drivers send as one.
func text(parts []backend.Part, channel backend.Channel) string {
	var one string
	var all []byte
	for _, p := range parts {
		switch {
		case p.Channel != channel || p.Text == "":
		case one == "":
			one = p.Text
		default:
			if all == nil {
				all = []byte(one)
			}
			all = append(all, p.Text...)
		}
	}
	if all != nil {
		return string(all)
	}
	return one
}

// add counts a text of the input.
func (p *Prompt) add(k *bpe.Tokenizer, s string) {
	if k == nil {
		p.Tokens += ceil(weigh(s))
		p.Most += bound(s)
		return
	}
	n, exact := k.Count(s)
	p.Tokens += int64(n)
	most := n
	// A template may drop the space around a text or put a line break before it;
	// then other pieces begin and end it. What is between them stays.
	if trimmed := strings.TrimSpace(s); exact && len(trimmed) < len(s) {
		n, exact = k.Count(trimmed)
		most = max(most, n) + len(s) - len(trimmed)
	}
	if !exact {
		p.Most += bound(s)
		return
	}
	p.Most += min(int64(most), bound(s))
}

// addJSON counts what templates write anew in their own way, with a space behind
// each sign.
func (p *Prompt) addJSON(s string) {
	p.Tokens += ceil(weigh(s))
	p.Most += 2 * bound(s)
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

// A Count counts the output of one call while it streams. It is used by one
// goroutine.
type Count struct {
	counter   backend.Counter // nil where the backend is none
	tokenizer *bpe.Tokenizer  // nil where none is known
	model     string
	// content and reasoning are the two sides of the estimate.
	content, reasoning side
	// texts is kept only for the counter or the tokenizer.
	texts map[slot]*output
	bytes int64
	media int64 // the most tokens that parts which are no text can be
}

type side struct {
	weight int64 // in quarters of a token
	deltas int64
}

type slot struct {
	candidate int
	channel   backend.Channel
}

// output is what one candidate has said on one channel.
type output struct {
	stream *bpe.Stream // of the tokenizer
	// For the counter, which sees a text as a whole:
	all     []byte
	counted int // bytes of all that tokens covers
	tokens  int64
}

// NewCount makes a Count of a call of a model at a backend. The tokenizer is nil
// where the target's is not known.
func NewCount(b backend.Backend, k *bpe.Tokenizer, model string) *Count {
	c := &Count{model: model, tokenizer: k}
	if counter, ok := b.(backend.Counter); ok {
		c.counter, c.tokenizer = counter, nil
	}
	if c.counter != nil || c.tokenizer != nil {
		c.texts = map[slot]*output{}
	}
	return c
}

// Add counts the text of one delta. What is not Reasoning is content.
func (c *Count) Add(candidate int, channel backend.Channel, s string) {
	if s == "" {
		return
	}
	c.bytes += int64(len(s))
	if c.texts == nil {
		sd := &c.content
		if channel == backend.Reasoning {
			sd = &c.reasoning
		}
		sd.deltas++
		sd.weight += weigh(s)
		return
	}
	at := slot{candidate, channel}
	o := c.texts[at]
	if o == nil {
		o = new(output)
		if c.tokenizer != nil {
			o.stream = c.tokenizer.Stream()
		}
		c.texts[at] = o
	}
	if o.stream != nil {
		o.stream.Write(s)
		return
	}
	o.all = append(o.all, s...)
}

// AddMedia counts a part that is no text as the most that its backend says one can
// be: what it is in the end only the backend knows.
func (c *Count) AddMedia(b backend.Backend, m backend.Modality) {
	if b != nil {
		c.media += b.Capabilities(c.model).MediaOutput[m]
	}
}

// Output returns the output tokens so far and whether they are exact: counted
// by the target's own tokenizer, over each text as a whole. Otherwise they are
// an estimate: about right, free, and never below the number of deltas with
// text, since backends send at least one token in each.
//
// With a backend.Counter it reads again each text that has grown since the last
// Output, so it is for the end of a call. With a tokenizer it reads again only
// the end of each text, which the next delta may still change.
func (c *Count) Output() (content, reasoning int64, exact bool) {
	if c.texts == nil {
		return c.content.estimate() + c.media, c.reasoning.estimate(), false
	}
	content, exact = c.media, c.media == 0 || c.counter != nil
	for at, o := range c.texts {
		if o.stream != nil {
			o.tokens = int64(o.stream.Tokens())
			exact = exact && o.stream.Exact()
		} else if o.counted < len(o.all) {
			o.tokens = int64(c.counter.CountOutput(c.model, string(o.all)))
			o.counted = len(o.all)
		}
		if at.channel == backend.Reasoning {
			reasoning += o.tokens
		} else {
			content += o.tokens
		}
	}
	return content, reasoning, exact
}

// Most returns what the output so far can have at the most: with a tokenizer no
// more than the bytes of the pieces that have not ended above Output, else the
// bytes, but for a backend.Counter only of what came since the last Output: it
// counts no text as more tokens than its beginning and the bytes of the rest. It
// costs next to nothing: ask it on the way.
func (c *Count) Most() int64 {
	if c.texts == nil {
		return c.bytes + c.media
	}
	n := c.media
	for _, o := range c.texts {
		if o.stream != nil {
			n += int64(o.stream.Most())
		} else {
			n += o.tokens + int64(len(o.all)-o.counted)
		}
	}
	return n
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
