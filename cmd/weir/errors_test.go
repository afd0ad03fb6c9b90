package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weir-gateway/weir/server/route"
)

// fails runs weir as a process that must end by itself with one clear line.
func fails(t *testing.T, code int, want []string, env []string, args ...string) {
	t.Helper()
	cmd := weirCommand(args...)
	cmd.Env = append(cmd.Env, env...)
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	if err == nil || cmd.ProcessState.ExitCode() != code {
		t.Errorf("weir %s: exit code %d, want %d: %s", strings.Join(args, " "), cmd.ProcessState.ExitCode(), code, out)
	}
	for _, w := range want {
		if !strings.Contains(string(out), w) {
			t.Errorf("weir %s does not say %q: %s", strings.Join(args, " "), w, out)
		}
	}
	if lines := strings.Count(strings.TrimSpace(string(out)), "\n") + 1; lines != 1 {
		t.Errorf("weir %s says it in %d lines:\n%s", strings.Join(args, " "), lines, out)
	}
}

func file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWrongConfigurations(t *testing.T) {
	const backend = "backends:\n  - {name: local, kind: openai, url: \"http://127.0.0.1:9901/v1\"}\n"
	const model = "models:\n  - {name: m1, targets: [{backend: local, model: m1}]}\n"
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"not YAML":        {"backends: [\n", []string{"not YAML", "line"}},
		"empty":           {"", []string{"empty", "backend"}},
		"unknown field":   {backend + "models:\n  - {name: m1, tragets: [{backend: local}]}\n", []string{"line 4", "tragets", `"targets"`}},
		"no model":        {backend, []string{"models: missing"}},
		"unknown backend": {backend + "models:\n  - {name: m1, targets: [{backend: locla, model: m1}]}\n", []string{"line 4", "models[0].targets[0].backend", `"locla"`}},
		"no template":     {"backends:\n  - {name: local, kind: oip, url: \"http://x:1\", oip: {template: llama}}\n" + model, []string{"line 2", "backends[0].oip.template", "llama", "chatml"}},
		"not its tensors": {"backends:\n  - {name: local, kind: openai, url: \"http://x/v1\", oip: {text: out}}\n" + model, []string{"line 2", "backends[0].oip", "kind openai has no tensors"}},
		"tensors' media":  {"backends:\n  - {name: local, kind: oip, url: \"http://x:1\", media: {image: 9}}\n" + model, []string{"backends[0].media", "leave it out"}},
		"no backend":      {backend + "models:\n  - {name: m1, targets: [{model: m1}]}\n", []string{"line 4", "models[0].targets[0].backend: missing"}},
		"unknown kind":    {"backends:\n  - {name: local, kind: openia, url: \"http://x/v1\"}\n" + model, []string{"line 2", "backends[0].kind", "openia", "openai"}},
		"bad URL":         {"backends:\n  - {name: local, kind: openai, url: \"127.0.0.1:9901\"}\n" + model, []string{"backends[0].url", "http://"}},
		"no URL":          {"backends:\n  - {name: local, kind: weir}\n" + model, []string{"line 2", "backends[0].url", "https://weir.example.org:8443"}},
		"one answer":      {"backends:\n  - {name: local, kind: anthropic, url: \"https://x/v1\", candidates: 2}\n" + model, []string{"line 2", "backends[0].candidates", "one answer"}},
		"no dialect":      {"backends:\n  - {name: local, kind: openai, url: \"https://x/v1\", dialect: vlm}\n" + model, []string{"line 2", "backends[0].dialect", `"vlm"`, "sglang, vllm"}},
		"dialect of none": {"backends:\n  - {name: local, kind: anthropic, url: \"https://x/v1\", dialect: vllm}\n" + model, []string{"line 2", "backends[0].dialect", "leave it out"}},
		"version of none": {"backends:\n  - {name: local, kind: openai, url: \"https://x/v1\", api_version: \"2024-10-21\"}\n" + model, []string{"line 2", "backends[0].api_version", "azure"}},
		"CA of no weir":   {"backends:\n  - {name: local, kind: anthropic, url: \"https://x/v1\", ca: ca.pem}\n" + model, []string{"line 2", "backends[0].ca", "leave it out"}},
		"reports":         {"backends:\n  - {name: local, kind: anthropic, url: \"https://x/v1\", load: {orca: true}}\n" + model, []string{"line 2", "backends[0].load.orca", "leave it out"}},
		"no page":         {"backends:\n  - {name: local, kind: openai, url: \"https://x/v1\", load: {metrics: x}}\n" + model, []string{"line 2", "backends[0].load.metrics", "/metrics"}},
		"seldom asked":    {"backends:\n  - {name: local, kind: openai, url: \"https://x/v1\", load: {metrics: \"http://x/metrics\", every: 1m}}\n" + model, []string{"line 2", "backends[0].load.every", "5s"}},
		"two keys":        {"backends:\n  - {name: local, kind: openai, url: \"https://x/v1\", key: sk-1, key_file: f}\n" + model, []string{"line 2", "backends[0].key:", "keep one"}},
		"no key file":     {"backends:\n  - {name: local, kind: openai, url: \"https://x/v1\", key_file: nowhere.key}\n" + model, []string{`backend "local": key_file nowhere.key: no such file`}},
		"ttl of nothing":  {"backends:\n  - {name: local, kind: openai, url: \"https://x/v1\", key_ttl: 1m}\n" + model, []string{"line 2", "backends[0].key_ttl", "key_command"}},
		"missing CA":      {"backends:\n  - {name: local, kind: weir, url: \"https://x:8443\", ca: nowhere.pem}\n" + model, []string{"local", "nowhere.pem"}},
		"unset variable":  {"backends:\n  - {name: local, kind: openai, url: \"${NO_SUCH_URL}\"}\n" + model, []string{"line 2", "NO_SUCH_URL", "not set"}},
		"wrong condition": {backend + "models:\n  - name: m1\n    targets:\n      - {backend: local, when: \"caller.tenat == 'a'\"}\n", []string{"line 6", "models[0].targets[0].when", "character 1", "caller.tenant"}},
		"wrong weight":    {backend + "models:\n  - {name: m1, targets: [{backend: local, weight: 0}]}\n", []string{"line 4", "models[0].targets[0].weight", "remove the target"}},
		"wrong affinity":  {backend + "models:\n  - {name: m1, affinity: sticky, targets: [{backend: local}]}\n", []string{"line 4", "models[0].affinity", "session"}},
		"no time":         {backend + "models:\n  - {name: m1, hedge: {}, targets: [{backend: local}, {backend: local}]}\n", []string{"line 4", "models[0].hedge.after", "800ms"}},
		"lonely hedge":    {backend + "models:\n  - {name: m1, hedge: {after: 1s}, targets: [{backend: local}]}\n", []string{"line 4", "models[0].hedge:", "no other target"}},
		"bad duration":    {"grace: soon\n" + backend + model, []string{"line 1", "grace", "30s"}},
		"no tokenizer":    {backend + "models:\n  - {name: m1, targets: [{backend: local, tokenizer: p50k}]}\n", []string{"line 4", "models[0].targets[0].tokenizer", `"p50k"`, "o200k", "tokenizer.json"}},
		"no such file":    {backend + "models:\n  - {name: m1, targets: [{backend: local, tokenizer: nowhere/tokenizer.json}]}\n", []string{"models[0].targets[0].tokenizer", "nowhere/tokenizer.json"}},
		"name taken":      {backend + "models:\n  - {name: m1, targets: [{backend: local, model: m1}]}\n  - {name: m1, targets: [{backend: local, model: m1}]}\n", []string{"line 5", "taken"}},
	} {
		t.Run(name, func(t *testing.T) {
			fails(t, exitUsage, c.want, nil, "serve", "--config", file(t, "weir.yaml", c.text), "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0")
		})
	}
	fails(t, exitUsage, []string{"no config file", "nowhere.yaml"}, nil, "serve", "--config", "nowhere.yaml")
}

