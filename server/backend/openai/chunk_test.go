package openai

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/credential"
)

var noSecrets = credential.Hiding(nil)

func TestDecodeErrorShowsNoText(t *testing.T) {
	for _, data := range []string{`{"choices":[{"delta":{"content":"secret words"}}`, `secret words`, `{"choices":"secret words"}`, `{"choices":[{"delta":{"content":["secret words"]}}]}`, `{"choices":[{"index":"secret words"}]}`} {
		err := newDecoder(1, noSecrets).decode([]byte(data))
		if err == nil || backend.ClassOf(err) != backend.Protocol || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", data, err)
		}
	}
}

// decodeAll checks the events of any chunks against the contract.
func decodeAll(t interface{ Fatalf(string, ...any) }, chunks []string, candidates int) error {
	d := newDecoder(candidates, noSecrets)
	var err error
	for _, c := range chunks {
		if err = d.decode([]byte(c)); err != nil {
			break
		}
	}
	if err == nil {
		err = d.End(true)
	}
	var e *backend.Error
	if err != nil && (!errors.As(err, &e) || e.Detail == "" || e.Class == "") {
		t.Fatalf("error is %#v", err)
	}
	finished := map[int]bool{}
	for i, e := range d.events {
		switch {
		case (e.Kind == backend.Started) != (i == 0):
			t.Fatalf("event %d is %+v", i, e)
		case e.Kind == backend.Delta && (e.Text == "" || !utf8.ValidString(e.Text)):
			t.Fatalf("event %d is %+v", i, e)
		case e.Kind == backend.Beside && (len(finished) < candidates || len(e.Extras["openai"]) > backend.MaxExtras+2 || !json.Valid(e.Extras["openai"])):
			t.Fatalf("event %d is %+v", i, e)
		case e.Kind == backend.Used && (i != len(d.events)-1 || e.Usage.Check() != nil):
			t.Fatalf("event %d is %+v", i, e)
		case e.Candidate < 0 || e.Candidate >= candidates || finished[e.Candidate] && e.Kind != backend.Used && e.Kind != backend.Beside:
			t.Fatalf("event %d is %+v", i, e)
		}
		finished[e.Candidate] = finished[e.Candidate] || e.Kind == backend.Finished
	}
	if err == nil && len(finished) < candidates {
		t.Fatalf("%d of %d candidates finished", len(finished), candidates)
	}
	return err
}

func FuzzDecode(f *testing.F) {
	f.Add(`{"choices":[{"index":0,"delta":{"content":"a\ud83d"}}]}`, `{"choices":[{"index":0,"delta":{"content":"\ude00"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1}}`)
	f.Fuzz(func(t *testing.T, one, two string) {
		decodeAll(t, []string{one, two}, 2)
	})
}

// Chunks of known fields in any order and shape break no rule.
func TestDecodeKeepsTheContract(t *testing.T) {
	value := rapid.SampledFrom([]string{`null`, `""`, `"hi"`, `"\ud83d"`, `"\ude00"`, "\"\xe6\xb0\"", "\"\xb4\"", `"stop"`, `0`, `1`, `-1`, `[]`, `{}`, `true`})
	rapid.Check(t, func(t *rapid.T) {
		var chunks []string
		for range rapid.IntRange(0, 6).Draw(t, "chunks") {
			index := rapid.SampledFrom([]string{"0", "0", "1", "2", "-1"}).Draw(t, "index")
			chunks = append(chunks, fmt.Sprintf(`{"model":%s,"choices":[{"index":%s,"delta":{"content":%s,"reasoning":%s,"refusal":%s},"finish_reason":%s}],"usage":{"prompt_tokens":%s,"completion_tokens":%s}}`,
				value.Draw(t, "model"), index, value.Draw(t, "content"), value.Draw(t, "reasoning"), value.Draw(t, "refusal"), value.Draw(t, "finish"), value.Draw(t, "prompt"), value.Draw(t, "completion")))
		}
		decodeAll(t, chunks, 2)
	})
}

// A decoder that knows frames says what one says that parses every chunk.
func TestAFrameChangesNothing(t *testing.T) {
	frames := rapid.SampledFrom([]string{
		`{"model":"m","choices":[{"index":0,"delta":{"content":%s},"finish_reason":null}],"usage":null}`,
		`{"model":"m","choices":[{"delta":{"reasoning_content":%s,"content":null}}]}`,
		`{"choices":[{"index":1,"delta":{"content":"","refusal":%s}}]}`,
		`{"choices":[{"index":0,"delta":{"content":"old","Content":%s}}]}`,
		`{"choices":[{"index":0,"delta":{"content":%s,"reasoning":"why"}}]}`,
		`{"choices":[{"index":0,"delta":{"content":%s},"finish_reason":"stop"}]}`,
		`{"choices":[{"index":0,"delta":{"content":%s,"tool_calls":[{"id":"1","function":{"name":"f"}}]}}]}`,
		`{"choices":[{"index":0,"delta":{"content":%s}}],"usage":{"prompt_tokens":1,"completion_tokens":2}}`,
		`{"model":%s,"choices":[{"index":0,"delta":{"content":"m"}}]}`,
		`{"object":"error","message":%s}`,
	})
	text := rapid.SampledFrom([]string{
		`"hi"`, `"hi"`, `"你好"`, `""`, `"m"`, `"old"`, `null`, `7`, `"\n\"\\\/"`, `"\ud83d"`, `"\ude00"`, `"\uD83D\uDE00"`, "\"\xe6\xb0\"", "\"\xb4\"",
		`"x","content":"y"`, `"a\"`, `"\q"`, `"\u12g4"`, `"\u12"`, "\"a\nb\"", `"`, `"x"}}]}`,
	})
	rapid.Check(t, func(t *rapid.T) {
		with, without := newDecoder(2, noSecrets), newDecoder(2, noSecrets)
		server := rapid.SampledFrom([]string{frames.Draw(t, "one frame"), frames.Draw(t, "another")})
		for range rapid.IntRange(1, 12).Draw(t, "chunks") {
			data := strings.Replace(server.Draw(t, "frame"), "%s", text.Draw(t, "text"), 1)
			without.frame = frame{}
			got, want := with.decode([]byte(data)), without.decode([]byte(data))
			if fmt.Sprint(got) != fmt.Sprint(want) || !reflect.DeepEqual(with.events, without.events) {
				t.Fatalf("%s: %v %+v, want %v %+v", data, got, with.events, want, without.events)
			}
			if got != nil {
				return
			}
		}
		got, want := with.End(true), without.End(true)
		if fmt.Sprint(got) != fmt.Sprint(want) || !reflect.DeepEqual(with.events, without.events) {
			t.Fatalf("at the end: %v %+v, want %v %+v", got, with.events, want, without.events)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	data := []byte(`{"id":"chatcmpl-123","object":"chat.completion.chunk","created":1700000000,"model":"m","choices":[{"index":0,"delta":{"content":" river"},"logprobs":null,"finish_reason":null}],"usage":null}`)
	for _, framed := range []bool{true, false} {
		b.Run(map[bool]string{true: "framed", false: "parsed"}[framed], func(b *testing.B) {
			d := newDecoder(1, noSecrets)
			b.ReportAllocs()
			for b.Loop() {
				d.events = d.events[:0]
				if !framed {
					d.frame.before = d.frame.before[:0]
				}
				if err := d.decode(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
