package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// TestAdministration goes the way of an operator who keeps keys and policies.
func TestAdministration(t *testing.T) {
	p := serve(t, t.TempDir())
	admin, demo := p.key(adminKeyFile), p.key(demoKeyFile)
	p.apply("kind: Tenant\nname: acme\ndisplay_name: Acme\n---\nkind: Project\ntenant: acme\nname: search\n---\nkind: Policy\nname: base\ntenant: acme\nsafety:\n  output:\n    - {guard: lexicon, terms: [abc], action: block}\n")

	var made madeKey
	p.must(&made, admin, "key", "create", "--tenant", "acme", "--name", "k1", "--expires", "90d", "-o", "json")
	if left := time.Until(mustTime(t, made.Expires)); left < 89*24*time.Hour || left > 90*24*time.Hour {
		t.Errorf("it expires at %s", made.Expires)
	}
	if code, _, failed := p.run(admin, "", "key", "create", "--tenant", "acme", "--name", "k2", "--expires", "soon"); code != exitUsage || !strings.Contains(failed, "90d") {
		t.Errorf("%d %s", code, failed)
	}
	p.must(nil, made.Key, "call", "-m", "sim-text", "say: hi")
	var rotated madeKey
	p.must(&rotated, admin, "key", "rotate", "k1", "--tenant", "acme", "--overlap", "2h", "-o", "json")
	for _, secret := range []string{made.Key, rotated.Key} {
		p.must(nil, secret, "call", "-m", "sim-text", "say: hi")
	}
	if _, out, failed := p.run(admin, "", "key", "revoke", "k1", "--tenant", "acme"); !strings.Contains(out, "tenants/acme/projects/default/keys/k1 is revoked") {
		t.Errorf("%s %s", out, failed)
	}
	for _, secret := range []string{made.Key, rotated.Key} {
		if code, _, failed := p.run(secret, "", "call", "-m", "sim-text", "say: hi"); code == exitOK || !strings.Contains(failed, "revoked") {
			t.Errorf("%d %s", code, failed)
		}
	}
	var keys struct{ Keys []keyResult }
	p.must(&keys, admin, "key", "list", "--tenant", "acme", "-o", "json")
	if len(keys.Keys) != 1 || keys.Keys[0].State != "revoked" || keys.Keys[0].Name != "k1" || keys.Keys[0].OldGoodUntil == "" {
		t.Errorf("keys are %+v", keys)
	}
	viewer := p.must(nil, admin, "key", "create", "--tenant", "acme", "--name", "eye", "--role", "viewer")

	// An operator gets a key of its own, and then ends the one that it was given.
	var ops madeKey
	p.must(&ops, admin, "key", "create", "--platform", "--name", "ops", "-o", "json")
	if ops.Name != "keys/ops" || ops.Role != "platform" {
		t.Errorf("%+v", ops)
	}
	if code, _, failed := p.run(ops.Key, "", "key", "revoke", "ops", "--platform"); code == exitOK || !strings.Contains(failed, "cannot end itself") {
		t.Errorf("%d %s", code, failed)
	}
	if _, out, failed := p.run(ops.Key, "", "key", "revoke", "admin", "--platform"); !strings.Contains(out, "keys/admin is revoked") {
		t.Errorf("%s %s", out, failed)
	}
	if code, _, failed := p.run(admin, "", "key", "list", "--platform"); code == exitOK || !strings.Contains(failed, "revoked") {
		t.Errorf("%d %s", code, failed)
	}
	admin = ops.Key
	p.must(&keys, admin, "key", "list", "--platform", "-o", "json")
	if len(keys.Keys) != 2 || keys.Keys[0].Name != "admin" || keys.Keys[0].State != "revoked" || keys.Keys[1].Role != "platform" {
		t.Errorf("keys are %+v", keys)
	}

	// Every list has three forms.
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"keys":     {[]string{"key", "list", "--tenant", "acme"}, "eye"},
		"tenants":  {[]string{"tenant", "list"}, "search"},
		"policies": {[]string{"policy", "list"}, "base"},
		"models":   {[]string{"model", "list"}, "sim-text"},
		"audit":    {[]string{"audit", "list"}, "revoke"},
		"budgets":  {[]string{"budget", "list", "--tenant", "acme"}, ""},
	} {
		if table := p.must(nil, admin, c.args...); !strings.Contains(table, c.want) || strings.Contains(table, "\x1b") {
			t.Errorf("%s: %q", name, table)
		}
		var object map[string]any
		p.must(&object, admin, append(slices.Clone(c.args), "-o", "json")...)
		if len(object) != 1 {
			t.Errorf("%s: %v", name, object)
		}
		records, err := csv.NewReader(strings.NewReader(p.must(nil, admin, append(slices.Clone(c.args), "-o", "csv")...))).ReadAll()
		if err != nil || len(records) == 0 || (len(records) < 2) != (c.want == "") {
			t.Errorf("%s: %v, %v", name, records, err)
		}
	}

	if out := p.must(nil, strings.TrimSpace(viewer), "policy", "get", "base", "--tenant", "acme"); !strings.Contains(out, "abc") {
		t.Errorf("the policy is %q", out)
	}
	var here, there explained
	p.must(&there, strings.TrimSpace(viewer), "policy", "explain", "-m", "sim-text", "-o", "json")
	file := filepath.Join(t.TempDir(), "p.yaml")
	if err := os.WriteFile(file, []byte(p.must(nil, admin, "policy", "get", "default")+"---\n"+p.must(nil, admin, "policy", "get", "base", "--tenant", "acme")), 0o600); err != nil {
		t.Fatal(err)
	}
	p.must(&here, admin, "policy", "explain", "-f", file, "--tenant", "acme", "-m", "sim-text", "-o", "json")
	if a, b := mustJSON(t, here), mustJSON(t, there); a != b {
		t.Errorf("the file says %s, the server %s", a, b)
	}
	if code, _, failed := p.run(admin, "", "policy", "delete", "base", "--tenant", "acme", "--etag", "zz"); code == exitOK || !strings.Contains(failed, "changed") {
		t.Errorf("%d %s", code, failed)
	}
	p.must(nil, admin, "policy", "delete", "base", "--tenant", "acme")
	if code, _, failed := p.run(admin, "", "policy", "get", "base", "--tenant", "acme"); code == exitOK {
		t.Errorf("%d %s", code, failed)
	}
	if out := p.must(nil, demo, "model", "get", "sim-text"); !strings.Contains(out, "price sim-text@2026-01-01") || !strings.Contains(out, "policies/default") {
		t.Errorf("the model is %q", out)
	}

	var lines []auditResult
	export := p.must(nil, admin, "audit", "export")
	for line := range strings.Lines(export) {
		var e auditResult
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, e)
	}
	if first := lines[0]; first.Action != "delete" || first.Name != "base" || first.ByRole != "platform" || first.RequestID == "" || !strings.Contains(first.Before, "abc") {
		t.Errorf("the last change is %+v", first)
	}
	for _, secret := range []string{made.Key, rotated.Key, admin, demo} {
		if strings.Contains(export, secret) || strings.Contains(p.log.String(), secret) {
			t.Error("a secret is in the audit log, or in the log")
		}
	}
}

