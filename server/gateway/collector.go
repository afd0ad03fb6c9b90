package gateway

import (
	"fmt"
	"strings"

	"github.com/weir-gateway/weir/server/backend"
)

// Collector is a Sink that gathers an answer for a unary call. The zero value
// is ready.
type Collector struct {
	candidates []*collecting
}

// collecting is a candidate: its parts in the order in which they began.
type collecting struct {
	parts []*collectedPart
	calls []*collectedPart // those of parts that are calls
}

type collectedPart struct {
	backend.Part
	text strings.Builder
	done bool // it is signed: what follows is another
}

// Collected is one candidate: its text by channel, and all of it as parts.
type Collected struct {
	Content, Reasoning, Refusal string
	Calls                       []CollectedCall
	// Parts are the same in the order in which they came, with what belongs to
	// each. Text of one channel is one part, up to text of another or a signature.
	Parts []backend.Part
}

// CollectedCall is one call of a tool.
type CollectedCall struct{ ID, Tool, Arguments string }

// Candidates are the texts so far, of each candidate up to the last that has
// any.
func (c *Collector) Candidates() []Collected {
	all := make([]Collected, len(c.candidates))
	for i, said := range c.candidates {
		to := &all[i]
		for _, p := range said.parts {
			part := p.Part
			part.Text = p.text.String()
			to.Parts = append(to.Parts, part)
			switch part.Channel {
			case backend.Content:
				to.Content += part.Text
			case backend.Reasoning:
				to.Reasoning += part.Text
			case backend.Refusal:
				to.Refusal += part.Text
			case backend.Arguments:
				to.Calls = append(to.Calls, CollectedCall{part.CallID, part.Tool, part.Text})
			}
		}
	}
	return all
}

// Restart implements Restarter.
func (c *Collector) Restart() { c.candidates = nil }

// Start does nothing.
func (c *Collector) Start(*Answer) error { return nil }

// Flush does nothing.
func (c *Collector) Flush() error { return nil }

// Delta appends a piece.
func (c *Collector) Delta(d Delta) error {
	for len(c.candidates) <= d.Candidate {
		c.candidates = append(c.candidates, &collecting{})
	}
	p, err := c.candidates[d.Candidate].part(d)
	if err != nil {
		return err
	}
	p.text.WriteString(d.Text)
	if d.Media != nil {
		p.Media, p.done = d.Media, true
	}
	p.Logprobs = append(p.Logprobs, d.Logprobs...)
	if d.Signature != nil {
		p.Signature, p.done = d.Signature, true
	}
	return nil
}

// part is the one that a delta belongs to, a new one where it begins one.
func (c *collecting) part(d Delta) (*collectedPart, error) {
	add := func(p backend.Part) *collectedPart {
		c.parts = append(c.parts, &collectedPart{Part: p})
		return c.parts[len(c.parts)-1]
	}
	switch d.Channel {
	case backend.Arguments:
		if d.Tool != "" {
			c.calls = append(c.calls, add(backend.Part{Channel: d.Channel, CallID: d.CallID, Tool: d.Tool}))
		}
		return c.calls[d.Call], nil
	case backend.Content, backend.Reasoning, backend.Refusal, backend.Transcript:
	default:
		return nil, fmt.Errorf("a unary answer has no place for text of channel %q", d.Channel)
	}
	alone := d.Media != nil || d.Signature != nil && d.Signature.Hidden
	if n := len(c.parts); n > 0 && !alone {
		// A signature comes when its part is whole, which can be after another has
		// begun: text that is held does not hold what is signed.
		for i := n - 1; i >= 0; i-- {
			p := c.parts[i]
			if p.Channel == d.Channel && !p.done {
				return p, nil
			}
			if d.Signature == nil {
				break
			}
		}
	}
	return add(backend.Part{Channel: d.Channel}), nil
}
