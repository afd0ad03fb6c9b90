package main

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc"
	channelzv1 "google.golang.org/grpc/channelz/grpc_channelz_v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

func TestOperatorsSeeInsideAndCallersDoNot(t *testing.T) {
	p := serve(t, t.TempDir())
	p.must(nil, p.key(demoKeyFile), "call", "-m", "sim-text", "hello")
	for path, says := range map[string]string{"/metrics": "weir_calls_total", "/debug/pprof/": "goroutine", "/debug/pprof/goroutine?debug=1": "server.(*Server).Serve"} {
		answer, err := http.Get("http://" + p.admin + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK || !strings.Contains(string(body), says) {
			t.Errorf("%s: %s %.200s", path, answer.Status, body)
		}
		if answer, err = http.Get("http://" + p.http + path); err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode == http.StatusOK {
			t.Errorf("%s is on the public port", path)
		}
	}
	servers := func(address string) (*channelzv1.GetServersResponse, error) {
		conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return channelzv1.NewChannelzClient(conn).GetServers(t.Context(), &channelzv1.GetServersRequest{})
	}
	found, err := servers(p.admin)
	if err != nil {
		t.Fatal(err)
	}
	listens := false
	for _, s := range found.Server {
		for _, socket := range s.ListenSocket {
			listens = listens || strings.Contains(socket.Name, p.grpc)
		}
	}
	if !listens {
		t.Errorf("channelz does not know the gRPC port %s: %v", p.grpc, found.Server)
	}
	if _, err := servers(p.grpc); status.Code(err) != codes.Unimplemented && status.Code(err) != codes.Unauthenticated {
		t.Errorf("channelz on the public port: %v", err)
	}
}
