// Package gemini is the driver for Google's Gemini API over gRPC
// (google.ai.generativelanguage.v1beta), and for other servers that speak it. It
// turns the neutral form of a call into that wire and back; it knows no caller, no
// price and no policy, and it keeps nothing. The facts of the API are from its
// public reference and the comments of its generated code.
//
// Every call is streamed, also where the caller wants one whole answer: so calls
// can be cut, metered and cancelled alike.
//
// Messages of the roles system and developer are its system instruction, wherever
// they stand. The API has no names of speakers, no title of JSON and no strictness
// of schemas. Where it gives a call of a tool no id, the driver makes one of its
// place, since callers need it to answer; it goes back as it came.
//
// What the model thinks, and what it calls, comes with a signature by which the API
// takes it back in the next turn; another vendor's is left out, and so is
// reasoning that has none.
//
// Only parts that are known here are read: code that the server runs of itself is
// none, since no request here turns it on. What a response has beside its parts,
// such as ratings and citations, goes beside the answer as extras.
//
// Usage is told as totals: the cached part of the prompt is in the prompt's count,
// thoughts are beside the candidates'. Embeddings come without usage.
package gemini

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	pb "cloud.google.com/go/ai/generativelanguage/apiv1beta/generativelanguagepb"
	"google.golang.org/grpc/metadata"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/grpcclient"
)

// ping is how long a silent connection is trusted; the API's servers allow a ping
// every few minutes.
const ping = 6 * time.Minute

// maxAlternatives of a token are the most that the API gives.
const maxAlternatives = 20

// maxCandidates is the most that the API gives.
const maxCandidates = 8

// maxModels ends a list that goes on for ever.
const maxModels = 100_000

// A Backend is one server. It is a backend.Backend.
type Backend struct {
	config Config
	conn   *grpcclient.Client
	client pb.GenerativeServiceClient
	models pb.ModelServiceClient
}

// New makes a Backend. It fails where Validate does and connects to nothing.
func New(c Config) (*Backend, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c.Candidates = max(1, c.Candidates)
	conn, err := grpcclient.New(c.grpc())
	if err != nil {
		return nil, err
	}
	return &Backend{config: c, conn: conn, client: pb.NewGenerativeServiceClient(conn), models: pb.NewModelServiceClient(conn)}, nil
}

// String names the server and nothing that is secret.
func (b *Backend) String() string { return b.config.String() }

// Close ends the connections, and the calls on them.
func (b *Backend) Close() error { return b.conn.Close() }

// Capabilities implements backend.Backend. The driver does not know the server's
// models apart, but for those that were said to embed.
func (b *Backend) Capabilities(model string) backend.Capabilities {
	if slices.Contains(b.config.Embedding, model) {
		return backend.Capabilities{Embeds: true}
	}
	alternatives := maxAlternatives
	var urls []backend.Modality
	if b.config.MediaURLs {
		urls = backend.Modalities()
	}
	return backend.Capabilities{
		Candidates:      b.config.Candidates,
		Seed:            true,
		TopK:            true,
		Penalties:       true,
		Tools:           true,
		JSON:            true,
		Schema:          true,
		Reasoning:       true,
		ReasoningBudget: true,
		Logprobs:        &alternatives,
		Media:           b.config.Media,
		MediaURLs:       urls,
		MediaOutput:     b.config.MediaOutput,
		MaxOutputTokens: b.config.MaxOutputTokens,
		ServiceClass:    accounting.ServiceStandard, // ai.google.dev/gemini-api/docs/priority-inference
	}
}

// Models implements backend.Lister.
func (b *Backend) Models(ctx context.Context) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var names []string
	err := b.conn.Keyed(ctx, func(key string) error {
		names = nil
		for token := ""; ; {
			page, err := b.models.ListModels(b.outgoing(ctx, "", nil, key, ""), &pb.ListModelsRequest{PageSize: 1000, PageToken: token})
			if err != nil {
				return b.conn.Failure(ctx, err, false)
			}
			for _, m := range page.GetModels() {
				names = append(names, strings.TrimPrefix(m.GetName(), "models/"))
			}
			if token = page.GetNextPageToken(); token == "" || len(names) > maxModels {
				return nil
			}
		}
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// Generate implements backend.Backend. It returns with the first response, since
// the API says in no other way that it has taken the call.
func (b *Backend) Generate(ctx context.Context, req *backend.Request) (backend.Stream, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if req.Candidates > b.config.Candidates {
		return nil, b.conn.Error(backend.Rejected, "%d candidates are wanted and the configuration allows %d", req.Candidates, b.config.Candidates)
	}
	in, err := encode(req)
	if err != nil {
		return nil, b.conn.Error(backend.Rejected, "%s", err)
	}
	var s *stream
	err = b.conn.Keyed(ctx, func(key string) (err error) {
		s, err = b.call(ctx, req, in, key)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (b *Backend) call(ctx context.Context, req *backend.Request, in *pb.GenerateContentRequest, key string) (*stream, error) {
	own, cancel := context.WithCancel(b.outgoing(ctx, req.RequestID, req.TraceContext, key, in.Model))
	s := &stream{ctx: ctx, cancel: cancel, conn: b.conn, candidates: make([]candidate, max(1, req.Candidates))}
	var err error
	if s.wire, err = b.client.StreamGenerateContent(own, in); err == nil {
		err = s.advance()
	} else {
		err = b.conn.Failure(ctx, err, false)
	}
	if err != nil {
		cancel()
		return nil, err
	}
	return s, nil
}

// resource is the name of a model as the API has it. A tuned model has one of its
// own kind.
func resource(model string) string {
	if strings.Contains(model, "/") {
		return model
	}
	return "models/" + model
}

// outgoing is a context with the metadata of a call, and with none that another
// part of the program may have left there.
func (b *Backend) outgoing(ctx context.Context, requestID string, traceContext map[string]string, key, model string) context.Context {
	md := metadata.MD{}
	if key != "" {
		md.Set("x-goog-api-key", key)
	}
	if model != "" {
		md.Set("x-goog-request-params", "model="+url.QueryEscape(model))
	}
	if requestID != "" {
		md.Set("x-request-id", requestID)
	}
	for name, value := range traceContext {
		md.Set(name, value)
	}
	return metadata.NewOutgoingContext(ctx, md)
}
