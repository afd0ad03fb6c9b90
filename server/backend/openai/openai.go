// Package openai is the driver for servers that speak OpenAI's HTTP API: chat
// completions with server-sent events. OpenAI, vLLM, SGLang, llama.cpp, Ollama
// and most clouds do. It turns the neutral form of a call into that wire and
// back; it knows no caller, no price and no policy, and it keeps nothing.
//
// Every call is streamed and asks for its usage, also where the caller wants
// one whole answer: so calls can be cut, metered and cancelled alike.
//
// Only fields that are known here are read. What a server adds in fields of
// its own never reaches a caller.
//
// Text is cut between runes. A rune that the server splits over two deltas, as
// two JSON surrogates or as two parts of its UTF-8, is put together again;
// what is no rune becomes U+FFFD.
//
// Usage keeps the server's totals: the meters of a call sum to prompt_tokens
// and completion_tokens. Where a detail contradicts its total (more cached
// tokens than prompt tokens), the detail is dropped and its meter absent.
// Where total_tokens is more than both, the surplus is what the server left
// out of completion_tokens, which is reasoning.
package openai

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/weir-gateway/weir/server/backend"
)

// maxCandidates is the most that the API allows.
const maxCandidates = 128

// The most that is read of an answer that is no stream.
const (
	maxErrorBody  = 64 << 10
	maxModelsBody = 8 << 20
)

// A Backend is one server. It is a backend.Backend.
type Backend struct {
	config  Config
	base    string // the URL without a slash at its end
	client  *http.Client
	secrets *strings.Replacer
}

// New makes a Backend. It fails where Validate does and connects to nothing.
func New(c Config) (*Backend, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.DialTimeout == 0 {
		c.DialTimeout = defaultDialTimeout
	}
	c.Candidates = max(1, c.Candidates)
	c.Header = c.Header.Clone()
	dialer := &net.Dialer{Timeout: c.DialTimeout, KeepAlive: 30 * time.Second}
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dialer.DialContext,
		TLSHandshakeTimeout:   c.DialTimeout,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:     true,
		ResponseHeaderTimeout: c.HeaderTimeout,
		MaxIdleConns:          512,
		MaxIdleConnsPerHost:   256,
		IdleConnTimeout:       90 * time.Second,
		// A stream that is compressed arrives in lumps.
		DisableCompression: true,
		// A connection that has died in silence would hold its calls until
		// their deadlines.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
	}
	return &Backend{
		config: c,
		base:   strings.TrimRight(c.URL, "/"),
		client: &http.Client{
			Transport: transport,
			// A redirect would carry the key and the prompt to wherever the
			// server says.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		secrets: secretsOf(c),
	}, nil
}

// secretsOf replaces what must not stand in an error: a server may repeat the
// key that it refuses.
func secretsOf(c Config) *strings.Replacer {
	var pairs []string
	hide := func(s string) {
		if len(s) >= 4 { // anything shorter is no secret and would garble the text
			pairs = append(pairs, s, "[secret]")
		}
	}
	hide(c.Key)
	for _, values := range c.Header {
		for _, v := range values {
			hide(v)
			if _, token, ok := strings.Cut(v, " "); ok { // "Bearer …"
				hide(token)
			}
		}
	}
	return strings.NewReplacer(pairs...)
}

// String names the server and nothing that is secret.
func (b *Backend) String() string { return b.config.String() }

// Close drops the connections that no call uses.
func (b *Backend) Close() error {
	b.client.CloseIdleConnections()
	return nil
}

// Capabilities implements backend.Backend. The driver does not know the
// server's models apart.
func (b *Backend) Capabilities(string) backend.Capabilities {
	return backend.Capabilities{
		Candidates:      b.config.Candidates,
		Seed:            !b.config.Quirks.NoSeed,
		TopK:            b.config.Quirks.TopK,
		Tools:           !b.config.Quirks.NoTools,
		JSON:            !b.config.Quirks.NoFormat,
		Schema:          !b.config.Quirks.NoFormat,
		MaxOutputTokens: b.config.MaxOutputTokens,
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
	body, err := encodeRequest(req, b.config.Quirks)
	if err != nil {
		return nil, &backend.Error{Class: backend.Rejected, Detail: b.config.Name + ": request cannot be written as JSON", Err: err}
	}
	own, cancel := context.WithCancel(ctx)
	resp, err := b.send(own, http.MethodPost, "/chat/completions", body, req.RequestID)
	if err == nil {
		err = b.refusal(resp)
	}
	if err != nil {
		cancel()
		if ended := ctx.Err(); ended != nil {
			return nil, ended
		}
		return nil, err
	}
	return newStream(ctx, cancel, resp.Body, max(1, req.Candidates), b), nil
}

// Models lists the names of the server's models, sorted.
func (b *Backend) Models(ctx context.Context) ([]string, error) {
	resp, err := b.send(ctx, http.MethodGet, "/models", nil, "")
	if err == nil && resp.StatusCode != http.StatusOK {
		err = b.failure(resp)
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

func (b *Backend) send(ctx context.Context, method, path string, body []byte, requestID string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, b.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, &backend.Error{Class: backend.Rejected, Detail: b.config.Name + ": request cannot be made"}
	}
	for name, values := range b.config.Header {
		req.Header[http.CanonicalHeaderKey(name)] = values
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "text/event-stream")
	}
	if b.config.Key != "" {
		req.Header.Set("Authorization", "Bearer "+b.config.Key)
	}
	if requestID != "" {
		req.Header.Set("X-Request-Id", requestID)
	}
	// A server may close a connection just as it is used again; llama.cpp does
	// so for some calls in a hundred. With this mark, which is not sent, the
	// transport tries such a call on another connection, if no byte of an
	// answer has come. What a new connection does is never tried again.
	req.Header["Idempotency-Key"] = nil
	resp, err := b.client.Do(req)
	if err != nil {
		return nil, b.unanswered(err)
	}
	return resp, nil
}

// unanswered classifies a call that got no answer at all.
func (b *Backend) unanswered(err error) error {
	// The outer error repeats the URL.
	if outer := errors.Unwrap(err); outer != nil {
		err = outer
	}
	e := &backend.Error{Class: backend.Broken, Detail: b.config.Name + ": no answer", Err: b.hidden(err)}
	var op *net.OpError
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var timeout net.Error
	switch {
	case errors.As(err, &op) && op.Op == "dial", errors.As(err, &dns), errors.As(err, &cert), errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch),
		strings.Contains(err.Error(), "TLS handshake"), strings.Contains(err.Error(), "proxyconnect"):
		e.Class, e.Detail = backend.Unreachable, b.config.Name+": no connection"
	case errors.As(err, &timeout) && timeout.Timeout():
		e.Class, e.Detail = backend.Overloaded, fmt.Sprintf("%s: no answer within %v", b.config.Name, b.config.HeaderTimeout)
	}
	return e
}

// hidden is an error whose text shows no secret.
func (b *Backend) hidden(err error) error {
	if text := err.Error(); b.secrets.Replace(text) != text {
		return errors.New(b.secrets.Replace(text))
	}
	return err
}

// refusal returns why an answer is not the stream that was asked for, and
// closes it then. It returns nil for a stream.
func (b *Backend) refusal(resp *http.Response) error {
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if resp.StatusCode == http.StatusOK && (media == "text/event-stream" || media == "") {
		return nil
	}
	return b.failure(resp)
}
