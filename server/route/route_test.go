package route

import (
	"strings"
	"testing"
)

func TestPlansAreByName(t *testing.T) {
	r, err := New([]Model{{Name: "b", Targets: []Target{{Name: "one"}, {Name: "two"}}}, {Name: "a", Targets: []Target{{Name: "one"}}}})
	if err != nil {
		t.Fatal(err)
	}
	m, ok := r.Plan("b")
	if !ok || len(m.Targets) != 2 || m.Targets[0].Name != "one" {
		t.Errorf("plan of b: %+v", m)
	}
	if _, ok := r.Plan("c"); ok {
		t.Error("there is a plan for a model that nobody named")
	}
	if names := strings.Join(r.Models(), " "); names != "a b" {
		t.Errorf("models are %q", names)
	}
}

func TestAModelNeedsATargetAndAName(t *testing.T) {
	if _, err := New([]Model{{Name: "a"}}); err == nil || !strings.Contains(err.Error(), `"a"`) {
		t.Errorf("%v", err)
	}
	twice := Model{Name: "a", Targets: []Target{{Name: "one"}}}
	if _, err := New([]Model{twice, twice}); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("%v", err)
	}
}
