package ledger

import (
	"context"

	"github.com/weir-gateway/weir/accounting"
)

// How much output a hold that begins small covers at first, and how much more it
// asks for at once: a quarter of what it has, so that a long answer asks rarely
// and no answer keeps much that it does not need.
const (
	firstOutput = 64
	growthShare = 4
)

// reduce makes claims of what the beginning of the answer is worth, in the
// windows of budgets that cut. In the others the whole stays claimed.
func (h *Hold) reduce(claims []accounting.Claim) error {
	bound := h.open.bound
	bound.Set(accounting.Output, firstOutput)
	if err := h.limit(bound); err != nil {
		return err
	}
	for i := range claims {
		if w := &claims[i].Window; w.Cut {
			amount, err := h.open.worth(w.Budget, w.Unit, h.open.bound, h.open.cost)
			if err != nil {
				return err
			}
			claims[i].Amount = amount
		}
	}
	return nil
}

// Covers returns the output tokens that the hold has room for, and whether that
// is all that the attempt can have. Where it is not, Cover is to be called
// before more is let through.
func (h *Hold) Covers() (output int64, all bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	output, _ = h.open.bound.Get(accounting.Output)
	return output, output >= h.whole
}

// Cover makes room for so much output, and ahead of it for some more where there
// is some. It fails as Hold does where there is no room even for that, and with
// lease.ErrCut where the lease is lost; the hold then stands as it was, and the
// attempt has to end with what it has. In all but one of some dozens of calls it
// does nothing.
func (h *Hold) Cover(ctx context.Context, output int64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	covered, _ := h.open.bound.Get(accounting.Output)
	if covered >= h.whole || h.settled {
		return nil
	}
	ahead := max(firstOutput, covered/growthShare)
	if output+ahead/2 <= covered || h.tight && output <= covered {
		return nil
	}
	err := h.cover(ctx, min(output+ahead, h.whole))
	if err == nil {
		return nil
	}
	h.tight = true // from here on it asks for what it needs
	if output <= covered {
		return nil
	}
	return h.cover(ctx, output)
}

func (h *Hold) cover(ctx context.Context, output int64) error {
	before, claims := h.open, h.open.claims
	bound := before.bound
	bound.Set(accounting.Output, output)
	err := h.limit(bound)
	amounts := make([]int64, len(claims))
	for i := 0; i < len(claims) && err == nil; i++ {
		w := &claims[i].Window
		var amount int64
		amount, err = h.open.worth(w.Budget, w.Unit, h.open.bound, h.open.cost)
		amounts[i] = max(0, amount-claims[i].Amount)
	}
	if err == nil {
		err = h.room.TopUp(ctx, amounts)
	}
	if err != nil {
		h.open = before
		return err
	}
	all := make([]accounting.Claim, len(claims))
	for i, c := range claims {
		all[i] = accounting.Claim{Window: c.Window, Amount: c.Amount + amounts[i]}
	}
	h.note(all)
	// What was topped up and cannot be written down is not used; it goes back with
	// the rest.
	if err := h.ledger.Spool.WriteTopUp(h.key, h.open.append(nil)); err != nil {
		h.open.bound, h.open.cost = before.bound, before.cost
		return err
	}
	return nil
}
