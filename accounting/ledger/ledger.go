// Package ledger composes prices, budgets and a store into the two moments of
// an attempt's money: Hold before the backend is called and Settle when its
// answer has ended. It is what the gateway talks to. It knows no text, and no
// vendor.
//
// A hold is the dearest outcome that the attempt can have, claimed in every
// budget window that applies, in one transaction: either all of them have
// room or nothing is held. A settle replaces the claim by what was used. A
// hold that no settle has ended by its deadline is in doubt: Recover settles
// it at the held amount, so that a crash can hide no spending.
package ledger

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/lease"
	"github.com/weir-gateway/weir/accounting/price"
)

// Store keeps open attempts, lines and budget windows. Its methods are safe
// for concurrent use, by several processes too.
type Store interface {
	// Open records an attempt and claims its room, all or nothing. Where a
	// window has no room it fails with *accounting.ExhaustedError and keeps
	// nothing. It returns the claims that were granted in excess of a limit.
	Open(ctx context.Context, open Open) ([]accounting.Excess, error)
	// Close writes a line, feeds the windows and ends the attempt's claims, in
	// one transaction. A line that is there already is neither written nor
	// fed again, and Close returns false. Claims end only with the open record
	// that made them, so that closing twice frees nothing twice.
	Close(ctx context.Context, closing Closing) (bool, error)
	// Abandoned returns up to limit open attempts whose deadline lies before
	// the given time, oldest first.
	Abandoned(ctx context.Context, before time.Time, limit int) ([]Open, error)
}

// Open is an attempt before its outcome is known.
type Open struct {
	Attempt accounting.Attempt
	Claims  []accounting.Claim
	// Bound is the most that the attempt can use, and Cost what that costs,
	// nil where no price is known.
	Bound accounting.Usage
	Cost  *accounting.Cost
}

// Closing is how an attempt ended.
type Closing struct {
	Line accounting.Line
	// Claims are those of the Open; Allocations what the line feeds of them.
	Claims      []accounting.Claim
	Allocations []accounting.Allocation
}

// Ledger holds and settles. Its fields are set once, before the first call.
// It is safe for concurrent use.
type Ledger struct {
	Store Store
	// Prices and Budgets return what is in force now. Each hold asks once and
	// keeps to the answer.
	Prices  func() *price.Catalogue
	Budgets func() *lease.Book
	Now     func() time.Time
	// Watch, where set, is told what becomes of claims.
	Watch *Watch
}

// UnpricedError says that a call cannot be held against a budget of money,
// since nobody knows what it would cost in the budget's currency.
type UnpricedError struct {
	Model, Backend string
	// Budget is empty where the call's own max_cost asks for a price.
	Budget string
	// Currency is the budget's; Priced is the price's, empty where there is none.
	Currency, Priced string
}

func (e *UnpricedError) Error() string {
	limits := fmt.Sprintf("budget %q", e.Budget)
	if e.Budget == "" {
		limits = "max_cost of this call"
	}
	if e.Priced == "" {
		return fmt.Sprintf("model %q on backend %q has no price, and %s limits money: apply a document of kind Price for it", e.Model, e.Backend, limits)
	}
	if e.Budget == "" {
		return fmt.Sprintf("model %q on backend %q is priced in %s, and %s is in %s: set it in %s", e.Model, e.Backend, e.Priced, limits, e.Currency, e.Priced)
	}
	return fmt.Sprintf("model %q on backend %q is priced in %s, and %s is in %s: apply a Price in %s", e.Model, e.Backend, e.Priced, limits, e.Currency, e.Currency)
}

