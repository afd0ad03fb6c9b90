package backend

import (
	"context"
	"fmt"
	"math"

	"github.com/weir-gateway/weir/accounting"
)

// An Embedder is a Backend that turns texts into vectors. The interface is
// optional: ask for it by a type assertion, and ask Capabilities which models do.
type Embedder interface {
	// Embed returns a vector for each text, or fails whole. A failure is an
	// *Error or the context's. The context ends the call, upstream as well.
	Embed(ctx context.Context, req *EmbedRequest) (*Embeddings, error)
}

// An EmbedRequest asks a target for vectors. A driver must not change it.
type EmbedRequest struct {
	// RequestID, TraceContext and Model are as in a Request.
	RequestID    string
	TraceContext map[string]string
	Model        string
	// Inputs are the texts, at least one and none of them empty.
	Inputs []string
	// Dimensions is how many numbers each vector shall have; nil is as many as the
	// model has.
	Dimensions *int
}

// Embeddings answer an EmbedRequest.
type Embeddings struct {
	// BackendModel is the model's name and version as the backend says it, empty
	// where it says nothing.
	BackendModel string
	// Vectors are in the order of the inputs, all of as many finite numbers.
	Vectors [][]float32
	// Usage is what the backend says was used; it knows nothing where the backend
	// says nothing.
	Usage accounting.Usage
}

// Check tells what is wrong with an answer to a request, as an *Error. Drivers
// return none that fails it. A vector of another length than was asked for means
// that the model cannot shorten its own: the request is wrong for it, and it is
// well.
func (e *Embeddings) Check(req *EmbedRequest) error {
	bad := func(format string, args ...any) error {
		return &Error{Class: Protocol, Detail: fmt.Sprintf(format, args...)}
	}
	if len(e.Vectors) != len(req.Inputs) {
		return bad("%d texts got %d vectors", len(req.Inputs), len(e.Vectors))
	}
	for i, v := range e.Vectors {
		switch {
		case len(v) == 0:
			return bad("vector %d is missing, or empty", i)
		case len(v) != len(e.Vectors[0]):
			return bad("vector %d has %d numbers and vector 0 has %d", i, len(v), len(e.Vectors[0]))
		}
		for _, x := range v {
			if f := float64(x); math.IsNaN(f) || math.IsInf(f, 0) {
				return bad("vector %d has a number that is not finite", i)
			}
		}
	}
	if d := req.Dimensions; d != nil && *d != len(e.Vectors[0]) {
		return &Error{Class: Rejected, Detail: fmt.Sprintf("the model gives vectors of %d numbers, %d were asked for", len(e.Vectors[0]), *d)}
	}
	return nil
}

// Place puts a vector at its place. It fails with an *Error where that is taken,
// or none of a request's.
func (e *Embeddings) Place(index int, vector []float32) error {
	switch {
	case index < 0 || index >= len(e.Vectors):
		return &Error{Class: Protocol, Detail: fmt.Sprintf("vector %d of %d", index, len(e.Vectors))}
	case e.Vectors[index] != nil:
		return &Error{Class: Protocol, Detail: fmt.Sprintf("vector %d came twice", index)}
	}
	e.Vectors[index] = vector
	return nil
}
