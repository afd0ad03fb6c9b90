// Package httpstream is what drivers have in common whose vendors stream JSON
// over HTTP as server-sent events: the client, the reading of the events, text
// that is cut in the middle of a rune, and the shapes of failures. It knows no
// vendor's messages; those are the business of the Decoder that each driver
// brings.
//
// Text is cut between runes. A rune that the server splits over two deltas, as
// two JSON surrogates or as two parts of its UTF-8, is put together again;
// what is no rune becomes U+FFFD.
package httpstream

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/credential"
)

// Config says where a server is. The driver has validated it.
type Config struct {
	// Name is how errors call the server.
	Name string
	// URL is where its API begins; slashes at its end do not count.
	URL string
	// Header is sent with every request.
	Header http.Header
	// Secrets are texts that no error may show: a server may repeat the key that
	// it refuses.
	Secrets []string
	// Key is the key of each request, and Authorize puts it into the header; nil
	// where the header of the configuration is all.
	Key       credential.Key
	Authorize func(header http.Header, key string)
	// DialTimeout bounds the time to a connection, TLS included. 0 is ten seconds.
	DialTimeout time.Duration
	// HeaderTimeout bounds the time from a request to the first byte of its
	// answer. 0 leaves that to the call's own deadline.
	HeaderTimeout time.Duration
}

const defaultDialTimeout = 10 * time.Second

// A Client calls one server. It is safe for concurrent use.
type Client struct {
	// HTTP sends the requests.
	HTTP *http.Client
	// Secrets replaces what no error may show.
	Secrets *credential.Hider

	key           credential.Key
	authorize     func(http.Header, string)
	name          string
	base          string // the URL without a slash at its end
	header        http.Header
	headerTimeout time.Duration
}

// New makes a Client. It connects to nothing.
func New(c Config) *Client {
	if c.DialTimeout == 0 {
		c.DialTimeout = defaultDialTimeout
	}
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
	header := http.Header{}
	for name, values := range c.Header {
		header[http.CanonicalHeaderKey(name)] = values
	}
	return &Client{
		HTTP: &http.Client{
			Transport: transport,
			// A redirect would carry the key and the prompt to wherever the
			// server says.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		Secrets: credential.Hiding(c.Secrets),
		key:     c.Key, authorize: c.Authorize,
		name: c.Name, base: strings.TrimRight(c.URL, "/"), header: header.Clone(), headerTimeout: c.HeaderTimeout,
	}
}

// Close drops the connections that no call uses.
func (c *Client) Close() { c.HTTP.CloseIdleConnections() }

// Stream posts a body and returns the stream that answers it. The context ends
// the call, also after it has returned. A failure is a *backend.Error or the
// context's.
func (c *Client) Stream(ctx context.Context, path string, body []byte, header http.Header, d Decoder) (backend.Stream, error) {
	own, cancel := context.WithCancel(ctx)
	resp, err := c.Send(own, http.MethodPost, path, body, header)
	if err == nil {
		err = c.refusal(resp)
	}
	if err != nil {
		cancel()
		if ended := ctx.Err(); ended != nil {
			return nil, ended
		}
		return nil, err
	}
	read := &announced{ReadCloser: resp.Body}
	return &stream{ctx: ctx, cancel: cancel, body: read, header: resp.Header, client: c, read: newEventReader(read), decode: d}, nil
}

// Send makes one request. Header goes with it beside that of the configuration.
// Where the server refuses a key and there is a newer one, it is asked once more.
func (c *Client) Send(ctx context.Context, method, path string, body []byte, header http.Header) (*http.Response, error) {
	if c.key == nil {
		return c.send(ctx, method, path, body, header, "")
	}
	key, err := c.currentKey(ctx, "")
	if err != nil {
		return nil, err
	}
	resp, err := c.send(ctx, method, path, body, header, key)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	newer, err := c.currentKey(ctx, key)
	if err != nil {
		resp.Body.Close()
		return nil, err
	}
	if newer == key {
		return resp, nil
	}
	resp.Body.Close()
	return c.send(ctx, method, path, body, header, newer)
}

// currentKey is the key to send, after one that was refused.
func (c *Client) currentKey(ctx context.Context, refused string) (string, error) {
	key, err := c.key(ctx, refused)
	if err != nil {
		if ended := ctx.Err(); ended != nil {
			return "", ended
		}
		return "", &backend.Error{Class: backend.Credentials, Detail: c.name + ": there is no key", Err: err}
	}
	c.Secrets.Hide(key)
	return key, nil
}

func (c *Client) send(ctx context.Context, method, path string, body []byte, header http.Header, key string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, &backend.Error{Class: backend.Rejected, Detail: c.name + ": request cannot be made"}
	}
	for _, from := range []http.Header{c.header, header} {
		for name, values := range from {
			req.Header[http.CanonicalHeaderKey(name)] = values
		}
	}
	if key != "" {
		c.authorize(req.Header, key)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "text/event-stream")
	}
	// A server may close a connection just as it is used again; llama.cpp does
	// so for some calls in a hundred. With this mark, which is not sent, the
	// transport tries such a call on another connection, if no byte of an
	// answer has come. What a new connection does is never tried again.
	req.Header["Idempotency-Key"] = nil
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return nil, c.unanswered(err)
	}
	return resp, nil
}

// unanswered classifies a call that got no answer at all.
func (c *Client) unanswered(err error) error {
	// The outer error repeats the URL.
	if outer := errors.Unwrap(err); outer != nil {
		err = outer
	}
	e := &backend.Error{Class: backend.Broken, Detail: c.name + ": no answer", Err: c.hidden(err)}
	var op *net.OpError
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var timeout net.Error
	switch {
	case errors.As(err, &op) && op.Op == "dial", errors.As(err, &dns), errors.As(err, &cert), errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch),
		strings.Contains(err.Error(), "TLS handshake"), strings.Contains(err.Error(), "proxyconnect"):
		e.Class, e.Detail = backend.Unreachable, c.name+": no connection"
	case errors.As(err, &timeout) && timeout.Timeout():
		e.Class, e.Detail = backend.Overloaded, fmt.Sprintf("%s: no answer within %v", c.name, c.headerTimeout)
	}
	return e
}

// hidden is an error whose text shows no secret.
func (c *Client) hidden(err error) error {
	if text := err.Error(); c.Secrets.Replace(text) != text {
		return errors.New(c.Secrets.Replace(text))
	}
	return err
}

// named puts the server's name into an error and hides secrets.
func (c *Client) named(err error) error {
	if err == nil {
		return nil // for every event that is well; what is below allocates
	}
	var e *backend.Error
	if errors.As(err, &e) {
		e.Detail = c.name + ": " + c.Secrets.Replace(e.Detail)
	}
	return err
}

// refusal returns why an answer is not the stream that was asked for, and
// closes it then. It returns nil for a stream.
func (c *Client) refusal(resp *http.Response) error {
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if resp.StatusCode == http.StatusOK && (media == "text/event-stream" || media == "") {
		return nil
	}
	return c.Failure(resp)
}
