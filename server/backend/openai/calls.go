package openai

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/httpstream"
)

// callDelta is a piece of a call of a tool. Its id and name come with the first
// piece alone.
type callDelta struct {
	Index    *int            `json:"index"`
	ID       json.RawMessage `json:"id"`
	Function struct {
		Name      json.RawMessage `json:"name"`
		Arguments json.RawMessage `json:"arguments"`
	} `json:"function"`
}

// toolCall is a call that a candidate has begun.
type toolCall struct {
	index     int // the server's
	id        string
	arguments httpstream.Joiner
}

// call appends the events of one piece.
func (d *decoder) call(index int, c *callDelta) error {
	a := &d.candidates[index]
	broken := func(format string, args ...any) error {
		return &backend.Error{Class: backend.Protocol, Detail: fmt.Sprintf("call of a tool by candidate %d: ", index) + fmt.Sprintf(format, args...)}
	}
	if a.finished {
		return broken("it came after the candidate's end")
	}
	id, name := httpstream.StringOf(c.ID), httpstream.StringOf(c.Function.Name)
	n := a.find(c, id)
	if n == len(a.calls) {
		if name == "" {
			return broken("it has no name")
		}
		call := toolCall{index: n, id: id}
		if c.Index != nil {
			call.index = *c.Index
		}
		a.calls = append(a.calls, call)
		d.events = append(d.events, backend.Event{Kind: backend.Called, Candidate: index, Call: n, CallID: id, Tool: name})
	}
	raw := c.Function.Arguments
	if !httpstream.Present(raw) {
		return nil
	}
	text := string(raw) // a server that sends the object itself sends all of it
	switch raw[0] {
	case '"':
		text = a.calls[n].arguments.Add(raw)
	case '{':
	default:
		return broken("its arguments are neither a string nor an object")
	}
	if text != "" {
		d.events = append(d.events, backend.Event{Kind: backend.Delta, Candidate: index, Channel: backend.Arguments, Call: n, Text: text})
	}
	return nil
}

// find returns the place of the call that a piece belongs to, or one past the
// last where it begins another. Some servers leave the index out, or count
// every call as 0: then another id is another call.
func (a *candidate) find(c *callDelta, id string) int {
	last := len(a.calls) - 1
	if c.Index == nil {
		if last >= 0 && (id == "" || id == a.calls[last].id) {
			return last
		}
		return len(a.calls)
	}
	for i, call := range slices.Backward(a.calls) {
		if call.index == *c.Index && (id == "" || call.id == "" || id == call.id) {
			return i
		}
	}
	return len(a.calls)
}

// flushCalls appends what is left of runes that were cut.
func (d *decoder) flushCalls(index int) {
	calls := d.candidates[index].calls
	for i := range calls {
		if text := calls[i].arguments.Flush(); text != "" {
			d.events = append(d.events, backend.Event{Kind: backend.Delta, Candidate: index, Channel: backend.Arguments, Call: i, Text: text})
		}
	}
}
