package bpe

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	digits    = `{"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": true}, {"type": "ByteLevel", "add_prefix_space": false}]}`
	noPattern = `{"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}`
)

// smallFile is a tokenizer.json with a vocabulary of our own: all bytes, a few
// merges, one token that no merge makes, and marks.
func smallFile(normalizer, preTokenizer, model string) string {
	vocab := map[string]int{}
	for _, name := range byteNames() {
		vocab[string(name)] = len(vocab)
	}
	for _, token := range []string{"ri", "ver", "ve", "river", "Ġriver", "Ã©", "12", "odd"} {
		vocab[token] = len(vocab)
	}
	tokens, _ := json.Marshal(vocab)
	return `{"normalizer": ` + normalizer + `, "pre_tokenizer": ` + preTokenizer + `,
	"added_tokens": [{"content": "<think>"}, {"content": "<thinking>"}, {"content": "<|end|>", "special": true}],
	"model": {"type": "BPE", ` + model + `"vocab": ` + string(tokens) + `,
	"merges": ["v e", ["ve", "r"], "r i", "ri ver", "Ġ river", "Ã ©", "1 2"]}}`
}

func write(t testing.TB, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "tokenizer.json")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func small(t testing.TB, normalizer, preTokenizer string) *Tokenizer {
	t.Helper()
	k, err := Load(write(t, smallFile(normalizer, preTokenizer, "")))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestLoad(t *testing.T) {
	plain, composed, uncut := small(t, "null", digits), small(t, `{"type": "Sequence", "normalizers": [{"type": "NFC"}]}`, digits), small(t, "null", noPattern)
	for _, c := range []struct {
		k    *Tokenizer
		text string
		want int
	}{
		{plain, "river river", 2},
		{plain, "rive", 2},                 // ri ve
		{plain, "é", 1},                    //
		{plain, "e\u0301", 3},              // three bytes
		{composed, "e\u0301", 1},           // composed first
		{composed, "<think>\u0338", 1 + 2}, // a mark is found before that
		{plain, "12", 2},                   // digits are cut apart,
		{uncut, "12", 1},                   // unless nothing is
		{plain, "odd", 3},                  // no merge makes it
		{plain, "<think>river<thinking><|end|>", 4},
		{plain, "<thin", 5},
		{plain, "<think", 6},
		{plain, "<<think>", 2},
		{plain, "", 0},
	} {
		if n, exact := c.k.Count(c.text); n != c.want || !exact {
			t.Errorf("%q has %d tokens (sure: %v), want %d", c.text, n, exact, c.want)
		}
		s := c.k.Stream()
		for _, r := range c.text {
			s.Write(string(r))
			if s.Most() < s.Tokens() {
				t.Errorf("%q has %d tokens on the way, at most %d", c.text, s.Tokens(), s.Most())
			}
		}
		if n := s.Tokens(); n != c.want {
			t.Errorf("%q has %d tokens, streamed %d", c.text, c.want, n)
		}
	}
	ignore, err := Load(write(t, smallFile("null", digits, `"ignore_merges": true, `)))
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := ignore.Count("odd"); n != 1 {
		t.Errorf("a piece that is a token has %d tokens, though merges are ignored", n)
	}
}

// What is not counted exactly is not loaded, and the error says why.
func TestLoadRefuses(t *testing.T) {
	split := func(regex, behavior string) string {
		s, _ := json.Marshal(regex)
		return `{"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": ` + string(s) + `}, "behavior": "` + behavior + `"}, ` + noPattern + `]}`
	}
	for content, want := range map[string]string{
		"{": "no tokenizer.json",
		smallFile(`{"type": "NFKC"}`, digits, ""):                                                   "normalizer NFKC",
		smallFile("null", "null", ""):                                                               "not byte-level BPE",
		smallFile("null", `{"type": "Metaspace"}`, ""):                                              "pre-tokenizer Metaspace",
		smallFile("null", `{"type": "ByteLevel", "add_prefix_space": true}`, ""):                    "space before",
		smallFile("null", split(`\p{L}+`, "Removed"), ""):                                           `"Removed"`,
		smallFile("null", split(`\p{L}+(?=x)`, "Isolated"), ""):                                     "expression",
		smallFile("null", split(`\w+`, "Isolated"), ""):                                             `\w`,
		smallFile("null", split(`x$`, "Isolated"), ""):                                              "$",
		smallFile("null", digits, `"byte_fallback": true, `):                                        "not byte-level BPE",
		strings.Replace(smallFile("null", digits, ""), `"BPE"`, `"Unigram"`, 1):                     "not byte-level BPE",
		strings.Replace(smallFile("null", digits, ""), `"Ġ river"`, `"Ġ ocean"`, 1):                 `"ocean"`,
		strings.Replace(smallFile("null", digits, ""), `"<think>"`, `"<think>", "rstrip": true`, 1): "<think>",
		strings.Replace(smallFile("null", digits, ""), `"a":`, `"aaa":`, 1):                         "byte 0x61",
	} {
		if _, err := Load(write(t, content)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want one that has %q", err, want)
		}
	}
	if _, err := Load("nowhere.json"); err == nil || !strings.Contains(err.Error(), "nowhere.json") {
		t.Errorf("the error is %v", err)
	}
}
