package openai

import (
	"encoding/json"
	"testing"

	"github.com/weir-gateway/weir/server/backend"
)

// What calls have beside stands in the calls of a message, and in a stream in
// pieces of its own, since the calls have gone out before.
func TestWhatCallsHaveBeside(t *testing.T) {
	extras := backend.VendorExtras{"openai": json.RawMessage(`{"choices":[{"index":0,"message":{"tool_calls":[{"index":1,"id":"theirs","extra_content":{"n":1}},{"index":7,"x":1}]}}]}`)}
	for answer, want := range map[string]string{
		`{"choices":[{"index":0,"message":{"tool_calls":[{"id":"a"},{"id":"b"}]}}]}`: `{"choices":[{"index":0,"message":{"tool_calls":[{"id":"a"},{"extra_content":{"n":1},"id":"b"}]}}]}`,
		`{"choices":[{"delta":{},"index":0}]}`:                                       `{"choices":[{"delta":{"tool_calls":[{"extra_content":{"n":1},"index":1},{"index":7,"x":1}]},"index":0}]}`,
		`{"choices":[{"delta":{},"index":1}]}`:                                       `{"choices":[{"delta":{},"index":1}]}`,
	} {
		got, err := json.Marshal(beside(json.RawMessage(answer), extras, false))
		if err != nil || string(got) != want {
			t.Errorf("%s\ngot  %s, %v\nwant %s", answer, got, err, want)
		}
	}
}
