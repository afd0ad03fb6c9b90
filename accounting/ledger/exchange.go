package ledger

import (
	"slices"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/lease"
	"github.com/weir-gateway/weir/accounting/price"
)

// pinRates keeps the exchange rates by which the attempt is worth something in
// the currencies of what bounds it. The hold and the settle go by the same ones,
// and so does whoever reads them in the spool.
func (h *Hold) pinRates(windows []*accounting.Window, perCall []lease.Budget) {
	if h.price == nil || h.ledger.Exchange == nil {
		return
	}
	exchange := h.ledger.Exchange()
	pin := func(unit accounting.Unit) {
		to := string(unit)
		if !unit.IsMoney() || to == h.price.Currency || slices.ContainsFunc(h.open.rates, func(r price.FxRate) bool { return r.To == to }) {
			return
		}
		if r, ok := exchange.Find(h.price.Currency, to, h.open.attempt.Start); ok {
			h.open.rates = append(h.open.rates, r)
		}
	}
	for i := range windows {
		pin(windows[i].Unit)
	}
	for i := range perCall {
		pin(perCall[i].Unit)
	}
	if h.tally != nil && h.tally.MaxCost != nil {
		pin(accounting.Unit(h.tally.MaxCost.Currency))
	}
}
