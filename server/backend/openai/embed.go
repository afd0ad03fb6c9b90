package openai

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/httpstream"
)

// maxEmbeddingsBody is the most that is read of an answer: 2048 vectors of 4096
// numbers, as JSON writes them, are some 100 MB.
const maxEmbeddingsBody = 256 << 20

type embedRequest struct {
	Model string   `json:"model"`
	Input []string `json:"input"`
	// EncodingFormat is float: every server knows it or sends it anyway, while
	// some refuse base64. An answer may be either.
	EncodingFormat string `json:"encoding_format"`
	Dimensions     *int   `json:"dimensions,omitempty"`
}

// Embed implements backend.Embedder.
func (b *Backend) Embed(ctx context.Context, req *backend.EmbedRequest) (*backend.Embeddings, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	out, err := b.embed(ctx, req)
	if ended := ctx.Err(); err != nil && ended != nil {
		return nil, ended
	}
	return out, err
}

func (b *Backend) embed(ctx context.Context, req *backend.EmbedRequest) (*backend.Embeddings, error) {
	body, err := httpstream.Encode(embedRequest{Model: req.Model, Input: req.Inputs, EncodingFormat: "float", Dimensions: req.Dimensions})
	if err != nil {
		return nil, &backend.Error{Class: backend.Rejected, Detail: b.config.Name + ": request cannot be written as JSON", Err: err}
	}
	resp, err := b.client.Send(ctx, http.MethodPost, b.path(req.Model, "/embeddings"), body, headerOf(req.RequestID, req.TraceContext))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, b.client.Failure(resp)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxEmbeddingsBody))
	if err != nil {
		return nil, &backend.Error{Class: backend.Broken, Status: resp.StatusCode, Detail: b.config.Name + ": the answer broke off"}
	}
	out, err := decodeEmbeddings(data, len(req.Inputs))
	if err == nil {
		err = out.Check(req)
	}
	if err != nil {
		var failed *backend.Error
		if errors.As(err, &failed) {
			failed.Detail = b.config.Name + ": " + failed.Detail
		}
		return nil, err
	}
	return out, nil
}

// decodeEmbeddings reads an answer with so many vectors.
func decodeEmbeddings(data []byte, n int) (*backend.Embeddings, error) {
	var in struct {
		Model json.RawMessage `json:"model"`
		Data  []struct {
			Index     *int   `json:"index"`
			Embedding vector `json:"embedding"`
		} `json:"data"`
		Usage json.RawMessage `json:"usage"`
	}
	if err := json.Unmarshal(data, &in); err != nil {
		return nil, &backend.Error{Class: backend.Protocol, Detail: "embeddings cannot be read: " + httpstream.ShapeOf(err)}
	}
	out := &backend.Embeddings{BackendModel: httpstream.StringOf(in.Model), Vectors: make([][]float32, n)}
	for i, d := range in.Data {
		if d.Index != nil { // some servers send them as they are ready
			i = *d.Index
		}
		if err := out.Place(i, d.Embedding); err != nil {
			return nil, err
		}
	}
	if t, known := parseUsage(in.Usage); httpstream.Present(in.Usage) && known && t.Prompt.Known {
		// Whatever a server says of completions, there were none.
		out.Usage.Set(accounting.Input, t.Prompt.N)
	}
	return out, nil
}

// vector is a list of numbers, or their little-endian 32 bits each in base64.
type vector []float32

// UnmarshalJSON reads both.
func (v *vector) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] != '"' {
		return json.Unmarshal(data, (*[]float32)(v))
	}
	bits, err := base64.StdEncoding.DecodeString(httpstream.StringOf(data))
	if err != nil || len(bits)%4 != 0 {
		return errors.New("no vector in base64")
	}
	*v = make(vector, len(bits)/4)
	for i := range *v {
		(*v)[i] = math.Float32frombits(binary.LittleEndian.Uint32(bits[4*i:]))
	}
	return nil
}
