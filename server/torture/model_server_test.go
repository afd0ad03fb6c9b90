//go:build torture

package torture

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/simulator"
)

// modelServer tells this binary to be the server of models.
const modelServer = "WEIR_TORTURE_MODEL_SERVER"

// pace is how many tokens a second the model "paced" says, and margin how many
// of them may be generated and on their way, and be in no count of the gateway,
// when a call is cut: those of 640 ms.
const (
	pace   = 100
	margin = 64
)

var profiles = map[string]simulator.Profile{
	"paced":  {TimeToFirstToken: 20 * time.Millisecond, TokensPerSecond: pace, Jitter: 0.3},
	"lively": {TimeToFirstToken: 20 * time.Millisecond, TokensPerSecond: 400, Jitter: 0.3},
}

// served is the account of one request id: how often it came, how many of
// those were answered whole, and all tokens that went in and were generated,
// sent or not.
type served struct{ Calls, Whole, Input, Output int64 }

// modelBook adds to the simulator's account what that does not keep.
type modelBook struct {
	simulator *simulator.Backend
	mu        sync.Mutex
	input     map[string]int64
}

// serveModels is the simulator behind OpenAI's API, with the account at
// /account, until standard input ends.
func serveModels() error {
	s, err := simulator.New(simulator.Config{Models: profiles, AccountedCalls: 1 << 20})
	if err != nil {
		return err
	}
	b := &modelBook{simulator: s, input: map[string]int64{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/chat/completions", b.complete)
	mux.HandleFunc("GET /account", b.account)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("http://" + l.Addr().String())
	go http.Serve(l, mux)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func (b *modelBook) account(w http.ResponseWriter, _ *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := map[string]served{}
	for id, t := range b.simulator.Account().Requests {
		all[id] = served{t.Calls, t.Whole, b.input[id], t.Tokens}
	}
	json.NewEncoder(w).Encode(all)
}

func (b *modelBook) complete(w http.ResponseWriter, r *http.Request) {
	var wire struct {
		Model     string
		MaxTokens *int `json:"max_tokens"`
		Messages  []struct {
			Role    backend.Role
			Content string
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&wire); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	request := &backend.Request{RequestID: r.Header.Get("X-Request-Id"), Model: wire.Model, MaxOutputTokens: wire.MaxTokens, Candidates: 1}
	for _, m := range wire.Messages {
		request.Messages = append(request.Messages, backend.Message{Role: m.Role, Parts: []backend.Part{{Channel: backend.Content, Text: m.Content}}})
	}
	b.mu.Lock()
	b.input[request.RequestID] += int64(b.simulator.CountInput(request))
	b.mu.Unlock()
	stream, err := b.simulator.Generate(r.Context(), request)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer stream.Close()
	w.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(w)
	for {
		event, err := stream.Recv()
		if err != nil {
			if errors.Is(err, io.EOF) {
				fmt.Fprint(w, "data: [DONE]\n\n")
			}
			return
		}
		data, _ := json.Marshal(wireEvent(wire.Model, event))
		fmt.Fprintf(w, "data: %s\n\n", data)
		if out.Flush() != nil {
			return
		}
	}
}

func wireEvent(model string, e backend.Event) map[string]any {
	choice := map[string]any{"index": 0, "delta": map[string]any{}}
	chunk := map[string]any{"model": model, "choices": []any{choice}}
	switch e.Kind {
	case backend.Delta:
		choice["delta"] = map[string]any{"content": e.Text}
	case backend.Finished:
		choice["finish_reason"] = string(e.Finish)
	case backend.Used:
		in, _ := e.Usage.Get(accounting.Input)
		out, _ := e.Usage.Get(accounting.Output)
		chunk["choices"] = []any{}
		chunk["usage"] = map[string]int64{"prompt_tokens": in, "completion_tokens": out}
	}
	return chunk
}

// models is the process that serves them.
type models struct {
	t   *testing.T
	url string
}

func startModels(t *testing.T) *models {
	t.Helper()
	command := exec.Command(os.Args[0])
	command.Env, command.Stderr = append(os.Environ(), modelServer+"=1"), os.Stderr
	hold, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		hold.Close()
		command.Wait()
	})
	url, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the server of models did not start: %v", err)
	}
	return &models{t, strings.TrimSpace(url)}
}

// account is the server's own book, by request id.
func (m *models) account() map[string]served {
	m.t.Helper()
	answer, err := http.Get(m.url + "/account")
	if err != nil {
		m.t.Fatal(err)
	}
	defer answer.Body.Close()
	var all map[string]served
	if err := json.NewDecoder(answer.Body).Decode(&all); err != nil {
		m.t.Fatal(err)
	}
	return all
}
