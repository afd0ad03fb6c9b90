package policy

import (
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// Segments follow from the text alone, leave nothing out, and end where a
// sentence does or where they would be too long.
func TestSegments(t *testing.T) {
	words := []string{"a", "lorem", " ", "。", ". ", ".", "3.14", "水", "!\n", "😀", "\n"}
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOfN(rapid.SampledFrom(words), 0, 60).Draw(t, "text"), "")
		type cut struct {
			start int64
			text  string
			at    int64
		}
		var ways [2][]cut
		for i, piece := range []func() int{func() int { return len(text) }, func() int { return rapid.IntRange(1, 9).Draw(t, "piece") }} {
			s := segmenter{least: 6, most: 20}
			next := func(ended bool) {
				for {
					start, segment, at, ok := s.next(ended)
					if !ok {
						return
					}
					ways[i] = append(ways[i], cut{start, segment, at})
				}
			}
			for rest := text; rest != ""; {
				n := min(len(rest), piece())
				for n < len(rest) && !utf8.RuneStart(rest[n]) {
					n++
				}
				s.write(rest[:n])
				rest = rest[n:]
				next(false)
				if len(s.rest) > s.most {
					t.Fatalf("%d bytes are in no segment", len(s.rest))
				}
			}
			next(true)
		}
		if len(ways[0]) != len(ways[1]) {
			t.Fatalf("whole %v, in pieces %v", ways[0], ways[1])
		}
		all := ""
		for i, c := range ways[0] {
			if c != ways[1][i] || c.start != int64(len(all)) || len(c.text) == 0 || len(c.text) > 20 || !utf8.ValidString(c.text) {
				t.Fatalf("whole %v, in pieces %v", c, ways[1][i])
			}
			all += c.text
			last, _ := utf8.DecodeLastRuneInString(c.text)
			if !strings.ContainsRune("。！？.!?\n", last) && len(c.text) < 20/2 && all != text {
				t.Fatalf("%q ends no sentence and is short", c.text)
			}
			if c.at != cutAtEnd && (c.at < int64(len(all)) || c.at > int64(len(all))+20) {
				t.Fatalf("%q was known at %d", c.text, c.at)
			}
		}
		if all != text {
			t.Fatalf("segments make %q of %q", all, text)
		}
	})
}
