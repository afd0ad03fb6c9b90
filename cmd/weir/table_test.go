package main

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestColumnsAreAsWideAsTheyLook(t *testing.T) {
	var out strings.Builder
	if err := columns(&out, [][]string{
		{"NAME", "NOTE", "N"},
		{"艾可米 Inc.", "cafe\u0301", "1"},
		{"a", "\x1b[2J全角！\u202e\n", "2"},
		{"b", "", ""},
	}); err != nil {
		t.Fatal(err)
	}
	want := "" +
		"NAME         NOTE" + strings.Repeat(" ", 25) + "N\n" +
		"艾可米 Inc.  cafe\u0301" + strings.Repeat(" ", 25) + "1\n" +
		"a            \\u001b[2J全角！\\u202e\\u000a  2\n" +
		"b\n"
	if out.String() != want {
		t.Errorf("columns are\n%s\nwant\n%s", out.String(), want)
	}
}

// Whatever stands in the cells, a row is one line, and a column begins at the
// same place in each.
func TestColumnsBeginAtOnePlace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cell := rapid.StringMatching(`[a-z中文，！é\x1b\n\t ]{0,12}x`)
		rows := rapid.SliceOfN(rapid.SliceOfN(cell, 3, 3), 1, 8).Draw(t, "rows")
		var out strings.Builder
		if err := columns(&out, rows); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		if len(lines) != len(rows) {
			t.Fatalf("%d rows are %d lines: %q", len(rows), len(lines), out.String())
		}
		last := -1
		for i, line := range lines {
			begin, ok := strings.CutSuffix(line, visible(rows[i][2]))
			if !ok {
				t.Fatalf("%q does not end with %q", line, rows[i][2])
			}
			if last >= 0 && places(begin) != last {
				t.Fatalf("the last column begins at %d and at %d:\n%s", last, places(begin), out.String())
			}
			last = places(begin)
		}
	})
}
