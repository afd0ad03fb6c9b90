package gateway

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/server/backend"
)

// toolCalls are the calls of tools of one candidate: what they are named on
// their way through the gate, and by what ids the caller knows them.
type toolCalls struct {
	ids   []string
	names []policy.Channel
	args  []policy.Channel
	name  []byte // what is released of a name, as JSON
}

// maxCallID bounds what a backend may call a call.
const maxCallID = 128

// called begins a call of a tool, and returns its name as it goes to the gate.
func (a *attempt) called(e backend.Event) (policy.Piece, error) {
	t := &a.calls[e.Candidate]
	n := len(t.ids)
	if e.Call != n {
		return policy.Piece{}, &backend.Error{Class: backend.Protocol, Detail: fmt.Sprintf("call %d of a tool came as the one of number %d", e.Call, n)}
	}
	t.ids = append(t.ids, a.callID(e))
	a.courses[e.Candidate].calls = append(a.courses[e.Candidate].calls, course{})
	t.names = append(t.names, policy.ToolName(n))
	t.args = append(t.args, policy.ToolArguments(n))
	quoted, err := json.Marshal(e.Tool)
	return policy.Piece{Candidate: e.Candidate, Channel: t.names[n], Text: string(quoted)}, err
}

// callID is the backend's own id where the rules let it pass: no guard sees it
// on the way. Another one serves as well, since the caller sends back what it
// was told.
func (a *attempt) callID(e backend.Event) string {
	if id := e.CallID; id != "" && len(id) <= maxCallID && utf8.ValidString(id) && !a.rules.Holds() && a.rules.Clean(id) {
		return id
	}
	own := a.call.RequestID
	return fmt.Sprintf("call_%s_%d_%d", own[max(0, len(own)-12):], e.Candidate, e.Call)
}

// channel is where the gate takes the text of an event.
func (a *attempt) channel(e backend.Event) (policy.Channel, error) {
	switch {
	case e.Channel == backend.Content && a.structured:
		return policy.Structured, nil
	case e.Channel == backend.Arguments:
		args := a.calls[e.Candidate].args
		if e.Call < 0 || e.Call >= len(args) {
			return "", &backend.Error{Class: backend.Protocol, Detail: fmt.Sprintf("arguments of call %d of a tool came, and %d calls had begun", e.Call, len(args))}
		}
		return args[e.Call], nil
	}
	return policy.Channel(e.Channel), nil
}

// delta is what the caller gets of a piece that the gate has let go; false
// while a tool's name is not whole.
func (a *attempt) delta(p policy.Piece) (Delta, bool) {
	d := Delta{Candidate: p.Candidate, Channel: backend.Channel(p.Channel), Text: p.Text}
	if p.Channel == policy.Structured {
		d.Channel = backend.Content
		return d, true
	}
	if n, text, media := p.Channel.Media(); media {
		return a.showOn(p, n, text)
	}
	n, name, call := p.Channel.ToolCall()
	if !call {
		return d, true
	}
	d.Channel, d.Call = backend.Arguments, n
	if !name {
		return d, true
	}
	t := &a.calls[p.Candidate]
	t.name = append(t.name, p.Text...)
	var tool string // not d's own, which would make every delta escape
	if json.Unmarshal(t.name, &tool) != nil {
		return d, false // the rest is held, or blocked
	}
	t.name = t.name[:0]
	d.Text, d.Tool, d.CallID = "", tool, t.ids[n]
	return d, true
}
