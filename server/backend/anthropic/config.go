package anthropic

import (
	"errors"
	"fmt"
	"net/http"
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
	// URL is where its API begins, such as https://api.anthropic.com/v1. The
	// driver adds /messages and /models.
	URL string
	// Key is sent as x-api-key. Empty sends none.
	Key string
	// KeyFrom gives the key in the place of Key, where it may change.
	KeyFrom credential.Key
	// Header is sent with every request, beside what the driver sets itself; for
	// example anthropic-beta.
	Header http.Header

	// DialTimeout bounds the time to a connection, TLS included. 0 is ten seconds.
	DialTimeout time.Duration
	// HeaderTimeout bounds the time from a request to the first byte of its
	// answer. 0 leaves that to the call's own deadline.
	HeaderTimeout time.Duration

	// MaxOutputTokens is the most that an answer can have. 0 is unknown.
	MaxOutputTokens int
	// Media is what the models take (image and file), each with the most input
	// tokens that one part of it can be; nil for text alone. MediaURLs lets the
	// server fetch it from addresses that callers name.
	Media     map[backend.Modality]int64
	MediaURLs bool
	// ServiceClass is asked for where a call asks for none: the standard one, or
	// empty, which leaves it to the server.
	ServiceClass accounting.ServiceClass
}

// Validate names the first field that makes no sense.
func (c Config) Validate() error {
	if c.Name == "" {
		return errors.New("backend of kind anthropic has no name: name it")
	}
	bad := func(format string, args ...any) error {
		return fmt.Errorf("backend %q: %w", c.Name, fmt.Errorf(format, args...))
	}
	for _, err := range []error{
		httpstream.CheckURL(c.URL, "https://api.anthropic.com/v1", "/messages"),
		credential.Check(c.Key),
		httpstream.CheckHeader(c.Header, "X-Api-Key", "Anthropic-Version"),
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
	case len(c.Media) > 0 && (c.Media[backend.Audio] != 0 || c.Media[backend.Video] != 0):
		return bad("media has audio or video: the API takes image and file")
	case c.ServiceClass != "" && c.ServiceClass != accounting.ServiceStandard:
		return bad("service class is %q: the API can be asked for %s alone; leave it out for what it decides", c.ServiceClass, accounting.ServiceStandard)
	case c.MaxOutputTokens < 0:
		return bad("max output tokens are %d: write a number above 0, or 0 where it is unknown", c.MaxOutputTokens)
	}
	return nil
}

// String names the server and nothing that is secret.
func (c Config) String() string { return "anthropic backend " + c.Name }

// GoString is String, so that %#v does not show the key either.
func (c Config) GoString() string { return c.String() }
