package oip

import (
	"context"

	"github.com/weir-gateway/weir/gen/inference"
	"github.com/weir-gateway/weir/server/backend"
)

// Embed implements backend.Embedder. A model whose tensor holds one text is asked
// for each.
func (b *Backend) Embed(ctx context.Context, req *backend.EmbedRequest) (*backend.Embeddings, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	out := &backend.Embeddings{}
	err := b.conn.Keyed(ctx, func(key string) error {
		m, err := b.model(ctx, req.Model, key)
		if err != nil {
			return err
		}
		prompt, err := m.prompt(b.config.Prompt)
		if err == nil && len(m.outputs) > 0 && named(m.outputs, b.config.Vector) == nil && !m.vectors() {
			err = refused(m, "gives no tensor %s: name the right one under oip.vector", b.config.Vector)
		}
		if err != nil {
			return b.conn.Error(backend.Rejected, "%s", err)
		}
		own := b.outgoing(ctx, req.RequestID, req.TraceContext, key)
		texts, vectors := req.Inputs, make([][]float32, 0, len(req.Inputs))
		for len(texts) > 0 {
			n := len(texts)
			if s := prompt.GetShape(); len(s) > 0 && s[0] == 1 {
				n = 1
			}
			in, err := batch(prompt, texts[:n])
			if err != nil {
				return b.conn.Error(backend.Rejected, "%s", err)
			}
			r, err := b.client.ModelInfer(own, &inference.ModelInferRequest{
				ModelName: req.Model, Id: req.RequestID, Inputs: []*inference.ModelInferRequest_InferInputTensor{in},
			})
			if err != nil {
				return b.conn.Failure(ctx, err, false)
			}
			some, err := b.vectors(r, n)
			if err != nil {
				return err
			}
			vectors, texts = append(vectors, some...), texts[n:]
			out.BackendModel = r.GetModelName()
		}
		out.Vectors = vectors
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := out.Check(req); err != nil {
		return nil, b.conn.Error(backend.ClassOf(err), "%s", err)
	}
	return out, nil
}

// batch is a tensor of texts, one in each place of its first dimension.
func batch(t *tensorMetadata, texts []string) (*inference.ModelInferRequest_InferInputTensor, error) {
	in, err := write(t, texts)
	if err != nil {
		return nil, err
	}
	in.Shape[len(in.Shape)-1], in.Shape[0] = 1, int64(len(texts))
	return in, nil
}

// vectors tells whether the model gives one tensor of numbers.
func (m *model) vectors() bool {
	n := 0
	for _, t := range m.outputs {
		if t.GetDatatype() == "FP32" {
			n++
		}
	}
	return n == 1
}

// vectors are those of n texts.
func (b *Backend) vectors(r *inference.ModelInferResponse, n int) ([][]float32, error) {
	o, err := find(r, b.config.Vector, "FP32")
	if err != nil || o == nil {
		if err == nil {
			return nil, b.conn.Error(backend.Protocol, "no tensor of the response is %s", b.config.Vector)
		}
		return nil, b.conn.Error(backend.Protocol, "%s", err)
	}
	all, err := o.floats()
	if err != nil {
		return nil, b.conn.Error(backend.Protocol, "%s", err)
	}
	size := len(all) / n
	if size == 0 || size*n != len(all) || len(o.GetShape()) > 1 && o.GetShape()[0] != int64(n) {
		return nil, b.conn.Error(backend.Protocol, "%d numbers of shape %v came for %d texts", len(all), o.GetShape(), n)
	}
	vectors := make([][]float32, n)
	for i := range vectors {
		vectors[i] = all[i*size : (i+1)*size : (i+1)*size]
	}
	return vectors, nil
}
