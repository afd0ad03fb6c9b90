//go:build realserver

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
)

// These tests run in front of a real model server, which .ci/test-real starts:
// WEIR_TEST_OPENAI_URL and WEIR_TEST_OPENAI_MODEL say where it is and what it
// serves.

// realWeir is a Weir in front of the real server, with tenant acme.
func realWeir(t *testing.T) (p *process, key string) {
	t.Helper()
	url, model := os.Getenv("WEIR_TEST_OPENAI_URL"), os.Getenv("WEIR_TEST_OPENAI_MODEL")
	if url == "" || model == "" {
		t.Fatal("WEIR_TEST_OPENAI_URL and WEIR_TEST_OPENAI_MODEL name no model server: run make test-real, which starts one")
	}
	config := file(t, "weir.yaml", `
backends:
  - {name: local, kind: openai, dialect: llamacpp, url: "`+url+`", key: "${LOCAL_KEY}", tags: [private]}
models:
  - {name: m1, targets: [{backend: local, model: "`+model+`"}]}
`)
	p = serve(t, t.TempDir(), "--config", config)
	p.apply(strings.ReplaceAll(acme, "model: sim-text", "model: m1"))
	return p, p.createKey("acme", "k1")
}

// direct asks the model server itself, and returns what it says was used.
func direct(t *testing.T, prompt string, maxTokens int) (in, out int64) {
	t.Helper()
	body, _ := json.Marshal(map[string]any{
		"model": os.Getenv("WEIR_TEST_OPENAI_MODEL"), "seed": 7, "max_tokens": maxTokens,
		"messages": []any{map[string]string{"role": "user", "content": prompt}},
	})
	answer, err := http.Post(os.Getenv("WEIR_TEST_OPENAI_URL")+"/chat/completions", "application/json", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var got struct {
		Usage struct {
			Prompt     int64 `json:"prompt_tokens"`
			Completion int64 `json:"completion_tokens"`
		}
	}
	if err := json.NewDecoder(answer.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	return got.Usage.Prompt, got.Usage.Completion
}

func TestRealServerIsMeteredAsItReports(t *testing.T) {
	p, key := realWeir(t)
	const prompt = "Write one short sentence about a river."
	wantIn, wantOut := direct(t, prompt, 40)
	if wantIn == 0 || wantOut == 0 {
		t.Fatalf("the server reports no usage: %d %d", wantIn, wantOut)
	}
	var unary, streamed callResult
	for _, c := range []struct {
		to    *callResult
		flags []string
	}{{&unary, nil}, {&streamed, []string{"--stream"}}} {
		p.must(c.to, key, append([]string{"call", "-m", "m1", "-o", "json", "--seed", "7", "--max-tokens", "40", prompt}, c.flags...)...)
		if c.to.Text == "" || c.to.Usage.Source != "provider" || *c.to.Usage.InputTokens != wantIn || *c.to.Usage.OutputTokens != wantOut {
			t.Errorf("%v: %+v, the server itself reports %d in and %d out", c.flags, c.to, wantIn, wantOut)
		}
	}
	// The same through the OpenAI face: what the caller is told is what the
	// ledger has.
	told := int64(0)
	for _, stream := range []bool{false, true} {
		in, out := realChat(t, p, key, prompt, stream)
		if in != wantIn || out != wantOut {
			t.Errorf("stream %v: %d in and %d out, the server itself reports %d and %d", stream, in, out, wantIn, wantOut)
		}
		told += in + out
	}
	row := p.report("--by", "tenant,model,outcome").Rows[0]
	if row["outcome"] != "completed" || row["calls"] != 4.0 || row["input_tokens"] != float64(4*wantIn) || row["output_tokens"] != float64(4*wantOut) {
		t.Errorf("the ledger has %+v; four calls of %d in and %d out were served", row, wantIn, wantOut)
	}
}

// realChat calls through the OpenAI face and returns the usage it tells.
func realChat(t *testing.T, p *process, key, prompt string, stream bool) (in, out int64) {
	t.Helper()
	request := map[string]any{
		"model": "m1", "seed": 7, "max_tokens": 40, "stream": stream,
		"messages": []any{map[string]string{"role": "user", "content": prompt}},
	}
	if stream {
		request["stream_options"] = map[string]bool{"include_usage": true}
	}
	body, _ := json.Marshal(request)
	r, _ := http.NewRequest(http.MethodPost, "http://"+p.http+"/v1/chat/completions", strings.NewReader(string(body)))
	r.Header.Set("Authorization", "Bearer "+key)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s %v %s", answer.Status, err, text)
	}
	for line := range strings.Lines(string(text)) {
		var c struct {
			Usage *struct {
				Prompt     int64 `json:"prompt_tokens"`
				Completion int64 `json:"completion_tokens"`
			}
		}
		if json.Unmarshal([]byte(strings.TrimPrefix(line, "data: ")), &c) == nil && c.Usage != nil {
			in, out = c.Usage.Prompt, c.Usage.Completion
		}
	}
	return in, out
}

func TestRealServerIsCancelledInMidStream(t *testing.T) {
	p, key := realWeir(t)
	conn, err := grpc.NewClient(p.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer "+key))
	defer cancel()
	// A small model may end early. With a seed that made it talk for long once, it
	// does so again.
	const prompt = "Tell me a very long story about a river, with every detail."
	most, seed := int32(1500), int64(1)
	for ; seed <= 20; seed++ {
		var r callResult
		p.must(&r, key, "call", "-m", "m1", "-o", "json", "--max-tokens", "200", "--seed", fmt.Sprint(seed), prompt)
		if r.FinishReason == "length" {
			break
		}
	}
	stream, err := weirv1.NewGenerationServiceClient(conn).StreamGenerate(ctx, &weirv1.GenerateRequest{
		Model:    "m1",
		Messages: []*weirv1.Message{{Role: weirv1.Role_ROLE_USER, Parts: []*weirv1.Part{{Data: &weirv1.Part_Text{Text: prompt}}}}},
		Config:   &weirv1.GenerationConfig{MaxOutputTokens: &most, Seed: &seed},
	})
	if err != nil {
		t.Fatal(err)
	}
	deltas := 0
	for {
		m, err := stream.Recv()
		if status.Code(err) == codes.Canceled {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if m.GetDelta() != nil {
			if deltas++; deltas == 5 {
				cancel()
			}
		}
	}
	// The call settles after its caller is gone; SIGTERM waits for it.
	p.end(15)
	p.start()
	// A delta is no token: the screen may let one go in several pieces.
	rows := slices.DeleteFunc(p.report("--by", "outcome").Rows, func(row map[string]any) bool { return row["outcome"] == "completed" })
	if len(rows) != 1 || rows[0]["outcome"] != "cancelled" || rows[0]["output_tokens"].(float64) < 1 || rows[0]["output_tokens"].(float64) > 1000 || rows[0]["cost"] == "0.00" {
		t.Errorf("the ledger has %+v for a call cancelled after %d deltas", rows, deltas)
	}
	// The backend was told: its slots are free for the next call.
	p.must(nil, key, "call", "-m", "m1", "--max-tokens", "5", "hello")
}

func TestRealServerUnderPolicies(t *testing.T) {
	p, key := realWeir(t)
	p.apply("kind: Policy\nname: words\ntenant: acme\nsafety: {output: [{guard: lexicon, terms: [the, a, of, and, is, to, in], whole_word: true, action: block}]}\n")
	code, out, failed := p.run(key, "", "call", "-m", "m1", "--stream", "--max-tokens", "200", "--seed", "7", "Tell me a long story about a river.")
	if code != exitBlocked || !strings.Contains(failed, "words") {
		t.Fatalf("%d %q %q", code, out, failed)
	}
	for _, w := range strings.FieldsFunc(strings.ToLower(out), func(r rune) bool { return r < 'a' || r > 'z' }) {
		switch w {
		case "the", "a", "of", "and", "is", "to", "in":
			t.Errorf("the forbidden word %q was released: %q", w, out)
		}
	}
	rows := p.report("--by", "outcome").Rows
	if len(rows) != 1 || rows[0]["outcome"] != "blocked" || rows[0]["cost"] == "0.00" {
		t.Errorf("%+v", rows)
	}
}

func TestRealServerRefusesWhatIsTooLong(t *testing.T) {
	p, key := realWeir(t)
	code, _, failed := p.run(key, strings.Repeat("All work and no play makes Jack a dull boy. ", 1000), "call", "-m", "m1", "-")
	if code != exitUsage || !strings.Contains(failed, "too long") {
		t.Errorf("%d %q", code, failed)
	}
}

func TestRealServerThroughTheDemo(t *testing.T) {
	code, out, failed := runWith(nil, "", "demo", "--backend", os.Getenv("WEIR_TEST_OPENAI_URL"), "--model", os.Getenv("WEIR_TEST_OPENAI_MODEL"))
	if code != exitOK || !strings.Contains(out, "Equal, to the nano.") {
		t.Errorf("exit code %d\n%s\n%s", code, out, failed)
	}
}
