package openai_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/backendtest"
	"github.com/weir-gateway/weir/server/backend/openai"
)

var update = flag.Bool("update", false, "write the golden files anew")

// everything is a request with all that dialects have otherwise, as far as the
// target takes it.
func everything(can backend.Capabilities) *backend.Request {
	k, most, seed, alternatives, yes := 3, 9, int64(7), 2, true
	content := func(text string) []backend.Part { return []backend.Part{{Channel: backend.Content, Text: text}} }
	req := &backend.Request{RequestID: "r1", Model: "river 1", Candidates: 1, MaxOutputTokens: &most, CacheKey: "k1", ParallelCalls: &yes,
		Messages: []backend.Message{
			{Role: backend.Developer, Parts: content("Be brief. 请简短。")},
			{Role: backend.User, Parts: append(content("hear"), backend.Part{Channel: backend.Content, Media: &backend.Media{Modality: backend.Audio, Type: "audio/wav", Data: []byte("RIFF")}})},
			{Role: backend.Assistant, Parts: []backend.Part{{Channel: backend.Reasoning, Text: "I look it up."}, {Channel: backend.Arguments, Text: `{"x":1}`, CallID: "c1", Tool: "level"}}},
			{Role: backend.ToolRole, Parts: []backend.Part{{Channel: backend.Result, Text: "3 m", CallID: "c1"}}},
			{Role: backend.Assistant, Parts: []backend.Part{{Channel: backend.Reasoning, Text: "That is high."}, {Channel: backend.Content, Text: "3 m."}}},
			{Role: backend.User, Parts: content("and now?")},
		},
		Tools: []backend.Tool{{Name: "level", Parameters: json.RawMessage(`{"type":"object"}`)}, {Name: "flow"}},
	}
	if can.Seed {
		req.Seed = &seed
	}
	if can.TopK {
		req.TopK = &k
	}
	if can.Logprobs != nil {
		req.Logprobs = &alternatives
	}
	return req
}

// What each dialect is sent: everything it takes, each choice of tools that it
// can be held to, and each effort.
func TestWhatADialectIsSent(t *testing.T) {
	for _, name := range append(openai.Dialects(), "generic", "azure-2024-10-21") {
		t.Run(name, func(t *testing.T) {
			var got bytes.Buffer
			b := to(t, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				fmt.Fprintf(&got, "POST %s\nAuthorization: %s\nApi-Key: %s\n%s\n", r.URL.RequestURI(), r.Header.Get("Authorization"), r.Header.Get("Api-Key"), body)
				says(stop)(w, r)
			}, func(c *openai.Config) {
				c.Dialect, c.APIVersion = dialectOf(name)
			})
			can := b.Capabilities("river 1")
			say := func(what string, req *backend.Request) {
				t.Helper()
				fmt.Fprintf(&got, "# %s\n", what)
				s, err := b.Generate(t.Context(), req)
				if err != nil {
					t.Fatal(err)
				}
				s.Close()
			}
			say("everything", everything(can))
			for _, c := range []backend.ToolChoice{{Mode: backend.ToolAuto}, {Mode: backend.ToolNone}, {Mode: backend.ToolRequired}, {Mode: backend.ToolNamed, Tool: "flow"}} {
				if can.ToolChoices != nil && !slices.Contains(can.ToolChoices, c.Mode) {
					fmt.Fprintf(&got, "# choice %s: refused before\n\n", c.Mode)
					continue
				}
				req := hello()
				req.Tools, req.Choice = []backend.Tool{{Name: "level"}, {Name: "flow"}}, &c
				say("choice "+string(c.Mode), req)
			}
			for _, effort := range []backend.Effort{backend.EffortNone, backend.EffortMinimal, backend.EffortLow, backend.EffortMedium, backend.EffortHigh, backend.EffortMax} {
				req := hello()
				req.Reasoning = &backend.ReasoningWish{Effort: effort}
				say("effort "+string(effort), req)
			}
			if can.ReasoningBudget {
				req := hello()
				req.Reasoning = &backend.ReasoningWish{Budget: 100}
				say("budget", req)
			}
			file := filepath.Join("testdata", "dialects", name+".requests")
			if *update {
				if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != string(want) {
				t.Errorf("%s differs; see it with go test -update and git diff:\n%s", file, got.String())
			}
		})
	}
}

