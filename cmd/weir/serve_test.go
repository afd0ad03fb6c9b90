package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"github.com/weir-gateway/weir/accounting"
	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/store/storetest"
)

func TestAFirstStartNeedsNothing(t *testing.T) {
	p := serve(t, filepath.Join(t.TempDir(), "new"))
	for _, name := range []string{adminKeyFile, demoKeyFile} {
		info, err := os.Stat(filepath.Join(p.data, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
	demo := p.key(demoKeyFile)
	if out := p.must(nil, demo, "call", "-m", "sim-text", "say: Hello, 世界"); out != "Hello, 世界\n" {
		t.Errorf("%q", out)
	}

	var unary, streamed callResult
	p.must(&unary, demo, "call", "-m", "sim-text", "-o", "json", "--label", "team=search", "--seed", "7", "Hello")
	p.must(&streamed, demo, "call", "-m", "sim-text", "-o", "json", "--label", "team=search", "--seed", "7", "--stream", "Hello")
	if unary.Text == "" || unary.Text != streamed.Text || *unary.Cost != *streamed.Cost || unary.FinishReason != "stop" || unary.RequestID == streamed.RequestID {
		t.Errorf("unary %+v\nstreamed %+v", unary, streamed)
	}
	r := p.report("--by", "labels.team")
	if len(r.Rows) != 2 || r.Total["USD"] == "" {
		t.Errorf("report %+v", r)
	}

	// The admin key belongs to no tenant, so it cannot call.
	if code, _, failed := p.run(p.key(adminKeyFile), "", "call", "-m", "sim-text", "hi"); code == exitOK || !strings.Contains(failed, "weir key create") {
		t.Errorf("%d %s", code, failed)
	}

	for path, want := range map[string]string{"http://" + p.http + "/healthz": "ok", "http://" + p.http + "/readyz": "ready", "http://" + p.admin + "/metrics": `weir_calls_total{backend="simulator",model="sim-text",outcome="completed"} 3`} {
		answer, err := http.Get(path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
			t.Errorf("%s: %s: %.300s", path, answer.Status, body)
		}
	}
	conn, err := grpc.NewClient(p.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, service := range []string{"", "weir.v1.GenerationService", "weir.v1.AdminService"} {
		answer, err := healthv1.NewHealthClient(conn).Check(context.Background(), &healthv1.HealthCheckRequest{Service: service})
		if err != nil || answer.Status != healthv1.HealthCheckResponse_SERVING {
			t.Errorf("health of %q: %v %v", service, answer, err)
		}
	}

	// A second start finds everything as it was.
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Fatalf("%v\n%s", err, p.log)
	}
	p.start()
	p.must(nil, demo, "call", "-m", "sim-text", "hello again")
	if r := p.report("--by", "tenant"); len(r.Rows) != 1 || r.Rows[0]["calls"] != 4.0 {
		t.Errorf("report %+v", r)
	}
}

// acme is what the acceptance applies, for the simulator's model.
const acme = `
kind: Tenant
name: acme
---
kind: Price
model: sim-text
currency: USD
effective: 2026-01-02
per_million: {input: 0.50, output: 1.50}
---
kind: Budget
name: cap
tenant: acme
per: tenant
limit: 5 USD
window: total
---
kind: Policy
name: base
tenant: acme
rates:
  - {per: key, requests: 600/min, concurrent: 64}
safety:
  input:
    - {guard: lexicon, terms: ["classified"], action: block}
  output:
    - {guard: lexicon, terms: ["zorblatt"], action: block}
    - {guard: pattern, builtin: email, action: redact}
outputs: {mode: full, sample: 100%}
`

func TestPoliciesHoldOnBothFaces(t *testing.T) {
	p := serve(t, t.TempDir())
	p.apply(acme)
	key := p.createKey("acme", "k1")

	code, out, failed := p.run(key, "", "call", "-m", "sim-text", "--stream", "say: behold the zorblatt now")
	if code != exitBlocked || strings.TrimSpace(out) != "behold the" || !strings.Contains(failed, "output[0]") {
		t.Errorf("%d %q %q", code, out, failed)
	}
	code, _, failed = p.run(key, "", "call", "-m", "sim-text", "tell me what is classified")
	if code != exitBlocked || !strings.Contains(failed, "input[0]") || strings.Contains(failed, "classified") {
		t.Errorf("%d %q", code, failed)
	}
	if out := p.must(nil, key, "call", "-m", "sim-text", "say: mail bob@example.com now"); strings.Contains(out, "@") {
		t.Errorf("%q", out)
	}
	for _, stream := range []bool{false, true} {
		text := chat(t, p, key, "say: mail bob@example.com, then see the zorblatt", stream)
		if strings.Contains(text, "bob") || strings.Contains(text, "example.com") || strings.Contains(text, "zorb") || !strings.Contains(text, `"content_filter"`) || !strings.Contains(text, "[EMAIL]") {
			t.Errorf("stream %v: %s", stream, text)
		}
	}
	// Another tenant's policies are not this one's.
	if out := p.must(nil, p.key(demoKeyFile), "call", "-m", "sim-text", "say: a zorblatt"); out != "a zorblatt\n" {
		t.Errorf("%q", out)
	}
}

// chat calls through the OpenAI face and returns the body as it came.
func chat(t *testing.T, p *process, key, prompt string, stream bool) string {
	t.Helper()
	body, _ := json.Marshal(map[string]any{"model": "sim-text", "stream": stream, "messages": []any{map[string]string{"role": "user", "content": prompt}}})
	request, err := http.NewRequest(http.MethodPost, "http://"+p.http+"/v1/chat/completions", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+key)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK || answer.Header.Get("x-weir-request-id") == "" {
		t.Fatalf("%s %v %s", answer.Status, err, text)
	}
	return string(text)
}

// streams starts n calls that take about two seconds each, over both faces,
// and returns when each has begun to answer. The func that it returns waits
// for them and gives back the costs of those that ended with one.
func streams(t *testing.T, p *process, key string, n int) (wait func() []accounting.Money) {
	t.Helper()
	const prompt = "tokens: 800"
	conn, err := grpc.NewClient(p.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	ctx := metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer "+key)
	var begun, all sync.WaitGroup
	var mu sync.Mutex
	var costs []accounting.Money
	ended := func(m accounting.Money) {
		mu.Lock()
		defer mu.Unlock()
		costs = append(costs, m)
	}
	overGRPC := func(begin func()) {
		defer begin()
		stream, err := weirv1.NewGenerationServiceClient(conn).StreamGenerate(ctx, &weirv1.GenerateRequest{
			Model:    "sim-text",
			Messages: []*weirv1.Message{{Role: weirv1.Role_ROLE_USER, Parts: []*weirv1.Part{{Data: &weirv1.Part_Text{Text: prompt}}}}},
		})
		for err == nil {
			var m *weirv1.StreamGenerateResponse
			if m, err = stream.Recv(); err == nil {
				begin()
				if done := m.GetCompleted(); done != nil {
					ended(moneyOf(done.Cost.GetTotal()))
				}
			}
		}
	}
	overHTTP := func(begin func()) {
		defer begin()
		request, _ := http.NewRequest(http.MethodPost, "http://"+p.http+"/v1/chat/completions", strings.NewReader(fmt.Sprintf(`{"model":"sim-text","stream":true,"messages":[{"role":"user","content":%q}]}`, prompt)))
		request.Header.Set("Authorization", "Bearer "+key)
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return
		}
		defer answer.Body.Close()
		var cost moneyResult
		for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
			data, isData := strings.CutPrefix(lines.Text(), "data: ")
			if !isData {
				continue
			}
			begin()
			if data == "[DONE]" {
				m, err := accounting.ParseMoney(cost.Amount, cost.Currency)
				if err != nil {
					t.Error(err)
				}
				ended(m)
				continue
			}
			var c chatChunk
			if json.Unmarshal([]byte(data), &c) == nil && c.Weir != nil {
				cost = c.Weir.Cost
			}
		}
	}
	for i := range n {
		begun.Add(1)
		begin := sync.OnceFunc(begun.Done)
		all.Go(func() {
			if i%2 == 0 {
				overGRPC(begin)
			} else {
				overHTTP(begin)
			}
		})
	}
	begun.Wait()
	return func() []accounting.Money {
		all.Wait()
		conn.Close()
		return costs
	}
}

func sum(t *testing.T, costs []accounting.Money) accounting.Money {
	t.Helper()
	total := accounting.Money{Currency: "USD"}
	for _, c := range costs {
		var err error
		if total, err = total.Add(c); err != nil {
			t.Fatal(err)
		}
	}
	return total
}

func TestSIGTERMLosesNothing(t *testing.T) {
	p := serve(t, t.TempDir())
	key := p.key(demoKeyFile)
	const n = 12
	wait := streams(t, p, key, n)
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Fatalf("%v\n%s", err, p.log)
	}
	costs := wait()
	if len(costs) != n {
		t.Fatalf("%d of %d streams were finished\n%s", len(costs), n, p.log)
	}
	p.start()
	if r := p.report("--by", "outcome"); len(r.Rows) != 1 || r.Rows[0]["outcome"] != "completed" || r.Rows[0]["calls"] != float64(n) || r.Total["USD"] != sum(t, costs).Decimal() {
		t.Errorf("the callers were told %s in all, the report says %+v", sum(t, costs), r)
	}
}

func TestStreamsThatOutlastTheGraceAreSettled(t *testing.T) {
	p := serve(t, t.TempDir(), "--grace", "1ms")
	wait := streams(t, p, p.key(demoKeyFile), 4)
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Fatalf("%v\n%s", err, p.log)
	}
	if costs := wait(); len(costs) != 0 {
		t.Fatalf("%d streams outlasted the grace", len(costs))
	}
	p.start()
	if r := p.report("--by", "outcome"); len(r.Rows) != 1 || r.Rows[0]["outcome"] != "cancelled" || r.Rows[0]["calls"] != 4.0 || r.Total["USD"] == "0.00" {
		t.Errorf("what was generated is to be paid: %+v", r)
	}
}

