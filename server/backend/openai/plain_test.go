package openai

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// plainIsRight fails where what is read plainly is not what the parser reads,
// and tells whether it was read so.
func plainIsRight(t interface{ Fatalf(string, ...any) }, data []byte) bool {
	var got, want chunk
	ok := got.plain(data)
	if ok {
		if err := json.Unmarshal(data, &want); err != nil {
			t.Fatalf("%q is read plainly, and the parser says %v", data, err)
		}
		if len(want.Choices) == 0 {
			want.Choices = nil // an empty list is none
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: read plainly %+v, want %+v", data, got, want)
		}
	}
	var usage, parsed tally
	if usage.plain(data) {
		if err := json.Unmarshal(data, &parsed); err != nil || usage != parsed {
			t.Fatalf("usage %q: read plainly %+v, want %+v, %v", data, usage, parsed, err)
		}
	}
	return ok
}

func TestPlainChunks(t *testing.T) {
	for data, plain := range map[string]bool{
		`{"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"hi \"you\" \\"},"finish_reason":null}]}`: true,
		`{"id":"1","system_fingerprint":null,"choices":[],"usage":{"prompt_tokens":160,"completion_tokens":200,"total_tokens":360}}`:                           true,
		`{"choices":[{"index":1,"delta":{},"finish_reason":"stop","logprobs":{"content":[{"token":"a","logprob":-1}]}}], "obfuscation":"xY" }`:                 true,
		`{"choices":[{"index":0,"delta":{"tool_calls":[]}}]}`: false,
		`{"Model":"m"}`:                         false,
		`{"model":"m","model":"n"}`:             false,
		`{"model":"m"} x`:                       false,
		`{"model":"m",}`:                        false,
		`{"mod\u0065l":"m"}`:                    false,
		`{"choices":[{"index":-1}]}`:            false,
		`{"choices":[{"index":1.0}]}`:           false,
		`{"choices":null}`:                      false,
		"{\"model\":\"a\nb\"}":                  false,
		`{"x":01}`:                              false,
		`{"x":` + strings.Repeat("[", 99) + "1": false,
		``:                                      false,
	} {
		if plainIsRight(t, []byte(data)) != plain {
			t.Errorf("%q is read plainly: %t, want %t", data, !plain, plain)
		}
	}
}

// What is read plainly is what the parser reads, of JSON that is often broken.
func TestPlainIsWhatTheParserReads(t *testing.T) {
	part := rapid.SampledFrom([]string{
		`{`, `}`, `[`, `]`, `,`, `:`, ` `, `"`, `\`, `null`, `true`, `0`, `12`, `-`, `1e3`, `"m"`, `"a\"b"`, `"\ud83d"`, `""`, "\x00", "\xff",
		`"model":`, `"usage":`, `"choices":[{`, `"index":0`, `"delta":{`, `"content":`, `"reasoning":`, `"finish_reason":`, `"logprobs":`, `"object":`, `"error":`,
		`"prompt_tokens":3`, `"completion_tokens":4`, `"prompt_tokens_details":{`, `"cached_tokens":1`, `"prompt_cache_hit_tokens":2`, `"other":`, `"Index":1`,
	})
	whole := rapid.SampledFrom([]string{
		`{"model":"m","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}],"usage":null}`,
		`{"prompt_tokens":3,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":1,"x":[{"y":null}]}}`,
	})
	rapid.Check(t, func(t *rapid.T) {
		if rapid.Bool().Draw(t, "loose") {
			plainIsRight(t, []byte(strings.Join(rapid.SliceOfN(part, 0, 14).Draw(t, "parts"), "")))
			return
		}
		text := whole.Draw(t, "whole")
		at := rapid.IntRange(0, len(text)).Draw(t, "at")
		end := min(len(text), at+rapid.IntRange(0, 3).Draw(t, "without"))
		plainIsRight(t, []byte(text[:at]+part.Draw(t, "part")+text[end:]))
	})
}

func FuzzPlain(f *testing.F) {
	f.Add([]byte(`{"model":"m","choices":[{"index":0,"delta":{"content":"a"}}],"usage":{"prompt_tokens":1}}`))
	f.Add([]byte(`{"prompt_tokens":3,"prompt_tokens_details":{"cached_tokens":1}}`))
	f.Fuzz(func(t *testing.T, data []byte) { plainIsRight(t, data) })
}
