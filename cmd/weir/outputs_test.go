package main

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// exportedOutputs is what weir outputs export prints.
func exportedOutputs(t *testing.T, p *process, key string, args ...string) []map[string]any {
	t.Helper()
	var list []map[string]any
	decoder := json.NewDecoder(strings.NewReader(p.must(nil, key, append([]string{"outputs", "export", "--since", "1h", "-o", "jsonl"}, args...)...)))
	for {
		var line map[string]any
		err := decoder.Decode(&line)
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, line)
	}
}

func logged(mode string) string {
	return "\n---\nkind: Policy\nname: log\noutputs: {mode: " + mode + ", sample: 100%, keep: 48h}\n"
}

func TestOutputsAreExportedAndRated(t *testing.T) {
	p := serve(t, filepath.Join(t.TempDir(), "data"))
	p.apply(acme + logged("full"))
	key := p.createKey("acme", "k1")
	p.must(nil, key, "call", "-m", "sim-text", "say: mail bob@example.com, 你好")
	if code, _, _ := p.run(key, "", "call", "-m", "sim-text", "tell me what is classified"); code != exitBlocked {
		t.Fatal(code)
	}
	lines := exportedOutputs(t, p, key)
	if len(lines) != 2 {
		t.Fatalf("%v", lines)
	}
	said, blocked := lines[1], lines[0]
	for _, field := range []string{"request_id", "tenant", "project", "model", "messages", "output", "verdicts", "usage", "cost", "finish_reason", "mode", "probability", "ratings"} {
		if _, there := said[field]; !there {
			t.Errorf("no %s in %v", field, said)
		}
	}
	text, _ := json.Marshal([]any{said["tenant"], said["messages"], said["output"], said["finish_reason"], said["mode"], said["probability"]})
	const want = `["acme",[{"parts":[{"text":"say: mail bob@example.com, 你好"}],"role":"user"}],[{"finish_reason":"stop","parts":[{"text":"mail [EMAIL], 你好"}]}],"stop","full",1]`
	if string(text) != want {
		t.Errorf("%s\nwant %s", text, want)
	}
	if _, there := blocked["messages"]; there || blocked["finish_reason"] != "safety" || blocked["error_reason"] != "INPUT_BLOCKED" {
		t.Errorf("%v", blocked)
	}
	id := said["request_id"].(string)
	p.must(nil, key, "outputs", "rate", id, "--score", "1", "--comment", "gut")
	p.must(nil, p.key(adminKeyFile), "outputs", "rate", id, "--tenant", "acme", "--down", "--id", "again")
	rated := exportedOutputs(t, p, key, "--finish", "stop", "--verdicts")
	text, _ = json.Marshal(rated[0]["ratings"])
	if len(rated) != 1 || !strings.Contains(string(text), `"score":1`) || !strings.Contains(string(text), `"comment":"gut"`) || !strings.Contains(string(text), `"id":"again"`) {
		t.Errorf("%s", text)
	}
	if out := p.must(nil, key, "outputs", "list"); !strings.Contains(out, id) {
		t.Errorf("%s", out)
	}
	var listed struct{ Outputs []map[string]any }
	if p.must(&listed, key, "outputs", "list", "-o", "json", "--limit", "1"); len(listed.Outputs) != 1 {
		t.Errorf("%v", listed)
	}
	// Another tenant sees none of it.
	if lines := exportedOutputs(t, p, p.key(demoKeyFile)); len(lines) != 0 {
		t.Errorf("%v", lines)
	}
	for _, args := range [][]string{{"rate", id}, {"rate", "nothing", "--up", "--down"}, {"list", "--finish", "well"}, {"list", "--limit", "0"}, {"list", "--from", "yesterday"}} {
		if code, _, failed := p.run(key, "", append([]string{"outputs"}, args...)...); code != exitUsage {
			t.Errorf("%v: %d %s", args, code, failed)
		}
	}
}

