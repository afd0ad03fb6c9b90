package price

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/weir-gateway/weir/accounting"
)

// Rates are what units cost, and what they cost instead in calls with a long
// input.
type Rates struct {
	PerUnit map[accounting.Meter]accounting.Pico
	// Tiers begin where those of the price do.
	Tiers []Tier
}

func (r Rates) clone() Rates {
	r.PerUnit, r.Tiers = maps.Clone(r.PerUnit), slices.Clone(r.Tiers)
	for i := range r.Tiers {
		r.Tiers[i].PerUnit = maps.Clone(r.Tiers[i].PerUnit)
	}
	return r
}

// checkClass tells what is wrong with the rates of a class of service: what they
// leave out would be rated as something that nobody said.
func (p *Price) checkClass(c accounting.ServiceClass) error {
	if _, err := accounting.ParsePricedClass(string(c)); err != nil {
		return err
	}
	rates := p.Classes[c]
	if len(rates.Tiers) != len(p.Tiers) {
		return fmt.Errorf("it has %d tiers and the standard class %d: name the same ones", len(rates.Tiers), len(p.Tiers))
	}
	if err := sameMeters(rates.PerUnit, p.PerUnit); err != nil {
		return err
	}
	if err := checkTables(rates.PerUnit, rates.Tiers); err != nil {
		return err
	}
	for i, t := range rates.Tiers {
		if t.Above != p.Tiers[i].Above {
			return fmt.Errorf("its tiers begin above %d and those of the standard class above %d: name the same ones", t.Above, p.Tiers[i].Above)
		}
	}
	return nil
}

func sameMeters(table, as map[accounting.Meter]accounting.Pico) error {
	for _, m := range meters {
		_, named := table[m]
		if _, wanted := as[m]; named != wanted {
			return fmt.Errorf("%s is named by one of it and the standard class and not by the other: name the same meters in both", m)
		}
	}
	if len(table) != len(as) {
		return errors.New("it names an unknown meter")
	}
	return nil
}

// Of returns the price as it is in a class of service, which is p itself where
// that is the standard one, or nobody has named one. It returns false where the
// price does not say what the class costs.
func (p *Price) Of(c accounting.ServiceClass) (*Price, bool) {
	if c == "" || c == accounting.ServiceStandard {
		return p, true
	}
	rates, named := p.Classes[c]
	if !named {
		return p, p.AnyClass
	}
	of := *p
	of.PerUnit, of.Tiers = rates.PerUnit, rates.Tiers
	return &of, true
}

// RateMost returns the most that a usage can cost in a call that asks for a
// class: a provider that has no room in it serves the standard one, and where the
// choice is the provider's, any. It returns false where the price does not say
// what the class costs that is asked for, and fails where Rate does.
func (p *Price) RateMost(u accounting.Usage, asked accounting.ServiceClass) (most accounting.Cost, known bool, err error) {
	if _, known = p.Of(asked); !known {
		return most, false, nil
	}
	if most, err = p.Rate(u); err != nil {
		return most, false, err
	}
	for c := range p.Classes {
		if c != asked && asked != "" {
			continue
		}
		of, _ := p.Of(c)
		cost, err := of.Rate(u)
		if err != nil {
			return accounting.Cost{}, false, err
		}
		if cost.ProviderCost.Nanos > most.ProviderCost.Nanos {
			most = cost
		}
	}
	return most, true, nil
}
