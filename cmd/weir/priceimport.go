package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/weir-gateway/weir/accounting/price/feed"
)

type priceImportCommand struct {
	File      string   `arg:"" help:"File as LiteLLM, genai-prices or models.dev publish it; - is standard input."`
	Against   []string `help:"Another such file: what it has at other prices is refused where no file agrees; may be given more than once." placeholder:"FILE"`
	Provider  []string `help:"Only models of this provider; may be given more than once." placeholder:"NAME"`
	Model     []string `short:"m" help:"Only models of this name, or pattern such as \"gpt-5*\"; may be given more than once." placeholder:"NAME"`
	Backend   string   `help:"Write prices for this backend, and not for those of the provider." placeholder:"NAME"`
	Effective string   `help:"Day from which on the prices hold; today where it is absent." placeholder:"YYYY-MM-DD"`
	Output    string   `short:"o" enum:"yaml,table,json,csv" default:"yaml" help:"yaml (documents; what was refused goes to standard error), or table, json or csv of everything."`
}

// importResult is what became of a row.
type importResult struct {
	Name      string   `json:"name"`
	Provider  string   `json:"provider"`
	Model     string   `json:"model"`
	Verdict   string   `json:"verdict"` // passed or refused
	Sources   string   `json:"sources"`
	Why       []string `json:"why,omitempty"`
	Notes     []string `json:"notes,omitempty"`
	NotStated []string `json:"not_in_a_price,omitempty"`

	row feed.Row
}

func (c *priceImportCommand) Run(t terminal) error {
	now := time.Now().UTC().Truncate(24 * time.Hour)
	effective := now
	if c.Effective != "" {
		var err error
		if effective, err = time.Parse(time.DateOnly, c.Effective); err != nil {
			return usageError(fmt.Errorf("--effective %q is not a day: write it as 2026-01-01", c.Effective))
		}
	}
	rows, err := readPrices(t, c.File, effective)
	if err != nil {
		return usageError(err)
	}
	var others []*feed.Source
	for _, file := range c.Against {
		read, err := readPrices(t, file, effective)
		if err != nil {
			return usageError(err)
		}
		others = append(others, feed.NewSource(filepath.Base(file), read))
	}
	results := []importResult{}
	refused := 0
	for _, r := range rows {
		if ok, err := c.wants(r); err != nil {
			return usageError(err)
		} else if !ok {
			continue
		}
		result := judge(r, others)
		if result.Verdict == "refused" {
			refused++
		}
		results = append(results, result)
	}
	if len(results) == 0 {
		return usageError(errors.New("the file has no such model: see its names with -o table and without --provider and --model"))
	}
	if err := c.print(t, results, effective); err != nil {
		return err
	}
	if refused > 0 {
		return &codedError{exitWarned, fmt.Errorf("%d of %d rows are refused: see why above, and write those that you need by hand", refused, len(results))}
	}
	return nil
}

func readPrices(t terminal, file string, day time.Time) ([]feed.Row, error) {
	in := t.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("cannot read the price file: %w", err)
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(in)
	if err != nil {
		return nil, fmt.Errorf("cannot read the price file %s: %w", file, err)
	}
	rows, err := feed.Read(data, day)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return rows, nil
}

func (c *priceImportCommand) wants(r feed.Row) (bool, error) {
	if len(c.Provider) > 0 && !slices.Contains(c.Provider, r.Provider) {
		return false, nil
	}
	for _, pattern := range c.Model {
		if r.Name == pattern || r.Model == pattern {
			return true, nil
		}
		matches, err := path.Match(pattern, r.Model)
		if err != nil {
			return false, fmt.Errorf("--model %q is no pattern: write it as \"gpt-5*\"", pattern)
		}
		if matches {
			return true, nil
		}
	}
	return len(c.Model) == 0, nil
}

func judge(r feed.Row, others []*feed.Source) importResult {
	result := importResult{Name: r.Name, Provider: r.Provider, Model: r.Model, Verdict: "passed", Why: r.Refused, NotStated: r.Unsaid, row: r}
	result.Notes = slices.Clone(r.Notes)
	if len(r.Refused) > 0 {
		result.Verdict = "refused"
		return result
	}
	if len(others) == 0 {
		return result
	}
	a := feed.Compare(r, others)
	result.Sources = a.String()
	for _, d := range a.Differences {
		if a.Differs() {
			result.Verdict = "refused"
			result.Why = append(result.Why, d.String())
		} else {
			result.Notes = append(result.Notes, d.String())
		}
	}
	if a.Changes != "" {
		result.Notes = append(result.Notes, "another file has another price from "+a.Changes+" on")
	}
	return result
}

func (c *priceImportCommand) print(t terminal, results []importResult, effective time.Time) error {
	header := []string{"verdict", "provider", "model", "sources", "why", "notes", "not_in_a_price"}
	var all, refused [][]string
	for _, r := range results {
		row := []string{r.Verdict, r.Provider, r.Model, r.Sources, strings.Join(r.Why, "; "), strings.Join(r.Notes, "; "), strings.Join(r.NotStated, ", ")}
		all = append(all, row)
		if r.Verdict == "refused" {
			refused = append(refused, []string{r.Provider, r.Model, row[4]})
			continue
		}
		if c.Output == "yaml" {
			r.row.Notes = r.Notes
			if r.Sources != "" {
				r.row.Notes = append([]string{r.Sources}, r.Notes...)
			}
			if _, err := io.WriteString(t.out, r.row.Document(effective, c.Backend)); err != nil {
				return err
			}
		}
	}
	if c.Output != "yaml" {
		return listOutput{c.Output}.print(t, list{header: header, rows: all, json: struct {
			Rows []importResult `json:"rows"`
		}{results}})
	}
	if len(refused) == 0 {
		return nil
	}
	toErr := t
	toErr.out = t.err
	return printTable(toErr, []string{"refused", "model", "why"}, refused)
}
