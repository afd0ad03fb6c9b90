package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// columns writes rows under each other: every cell but the last of a row is as
// wide as the widest of its column, and two spaces stand between them. Width is
// what a terminal shows: a Chinese character takes two places and an accent
// that is put on a letter none. What callers and documents say stands in cells,
// so that what would move the cursor or turn the writing is shown as its code.
func columns(w io.Writer, rows [][]string) error {
	const gap = 2
	var widths []int
	shown := make([][]string, len(rows))
	for i, row := range rows {
		last := len(row)
		for last > 0 && row[last-1] == "" {
			last--
		}
		for j, cell := range row[:last] {
			cell = visible(cell)
			shown[i] = append(shown[i], cell)
			if j == len(widths) {
				widths = append(widths, 0)
			}
			widths[j] = max(widths[j], places(cell))
		}
	}
	var out bytes.Buffer
	for _, row := range shown {
		for j, cell := range row {
			out.WriteString(cell)
			if j < len(row)-1 {
				out.WriteString(strings.Repeat(" ", widths[j]-places(cell)+gap))
			}
		}
		out.WriteByte('\n')
	}
	_, err := w.Write(out.Bytes())
	return err
}

// visible is s with a code, such as \u001b, in the place of each character that
// is none to look at.
func visible(s string) string {
	if strings.IndexFunc(s, unseen) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unseen(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func unseen(r rune) bool { return !unicode.IsGraphic(r) }

// places is how many a terminal takes for s.
func places(s string) int {
	n := 0
	for _, r := range s {
		switch {
		case unicode.In(r, unicode.Mn, unicode.Me):
		case isWide(r):
			n += 2
		default:
			n++
		}
	}
	return n
}

func isWide(r rune) bool {
	kind := width.LookupRune(r).Kind()
	return kind == width.EastAsianWide || kind == width.EastAsianFullwidth
}
