package fold_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/weir-gateway/weir/policy/fold"
)

type unit struct {
	r          rune
	start, end int64
}

func (u unit) String() string {
	name := string(u.r)
	switch u.r {
	case fold.Nothing:
		name = "_"
	case fold.Break:
		name = "/"
	}
	return fmt.Sprintf("%s%d-%d", name, u.start, u.end)
}

// read runs a Reader over text, cut where cut says, and checks what a Reader
// promises on the way.
func read(t testing.TB, v fold.View, text string, cut func(int) bool) (out []unit) {
	r := fold.NewReader(v)
	covered := int64(0)
	emit := func(c rune, start, end int64) {
		u := unit{c, start, end}
		if t == nil {
			out = append(out, u)
			return
		}
		if start >= end || start > covered || end < covered || len(out) > 0 && start < out[len(out)-1].start {
			t.Errorf("view %d of %q: %v after %v, covered %d", v, text, u, out, covered)
		}
		covered = end
		out = append(out, u)
	}
	last := 0
	step := func(upTo int) {
		r.Read(text[last:upTo], emit)
		last = upTo
		if hold := r.Hold(); t != nil && (hold > int64(upTo) || int64(upTo)-hold > int64(fold.Bound(v)) || hold > covered) {
			t.Errorf("view %d of %q: at %d: hold %d, covered %d, bound %d", v, text, upTo, hold, covered, fold.Bound(v))
		}
	}
	for i := range text {
		if i > 0 && cut(i) {
			step(i)
		}
	}
	step(len(text))
	r.Close(emit)
	if t != nil && covered != int64(len(text)) {
		t.Errorf("view %d of %q: covered %d of %d", v, text, covered, len(text))
	}
	return out
}

// FuzzReader: offsets never decrease and are in the text, every byte is in some
// call, how the text is cut makes no difference, and String says the same.
func FuzzReader(f *testing.F) {
	f.Add("Zo\u0301rb\U000E006F ﬁ中國\xff", uint64(5))
	f.Add(`a\u0062\ud83d\ude00\ud83d\u00zz\`, uint64(0xAAAA))
	f.Add("%41%e4%b8%ad&#65;&amp;&#x4e2d &nosuch; %", uint64(0x1234))
	f.Add("em9yYg== 5Lit5paHgICA", uint64(3))
	f.Add(strings.Repeat("\u0301", 40)+"----", uint64(1))
	f.Fuzz(func(t *testing.T, text string, cuts uint64) {
		if len(text) > 300 {
			return
		}
		text = strings.ToValidUTF8(text, "\uFFFD")
		for v := fold.Fold; v <= fold.Base64; v++ {
			whole := read(t, v, text, func(int) bool { return false })
			for _, cut := range []func(int) bool{
				func(int) bool { return true },
				func(i int) bool { return cuts>>(i%64)&1 == 1 },
			} {
				if got := read(t, v, text, cut); !slices.Equal(got, whole) {
					t.Fatalf("view %d of %q: whole %v, cut %v", v, text, whole, got)
				}
			}
			if v > fold.Squeeze || v == fold.Tags {
				continue // String is of a term, which is written plainly
			}
			var b strings.Builder
			for _, u := range whole {
				switch u.r {
				case fold.Nothing:
				case fold.Break:
					b.WriteRune(utf8.RuneError)
				default:
					b.WriteRune(u.r)
				}
			}
			if got := fold.String(v, text); got != b.String() {
				t.Fatalf("view %d of %q: String %q, read %q", v, text, got, b.String())
			}
		}
	})
}

// TestReaderLimits: runs of what says nothing, and of separators, end in a Break.
func TestReaderLimits(t *testing.T) {
	text := "a" + strings.Repeat("\u0301", fold.MaxQuiet) + "b" + strings.Repeat("\u0301", fold.MaxQuiet+1) + "c"
	if got, want := fold.String(fold.Fold, text), "ab\uFFFDc"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := fold.String(fold.Squeeze, "a.......b........c"), "ab\uFFFDc"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestReaderDoesNotAllocate(t *testing.T) {
	text := strings.Repeat(`Zo\u0301rb ﬁ中國 a\u0062%41&#65; em9yYg== `, 20)
	n := 0
	emit := func(rune, int64, int64) { n++ }
	for v := fold.Fold; v <= fold.Base64; v++ {
		r := fold.NewReader(v)
		if got := testing.AllocsPerRun(10, func() { r.Read(text, emit) }); got != 0 {
			t.Errorf("view %d: %v allocations", v, got)
		}
	}
}

func BenchmarkReader(b *testing.B) {
	for name, text := range map[string]string{
		"en": strings.Repeat("The quick brown fox jumps over the lazy dog, 42 pages a day. ", 500),
		"zh": strings.Repeat("水流到堰前被攔住，再一點一點地放出去；", 500),
	} {
		for v := fold.Fold; v <= fold.Base64; v++ {
			b.Run(fmt.Sprintf("%d/%s", v, name), func(b *testing.B) {
				r := fold.NewReader(v)
				emit := func(rune, int64, int64) {}
				b.SetBytes(int64(len(text)))
				for b.Loop() {
					r.Read(text, emit)
				}
			})
		}
	}
}
