package admin

import (
	"fmt"
	"maps"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/price"
	"github.com/weir-gateway/weir/policy"
)

// priceTable is what a price or a tier of it says of units.
type priceTable struct {
	PerMillion map[string]text `yaml:"per_million"`
	PerUnit    map[string]text `yaml:"per_unit"`
}

// read gives the prices of one unit. On failure it names the field.
func (d priceTable) read() (table map[accounting.Meter]accounting.Pico, field string, err error) {
	table = map[accounting.Meter]accounting.Pico{}
	for _, group := range []struct {
		field  string
		prices map[string]text
		read   func(string) (accounting.Pico, error)
	}{
		{"per_million", d.PerMillion, accounting.ParsePerMillion},
		{"per_unit", d.PerUnit, accounting.ParsePerUnit},
	} {
		for name, amount := range group.prices {
			meter, err := accounting.ParseMeter(name)
			if err != nil {
				return nil, group.field, err
			}
			if _, twice := table[meter]; twice {
				return nil, group.field, fmt.Errorf("%s is priced twice: keep one of per_million and per_unit", name)
			}
			if table[meter], err = group.read(string(amount)); err != nil {
				return nil, group.field, fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return table, "", nil
}

type priceTier struct {
	Above      int64           `yaml:"above"`
	PerMillion map[string]text `yaml:"per_million"`
	PerUnit    map[string]text `yaml:"per_unit"`
}

func readTiers(list []priceTier) (tiers []price.Tier, err error) {
	for _, t := range list {
		table, _, err := (priceTable{t.PerMillion, t.PerUnit}).read()
		if err != nil {
			return nil, fmt.Errorf("above %d: %w", t.Above, err)
		}
		tiers = append(tiers, price.Tier{Above: t.Above, PerUnit: table})
	}
	return tiers, nil
}

func parsePrice(n *yaml.Node) (price.Price, error) {
	var d struct {
		Kind       string          `yaml:"kind"`
		Model      string          `yaml:"model"`
		Backend    string          `yaml:"backend"`
		Provider   string          `yaml:"provider"`
		Currency   string          `yaml:"currency"`
		Effective  text            `yaml:"effective"`
		PerMillion map[string]text `yaml:"per_million"`
		PerUnit    map[string]text `yaml:"per_unit"`
		Tiers      []priceTier     `yaml:"tiers"`
		TierMode   price.TierMode  `yaml:"tier_mode"`
		Classes    map[string]struct {
			PerMillion map[string]text `yaml:"per_million"`
			PerUnit    map[string]text `yaml:"per_unit"`
			Tiers      []priceTier     `yaml:"tiers"`
		} `yaml:"classes"`
		AnyClass bool `yaml:"any_class"`
	}
	if err := policy.Decode(n, &d); err != nil {
		return price.Price{}, err
	}
	p := price.Price{Model: d.Model, Backend: d.Backend, Provider: d.Provider, Currency: d.Currency}
	if d.Model == "" {
		return p, problem(n, "model", "missing: name the model that the price is for")
	}
	if err := accounting.CheckCurrency(d.Currency); err != nil {
		return p, problem(n, "currency", err.Error())
	}
	var err error
	if p.Effective, err = parseTime(string(d.Effective)); err != nil {
		return p, problem(n, "effective", err.Error())
	}
	var field string
	if p.PerUnit, field, err = (priceTable{d.PerMillion, d.PerUnit}).read(); err != nil {
		return p, problem(n, field, err.Error())
	}
	if len(p.PerUnit) == 0 {
		return p, problem(n, "per_million", "missing: give at least one price, such as {input: 0.50, output: 1.50}; a free model has prices of 0")
	}
	if p.Tiers, err = readTiers(d.Tiers); err != nil {
		return p, problem(n, "tiers", err.Error())
	}
	p.TierMode, p.AnyClass = d.TierMode, d.AnyClass
	if d.Backend != "" && d.Provider != "" {
		return p, problem(n, "provider", p.Validate().Error())
	}
	if err := p.Validate(); err != nil {
		return p, problem(n, "tiers", err.Error())
	}
	for _, name := range slices.Sorted(maps.Keys(d.Classes)) {
		class, err := accounting.ParsePricedClass(name)
		if err != nil {
			return p, problem(n, "classes", err.Error())
		}
		var rates price.Rates
		if rates.PerUnit, field, err = (priceTable{d.Classes[name].PerMillion, d.Classes[name].PerUnit}).read(); err != nil {
			return p, problem(n, "classes", fmt.Sprintf("%s: %s: %v", name, field, err))
		}
		if rates.Tiers, err = readTiers(d.Classes[name].Tiers); err != nil {
			return p, problem(n, "classes", fmt.Sprintf("%s: %v", name, err))
		}
		if p.Classes == nil {
			p.Classes = map[accounting.ServiceClass]price.Rates{}
		}
		p.Classes[class] = rates
	}
	if err := p.Validate(); err != nil {
		return p, problem(n, "classes", err.Error())
	}
	p.Version = p.ID()
	return p, nil
}