func TestAConfigurationAsTheReadmeHasIt(t *testing.T) {
	c, warnings, err := loadConfig(file(t, "weir.yaml", `
backends:
  - {name: local, kind: openai, url: "http://127.0.0.1:9901/v1", key: "${LOCAL_KEY}", tags: [private], region: eu}
models:
  - {name: m1, affinity: prefix, hedge: {after: 800ms}, targets: [{backend: local, model: m1, priority: 1, weight: 3, when: "labels.region == region"}, {backend: local, priority: 2}]}
`), func(name string) (string, bool) { return "sk-" + name, name == "LOCAL_KEY" })
	if err != nil || len(warnings) != 0 || c.Backends[0].Key != "sk-LOCAL_KEY" || c.Backends[0].Tags[0] != "private" || c.Models[0].Targets[0].Model != "m1" {
		t.Errorf("%+v %v %v", c, warnings, err)
	}
	router, err := c.router(nil)
	if err != nil {
		t.Fatal(err)
	}
	m, _ := router.Plan("m1")
	if x := m.Targets[0]; m.Affinity != route.PrefixAffinity || m.HedgeAfter != 800*time.Millisecond || x.Priority != 1 || x.Weight != 3 || x.Region != "eu" || x.When.String() != "labels.region == region" {
		t.Errorf("%+v", m)
	}
}