// Hold claims room for the dearest outcome of an attempt, and counts it in the
// tally of its call, which may be nil. It fails with *accounting.ExhaustedError,
// *BoundError, *UnpricedError, or the store's error; then nothing is held.
func (l *Ledger) Hold(ctx context.Context, attempt accounting.Attempt, bound accounting.Usage, tally *Tally) (*Hold, error) {
	if !believable(bound) {
		return nil, fmt.Errorf("the bound of call %s is negative or beyond all measure: %v", attempt.RequestID, bound)
	}
	h := &Hold{ledger: l, tally: tally, open: Open{Attempt: attempt, Bound: bound}}
	if p, ok := l.Prices().Find(attempt.Backend, attempt.BackendModel, attempt.Model, attempt.Start); ok {
		cost, err := p.Rate(bound)
		if err != nil {
			return nil, fmt.Errorf("rate the bound of model %q: %w", attempt.Model, err)
		}
		h.price, h.open.Cost = p, &cost
	}
	book := l.Budgets()
	for _, w := range book.Windows(attempt.Subject, attempt.Model, attempt.Start) {
		amount, err := h.worth(w.Budget, w.Unit, bound, h.open.Cost)
		if err != nil {
			return nil, err
		}
		h.open.Claims = append(h.open.Claims, accounting.Claim{Window: w, Amount: amount})
	}
	bounds, err := h.bounds(book.PerCall(attempt.Subject))
	if err != nil {
		return nil, err
	}
	if h.excesses, err = tally.take(h, bounds); err != nil {
		return nil, err
	}
	excesses, err := l.Store.Open(ctx, h.open)
	if err != nil {
		tally.settle(h, nil)
		var exhausted *accounting.ExhaustedError
		if errors.As(err, &exhausted) {
			l.Watch.refused(exhausted.Claim.Window)
		}
		return nil, err
	}
	l.Watch.exceeded(excesses)
	h.excesses = append(h.excesses, excesses...)
	return h, nil
}

// A Hold is the room that one attempt has claimed. It ends with the first
// Settle; later ones change nothing. It is safe for concurrent use.
type Hold struct {
	ledger *Ledger
	tally  *Tally
	open   Open
	price  *price.Price
	// excesses are fixed once the hold is made.
	excesses []accounting.Excess

	mu      sync.Mutex
	settled bool
	cost    *accounting.Cost
}

// Excesses are what the hold was granted in excess of budgets' limits.
func (h *Hold) Excesses() []accounting.Excess { return h.excesses }

// Result is how an attempt ended.
type Result struct {
	Outcome  accounting.Outcome
	Usage    accounting.Usage
	Source   accounting.Source
	OwnUsage accounting.Usage
}

// Settle writes the attempt's line and returns its cost, nil where no price is
// known. The caller must not be told OK before it has returned. After an error
// the hold stands, and Settle may be tried again.
func (h *Hold) Settle(ctx context.Context, r Result) (*accounting.Cost, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.settled {
		return h.cost, nil
	}
	if !believable(r.Usage) {
		r.Usage = accounting.Usage{}
	}
	if !r.Usage.Known() && r.Outcome.Charged() {
		// Nobody counted, so the held amount stands, as for a call in doubt.
		r.Usage, r.Source = h.open.Bound, accounting.SourceReservation
	}
	line := accounting.Line{
		Attempt: h.open.Attempt, End: h.ledger.Now(), Outcome: r.Outcome,
		Usage: r.Usage, Source: r.Source, OwnUsage: r.OwnUsage,
	}
	if h.price != nil && r.Usage.Known() {
		cost, err := h.price.Rate(r.Usage)
		if err != nil {
			return nil, fmt.Errorf("rate the usage of call %s: %w", h.open.Attempt.RequestID, err)
		}
		line.Cost = &cost
	} else if h.price != nil && !r.Outcome.Charged() {
		line.Cost = &accounting.Cost{
			ProviderCost: accounting.Money{Currency: h.price.Currency}, Charge: accounting.Money{Currency: h.price.Currency}, PriceVersion: h.price.Version,
		}
	}
	if line.Cost != nil && !r.Outcome.Charged() {
		line.Cost.Charge.Nanos = 0
	}
	if err := h.close(ctx, line); err != nil {
		return nil, err
	}
	h.settled, h.cost = true, line.Cost
	if line.Outcome.Charged() {
		h.tally.settle(h, worths(line.Usage, line.Cost))
	} else {
		h.tally.settle(h, nil)
	}
	return h.cost, nil
}

