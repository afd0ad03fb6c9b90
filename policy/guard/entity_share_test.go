package guard

import (
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/weir-gateway/weir/policy"
)

// numbersAtRandom is text in which entities of all kinds begin and come to nothing.
func numbersAtRandom(r *rand.Rand) string {
	parts := []string{"4111 1111 1111 1111", "1 ", "138", "12345678", "-", ".", "护照", "E1234567", "8", "GB82 WEST ", "10.0.0", ":", "京A1", "0x", "a", " ", "+1", "(212) 555", "住"}
	var b strings.Builder
	for range r.IntN(40) {
		b.WriteString(parts[r.IntN(len(parts))])
	}
	return b.String()
}

func newPII(t *testing.T) *entities {
	t.Helper()
	var specs []entity
	var at []float64
	for _, e := range piiEntities {
		for _, form := range e.forms {
			form.contextScore = max(form.score, form.contextScore)
			specs, at = append(specs, form), append(at, 0.2)
		}
	}
	g, err := newEntities(specs, at)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func scanAll(g policy.Guard, text string) []policy.Span {
	s := g.Open()
	return s.Close(s.Scan(text, nil))
}

// What there was no room to remember is found again each time.
func TestEntitiesWithoutRoom(t *testing.T) {
	want := newPII(t)
	got, err := newEntities(want.specs, want.at)
	if err != nil {
		t.Fatal(err)
	}
	got.mostStates, got.mostCrowds = len(got.states)+20, len(got.table.Load().crowds)
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		text := numbersAtRandom(r)
		if a, b := scanAll(want, text), scanAll(got, text); !slices.Equal(a, b) {
			t.Fatalf("%q: found %v, without room %v", text, a, b)
		}
	}
	if n := len(got.crowds); n > got.mostCrowds || len(got.states) > got.mostStates {
		t.Errorf("%d crowds and %d states are remembered, more than %d and %d", n, len(got.states), got.mostCrowds, got.mostStates)
	}
	if len(want.crowds) <= got.mostCrowds {
		t.Errorf("the text makes no more than %d crowds: it proves nothing", len(want.crowds))
	}
}

// A text that has filled the memory does not make others slow for good: what it
// left is forgotten, also under streams that go on.
func TestEntitiesForgetWhatATextHasLeft(t *testing.T) {
	want := newPII(t)
	g, err := newEntities(want.specs, want.at)
	if err != nil {
		t.Fatal(err)
	}
	g.mostCrowds, g.patience = len(g.table.Load().crowds), 10
	r := rand.New(rand.NewPCG(1, 2))
	other := g.Open()
	other.Scan("card 4111 1111 11", nil)
	for range 200 {
		text := numbersAtRandom(r)
		if a, b := scanAll(want, text), scanAll(g, text); !slices.Equal(a, b) {
			t.Fatalf("%q: found %v, forgetting %v", text, a, b)
		}
	}
	if n := g.table.Load().beginning; n == 0 {
		t.Error("nothing was forgotten")
	}
	if found := other.Close(other.Scan("11 1111 ", nil)); !slices.ContainsFunc(found, func(s policy.Span) bool { return s.Start == 5 && s.End == 24 }) {
		t.Errorf("a stream that was under way found %v", found)
	}
}

// Streams at work at once make the automaton together, and all find the same.
// The race detector reads along.
func TestEntitiesAreSharedByStreams(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var texts []string
	for range 200 {
		texts = append(texts, numbersAtRandom(r))
	}
	g := newPII(t)
	found := make([][][]policy.Span, 4)
	var wg sync.WaitGroup
	for i := range found {
		wg.Go(func() {
			for _, text := range texts {
				found[i] = append(found[i], scanAll(g, text))
			}
		})
	}
	wg.Wait()
	for i, text := range texts {
		want := scanAll(g, text)
		for j := range found {
			if !slices.Equal(found[j][i], want) {
				t.Fatalf("%q: found %v at once with others, %v alone", text, found[j][i], want)
			}
		}
	}
}
