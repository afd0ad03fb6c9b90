package weir_test

import (
	"crypto/x509"
	"net"
	"net/http/httptest"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/backendtest"
	"github.com/weir-gateway/weir/server/backend/simulator"
	"github.com/weir-gateway/weir/server/backend/weir"
)

const testKey = "weir-test-0123456789abcdef"

// listen serves a service, and makes a driver for it.
func listen(t *testing.T, service weirv1.GenerationServiceServer, tls bool, change func(*weir.Config)) *weir.Backend {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := weir.Config{Name: "inner", URL: "http://" + l.Addr().String(), Key: testKey, Candidates: 8}
	options := []grpc.ServerOption{grpc.WaitForHandlers(true)}
	if tls {
		other := httptest.NewTLSServer(nil) // for its certificate
		t.Cleanup(other.Close)
		c.URL, c.RootCAs = "https://"+l.Addr().String(), x509.NewCertPool()
		c.RootCAs.AddCert(other.Certificate())
		options = append(options, grpc.Creds(credentials.NewServerTLSFromCert(&other.TLS.Certificates[0])))
	}
	s := grpc.NewServer(options...)
	weirv1.RegisterGenerationServiceServer(s, service)
	served := make(chan struct{})
	go func() { defer close(served); _ = s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); <-served })
	if change != nil {
		change(&c)
	}
	b, err := weir.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func TestContract(t *testing.T) {
	for name, w := range map[string]struct {
		wire
		tls bool
	}{
		"plain":   {},
		"TLS":     {tls: true},
		"unknown": {wire: wire{unknown: true}},
		"early":   {wire: wire{early: true, totals: true}},
	} {
		t.Run(name, func(t *testing.T) {
			backendtest.Run(t, func(t *testing.T) backendtest.Harness {
				var ended backendtest.Endings
				models := simulator.DefaultModels()
				for name, p := range models {
					p.TimeToFirstToken, p.TokensPerSecond = 0, 0
					models[name] = p
				}
				models["sim-small"] = simulator.Profile{ContextTokens: 10}
				backendtest.EmbeddingModels(models)
				behave, began := backendtest.Stalling()
				sim, err := simulator.New(simulator.Config{Models: models, Behave: behave, Ended: func(id string, how simulator.Ending) { ended.Tell(id, how == simulator.EndedCancelled) }})
				if err != nil {
					t.Fatal(err)
				}
				return backendtest.Harness{
					Backend: listen(t, &server{sim: sim, key: testKey, wire: w.wire}, w.tls, func(c *weir.Config) {
						c.Embedding = backendtest.EmbeddingNames()
						c.MediaOutput = map[backend.Modality]int64{backend.Image: 256}
					}),
					Model: "sim-text", Simulated: sim, Stalls: "sim-stall", Cuts: "sim-cut",
					Fails: map[string]backend.Class{
						"sim-error":      backend.Failed,
						"sim-overloaded": backend.Overloaded,
						"sim-small":      backend.ContextExceeded,
						"no-such-model":  backend.ModelMissing,
					},
					Embedding: &backendtest.Embedding{Began: began},
					Ended:     ended.Await,
				}
			})
		})
	}
}
