package guard_test

import (
	"slices"
	"testing"
)

// What begins a match is told by two bytes, where both are here: a pair that
// cannot begin one is passed over, and everything else is found all the same.
func TestPairsOfBytesThatBegin(t *testing.T) {
	for _, c := range []struct {
		rule, text string
		want       [][2]int
	}{
		{`{expr: "a|bc+", max_length: 1}`, "xbxb", [][2]int{{1, 2}, {3, 4}}}, // overlong at once
		{`{expr: "-{3}x"}`, "-- ---x --", [][2]int{{3, 7}}},
		{`{expr: "ab|ac|中a|é文"}`, "aab axac 中中aé文", [][2]int{{1, 3}, {6, 8}, {12, 16}, {16, 21}}},
		{`{expr: "a[é中]"}`, "aaé a中 ab", [][2]int{{1, 4}, {5, 9}}},
		{`{expr: "[ab]{1,3}@x"}`, "@x ab@x b@y a@@x", [][2]int{{3, 7}}},
		{`{expr: '\ba\b'}`, "a ab a", [][2]int{{0, 1}, {5, 6}}},
	} {
		g, err := open(c.rule)
		if err != nil {
			t.Fatal(err)
		}
		for _, cut := range []func(int) bool{func(int) bool { return false }, func(int) bool { return true }, func(i int) bool { return i%2 == 0 }} {
			if got := maximal(t, g, c.text, cut); !slices.Equal(got, c.want) {
				t.Errorf("%s in %q: found %v, want %v", c.rule, c.text, got, c.want)
			}
		}
	}
}