func TestKillMinusNineHidesNoSpending(t *testing.T) {
	p := serve(t, t.TempDir())
	key := p.key(demoKeyFile)
	var told callResult
	p.must(&told, key, "call", "-m", "sim-text", "-o", "json", "hello")
	wait := streams(t, p, key, 6)
	p.end(syscall.SIGKILL)
	wait()
	p.start()
	var r reported
	for _, row := range p.report("--by", "outcome").Rows {
		r.Rows = append(r.Rows, row)
		switch row["outcome"] {
		case "completed":
			if row["calls"] != 1.0 || row["cost"] != told.Cost.Amount {
				t.Errorf("the call that got an OK: %+v, told %+v", row, told.Cost)
			}
		case "in_doubt":
			if row["calls"] != 6.0 {
				t.Errorf("the calls that were cut: %+v", row)
			}
		}
	}
	if len(r.Rows) != 2 {
		t.Errorf("rows %+v", r.Rows)
	}
}

func TestTwoReplicasOnOnePostgreSQL(t *testing.T) {
	url := storetest.Postgres(t)
	a := serve(t, t.TempDir(), "--store", url)
	b := serve(t, t.TempDir(), "--store", url)
	if _, err := os.Stat(filepath.Join(b.data, adminKeyFile)); err == nil {
		t.Error("the second replica made an admin key of its own")
	}
	a.apply(acme)
	key := a.createKey("acme", "k1")
	// The second replica polls the revision; the key itself is found at once.
	deadline, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		code, out, failed := b.run(key, "", "call", "-m", "sim-text", "say: see the zorblatt")
		if code == exitBlocked && strings.TrimSpace(out) == "see the" {
			break
		}
		if deadline.Err() != nil {
			t.Fatalf("the policy did not reach the second replica: %d %q %q", code, out, failed)
		}
	}
	a.must(nil, key, "call", "-m", "sim-text", "hello")
	r := a.report("--by", "tenant,outcome")
	for _, row := range r.Rows {
		if row["tenant"] == "acme" && row["outcome"] == "completed" && row["calls"].(float64) < 1 {
			t.Errorf("%+v", row)
		}
	}
	for _, p := range []*process{a, b} {
		if err := p.end(syscall.SIGTERM); err != nil {
			t.Errorf("%v\n%s", err, p.log)
		}
	}
}