// ErrSettledElsewhere says that the attempt has a line already that this hold
// did not write: it was found in doubt before it ended.
var ErrSettledElsewhere = errors.New("the attempt was settled in doubt before it ended; the held amount stands")

func (h *Hold) close(ctx context.Context, line accounting.Line) error {
	closing := Closing{Line: line, Claims: h.open.Claims}
	for _, c := range h.open.Claims {
		if !line.Outcome.Charged() {
			break
		}
		amount, err := h.worth(c.Window.Budget, c.Window.Unit, line.Usage, line.Cost)
		if err != nil {
			return err
		}
		closing.Allocations = append(closing.Allocations, accounting.Allocation{Window: c.Window.ID, Unit: c.Window.Unit, Amount: amount})
	}
	wrote, err := h.ledger.Store.Close(ctx, closing)
	if err == nil && !wrote {
		return ErrSettledElsewhere
	}
	if err == nil && line.Outcome.Charged() && h.ledger.Watch != nil {
		h.ledger.Watch.settled(h.ledger.Budgets(), h.open.Claims)
	}
	return err
}

// believable tells whether a usage can be true. A backend that reports
// negative tokens, or more than any model can make, has counted nothing; and
// what is believed can be summed without overflow.
func believable(u accounting.Usage) bool {
	const most = 1 << 48
	for _, m := range accounting.Meters() {
		if n, _ := u.Get(m); n < 0 || n > most {
			return false
		}
	}
	return true
}

// worth is what a usage and its cost are in a budget's unit. An empty budget
// stands for the call's own max_cost.
func (h *Hold) worth(budget string, unit accounting.Unit, u accounting.Usage, cost *accounting.Cost) (int64, error) {
	switch unit {
	case accounting.UnitRequests:
		return 1, nil
	case accounting.UnitTokens:
		return u.Tokens(), nil
	}
	a := h.open.Attempt
	if cost == nil {
		return 0, &UnpricedError{Model: a.Model, Backend: a.Backend, Budget: budget, Currency: string(unit)}
	}
	if cost.Charge.Currency != string(unit) {
		return 0, &UnpricedError{Model: a.Model, Backend: a.Backend, Budget: budget, Currency: string(unit), Priced: cost.Charge.Currency}
	}
	return cost.Charge.Nanos, nil
}

// Recover settles the attempts that no replica has ended by their deadline,
// as in doubt at the held amount. It returns how many it settled. Several
// replicas may run it at once. An attempt that cannot be settled keeps no
// other from being settled.
func (l *Ledger) Recover(ctx context.Context, before time.Time) (int, error) {
	const batch = 200
	settled := 0
	for {
		opens, err := l.Store.Abandoned(ctx, before, batch)
		if err != nil {
			return settled, err
		}
		var failed []error
		for _, open := range opens {
			h := &Hold{ledger: l, open: open}
			err := h.close(ctx, accounting.Line{
				Attempt: open.Attempt, End: l.Now(), Outcome: accounting.OutcomeInDoubt,
				Usage: open.Bound, Source: accounting.SourceReservation, Cost: open.Cost,
			})
			switch {
			case err == nil:
				settled++
			case errors.Is(err, ErrSettledElsewhere):
			default:
				failed = append(failed, fmt.Errorf("recover call %s, attempt %d: %w", open.Attempt.RequestID, open.Attempt.Number, err))
			}
		}
		// Those that failed come back in the next batch; where they are all of
		// it, there is nothing more to do.
		if len(opens) < batch || len(failed) == len(opens) || ctx.Err() != nil {
			return settled, errors.Join(failed...)
		}
	}
}
