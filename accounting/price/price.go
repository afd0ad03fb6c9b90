// Package price is the catalogue of what models cost: effective-dated prices,
// found by target and time, and their exact rating of a usage. It knows no
// budgets, no discounts and no exchange rates: a cost is in the currency of its
// price, and nothing is ever converted.
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
// same model and backend takes over. It must not be changed once it is in a
// Catalogue.
type Price struct {
	// Model is the name of the model, the backend's or the one callers use.
	Model string
	// Backend restricts the price to one backend; empty for any.
	Backend string
	// Currency is the ISO 4217 code.
	Currency string
	// Effective is from when on the price holds; the zero time for ever.
	Effective time.Time
	// PerUnit is the price of one token, one request, one of whatever the
	// meter counts.
	PerUnit map[accounting.Meter]accounting.Pico
	// Version pins the price in the ledger. New sets it where it is empty:
	// m1@2026-01-01, or m1@local@2026-01-01 for one backend's.
	Version string
}

// Validate tells what is wrong with a price.
func (p *Price) Validate() error {
	if p.Model == "" {
		return errors.New("a price has no model: say which model it is for")
	}
	if err := accounting.CheckCurrency(p.Currency); err != nil {
		return fmt.Errorf("price of model %q: %w", p.Model, err)
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
	return nil
}

// ID is the version of a price that sets none. It is stable: it follows from what the price is for and from when on.
func (p *Price) ID() string {
	at := p.Effective.UTC()
	day := at.Format(time.DateOnly)
	if !at.Equal(at.Truncate(24 * time.Hour)) {
		day = at.Format(time.RFC3339Nano)
	}
	if p.Backend == "" {
		return p.Model + "@" + day
	}
	return p.Model + "@" + p.Backend + "@" + day
}

var meters = accounting.Meters()

// of is the price of one unit of a meter, its own or its kin's.
func (p *Price) of(m accounting.Meter) (accounting.Pico, bool) {
	if n, ok := p.PerUnit[m]; ok {
		return n, true
	}
	switch m {
	case accounting.CacheRead, accounting.CacheWrite5m, accounting.CacheWrite1h:
		n, ok := p.PerUnit[accounting.Input]
		return n, ok
	case accounting.Reasoning:
		n, ok := p.PerUnit[accounting.Output]
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
	for _, m := range meters {
		n, _ := u.Get(m)
		if n == 0 {
			continue
		}
		unit, ok := p.of(m)
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
}

type target struct{ model, backend string }

// New makes a catalogue of prices. It fails where a price is wrong, or where
// two are for the same model, backend and moment.
func New(prices []Price) (*Catalogue, error) {
	c := &Catalogue{prices: make(map[target][]*Price)}
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
		p.PerUnit = maps.Clone(p.PerUnit)
		t := target{p.Model, p.Backend}
		c.prices[t] = append(c.prices[t], &p)
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

// Find returns the price of a target at a time: the backend's own name of the
// model goes before the name that callers use, a price for the backend goes
// before one for any, and of those the newest that is effective by then is
// taken. It returns false where nobody knows the price.
func (c *Catalogue) Find(backend, backendModel, model string, at time.Time) (*Price, bool) {
	if c == nil {
		return nil, false
	}
	for _, t := range [...]target{{backendModel, backend}, {backendModel, ""}, {model, backend}, {model, ""}} {
		for _, p := range c.prices[t] {
			if !p.Effective.After(at) {
				return p, true
			}
		}
	}
	return nil, false
}
