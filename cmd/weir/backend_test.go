package main

import (
	"strings"
	"testing"
)

func TestBackendsAreListedAndChecked(t *testing.T) {
	config := file(t, "weir.yaml", `
backends:
  - {name: sim, kind: simulator, tags: [private]}
  - {name: gone, kind: openai, url: "http://127.0.0.1:1/v1", key: sk-secret}
models:
  - {name: m, targets: [{backend: sim, model: sim-text}, {backend: gone, priority: 1}]}
`)
	p := serve(t, t.TempDir(), "--config", config)
	admin := p.key(adminKeyFile)
	out := p.must(nil, admin, "backend", "list")
	for _, want := range []string{"BACKEND", "sim-text", "serving", "tools"} {
		if !strings.Contains(out, want) {
			t.Errorf("the list lacks %q:\n%s", want, out)
		}
	}
	code, out, failed := p.run(admin, "", "backend", "check")
	if code != exitUnavailable || !strings.Contains(out, "no: unreachable") || !strings.Contains(out, "sim-cut") || !strings.Contains(failed, "gone (unreachable)") || strings.Contains(out+failed, "sk-secret") {
		t.Errorf("%d\n%s\n%s", code, out, failed)
	}
	var list struct {
		Backends []struct {
			Name      string
			Reachable *bool
			Targets   []struct{ Serves []string }
		}
	}
	p.must(&list, admin, "backend", "list", "-o", "json")
	if len(list.Backends) != 2 || list.Backends[1].Name != "sim" || list.Backends[1].Reachable != nil || list.Backends[1].Targets[0].Serves[0] != "m" {
		t.Errorf("%+v", list)
	}
}