func TestAServerThatCannotStart(t *testing.T) {
	taken, l := freePort(t)
	defer l.Close()
	fails(t, exitUsage, []string{"grpc address " + taken, "in use", "--grpc"}, nil, "serve", "--grpc", taken, "--http", "127.0.0.1:0")
	fails(t, exitUsage, []string{"http address " + taken, "in use", "--http"}, nil, "serve", "--grpc", "127.0.0.1:0", "--http", taken)
	fails(t, exitUsage, []string{"WEIR_ADMIN_KEY", "too short"}, []string{"WEIR_ADMIN_KEY=short"}, "serve", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0")
	fails(t, exitUsage, []string{"postgres://"}, nil, "serve", "--store", "mysql://x", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0")
	away, l := freePort(t)
	l.Close()
	fails(t, exitUnavailable, []string{away}, nil, "serve", "--store", "postgres://weir:hunter2@"+away+"/weir", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0")
	fails(t, exitUsage, []string{"flag"}, nil, "serve", "--no-such-flag")

	p := serve(t, t.TempDir())
	fails(t, exitUnavailable, []string{"in use"}, nil, "serve", "--data", p.data, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0")
}

func TestACallThatCannotSucceed(t *testing.T) {
	p := serve(t, t.TempDir())
	demo := p.key(demoKeyFile)
	env := func(key string) []string { return []string{"WEIR_ADDR=" + p.grpc, "WEIR_KEY=" + key} }
	fails(t, exitUsage, []string{"no API key", "WEIR_KEY"}, nil, "call", "-m", "sim-text", "hello")
	fails(t, exitFailure, []string{"unknown API key"}, env("weir_wrong"), "call", "-m", "sim-text", "hello")
	fails(t, exitFailure, []string{`no model "nope"`}, env(demo), "call", "-m", "nope", "hello")
	fails(t, exitUnavailable, []string{"cannot be reached at the moment"}, env(demo), "call", "-m", "sim-error", "hello")
	fails(t, exitUnavailable, []string{"no free capacity"}, env(demo), "call", "-m", "sim-overloaded", "hello")
	fails(t, exitUsage, []string{"nothing to ask"}, env(demo), "call", "-m", "sim-text")
	fails(t, exitUsage, []string{"there is no file or folder nowhere"}, env(p.key(adminKeyFile)), "apply", "-f", "nowhere")
	fails(t, exitUsage, []string{"line 2", "nmae"}, env(p.key(adminKeyFile)), "apply", "-f", file(t, "t.yaml", "kind: Tenant\nnmae: x\nname: x\n"))
	fails(t, exitFailure, []string{"may not apply"}, env(demo), "apply", "-f", file(t, "t.yaml", "kind: Tenant\nname: x\n"))
	fails(t, exitFailure, []string{"ghost"}, env(p.key(adminKeyFile)), "key", "create", "--tenant", "ghost", "--name", "k")
	p.end(syscall.SIGKILL)
	fails(t, exitUnavailable, []string{"cannot reach Weir", "WEIR_ADDR"}, env(demo), "call", "-m", "sim-text", "hello")
}

func TestTheDemoEndsWell(t *testing.T) {
	code, out, failed := runWith(nil, "", "demo")
	if code != exitOK || !strings.Contains(out, "Equal, to the nano.") {
		t.Errorf("exit code %d\n%s\n%s", code, out, failed)
	}
	if strings.Contains(out, "佐布拉特") && strings.Contains(out, "> The secret ingredient is called zorb") {
		t.Error("the blocked word was shown")
	}
}

func TestVersionAndHelp(t *testing.T) {
	if code, out, _ := runWith(nil, "", "version"); code != exitOK || !strings.HasPrefix(out, "weir ") {
		t.Errorf("%d %q", code, out)
	}
	if code, out, _ := runWith(nil, "", "--help"); code != exitOK || !strings.Contains(out, "serve") {
		t.Errorf("%d %q", code, out)
	}
	if code, _, failed := runWith(nil, "", "srve"); code != exitUsage || failed == "" {
		t.Errorf("%d %q", code, failed)
	}
}

func TestSeveralProblemsAreToldOneALine(t *testing.T) {
	p := serve(t, t.TempDir())
	code, _, failed := p.run(p.key(adminKeyFile), "kind: Tenant\nname: A!\n---\nkind: Price\nmodel: m\ncurrency: usd\neffective: x\n", "apply", "-f", "-")
	if code != exitUsage || !strings.Contains(failed, "2 problems in the documents, nothing was applied") || strings.Count(strings.TrimSpace(failed), "\n") != 2 {
		t.Errorf("%d %s", code, failed)
	}
}
