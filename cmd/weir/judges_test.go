package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// judgeServer is a server of a guard model and of moderations that works: what
// has the word zorb in it is unsafe. It can be made to stall, to die and to talk
// nonsense.
type judgeServer struct {
	*httptest.Server
	mu    sync.Mutex
	mode  string
	asked []string
}

func newJudgeServer(t *testing.T) *judgeServer {
	s := &judgeServer{}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *judgeServer) set(mode string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mode, s.asked = mode, nil
}

func (s *judgeServer) questions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.asked...)
}

func (s *judgeServer) serve(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Messages    []struct{ Content string }
		Input       []string
		Temperature *float64
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var text string
	if chat := strings.HasSuffix(r.URL.Path, "/chat/completions"); chat {
		text = body.Messages[len(body.Messages)-1].Content
		if body.Temperature == nil || *body.Temperature != 0 {
			http.Error(w, "a judge must not guess", http.StatusBadRequest)
			return
		}
	} else {
		text = body.Input[0]
	}
	s.mu.Lock()
	mode := s.mode
	s.asked = append(s.asked, text)
	s.mu.Unlock()
	switch mode {
	case "die":
		panic(http.ErrAbortHandler)
	case "stall":
		<-r.Context().Done()
		return
	}
	bad := strings.Contains(text, "zorb")
	if strings.HasSuffix(r.URL.Path, "/moderations") {
		if r.Header.Get("Authorization") != "Bearer sesame" {
			http.Error(w, "who is it?", http.StatusUnauthorized)
			return
		}
		if mode == "nonsense" {
			io.WriteString(w, `{"results": "fine"}`)
			return
		}
		fmt.Fprintf(w, `{"id":"m","model":"m","results":[{"flagged":%t,"categories":{"self-harm":%t,"hate":false},"category_scores":{"self-harm":%g,"hate":0.01}}]}`, bad, bad, map[bool]float64{true: 0.93, false: 0.02}[bad])
		return
	}
	say := "safe"
	if bad {
		say = "unsafe\nS1,S10"
	}
	if mode == "nonsense" {
		say = "As a judge I must say that it depends."
	}
	w.Header().Set("Content-Type", "text/event-stream")
	quoted, _ := json.Marshal(say)
	fmt.Fprintf(w, "data: {\"model\":\"lg\",\"choices\":[{\"index\":0,\"delta\":{\"content\":%s}}]}\n\n", quoted)
	fmt.Fprint(w, "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n")
	fmt.Fprint(w, "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":40,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n")
}

const judgedConfig = `
backends:
  - {name: simulator, kind: simulator}
  - {name: judges, kind: openai, url: %q}
models:
  - {name: sim-text, targets: [{backend: simulator}]}
  - {name: llama-guard, targets: [{backend: judges, model: lg}]}
guards:
  - {name: mods, kind: moderation, url: %q, key: sesame}
`

const judgedDocuments = `
kind: Tenant
name: acme
---
kind: Price
model: sim-text
currency: USD
effective: 2026-01-02
per_million: {input: 0.50, output: 1.50}
---
kind: Price
model: llama-guard
currency: USD
effective: 2026-01-02
per_million: {input: 1, output: 1}
---
kind: Budget
name: cap
tenant: acme
limit: 5 USD
window: total
`

func TestRemoteGuards(t *testing.T) {
	s := newJudgeServer(t)
	p := serve(t, t.TempDir(), "--config", file(t, "weir.yaml", fmt.Sprintf(judgedConfig, s.URL+"/v1", s.URL+"/v1")))
	p.apply(judgedDocuments)
	key := p.createKey("acme", "k1")
	rule := func(stage, keys string) {
		p.apply("kind: Policy\nname: judged\ntenant: acme\nsafety: {" + stage + ": [{guard: remote, " + keys + "}]}\n")
	}
	const good, bad = "The river is calm and slow today.", " The zorb is not so calm, and it is loud."

	for _, kind := range []string{"kind: guard_model, model: llama-guard", "kind: moderation, service: mods"} {
		category := "hazard/violent_crime"
		if strings.Contains(kind, "moderation") {
			category = "hazard/self_harm"
		}
		rule("output", kind+", action: block")
		for _, flags := range [][]string{nil, {"--stream"}} {
			s.set("")
			code, out, failed := p.run(key, "", append([]string{"call", "-m", "sim-text", "say: " + good + bad}, flags...)...)
			if code != exitBlocked || strings.TrimSpace(out) != good || !strings.Contains(failed, "judged") {
				t.Errorf("%s %v: %d %q %q", kind, flags, code, out, failed)
			}
			if len(s.questions()) == 0 {
				t.Errorf("%s: nobody was asked", kind)
			}
		}
		rule("input", kind+", action: flag")
		var flagged callResult
		p.must(&flagged, key, "call", "-m", "sim-text", "-o", "json", "say: a zorb")
		if flagged.Text != "a zorb" || len(flagged.Verdicts) != 1 || flagged.Verdicts[0].Category != category {
			t.Errorf("%s: %+v", kind, flagged)
		}

		for _, mode := range []string{"nonsense", "die", "stall"} {
			rule("output", kind+", action: redact, deadline: 100ms")
			s.set(mode)
			if out := p.must(nil, key, "call", "-m", "sim-text", "say: "+good); out != "[UNJUDGED]\n" {
				t.Errorf("%s, %s, closed: %q", kind, mode, out)
			}
			rule("output", kind+", action: redact, deadline: 100ms, on_error: degrade, degrade: {guard: lexicon, terms: [river]}, placeholder: '[water]'")
			if out := p.must(nil, key, "call", "-m", "sim-text", "say: "+good+bad); !strings.HasPrefix(out, "[water]") {
				t.Errorf("%s, %s, degrade: %q", kind, mode, out)
			}
			rule("output", kind+", action: redact, deadline: 100ms, on_error: open, until: 2999-12-31")
			if out := p.must(nil, key, "call", "-m", "sim-text", "say: "+good+bad); out != good+bad+"\n" {
				t.Errorf("%s, %s, open: %q", kind, mode, out)
			}
		}
	}

	// Every byte that passed unjudged is counted.
	answer, err := http.Get("http://" + p.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	metrics, _ := io.ReadAll(answer.Body)
	if want := fmt.Sprintf("weir_unjudged_bytes_total{model=\"sim-text\"} %d", 6*len(good+bad)); !strings.Contains(string(metrics), want) {
		t.Errorf("the metrics do not say %s", want)
	}
	// The questions are in the ledger, charged to the caller.
	rows := p.report("--by", "model,outcome").Rows
	found := false
	for _, r := range rows {
		found = found || r["model"] == "llama-guard" && r["outcome"] == "completed" && r["cost"] != "0.00"
	}
	if !found {
		t.Errorf("no questions in the ledger: %v", rows)
	}
	// The log tells why nobody judged, and never what was said.
	if log := p.log.String(); !strings.Contains(log, "a remote rule has no judgement") || strings.Contains(log, "river") || strings.Contains(log, "sesame") {
		t.Errorf("the log:\n%s", log)
	}
}

func TestGuardServicesAreChecked(t *testing.T) {
	const head = "backends: [{name: s, kind: simulator}]\nmodels: [{name: m, targets: [{backend: s}]}]\nguards:\n"
	for config, want := range map[string]string{
		"  - {kind: moderation, url: https://x.example/v1}":                                                                      "guards[0].name",
		"  - {name: a, kind: oracle, url: https://x.example/v1}":                                                                 `unknown kind "oracle"`,
		"  - {name: a, kind: moderation, url: http://x.example/v1}":                                                              "write it as https://",
		"  - {name: a, kind: moderation, url: https://me:pw@x.example/v1}":                                                       "a secret belongs in key",
		"  - {name: a, kind: moderation, url: https://x.example/v1}\n  - {name: a, kind: moderation, url: https://x.example/v1}": "is taken",
	} {
		_, _, err := loadConfig(file(t, "weir.yaml", head+config+"\n"), func(string) (string, bool) { return "", false })
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "me:pw") {
			t.Errorf("%s: %v, want it to say %q", config, err, want)
		}
	}
}

func TestARemoteRuleWithoutAServer(t *testing.T) {
	name := file(t, "p.yaml", "kind: Policy\nname: p\nsafety: {output: [{guard: remote, kind: guard_model, model: llama-guard, action: block}]}\n")
	code, _, failed := runWith(nil, `{"id":1,"text":"x"}`, "policy", "scan", "--policy", name, "--stage", "output")
	if code != exitUsage || !strings.Contains(failed, "asks a model or a service") {
		t.Errorf("%d %q", code, failed)
	}
	if code, out, failed := runWith(nil, `{"id":1,"text":"x"}`, "policy", "scan", "--policy", name, "--stage", "input"); code != exitOK {
		t.Errorf("%d %q %q", code, out, failed)
	}
	code, out, failed := runWith(nil, "", "policy", "explain", "-f", name, "--model", "m")
	if code != exitOK || !strings.Contains(out, "remote") || !strings.Contains(out, "1024 bytes") {
		t.Errorf("%d %q %q", code, out, failed)
	}
}
