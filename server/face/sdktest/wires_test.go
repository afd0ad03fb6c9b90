package sdktest

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
)

// question has a price, a text in two scripts that a rule changes, and tokens
// of reasoning.
const question = `{"model": "sim-text", "messages": [{"role": "ROLE_USER", "parts": [{"text": "think: 想\nsay: Write to ada@example.org, 请写信给我。"}]}]}`

const shop = `
kind: Tenant
name: shop
---
kind: Price
model: sim-text
currency: USD
effective: 2026-01-02
per_million: {input: 0.50, output: 1.50}
---
kind: Policy
name: base
tenant: shop
safety:
  output:
    - {guard: pattern, builtin: email, action: redact}
`

// TestEveryClientGetsTheSame makes one call by each of four clients.
func TestEveryClientGetsTheSame(t *testing.T) {
	for _, tool := range []string{"curl", "node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%s is missing: on Debian, apt-get install curl nodejs npm", tool)
		}
	}
	browser := browserOf(t)
	page, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer page.Close()
	origin := "http://" + page.Addr().String()

	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	write(t, filepath.Join(dir, "weir.yaml"), `
backends: [{name: simulator, kind: simulator}]
models: [{name: sim-text, targets: [{backend: simulator}]}]
http: {cors_origins: ["`+origin+`"]}
`)
	grpcAddr, httpAddr, stop, err := serve(data, "--config", filepath.Join(dir, "weir.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	write(t, filepath.Join(dir, "shop.yaml"), shop)
	admin := []string{"--addr", grpcAddr, "--key-file", filepath.Join(data, "admin.key")}
	must(t, "", weir.binary, append([]string{"apply", "-f", filepath.Join(dir, "shop.yaml")}, admin...)...)
	key := strings.TrimSpace(must(t, "", weir.binary, append([]string{"key", "create", "--tenant", "shop", "--name", "k1"}, admin...)...))

	client, err := newGapic(grpcAddr, key)
	if err != nil {
		t.Fatal(err)
	}
	defer client.conn.Close()
	var request weirv1.GenerateRequest
	if err := protojson.Unmarshal([]byte(question), &request); err != nil {
		t.Fatal(err)
	}
	want, err := client.Generate(labelled(t.Context(), "gapic"), &request)
	if err != nil {
		t.Fatal(err)
	}
	if parts := want.Candidates[0].Message.Parts; len(parts) != 2 || parts[1].GetText() != "Write to [EMAIL], 请写信给我。" || want.Usage.GetReasoningTokens() == 0 || want.Cost.GetTotal().GetNanos() == 0 {
		t.Fatalf("the answer is %v", want)
	}
	stranger, err := newGapic(grpcAddr, "weir_none")
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.conn.Close()
	if _, err := stranger.Generate(t.Context(), &request); reasonOf(err) != "weir.v1 CREDENTIALS_INVALID" {
		t.Errorf("without a key gax reads %s", reasonOf(err))
	}

	web := inBrowser(t, browser, page, map[string]any{"baseUrl": "http://" + httpAddr, "key": key, "question": json.RawMessage(question)})
	for name, answer := range map[string]string{
		"buf": must(t, root, "go", "tool", "-modfile=proto/tools.mod", "buf", "curl", "--http2-prior-knowledge", "--protocol", "grpc",
			"-H", "authorization: Bearer "+key, "-H", "x-weir-labels: client=buf", "-d", question, "http://"+grpcAddr+"/weir.v1.GenerationService/Generate"),
		"curl":    must(t, "", "curl", "-sS", "-H", "Authorization: Bearer "+key, "-H", "x-weir-labels: client=curl", "-d", question, "http://"+httpAddr+"/weir/v1/generate"),
		"browser": string(web.Answer),
	} {
		var got weirv1.GenerateResponse
		if err := protojson.Unmarshal([]byte(answer), &got); err != nil {
			t.Errorf("%s: %v\n%s", name, err, answer)
			continue
		}
		if name == "browser" && got.RequestId != web.RequestID {
			t.Errorf("a page may read the request id %q of %s", web.RequestID, got.RequestId)
		}
		if a, b := timeless(want), timeless(&got); !proto.Equal(a, b) {
			t.Errorf("%s got\n%v\nthe client for Go\n%v", name, b, a)
		}
	}
	var completed weirv1.CompletedEvent
	if err := protojson.Unmarshal(web.Completed, &completed); err != nil {
		t.Fatal(err)
	}
	if web.Text != "想Write to [EMAIL], 请写信给我。" || !proto.Equal(completed.Usage, want.Usage) || !proto.Equal(completed.Cost, want.Cost) {
		t.Errorf("the page's stream said %q and %v", web.Text, &completed)
	}
	if web.BadKey.Code != "Unauthenticated" || !strings.Contains(web.BadKey.Message, "unknown API key") {
		t.Errorf("a page with a bad key gets %+v", web.BadKey)
	}

	// The ledger has the same for each; the page has called twice.
	rows, err := client.QueryCosts(t.Context(), &weirv1.QueryCostsRequest{
		Parent: "tenants/shop", GroupBy: []string{"labels.client"}, PageSize: 1,
		StartTime: timestamppb.New(time.Now().Add(-time.Hour)), EndTime: timestamppb.New(time.Now().Add(time.Hour)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ledger := map[string]string{}
	for _, r := range rows {
		ledger[r.Dimensions["labels.client"]] = fmt.Sprint(r.Calls, r.Costs[0].Units, r.Costs[0].Nanos, r.Usage.GetOutputTokens())
	}
	once := func(calls int64) string {
		return fmt.Sprint(calls, calls*want.Cost.Total.Units, int32(calls)*want.Cost.Total.Nanos, calls*want.Usage.GetOutputTokens())
	}
	for name, calls := range map[string]int64{"gapic": 1, "buf": 1, "curl": 1, "browser": 2} {
		if ledger[name] != once(calls) {
			t.Errorf("the ledger has %q of %s, not %q", ledger[name], name, once(calls))
		}
	}
}

// timeless is an answer without what differs from call to call.
func timeless(m *weirv1.GenerateResponse) *weirv1.GenerateResponse {
	m = proto.CloneOf(m)
	m.RequestId, m.Timing = "", nil
	for _, v := range m.Verdicts {
		v.PolicyRevision = 0 // of all that is configured, so the new key raises it in a moment
	}
	return m
}

// visit is what the page in folder browser tells.
type visit struct {
	Answer, Completed json.RawMessage
	RequestID, Text   string
	BadKey            struct{ Code, Message string }
	Failed            string
}

// inBrowser serves the page and opens it in a browser, from where it may call,
// and before that from an origin that may not.
func inBrowser(t *testing.T, browser string, listener net.Listener, settings map[string]any) visit {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"package.json", "page.mjs"} {
		data, err := os.ReadFile(filepath.Join("browser", name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), string(data))
	}
	must(t, dir, "npm", "install", "--prefer-offline", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--engine-strict")
	public := filepath.Join(dir, "public")
	must(t, dir, filepath.Join(dir, "node_modules", ".bin", "esbuild"), "page.mjs", "--bundle", "--format=esm", "--outfile="+filepath.Join(public, "page.js"), "--log-level=error")
	must(t, "", weir.binary, "proto", "export", public)
	write(t, filepath.Join(public, "index.html"), `<!doctype html><meta charset="utf-8"><title>Weir</title><script type="module" src="/page.js"></script>`)
	text, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(public, "settings.json"), string(text))

	results := make(chan visit, 1)
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServer(http.Dir(public)))
	mux.HandleFunc("POST /result", func(_ http.ResponseWriter, r *http.Request) {
		var v visit
		if err := json.NewDecoder(r.Body).Decode(&v); err != nil {
			v.Failed = err.Error()
		}
		results <- v
	})
	server := &http.Server{Handler: mux}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })

	_, port, _ := net.SplitHostPort(listener.Addr().String())
	open := func(url string) visit {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		// It asks nobody but this machine.
		command := exec.CommandContext(ctx, browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
			"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions", "--no-proxy-server",
			"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
			"--remote-debugging-port=0", "--user-data-dir="+filepath.Join(dir, "profile"), url) // the port keeps it open
		command.Env = environment()
		ended := make(chan string, 1)
		go func() {
			out, err := command.CombinedOutput()
			ended <- fmt.Sprintf("%v\n%s", err, out)
		}()
		select {
		case v := <-results:
			cancel()
			<-ended
			return v
		case how := <-ended:
			t.Fatalf("%s ended before the page had told anything: %s", browser, how)
		}
		return visit{}
	}
	if v := open("http://localhost:" + port); v.Failed == "" || v.Answer != nil {
		t.Errorf("a page of an origin that may not call got %+v", v)
	}
	v := open("http://127.0.0.1:" + port)
	if v.Failed != "" {
		t.Fatalf("the page failed: %s", v.Failed)
	}
	return v
}

// browserOf finds a Chromium, under any of its names.
func browserOf(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("there is no Chromium: on Debian, apt-get install chromium")
	return ""
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// must runs a command that must end well, and returns what it prints.
func must(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	out, errs, err := output(t.Context(), dir, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, args[0], err, out, errs)
	}
	return out
}