func mustTime(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What proto export writes is whole: the set links, and the files import what is
// there, or what every compiler has.
func TestProtoExport(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	if code, out, failed := runWith(nil, "", "proto", "export", dir); code != exitOK || !strings.Contains(out, "wrote ") {
		t.Fatalf("%d %s", code, failed)
	}
	text, err := os.ReadFile(filepath.Join(dir, descriptorFile))
	if err != nil {
		t.Fatal(err)
	}
	set := &descriptorpb.FileDescriptorSet{}
	if err := proto.Unmarshal(text, set); err != nil {
		t.Fatal(err)
	}
	linked, err := protodesc.NewFiles(set)
	if err != nil {
		t.Fatal(err)
	}
	for _, service := range []string{"GenerationService", "ModelService", "PolicyService", "TenantService", "AdminService", "AccountingService"} {
		if _, err := linked.FindDescriptorByName(protoreflect.FullName("weir.v1." + service)); err != nil {
			t.Errorf("%s: %v", service, err)
		}
	}
	for _, file := range set.File {
		text, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(file.GetName())))
		if strings.HasPrefix(file.GetName(), "google/protobuf/") {
			continue
		}
		if err != nil {
			t.Errorf("the set has a file that is not there: %v", err)
		}
		for _, name := range file.Dependency {
			if !bytes.Contains(text, []byte(`import "`+name+`"`)) && !bytes.Contains(text, []byte(`import public "`+name+`"`)) {
				t.Errorf("%s does not import %s", file.GetName(), name)
			}
		}
	}
}

func TestCompletion(t *testing.T) {
	for _, c := range []struct {
		words []string
		want  string
	}{
		{[]string{"ke"}, "key"},
		{[]string{"key", ""}, "create list revoke rotate"},
		{[]string{"key", "list", "--ten"}, "--tenant"},
		{[]string{"key", "create", "--role", ""}, "admin billing member viewer"},
		{[]string{"key", "create", "--tenant", "list", "--role", "v"}, "viewer"},
		{[]string{"report", "-o", ""}, "csv json table"},
		{[]string{"completion", ""}, "bash fish zsh"},
		{[]string{"apply", "-f", ""}, ""},
	} {
		code, out, failed := runWith(nil, "", append([]string{"completion", "words", "--"}, c.words...)...)
		if got := strings.Join(strings.Fields(out), " "); code != exitOK || got != c.want {
			t.Errorf("%q: %d %q %s, want %q", c.words, code, got, failed, c.want)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if code, out, failed := runWith(nil, "", "completion", shell); code != exitOK || !strings.Contains(out, "weir completion words") {
			t.Errorf("%s: %d %q %s", shell, code, out, failed)
		}
	}
}

func TestVersionAsJSON(t *testing.T) {
	code, out, _ := runWith(nil, "", "version", "-o", "json")
	var v struct{ Version, Go, OS, Arch string }
	if err := json.Unmarshal([]byte(out), &v); code != exitOK || err != nil || v.Version == "" || v.Go == "" || v.OS == "" || v.Arch == "" {
		t.Errorf("%d %q %v", code, out, err)
	}
}

func TestColoursAreForTerminalsAlone(t *testing.T) {
	null, err := os.Open(os.DevNull) // a character device, as a terminal is
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	file, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	env := func(pairs map[string]string) func(string) (string, bool) {
		return func(name string) (string, bool) { v, ok := pairs[name]; return v, ok }
	}
	for _, c := range []struct {
		terminal terminal
		want     bool
	}{
		{terminal{out: null, getenv: env(nil)}, true},
		{terminal{out: null, getenv: env(map[string]string{"NO_COLOR": ""})}, true},
		{terminal{out: null, getenv: env(map[string]string{"NO_COLOR": "1"})}, false},
		{terminal{out: null, getenv: env(map[string]string{"TERM": "dumb"})}, false},
		{terminal{out: file, getenv: env(nil)}, false},
		{terminal{out: &bytes.Buffer{}, getenv: env(nil)}, false},
	} {
		if got := c.terminal.colours(); got != c.want {
			t.Errorf("%+v: %t", c.terminal.out, got)
		}
	}
}
