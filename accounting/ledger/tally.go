package ledger

import (
	"fmt"
	"sync"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/lease"
)

// A Tally is what the attempts of one call have come to, by which the call as
// a whole is bounded: by budgets per call, and by what its caller allows. What
// an attempt holds counts until it is settled, then what it was charged. It is
// made for one call and safe for concurrent use; a nil Tally bounds each
// attempt by itself.
type Tally struct {
	// MaxCost is the most that the caller lets the call cost, nil where it sets
	// no bound.
	MaxCost *accounting.Money

	mu    sync.Mutex
	taken []worth
}

// A worth is what something comes to in one unit.
type worth struct {
	unit   accounting.Unit
	amount int64
}

// worths are what it comes to in all: requests, tokens, a currency where a price
// is known, and those into which rates convert it. The zero worth is none.
type worths struct {
	own       [3]worth
	converted []worth
}

// A BoundError says that a call may not come to as much as it may need. Nothing
// was held.
type BoundError struct {
	// Tenant and Budget name a budget per call; both are empty where the bound
	// is the call's own max_cost.
	Tenant, Budget string
	Unit           accounting.Unit
	// Limit is the most that the call may come to, Taken what its attempts before
	// have come to, and Need what this one may need.
	Limit, Taken, Need int64
}

func (e *BoundError) Error() string {
	bound := "max_cost of this call"
	if e.Budget != "" {
		bound = fmt.Sprintf("the limit of each call by budget %q of tenant %q", e.Budget, e.Tenant)
	}
	before := ""
	if e.Taken > 0 {
		before = fmt.Sprintf(", its attempts before took %s", accounting.FormatAmount(e.Unit, e.Taken))
	}
	return fmt.Sprintf("%s is %s%s, and this attempt needs up to %s: ask for less output, or send less text",
		bound, accounting.FormatAmount(e.Unit, e.Limit), before, accounting.FormatAmount(e.Unit, e.Need))
}

// A bound may be exceeded by its grace, or in shadow by anything.
type bound struct {
	BoundError
	grace  int64
	shadow bool
}

// bounds are what the hold may not exceed, with what it is worth in their
// units.
func (h *Hold) bounds(perCall []lease.Budget) ([]bound, error) {
	var list []bound
	add := func(tenant, budget string, unit accounting.Unit, limit int64) error {
		need, err := h.open.worth(budget, unit, h.open.bound, h.open.cost)
		list = append(list, bound{BoundError: BoundError{Tenant: tenant, Budget: budget, Unit: unit, Limit: limit, Need: need}})
		return err
	}
	for _, b := range perCall {
		if err := add(b.Tenant, b.Name, b.Unit, b.Limit); err != nil {
			return nil, err
		}
		last := &list[len(list)-1]
		last.shadow = b.Mode == lease.Shadow
		last.grace, _ = accounting.Percent(b.Limit, b.Grace) // at most the limit
	}
	if h.tally != nil && h.tally.MaxCost != nil {
		m := h.tally.MaxCost
		if err := add("", "", accounting.Unit(m.Currency), m.Nanos); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// take counts a hold where no bound refuses it, and returns those that it
// exceeds all the same.
func (t *Tally) take(h *Hold, bounds []bound) ([]accounting.Excess, error) {
	if t == nil {
		if len(bounds) == 0 {
			return nil, nil
		}
		t = &Tally{} // of this attempt alone
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var excesses []accounting.Excess
	for _, b := range bounds {
		b.Taken = *t.of(b.Unit)
		sum, fits := accounting.AddInt64(b.Taken, b.Need)
		if fits && sum <= b.Limit {
			continue
		}
		covered := fits && sum <= b.Limit+b.grace
		if !covered && !b.shadow {
			return nil, &b.BoundError
		}
		w := accounting.Window{Budget: b.Budget, Tenant: b.Tenant, Scope: string(lease.PerCall), Unit: b.Unit, Limit: b.Limit}
		excesses = append(excesses, accounting.Excess{Window: w, Taken: b.Taken, Amount: b.Need, Shadow: !covered})
	}
	t.add(&h.tallied, 1)
	return excesses, nil
}

// settle replaces what a hold was worth by what it was charged.
func (t *Tally) settle(h *Hold, charged worths) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.add(&h.tallied, -1)
	t.add(&charged, 1)
}

func (t *Tally) add(amounts *worths, sign int64) {
	for _, w := range amounts.own {
		if w.unit != "" {
			*t.of(w.unit) += sign * w.amount
		}
	}
	for _, w := range amounts.converted {
		*t.of(w.unit) += sign * w.amount
	}
}

// of is what was taken of a unit.
func (t *Tally) of(unit accounting.Unit) *int64 {
	for i := range t.taken {
		if w := &t.taken[i]; w.unit == unit {
			return &w.amount
		}
	}
	if t.taken == nil {
		t.taken = make([]worth, 0, len(worths{}.own))
	}
	t.taken = append(t.taken, worth{unit: unit})
	return &t.taken[len(t.taken)-1].amount
}

// worths are a use and its cost in every unit in which they can be bounded.
func (o *opening) worths(u accounting.Usage, cost *accounting.Cost) (worths, error) {
	w := worths{own: [3]worth{{accounting.UnitRequests, 1}, {accounting.UnitTokens, u.Tokens()}}}
	if cost == nil {
		return w, nil
	}
	w.own[2] = worth{accounting.Unit(cost.Charge.Currency), cost.Charge.Nanos}
	for _, r := range o.rates {
		n, err := r.Convert(cost.Charge.Nanos)
		if err != nil {
			return worths{}, err
		}
		w.converted = append(w.converted, worth{accounting.Unit(r.To), n})
	}
	return w, nil
}
