package weir

import (
	"context"
	"net"
	"runtime"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/backend"
)

// slow begins to answer, and goes on when it is told to.
type slow struct {
	weirv1.UnimplementedGenerationServiceServer
	on chan struct{}
}

func (s *slow) StreamGenerate(_ *weirv1.GenerateRequest, out grpc.ServerStreamingServer[weirv1.StreamGenerateResponse]) error {
	text := func(text string) *weirv1.StreamGenerateResponse {
		return &weirv1.StreamGenerateResponse{Event: &weirv1.StreamGenerateResponse_Delta{Delta: &weirv1.DeltaEvent{Piece: &weirv1.DeltaEvent_Text{Text: text}}}}
	}
	if err := out.Send(text("one")); err != nil {
		return err
	}
	<-s.on
	return out.Send(text("two"))
}

// A backend that nobody has any more ends its connections, and not before its
// last call has ended.
func TestConnectionsEndWithTheLastCall(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, service := grpc.NewServer(), &slow{on: make(chan struct{})}
	weirv1.RegisterGenerationServiceServer(server, service)
	go func() { _ = server.Serve(l) }()
	defer server.Stop()

	b, err := New(Config{Name: "inner", URL: "http://" + l.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	conn := b.conn // the last use of b but the call
	stream, err := b.Generate(t.Context(), &backend.Request{Model: "m", Candidates: 1})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		runtime.GC()
	}
	if state := conn.GetState(); state != connectivity.Ready {
		t.Errorf("while a call runs the connection is %v", state)
	}
	close(service.on)
	for _, want := range []string{"one", "two"} {
		if e, err := stream.Recv(); err != nil || e.Text != want {
			t.Errorf("%q, %v, want %q", e.Text, err, want)
		}
	}
	if err := stream.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for state := conn.GetState(); state != connectivity.Shutdown; state = conn.GetState() {
		runtime.GC()
		if ctx.Err() != nil {
			t.Fatalf("after the last call the connection is %v", state)
		}
	}
}
