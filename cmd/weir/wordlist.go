package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/weir-gateway/weir/policy"
)

// withWordLists puts the terms of word lists into the documents of kind Lexicon
// that name one (file: words.txt, in the folder of the document or below). It is
// done here, where the files are: a server opens none that a document names. The
// terms take the place of the field, on its line, so that what is wrong with the
// rest is told with the lines of the file that the user sees.
func withWordLists(content, folder string) (string, error) {
	if !strings.Contains(content, "file") {
		return content, nil
	}
	lines := strings.Split(content, "\n")
	decoder := yaml.NewDecoder(strings.NewReader(content))
	for {
		var root yaml.Node
		if err := decoder.Decode(&root); err != nil {
			break // the end, or a fault that whoever reads the documents tells
		}
		key, value, both := wordListOf(root.Content)
		if key == nil {
			continue
		}
		fault := func(err error) error { return fmt.Errorf("line %d: file: %w", key.Line, err) }
		if both {
			return "", fault(errors.New("the list has terms as well: write it in two, or put those into the file"))
		}
		terms, err := readWordList(folder, value.Value)
		if err != nil {
			return "", fault(err)
		}
		written, err := json.Marshal(terms) // JSON is YAML
		if err != nil {
			return "", fault(err)
		}
		line := []rune(lines[key.Line-1])
		before, field := string(line[:key.Column-1]), string(line[key.Column-1:])
		rest, ok := withoutField(field, value.Value)
		if !ok {
			return "", fault(errors.New("write it plainly, on one line: file: words.txt"))
		}
		lines[key.Line-1] = before + "terms: " + string(written) + rest
	}
	return strings.Join(lines, "\n"), nil
}

// wordListOf is the field file of a document of kind Lexicon, nil where there is
// none, and whether it has terms of its own.
func wordListOf(document []*yaml.Node) (key, value *yaml.Node, terms bool) {
	if len(document) == 0 || document[0].Kind != yaml.MappingNode {
		return nil, nil, false
	}
	fields := document[0].Content
	lexicon := false
	for i := 0; i+1 < len(fields); i += 2 {
		switch fields[i].Value {
		case "kind":
			lexicon = fields[i+1].Value == "Lexicon"
		case "file":
			key, value = fields[i], fields[i+1]
		case "terms":
			terms = true
		}
	}
	if !lexicon {
		return nil, nil, false
	}
	return key, value, terms
}

// withoutField is what stands on the line behind the field file.
func withoutField(line, value string) (rest string, ok bool) {
	line, ok = strings.CutPrefix(line, "file:")
	if !ok {
		return "", false
	}
	line = strings.TrimLeft(line, " ")
	for _, form := range []string{`"` + value + `"`, "'" + value + "'", value} {
		if rest, ok = strings.CutPrefix(line, form); ok {
			return rest, true
		}
	}
	return "", false
}

// listedTerm is a term of a word list as a document has it.
type listedTerm struct {
	Term     string `json:"term"`
	Category string `json:"category,omitempty"`
	Severity string `json:"severity,omitempty"`
}

// readWordList reads a file with a term a line, and behind tabs, where they
// differ from the list's, its category and severity. Empty lines and those that
// begin with # are passed over.
func readWordList(folder, name string) (terms []any, err error) {
	if !filepath.IsLocal(name) {
		return nil, fmt.Errorf("%q is not in the folder of the document, or below: put it there", name)
	}
	data, err := os.ReadFile(filepath.Join(folder, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no %s: the path is relative to the document", filepath.Join(folder, name))
	}
	if err != nil {
		return nil, err
	}
	text := strings.TrimPrefix(string(data), "\uFEFF")
	if !utf8.ValidString(text) {
		return nil, fmt.Errorf("%s is not UTF-8: convert it", name)
	}
	n := 0
	for line := range strings.Lines(text) {
		n++
		fault := func(format string, args ...any) error {
			return fmt.Errorf("%s: line %d: %s", name, n, fmt.Sprintf(format, args...))
		}
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Split(line, "\t")
		for i := range fields {
			fields[i] = strings.TrimSpace(fields[i])
		}
		switch term := fields[0]; {
		case term == "":
			return nil, fault("no term before the first tab")
		case len(term) > policy.MaxTerm:
			return nil, fault("want a term of at most %d bytes, got %d", policy.MaxTerm, len(term))
		case len(fields) > 3:
			return nil, fault("want a term, a category and a severity with tabs between them, got %d fields", len(fields))
		case len(fields) == 1:
			terms = append(terms, term)
			continue
		}
		fields = append(fields, "")
		if fields[2] != "" {
			var severity policy.Severity
			if err := severity.UnmarshalText([]byte(fields[2])); err != nil {
				return nil, fault("%v", err)
			}
		}
		terms = append(terms, listedTerm{fields[0], fields[1], fields[2]})
	}
	if len(terms) == 0 {
		return nil, fmt.Errorf("%s holds no term: write one a line", name)
	}
	return terms, nil
}
