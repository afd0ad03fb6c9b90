// Package oip is the driver for servers that speak the Open Inference Protocol
// over gRPC: Triton, MLServer, KServe and others. It turns the neutral form of a
// call into tensors and back; it knows no caller, no price and no policy, and
// keeps nothing but what servers say of their models, for a minute.
//
// The protocol knows tensors and no chats. A model that answers takes one text,
// for which a template makes one of the messages, and gives one text. What else it
// takes is told by its metadata, and by the names that Triton's backends for vLLM
// and TensorRT-LLM have: either all parameters as JSON in sampling_parameters, or
// each in a tensor of its own. A parameter that the model has no tensor for is
// refused by name, or left out where the request allows that; the limit of output
// is left out in any case, since the gateway has one for every call.
//
// There are no tools, no media and no JSON. Earlier reasoning is left out.
//
// Triton answers in pieces by ModelStreamInfer, and MLServer by another call of
// that name. All others answer whole.
//
// Usage is known where the model gives num_input_tokens and num_output_tokens, as
// vLLM does: the latter is that of one response. Of most models it is not.
package oip

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/weir-gateway/weir/gen/inference"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/grpcclient"
)

// ping is how long a silent connection is trusted. Triton allows a ping every five
// minutes where nothing else is said.
const ping = 6 * time.Minute

// A Backend is one server. It is a backend.Backend.
type Backend struct {
	config Config
	conn   *grpcclient.Client
	client inference.GRPCInferenceServiceClient
	now    func() time.Time

	mu    sync.Mutex
	known map[string]*model
}

// New makes a Backend. It fails where Validate does and connects to nothing.
func New(c Config) (*Backend, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	conn, err := grpcclient.New(c.grpc())
	if err != nil {
		return nil, err
	}
	return &Backend{config: c, conn: conn, client: inference.NewGRPCInferenceServiceClient(conn), now: time.Now, known: map[string]*model{}}, nil
}

// String names the server and nothing that is secret.
func (b *Backend) String() string { return b.config.String() }

// Close ends the connections, and the calls on them.
func (b *Backend) Close() error { return b.conn.Close() }

// Capabilities implements backend.Backend. Which parameters a model takes is for
// the server to say, when there is a call.
func (b *Backend) Capabilities(model string) backend.Capabilities {
	if slices.Contains(b.config.Embedding, model) {
		return backend.Capabilities{Embeds: true}
	}
	return backend.Capabilities{Candidates: 1, Seed: true, TopK: true, Penalties: true, MaxOutputTokens: b.config.MaxOutputTokens}
}

// Models implements backend.Lister: those that are ready. A server that has no
// list, which the protocol does not ask for, lists none.
func (b *Backend) Models(ctx context.Context) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var names []string
	err := b.conn.Keyed(ctx, func(key string) error {
		out := b.outgoing(ctx, "", nil, key)
		ready, err := b.client.ServerReady(out, &inference.ServerReadyRequest{})
		if err != nil {
			return b.conn.Failure(ctx, err, false)
		}
		if !ready.GetReady() {
			return b.conn.Error(backend.Overloaded, "the server is not ready")
		}
		all, err := b.client.RepositoryIndex(out, &inference.RepositoryIndexRequest{Ready: true})
		if status.Code(err) == codes.Unimplemented {
			return nil
		}
		if err != nil {
			return b.conn.Failure(ctx, err, false)
		}
		for _, m := range all.GetModels() {
			state := strings.TrimPrefix(m.GetState(), "State.") // as MLServer 1.7 says it
			if m.GetName() != "" && (state == "" || state == "READY") {
				names = append(names, m.GetName())
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// Generate implements backend.Backend. It returns with the first response, since
// a server says in no other way that it has taken the call.
func (b *Backend) Generate(ctx context.Context, req *backend.Request) (backend.Stream, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if req.Candidates > 1 {
		return nil, b.conn.Error(backend.Rejected, "%d candidates are wanted and a model gives one", req.Candidates)
	}
	var s *stream
	err := b.conn.Keyed(ctx, func(key string) error {
		m, err := b.model(ctx, req.Model, key)
		if err != nil {
			return err
		}
		in, err := b.encode(req, m)
		if err != nil {
			return b.conn.Error(backend.Rejected, "%s", err)
		}
		s, err = b.call(ctx, req, in, m, key)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (b *Backend) call(ctx context.Context, req *backend.Request, in *inference.ModelInferRequest, m *model, key string) (*stream, error) {
	own, cancel := context.WithCancel(b.outgoing(ctx, req.RequestID, req.TraceContext, key))
	s := &stream{ctx: ctx, cancel: cancel, backend: b, model: m, most: req.MaxOutputTokens}
	var err error
	if s.receive, err = b.responses(own, in, m.stream); err != nil {
		err = b.conn.Failure(ctx, err, false)
	} else {
		err = s.advance()
	}
	if err != nil {
		cancel()
		return nil, err
	}
	return s, nil
}

// outgoing is a context with the metadata of a call, and with none that another
// part of the program may have left there.
func (b *Backend) outgoing(ctx context.Context, requestID string, traceContext map[string]string, key string) context.Context {
	md := metadata.MD{}
	if key != "" {
		md.Set("authorization", "Bearer "+key)
	}
	if requestID != "" {
		md.Set("x-request-id", requestID)
	}
	for name, value := range traceContext {
		md.Set(name, value)
	}
	return metadata.NewOutgoingContext(ctx, md)
}

// refused is what a model cannot do.
func refused(m *model, format string, args ...any) error {
	return fmt.Errorf("model %s %s", m.name, fmt.Sprintf(format, args...))
}
