package main

import (
	"bytes"
	"image/png"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestAnImageOfAnAnswerIsToldAndSaved(t *testing.T) {
	p := serve(t, t.TempDir())
	p.apply("kind: Policy\nname: default\nsafety: {output: [{guard: media, modalities: [image], action: flag}]}")
	key := p.key(demoKeyFile)
	told := regexp.MustCompile(`^Here it is\.\n\[image/png, [0-9,]+ bytes\]\n$`)
	folder := filepath.Join(t.TempDir(), "drawn")
	for _, how := range [][]string{nil, {"--stream"}} {
		args := append([]string{"call", "-m", "sim-text", "--modality", "image"}, how...)
		if out := p.must(nil, key, append(args, "draw: 24x16\nsay: Here it is.")...); !told.MatchString(out) {
			t.Errorf("%v prints %q", how, out)
		}
		if out := p.must(nil, key, append(args, "--save", folder, "draw: 24x16\nsay: Here it is.")...); !strings.Contains(out, "bytes, saved as "+folder) {
			t.Errorf("%v prints %q", how, out)
		}
	}
	saved, err := filepath.Glob(filepath.Join(folder, "*-1.png"))
	if err != nil || len(saved) != 2 {
		t.Fatalf("saved are %v, %v", saved, err)
	}
	data, err := os.ReadFile(saved[0])
	if err != nil {
		t.Fatal(err)
	}
	drawn, err := png.Decode(bytes.NewReader(data))
	if err != nil || drawn.Bounds().Dx() != 24 {
		t.Errorf("what was saved is no image of the width that was asked for: %v", err)
	}
	if code, _, failed := p.run(key, "", "call", "-m", "sim-text", "--save", filepath.Join(saved[0], "x"), "hi"); code != exitUsage || !strings.Contains(failed, "--save") {
		t.Errorf("%d %q", code, failed)
	}
}

func TestThousandsAreGrouped(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := grouped(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}
