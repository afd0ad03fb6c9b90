package oip

import (
	"context"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weir-gateway/weir/gen/inference"
)

// freshness is how long what a server says of a model counts: it may load
// another version at any time.
const freshness = time.Minute

type tensorMetadata = inference.ModelMetadataResponse_TensorMetadata

// A model is what a server says of one.
type model struct {
	name            string
	inputs, outputs []*tensorMetadata
	stream          Streaming // never Auto
	until           time.Time
}

// model asks the server for one, where that was not just done.
func (b *Backend) model(ctx context.Context, name, key string) (*model, error) {
	b.mu.Lock()
	m := b.known[name]
	b.mu.Unlock()
	if m != nil && b.now().Before(m.until) {
		return m, nil
	}
	ctx = b.outgoing(ctx, "", nil, key)
	m = &model{name: name, stream: b.config.Streaming, until: b.now().Add(freshness)}
	if m.stream == Auto {
		m.stream = Whole
		server, err := b.client.ServerMetadata(ctx, &inference.ServerMetadataRequest{})
		switch {
		case err != nil && status.Code(err) != codes.Unimplemented:
			return nil, b.conn.Failure(ctx, err, false)
		case server.GetName() == "triton":
			m.stream = Triton
		}
	}
	said, err := b.client.ModelMetadata(ctx, &inference.ModelMetadataRequest{Name: name})
	if err != nil && status.Code(err) != codes.Unimplemented {
		return nil, b.conn.Failure(ctx, err, false)
	}
	m.inputs, m.outputs = said.GetInputs(), said.GetOutputs()
	b.mu.Lock()
	b.known[name] = m
	b.mu.Unlock()
	return m, nil
}

func named(all []*tensorMetadata, name string) *tensorMetadata {
	if i := slices.IndexFunc(all, func(t *tensorMetadata) bool { return t.GetName() == name }); i >= 0 {
		return all[i]
	}
	return nil
}

// prompt is the tensor of the text that goes in.
func (m *model) prompt(name string) (*tensorMetadata, error) {
	if t := named(m.inputs, name); t != nil {
		return t, nil
	}
	if len(m.inputs) == 0 { // the model says nothing
		return &tensorMetadata{Name: name, Datatype: bytesType, Shape: []int64{-1}}, nil
	}
	var only *tensorMetadata
	for _, t := range m.inputs {
		if t.GetDatatype() == bytesType {
			if only != nil {
				return nil, refused(m, "takes no tensor %s: name the right one under oip.prompt", name)
			}
			only = t
		}
	}
	if only == nil {
		return nil, refused(m, "takes no text")
	}
	return only, nil
}

// takes tells whether the model has an input of the name.
func (m *model) takes(name string) bool { return named(m.inputs, name) != nil }

// gives tells whether the model can be asked for an output by an input.
func (m *model) gives(input, output string) bool {
	return m.takes(input) && named(m.outputs, output) != nil
}
