package main

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"strings"
)

// listOutput is how a command prints a list; every command that lists embeds it.
type listOutput struct {
	Output string `short:"o" enum:"table,json,csv" default:"table" help:"table, json or csv."`
}

// list is what such a command prints.
type list struct {
	// header has the names of the columns, as they stand in CSV.
	header []string
	rows   [][]string
	json   any
	// empty is what a person is told where there are no rows.
	empty string
}

func (o listOutput) print(t terminal, l list) error {
	switch o.Output {
	case "json":
		return printJSON(t.out, l.json)
	case "csv":
		out := csv.NewWriter(t.out)
		_ = out.Write(l.header) // Error has it
		_ = out.WriteAll(l.rows)
		return out.Error()
	}
	if len(l.rows) == 0 {
		_, err := fmt.Fprintln(t.out, l.empty)
		return err
	}
	return printTable(t, l.header, l.rows)
}

// printTable prints columns, under a heading that is bold on a terminal.
func printTable(t terminal, header []string, rows [][]string) error {
	var text bytes.Buffer
	heading := make([]string, len(header))
	for i, name := range header {
		heading[i] = strings.ToUpper(strings.ReplaceAll(name, "_", " "))
	}
	if err := columns(&text, append([][]string{heading}, rows...)); err != nil {
		return err
	}
	if t.colours() {
		first, rest, _ := strings.Cut(text.String(), "\n")
		_, err := fmt.Fprintf(t.out, "\x1b[1m%s\x1b[0m\n%s", first, rest)
		return err
	}
	_, err := io.Copy(t.out, &text)
	return err
}

// colours tells whether the output is a terminal that shows them, and nobody has
// said not to, as https://no-color.org has it.
func (t terminal) colours() bool {
	if value, _ := t.getenv("NO_COLOR"); value != "" {
		return false
	}
	if kind, _ := t.getenv("TERM"); kind == "dumb" {
		return false
	}
	file, ok := t.out.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// everyPage calls fetch with the token of each page in turn, the empty one first,
// until there is no next.
func everyPage(fetch func(token string) (next string, err error)) error {
	for token := ""; ; {
		next, err := fetch(token)
		if err != nil {
			return told(err)
		}
		if token = next; token == "" {
			return nil
		}
	}
}
