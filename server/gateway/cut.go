package gateway

import (
	"context"
	"errors"

	"github.com/weir-gateway/weir/server/backend"
)

// errCut ends an answer of which a budget can pay no more.
var errCut = errors.New("a budget has no room for the rest of the answer")

// covered tells whether the hold covers what the backend has said, and makes it
// so where there is room. It goes by what the output can be at the most. Where
// there is no room for one token more, the answer is full: the next one would be
// generated for nothing.
func (a *attempt) covered(ctx context.Context) bool {
	if a.partial == nil {
		if !a.room.Tight() {
			return true
		}
		a.output.Output() // as below
		a.room.Shrink(a.output.Most() + 1)
		a.partial = a.room
	}
	covered, all := a.partial.Covers()
	if all {
		a.partial = nil
		return true
	}
	most := a.output.Most()
	if most > covered-covered/8 {
		a.output.Output() // counts exactly, where it can, and brings the bound down
		most = a.output.Most()
	}
	_ = a.send() // the hold may wait for the store; what fails here is heard of next
	if a.partial.Cover(ctx, most+1) == nil {
		return true
	}
	a.full = true
	covered, _ = a.partial.Covers()
	return most <= covered
}

// cutOff ends the answer. What the backend said last and there is no room for is
// counted, since the backend bills it, and not told.
func (a *attempt) cutOff(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return a.flush(ctx, err)
	}
	if err := a.flush(ctx, errCut); !errors.Is(err, errCut) {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	for c := range a.finish {
		if a.finish[c] == "" {
			a.finish[c] = backend.FinishBudget
		}
	}
	a.cut = true
	return nil
}