// What replicas admit together is what a rate allows, also after a restart.
func TestReplicasShareARate(t *testing.T) {
	url := storetest.Postgres(t)
	first := serve(t, t.TempDir(), "--store", url)
	first.apply(acme)
	first.apply("kind: Policy\nname: slow\ntenant: acme\nrates: [{per: tenant, requests: 6/day, concurrent: 2}]\n")
	key := first.createKey("acme", "k1")
	list := []*process{first, serve(t, t.TempDir(), "--store", url)}
	admitted := 0
	call := func(p *process) {
		t.Helper()
		switch code, _, failed := p.run(key, "", "call", "-m", "sim-text", "hello"); {
		case code == 0:
			admitted++
		case code != exitExhausted || !strings.Contains(failed, `rule "rates[0]" of policy "slow"`):
			t.Errorf("%d %s", code, failed)
		}
	}
	for i := range 10 {
		call(list[i%2])
	}
	if admitted != 6 {
		t.Errorf("two replicas admit %d calls where 6 may come", admitted)
	}
	for _, p := range list {
		if err := p.end(syscall.SIGTERM); err != nil {
			t.Errorf("%v\n%s", err, p.log)
		}
	}
	call(serve(t, t.TempDir(), "--store", url))
	if admitted != 6 {
		t.Error("a new replica gets a rate of its own")
	}
}

func TestAReportOfNothingButFailures(t *testing.T) {
	p := serve(t, t.TempDir())
	demo := p.key(demoKeyFile)
	p.run(demo, "", "call", "-m", "sim-error", "hello")
	p.must(nil, demo, "call", "-m", "sim-text", "hello")
	if r := p.report("--by", "outcome"); len(r.Rows) != 2 || r.Rows[1]["outcome"] != "failed" || r.Rows[1]["unpriced_calls"] != nil {
		t.Errorf("%+v", r)
	}
	// A tenant's own key sees its own costs without saying whose.
	var own reported
	p.must(&own, demo, "report", "--since", "1h", "-o", "json")
	if len(own.Rows) != 2 {
		t.Errorf("%+v", own)
	}
	if code, _, failed := p.run(demo, "", "report", "--by", "colour"); code != exitUsage || !strings.Contains(failed, "group by tenant, project") {
		t.Errorf("%d %s", code, failed)
	}
}
