package anthropic

import (
	"errors"
	"fmt"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/credential"
)

// decodeAll checks the events of any wire against the contract.
func decodeAll(t interface{ Fatalf(string, ...any) }, wire []string) {
	d := newDecoder(credential.Hiding(nil))
	var events []backend.Event
	var err error
	for _, data := range wire {
		var done bool
		done, err = d.Decode(nil, []byte(data))
		events = append(events, d.Take()...)
		if done || err != nil {
			break
		}
	}
	if err == nil {
		err = d.End(true)
		events = append(events, d.Take()...)
	}
	var e *backend.Error
	if err != nil && (!errors.As(err, &e) || e.Detail == "" || e.Class == "") {
		t.Fatalf("error is %#v", err)
	}
	calls, finished := 0, false
	for i, e := range events {
		bad := false
		switch e.Kind {
		case backend.Called:
			bad = e.Call != calls || e.Tool == "" || finished
			calls++
		case backend.Delta:
			bad = e.Text == "" || !utf8.ValidString(e.Text) || finished || e.Channel == "" || e.Channel == backend.Arguments && e.Call >= calls
		case backend.Finished:
			bad = finished || e.Finish == backend.FinishToolCalls && calls == 0
			finished = true
		case backend.Used:
			bad = i != len(events)-1 || e.Usage.Check() != nil
		}
		if bad {
			t.Fatalf("event %d is %+v of %+v", i, e, events)
		}
	}
	if err == nil && !finished {
		t.Fatalf("the answer did not finish: %+v", events)
	}
}

// Events of known fields in any order and shape break no rule.
func TestDecodeKeepsTheContract(t *testing.T) {
	value := rapid.SampledFrom([]string{`null`, `""`, `"hi"`, `"\ud83d"`, `"\ude00"`, "\"\xe6\xb0\"", "\"\xb4\"", `0`, `-1`, `[]`, `{}`, `{"a":"\ud83d"}`, `true`})
	kind := rapid.SampledFrom([]string{"message_start", "content_block_start", "content_block_start", "content_block_delta", "content_block_delta", "content_block_delta", "content_block_stop", "message_delta", "message_stop", "ping", "x"})
	rapid.Check(t, func(t *rapid.T) {
		var wire []string
		for range rapid.IntRange(0, 8).Draw(t, "events") {
			pair := rapid.SampledFrom([][2]string{{"text", "text_delta"}, {"thinking", "thinking_delta"}, {"tool_use", "input_json_delta"}, {"x", "x"}}).Draw(t, "kinds")
			v := value.Draw(t, "value")
			wire = append(wire, fmt.Sprintf(`{"type":%q,"index":%d,"message":{"model":"m","usage":%s},"content_block":{"type":%q,"text":%s,"thinking":%s,"name":"f","id":%s,"input":%s},"delta":{"type":%q,"text":%s,"thinking":%s,"partial_json":%s,"stop_reason":%s},"usage":{"output_tokens":%s}}`,
				kind.Draw(t, "kind"), rapid.IntRange(0, 2).Draw(t, "index"), v, pair[0], v, v, v, v, pair[1], v, v, v, rapid.SampledFrom([]string{"null", `"tool_use"`, `"end_turn"`}).Draw(t, "reason"), v))
		}
		decodeAll(t, wire)
	})
}

func FuzzDecode(f *testing.F) {
	f.Add(`{"type":"message_start"}`, `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"a\ud83d"}}`, `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\ude00"}}`)
	f.Add(`{"type":"content_block_start","index":-1,"content_block":{"type":"tool_use","name":"f","input":{"a":1}}}`, `{"type":"content_block_stop","index":-1}`, `{"type":"message_delta","delta":{"stop_reason":"tool_use"}}`)
	f.Fuzz(func(t *testing.T, one, two, three string) { decodeAll(t, []string{one, two, three}) })
}

func BenchmarkDecode(b *testing.B) {
	d := newDecoder(credential.Hiding(nil))
	for _, data := range []string{`{"type":"message_start"}`, `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`} {
		if _, err := d.Decode(nil, []byte(data)); err != nil {
			b.Fatal(err)
		}
	}
	data := []byte(`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" river"}}`)
	b.ReportAllocs()
	for b.Loop() {
		d.Take()
		if _, err := d.Decode(nil, data); err != nil {
			b.Fatal(err)
		}
	}
}
