package openai

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/credential"
	"github.com/weir-gateway/weir/server/backend/httpstream"
)

// Config configures one server.
type Config struct {
	// Name is how errors call the server.
	Name string
	// URL is where its API begins, such as https://api.openai.com/v1. The
	// driver adds /chat/completions, /embeddings and /models.
	URL string
	// Key is sent as the bearer token, or in the dialect's header. Empty sends none.
	Key string
	// KeyFrom gives the key in the place of Key, where it may change.
	KeyFrom credential.Key
	// Header is sent with every request, beside what the driver sets itself.
	Header http.Header

	// DialTimeout bounds the time to a connection, TLS included. 0 is ten seconds.
	DialTimeout time.Duration
	// HeaderTimeout bounds the time from a request to the first byte of its
	// answer. 0 leaves that to the call's own deadline. Many servers send the
	// first byte with the first token, after they have queued the call.
	HeaderTimeout time.Duration

	// Candidates is the most answers of one call. 0 is 1: some servers ignore
	// a wish for more, and a call that gets fewer than it asked for fails.
	Candidates int
	// MaxOutputTokens is the most that one candidate can have. 0 is unknown.
	MaxOutputTokens int
	// LoadReports asks the server to say with each answer how busy it is, as vLLM
	// and Triton can (ORCA).
	LoadReports bool
	// Embedding are the models that give embeddings, and no answers.
	Embedding []string
	// Media is what the models take, each with the most input tokens that one
	// part of it can be; nil for text alone. MediaURLs lets the server fetch
	// images and video (audio, where the dialect has an address for it) from addresses that callers name: a server that stands in
	// a network of its own fetches what callers could not.
	Media     map[backend.Modality]int64
	MediaURLs bool
	// MediaOutput is what the models answer with where they are asked for it, each
	// with the most output tokens that one part of it can be; nil for text alone.
	MediaOutput map[backend.Modality]int64
	// Dialect is the kind of server, by one of the names of Dialects; empty is what
	// most servers and clouds take.
	Dialect string
	// ServiceClass is asked for where a call asks for none, of a dialect that has
	// classes; empty leaves it to the server.
	ServiceClass accounting.ServiceClass
	// APIVersion is the version of the API that goes into each request, for a
	// dialect that takes one; empty names none.
	APIVersion string
}

// Validate names the first field that makes no sense.
func (c Config) Validate() error {
	if c.Name == "" {
		return errors.New("backend of kind openai has no name: name it")
	}
	d, known := dialects[c.Dialect]
	bad := func(format string, args ...any) error {
		return fmt.Errorf("backend %q: %w", c.Name, fmt.Errorf(format, args...))
	}
	for _, err := range []error{
		httpstream.CheckURL(c.URL, "http://127.0.0.1:8000/v1", "/chat/completions"),
		credential.Check(c.Key),
		httpstream.CheckHeader(c.Header, "Authorization", cmp.Or(d.KeyHeader, "Authorization")),
	} {
		if err != nil {
			return bad("%w", err)
		}
	}
	switch {
	case c.DialTimeout < 0:
		return bad("dial timeout is %v: it must not be negative", c.DialTimeout)
	case c.HeaderTimeout < 0:
		return bad("header timeout is %v: it must not be negative", c.HeaderTimeout)
	case c.Candidates < 0 || c.Candidates > maxCandidates:
		return bad("candidates are %d: write a number from 1 to %d", c.Candidates, maxCandidates)
	case !known:
		return bad("unknown dialect %q: known are %s", c.Dialect, strings.Join(Dialects(), ", "))
	case d.Candidates > 0 && c.Candidates > d.Candidates:
		return bad("candidates are %d: a server of dialect %s gives at most %d", c.Candidates, c.Dialect, d.Candidates)
	case c.APIVersion != "" && d.Versioned == "":
		return bad("api version is %q: dialect %q takes none, leave it out", c.APIVersion, c.Dialect)
	case c.MediaURLs && d.NoURLs:
		return bad("media urls are allowed: a server of dialect %s fetches nothing from addresses, leave it out", c.Dialect)
	case c.ServiceClass != "" && !slices.Contains(d.Classes, c.ServiceClass):
		return bad("service class is %q: a server of dialect %q can be asked for %v", c.ServiceClass, c.Dialect, d.Classes)
	case c.MaxOutputTokens < 0:
		return bad("max output tokens are %d: write a number above 0, or 0 where it is unknown", c.MaxOutputTokens)
	}
	return nil
}

// String names the server and nothing that is secret.
func (c Config) String() string { return "openai backend " + c.Name }

// GoString is String, so that %#v does not show the key either.
func (c Config) GoString() string { return c.String() }
