package price

import (
	_ "embed"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weir-gateway/weir/accounting"
)

// default.csv says in its head where its numbers are from and of which day.
// `make prices` makes it anew.
//
//go:embed default.csv
var defaultCSV string

// Defaults are the prices of well-known models of providers, which are part of
// the program: they hold where no document prices a model of a backend that is
// known to be the provider's. Their versions name the day of the files that they
// are from: default/2026-08-01/openai/gpt-4o.
func Defaults() ([]Price, error) { return readDefaults(defaultCSV) }

// DefaultColumns are those of the default catalogue behind provider, model and
// above, which is 0 but for tiers; prices are in USD for a million.
var DefaultColumns = []accounting.Meter{
	accounting.Input, accounting.CacheRead, accounting.CacheWrite5m, accounting.CacheWrite1h, accounting.Output, accounting.Reasoning,
}

func readDefaults(text string) ([]Price, error) {
	first, _, _ := strings.Cut(text, "\n")
	day, err := time.Parse("# As of "+time.DateOnly, first)
	if err != nil {
		return nil, fmt.Errorf("the default prices do not say of which day they are: %w", err)
	}
	in := csv.NewReader(strings.NewReader(text))
	in.Comment, in.FieldsPerRecord = '#', 3+len(DefaultColumns)
	var all []Price
	for header := true; ; header = false {
		record, err := in.Read()
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("default prices: %w", err)
		}
		if header {
			continue
		}
		provider, model := record[0], record[1]
		above, err := strconv.ParseInt(record[2], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("default price of %s: above: %w", model, err)
		}
		table := map[accounting.Meter]accounting.Pico{}
		for i, m := range DefaultColumns {
			if record[3+i] == "" {
				continue
			}
			if table[m], err = accounting.ParsePerMillion(record[3+i]); err != nil {
				return nil, fmt.Errorf("default price of %s: %s: %w", model, m, err)
			}
		}
		if above > 0 {
			last := len(all) - 1
			if last < 0 || all[last].Model != model || all[last].Provider != provider {
				return nil, fmt.Errorf("default price of %s: a tier stands without what it is above", model)
			}
			all[last].Tiers = append(slices.Clip(all[last].Tiers), Tier{above, table})
			continue
		}
		all = append(all, Price{
			Model: model, Provider: provider, Default: true, Currency: "USD", Effective: day, PerUnit: table,
			Version: "default/" + day.Format(time.DateOnly) + "/" + provider + "/" + model,
		})
	}
}
