package openai

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/weir-gateway/weir/server/backend"
)

// What Weir says itself, or no server but it may: names are compared without
// case. SDKs end a stream at a key error, null or not.
var (
	ownOfAnswer  = []string{"id", "object", "created", "model", "choices", "usage", "service_tier", "weir", "error"}
	ownOfChoice  = []string{"index", "message", "delta", "finish_reason", "logprobs"}
	ownOfCall    = []string{"index", "id", "type", "function"}
	ownOfMessage = []string{"role", "content", "refusal", "reasoning_content", "reasoning_details", "tool_calls", "images", "function_call", "audio"}
)

// An object is JSON whose members are not all known.
type object map[string]json.RawMessage

// take puts the members of another object in, but for those that are ours.
func (o object) take(from object, own []string) {
	for name, value := range from {
		if !ours(name, own) {
			o[name] = value
		}
	}
}

func ours(name string, own []string) bool {
	for _, n := range own {
		if strings.EqualFold(n, name) {
			return true
		}
	}
	return false
}

// beside puts what a server of this API has said that Weir has no field for where
// its clients look for it: at the top, in the choices and in their messages, or
// deltas. An answer that is cut into chunks has what is at the top in its last.
func beside(v any, extras backend.VendorExtras, last bool) any {
	from := read(extras["openai"])
	if from == nil {
		return v
	}
	body, err := marshal(v)
	if err != nil {
		return v
	}
	to := read(body)
	if last {
		to.take(from, ownOfAnswer)
	}
	of := map[string]object{} // by index
	for _, choice := range list(from["choices"]) {
		of[string(choice["index"])] = choice
	}
	choices := list(to["choices"])
	for _, choice := range choices {
		more := of[string(choice["index"])]
		choice.take(more, ownOfChoice)
		for _, name := range []string{"message", "delta"} {
			if message := read(choice[name]); message != nil && more != nil {
				said := read(more["message"])
				message.take(said, ownOfMessage)
				message.takeOfCalls(list(said["tool_calls"]), name == "delta")
				choice[name] = written(message)
			}
		}
	}
	if len(choices) > 0 {
		to["choices"] = written(choices)
	}
	return to
}

// takeOfCalls puts what calls have beside into them. In a message a call is known
// by its place; a delta, which has had its calls before, gets pieces of them.
func (o object) takeOfCalls(more []object, delta bool) {
	if len(more) == 0 {
		return
	}
	calls := list(o["tool_calls"])
	for _, extra := range more {
		at, err := strconv.Atoi(string(extra["index"]))
		switch {
		case err != nil || at < 0:
			continue
		case delta:
			call := object{"index": extra["index"]}
			call.take(extra, ownOfCall)
			calls = append(calls, call)
		case at < len(calls):
			calls[at].take(extra, ownOfCall)
		}
	}
	if len(calls) > 0 {
		o["tool_calls"] = written(calls)
	}
}

// read is an object, nil where it is none.
func read(raw json.RawMessage) (o object) {
	if json.Unmarshal(raw, &o) != nil {
		return nil
	}
	return o
}

func list(raw json.RawMessage) (all []object) {
	if json.Unmarshal(raw, &all) != nil {
		return nil
	}
	return all
}

// written is what was read, which can be written.
func written(v any) json.RawMessage {
	raw, err := marshal(v)
	if err != nil {
		return json.RawMessage("null")
	}
	return raw
}
