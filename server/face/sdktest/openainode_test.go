package sdktest

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// nodeFailure is an error as the SDK for Node raises it.
type nodeFailure struct {
	Name      string
	Status    int
	Code      string
	Param     string
	RequestID string
	Requests  int
}

type nodeUsage struct {
	Prompt     int `json:"prompt_tokens"`
	Completion int `json:"completion_tokens"`
	Total      int `json:"total_tokens"`
}

func TestOpenAINode(t *testing.T) {
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%s is missing: install Node.js 20 or later with npm, on Debian with apt-get install nodejs npm", tool)
		}
	}
	dir := t.TempDir()
	for _, name := range []string{"package.json", "chat.mjs"} {
		data, err := os.ReadFile(filepath.Join("node", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// package.json pins the version exactly and it has no dependencies, so
	// there is nothing that a lock file could add.
	if out, errs, err := output(t.Context(), dir, "npm", "install", "--prefer-offline", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--engine-strict"); err != nil {
		t.Fatalf("npm install: %v\n%s%s", err, out, errs)
	}
	out, errs, err := output(t.Context(), dir, "node", "chat.mjs", "http://"+weir.http+"/v1", weir.key, weir.poor)
	if err != nil {
		t.Fatalf("node chat.mjs: %v\n%s%s", err, out, errs)
	}
	var got struct {
		Whole struct {
			ID, Content, Role, Finish, RequestID string
			Usage                                nodeUsage
			Cost                                 struct{ Amount, Currency string }
		}
		Stream struct {
			Content, Finish string
			Roles, IDs      int
			Usages          []nodeUsage
		}
		Helper struct {
			Content string
			Usage   nodeUsage
		}
		Embed struct {
			Packed, Plain   []float32
			Tokens, Vectors int
		}
		Runner                                 string
		Models                                 []string
		Model                                  string
		BadKey, NoModel, Tools, Budget, Broken nodeFailure
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	const text = "你好 <world> & all"
	if w := got.Whole; w.Content != text || w.Role != "assistant" || w.Finish != "stop" || w.Usage.Total == 0 || w.RequestID == "" || w.ID != "chatcmpl-"+w.RequestID || w.Cost.Currency != "USD" {
		t.Errorf("whole is %+v", w)
	}
	if s := got.Stream; s.Content != text || s.Finish != "stop" || s.Roles != 1 || s.IDs != 1 || len(s.Usages) != 1 || s.Usages[0] != got.Whole.Usage {
		t.Errorf("stream is %+v", s)
	}
	if h := got.Helper; h.Content != "one two" || h.Usage.Total == 0 {
		t.Errorf("the SDK's accumulator has %+v", h)
	}
	if e := got.Embed; e.Vectors != 2 || len(e.Plain) != 4 || !slices.Equal(e.Packed, e.Plain) || e.Tokens == 0 {
		t.Errorf("embeddings are %+v", e)
	}
	if got.Runner != "The tool says: 北京: 晴" {
		t.Errorf("the SDK's runner of tools has %q", got.Runner)
	}
	if !slices.Contains(got.Models, "sim-text") || got.Model != "sim-text" {
		t.Errorf("models are %v, model %q", got.Models, got.Model)
	}
	for _, c := range []struct {
		what      string
		got, want nodeFailure
	}{
		{"bad key", got.BadKey, nodeFailure{"AuthenticationError", 401, "invalid_api_key", "", "", 1}},
		{"no model", got.NoModel, nodeFailure{"NotFoundError", 404, "model_not_found", "model", "", 1}},
		{"tools", got.Tools, nodeFailure{"BadRequestError", 400, "", "tools[0].function.name", "", 1}},
		{"budget", got.Budget, nodeFailure{"RateLimitError", 429, "insufficient_quota", "", "", 1}},
	} {
		if c.got.RequestID == "" {
			t.Errorf("%s: no request id", c.what)
		}
		c.got.RequestID = ""
		if c.got != c.want {
			t.Errorf("%s: %+v, want %+v", c.what, c.got, c.want)
		}
	}
	if b := got.Broken; b.Name != "APIError" || b.Code != "stream_broken" || b.Requests != 1 {
		t.Errorf("a stream that breaks: %+v", b)
	}
}
