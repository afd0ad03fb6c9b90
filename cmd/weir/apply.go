package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
)

type applyCommand struct {
	connection
	File         []string `short:"f" required:"" help:"YAML file, folder of .yaml and .yml files, or - for standard input; may be given more than once." placeholder:"FILE"`
	ValidateOnly bool     `help:"Check and show what would change, and change nothing."`
	Output       string   `short:"o" enum:"text,json" default:"text" help:"text or json."`
}

type applyResult struct {
	Revision int64           `json:"revision"`
	Changes  []appliedChange `json:"changes"`
	Warnings []string        `json:"warnings"`
}

type appliedChange struct {
	Kind   string `json:"kind"`
	Tenant string `json:"tenant,omitempty"`
	Name   string `json:"name"`
	Action string `json:"action"`
	Diff   string `json:"diff,omitempty"`
}

func (c *applyCommand) Run(ctx context.Context, t terminal) error {
	sources, err := readSources(c.File, t.in)
	if err != nil {
		return usageError(err)
	}
	ctx, conn, err := c.dial(ctx, t)
	if err != nil {
		return err
	}
	defer conn.Close()
	answer, err := weirv1.NewAdminServiceClient(conn).ApplyDocuments(ctx, &weirv1.ApplyDocumentsRequest{Sources: sources, ValidateOnly: c.ValidateOnly})
	if err != nil {
		return told(err)
	}
	if len(answer.Changes) == 0 {
		return usageError(fmt.Errorf("there is no document in %s: one begins with its kind, such as kind: Tenant", strings.Join(c.names(), ", ")))
	}
	result := applyResult{Revision: answer.Revision, Changes: []appliedChange{}, Warnings: append([]string{}, answer.Warnings...)}
	changed := 0
	for _, ch := range answer.Changes {
		action := enumWord(ch.Action.String(), "CHANGE_ACTION_")
		if action != "unchanged" {
			changed++
		}
		result.Changes = append(result.Changes, appliedChange{ch.Kind, ch.Tenant, ch.Name, action, ch.Diff})
	}
	if c.Output == "json" {
		return printJSON(t.out, result)
	}
	for _, ch := range result.Changes {
		name := ch.Name
		if ch.Tenant != "" {
			name = ch.Tenant + "/" + name
		}
		fmt.Fprintf(t.out, "%-9s %s %s\n", ch.Action, ch.Kind, name)
		for line := range strings.Lines(ch.Diff) {
			fmt.Fprint(t.out, "          ", line)
		}
	}
	for _, w := range result.Warnings {
		fmt.Fprintln(t.err, "warning:", w)
	}
	switch {
	case c.ValidateOnly:
		fmt.Fprintf(t.out, "valid; %d of %d documents would change, nothing was applied\n", changed, len(result.Changes))
	default:
		fmt.Fprintf(t.out, "revision %d is in force; %d of %d documents changed\n", result.Revision, changed, len(result.Changes))
	}
	return nil
}

// names are what was given, for people.
func (c *applyCommand) names() []string {
	names := slices.Clone(c.File)
	for i, name := range names {
		if name == "-" {
			names[i] = stdinName
		}
	}
	return names
}

// stdinName is what standard input is called in what people are told.
const stdinName = "standard input"

// readSources reads files, the YAML files of folders, and standard input, with
// the word lists that they name.
func readSources(names []string, in io.Reader) ([]*weirv1.DocumentSource, error) {
	var files []string
	for _, name := range names {
		if name == "-" {
			files = append(files, name)
			continue
		}
		info, err := os.Stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("there is no file or folder %s: check the path given with -f", name)
		}
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			files = append(files, name)
			continue
		}
		var found []string
		err = filepath.WalkDir(name, func(path string, d fs.DirEntry, err error) error {
			if ext := filepath.Ext(path); err == nil && !d.IsDir() && (ext == ".yaml" || ext == ".yml") {
				found = append(found, path)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("folder %s holds no .yaml file: check the path given with -f", name)
		}
		sort.Strings(found)
		files = append(files, found...)
	}
	var sources []*weirv1.DocumentSource
	for _, file := range files {
		name := file
		var data []byte
		var err error
		if file == "-" {
			name = stdinName
			data, err = io.ReadAll(in)
		} else {
			data, err = os.ReadFile(file)
		}
		if err != nil {
			return nil, err
		}
		if len(data) == 0 {
			return nil, fmt.Errorf("%s is empty: a document begins with its kind, such as kind: Tenant", name)
		}
		if !utf8.Valid(data) {
			return nil, fmt.Errorf("%s is not UTF-8: convert it first", name)
		}
		content, err := withWordLists(string(data), filepath.Dir(file))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		sources = append(sources, &weirv1.DocumentSource{Name: name, Content: content})
	}
	return sources, nil
}
