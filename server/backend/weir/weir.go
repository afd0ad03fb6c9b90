// Package weir is the driver for servers that speak weir.v1 over gRPC: another
// Weir, or the sidecar of a private model. It turns the neutral form of a call
// into that wire and back; it knows no caller, no price and no policy, and it
// keeps nothing.
//
// Every chat is streamed, also where the caller wants one whole answer: so calls
// can be cut, metered and cancelled alike.
//
// What passes inwards is the request, its deadline, its cancellation and the id
// of the call, which the other Weir keeps as its client's. Labels, end users and
// sessions stay: they name what belongs to tenants of this side. What passes
// outwards is text, calls of tools, finish reasons, usage and the model's name.
// Verdicts and costs of the other Weir stay where they are: its rules judged
// for its own tenants, and what it charges is not what is charged here. An
// answer that its rules cut ends as one that the backend's filter has cut.
package weir

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/url"
	"runtime"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"

	"github.com/weir-gateway/weir/accounting"
	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/credential"
	"github.com/weir-gateway/weir/server/backend/load"
)

// maxMessage bounds one event of an answer, as a Weir bounds a request.
const maxMessage = 32 << 20

// balancing spreads calls over the addresses that the server's name has.
const balancing = `{"loadBalancingConfig": [{"round_robin": {}}]}`

// maxAlternatives of a token is the most that weir.v1 allows.
const maxAlternatives = 20

// alive finds connections that have died in silence, which would hold their
// calls until the deadlines. A Weir allows a ping every ten seconds.
var alive = keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 15 * time.Second}

// A Backend is one server. It is a backend.Backend.
type Backend struct {
	config Config
	conn   *grpc.ClientConn
	client weirv1.GenerationServiceClient
	hidden *credential.Hider // what no error may show
}

// New makes a Backend. It fails where Validate does and connects to nothing.
func New(c Config) (*Backend, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c.Candidates = max(1, c.Candidates)
	u, _ := url.Parse(c.URL) // Validate has
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
		grpc.WithKeepaliveParams(alive),
		grpc.WithDisableServiceConfig(), // a name server has no say in retries
		grpc.WithDefaultServiceConfig(balancing),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)))
	if err != nil {
		return nil, fmt.Errorf("backend %q: url %q has no address that can be dialled: write it like %s", c.Name, c.URL, example)
	}
	b := &Backend{config: c, conn: conn, client: weirv1.NewGenerationServiceClient(conn), hidden: credential.Hiding([]string{c.Key})}
	// A Backend that a reload has replaced has calls that must end first, and each
	// of them holds it. Connections would live on without it.
	runtime.AddCleanup(b, func(conn *grpc.ClientConn) { _ = conn.Close() }, conn)
	return b, nil
}

// String names the server and nothing that is secret.
func (b *Backend) String() string { return b.config.String() }

// Close ends the connections, and the calls on them.
func (b *Backend) Close() error { return b.conn.Close() }

// Capabilities implements backend.Backend. What stands behind a model of the
// server is not known here, but for the models that were said to embed; the
// server refuses by name what that cannot do.
func (b *Backend) Capabilities(model string) backend.Capabilities {
	if slices.Contains(b.config.Embedding, model) {
		return backend.Capabilities{Embeds: true}
	}
	alternatives := maxAlternatives
	var urls []backend.Modality
	if b.config.MediaURLs {
		urls = backend.Modalities()
	}
	return backend.Capabilities{
		Candidates:      b.config.Candidates,
		Seed:            true,
		TopK:            true,
		Penalties:       true,
		Tools:           true,
		JSON:            true,
		Schema:          true,
		Reasoning:       true,
		ReasoningBudget: true,
		Logprobs:        &alternatives,
		Media:           b.config.Media,
		MediaURLs:       urls,
		ResultMedia:     true,
		MediaOutput:     b.config.MediaOutput,
		MaxOutputTokens: b.config.MaxOutputTokens,
		Classes:         []accounting.ServiceClass{accounting.ServiceStandard, accounting.ServiceFlex, accounting.ServicePriority, accounting.ServiceScale},
	}
}

// Generate implements backend.Backend. It returns with the first event, which
// is when a Weir says that a backend of its own has taken the call.
func (b *Backend) Generate(ctx context.Context, req *backend.Request) (backend.Stream, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if req.Candidates > b.config.Candidates {
		return nil, &backend.Error{Class: backend.Rejected,
			Detail: fmt.Sprintf("%s: %d candidates are wanted and the configuration allows %d", b.config.Name, req.Candidates, b.config.Candidates)}
	}
	in, err := encode(req)
	if err != nil {
		return nil, &backend.Error{Class: backend.Rejected, Detail: b.config.Name + ": " + err.Error()}
	}
	var s *stream
	err = b.keyed(ctx, func(key string) (err error) {
		s, err = b.call(ctx, req, in, key)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// keyed calls with the key. Where that is refused and there is a newer one, the
// server is asked once more.
func (b *Backend) keyed(ctx context.Context, call func(key string) error) error {
	key, err := b.key(ctx, "")
	if err != nil {
		return err
	}
	err = call(key)
	if b.config.KeyFrom == nil || err == nil || backend.ClassOf(err) != backend.Credentials {
		return err
	}
	newer, failed := b.key(ctx, key)
	if failed != nil {
		return failed
	}
	if newer != key {
		err = call(newer)
	}
	return err
}

// key is the key to send, after one that was refused.
func (b *Backend) key(ctx context.Context, refused string) (string, error) {
	if b.config.KeyFrom == nil {
		return b.config.Key, nil
	}
	key, err := b.config.KeyFrom(ctx, refused)
	if err != nil {
		if ended := ctx.Err(); ended != nil {
			return "", ended
		}
		return "", &backend.Error{Class: backend.Credentials, Detail: b.config.Name + ": there is no key", Err: err}
	}
	b.hidden.Hide(key)
	return key, nil
}

func (b *Backend) call(ctx context.Context, req *backend.Request, in *weirv1.GenerateRequest, key string) (*stream, error) {
	own, cancel := context.WithCancel(b.outgoing(ctx, req.RequestID, req.TraceContext, key))
	s := &stream{ctx: ctx, cancel: cancel, backend: b, candidates: make([]candidate, max(1, req.Candidates))}
	var err error
	if s.wire, err = b.client.StreamGenerate(own, in); err == nil {
		err = s.advance()
	} else {
		err = s.failed(err)
	}
	if err != nil {
		cancel()
		return nil, err
	}
	return s, nil
}

// outgoing is a context with the metadata of a call, and with none that another
// part of the program may have left there.
func (b *Backend) outgoing(ctx context.Context, requestID string, traceContext map[string]string, key string) context.Context {
	md := metadata.MD{}
	if key != "" {
		md.Set("authorization", "Bearer "+key)
	}
	if requestID != "" {
		md.Set("x-request-id", requestID)
	}
	md.Set(load.Ask, "bin")
	for name, value := range traceContext {
		md.Set(name, value)
	}
	return metadata.NewOutgoingContext(ctx, md)
}
