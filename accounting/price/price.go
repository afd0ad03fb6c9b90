// Package price is the catalogue of what models cost: effective-dated prices,
// found by target and time, their exact rating of a usage, and the rates at
// which a cost in one currency counts in a budget of another. It knows no
// budgets and no discounts, and a cost stays in the currency of its price.
//
// A meter that a price does not name is rated at its kin's, because that is
// the dearer guess that a provider without cache or reasoning prices bills by:
// cache_read and cache_write_* at input, reasoning at output. Requests that no
// price names are free. Any other unnamed meter is unknown, which is an error
// where something of it was used: absent is not zero.
package price

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/weir-gateway/weir/accounting"
)

// A Price is what one model costs from a moment on, until a later Price of the
// same model and backend or provider takes over. It must not be changed once it
// is in a Catalogue.
type Price struct {
	// Model is the name of the model, the backend's or the one callers use.
	Model string
	// Backend restricts the price to one backend, and Provider to those that are
	// some provider's; both empty for any. Only one of them may be set.
	Backend, Provider string
	// Default prices hold only where no other one does, and only by the backend's
	// name of the model.
	Default bool
	// Currency is the ISO 4217 code.
	Currency string
	// Effective is from when on the price holds; the zero time for ever.
	Effective time.Time
	// PerUnit is the price of one token, one request, one of whatever the
	// meter counts.
	PerUnit map[accounting.Meter]accounting.Pico
	// Tiers are what calls with a long input cost instead, the shortest first.
	Tiers []Tier
	// Version pins the price in the ledger. New sets it where it is empty:
	// m1@2026-01-01, or m1@local@2026-01-01 for one backend's, or
	// m1@provider:openai@2026-01-01 for one provider's.
	Version string
}

// A Tier is what the whole of a call costs where its input is long: every unit,
// of the output too, and not only the tokens that are above.
type Tier struct {
	// Above is how many input tokens of all kinds the call has at the most where
	// the tier does not hold yet.
	Above   int64
	PerUnit map[accounting.Meter]accounting.Pico
}

// Validate tells what is wrong with a price.
func (p *Price) Validate() error {
	if p.Model == "" {
		return errors.New("a price has no model: say which model it is for")
	}
	if err := accounting.CheckCurrency(p.Currency); err != nil {
		return fmt.Errorf("price of model %q: %w", p.Model, err)
	}
	if p.Backend != "" && p.Provider != "" {
		return fmt.Errorf("price of model %q names a backend and a provider: keep one of them", p.Model)
	}
	if p.Default && p.Provider == "" {
		return fmt.Errorf("default price of model %q names no provider: it would hold for everybody's servers", p.Model)
	}
	if len(p.PerUnit) == 0 {
		return fmt.Errorf("price of model %q names no meter: give at least input, 0 if it is free", p.Model)
	}
	for _, m := range meters {
		if n := p.PerUnit[m]; n < 0 {
			return fmt.Errorf("price of model %q: %s is negative: %s", p.Model, m, n.Decimal())
		}
	}
	for m := range p.PerUnit {
		if !slices.Contains(meters, m) {
			return fmt.Errorf("price of model %q names an unknown meter: %s", p.Model, m)
		}
	}
	below := Tier{PerUnit: p.PerUnit}
	for _, t := range p.Tiers {
		if err := t.check(below); err != nil {
			return fmt.Errorf("price of model %q above %d input tokens: %w", p.Model, t.Above, err)
		}
		below = t
	}
	return nil
}

// check tells what is wrong with a tier beside the one below it. None may be
// cheaper: what is held for the longest input that a prompt can be would not be
// enough for a shorter one.
func (t Tier) check(below Tier) error {
	if t.Above <= below.Above {
		return errors.New("tiers begin above 0, each above the one before")
	}
	for _, m := range meters {
		n, ok := t.PerUnit[m]
		before, named := below.PerUnit[m]
		switch {
		case ok != named:
			return fmt.Errorf("%s is named by one tier and not by the other: name the same meters in all", m)
		case n < before:
			return fmt.Errorf("%s is cheaper than below: %s", m, n.Decimal())
		}
	}
	if len(t.PerUnit) != len(below.PerUnit) {
		return errors.New("it names an unknown meter")
	}
	return nil
}

// ID is the version of a price that sets none. It is stable: it follows from what the price is for and from when on.
func (p *Price) ID() string {
	day := dayOf(p.Effective)
	switch {
	case p.Backend != "":
		return p.Model + "@" + p.Backend + "@" + day
	case p.Provider != "":
		return p.Model + "@provider:" + p.Provider + "@" + day
	}
	return p.Model + "@" + day
}

var meters = accounting.Meters()

// perUnit is what a call with so much input is rated at.
func (p *Price) perUnit(u accounting.Usage) map[accounting.Meter]accounting.Pico {
	if len(p.Tiers) == 0 {
		return p.PerUnit
	}
	input, _ := u.InputTokens()
	for _, t := range slices.Backward(p.Tiers) {
		if input > t.Above {
			return t.PerUnit
		}
	}
	return p.PerUnit
}

// of is the price of one unit of a meter, its own or its kin's.
func of(perUnit map[accounting.Meter]accounting.Pico, m accounting.Meter) (accounting.Pico, bool) {
	if n, ok := perUnit[m]; ok {
		return n, true
	}
	switch m {
	case accounting.CacheRead, accounting.CacheWrite5m, accounting.CacheWrite1h:
		n, ok := perUnit[accounting.Input]
		return n, ok
	case accounting.Reasoning:
		n, ok := perUnit[accounting.Output]
		return n, ok
	case accounting.Requests:
		return 0, true
	}
	return 0, false
}

