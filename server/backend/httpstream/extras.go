package httpstream

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/weir-gateway/weir/server/backend"
)

// Extras gathers members of objects that a driver has no place for. The zero
// value is ready. What would make them larger than backend.MaxExtras is left out,
// each member whole.
type Extras struct {
	members map[string]json.RawMessage
	size    int
}

// Add takes the members of an object but those that are known, whose names are
// compared as readers of JSON may, without case, and nulls. Of a name that comes
// again the last value counts.
func (e *Extras) Add(object []byte, known []string) {
	for name, value := range Members(object) {
		if !isKnown(name, known) && !bytes.Equal(value, []byte("null")) {
			e.put(name, value)
		}
	}
}

// Append is Add, but a list goes on one that has come before.
func (e *Extras) Append(object []byte, known []string) {
	for name, value := range Members(object) {
		if isKnown(name, known) || bytes.Equal(value, []byte("null")) {
			continue
		}
		before := e.members[text(name)]
		if len(before) > 2 && before[0] == '[' && len(value) > 2 && value[0] == '[' {
			value = append(append(append([]byte{}, before[:len(before)-1]...), ','), value[1:]...)
		}
		e.put(name, value)
	}
}

func (e *Extras) put(name, value []byte) {
	key := text(name)
	grown := e.size + len(value) - len(e.members[key])
	if _, again := e.members[key]; !again {
		grown += len(key) + len(`"":,`)
	}
	if grown > backend.MaxExtras {
		return
	}
	if e.members == nil {
		e.members = map[string]json.RawMessage{}
	}
	if bytes.Equal(e.members[key], value) {
		return
	}
	e.size = grown
	e.members[key] = bytes.ToValidUTF8(bytes.Clone(value), []byte("\uFFFD"))
}

// Put adds one member, a JSON object of which are other extras.
func (e *Extras) Put(name string, value []byte) { e.put([]byte(name), value) }

// Object is all of them, nil where there are none.
func (e *Extras) Object() json.RawMessage {
	if len(e.members) == 0 {
		return nil
	}
	body, err := Encode(e.members)
	if err != nil {
		return nil
	}
	return bytes.TrimSpace(body)
}

func isKnown(name []byte, known []string) bool {
	if bytes.IndexByte(name, '\\') >= 0 {
		name = []byte(text(name))
	}
	return slices.ContainsFunc(known, func(k string) bool { return bytes.EqualFold(name, []byte(k)) })
}

// text is a name without its escapes.
func text(name []byte) string {
	if bytes.IndexByte(name, '\\') < 0 {
		return string(name)
	}
	var s string
	if json.Unmarshal(append(append([]byte{'"'}, name...), '"'), &s) != nil {
		return ""
	}
	return s
}
