package gemini

import (
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/credential"
	"github.com/weir-gateway/weir/server/backend/grpcclient"
)

const example = "https://generativelanguage.googleapis.com"

// Config configures one server.
type Config struct {
	// Name is how errors call the server.
	Name string
	// URL is its gRPC port: https://generativelanguage.googleapis.com, or http:// for
	// one without TLS.
	URL string
	// Key is sent as x-goog-api-key. Empty sends none.
	Key string
	// KeyFrom gives the key in the place of Key, where it may change.
	KeyFrom credential.Key
	// RootCAs vouch for the server. Nil are those of this machine.
	RootCAs *x509.CertPool

	// Candidates is the most answers of one call. 0 is 1: many models give no more.
	Candidates int
	// MaxOutputTokens is the most that one candidate can have. 0 is unknown.
	MaxOutputTokens int
	// Embedding are the models that give embeddings, and no answers.
	Embedding []string
	// Media is what the models take, each with the most input tokens that one part
	// of it can be; nil for text alone. MediaURLs lets callers name addresses that
	// the server fetches.
	Media     map[backend.Modality]int64
	MediaURLs bool
	// MediaOutput is what the models answer with where they are asked for it, each
	// with the most output tokens that one part of it can be; nil for text alone.
	MediaOutput map[backend.Modality]int64
}

// Validate names the first field that makes no sense.
func (c Config) Validate() error {
	if c.Name == "" {
		return errors.New("backend of kind gemini has no name: name it")
	}
	bad := func(format string, args ...any) error {
		return fmt.Errorf("backend %q: %w", c.Name, fmt.Errorf(format, args...))
	}
	if err := c.grpc().Check(example); err != nil {
		return bad("%w", err)
	}
	switch {
	case c.Candidates < 0 || c.Candidates > maxCandidates:
		return bad("candidates are %d: write a number from 1 to %d", c.Candidates, maxCandidates)
	case c.MaxOutputTokens < 0:
		return bad("max output tokens are %d: write a number above 0, or 0 where it is unknown", c.MaxOutputTokens)
	}
	return nil
}

func (c Config) grpc() grpcclient.Config {
	return grpcclient.Config{Name: c.Name, URL: c.URL, Key: c.Key, KeyFrom: c.KeyFrom, RootCAs: c.RootCAs, Ping: ping}
}

// String names the server and nothing that is secret.
func (c Config) String() string { return "gemini backend " + c.Name }

// GoString is String, so that %#v does not show the key either.
func (c Config) GoString() string { return c.String() }
