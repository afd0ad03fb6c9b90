package gemini_test

import (
	"io"
	"testing"

	"github.com/weir-gateway/weir/server/backend"
)

// What an answer has that the neutral form has no place for goes beside it, in the
// shape of a response: why the filter ended it, what it rests on, a reason that
// the neutral form does not tell apart, and tokens by modality.
func TestWhatGoesBeside(t *testing.T) {
	for answer, want := range map[string]string{
		`{"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 3, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 3}]}}`: ``,
		`{"candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL"}]}`: `{"candidates":[{"finishReason":"MALFORMED_FUNCTION_CALL","index":0}]}`,
		`{"promptFeedback": {"blockReason": "BLOCKLIST"}}`:              `{"promptFeedback":{"blockReason":"BLOCKLIST"}}`,
		`{"candidates": [{"finishReason": "SAFETY", "safetyRatings": [{"category": "HARM_CATEGORY_HARASSMENT", "probability": "HIGH", "blocked": true}]}]}`:                                            `{"candidates":[{"finishReason":"SAFETY","index":0,"safetyRatings":[{"category":"HARM_CATEGORY_HARASSMENT","probability":"HIGH","blocked":true}]}]}`,
		`{"candidates": [{"finishReason": "STOP", "citationMetadata": {"citationSources": [{"startIndex": 1, "uri": "https://example.org"}]}}]}`:                                                       `{"candidates":[{"citationMetadata":{"citationSources":[{"startIndex":1,"uri":"https://example.org"}]},"index":0}]}`,
		`{"candidates": [{"finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 9, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 3}, {"modality": "IMAGE", "tokenCount": 6}]}}`: `{"usageMetadata":{"promptTokensDetails":[{"modality":"TEXT","tokenCount":3},{"modality":"IMAGE","tokenCount":6}]}}`,
	} {
		events, err := generate(t, listen(t, &scripted{answer: []string{answer}}, nil), &backend.Request{Model: "m", Candidates: 1, Messages: []backend.Message{text(backend.User, "hi")}})
		got := ""
		for _, e := range events {
			if e.Kind == backend.Beside {
				got = string(e.Extras["gemini"])
			}
		}
		if err != io.EOF || got != want {
			t.Errorf("%s: %v: beside is %s, want %s", answer, err, got, want)
		}
	}
}