// A turn that called tools goes to DeepSeek with what it reasoned, also where that
// is nothing: another backend's turn is refused otherwise.
func TestTurnsOfAnotherBackend(t *testing.T) {
	for dialect, want := range map[string]string{
		"deepseek": `"content":null,"reasoning_content":"","tool_calls"`,
		"sglang":   `"content":null,"tool_calls"`,
		"vllm":     `"content":null,"tool_calls"`,
	} {
		var body []byte
		b := to(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ = io.ReadAll(r.Body)
			says(stop)(w, r)
		}, func(c *openai.Config) { c.Dialect = dialect })
		req := hello()
		req.Messages = append(req.Messages,
			backend.Message{Role: backend.Assistant, Parts: []backend.Part{{Channel: backend.Arguments, Text: `{}`, CallID: "c1", Tool: "level"}}},
			backend.Message{Role: backend.ToolRole, Parts: []backend.Part{{Channel: backend.Result, Text: "3 m", CallID: "c1"}}})
		s, err := b.Generate(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		if !bytes.Contains(body, []byte(want)) {
			t.Errorf("%s: sent is %s, want %s", dialect, body, want)
		}
	}
}

// dialectOf is the dialect of a test's name, and the version of its API.
func dialectOf(name string) (dialect, version string) {
	if name == "generic" {
		return "", ""
	}
	dialect, version, _ = strings.Cut(name, "-")
	return dialect, version
}

// What each dialect answers, from fixtures written after its documentation, is
// the same answer.
func TestWhatADialectAnswers(t *testing.T) {
	for _, name := range openai.Dialects() {
		t.Run(name, func(t *testing.T) {
			stream, err := os.ReadFile(filepath.Join("testdata", "dialects", name+".answer"))
			if err != nil {
				t.Fatal(err)
			}
			s, err := to(t, says(string(stream)), func(c *openai.Config) { c.Dialect = name }).Generate(context.Background(), hello())
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			a, err := backendtest.Read(s, 1)
			if err != io.EOF {
				t.Fatal(err)
			}
			reasoning := "The river is high."
			if name == "openai" || name == "azure" {
				reasoning = "" // they keep it, and count it
			}
			if want := (backendtest.Candidate{Content: "水位 is 3 m.", Reasoning: reasoning, Finish: backend.FinishToolCalls}); a.Model != "river-1" || a.Candidates[0] != want {
				t.Errorf("answer is %q, %+v, want %+v", a.Model, a.Candidates[0], want)
			}
			if want := []backendtest.Call{{ID: "call_1", Tool: "level", Arguments: `{"x": 1}`}}; !slices.Equal(a.Calls[0], want) {
				t.Errorf("calls are %+v, want %+v", a.Calls[0], want)
			}
			var want accounting.Usage
			want.Set(accounting.Input, 12)
			want.Set(accounting.Output, 20)
			switch name {
			case "vllm", "ollama": // they tell no details, unless they are asked
			case "sglang":
				want.Set(accounting.Output, 15)
				want.Set(accounting.Reasoning, 5)
			case "llamacpp":
				want.Set(accounting.Input, 4)
				want.Set(accounting.CacheRead, 8)
			default:
				want.Set(accounting.Input, 4)
				want.Set(accounting.CacheRead, 8)
				want.Set(accounting.Output, 15)
				want.Set(accounting.Reasoning, 5)
			}
			if a.Usage != want {
				t.Errorf("usage is %v, want %v", a.Usage, want)
			}
		})
	}
}

// A dialect is one of those that there are, and the rest of the configuration
// fits it.
func TestDialectIsKnown(t *testing.T) {
	for want, c := range map[string]openai.Config{
		`unknown dialect "vlm": known are azure, deepseek, llamacpp, ollama, openai, qwen, sglang, vllm`: {Dialect: "vlm"},
		"candidates are 2: a server of dialect ollama gives at most 1":                                   {Dialect: "ollama", Candidates: 2},
		`api version is "2024-10-21": dialect "vllm" takes none`:                                         {Dialect: "vllm", APIVersion: "2024-10-21"},
		"a server of dialect ollama fetches nothing from addresses":                                      {Dialect: "ollama", MediaURLs: true},
		"header Api-Key is set by the driver":                                                            {Dialect: "azure", Header: http.Header{"api-key": {"x"}}},
	} {
		c.Name, c.URL = "east", "http://h/v1"
		if _, err := openai.New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %s", err, want)
		}
	}
}
