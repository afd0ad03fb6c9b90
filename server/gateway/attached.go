package gateway

import (
	"strings"

	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/server/backend"
)

// A course is how far one channel of a candidate has come: what the backend has
// said, what of it was let go unchanged, and what belongs to text that has not
// been let go yet. What is attached to a text leaves after the last byte of it,
// and never where a rule has changed one.
type course struct {
	written  int64 // bytes that the backend has said
	signedTo int64 // the end of the part that was signed last
	// from and to are the bytes that were let go without a gap, up to the last.
	from, to int64
	waiting  []attached
}

// attached belongs to the bytes [start, end) of a channel: it is either.
type attached struct {
	start, end int64
	signature  *backend.Signature
	logprob    backend.Logprob
}

// courses are those of a candidate.
type courses struct {
	content, reasoning, refusal, transcript course
	calls                                   []course
}

// of returns the course of a channel; nil of one that has none.
func (c *courses) of(channel backend.Channel, call int) *course {
	switch channel {
	case backend.Content:
		return &c.content
	case backend.Reasoning:
		return &c.reasoning
	case backend.Refusal:
		return &c.refusal
	case backend.Transcript:
		return &c.transcript
	case backend.Arguments:
		if call >= 0 && call < len(c.calls) {
			return &c.calls[call]
		}
	}
	return nil
}

// passed notes a piece that the gate has let go.
func (c *course) passed(p policy.Piece) {
	switch n := int64(len(p.Text)); {
	case p.Redacted:
		c.from, c.to = p.At, p.At
	case p.At == c.to:
		c.to += n
	default:
		c.from, c.to = p.At, p.At+n
	}
}

// changed tells whether a rule has changed what was let go, or dropped some of it.
func (c *course) changed() bool { return c.from > 0 || c.to < c.written }

// next returns what may leave now; false where nothing may.
func (c *course) next() (attached, bool) {
	for len(c.waiting) > 0 {
		a := c.waiting[0]
		changed := a.start < c.from && a.start < a.end
		if !changed && a.end > c.to {
			return attached{}, false
		}
		if c.waiting = c.waiting[1:]; len(c.waiting) == 0 {
			c.waiting = nil
		}
		if !changed {
			return a, true
		}
	}
	return attached{}, false
}

// logprobs are those whose tokens have left.
func (c *course) logprobs() (all []backend.Logprob) {
	for len(c.waiting) > 0 && c.waiting[0].signature == nil {
		a, ok := c.next()
		if !ok {
			break
		}
		if a.signature != nil { // what stood before it was dropped
			c.waiting = append([]attached{a}, c.waiting...)
			break
		}
		all = append(all, a.logprob)
	}
	return all
}

// said notes text of the backend, and the log probabilities of its tokens. Where
// a rule can change the answer only those count whose bytes are the text's, and
// nobody has seen their alternatives.
func (a *attempt) said(e backend.Event) {
	c := a.courses[e.Candidate].of(e.Channel, e.Call)
	if c == nil {
		return
	}
	at := c.written
	c.written += int64(len(e.Text))
	if len(e.Logprobs) == 0 {
		return
	}
	exact := tile(e.Text, e.Logprobs)
	if !exact && a.enforced {
		return
	}
	for _, l := range e.Logprobs {
		if a.enforced {
			l.Alternatives = nil
			if l.Bytes != nil { // a name that is not theirs was seen by nobody
				l.Token = strings.ToValidUTF8(string(l.Bytes), "\uFFFD")
			}
		}
		end := at + int64(l.Size())
		if !exact {
			at, end = c.written, c.written // where in the text it is cannot be told
		}
		c.waiting = append(c.waiting, attached{start: at, end: end, logprob: l})
		at = end
	}
}

// tile tells whether a text is the bytes of these tokens.
func tile(text string, tokens []backend.Logprob) bool {
	for i := range tokens {
		token := tokens[i].Token
		if tokens[i].Bytes != nil {
			token = string(tokens[i].Bytes)
		}
		rest, has := strings.CutPrefix(text, token)
		if !has {
			return false
		}
		text = rest
	}
	return text == ""
}

// attach gives the caller what belongs to the text that has left.
func (a *attempt) attach(candidate int, channel backend.Channel, call int, c *course) error {
	for {
		next, ok := c.next()
		if !ok {
			return nil
		}
		d := Delta{Candidate: candidate, Channel: channel, Call: call, Signature: next.signature}
		if next.signature == nil {
			d.Logprobs = []backend.Logprob{next.logprob}
		}
		if err := a.tell(d); err != nil {
			return err
		}
	}
}

// signed notes the signature of the part that the backend said last. It is a
// string that no guard can see into: it passes where the rules let it pass as it
// is written, no rule asks somebody who was not asked, and nothing of its part
// was changed.
func (a *attempt) signed(e backend.Event) error {
	c := a.courses[e.Candidate].of(e.Channel, e.Call)
	if c == nil || e.Signature == nil {
		return nil
	}
	start := c.signedTo
	c.signedTo = c.written
	if e.Signature.Hidden {
		start = c.written // a part of its own
	}
	s := e.Signature
	if a.enforced && (a.rules.Holds() || !opaque(s.Data) || !a.rules.Clean(s.Data) || !opaque(s.Signer) || !a.rules.Clean(s.Signer)) {
		return nil
	}
	c.waiting = append(c.waiting, attached{start: start, end: c.written, signature: s})
	return a.attach(e.Candidate, e.Channel, e.Call, c)
}

// opaque tells that a text is nothing that can be read: the signs of base64, and
// those that join such texts.
func opaque(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if ('a' > c || c > 'z') && ('A' > c || c > 'Z') && ('0' > c || c > '9') && !strings.ContainsRune("+/=_.:-", rune(c)) {
			return false
		}
	}
	return s != ""
}
