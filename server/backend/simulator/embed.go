package simulator

import (
	"context"
	"fmt"
	"hash/fnv"
	"math"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/server/backend"
)

// Embed implements backend.Embedder. The vector of a text is the sum of one
// random vector of signs for each of its tokens (a random projection of its bag
// of words), of unit length: texts that share words are near each other. Fewer
// dimensions are the beginning of that vector, of unit length again, as models
// trained for it give them.
func (b *Backend) Embed(ctx context.Context, req *backend.EmbedRequest) (*backend.Embeddings, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p, err := b.profile(req.Model)
	if err != nil {
		return nil, err
	}
	out := &backend.Embeddings{BackendModel: req.Model}
	dimensions, input, err := p.embeds(req)
	if err != nil {
		return nil, err
	}
	if err := b.fault(p, req.RequestID); err != nil {
		return nil, err
	}
	entry := b.book.open(req.RequestID)
	switch err := p.pass(ctx); {
	case err == nil:
		entry.end(EndedWhole, b.ended)
	case ctx.Err() != nil:
		entry.end(EndedCancelled, b.ended)
		return nil, err
	default:
		entry.end(EndedFaulted, b.ended)
		return nil, err
	}
	for _, text := range req.Inputs {
		out.Vectors = append(out.Vectors, embed(text, dimensions))
	}
	if p.Fault == FaultUsage {
		input *= 2
	}
	out.Usage.Set(accounting.Input, int64(input))
	return out, nil
}

// embeds tells how many numbers the vectors of a request have and how many
// tokens its texts, and refuses what a real server refuses.
func (p Profile) embeds(req *backend.EmbedRequest) (dimensions, input int, err error) {
	rejected := func(format string, args ...any) error {
		return &backend.Error{Class: backend.Rejected, Status: 400, Detail: fmt.Sprintf(format, args...)}
	}
	dimensions = p.Dimensions
	switch {
	case dimensions == 0:
		return 0, 0, rejected("the simulated model %q gives no embeddings", req.Model)
	case len(req.Inputs) == 0:
		return 0, 0, rejected("a request needs at least one text")
	case req.Dimensions != nil && (*req.Dimensions < 1 || *req.Dimensions > dimensions):
		return 0, 0, rejected("%d dimensions are wanted, the simulated model %q has %d", *req.Dimensions, req.Model, dimensions)
	case req.Dimensions != nil:
		dimensions = *req.Dimensions
	}
	for i, text := range req.Inputs {
		n := countTokens(text)
		switch {
		case n == 0:
			return 0, 0, rejected("text %d is empty", i)
		case p.ContextTokens > 0 && n > p.ContextTokens:
			return 0, 0, &backend.Error{Class: backend.ContextExceeded, Status: 400,
				Detail: fmt.Sprintf("text %d has %d tokens and the model's context %d", i, n, p.ContextTokens)}
		}
		input += n
	}
	return dimensions, input, nil
}

// pass lets the time pass until there is an answer, and fails as the profile
// does.
func (p Profile) pass(ctx context.Context) error {
	if p.Fault == FaultStall {
		<-ctx.Done()
		return ctx.Err()
	}
	if p.TimeToFirstToken > 0 {
		t := time.NewTimer(p.TimeToFirstToken)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if p.Fault == FaultReset || p.Fault == FaultCut {
		return &backend.Error{Class: backend.Broken, Detail: "simulated reset of the connection"}
	}
	return nil
}

func embed(text string, dimensions int) []float32 {
	sum := make([]float64, dimensions)
	for text != "" {
		n := firstToken(text)
		h := fnv.New64a()
		h.Write([]byte(text[:n]))
		signs := chance(h.Sum64())
		for i := 0; i < dimensions; i += 64 {
			bits := signs.next()
			for j := i; j < min(i+64, dimensions); j++ {
				sum[j] += float64(bits&1)*2 - 1
				bits >>= 1
			}
		}
		text = text[n:]
	}
	var square float64
	for _, x := range sum {
		square += x * x
	}
	if square == 0 { // the signs cancel each other, as they may in few dimensions
		sum[0], square = 1, 1
	}
	out := make([]float32, dimensions)
	for i, x := range sum {
		out[i] = float32(x / math.Sqrt(square))
	}
	return out
}
