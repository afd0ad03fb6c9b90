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
	"math"
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
	// Tiers are what calls with a long input cost instead, the shortest first, and
	// TierMode how much of such a call they are for.
	Tiers    []Tier
	TierMode TierMode
	// Classes are what the other classes of service cost: PerUnit and Tiers are the
	// standard one's. AnyClass has them hold for all that Classes does not name too.
	Classes  map[accounting.ServiceClass]Rates
	AnyClass bool
	// Version pins the price in the ledger. New sets it where it is empty:
	// m1@2026-01-01, or m1@local@2026-01-01 for one backend's, or
	// m1@provider:openai@2026-01-01 for one provider's.
	Version string
}

// A TierMode says how much of a call with a long input costs what a tier does.
type TierMode string

// The modes. Whole is every unit, of the output too, and the zero mode is it.
// Marginal is of the input only the tokens that are above, where those from a
// cache come first, as a prompt's beginning is what a cache has, then those
// written to it; what is no input costs what the tier does that the whole input
// has reached, since it is made over all of it.
const (
	TierWhole    TierMode = "whole"
	TierMarginal TierMode = "marginal"
)

// A Tier is what a call costs where its input is long.
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
	if err := checkTables(p.PerUnit, p.Tiers); err != nil {
		return fmt.Errorf("price of model %q: %w", p.Model, err)
	}
	switch {
	case p.TierMode != "" && p.TierMode != TierWhole && p.TierMode != TierMarginal:
		return fmt.Errorf("price of model %q: tiers are %q or %q, and not %q", p.Model, TierWhole, TierMarginal, p.TierMode)
	case p.TierMode != "" && len(p.Tiers) == 0:
		return fmt.Errorf("price of model %q says how tiers count and has none: add tiers, or leave it out", p.Model)
	}
	for _, c := range slices.Sorted(maps.Keys(p.Classes)) {
		if err := p.checkClass(c); err != nil {
			return fmt.Errorf("price of model %q, class %s: %w", p.Model, c, err)
		}
	}
	return nil
}

// checkTables tells what is wrong with the prices of units and the tiers above
// them.
func checkTables(perUnit map[accounting.Meter]accounting.Pico, tiers []Tier) error {
	for _, m := range meters {
		if n := perUnit[m]; n < 0 {
			return fmt.Errorf("%s is negative: %s", m, n.Decimal())
		}
	}
	for m := range perUnit {
		if !slices.Contains(meters, m) {
			return fmt.Errorf("it names an unknown meter: %s", m)
		}
	}
	below := Tier{PerUnit: perUnit}
	for _, t := range tiers {
		if err := t.check(below); err != nil {
			return fmt.Errorf("above %d input tokens: %w", t.Above, err)
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

// Rate returns what a usage costs, exactly, in the standard class of service: one
// item for each meter of which something was used, in the order of the meters,
// and their sum. Where tiers are marginal there is one for each tier in which some
// of a meter stands. It fails with accounting.ErrOverflow, where a quantity is
// negative, and where a meter that was used has no price.
func (p *Price) Rate(u accounting.Usage) (accounting.Cost, error) {
	used := 0
	for _, m := range meters {
		if n, _ := u.Get(m); n != 0 {
			used++
		}
	}
	r := rating{price: p, total: accounting.Money{Currency: p.Currency}}
	if used > 0 {
		r.items = make([]accounting.Item, 0, used)
	}
	perUnit := p.perUnit(u)
	for _, m := range meters {
		n, _ := u.Get(m)
		if n == 0 {
			continue
		}
		var err error
		if before, input := standsBehind(u, m); input && p.TierMode == TierMarginal {
			err = r.addByTier(m, before, n)
		} else {
			err = r.add(m, n, perUnit)
		}
		if err != nil {
			return accounting.Cost{}, err
		}
	}
	return accounting.Cost{ProviderCost: r.total, Charge: r.total, Items: r.items, PriceVersion: p.Version}, nil
}

// A rating adds up items.
type rating struct {
	price *Price
	items []accounting.Item
	total accounting.Money
}

func (r *rating) add(m accounting.Meter, n int64, perUnit map[accounting.Meter]accounting.Pico) error {
	p := r.price
	unit, ok := of(perUnit, m)
	if !ok {
		return fmt.Errorf("price %s has no price for meter %s: add one, 0 if it is free", p.Version, m)
	}
	nanos, err := unit.Times(n)
	if err != nil {
		return fmt.Errorf("%d of meter %s at price %s: %w", n, m, p.Version, err)
	}
	amount := accounting.Money{Currency: p.Currency, Nanos: nanos}
	if r.total, err = r.total.Add(amount); err != nil {
		return fmt.Errorf("total at price %s: %w", p.Version, err)
	}
	r.items = append(r.items, accounting.Item{Meter: m, Quantity: n, Price: unit, Amount: amount})
	return nil
}

// addByTier adds n units that stand behind others, each as the tier has it in
// which it stands.
func (r *rating) addByTier(m accounting.Meter, before, n int64) error {
	const most = math.MaxInt64 / 8 // so that no sum of the four input meters overflows
	if n < 0 || n > most || before < 0 || before > 3*most {
		return fmt.Errorf("%d of meter %s behind %d others: %w", n, m, before, accounting.ErrOverflow)
	}
	below := Tier{PerUnit: r.price.PerUnit}
	for i := 0; n > 0; i++ {
		part := n
		if i < len(r.price.Tiers) {
			part = min(n, max(0, r.price.Tiers[i].Above-before))
		}
		if part > 0 {
			if err := r.add(m, part, below.PerUnit); err != nil {
				return err
			}
		}
		before, n = before+part, n-part
		if n > 0 {
			below = r.price.Tiers[i]
		}
	}
	return nil
}

// standsBehind counts the input tokens before those of a meter, in the order of a
// prompt whose beginning is in a cache. It returns false where the meter is not
// one of input.
func standsBehind(u accounting.Usage, of accounting.Meter) (before int64, input bool) {
	for _, m := range [...]accounting.Meter{accounting.CacheRead, accounting.CacheWrite5m, accounting.CacheWrite1h, accounting.Input} {
		if m == of {
			return before, true
		}
		n, _ := u.Get(m)
		before += n
	}
	return 0, false
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
		own := Rates{p.PerUnit, p.Tiers}.clone()
		p.PerUnit, p.Tiers = own.PerUnit, own.Tiers
		p.Classes = maps.Clone(p.Classes)
		for c, rates := range p.Classes {
			p.Classes[c] = rates.clone()
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
