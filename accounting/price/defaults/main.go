// Command defaults makes accounting/price/default.csv, the prices of well-known
// models that are part of the program, from public files of prices. A model is
// in it where the first file's row passes the lint, at least one other file
// agrees, and none says that the price changes later.
package main

import (
	"encoding/csv"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/price"
	"github.com/weir-gateway/weir/accounting/price/feed"
)

// known are the providers whose models are in the catalogue. Those are left out
// whose calls are priced by more than tokens of text, and models that are one
// customer's.
var (
	known = []string{"alibaba", "anthropic", "cohere", "deepseek", "google", "groq", "minimax", "mistral", "moonshot", "openai", "xai", "zai"}
	other = regexp.MustCompile(`^ft:|audio|-live|omni|tts|search|deep-research|image|robotics|computer-use`)
)

func main() {
	day := flag.String("day", "", "day of the first file, as 2026-08-01")
	out := flag.String("o", "", "file to write")
	flag.Parse()
	if err := run(*day, *out, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "defaults:", err)
		os.Exit(1)
	}
}

func run(day, out string, files []string) error {
	if out == "" || len(files) < 2 {
		return fmt.Errorf("usage: defaults -day YYYY-MM-DD -o OUT.csv FILE OTHER [OTHER]")
	}
	asOf, err := time.Parse(time.DateOnly, day)
	if err != nil {
		return err
	}
	var rows []feed.Row
	var others []*feed.Source
	var names []string
	for i, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		read, err := feed.Read(data, asOf)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		names = append(names, filepath.Base(file))
		if i == 0 {
			rows = read
		} else {
			others = append(others, feed.NewSource(filepath.Base(file), read))
		}
	}
	var text strings.Builder
	fmt.Fprintf(&text, "# As of %s\n# USD for a million tokens, as %s has them and one of %s agrees. Made by make prices.\n", day, names[0], strings.Join(names[1:], ", "))
	text.WriteString("# Numbers from LiteLLM (MIT, (c) 2023 Berri AI), checked against genai-prices (MIT, (c) Pydantic Services Inc.)\n# and models.dev (MIT, (c) 2025 models.dev).\n")
	if err := write(&text, rows, others); err != nil {
		return err
	}
	return os.WriteFile(out, []byte(text.String()), 0o644)
}

func write(to io.Writer, rows []feed.Row, others []*feed.Source) error {
	table := csv.NewWriter(to)
	header := []string{"provider", "model", "above"}
	for _, m := range price.DefaultColumns {
		header = append(header, m.String())
	}
	records := [][]string{header}
	for _, r := range rows {
		if len(r.Refused) > 0 || !slices.Contains(known, r.Provider) || other.MatchString(r.Model) {
			continue
		}
		if a := feed.Compare(r, others); len(a.Agree) == 0 || a.Changes != "" {
			continue
		}
		records = append(records, record(r, 0, r.PerUnit))
		for _, t := range r.Tiers {
			records = append(records, record(r, t.Above, t.PerUnit))
		}
	}
	return table.WriteAll(records)
}

func record(r feed.Row, above int64, table map[accounting.Meter]accounting.Pico) []string {
	out := []string{r.Provider, r.Model, strconv.FormatInt(above, 10)}
	for _, m := range price.DefaultColumns {
		text := ""
		if n, ok := table[m]; ok {
			text = feed.PerMillion(n)
		}
		out = append(out, text)
	}
	return out
}