// Rate returns what a usage costs, exactly: one item for each meter of which
// something was used, in the order of the meters, and their sum. It fails with
// accounting.ErrOverflow, where a quantity is negative, and where a meter that
// was used has no price.
func (p *Price) Rate(u accounting.Usage) (accounting.Cost, error) {
	used := 0
	for _, m := range meters {
		if n, _ := u.Get(m); n != 0 {
			used++
		}
	}
	var items []accounting.Item
	if used > 0 {
		items = make([]accounting.Item, 0, used)
	}
	total := accounting.Money{Currency: p.Currency}
	perUnit := p.perUnit(u)
	for _, m := range meters {
		n, _ := u.Get(m)
		if n == 0 {
			continue
		}
		unit, ok := of(perUnit, m)
		if !ok {
			return accounting.Cost{}, fmt.Errorf("price %s has no price for meter %s: add one, 0 if it is free", p.Version, m)
		}
		nanos, err := unit.Times(n)
		if err != nil {
			return accounting.Cost{}, fmt.Errorf("%d of meter %s at price %s: %w", n, m, p.Version, err)
		}
		amount := accounting.Money{Currency: p.Currency, Nanos: nanos}
		if total, err = total.Add(amount); err != nil {
			return accounting.Cost{}, fmt.Errorf("total at price %s: %w", p.Version, err)
		}
		items = append(items, accounting.Item{Meter: m, Quantity: n, Price: unit, Amount: amount})
	}
	return accounting.Cost{ProviderCost: total, Charge: total, Items: items, PriceVersion: p.Version}, nil
}

// Catalogue is a set of prices that never changes, so it is safe to share. A
// nil Catalogue is empty.
type Catalogue struct {
	// newest first
	prices map[target][]*Price
	// models are those that have a price: of the two names of a model that a call
	// has, one is most often unknown.
	models map[string]bool
}

type target struct {
	model, backend, provider string
	byDefault                bool
}

func (p *Price) target() target { return target{p.Model, p.Backend, p.Provider, p.Default} }

// New makes a catalogue of prices. It fails where a price is wrong, or where
// two are for the same model, backend or provider, and moment.
func New(prices []Price) (*Catalogue, error) {
	c := &Catalogue{prices: make(map[target][]*Price), models: make(map[string]bool)}
	versions := make(map[string]bool, len(prices))
	for _, p := range prices {
		if err := p.Validate(); err != nil {
			return nil, err
		}
		if p.Version == "" {
			p.Version = p.ID()
		}
		if versions[p.Version] {
			return nil, fmt.Errorf("price %s is there twice: give the later one a later effective time", p.Version)
		}
		versions[p.Version] = true
		p.PerUnit, p.Tiers = maps.Clone(p.PerUnit), slices.Clone(p.Tiers)
		for i := range p.Tiers {
			p.Tiers[i].PerUnit = maps.Clone(p.Tiers[i].PerUnit)
		}
		t := p.target()
		c.prices[t] = append(c.prices[t], &p)
		c.models[p.Model] = true
	}
	for t, list := range c.prices {
		slices.SortFunc(list, func(a, b *Price) int {
			return cmp.Or(b.Effective.Compare(a.Effective), cmp.Compare(a.Version, b.Version))
		})
		for i := 1; i < len(list); i++ {
			if list[i].Effective.Equal(list[i-1].Effective) {
				return nil, fmt.Errorf("model %q has two prices that hold from the same moment, %s and %s: give the later one a later effective time", t.model, list[i].Version, list[i-1].Version)
			}
		}
	}
	return c, nil
}

// All lists the prices by version. Nobody may change them.
func (c *Catalogue) All() []*Price {
	if c == nil {
		return nil
	}
	var all []*Price
	for _, list := range c.prices {
		all = append(all, list...)
	}
	slices.SortFunc(all, func(a, b *Price) int { return cmp.Compare(a.Version, b.Version) })
	return all
}

// A Target is what a price is wanted for.
type Target struct {
	// Backend is its name, and Provider whose it is, empty where that is not
	// known.
	Backend, Provider string
	// BackendModel is the backend's name of the model, Model the one that callers
	// use.
	BackendModel, Model string
}

// Find returns the price of a target at a time: the backend's own name of the
// model goes before the name that callers use, and of one name a price for the
// backend before one for its provider before one for any, and of those the
// newest that is effective by then is taken. A default price goes behind all of
// them. Find returns false where nobody knows the price.
func (c *Catalogue) Find(of Target, at time.Time) (*Price, bool) {
	if c == nil {
		return nil, false
	}
	for _, model := range [...]string{of.BackendModel, of.Model} {
		if !c.models[model] {
			continue
		}
		if p, ok := c.newest(target{model: model, backend: of.Backend}, at); ok {
			return p, true
		}
		if of.Provider != "" {
			if p, ok := c.newest(target{model: model, provider: of.Provider}, at); ok {
				return p, true
			}
		}
		if p, ok := c.newest(target{model: model}, at); ok {
			return p, true
		}
	}
	return c.newest(target{model: of.BackendModel, provider: of.Provider, byDefault: true}, at)
}

func (c *Catalogue) newest(t target, at time.Time) (*Price, bool) {
	for _, p := range c.prices[t] {
		if !p.Effective.After(at) {
			return p, true
		}
	}
	return nil, false
}
