package oip

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/weir-gateway/weir/server/backend/credential"
	"github.com/weir-gateway/weir/server/backend/grpcclient"
)

const example = "http://triton.example.org:8001"

// A Template makes one text of the messages.
type Template string

// The templates.
const (
	// ChatML opens each message with <|im_start|> and its role and closes it with
	// <|im_end|>, as Qwen and others have learnt it. A message that holds these
	// marks is refused: it could speak as another role.
	ChatML Template = "chatml"
	// Plain is the text of the messages, with an empty line between them: for
	// models that go on with a text.
	Plain Template = "plain"
)

// A Streaming is how a server answers in pieces.
type Streaming string

// The ways. Auto is Triton's where the server calls itself so, and else none.
const (
	Auto     Streaming = "auto"
	Triton   Streaming = "triton"
	MLServer Streaming = "mlserver"
	Whole    Streaming = "none"
)

// Config configures one server.
type Config struct {
	// Name is how errors call the server.
	Name string
	// URL is its gRPC port: https://host:port for TLS, http://host:port without.
	URL string
	// Key is sent as the bearer token, for what may stand before the server. Empty
	// sends none.
	Key string
	// KeyFrom gives the key in the place of Key, where it may change.
	KeyFrom credential.Key
	// RootCAs vouch for the server. Nil are those of this machine.
	RootCAs *x509.CertPool

	// Template is that of the models which answer. Empty is ChatML.
	Template Template
	// Streaming is how the server answers in pieces. Empty is Auto.
	Streaming Streaming
	// Prompt, Text and Vector name the tensors of the text that goes in, of the
	// text that comes out and of what an embedding model gives. Empty are
	// text_input, text_output and embedding. Where a model has no tensor of the
	// name and only one of the datatype, that is meant.
	Prompt, Text, Vector string

	// MaxOutputTokens is the most that an answer can have. 0 is unknown.
	MaxOutputTokens int
	// Embedding are the models that give embeddings, and no answers.
	Embedding []string
}

func (c Config) withDefaults() Config {
	c.Template = cmp.Or(c.Template, ChatML)
	c.Streaming = cmp.Or(c.Streaming, Auto)
	c.Prompt = cmp.Or(c.Prompt, "text_input")
	c.Text = cmp.Or(c.Text, "text_output")
	c.Vector = cmp.Or(c.Vector, "embedding")
	return c
}

// Validate names the first field that makes no sense.
func (c Config) Validate() error {
	if c.Name == "" {
		return errors.New("backend of kind oip has no name: name it")
	}
	bad := func(format string, args ...any) error {
		return fmt.Errorf("backend %q: %w", c.Name, fmt.Errorf(format, args...))
	}
	if err := c.grpc().Check(example); err != nil {
		return bad("%w", err)
	}
	switch d := c.withDefaults(); {
	case d.Template != ChatML && d.Template != Plain:
		return bad("unknown template %q: known are chatml and plain", c.Template)
	case d.Streaming != Auto && d.Streaming != Triton && d.Streaming != MLServer && d.Streaming != Whole:
		return bad("unknown streaming %q: known are auto, triton, mlserver and none", c.Streaming)
	case c.MaxOutputTokens < 0:
		return bad("max output tokens are %d: write a number above 0, or 0 where it is unknown", c.MaxOutputTokens)
	}
	return nil
}

func (c Config) grpc() grpcclient.Config {
	return grpcclient.Config{Name: c.Name, URL: c.URL, Key: c.Key, KeyFrom: c.KeyFrom, RootCAs: c.RootCAs, Ping: ping}
}

// String names the server and nothing that is secret.
func (c Config) String() string { return "oip backend " + c.Name }

// GoString is String, so that %#v does not show the key either.
func (c Config) GoString() string { return c.String() }
