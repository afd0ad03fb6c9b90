package main

import (
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

	"context"
)

const defaultAddress = "127.0.0.1:8443"

// connection is how a command finds its Weir; every command that talks to one
// embeds it.
type connection struct {
	Addr string `help:"Address of Weir's gRPC port (WEIR_ADDR; default 127.0.0.1:8443)." placeholder:"HOST:PORT"`
	Key  string `help:"API key (WEIR_KEY). As a flag it shows in the process list: prefer the variable or --key-file." placeholder:"KEY"`
	// KeyFile is for the keys that weir serve writes.
	KeyFile string `help:"File that holds the API key, such as weir-data/admin.key." placeholder:"FILE"`
	TLS     bool   `name:"tls" help:"Speak TLS to the address."`
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
		secret = strings.TrimSpace(string(data))
	}
	if secret == "" {
		secret, _ = t.getenv("WEIR_KEY")
	}
	if secret == "" {
		return nil, nil, usageError(errors.New("no API key: set WEIR_KEY, or give --key-file weir-data/demo.key"))
	}
	transport := insecure.NewCredentials()
	if c.TLS {
		transport = credentials.NewTLS(nil)
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(transport), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(32<<20)))
	if err != nil {
		return nil, nil, usageError(fmt.Errorf("%q is no address: write it as host:port: %w", address, err))
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+secret), conn, nil
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
	case codes.Unavailable:
		code = exitUnavailable
		if strings.Contains(message, "connection error") || strings.Contains(message, "name resolver") {
			message = "cannot reach Weir: is `weir serve` running, and is WEIR_ADDR its gRPC port? (" + message + ")"
		}
	case codes.Canceled:
		message = "cancelled"
	}
	return &codedError{code, errors.New(message)}
}
