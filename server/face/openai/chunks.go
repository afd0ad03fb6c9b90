package openai

import (
	"bytes"
	"time"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/gateway"
)

// chunks is a sink that writes what is released as chat.completion.chunk.
type chunks struct {
	events       *events
	call         *gateway.Call
	includeUsage bool

	id      string       // of every chunk
	created time.Time    // of every chunk
	begun   map[int]bool // choices that have told their role
	frames  map[int]frame
	text    string // of the piece that is written
	// What each choice has thought since the last signature, and how many it has
	// had: a signature comes with the text that it is of.
	thought map[int][]byte
	details map[int]int
	audio   string      // its format
	images  map[int]int // how many each choice has had
}

func newChunks(events *events, call *gateway.Call, includeUsage bool, audio string) *chunks {
	return &chunks{events: events, call: call, includeUsage: includeUsage, audio: audio, begun: map[int]bool{}, frames: map[int]frame{}, thought: map[int][]byte{}, details: map[int]int{}, images: map[int]int{}}
}

// chunk must never have a key `error`: SDKs end the stream at one, null or not.
type chunk struct {
	head
	Choices []chunkChoice `json:"choices"`
	// Usage is absent where it was not asked for, null in all chunks but the last.
	Usage **usage `json:"usage,omitempty"`
	// ServiceTier is in the last one: it is known when the call is settled.
	ServiceTier string     `json:"service_tier,omitempty"`
	Weir        *extension `json:"weir,omitempty"`
}

type chunkChoice struct {
	Index        int       `json:"index"`
	Delta        delta     `json:"delta"`
	Logprobs     *logprobs `json:"logprobs"`
	FinishReason *string   `json:"finish_reason"`
}

type delta struct {
	Role             string     `json:"role,omitempty"`
	Content          string     `json:"content,omitempty"`
	ReasoningContent string     `json:"reasoning_content,omitempty"`
	ReasoningDetails []detail   `json:"reasoning_details,omitempty"`
	Refusal          string     `json:"refusal,omitempty"`
	ToolCalls        []toolCall `json:"tool_calls,omitempty"`
	Images           []image    `json:"images,omitempty"`
	Audio            *audio     `json:"audio,omitempty"`
}

func (c *chunks) chunk(choices ...chunkChoice) chunk {
	out := chunk{head: headOf("chat.completion.chunk", c.id, c.call.Model, c.created), Choices: choices}
	if c.includeUsage {
		out.Usage = new(*usage)
	}
	return out
}

// Start implements gateway.Sink. The header waits for the first delta.
func (c *chunks) Start(a *gateway.Answer) error {
	c.id, c.created = a.RequestID, a.Start
	c.events.tell(a)
	return nil
}

// Delta implements gateway.Sink.
func (c *chunks) Delta(d gateway.Delta) error {
	if d.Text == "" && d.Tool == "" && d.Signature == nil && d.Media == nil {
		return nil
	}
	if d.Channel == backend.Content && d.Logprobs == nil && d.Signature == nil && d.Media == nil && c.begun[d.Candidate] {
		return c.content(d.Candidate, d.Text)
	}
	var piece delta
	switch {
	case d.Channel == backend.Transcript:
		piece.Audio = newAudio(c.id, c.created)
		piece.Audio.Transcript = d.Text
	case d.Media != nil && d.Media.Modality == backend.Audio:
		piece.Audio = newAudio(c.id, c.created)
		piece.Audio.Data = encodeAudio(d.Media, c.audio)
	case d.Media != nil:
		i, ok := imageOf(d.Media, c.images[d.Candidate])
		if !ok {
			return nil
		}
		c.images[d.Candidate]++
		piece.Images = []image{i}
	}
	switch d.Channel {
	case backend.Reasoning:
		piece.ReasoningContent = d.Text
		c.thought[d.Candidate] = append(c.thought[d.Candidate], d.Text...)
		if s := d.Signature; s != nil {
			piece.ReasoningDetails = []detail{detailOf(string(c.thought[d.Candidate]), s, c.details[d.Candidate])}
			c.details[d.Candidate]++
			if !s.Hidden {
				c.thought[d.Candidate] = c.thought[d.Candidate][:0]
			}
		}
	case backend.Content:
		piece.Content = d.Text
	case backend.Refusal:
		piece.Refusal = d.Text
	case backend.Arguments:
		index := d.Call // not d's own, which would make every delta escape
		call := toolCall{Index: &index, Function: calledFunction{d.Tool, d.Text}}
		if d.Tool != "" {
			call.ID, call.Type = d.CallID, "function"
		}
		piece.ToolCalls = []toolCall{call}
	}
	c.role(d.Candidate, &piece)
	var probs *logprobs
	return c.events.send(c.chunk(chunkChoice{Index: d.Candidate, Delta: piece, Logprobs: probs.add(d.Channel, d.Logprobs)}))
}

// Flush implements gateway.Sink.
func (c *chunks) Flush() error { return c.events.flush() }

// frame is what stands around the content of a chunk that has nothing else: the
// same in every such chunk of a choice.
type frame struct{ before, after string }

// content writes such a chunk.
func (c *chunks) content(candidate int, text string) error {
	f, made := c.frames[candidate]
	if !made {
		const mark = "."
		whole, err := marshal(c.chunk(chunkChoice{Index: candidate, Delta: delta{Content: mark}}))
		if err != nil {
			return err
		}
		at := bytes.LastIndex(whole, []byte(`"`+mark+`"`)) // nothing behind it is anybody's text
		f = frame{string(whole[:at]), string(whole[at+len(mark)+2:])}
		c.frames[candidate] = f
	}
	c.text = text
	return c.events.around(f.before, &c.text, f.after)
}

// role puts the role into the first delta of a choice.
func (c *chunks) role(candidate int, piece *delta) {
	if !c.begun[candidate] {
		c.begun[candidate] = true
		piece.Role = "assistant"
	}
}

// finish tells what is known when the ledger has the call.
func (c *chunks) finish(a *gateway.Answer) error {
	c.id, c.created = a.RequestID, a.Start // nothing may have been released
	c.events.tell(a)
	u := usageOf(a.Usage)
	for i, f := range a.Finish {
		if !c.begun[i] {
			var first delta
			c.role(i, &first)
			if err := c.events.send(c.chunk(chunkChoice{Index: i, Delta: first})); err != nil {
				return gone(err)
			}
		}
		reason := finishReason(f)
		last := c.chunk(chunkChoice{Index: i, FinishReason: &reason})
		ends := i == len(a.Finish)-1 && (!c.includeUsage || u == nil)
		if ends {
			last.Weir, last.ServiceTier = extensionOf(a), tierOf(a.ServiceClass)
		}
		if err := c.events.send(beside(last, a.Extras, ends)); err != nil {
			return gone(err)
		}
	}
	if c.includeUsage && u != nil {
		sum := c.chunk()
		sum.Choices, sum.Usage, sum.Weir = []chunkChoice{}, &u, extensionOf(a)
		sum.ServiceTier = tierOf(a.ServiceClass)
		if err := c.events.send(beside(sum, a.Extras, true)); err != nil {
			return gone(err)
		}
	}
	if err := c.events.done(); err != nil {
		return gone(err)
	}
	if err := c.Flush(); err != nil {
		return gone(err)
	}
	return nil
}

// gone is what a failed write means once the call is settled.
func gone(err error) error {
	return &gateway.Error{Reason: gateway.Cancelled, Message: "the caller was gone before the end of its answer", Err: err}
}
