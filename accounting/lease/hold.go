package lease

import (
	"context"
	"errors"

	"github.com/weir-gateway/weir/accounting"
)

// A Hold is room in several windows, all of it or none. The zero Hold holds
// nothing and is ready for Holder.Take. It is meant to be a field of what the
// caller keeps of a call, so that taking it allocates nothing, and is not
// copied. One goroutine at a time uses it.
//
// It ends in three steps, in this order, so that a crash between them counts
// nothing twice:
//
//  1. Settle says what the windows' settlements are.
//  2. The caller writes them to its spool, with the line.
//  3. End gives back what is left.
//
// To give back earlier, as in one step with Settle, would let another call hold
// the rest while the spool still says that this one may have used it: after a
// crash both would be settled as in doubt, for more than the lease has. For the
// same reason a hold or a top-up is written to the spool before the room that
// it took is used.
type Hold struct {
	holder   *Holder
	parts    []part
	inline   [4]part
	unbacked bool
	excesses []accounting.Excess
}

// A part is what a hold has of one window. Lease is nil where a soft budget let
// the call pass without one; held is then zero.
type part struct {
	share *share
	lease *lease
	held  int64
	used  int64
}

// ErrCut says that a hold cannot grow any more, since its lease is lost: its
// call has to end with what it has.
var ErrCut = errors.New("the lease of this call ended while it was running, so nothing can be added to its hold")

// Unbacked tells whether a window of a soft budget let the hold pass without
// room, because the store could not be reached.
func (h *Hold) Unbacked() bool { return h.unbacked }

// Excesses are what windows granted though they had no room for it.
func (h *Hold) Excesses() []accounting.Excess { return h.excesses }

// Backing returns the lease that backs the hold in the window of the claim with
// this index, and how much of the claim and its top-ups it covers. It is for
// the spool: of a call in doubt the rest is uncovered.
func (h *Hold) Backing(i int) (ID, int64) {
	if p := &h.parts[i]; p.lease != nil {
		return p.lease.id, p.held
	}
	return ID{}, 0
}

// TopUp adds to the hold, in the windows of its claims and in their order, all
// amounts or none. It fails as Take does, and with ErrCut; the hold then stands
// as it was. Like Take it waits for the store only where a lease lacks room.
func (h *Hold) TopUp(ctx context.Context, amounts []int64) error {
	if len(amounts) != len(h.parts) {
		return errors.New("a top-up needs one amount for each claim of its hold")
	}
	now := h.holder.elapsed()
	var needs []need
	var err error
	took := 0
	for i, amount := range amounts {
		if amount < 0 || amount > most {
			err = errAmount(h.parts[i].share.id, amount)
			break
		}
		p := &h.parts[i]
		took++
		if amount == 0 || p.lease == nil {
			continue // nothing to add, or nothing to add to
		}
		if !p.lease.take(amount, now) {
			needs = append(needs, need{index: i, amount: amount, share: p.share, only: p.lease})
		}
	}
	if err == nil && len(needs) > 0 {
		err = h.holder.acquire(ctx, needs)
	}
	lacked := func(i int) *need {
		for n := range needs {
			if needs[n].index == i {
				return &needs[n]
			}
		}
		return nil
	}
	for i, amount := range amounts[:took] {
		p := &h.parts[i]
		if amount == 0 || p.lease == nil {
			continue
		}
		switch n := lacked(i); {
		case err == nil && n != nil && n.lease == nil:
			h.unbacked = true // the soft way: nothing covers the addition
		case err == nil:
			p.held += amount
		case n == nil:
			p.lease.put(amount)
		}
	}
	return err
}

// Tight tells whether the window of the claim with this index had less room, when
// this replica last asked, than it wished for: calls that hold more than they
// need may be what others lack. It reads one word, and may be asked at each event
// of a stream; not while the hold ends.
func (h *Hold) Tight(i int) bool { return h.parts[i].share.tight.Load() }

// Shrink gives back amounts of what is held, in the order of the claims, while
// the hold goes on with the rest. As with End, what is left must be in the spool
// before.
func (h *Hold) Shrink(amounts []int64) {
	for i, amount := range amounts {
		if p := &h.parts[i]; p.lease != nil {
			amount = min(max(amount, 0), p.held)
			p.held -= amount
			p.lease.put(amount)
		}
	}
}

// Settle says what the hold's windows are to be settled at: used has what was
// used of each, in the order of the claims and never negative. It appends one
// settlement a window to into and returns that. Nothing is refused: what goes
// beyond the hold is taken of the free room of its lease, and where that is not
// enough the settlement says how much is uncovered. It may be called again
// until End; the last one counts. Of a hold that has ended it returns into.
func (h *Hold) Settle(used []int64, into []Settlement) []Settlement {
	for i := range h.parts {
		p := &h.parts[i]
		p.used = used[i]
		var id ID
		if p.lease != nil {
			id = p.lease.id
			if beyond := p.used - p.held; beyond > 0 {
				p.held += p.lease.grab(beyond)
			}
		}
		into = append(into, Settlement{Lease: id, Window: p.share.id, Amount: p.used, Uncovered: max(0, p.used-p.held)})
	}
	return into
}

// End gives back what was held and not settled: all of it where Settle was not
// called. The second time it does nothing.
func (h *Hold) End() {
	for i := range h.parts {
		if p := &h.parts[i]; p.lease != nil {
			p.lease.giveBack(p.held, p.used)
		}
	}
	h.reset(nil)
}

// reset makes a hold that has ended ready for the next Take. Parts are written
// before they are read, so none has to be cleared.
func (h *Hold) reset(holder *Holder) {
	h.holder, h.parts, h.unbacked, h.excesses = holder, h.inline[:0], false, nil
}
