package weir

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/credential"
)

const example = "https://weir.example.org:8443"

// maxCandidates is the most that weir.v1 allows.
const maxCandidates = 16

// Config configures one server.
type Config struct {
	// Name is how errors call the server.
	Name string
	// URL is its gRPC port: https://host:port for TLS, http://host:port without.
	URL string
	// Key is sent as the bearer token. Empty sends none.
	Key string
	// KeyFrom gives the key in the place of Key, where it may change.
	KeyFrom credential.Key
	// RootCAs vouch for the server. Nil are those of this machine.
	RootCAs *x509.CertPool

	// Candidates is the most answers of one call. 0 is 1: what stands behind the
	// server may give no more.
	Candidates int
	// MaxOutputTokens is the most that one candidate can have. 0 is unknown.
	MaxOutputTokens int
	// Embedding are the models that give embeddings, and no answers.
	Embedding []string
	// Media is what the models take, each with the most input tokens that one
	// part of it can be; nil for text alone. MediaURLs lets them be addresses.
	Media     map[backend.Modality]int64
	MediaURLs bool
	// MediaOutput is what the models answer with where they are asked for it, each
	// with the most output tokens that one part of it can be; nil for text alone.
	MediaOutput map[backend.Modality]int64
}

// Validate names the first field that makes no sense.
func (c Config) Validate() error {
	if c.Name == "" {
		return errors.New("backend of kind weir has no name: name it")
	}
	bad := func(format string, args ...any) error {
		return fmt.Errorf("backend %q: %s", c.Name, fmt.Sprintf(format, args...))
	}
	u, err := url.Parse(c.URL)
	switch {
	case c.URL == "":
		return bad("url is empty: write it like %s", example)
	case err != nil:
		// The parser's error repeats the text, which may hold a password.
		return bad("url cannot be read: write it like %s", example)
	case u.User != nil:
		return bad("url holds a user: put the secret into key")
	case u.Scheme != "http" && u.Scheme != "https":
		return bad("url %q does not start with http:// or https://: write it like %s", c.URL, example)
	case u.Host == "":
		return bad("url %q has no host: write it like %s", c.URL, example)
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return bad("url of host %s has more than a port, which gRPC does not: write it like %s", u.Host, example)
	case credential.Check(c.Key) != nil:
		return bad("%s", credential.Check(c.Key))
	case c.RootCAs != nil && u.Scheme == "http":
		return bad("CAs are given and url %q is not https: no certificate is shown to them", c.URL)
	case c.Candidates < 0 || c.Candidates > maxCandidates:
		return bad("candidates are %d: write a number from 1 to %d", c.Candidates, maxCandidates)
	case c.MaxOutputTokens < 0:
		return bad("max output tokens are %d: write a number above 0, or 0 where it is unknown", c.MaxOutputTokens)
	}
	return nil
}

// String names the server and nothing that is secret.
func (c Config) String() string { return "weir backend " + c.Name }

// GoString is String, so that %#v does not show the key either.
func (c Config) GoString() string { return c.String() }
