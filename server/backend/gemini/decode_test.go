package gemini

import (
	"testing"
	"unicode/utf8"

	pb "cloud.google.com/go/ai/generativelanguage/apiv1beta/generativelanguagepb"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/weir-gateway/weir/server/backend"
)

// Whatever a server sends is read without a panic, candidates end once, and what
// is said is text.
func FuzzRead(f *testing.F) {
	for _, text := range []string{
		`{"candidates": [{"content": {"parts": [{"text": "Hi", "thoughtSignature": "c2ln"}, {"functionCall": {"name": "f", "args": {"x": [1, null]}}}]}, "finishReason": "STOP"}]}`,
		`{"promptFeedback": {"blockReason": "OTHER"}, "usageMetadata": {"promptTokenCount": -1, "totalTokenCount": 2147483647, "cachedContentTokenCount": 5}}`,
		`{"candidates": [{"index": 1, "content": {"parts": [{"text": "a"}]}, "logprobsResult": {"chosenCandidates": [{"token": "a"}], "topCandidates": [{}, {}]}}]}`,
	} {
		r := new(pb.GenerateContentResponse)
		if err := protojson.Unmarshal([]byte(text), r); err != nil {
			f.Fatal(err)
		}
		b, err := proto.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := new(pb.GenerateContentResponse)
		if proto.Unmarshal(data, r) != nil {
			return
		}
		s := &stream{candidates: make([]candidate, 2)}
		_ = s.read(r)
		_ = s.read(r)
		ended := map[int]bool{}
		for _, e := range s.events {
			if !utf8.ValidString(e.Text) || e.Kind == backend.Delta && e.Text == "" || e.Kind != backend.Started && ended[e.Candidate] {
				t.Errorf("event %+v", e)
			}
			ended[e.Candidate] = ended[e.Candidate] || e.Kind == backend.Finished
		}
		if u := meters(s.usage); u.Check() != nil {
			t.Errorf("usage %+v", u)
		}
	})
}
