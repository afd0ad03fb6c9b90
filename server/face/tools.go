package face

import (
	"encoding/json"
	"slices"

	"github.com/weir-gateway/weir/server/backend"
)

// CheckTools tells what is wrong with the tools of a request and with the choice
// of them, by the names that weir.v1 has for its fields.
func CheckTools(req *backend.Request) error {
	for i, t := range req.Tools {
		if slices.ContainsFunc(req.Tools[:i], func(other backend.Tool) bool { return other.Name == t.Name }) {
			return Invalid("tools", "two of them have the name %q: a model could not tell them apart", t.Name)
		}
		if t.Parameters != nil && !isObject(t.Parameters) {
			return Invalid("tools", "the parameters of tool %q are no JSON Schema: write an object such as {\"type\": \"object\"}", t.Name)
		}
	}
	if f := req.Format; f != nil && f.Schema != nil && !isObject(f.Schema) {
		return Invalid("config.response_format", "the schema is no JSON Schema: write an object such as {\"type\": \"object\"}")
	}
	c := req.Choice
	switch {
	case c == nil || c.Mode == backend.ToolAuto || c.Mode == backend.ToolNone:
		return nil
	case len(req.Tools) == 0:
		return Invalid("tool_choice", "a tool must be called and there is none: send tools, or leave it out")
	case c.Mode == backend.ToolNamed && !slices.ContainsFunc(req.Tools, func(t backend.Tool) bool { return t.Name == c.Tool }):
		return Invalid("tool_choice", "there is no tool %q among the tools: correct the name", c.Tool)
	}
	return nil
}

func isObject(raw json.RawMessage) bool {
	var object map[string]json.RawMessage
	return json.Unmarshal(raw, &object) == nil && object != nil
}
