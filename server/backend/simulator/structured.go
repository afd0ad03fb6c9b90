package simulator

import (
	"encoding/json"

	"github.com/weir-gateway/weir/server/backend"
)

// deepest is how far a schema is followed, since it may refer to itself.
const deepest = 8

// instance writes words into the form that was asked for: an object with an
// answer, or a value of the schema in the simplest way. It knows the keywords
// type, properties, items, enum and const, and says null to what it does not.
func instance(f *backend.Format, words string) string {
	var schema any
	if f.Schema == nil || json.Unmarshal(f.Schema, &schema) != nil {
		schema = map[string]any{"type": "object", "properties": map[string]any{"answer": map[string]any{"type": "string"}}}
	}
	out, _ := json.Marshal(valueOf(schema, words, 0)) // made of what JSON has
	return string(out)
}

func valueOf(schema any, words string, depth int) any {
	s, _ := schema.(map[string]any)
	if c, ok := s["const"]; ok {
		return c
	}
	if all, ok := s["enum"].([]any); ok && len(all) > 0 {
		return all[0]
	}
	kinds, several := s["type"].([]any)
	if !several {
		kinds = []any{s["type"]}
	}
	if depth > deepest || len(kinds) == 0 {
		return nil
	}
	switch kinds[0] {
	case "object":
		properties, _ := s["properties"].(map[string]any)
		out := make(map[string]any, len(properties))
		for name, property := range properties {
			out[name] = valueOf(property, words, depth+1)
		}
		return out
	case "array":
		return []any{valueOf(s["items"], words, depth+1)}
	case "string":
		return words
	case "integer":
		return len(words) % 10
	case "number":
		return float64(len(words)%10) + 0.5
	case "boolean":
		return len(words)%2 == 0
	}
	return nil
}
