package ledger

import (
	"errors"
	"sync"

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
			h.ledger.tellUnpriced(h.price.Version, r.ServedClass)
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
// not for the class that served, that is all that was held, and no less than what
// was used would cost in the dearest class: else there would be a class in which
// calls are free.
func (h *Hold) charged(line *accounting.Line) *accounting.Cost {
	if line.Cost != nil || h.price == nil || h.open.cost == nil {
		return line.Cost
	}
	most, known, err := h.price.RateMost(line.Usage, "")
	if err == nil && known && most.Charge.Nanos > h.open.cost.Charge.Nanos {
		return &most
	}
	return h.open.cost
}

// unpricedClasses are those that were told of, by the version of the price.
type unpricedClasses struct {
	mu   sync.Mutex
	told map[string]bool
}

// tellUnpriced says once that a class of service serves which a price does not
// name.
func (l *Ledger) tellUnpriced(version string, class accounting.ServiceClass) {
	u := &l.unpriced
	u.mu.Lock()
	defer u.mu.Unlock()
	if key := version + "\x00" + string(class); !u.told[key] {
		if u.told == nil {
			u.told = map[string]bool{}
		}
		u.told[key] = true
		l.Log.Warn("a class of service has served for which the price says nothing; such calls have no cost, and budgets count what was held for them", "price", version, "class", class)
	}
}
