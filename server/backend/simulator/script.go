package simulator

import (
	"crypto/sha256"
	"encoding/binary"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/weir-gateway/weir/server/backend"
)

// maxProseTokens bounds what "tokens: N" may ask for, so that a prompt cannot
// make the simulator build an endless text.
const maxProseTokens = 1 << 17

// chance is splitmix64. It is written out so that the same seed gives the same
// answer with every version of Go.
type chance uint64

func (c *chance) next() uint64 {
	*c += 0x9e3779b97f4a7c15
	z := uint64(*c)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below returns a number from 0 to n-1.
func (c *chance) below(n int) int { return int(c.next() % uint64(n)) }

// share returns a number from 0 to just below 1.
func (c *chance) share() float64 { return float64(c.next()>>11) / (1 << 53) }

// seedOf returns the request's seed, or a hash of the model and the messages.
func seedOf(req *backend.Request) uint64 {
	if req.Seed != nil {
		return uint64(*req.Seed)
	}
	h := sha256.New()
	// Each string is preceded by its length, so that no two requests run
	// together into one.
	write := func(s string) {
		h.Write(binary.AppendUvarint(nil, uint64(len(s))))
		io.WriteString(h, s)
	}
	write(req.Model)
	for _, m := range req.Messages {
		write(string(m.Role))
		write(m.Name)
		h.Write(binary.AppendUvarint(nil, uint64(len(m.Parts))))
		for _, p := range m.Parts {
			write(string(p.Channel))
			write(p.Text)
		}
	}
	return binary.BigEndian.Uint64(h.Sum(nil))
}

// script is what the last user message asks for.
type script struct {
	think   string
	text    string // what to say, where given is true
	given   bool
	refusal bool
	calls   []call
	tokens  int // how many tokens of prose, 0 for a few sentences
	prompt  string
	format  *backend.Format
	drawing *drawing // nil where there is none
}

// call is one call of a tool.
type call struct{ tool, arguments string }

func read(req *backend.Request) script {
	if result, answered := toolResult(req); answered {
		return script{text: "The tool says: " + result, given: true}
	}
	var last string
	for i := len(req.Messages) - 1; i >= 0; i-- {
		if m := req.Messages[i]; m.Role == backend.User {
			last = m.Text()
			break
		}
	}
	s := script{format: req.Format}
	if slices.Contains(req.Modalities, backend.Image) {
		s.drawing = readDrawing("")
	}
	var prompt strings.Builder
	for rest := last; rest != ""; {
		line, after, _ := strings.Cut(rest, "\n")
		word, value, found := strings.Cut(rest, ":")
		value = strings.TrimPrefix(value, " ")
		if !found {
			word = ""
		}
		switch strings.ToLower(word) {
		case "say", "refuse":
			s.text, s.given, s.refusal = value, true, strings.EqualFold(word, "refuse")
			s.prompt = prompt.String()
			return s
		case "think":
			s.think, _, _ = strings.Cut(value, "\n")
			s.think = strings.TrimSuffix(s.think, "\r")
		case "call":
			line, _, _ := strings.Cut(value, "\n")
			tool, arguments, _ := strings.Cut(strings.TrimSuffix(line, "\r"), " ")
			s.calls = append(s.calls, call{tool, arguments})
		case "draw":
			size, _, _ := strings.Cut(value, "\n")
			s.drawing = readDrawing(strings.TrimSpace(size))
		case "describe":
			s.text, s.given = describe(req), true
		case "tokens":
			n, _, _ := strings.Cut(value, "\n")
			if n, err := strconv.Atoi(strings.TrimSpace(n)); err == nil && n > 0 {
				s.tokens = min(n, maxProseTokens)
			}
		default:
			prompt.WriteString(line)
			prompt.WriteByte('\n')
		}
		rest = after
	}
	s.prompt = prompt.String()
	if r := req.Reasoning; s.think == "" && r != nil && r.Effort != backend.EffortNone {
		s.think = "It is asked for an answer, so one is due."
	}
	return s
}

// toolResult is what the tools said, where the last message is theirs.
func toolResult(req *backend.Request) (string, bool) {
	var said []string
	for i := len(req.Messages) - 1; i >= 0 && req.Messages[i].Role == backend.ToolRole; i-- {
		for _, p := range slices.Backward(req.Messages[i].Parts) {
			said = append(said, p.Text)
		}
	}
	slices.Reverse(said)
	return strings.Join(said, " "), len(said) > 0
}

// answer is one candidate: all that it will say, and how far it is.
type answer struct {
	reasoning, text string
	thought         string          // all of reasoning, until it is signed
	channel         backend.Channel // of text
	calls           []call          // that come after the text
	calling         int             // the one that speaks
	named           bool            // it has been named
	media           *backend.Media  // that comes after the text
	finish          backend.FinishReason
	finished        bool

	reasoningTokens, outputTokens int
}

// perform makes an answer of at most limit tokens, reasoning included, that
// ends before the first stop sequence.
func (s script) perform(c chance, limit int, stop []string) answer {
	a := answer{channel: backend.Content, finish: backend.FinishStop, text: s.text}
	switch {
	case s.refusal:
		a.channel, a.finish = backend.Refusal, backend.FinishRefusal
	case !s.given && len(s.calls) == 0:
		a.text = prose(&c, s.prompt, s.tokens)
		if s.format != nil {
			a.text = instance(s.format, a.text)
		}
	}
	var more bool
	a.reasoning, a.reasoningTokens, more = firstTokens(s.think, limit)
	a.thought = a.reasoning
	if more || (a.reasoningTokens == limit && a.text != "") {
		a.text, a.finish = "", backend.FinishLength
		return a
	}
	a.text, a.outputTokens, more = firstTokens(a.text, limit-a.reasoningTokens)
	if more {
		a.finish = backend.FinishLength
	}
	if at := firstStop(a.text, stop); at >= 0 {
		// The cut can go through a token, so the rest is counted anew.
		a.text, a.finish = a.text[:at], backend.FinishStop
		a.outputTokens = countTokens(a.text)
		return a
	}
	if a.finish == backend.FinishStop && s.drawing != nil {
		if limit-a.reasoningTokens-a.outputTokens < drawTokens {
			a.finish = backend.FinishLength
			return a
		}
		a.media = s.drawing.draw(&c)
		a.outputTokens += drawTokens
	}
	if a.finish == backend.FinishStop {
		a.call(s.calls, limit)
	}
	return a
}

// call adds calls of tools, as far as the limit allows: a name that does not fit
// is no call, and arguments may be cut.
func (a *answer) call(calls []call, limit int) {
	for _, c := range calls {
		room := limit - a.reasoningTokens - a.outputTokens - countTokens(c.tool)
		if room < 0 {
			a.finish = backend.FinishLength
			return
		}
		arguments, n, more := firstTokens(c.arguments, room)
		a.calls = append(a.calls, call{c.tool, arguments})
		a.outputTokens += countTokens(c.tool) + n
		a.finish = backend.FinishToolCalls
		if more {
			a.finish = backend.FinishLength
			return
		}
	}
}

func firstStop(text string, stop []string) int {
	first := -1
	for _, s := range stop {
		if s == "" {
			continue
		}
		if at := strings.Index(text, s); at >= 0 && (first < 0 || at < first) {
			first = at
		}
	}
	return first
}

// peek returns what comes next, as an event without its candidate: a token, or
// the name of a tool.
func (a *answer) peek() (backend.Event, bool) {
	for a.calling < len(a.calls) && a.named && a.calls[a.calling].arguments == "" {
		a.calling, a.named = a.calling+1, false
	}
	switch {
	case a.reasoning != "":
		return backend.Event{Kind: backend.Delta, Channel: backend.Reasoning, Text: a.reasoning[:firstToken(a.reasoning)]}, true
	case a.thought != "":
		return backend.Event{Kind: backend.Signed, Channel: backend.Reasoning, Signature: &backend.Signature{Signer: signer, Data: sign(a.thought)}}, true
	case a.text != "":
		return backend.Event{Kind: backend.Delta, Channel: a.channel, Text: a.text[:firstToken(a.text)]}, true
	case a.media != nil:
		return backend.Event{Kind: backend.Shown, Media: a.media}, true
	case a.calling == len(a.calls):
		return backend.Event{}, false
	}
	c := &a.calls[a.calling]
	if !a.named {
		return backend.Event{Kind: backend.Called, Call: a.calling, Tool: c.tool}, true
	}
	return backend.Event{Kind: backend.Delta, Channel: backend.Arguments, Call: a.calling, Text: c.arguments[:firstToken(c.arguments)]}, true
}

// take goes past what peek returned, and tells how many tokens that is.
func (a *answer) take(e backend.Event) int {
	switch {
	case e.Kind == backend.Called:
		a.named = true
		return countTokens(e.Tool)
	case e.Kind == backend.Shown:
		a.media = nil
		return drawTokens
	case e.Kind == backend.Signed:
		a.thought = ""
		return 0
	case a.reasoning != "":
		a.reasoning = a.reasoning[len(e.Text):]
	case a.text != "":
		a.text = a.text[len(e.Text):]
	default:
		c := &a.calls[a.calling]
		c.arguments = c.arguments[len(e.Text):]
	}
	return 1
}
