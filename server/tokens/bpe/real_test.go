//go:build realtokenizer

package bpe

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
)

// The makers' own tokenizers and this package count alike, whole and streamed.
// WEIR_TEST_PYTHON has tiktoken and tokenizers; WEIR_TEST_TOKENIZERS is a list
// of tokenizer.json files.
func TestRealTokenizersCountAlike(t *testing.T) {
	texts := realTexts(t)
	var input bytes.Buffer
	for _, text := range texts {
		json.NewEncoder(&input).Encode(text)
	}
	check := func(t *testing.T, k *Tokenizer, args ...string) {
		cmd := exec.Command(os.Getenv("WEIR_TEST_PYTHON"), append([]string{"testdata/reference.py"}, args...)...)
		cmd.Stdin, cmd.Stderr = bytes.NewReader(input.Bytes()), os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		counts := strings.Fields(string(out))
		if len(counts) != len(texts) {
			t.Fatalf("the reference counted %d texts of %d", len(counts), len(texts))
		}
		random := rand.New(rand.NewPCG(1, 2))
		var sum, unsure, wrong int
		for i, text := range texts {
			var want int
			fmt.Sscan(counts[i], &want)
			sum += want
			got, exact := k.Count(text)
			if !exact {
				unsure++
				continue
			}
			if got != want {
				if wrong++; wrong < 20 {
					t.Errorf("%.200q has %d tokens, counted %d", text, want, got)
				}
				continue
			}
			s := k.Stream()
			for rest := text; rest != ""; {
				var part string
				part, rest = runes(rest, 1+random.IntN(8))
				s.Write(part)
			}
			if got := s.Tokens(); got != want {
				t.Errorf("%.200q has %d tokens, streamed %d", text, want, got)
			}
		}
		t.Logf("%d texts, %d tokens; not sure of %d texts", len(texts), sum, unsure)
		if unsure > len(texts)/10 {
			t.Errorf("not sure of %d texts of %d", unsure, len(texts))
		}
	}
	for _, name := range []string{"cl100k", "o200k"} {
		t.Run(name, func(t *testing.T) {
			packed := map[string][]byte{"cl100k": cl100k, "o200k": o200k}[name]
			tokens, err := unpackTokens(packed)
			if err != nil {
				t.Fatal(err)
			}
			var ranks bytes.Buffer
			for i, token := range tokens {
				fmt.Fprintf(&ranks, "%s %d\n", base64.StdEncoding.EncodeToString([]byte(token)), i)
			}
			file := filepath.Join(t.TempDir(), name)
			if err := os.WriteFile(file, ranks.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			check(t, named(t, name), name, file)
		})
	}
	files := filepath.SplitList(os.Getenv("WEIR_TEST_TOKENIZERS"))
	if len(files) == 0 {
		t.Error("WEIR_TEST_TOKENIZERS names no tokenizer.json")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			k, err := Load(file)
			if err != nil {
				t.Fatal(err)
			}
			check(t, k, file)
		})
	}
}

// realTexts is the documents and the code of this repository, and texts made of
// pieces that tokenizers cut in surprising ways.
func realTexts(t *testing.T) []string {
	var texts []string
	for _, pattern := range []string{"../../../*.md", "../../../docs/*.md", "*.go", "../../../policy/guard/*.go", "../../../policy/fold/*.go"} {
		names, _ := filepath.Glob(pattern)
		for _, name := range names {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			texts = append(texts, string(data))
		}
	}
	if len(texts) < 20 {
		t.Fatalf("found %d files", len(texts))
	}
	random := rand.New(rand.NewPCG(3, 4))
	for range 10_000 {
		var b strings.Builder
		for range 1 + random.IntN(12) {
			switch random.IntN(12) {
			case 0: // anything; rarely what our tables do not know
				r := rune(random.IntN(0x30000))
				if r >= 0xD800 && r < 0xE000 || !unicode.In(r, assigned...) && random.IntN(20) > 0 {
					r = 'x'
				}
				b.WriteRune(r)
			case 1:
				b.WriteString(strings.Repeat(pieces[random.IntN(len(pieces))], 1+random.IntN(40)))
			default:
				b.WriteString(pieces[random.IntN(len(pieces))])
			}
		}
		texts = append(texts, b.String())
	}
	return texts
}
