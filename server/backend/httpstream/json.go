package httpstream

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
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

// EncodeWith is Encode with the members of an object beside those of v, which
// must be an object too. It fails where one of them is a name that v has, or one
// of those reserved: names are compared as readers of JSON may, without case.
func EncodeWith(v any, beside json.RawMessage, reserved []string) ([]byte, error) {
	body, err := Encode(v)
	if err != nil || !Present(beside) {
		return body, err
	}
	var own, more map[string]json.RawMessage
	if err := json.Unmarshal(beside, &more); err != nil || more == nil {
		return nil, errors.New("the vendor's options are no JSON object")
	}
	if err := json.Unmarshal(body, &own); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(more)) {
		is := func(other string) bool { return strings.EqualFold(name, other) }
		if slices.ContainsFunc(reserved, is) || slices.ContainsFunc(slices.Collect(maps.Keys(own)), is) {
			return nil, fmt.Errorf("%q is no option of the vendor: it is for the gateway to set", name)
		}
		own[name] = more[name]
	}
	return Encode(own)
}

// Encode writes a request's body. It leaves < and & as they are.
func Encode(v any) ([]byte, error) {
	var body bytes.Buffer
	e := json.NewEncoder(&body)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return body.Bytes(), err
}
