package main

import (
	"crypto/tls"
	"fmt"
	"net"

	"github.com/weir-gateway/weir/server"
)

// TLSConfig is TLS on the gRPC and the HTTP port. The files are read again
// when they change; which files they are is read once.
type TLSConfig struct {
	// Cert is a PEM file with the certificate and its chain, Key one with the
	// private key.
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
	// ClientCA is a PEM file with the CAs that vouch for clients.
	ClientCA string `yaml:"client_ca"`
	// ClientAuth is none, request (a client may show a certificate, and a bad
	// one ends the handshake) or require. Where it is empty, client_ca decides:
	// require with one, none without.
	ClientAuth string `yaml:"client_auth"`
	// MinVersion is 1.2 or 1.3; empty is 1.2.
	MinVersion string `yaml:"min_version"`
}

var clientAuths = map[string]tls.ClientAuthType{
	"none": tls.NoClientCert, "request": tls.VerifyClientCertIfGiven, "require": tls.RequireAndVerifyClientCert,
}

var tlsVersions = map[string]uint16{"": tls.VersionTLS12, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

// check returns the field that is wrong and what would be right, or "".
func (c *TLSConfig) check() (field, problem string) {
	_, known := clientAuths[c.ClientAuth]
	_, version := tlsVersions[c.MinVersion]
	switch {
	case c.Cert == "":
		return "cert", "missing: name the PEM file of the certificate and its chain"
	case c.Key == "":
		return "key", "missing: name the PEM file of the certificate's private key"
	case !known && c.ClientAuth != "":
		return "client_auth", fmt.Sprintf("unknown way %q: known are none, request and require", c.ClientAuth)
	case c.ClientCA == "" && c.ClientAuth != "" && c.ClientAuth != "none":
		return "client_ca", "missing: name the PEM file of the CAs that vouch for clients, or leave client_auth out"
	case c.ClientCA != "" && c.ClientAuth == "none":
		return "client_auth", "none asks no client for a certificate, so client_ca is of no use: leave one of the two out"
	case !version:
		return "min_version", fmt.Sprintf("unknown version %q: known are 1.2 and 1.3", c.MinVersion)
	}
	return "", ""
}

// open reads the certificates; nil is plain.
func (c *TLSConfig) open() (*server.Certificates, error) {
	if c == nil {
		return nil, nil
	}
	auth := clientAuths[c.ClientAuth]
	if c.ClientAuth == "" && c.ClientCA != "" {
		auth = tls.RequireAndVerifyClientCert
	}
	certificates, err := server.OpenCertificates(server.TLS{
		Cert: c.Cert, Key: c.Key, ClientCA: c.ClientCA, Client: auth, MinVersion: tlsVersions[c.MinVersion],
	})
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	return certificates, nil
}

// warnOfOpenPorts tells where strangers could listen in.
func (w *weir) warnOfOpenPorts() {
	grpc, http, admin := w.server.Addresses()
	if w.server.Certificates == nil {
		for name, address := range map[string]string{"grpc": grpc, "http": http} {
			if !onLoopback(address) {
				w.log.Warn("keys and what is said cross the network in the clear: set tls, listen on 127.0.0.1, or have a proxy in front that speaks TLS", "port", name, "address", address)
			}
		}
	}
	if !onLoopback(admin) {
		w.log.Warn("the admin port asks nobody for a key, and it is not on loopback: let no one but operators reach it", "address", admin)
	}
}

func onLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && loopback(host)
}