// Words that stand in a prompt, a system prompt, an answer, and the arguments,
// the result and the description of a tool must not be found where they do not
// belong: on the disk, in the log, in what a caller is told of a failure, in the
// metrics, in what a collector gets.
func TestCanariesAreFoundNowhere(t *testing.T) {
	for mode, allowed := range map[string]string{"metadata": "", "redacted": "canary-plain"} {
		t.Run(mode, func(t *testing.T) {
			c := newCollector(t)
			p := &process{t: t, data: filepath.Join(t.TempDir(), "data"), env: []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + c.http}}
			p.start()
			t.Cleanup(p.kill)
			p.apply(acme + logged(mode))
			key := p.createKey("acme", "k1")
			var told strings.Builder // of all failures
			for _, prompt := range []string{
				"say: canary-plain-answer, canary.answer@example.org, AKIACANARY7CANARY7CA.",
				"say: canary-plain-cut zorblatt canary-blocked-answer",
				"canary-blocked-prompt is classified",
			} {
				if code, _, failed := p.run(key, "", "call", "-m", "sim-text", prompt); code != exitOK {
					told.WriteString(failed)
				}
			}
			_, _, failed := p.run(key, "", "call", "-m", "no-such-model", "canary-lost")
			told.WriteString(failed)
			chat := func(system, user string, stream bool) {
				t.Helper()
				message := func(role, content string) map[string]any { return map[string]any{"role": role, "content": content} }
				result := message("tool", "canary-plain-result, canary.result@example.org")
				result["tool_call_id"] = "c1"
				before := message("assistant", "")
				before["tool_calls"] = []any{map[string]any{"id": "c1", "type": "function", "function": map[string]string{"name": "f", "arguments": `{"to": "canary.before@example.org", "note": "canary-plain-before"}`}}}
				body, err := json.Marshal(map[string]any{
					"model": "sim-text", "stream": stream, "messages": []any{message("system", system), message("user", "hi"), before, result, message("user", user)},
					"tools": []any{map[string]any{"type": "function", "function": map[string]any{"name": "f", "description": "canary-lost-description", "parameters": map[string]string{"type": "object"}}}},
				})
				if err != nil {
					t.Fatal(err)
				}
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
				said, err := io.ReadAll(answer.Body)
				if err != nil {
					t.Fatal(err)
				}
				if answer.StatusCode != http.StatusOK {
					told.Write(said)
				}
			}
			const system = "canary-plain-system, canary.system@example.org"
			for _, stream := range []bool{false, true} {
				chat(system, `call: f {"to": "canary.args@example.org", "note": "canary-plain-args"}`, stream)
				chat(system, `call: f {"note": "canary-plain-cut zorblatt canary-blocked-answer"}`, stream)
				chat("canary-blocked-system is classified", "hi", stream)
			}
			if lines := exportedOutputs(t, p, key); len(lines) != 9 {
				t.Fatalf("%d calls are recorded: %v", len(lines), lines)
			}
			metrics, err := http.Get("http://" + p.admin + "/metrics")
			if err != nil {
				t.Fatal(err)
			}
			counted, err := io.ReadAll(metrics.Body)
			metrics.Body.Close()
			if err != nil || !strings.Contains(string(counted), `weir_output_records_total{fate="written"} 9`) {
				t.Errorf("%v %s", err, counted)
			}
			if err := p.end(syscall.SIGTERM); err != nil { // what is left is sent
				t.Fatal(err)
			}
			c.mu.Lock()
			places := map[string]string{"the log": p.log.String(), "the metrics": string(counted), "the telemetry": c.text.String(), "an error": told.String()}
			spans := len(c.spans)
			c.mu.Unlock()
			if spans < 9 || strings.Count(told.String(), "content_filter") < 2 || !strings.Contains(told.String(), "no-such-model") {
				t.Errorf("%d spans; failures: %s", spans, told.String())
			}
			err = filepath.WalkDir(p.data, func(path string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				data, err := os.ReadFile(path)
				places[filepath.Base(path)] = string(data)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			kept := 0
			for place, text := range places {
				text = strings.ToLower(text)
				kept += strings.Count(text, "canary-plain")
				if allowed != "" && place == "weir.db" {
					text = strings.ReplaceAll(text, allowed, "")
					// What a rule blocked in an answer stands in the prompt, which it
					// does not judge.
					text = strings.ReplaceAll(text, "canary-blocked-answer", "")
				}
				if at := strings.Index(text, "canary"); at >= 0 {
					t.Errorf("%s has %q", place, text[max(0, at-80):min(len(text), at+80)])
				}
			}
			if (kept > 0) != (allowed != "") {
				t.Errorf("what is kept stands in %d places", kept)
			}
		})
	}
}
