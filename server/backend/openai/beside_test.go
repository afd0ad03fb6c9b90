package openai_test

import (
	"strings"
	"testing"

	"github.com/weir-gateway/weir/server/backend"
)

// What an answer has that the neutral form has no place for goes beside it: a
// reason that it does not know, and what of the usage is no meter and not nothing.
func TestWhatGoesBeside(t *testing.T) {
	for last, want := range map[string]string{
		`{"choices":[{"index":0,"finish_reason":"stop"}]}`:                         ``,
		`{"choices":[{"index":0,"finish_reason":"insufficient_system_resource"}]}`: `{"choices":[{"finish_reason":"insufficient_system_resource","index":0}]}`,
		`{"choices":[{"index":0,"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11,"prompt_cache_miss_tokens":9,
			"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":4,"cache_type":"ephemeral"},"completion_tokens_details":{"reasoning_tokens":1,"audio_tokens":0,"accepted_prediction_tokens":1},"cost":0.5}}`: `{"usage":{"completion_tokens_details":{"accepted_prediction_tokens":1},"cost":0.5,"prompt_tokens_details":{"audio_tokens":4,"cache_type":"ephemeral"}}}`,
		`{"choices":[{"index":0,"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"prompt_tokens_details":null,"completion_tokens_details":[]}}`: ``,
	} {
		s, err := to(t, says("data: "+strings.ReplaceAll(last, "\n", " ")+"\n\ndata: [DONE]\n\n"), nil).Generate(t.Context(), hello())
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for {
			e, err := s.Recv()
			if err != nil {
				break
			}
			if e.Kind == backend.Beside {
				got = string(e.Extras["openai"])
			}
		}
		s.Close()
		if got != want {
			t.Errorf("%s: beside is %s, want %s", last, got, want)
		}
	}
}
