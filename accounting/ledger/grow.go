package ledger

import (
	"context"
	"slices"

	"github.com/weir-gateway/weir/accounting"
)

// How much output a hold that is small covers at first, and how much more it asks
// for at once: a quarter of what it has, so that a long answer asks rarely and no
// answer keeps much that it does not need.
const (
	firstOutput = 32
	growthShare = 4
)

// ahead is the room that is wanted beyond what is covered.
func ahead(covered int64) int64 { return max(firstOutput, covered/growthShare) }

// reduce makes claims of what the beginning of the answer is worth, in the
// windows of budgets that cut. In the others the whole stays claimed.
func (h *Hold) reduce(claims []accounting.Claim) error {
	bound := h.open.bound
	bound.Set(accounting.Output, firstOutput)
	if err := h.limit(bound); err != nil {
		return err
	}
	for i := range claims {
		if w := claims[i].Window; w.Cut {
			amount, err := h.open.worth(w.Budget, w.Unit, h.open.bound, h.open.cost)
			if err != nil {
				return err
			}
			claims[i].Amount = amount
		}
	}
	return nil
}

// Tight tells whether the hold has room of a budget that cuts, and that may be
// what other calls lack: then Shrink is to be called. It may be asked at each
// event of a stream, by the goroutine that settles the hold, and before that.
func (h *Hold) Tight() bool {
	for _, i := range h.cuts {
		if h.room.Tight(i) {
			return true
		}
	}
	return false
}

// Shrink gives back what the hold has beyond so much output and some ahead of it,
// in the windows of budgets that cut. From then on Cover is to be called, as for
// a hold that began small. Where it cannot be written down, nothing changes.
func (h *Hold) Shrink(output int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := h.open
	whole, _ := before.bound.Get(accounting.Output)
	output += ahead(output)
	if h.settled || output >= whole {
		return
	}
	bound, back := before.bound, make([]int64, len(before.claims))
	bound.Set(accounting.Output, output)
	err := h.limit(bound)
	claims := slices.Clone(before.claims)
	for _, i := range h.cuts {
		c, amount := &claims[i], int64(0)
		if err == nil {
			amount, err = h.open.worth(c.Window.Budget, c.Window.Unit, h.open.bound, h.open.cost)
		}
		back[i] = max(0, c.Amount-amount)
		c.Amount -= back[i]
		c.covered = max(0, c.covered-back[i])
	}
	h.open.claims = claims
	if err == nil {
		err = h.ledger.Spool.WriteTopUp(h.key, h.open.append(nil))
	}
	if err != nil {
		h.open = before
		return
	}
	h.whole = max(h.whole, whole)
	h.room.Shrink(back)
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
	more := ahead(covered)
	if output+more/2 <= covered || h.tight && output <= covered {
		return nil
	}
	err := h.cover(ctx, min(output+more, h.whole))
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
		w := claims[i].Window
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
	h.note(all, make([]claimed, 0, len(all)))
	// What was topped up and cannot be written down is not used; it goes back with
	// the rest.
	if err := h.ledger.Spool.WriteTopUp(h.key, h.open.append(nil)); err != nil {
		h.open.bound, h.open.cost = before.bound, before.cost
		return err
	}
	return nil
}
