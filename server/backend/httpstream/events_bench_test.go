package httpstream

import (
	"io"
	"strings"
	"testing"
)

// BenchmarkEvents reads an answer of 64 chunks as it comes, a chunk at a time.
func BenchmarkEvents(b *testing.B) {
	chunk := "data: {\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"choices\":[{\"index\":0,\"delta\":{\"content\":\"The river rises \"}}]}\n\n"
	answer := strings.Repeat(chunk, 64)
	b.ReportAllocs()
	for b.Loop() {
		events := newEventReader(inChunks{strings.NewReader(answer), len(chunk)})
		for {
			if _, _, err := events.next(); err == io.EOF {
				break
			} else if err != nil {
				b.Fatal(err)
			}
		}
	}
}

type inChunks struct {
	from io.Reader
	size int
}

func (r inChunks) Read(p []byte) (int, error) { return r.from.Read(p[:min(len(p), r.size)]) }
