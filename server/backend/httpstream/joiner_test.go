package httpstream

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// A text that is written as JSON in any way and cut anywhere, between the
// halves of a surrogate pair and inside UTF-8 too, comes out as it was.
func TestJoinerPutsRunesTogether(t *testing.T) {
	runes := rapid.OneOf(rapid.Rune(), rapid.RuneFrom([]rune("a\"\\/\n\t\x00é水😀𠜎\U0010FFFF\uFFFD")))
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.StringOf(runes).Draw(t, "text")
		var units []string // what may not be cut
		for _, r := range want {
			switch {
			case rapid.Bool().Draw(t, "escaped"):
				if r > 0xFFFF {
					high, low := utf16.EncodeRune(r)
					units = append(units, fmt.Sprintf(`\u%04x`, high), fmt.Sprintf(`\u%04X`, low))
					continue
				}
				units = append(units, fmt.Sprintf(`\u%04x`, r))
			case r < ' ' || r == '"' || r == '\\':
				q, _ := json.Marshal(string(r))
				units = append(units, string(q[1:len(q)-1]))
			default:
				for _, b := range []byte(string(r)) {
					units = append(units, string([]byte{b}))
				}
			}
		}
		var j Joiner
		got := ""
		for len(units) > 0 {
			n := rapid.IntRange(0, min(4, len(units))).Draw(t, "cut")
			piece := j.Add([]byte(`"` + strings.Join(units[:n], "") + `"`))
			if !utf8.ValidString(piece) {
				t.Fatalf("piece %q is cut through a rune", piece)
			}
			got += piece
			units = units[n:]
		}
		if got += j.Flush(); got != want {
			t.Fatalf("text is %q, want %q", got, want)
		}
	})
}

// For a string that is not cut the Joiner says what encoding/json says.
func TestJoinerReadsAsJSONDoes(t *testing.T) {
	for _, s := range []string{`""`, `"a"`, `"\u0041\n\/\b\f\r\t\"\\"`, `"\ud83d\ude00"`, `"\ud83dx"`, `"x\ude00"`, `"\ud83d\ud83d\ude00"`, `"\ud83d\n"`, "\"a\xffb\"", "\"\xe6\xb0x\"", `"\uD83D\u0041"`, `"\ud83d"`, "\"\xe6\xb0\""} {
		var want string
		if err := json.Unmarshal([]byte(s), &want); err != nil {
			t.Fatal(err)
		}
		var j Joiner
		if got := j.Add([]byte(s)) + j.Flush(); got != want {
			// encoding/json has one U+FFFD for each bad byte, the Joiner one
			// for the rune that was cut off.
			if strings.TrimSuffix(got, "\uFFFD")+"\uFFFD" != strings.TrimRight(want, "\uFFFD")+"\uFFFD" {
				t.Errorf("%s is %q, want %q", s, got, want)
			}
		}
	}
}
