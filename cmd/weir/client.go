package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const defaultAddress = "127.0.0.1:8443"

// connection is how a command finds its Weir; every command that talks to one
// embeds it.
type connection struct {
	Addr string `help:"Address of Weir's gRPC port (WEIR_ADDR; default 127.0.0.1:8443)." placeholder:"HOST:PORT"`
	Key  string `help:"API key (WEIR_KEY). As a flag it shows in the process list: prefer the variable or --key-file." placeholder:"KEY"`
	// KeyFile is for the keys that weir serve writes.
	KeyFile string `help:"File that holds the API key, such as weir-data/admin.key." placeholder:"FILE"`
	TLS     bool   `name:"tls" help:"Speak TLS to the address, which the CAs of this machine must vouch for."`
	CA      string `name:"ca" help:"Speak TLS, trusting the CAs of this PEM file alone (WEIR_CA)." placeholder:"FILE"`
	Cert    string `help:"Speak TLS, showing this client certificate (PEM), for a Weir that asks for one." placeholder:"FILE"`
	CertKey string `help:"Private key of --cert (PEM)." placeholder:"FILE"`
}

// dial connects. The context that it returns carries the key.
func (c connection) dial(ctx context.Context, t terminal) (context.Context, *grpc.ClientConn, error) {
	address := c.Addr
	if address == "" {
		address, _ = t.getenv("WEIR_ADDR")
	}
	if address == "" {
		address = defaultAddress
	}
	secret := c.Key
	if secret == "" && c.KeyFile != "" {
		data, err := os.ReadFile(c.KeyFile)
		if err != nil {
			return nil, nil, usageError(fmt.Errorf("cannot read the key: %w", err))
		}
		if secret = strings.TrimSpace(string(data)); secret == "" {
			return nil, nil, usageError(fmt.Errorf("%s is empty: give --key-file a file that holds a key", c.KeyFile))
		}
	}
	if secret == "" {
		secret, _ = t.getenv("WEIR_KEY")
	}
	if secret == "" {
		return nil, nil, usageError(errors.New("no API key: set WEIR_KEY, or give --key-file weir-data/demo.key"))
	}
	if strings.IndexFunc(secret, func(r rune) bool { return r <= ' ' || r > '~' }) >= 0 {
		return nil, nil, usageError(errors.New("the API key holds what no key has, such as a space or a line: give the key alone, as weir key create printed it"))
	}
	transport, err := c.transport(t)
	if err != nil {
		return nil, nil, usageError(err)
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(transport), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(32<<20)))
	if err != nil {
		return nil, nil, usageError(fmt.Errorf("%q is no address: write it as host:port: %w", address, err))
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+secret), conn, nil
}

// transport is plain, unless a flag or WEIR_CA is about TLS.
func (c connection) transport(t terminal) (credentials.TransportCredentials, error) {
	ca := c.CA
	if ca == "" {
		ca, _ = t.getenv("WEIR_CA")
	}
	switch {
	case (c.Cert == "") != (c.CertKey == ""):
		return nil, errors.New("a client certificate and its key belong together: give both --cert and --cert-key")
	case !c.TLS && ca == "" && c.Cert == "":
		return insecure.NewCredentials(), nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("cannot read the CAs: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate in PEM: give --ca the file of the CA that signed Weir's certificate", ca)
		}
	}
	if c.Cert != "" {
		pair, err := tls.LoadX509KeyPair(c.Cert, c.CertKey)
		if err != nil {
			return nil, fmt.Errorf("%s and %s are no client certificate and its key in PEM: %w", c.Cert, c.CertKey, err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return credentials.NewTLS(config), nil
}

// told turns an error of a call into what a person is told, with the exit code
// that fits it.
func told(err error) error {
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	message, code, reason := s.Message(), exitFailure, ""
	for _, d := range s.Details() {
		switch d := d.(type) {
		case *errdetails.BadRequest:
			for _, v := range d.FieldViolations {
				if len(d.FieldViolations) > 1 {
					message += fmt.Sprintf("\n  %s: %s", v.Field, v.Description)
				}
			}
		case *errdetails.ErrorInfo:
			reason = d.Reason
			if id := d.Metadata["request_id"]; id != "" && s.Code() == codes.Internal {
				message += " (request " + id + ")"
			}
		}
	}
	switch s.Code() {
	case codes.InvalidArgument:
		code = exitUsage
	case codes.FailedPrecondition:
		if reason == "INPUT_BLOCKED" {
			code = exitBlocked
		}
	case codes.ResourceExhausted:
		code = exitExhausted
		if strings.Contains(message, "larger than max") {
			code, message = exitUsage, "a message of more than 32 MiB does not go through Weir: send less, or in parts ("+message+")"
		}
	case codes.Internal:
		if strings.Contains(message, "invalid UTF-8") {
			code, message = exitUsage, "what was to be sent is not UTF-8: convert it first"
		}
	case codes.Unavailable:
		code = exitUnavailable
		switch {
		case strings.Contains(message, "x509:"):
			message = "Weir's certificate is not trusted: give the file of its CA with --ca or WEIR_CA, and call it by a name that stands in the certificate (" + message + ")"
		case strings.Contains(message, "tls: certificate required"), strings.Contains(message, "tls: bad certificate"), strings.Contains(message, "tls: unknown certificate authority"):
			message = "Weir wants a client certificate that its client_ca vouches for: give one with --cert and --cert-key (" + message + ")"
		case strings.Contains(message, "tls: first record does not look like a TLS handshake"):
			message = "Weir does not speak TLS there: leave --tls, --ca and WEIR_CA out, or check the port (" + message + ")"
		case strings.Contains(message, "error reading server preface"):
			message = "what listens there does not speak plain gRPC: give --tls, or --ca FILE, where Weir has TLS (" + message + ")"
		case strings.Contains(message, "error reading from server"):
			message = "the connection to Weir ended in the middle of the call: weir ledger list tells what became of it (" + message + ")"
		case strings.Contains(message, "connection error") || strings.Contains(message, "name resolver"):
			message = "cannot reach Weir: is `weir serve` running, and is WEIR_ADDR its gRPC port? (" + message + ")"
		}
	case codes.Canceled:
		message = "cancelled"
	}
	return &codedError{code, errors.New(message)}
}
