package ledger

import (
	"context"
	"fmt"

	"github.com/weir-gateway/weir/accounting"
)

// HoldKnown is Hold for an answer that was generated for another call, which
// used so much in a class of service. The caller is charged percent hundredths of what that would cost
// now, rounded down, and no provider anything. Budgets of requests count the
// call, budgets of money what it is charged, and budgets of tokens nothing, since
// none are generated; where that comes to nothing, no room is asked for. The
// Result to settle it with is an OutcomeCacheHit and has the usage of the answer.
func (l *Ledger) HoldKnown(ctx context.Context, attempt accounting.Attempt, usage accounting.Usage, class accounting.ServiceClass, percent int, tally *Tally) (*Hold, error) {
	h, err := l.prepare(attempt, usage, tally)
	if err != nil {
		return nil, err
	}
	h.known = true
	h.open.bound.Set(accounting.Requests, 1)
	if h.price != nil {
		cost, known, err := h.rate(Result{Usage: usage, ServedClass: class})
		if err != nil {
			return nil, fmt.Errorf("rate the usage of a known answer for call %s: %w", attempt.RequestID, err)
		}
		cost.ProviderCost.Nanos = 0
		if cost.Charge.Nanos, err = accounting.Percent(cost.Charge.Nanos, percent); err != nil {
			return nil, err
		}
		if known {
			h.open.cost = &cost
		}
	}
	if err := h.begin(ctx); err != nil {
		return nil, err
	}
	return h, nil
}

// counted is what budgets count of a line's usage.
func (h *Hold) counted(line *accounting.Line) accounting.Usage {
	if h.known {
		return h.open.bound
	}
	return line.Usage
}
