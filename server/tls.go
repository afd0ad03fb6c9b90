package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// TLS names what the gRPC and the HTTP listener prove themselves with, and
// whether callers must too.
type TLS struct {
	// Cert is a PEM file: the certificate and the chain up to its CA. Key is
	// the PEM file of its private key.
	Cert, Key string
	// ClientCA is a PEM file of the CAs that vouch for clients; empty where
	// Client asks for no certificate.
	ClientCA string
	Client   tls.ClientAuthType
	// MinVersion is such as tls.VersionTLS12.
	MinVersion uint16
}

// Certificates are the files of a TLS as they were last read and good. They
// may change while connections are open: a handshake takes those that are in
// force when it begins, and running connections go on.
type Certificates struct {
	files   TLS
	current atomic.Pointer[loaded]
}

type loaded struct {
	digest   [sha256.Size]byte // of all files
	notAfter time.Time
	config   *tls.Config // without protocols
}

// OpenCertificates reads the files. Its errors name the file and the way out.
func OpenCertificates(files TLS) (*Certificates, error) {
	c := &Certificates{files: files}
	_, err := c.Reload()
	return c, err
}

// Reload reads the files again and tells whether they have changed. Where they
// are not good, what was in force stays in force. It must not be called by two
// goroutines at once.
func (c *Certificates) Reload() (changed bool, err error) {
	cert, err := os.ReadFile(c.files.Cert)
	if err != nil {
		return false, fmt.Errorf("cannot read the certificate: %w", err)
	}
	key, err := os.ReadFile(c.files.Key)
	if err != nil {
		return false, fmt.Errorf("cannot read the key of the certificate: %w", err)
	}
	var clients []byte
	if c.files.ClientCA != "" {
		if clients, err = os.ReadFile(c.files.ClientCA); err != nil {
			return false, fmt.Errorf("cannot read the CAs of clients: %w", err)
		}
	}
	digest := sha256.Sum256(bytes.Join([][]byte{cert, key, clients}, []byte{0}))
	if before := c.current.Load(); before != nil && before.digest == digest {
		return false, nil
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return false, fmt.Errorf("%s and %s are no certificate and its key in PEM: %w", c.files.Cert, c.files.Key, err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: c.files.MinVersion, ClientAuth: c.files.Client}
	if c.files.ClientCA != "" {
		config.ClientCAs = x509.NewCertPool()
		if !config.ClientCAs.AppendCertsFromPEM(clients) {
			return false, fmt.Errorf("%s holds no certificate in PEM: write the CAs of clients into it", c.files.ClientCA)
		}
	}
	c.current.Store(&loaded{digest: digest, notAfter: pair.Leaf.NotAfter, config: config})
	return true, nil
}

// Watch reads the files again until the context ends: every so often, and when
// it is told to by now, which may be nil. A file that is not good is logged
// once.
func (c *Certificates) Watch(ctx context.Context, every time.Duration, now <-chan struct{}, log *slog.Logger) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	told := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-now:
			told = ""
		}
		changed, err := c.Reload()
		switch {
		case err != nil && err.Error() != told:
			told = err.Error()
			log.ErrorContext(ctx, "the certificates were not reloaded; what was in force stays in force", "error", err)
		case err == nil:
			told = ""
		}
		if changed {
			log.InfoContext(ctx, "the certificates are reloaded", "not_after", c.NotAfter())
		}
	}
}

// NotAfter is when the certificate that is in force expires.
func (c *Certificates) NotAfter() time.Time { return c.current.Load().notAfter }

// Config is for a listener whose clients speak one of the protocols, such as
// h2. Every handshake asks it anew for what is in force.
func (c *Certificates) Config(protocols ...string) *tls.Config {
	return &tls.Config{
		NextProtos: protocols, MinVersion: c.files.MinVersion,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			config := c.current.Load().config.Clone()
			config.NextProtos = protocols
			return config, nil
		},
	}
}
