package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"connectrpc.com/connect"
	"go.yaml.in/yaml/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/store/storetest"
)

func ask(prompt string) *weirv1.GenerateRequest {
	return &weirv1.GenerateRequest{
		Model:    "sim-text",
		Messages: []*weirv1.Message{{Role: weirv1.Role_ROLE_USER, Parts: []*weirv1.Part{{Data: &weirv1.Part_Text{Text: prompt}}}}},
	}
}

// as is a context that calls with a key.
func as(t *testing.T, key string) context.Context {
	return metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+key)
}

var completedCalls = regexp.MustCompile(`weir_calls_total\{.*outcome="completed"\} (\d+)`)

// completed is how many calls a process has answered, as its metrics have it.
func (p *process) completed() string {
	p.t.Helper()
	answer, err := http.Get("http://" + p.admin + "/metrics")
	if err != nil {
		p.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	if found := completedCalls.FindSubmatch(body); found != nil {
		return string(found[1])
	}
	return "0"
}

// The service config that we publish makes a client take replicas in turn, and
// feel nothing when one is killed or drains.
func TestTheServiceConfigSpreadsAndOutlivesAReplica(t *testing.T) {
	url := storetest.Postgres(t)
	a, b, c := serve(t, t.TempDir(), "--store", url), serve(t, t.TempDir(), "--store", url), serve(t, t.TempDir(), "--store", url)
	a.apply(acme)
	key := a.createKey("acme", "k1")

	code, config, failed := runWith(nil, "", "proto", "service-config")
	if code != exitOK {
		t.Fatal(code, failed)
	}
	replicas := manual.NewBuilderWithScheme("replicas")
	replicas.InitialState(resolver.State{Addresses: []resolver.Address{{Addr: a.grpc}, {Addr: b.grpc}, {Addr: c.grpc}}})
	conn, err := grpc.NewClient("replicas:///", grpc.WithResolvers(replicas),
		grpc.WithDefaultServiceConfig(config), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err) // also where the config is not one
	}
	defer conn.Close()
	client := weirv1.NewGenerationServiceClient(conn)
	calls := func(when string, among ...*process) {
		t.Helper()
		served := map[string]bool{}
		for n := 0; n < 12 || len(served) < len(among) && n < 2000; n++ {
			var who peer.Peer
			if _, err := client.Generate(as(t, key), ask("say: hello"), grpc.Peer(&who)); err != nil {
				t.Fatalf("%s: %v", when, err)
			}
			served[who.Addr.String()] = true
		}
		for _, p := range among {
			if !served[p.grpc] || p.completed() == "0" {
				t.Errorf("%s: a replica got no call", when)
			}
		}
	}
	calls("all are up", a, b, c)
	b.end(syscall.SIGKILL)
	calls("one is killed", a, c)
	if err := c.end(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	calls("one has drained", a)
}

func TestConnectionsAgeAndStreamsAreNotCut(t *testing.T) {
	file := filepath.Join(t.TempDir(), "weir.yaml")
	os.WriteFile(file, []byte("grpc: {max_connection_age: 1s}\nbackends: [{name: sim, kind: simulator}]\nmodels: [{name: sim-text, targets: [{backend: sim}]}]\n"), 0o600)
	p := serve(t, t.TempDir(), "--config", file)
	p.apply(acme)
	key := p.createKey("acme", "k1")
	conn, err := grpc.NewClient(p.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := weirv1.NewGenerationServiceClient(conn)
	var before peer.Peer
	stream, err := client.StreamGenerate(as(t, key), ask("tokens: 800"), grpc.Peer(&before)) // two seconds
	if err != nil {
		t.Fatal(err)
	}
	whole := false
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("the stream was cut: %v", err)
		}
		whole = whole || m.GetCompleted() != nil
	}
	var after peer.Peer
	if _, err := client.Generate(as(t, key), ask("say: hello"), grpc.Peer(&after)); err != nil {
		t.Fatal(err)
	}
	if !whole || before.LocalAddr.String() == after.LocalAddr.String() {
		t.Errorf("whole %v, connections %s and %s", whole, before.LocalAddr, after.LocalAddr)
	}
}

func TestAnAgeThatIsTooShortIsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "weir.yaml")
	os.WriteFile(file, []byte("grpc: {max_connection_age: 10ms}\nbackends: [{name: sim, kind: simulator}]\nmodels: [{name: sim-text, targets: [{backend: sim}]}]\n"), 0o600)
	if code, _, failed := runWith(nil, "", "serve", "--config", file); code != exitUsage || !strings.Contains(failed, "grpc.max_connection_age: 10ms is too short") {
		t.Errorf("%d %s", code, failed)
	}
}

// A call that came over HTTP is drained as the others are.
func TestSIGTERMLetsAConnectStreamEnd(t *testing.T) {
	p := serve(t, t.TempDir())
	client := connect.NewClient[weirv1.GenerateRequest, weirv1.StreamGenerateResponse](http.DefaultClient, "http://"+p.http+weirv1.GenerationService_StreamGenerate_FullMethodName)
	request := connect.NewRequest(ask("tokens: 400"))
	request.Header().Set("Authorization", "Bearer "+p.key(demoKeyFile))
	stream, err := client.CallServerStream(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if !stream.Receive() {
		t.Fatal(stream.Err())
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	whole := false
	for stream.Receive() {
		whole = whole || stream.Msg().GetCompleted().GetCost() != nil
	}
	if stream.Err() != nil || !whole {
		t.Errorf("%v, whole %v", stream.Err(), whole)
	}
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Errorf("%v\n%s", err, p.log)
	}
	p.start()
	if r := p.report("--by", "outcome"); len(r.Rows) != 1 || r.Rows[0]["outcome"] != "completed" {
		t.Errorf("%+v", r)
	}
}

// One that outlasts the grace is cut off and settled.
func TestAConnectStreamThatOutlastsTheGraceIsSettled(t *testing.T) {
	p := serve(t, t.TempDir(), "--grace", "1ms")
	client := connect.NewClient[weirv1.GenerateRequest, weirv1.StreamGenerateResponse](http.DefaultClient, "http://"+p.http+weirv1.GenerationService_StreamGenerate_FullMethodName)
	request := connect.NewRequest(ask("tokens: 4000"))
	request.Header().Set("Authorization", "Bearer "+p.key(demoKeyFile))
	stream, err := client.CallServerStream(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	for range 2 {
		if !stream.Receive() {
			t.Fatal(stream.Err())
		}
	}
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Fatalf("%v\n%s", err, p.log)
	}
	p.start()
	if r := p.report("--by", "outcome"); len(r.Rows) != 1 || r.Rows[0]["outcome"] != "cancelled" || r.Total["USD"] == "0.00" {
		t.Errorf("%+v", r)
	}
}

func TestOriginsAreChecked(t *testing.T) {
	for origin, good := range map[string]bool{"https://app.example.org": true, "*": true, "https://app.example.org/": false, "app.example.org": false} {
		c := defaultConfig()
		c.demoModels()
		c.HTTP.CORSOrigins = []string{origin}
		if problems := c.check(&yaml.Node{}); (len(problems) == 0) != good {
			t.Errorf("%s: %v", origin, problems)
		}
	}
}
