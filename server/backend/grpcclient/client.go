// Package grpcclient is what drivers of vendors that speak gRPC have in common:
// a connection, the keys of its calls, and what a status means. It knows no
// vendor's messages.
package grpcclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"runtime"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/credential"
)

// maxMessage bounds one message of a server.
const maxMessage = 32 << 20

// balancing spreads calls over the addresses that the server's name has.
const balancing = `{"loadBalancingConfig": [{"round_robin": {}}]}`

// Config configures a Client.
type Config struct {
	// Name is how errors call the server.
	Name string
	// URL is its gRPC port: https://host:port for TLS, http://host:port without.
	URL string
	// Key is the key of every call, and KeyFrom gives it in the place of Key where
	// it may change. Both may be absent.
	Key     string
	KeyFrom credential.Key
	// RootCAs vouch for the server. Nil are those of this machine.
	RootCAs *x509.CertPool
	// Ping is how long a connection with calls may be silent before it is asked for
	// a sign of life: no sooner than the server allows.
	Ping time.Duration
}

// Check names the first field that makes no sense. Example is a URL as it should
// be.
func (c Config) Check(example string) error {
	u, err := url.Parse(c.URL)
	switch {
	case c.URL == "":
		return fmt.Errorf("url is empty: write it like %s", example)
	case err != nil:
		// The parser's error repeats the text, which may hold a password.
		return fmt.Errorf("url cannot be read: write it like %s", example)
	case u.User != nil:
		return errors.New("url holds a user: put the secret into key")
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("url %q does not start with http:// or https://: write it like %s", c.URL, example)
	case u.Host == "":
		return fmt.Errorf("url %q has no host: write it like %s", c.URL, example)
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return fmt.Errorf("url of host %s has more than a port, which gRPC does not: write it like %s", u.Host, example)
	case c.RootCAs != nil && u.Scheme == "http":
		return fmt.Errorf("CAs are given and url %q is not https: no certificate is shown to them", c.URL)
	}
	return credential.Check(c.Key)
}

// A Client is a connection to one server. It is safe for concurrent use.
type Client struct {
	*grpc.ClientConn
	config Config
	hidden *credential.Hider // what no error may show
}

// New makes a Client of a Config that has been checked. It connects to nothing.
func New(c Config) (*Client, error) {
	u, err := url.Parse(c.URL)
	if err != nil {
		return nil, errors.New("url cannot be read")
	}
	transport, port := insecure.NewCredentials(), ":80"
	if u.Scheme == "https" {
		transport, port = credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.RootCAs}), ":443"
	}
	address := u.Host
	if u.Port() == "" {
		address += port
	}
	conn, err := grpc.NewClient("dns:///"+address,
		grpc.WithTransportCredentials(transport),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: c.Ping, Timeout: 15 * time.Second}),
		grpc.WithDisableServiceConfig(), // a name server has no say in retries
		grpc.WithDefaultServiceConfig(balancing),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)))
	if err != nil {
		return nil, fmt.Errorf("backend %q: url %q has no address that can be dialled", c.Name, c.URL)
	}
	client := &Client{ClientConn: conn, config: c, hidden: credential.Hiding([]string{c.Key})}
	// A backend that a reload has replaced has calls that must end first, and each
	// of them holds it. Connections would live on without it.
	runtime.AddCleanup(client, func(conn *grpc.ClientConn) { _ = conn.Close() }, conn)
	return client, nil
}

// Keyed calls with the key, which is empty where there is none. Where that is
// refused and there is a newer one, the server is asked once more.
func (c *Client) Keyed(ctx context.Context, call func(key string) error) error {
	key, err := c.key(ctx, "")
	if err != nil {
		return err
	}
	err = call(key)
	if c.config.KeyFrom == nil || err == nil || backend.ClassOf(err) != backend.Credentials {
		return err
	}
	newer, failed := c.key(ctx, key)
	if failed != nil {
		return failed
	}
	if newer != key {
		err = call(newer)
	}
	return err
}

// key is the key to send, after one that was refused.
func (c *Client) key(ctx context.Context, refused string) (string, error) {
	if c.config.KeyFrom == nil {
		return c.config.Key, nil
	}
	key, err := c.config.KeyFrom(ctx, refused)
	if err != nil {
		if ended := ctx.Err(); ended != nil {
			return "", ended
		}
		failed := c.Error(backend.Credentials, "there is no key")
		failed.Err = err
		return "", failed
	}
	c.hidden.Hide(key)
	return key, nil
}
