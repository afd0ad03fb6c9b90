// Package openai is the driver for servers that speak OpenAI's HTTP API: chat
// completions with server-sent events, and embeddings. OpenAI, vLLM, SGLang, llama.cpp, Ollama
// and most clouds do. It turns the neutral form of a call into that wire and
// back; it knows no caller, no price and no policy, and it keeps nothing.
//
// Every chat is streamed and asks for its usage, also where the caller wants
// one whole answer: so calls can be cut, metered and cancelled alike.
//
// What a server adds to an answer in fields of its own goes beside it as extras.
//
// Usage keeps the server's totals: the meters of a call sum to prompt_tokens
// and completion_tokens. Where a detail contradicts its total (more cached
// tokens than prompt tokens), the detail is dropped and its meter absent.
// Where total_tokens is more than both, the surplus is what the server left
// out of completion_tokens, which is reasoning.
package openai

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/httpstream"
	"github.com/weir-gateway/weir/server/backend/load"
)

// maxCandidates is the most that the API allows.
const maxCandidates = 128

// maxAlternatives of a token is the most that the API allows.
const maxAlternatives = 20

// maxModelsBody is the most that is read of a list of models.
const maxModelsBody = 8 << 20

// A Backend is one server. It is a backend.Backend.
type Backend struct {
	config  Config
	dialect dialect
	client  *httpstream.Client
}

// New makes a Backend. It fails where Validate does and connects to nothing.
func New(c Config) (*Backend, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c.Candidates = max(1, c.Candidates)
	d := dialects[c.Dialect]
	header, secrets := http.Header{}, []string{c.Key}
	for name, values := range c.Header {
		header[http.CanonicalHeaderKey(name)] = values
		secrets = append(secrets, values...)
	}
	authorize := authorizeBy(d.KeyHeader)
	if c.Key != "" {
		authorize(header, c.Key)
	}
	if c.LoadReports {
		header.Set(load.Ask, "text")
	}
	return &Backend{config: c, dialect: d, client: httpstream.New(httpstream.Config{
		Name: c.Name, URL: c.URL, Header: header, Secrets: secrets, Key: c.KeyFrom, Authorize: authorize, DialTimeout: c.DialTimeout, HeaderTimeout: c.HeaderTimeout,
	})}, nil
}

// authorizeBy puts a key into a header of its own, or where none is named into
// Authorization.
func authorizeBy(name string) func(http.Header, string) {
	if name == "" {
		return func(header http.Header, key string) { header.Set("Authorization", "Bearer "+key) }
	}
	return func(header http.Header, key string) { header.Set(name, key) }
}

// path is where a method is: of a model, or of the server where none is given.
func (b *Backend) path(model, method string) string {
	if b.config.APIVersion == "" {
		return method
	}
	if model != "" {
		method = strings.ReplaceAll(b.dialect.Versioned, "{model}", url.PathEscape(model)) + method
	}
	return method + "?api-version=" + url.QueryEscape(b.config.APIVersion)
}

// String names the server and nothing that is secret.
func (b *Backend) String() string { return b.config.String() }

// Close drops the connections that no call uses.
func (b *Backend) Close() error {
	b.client.Close()
	return nil
}

// Capabilities implements backend.Backend. The driver does not know the
// server's models apart, but for those that it was told embed.
func (b *Backend) Capabilities(model string) backend.Capabilities {
	if slices.Contains(b.config.Embedding, model) {
		return backend.Capabilities{Embeds: true}
	}
	d := &b.dialect
	alternatives := cmp.Or(d.Alternatives, maxAlternatives)
	var urls []backend.Modality
	if b.config.MediaURLs {
		urls = []backend.Modality{backend.Image, backend.Video}
		if d.AudioURL {
			urls = append(urls, backend.Audio)
		}
	}
	return backend.Capabilities{
		Candidates:      b.config.Candidates,
		Seed:            !d.NoSeed,
		TopK:            d.TopK,
		Penalties:       true,
		Tools:           true,
		ToolChoices:     d.Choices,
		JSON:            true,
		Schema:          !d.NoSchema,
		Reasoning:       true,
		ReasoningBudget: d.Budget,
		Logprobs:        &alternatives,
		Media:           b.config.Media,
		MediaURLs:       urls,
		MediaOutput:     b.config.MediaOutput,
		MaxOutputTokens: b.config.MaxOutputTokens,
		Classes:         d.Classes,
		ServiceClass:    b.config.ServiceClass,
	}
}

// Generate implements backend.Backend.
func (b *Backend) Generate(ctx context.Context, req *backend.Request) (backend.Stream, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if req.Candidates > b.config.Candidates {
		return nil, &backend.Error{Class: backend.Rejected,
			Detail: fmt.Sprintf("%s: %d candidates are wanted and the configuration allows %d", b.config.Name, req.Candidates, b.config.Candidates)}
	}
	body, err := encodeRequest(req, &b.dialect)
	if err != nil {
		return nil, &backend.Error{Class: backend.Rejected, Detail: b.config.Name + ": request cannot be written as JSON", Err: err}
	}
	return b.client.Stream(ctx, b.path(req.Model, "/chat/completions"), body, headerOf(req.RequestID, req.TraceContext), newDecoder(max(1, req.Candidates), b.client.Secrets))
}

// headerOf is what a call carries beside its body.
func headerOf(requestID string, traceContext map[string]string) http.Header {
	header := http.Header{}
	if requestID != "" {
		header.Set("X-Request-Id", requestID)
	}
	for name, value := range traceContext {
		header.Set(name, value)
	}
	return header
}

// Models lists the names of the server's models, sorted.
func (b *Backend) Models(ctx context.Context) ([]string, error) {
	resp, err := b.client.Send(ctx, http.MethodGet, b.path("", "/models"), nil, nil)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = b.client.Failure(resp)
	}
	if err != nil {
		if ended := ctx.Err(); ended != nil {
			return nil, ended
		}
		return nil, err
	}
	defer resp.Body.Close()
	var list struct {
		Data []struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxModelsBody)).Decode(&list); err != nil {
		if ended := ctx.Err(); ended != nil {
			return nil, ended
		}
		return nil, &backend.Error{Class: backend.Protocol, Status: resp.StatusCode, Detail: b.config.Name + ": list of models cannot be read", Err: err}
	}
	names := make([]string, 0, len(list.Data))
	for _, m := range list.Data {
		if m.ID != "" {
			names = append(names, m.ID)
		}
	}
	slices.Sort(names)
	return names, nil
}
