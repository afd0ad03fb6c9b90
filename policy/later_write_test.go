package policy

import "testing"

// Where a rule blocks in a later Write, what stands before the match is released
// as if all had come in one: the other rules that block go back to where they
// stood before that Write, not to the beginning.
func TestABlockInALaterWrite(t *testing.T) {
	for _, writes := range [][]string{{"one two xthree"}, {"one ", "two xthree"}, {"one ", "two ", "xthree"}} {
		var rules []*rule
		for _, c := range "xq" {
			rules = append(rules, &rule{action: Block, guard: letters(c), kinds: []kind{{}}})
		}
		s := newScreen(rules)
		var out []Piece
		for _, w := range writes {
			out = s.Write(out, Piece{Channel: Content, Text: w})
		}
		if got := join(out); got != "one two " || !s.Blocked(0) {
			t.Errorf("%q: released %q, blocked %t", writes, got, s.Blocked(0))
		}
	}
}

// What one judged by fewer rules lets through is not what the others do.
func TestCleanIsAskedOfEachByItself(t *testing.T) {
	all := (&Set{policies: []compiled{{output: []*rule{{action: Block, guard: letters('x'), kinds: []kind{{}}}}}}}).effective([]byte{1})
	none := (&Set{}).effective(nil)
	for range 2 {
		if !none.Clean("x") || all.Clean("x") || !all.Clean("y") || all.Clean("x") {
			t.Fatal("a text is clean by what another has said")
		}
	}
}
