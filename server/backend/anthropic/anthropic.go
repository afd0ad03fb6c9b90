// Package anthropic is the driver for Anthropic's Messages API with server-sent
// events, and for other servers that speak it. It turns the neutral form of a
// call into that wire and back; it knows no caller, no price and no policy, and
// it keeps nothing. The facts of the API are from its public reference for
// version 2023-06-01.
//
// Every call is streamed, also where the caller wants one whole answer: so calls
// can be cut, metered and cancelled alike.
//
// The API knows one candidate and no seed, no penalties, no names of speakers
// and no JSON without a schema. Messages of the roles system and developer are
// its system prompt, wherever they stand.
//
// What the model thinks comes with a signature, by which the API takes it back
// in the next turn; what has none, or another vendor's, is left out then. How
// much to reason is said in the way that the model takes, which its name tells:
// as an effort, or as a budget of tokens, which is the request's own or a share
// of the room for output.
//
// Only events, blocks and fields that are known here are read. What a server
// adds of its own never reaches a caller.
//
// Usage is additive on this wire: input_tokens leaves out what was read from or
// written to a cache, so each figure is a meter as it stands. Thinking is in
// output_tokens; where the API does not tell it apart, the meter of reasoning is
// absent.
package anthropic

import (
	"context"
	"fmt"
	"net/http"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/credential"
	"github.com/weir-gateway/weir/server/backend/httpstream"
)

// version is that of the API which the driver speaks.
const version = "2023-06-01"

// A Backend is one server. It is a backend.Backend.
type Backend struct {
	config Config
	client *httpstream.Client
}

// New makes a Backend. It fails where Validate does and connects to nothing.
func New(c Config) (*Backend, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	header, secrets := http.Header{}, []string{c.Key}
	for name, values := range c.Header {
		header[http.CanonicalHeaderKey(name)] = values
		secrets = append(secrets, values...)
	}
	header.Set("Anthropic-Version", version)
	if c.Key != "" {
		authorize(header, c.Key)
	}
	return &Backend{config: c, client: httpstream.New(httpstream.Config{
		Name: c.Name, URL: c.URL, Header: header, Secrets: secrets, Key: c.KeyFrom, Authorize: authorize, DialTimeout: c.DialTimeout, HeaderTimeout: c.HeaderTimeout,
	})}, nil
}

func authorize(header http.Header, key string) { header.Set("X-Api-Key", key) }

// String names the server and nothing that is secret.
func (b *Backend) String() string { return b.config.String() }

// Close drops the connections that no call uses.
func (b *Backend) Close() error {
	b.client.Close()
	return nil
}

// Capabilities implements backend.Backend. The driver knows the server's models
// apart by how they are told to think alone.
func (b *Backend) Capabilities(model string) backend.Capabilities {
	mind := mindOf(model)
	var urls []backend.Modality
	if b.config.MediaURLs {
		urls = []backend.Modality{backend.Image, backend.File}
	}
	return backend.Capabilities{
		Candidates:      1,
		TopK:            !mind.noSampling,
		Tools:           true,
		Schema:          true,
		Reasoning:       true,
		ReasoningBudget: mind.budget,
		Media:           b.config.Media,
		MediaURLs:       urls,
		ResultMedia:     true,
		MaxOutputTokens: b.config.MaxOutputTokens,
		Classes:         []accounting.ServiceClass{accounting.ServiceStandard},
		ServiceClass:    b.config.ServiceClass,
	}
}

// Generate implements backend.Backend.
func (b *Backend) Generate(ctx context.Context, req *backend.Request) (backend.Stream, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if req.Candidates > 1 {
		return nil, &backend.Error{Class: backend.Rejected, Detail: fmt.Sprintf("%s: %d candidates are wanted and the API gives one", b.config.Name, req.Candidates)}
	}
	body, err := b.encode(req)
	if err != nil {
		return nil, &backend.Error{Class: backend.Rejected, Detail: b.config.Name + ": request cannot be written as JSON", Err: err}
	}
	header := http.Header{}
	if req.RequestID != "" {
		header.Set("X-Request-Id", req.RequestID)
	}
	for name, value := range req.TraceContext {
		header.Set(name, value)
	}
	return b.client.Stream(ctx, "/messages", body, header, newDecoder(b.client.Secrets))
}

// newDecoder reads one answer.
func newDecoder(secrets *credential.Hider) *decoder {
	return &decoder{secrets: secrets, blocks: map[int]*block{}}
}
