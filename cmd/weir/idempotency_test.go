package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/weir-gateway/weir/server/store/storetest"
)

const keepAll = "kind: Policy\nname: keep\noutputs: {mode: full}\n"

// repeatable is a call with a key, and what came of it.
func (p *process) repeatable(key, name string, args ...string) (result callResult, code int, failed string) {
	p.t.Helper()
	code, out, failed := p.run(key, "", append([]string{"call", "-o", "json", "--idempotency-key", name}, args...)...)
	if code == exitOK {
		if err := json.Unmarshal([]byte(out), &result); err != nil {
			p.t.Errorf("%v in %s", err, out)
		}
	}
	return result, code, failed
}

const stillRuns = "may still be running: try again"

// Doubles of a call that come to two replicas at once: one runs, the others wait
// for its answer.
func TestDoublesOverReplicas(t *testing.T) {
	url := storetest.Postgres(t)
	a := serve(t, t.TempDir(), "--store", url)
	a.apply(acme)
	a.apply(keepAll)
	key := a.createKey("acme", "k1")
	list := []*process{a, serve(t, t.TempDir(), "--store", url)}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var running sync.WaitGroup
	var waited, made atomic.Int64
	ids := make([]callResult, 6)
	for i := range ids {
		running.Go(func() {
			args := []string{"-m", "sim-text", "--max-tokens", "400", "tokens: 400"}
			if i%3 == 2 {
				args = append(args, "--stream")
			}
			for ctx.Err() == nil {
				result, code, failed := list[i%2].repeatable(key, "doubles", args...)
				switch {
				case code == exitOK:
					if ids[i] = result; !result.Replayed {
						made.Add(1)
					}
					return
				case strings.Contains(failed, stillRuns):
					waited.Add(1)
				default:
					t.Errorf("%d %s", code, failed)
					return
				}
			}
		})
	}
	running.Wait()
	if made.Load() != 1 || waited.Load() == 0 {
		t.Errorf("%d calls were made, and %d tries came while one ran", made.Load(), waited.Load())
	}
	for i := range ids {
		if ids[i].RequestID != ids[0].RequestID || ids[i].Text != ids[0].Text || ids[i].Text == "" || *ids[i].Cost != *ids[0].Cost {
			t.Errorf("answer %d is %+v\nand the first %+v", i, ids[i], ids[0])
		}
	}
	// Each replica takes its own to the store when it is asked for a report.
	var r reported
	for _, p := range []*process{list[1], a} {
		p.must(&r, a.key(adminKeyFile), "report", "--since", "1h", "-o", "json", "--by", "outcome", "--tenant", "acme")
	}
	if len(r.Rows) != 1 || r.Rows[0]["calls"].(float64) != 1 || r.Total["USD"] != ids[0].Cost.Amount {
		t.Errorf("the report is %+v, of a call of %+v", r, ids[0].Cost)
	}
	// The same on the other face, and with the header that HTTP clients know.
	body := `{"model": "sim-text", "max_completion_tokens": 400, "messages": [{"role": "user", "content": "tokens: 400"}]}`
	status, answer := list[1].chatted(key, "doubles", body)
	if status != http.StatusOK || !strings.Contains(answer, "chatcmpl-"+ids[0].RequestID) || !strings.Contains(answer, `"replayed":true`) {
		t.Errorf("%d %s", status, answer)
	}
	if status, answer := list[1].chatted(key, "doubles", strings.Replace(body, "400", "401", 1)); status != http.StatusBadRequest || !strings.Contains(answer, `"idempotency_key_taken"`) {
		t.Errorf("%d %s", status, answer)
	}
	streamed := strings.Replace(body, `{"model"`, `{"stream": true, "model"`, 1)
	if status, answer := list[0].chatted(key, "doubles", streamed); status != http.StatusOK || strings.Contains(answer, "error") ||
		!strings.Contains(answer, "chatcmpl-"+ids[0].RequestID) || !strings.Contains(answer, "[DONE]") {
		t.Errorf("%d %s", status, answer)
	}
	// Another project's is another key.
	if other, code, failed := a.repeatable(a.key(demoKeyFile), "doubles", "-m", "sim-text", "--max-tokens", "400", "tokens: 400"); code != exitOK || other.Replayed {
		t.Errorf("%d %s %+v", code, failed, other)
	}
}

// chat asks for a chat completion with an idempotency key.
func (p *process) chat(key, name, body string) *http.Response {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, "http://"+p.http+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+key)
	r.Header.Set("Idempotency-Key", name)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	return answer
}

// chatted is the whole answer to chat.
func (p *process) chatted(key, name, body string) (int, string) {
	p.t.Helper()
	answer := p.chat(key, name, body)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// A call whose process was killed is made anew when that process is known to be
// gone, and not before.
func TestACallOfAKilledReplicaIsMadeAnew(t *testing.T) {
	for name, url := range map[string]string{"PostgreSQL": storetest.Postgres(t), "SQLite": ""} {
		t.Run(name, func(t *testing.T) {
			var args []string
			if url != "" {
				args = []string{"--store", url}
			}
			a := serve(t, t.TempDir(), args...)
			a.apply(acme)
			a.apply(keepAll)
			b := a
			if url != "" {
				b = serve(t, t.TempDir(), args...) // it begins with what is applied
			}
			key := a.createKey("acme", "k1")
			prompt := []string{"-m", "sim-text", "--max-tokens", "1200", "tokens: 1200"}
			// The call of the process that will die has said something.
			dying := a.chat(key, "k", `{"stream": true, "model": "sim-text", "max_completion_tokens": 1200, "messages": [{"role": "user", "content": "tokens: 1200"}]}`)
			defer dying.Body.Close()
			if _, err := io.ReadFull(dying.Body, make([]byte, 6)); err != nil {
				t.Fatal(err)
			}
			if _, _, failed := b.repeatable(key, "k", prompt...); !strings.Contains(failed, stillRuns) {
				t.Errorf("while it runs: %q", failed)
			}
			a.kill()
			if b != a {
				if _, _, failed := b.repeatable(key, "k", prompt...); !strings.Contains(failed, stillRuns) {
					t.Errorf("nobody knows yet that it is over: %q", failed)
				}
			}
			a.start()
			result, code, failed := b.repeatable(key, "k", prompt...)
			if code != exitOK || result.Replayed || result.Text == "" {
				t.Fatalf("%d %s %+v", code, failed, result)
			}
			again, code, failed := a.repeatable(key, "k", prompt...)
			if code != exitOK || !again.Replayed || again.RequestID != result.RequestID || again.Text != result.Text {
				t.Errorf("%d %s %+v", code, failed, again)
			}
			calls := map[any]any{}
			var found reported // by the replica that answered: it has taken all of its own to the store
			b.must(&found, a.key(adminKeyFile), "report", "--since", "1h", "-o", "json", "--by", "outcome", "--tenant", "acme")
			for _, row := range found.Rows {
				calls[row["outcome"]] = row["calls"]
			}
			if len(calls) != 2 || calls["in_doubt"] != 1.0 || calls["completed"] != 1.0 {
				t.Errorf("the report is %v", calls)
			}
		})
	}
}
