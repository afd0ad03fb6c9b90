package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-gateway/weir/policy"
)

const wordList = "\uFEFF# ours\r\nzorblatt\r\n\n  grim word  \n测试词\ttest/词\thigh\nquim\ttest/q\nvex\t\tlow\n\"quoted\" \\ <b>\n"

func TestALexiconNamesAFile(t *testing.T) {
	folder := t.TempDir()
	if err := os.Mkdir(filepath.Join(folder, "lists"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "lists", "words.txt"), []byte(wordList), 0o600); err != nil {
		t.Fatal(err)
	}
	want := []policy.Term{
		{Text: "zorblatt"}, {Text: "grim word"}, {Text: "测试词", Category: "test/词", Severity: policy.High}, {Text: "quim", Category: "test/q"},
		{Text: "vex", Severity: policy.Low}, {Text: `"quoted" \ <b>`},
	}
	for _, lexicon := range []string{
		"kind: Lexicon\nname: words\nfile: lists/words.txt\n",
		"kind: Lexicon\nname: words\nfile:   'lists/words.txt' # ours\n",
		"{kind: Lexicon, name: words, category: 类, file: \"lists/words.txt\", severity: low}\n",
	} {
		text := lexicon + "---\nkind: Policy\nname: p # of no file\nsafety: {output: [{guard: lexicon, list: words, action: flag}]}\n"
		path := filepath.Join(folder, "all.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		sources, err := readSources([]string{path}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(sources[0].Content, "\n"); got != strings.Count(text, "\n") {
			t.Errorf("%q: has %d lines, of %d", lexicon, got, strings.Count(text, "\n"))
		}
		documents, lexicons, err := readPolicies([]string{path}, nil)
		if err != nil || len(documents) != 1 || len(lexicons) != 1 || len(lexicons[0].Terms) != len(want) {
			t.Fatalf("%q: %v, %+v, %v", lexicon, documents, lexicons, err)
		}
		for i, got := range lexicons[0].Terms {
			if got != want[i] {
				t.Errorf("%q: got %+v, want %+v", lexicon, got, want[i])
			}
		}
	}
}

func TestAWordListThatIsWrong(t *testing.T) {
	for name, c := range map[string]struct{ document, list, want string }{
		"no such file":    {"file: ghost.txt", "", "all.yaml: line 3: file: there is no"},
		"elsewhere":       {"file: ../words.txt", "a", "is not in the folder of the document"},
		"absolute":        {"file: /etc/words.txt", "a", "is not in the folder of the document"},
		"a block":         {"file: |-\n  words.txt", "a", "write it plainly"},
		"empty":           {"file: words.txt", "# none\n", "words.txt holds no term"},
		"no UTF-8":        {"file: words.txt", "\xff\n", "words.txt is not UTF-8"},
		"severity":        {"file: words.txt", "a\nb\tc\tgrave\n", `words.txt: line 2: unknown severity "grave"`},
		"too many fields": {"file: words.txt", "b\tc\tlow\td\n", "words.txt: line 1: want a term, a category and a severity"},
		"no term":         {"file: words.txt", "\tc\n", "words.txt: line 1: no term"},
		"too long":        {"file: words.txt", strings.Repeat("a", 1025), "words.txt: line 1: want a term of at most 1024 bytes, got 1025"},
		"terms as well":   {"file: words.txt\nterms: [b]", "a", "all.yaml: line 3: file: the list has terms as well"},
	} {
		folder := t.TempDir()
		for file, text := range map[string]string{"all.yaml": "kind: Lexicon\nname: words\n" + c.document + "\n", "words.txt": c.list} {
			if err := os.WriteFile(filepath.Join(folder, file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := readPolicies([]string{filepath.Join(folder, "all.yaml")}, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}
