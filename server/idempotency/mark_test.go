package idempotency_test

import (
	"bytes"
	"testing"

	"github.com/weir-gateway/weir/server/idempotency"
)

type asked struct {
	Text  string
	More  []string
	Bytes []byte
	Zero  *float64
	Flag  *bool
	Words map[string]string
	Inner *asked
	N     int
}

// askedLater is what a newer Weir knows of it.
type askedLater struct {
	Text  string
	New   []string
	More  []string
	Bytes []byte
	Zero  *float64
	Flag  *bool
	Newer bool
	Words map[string]string
	Inner *asked
	N     int
}

func TestWhatIsAskedIsSpelledInOneWay(t *testing.T) {
	zero, no, yes := 0.0, false, true
	different := []asked{
		{}, {Text: "a"}, {Text: "ab"}, {More: []string{"a"}}, {More: []string{"ab"}}, {More: []string{"a", "b"}}, {More: []string{""}},
		{Text: "a", More: []string{"b"}}, {Bytes: []byte("a")}, {Zero: &zero}, {Flag: &no}, {Flag: &yes}, {N: 1}, {N: -1},
		{Words: map[string]string{"a": "b"}}, {Words: map[string]string{"ab": ""}}, {Words: map[string]string{"a": "b", "c": "d"}},
		{Inner: &asked{}}, {Inner: &asked{Text: "a"}}, {Inner: &asked{}, Text: "a"},
	}
	for i := range different {
		for j := range different {
			if same := bytes.Equal(idempotency.Spell(different[i]), idempotency.Spell(different[j])); same != (i == j) {
				t.Errorf("%d and %d: same is %v", i, j, same)
			}
		}
	}
	now := idempotency.Spell(asked{Text: "a", Words: map[string]string{"x": "1", "y": "2", "z": "3"}})
	later := idempotency.Spell(askedLater{Text: "a", Words: map[string]string{"z": "3", "y": "2", "x": "1"}})
	if !bytes.Equal(now, later) {
		t.Errorf("a newer Weir spells %q as %q", now, later)
	}
}

func TestWhatCannotBeSpelled(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a func is spelled")
		}
	}()
	idempotency.Spell(struct{ F func() }{func() {}})
}
