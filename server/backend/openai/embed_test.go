package openai_test

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/openai"
)

// embed answers as servers do, in reverse order, which index allows.
func (s *server) embed(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Model          string
		Input          []string
		EncodingFormat string `json:"encoding_format"`
		Dimensions     *int
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in.EncodingFormat != "float" {
		writeError(w, 400, 0, fmt.Sprintf("not a request: %v", err), "")
		return
	}
	got, err := s.sim.Embed(r.Context(), &backend.EmbedRequest{RequestID: r.Header.Get("X-Request-Id"), Model: in.Model, Inputs: in.Input, Dimensions: in.Dimensions})
	var failed *backend.Error
	switch {
	case errors.As(err, &failed) && failed.Class == backend.ContextExceeded:
		writeError(w, 400, 0, "too long", "context_length_exceeded")
		return
	case errors.As(err, &failed) && failed.Class == backend.ModelMissing:
		writeError(w, 404, 0, "no such model", "model_not_found")
		return
	case errors.As(err, &failed):
		writeError(w, failed.Status, failed.RetryAfter.Seconds(), failed.Detail, "")
		return
	case err != nil:
		return
	}
	var data []map[string]any
	for i, v := range slices.Backward(got.Vectors) {
		one := map[string]any{"object": "embedding", "index": i, "embedding": v}
		if s.base64 {
			bits, _ := binary.Append(nil, binary.LittleEndian, v)
			one["embedding"] = base64.StdEncoding.EncodeToString(bits)
		}
		data = append(data, one)
	}
	n, _ := got.Usage.InputTokens()
	json.NewEncoder(w).Encode(map[string]any{"object": "list", "model": in.Model, "data": data, "usage": map[string]any{"prompt_tokens": n, "total_tokens": n}})
}

// An answer that is not one vector for each text, all alike, is none.
func TestEmbeddingsThatMakeNoSense(t *testing.T) {
	const two = `{"index":0,"embedding":[1,0]},{"index":1,"embedding":[0,1]}`
	for answer, want := range map[string]backend.Class{
		`{"data":[` + two + `]}`: "",
		`{"data":[{"embedding":[1,0]},{"embedding":[0,1]}],"usage":{"total_tokens":9}}`:    "",
		`{"data":[{"index":0,"embedding":[1,0]}]}`:                                         backend.Protocol,
		`{"data":[` + two + `,{"index":2,"embedding":[0,1]}]}`:                             backend.Protocol,
		`{"data":[{"index":0,"embedding":[1,0]},{"index":0,"embedding":[1,0]}]}`:           backend.Protocol,
		`{"data":[{"index":0,"embedding":[1,0]},{"index":-1,"embedding":[1,0]}]}`:          backend.Protocol,
		`{"data":[{"index":0,"embedding":[1,0]},{"index":1,"embedding":[1]}]}`:             backend.Protocol,
		`{"data":[{"index":0,"embedding":[]},{"index":1,"embedding":[]}]}`:                 backend.Protocol,
		`{"data":[{"index":0,"embedding":[1,0]},{"index":1,"embedding":"AADAfwAAwH8="}]}`:  backend.Protocol, // NaN
		`{"data":[{"index":0,"embedding":[1,0]},{"index":1,"embedding":"%%"}]}`:            backend.Protocol,
		`{"data":[{"index":0,"embedding":["secret-text"]},{"index":1,"embedding":[1,0]}]}`: backend.Protocol,
		`{"data":[{"index":0,"embedding":[1,0,0]},{"index":1,"embedding":[1,0,0]}]}`:       backend.Rejected, // dimensions were not heard
		`no JSON`: backend.Protocol,
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(answer)) }))
		b, err := openai.New(openai.Config{Name: "b", URL: s.URL})
		if err != nil {
			t.Fatal(err)
		}
		d := 2
		got, err := b.Embed(t.Context(), &backend.EmbedRequest{Model: "m", Inputs: []string{"a", "b"}, Dimensions: &d})
		switch {
		case want == "" && (err != nil || !slices.Equal(got.Vectors[1], []float32{0, 1}) || got.Usage.Known()):
			t.Errorf("%s: %+v %v", answer, got, err)
		case want != "" && (backend.ClassOf(err) != want || !strings.HasPrefix(err.Error(), "backend "+string(want)+": b: ") || strings.Contains(err.Error(), "secret")):
			t.Errorf("%s: %v, want class %s", answer, err, want)
		}
		b.Close()
		s.Close()
	}
}
