package openai

import (
	"net/http"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/gateway"
)

// lastEvent is an answer that keeps what was written last.
type lastEvent struct {
	header http.Header
	last   []byte
}

func (w *lastEvent) Header() http.Header { return w.header }
func (w *lastEvent) WriteHeader(int)     {}
func (w *lastEvent) Flush()              {}
func (w *lastEvent) Write(b []byte) (int, error) {
	w.last = append(w.last[:0], b...)
	return len(b), nil
}

func TestAChunkOfContentIsAsAnyOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &lastEvent{header: http.Header{}}
		events := newEvents(w, time.Hour)
		defer events.end()
		model := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{`"."`, `.`, `{"content":"."}`})).Draw(t, "model")
		out := newChunks(events, &gateway.Call{Model: model}, rapid.Bool().Draw(t, "usage"), "")
		if err := out.Start(&gateway.Answer{RequestID: "1", Start: time.Unix(1, 0)}); err != nil {
			t.Fatal(err)
		}
		for n := range rapid.IntRange(1, 8).Draw(t, "chunks") {
			candidate := rapid.IntRange(0, 2).Draw(t, "candidate")
			text := rapid.OneOf(rapid.StringN(1, -1, -1), rapid.SampledFrom([]string{`"."`, "<&>", "\u2028", "\xff", "\n\n", "编"})).Draw(t, "text")
			piece := delta{Content: text}
			if !out.begun[candidate] {
				piece.Role = "assistant"
			}
			want, err := marshal(out.chunk(chunkChoice{Index: candidate, Delta: piece}))
			if err != nil {
				t.Fatal(err)
			}
			if err := out.Delta(gateway.Delta{Candidate: candidate, Channel: backend.Content, Text: text}); err != nil {
				t.Fatal(err)
			}
			if got := string(w.last); got != "data: "+string(want)+"\n\n" {
				t.Fatalf("chunk %d is %q, not %q", n, got, want)
			}
		}
	})
}

// BenchmarkDelta is what a piece of text costs until it is bytes of an event.
func BenchmarkDelta(b *testing.B) {
	events := newEvents(&lastEvent{header: http.Header{}}, time.Hour)
	defer events.end()
	out := newChunks(events, &gateway.Call{Model: "m"}, false, "")
	if err := out.Start(&gateway.Answer{RequestID: "019abc", Start: time.Unix(1, 0)}); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := out.Delta(gateway.Delta{Channel: backend.Content, Text: "The river rises "}); err != nil {
			b.Fatal(err)
		}
	}
}
