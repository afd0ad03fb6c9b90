package httpstream

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
)

// Present tells a JSON value from one that is absent or null.
func Present(raw json.RawMessage) bool { return len(raw) > 0 && !bytes.Equal(raw, []byte("null")) }

// StringOf returns a JSON string's text, and "" for everything else.
func StringOf(raw json.RawMessage) string {
	var s string
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// ShapeOf says what is wrong with JSON without repeating any of it.
func ShapeOf(err error) string {
	switch e := err.(type) {
	case *json.SyntaxError:
		return fmt.Sprintf("no JSON from byte %d on", e.Offset)
	case *json.UnmarshalTypeError:
		return fmt.Sprintf("field %s is of the wrong type", e.Field)
	}
	return "no JSON"
}

// A Count is a number of tokens, or unknown. What is no such number, or none
// that could be, is unknown: a wrong figure must not fail an answer.
type Count struct {
	N     int64
	Known bool
}

// maxCount is far above what a call can use; sums of counts below it are exact.
const maxCount = 1 << 50

// UnmarshalJSON never fails.
func (c *Count) UnmarshalJSON(data []byte) error {
	*c = Count{}
	var f float64
	if data[0] == 'n' || json.Unmarshal(data, &f) != nil {
		return nil
	}
	if f >= 0 && f <= maxCount && f == math.Trunc(f) {
		*c = Count{int64(f), true}
	}
	return nil
}

// Encode writes a request's body. It leaves < and & as they are.
func Encode(v any) ([]byte, error) {
	var body bytes.Buffer
	e := json.NewEncoder(&body)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return body.Bytes(), err
}
