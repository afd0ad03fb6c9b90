package ledger

import (
	"errors"

	"github.com/weir-gateway/weir/accounting"
)

// unpriced has an error for want of a price say that it is the class which lacks
// one, where it is.
func (h *Hold) unpriced(err error) error {
	if e := (*UnpricedError)(nil); h.price != nil && h.open.cost == nil && errors.As(err, &e) {
		e.Class = h.open.attempt.AskedClass
	}
	return err
}

// rate returns what a usage costs in the class of service that has served. It
// returns false where the price does not say so: absent is not zero, and neither
// is it the standard price.
func (h *Hold) rate(r Result) (cost accounting.Cost, known bool, err error) {
	if r.ServedClass != "" {
		of, known := h.price.Of(r.ServedClass)
		if !known {
			return cost, false, nil
		}
		cost, err = of.Rate(r.Usage)
		return cost, true, err
	}
	// The backend does not say it.
	switch asked := h.open.attempt.AskedClass; {
	case r.Source == accounting.SourceReservation && h.open.cost != nil:
		return *h.open.cost, true, nil // it stands as it was held
	case asked == "":
		cost, err = h.price.Rate(r.Usage)
		return cost, true, err
	default:
		return h.price.RateMost(r.Usage, asked)
	}
}

// charged is what budgets and bounds count of a line. Where a price is known and
// not for the class that served, that is all that was held: less could be had for
// nothing by asking for what has no price.
func (h *Hold) charged(line *accounting.Line) *accounting.Cost {
	if line.Cost == nil {
		return h.open.cost
	}
	return line.Cost
}
