package main

import (
	_ "embed"
	"io"
)

type protoCommand struct {
	ServiceConfig serviceConfigCommand `cmd:"" help:"Print the service config for gRPC clients: replicas in turn, those that are not healthy left out, refusals that may pass tried again."`
}

type serviceConfigCommand struct{}

// serviceConfig is gRPC's service config in JSON, for clients to take as their
// default or for a resolver to serve.
//
//go:embed service_config.json
var serviceConfig string

func (c *serviceConfigCommand) Run(t terminal) error {
	_, err := io.WriteString(t.out, serviceConfig)
	return err
}
