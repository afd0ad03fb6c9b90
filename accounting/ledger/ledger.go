// Package ledger composes prices, leases, the spool and a store into the two
// moments of an attempt's money: Hold before the backend is called and Settle
// when its answer has ended. It is what the gateway talks to. It knows no text,
// and no vendor.
//
// A hold is the dearest outcome that the attempt can have, taken of this
// replica's leases in every budget window that applies: either all of them have
// room or nothing is held. Where a budget that cuts lacks it the hold covers the
// beginning of the answer and grows ahead of it. It is written to the spool before the backend is
// called. A settle replaces it by what was used; its entry is in the spool
// before the caller is told, and goes from there to the store. An attempt that
// its process did not end is in doubt: whoever reads the spool next settles it
// at the held amount, so that a crash can hide no spending.
package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/lease"
	"github.com/weir-gateway/weir/accounting/price"
	"github.com/weir-gateway/weir/accounting/spool"
)

// Store keeps lines and budget windows. Its methods are safe for concurrent
// use, by several processes too.
type Store interface {
	// Write keeps entries, in one transaction: their lines, what they feed of
	// windows, and what they settle of leases by lease.Settlement.Apply. Of an
	// entry whose line is there already it changes nothing. Windows that are not
	// there yet are made.
	Write(ctx context.Context, entries []Entry) error
	// Bury keeps what cannot be written as an entry, for people to look at.
	Bury(ctx context.Context, letters []DeadLetter) error
}

// An Entry is how an attempt ended, or a correction of that.
type Entry struct {
	Line    accounting.Line
	Settled []Settled
}

// Settled is what a line feeds of one window, and of whose lease. Amount and
// Uncovered are those of a lease.Settlement.
type Settled struct {
	// Window may be that of other entries too: it is not to be changed.
	Window *accounting.Window
	// Lease is zero where no lease backs the amount.
	Lease             lease.ID
	Amount, Uncovered int64
}

// Ledger holds and settles. Its exported fields are set once, before the first
// call. It is safe for concurrent use.
type Ledger struct {
	Store  Store
	Leases *lease.Holder
	Spool  *spool.Spool
	// Durability is what a Settle waits for.
	Durability spool.Durability
	// Prices and Budgets return what is in force now. Each hold asks once and
	// keeps to the answer.
	Prices  func() *price.Catalogue
	Budgets func() *lease.Book
	// Exchange returns the exchange rates in force, and Provider whose a backend
	// is, "" where that is not known. Both may be nil: there are none, and nobody
	// knows.
	Exchange func() *price.Exchange
	Provider func(backend string) string
	Now      func() time.Time
	Log      *slog.Logger
	// Watch, where set, is told what becomes of claims.
	Watch *Watch

	flusher  flusher
	unpriced unpricedClasses
}

// UnpricedError says that a call cannot be held against a budget of money,
// since nobody knows what it would cost in the budget's currency.
type UnpricedError struct {
	Model, Backend string
	// Budget is empty where the call's own max_cost asks for a price.
	Budget string
	// Class is the class of service that was asked for, where it is that which the
	// price does not name.
	Class accounting.ServiceClass
	// Currency is the budget's; Priced is the price's, empty where there is none.
	Currency, Priced string
}

func (e *UnpricedError) Error() string {
	limits := fmt.Sprintf("budget %q", e.Budget)
	if e.Budget == "" {
		limits = "max_cost of this call"
	}
	if e.Class != "" {
		return fmt.Sprintf("model %q on backend %q has no price for class of service %s, and %s limits money: name the class in its Price, or ask for another one", e.Model, e.Backend, e.Class, limits)
	}
	if e.Priced == "" {
		return fmt.Sprintf("model %q on backend %q has no price, and %s limits money: apply a document of kind Price for it", e.Model, e.Backend, limits)
	}
	if e.Budget == "" {
		return fmt.Sprintf("model %q on backend %q is priced in %s, and %s is in %s: set it in %s", e.Model, e.Backend, e.Priced, limits, e.Currency, e.Priced)
	}
	return fmt.Sprintf("model %q on backend %q is priced in %s, and %s is in %s: apply a Price in %s, or an FxRate from %s to %s", e.Model, e.Backend, e.Priced, limits, e.Currency, e.Currency, e.Priced, e.Currency)
}

// Hold takes room for the dearest outcome of an attempt, and counts it in the
// tally of its call, which may be nil. It fails with *accounting.ExhaustedError,
// *BoundError, *UnpricedError, an error of the leases or of the spool, or, where
// a Settle would wait for the store, with why that takes nothing; then nothing is
// held.
func (l *Ledger) Hold(ctx context.Context, attempt accounting.Attempt, bound accounting.Usage, tally *Tally) (*Hold, error) {
	h, err := l.prepare(attempt, bound, tally)
	if err != nil {
		return nil, err
	}
	if err := h.limit(bound); err != nil {
		return nil, err
	}
	if err := h.begin(ctx); err != nil {
		return nil, err
	}
	return h, nil
}

// prepare makes a hold that holds nothing yet.
func (l *Ledger) prepare(attempt accounting.Attempt, bound accounting.Usage, tally *Tally) (*Hold, error) {
	if !believable(bound) {
		return nil, fmt.Errorf("the bound of call %s is negative or beyond all measure: %v", attempt.RequestID, bound)
	}
	if err := checkAttempt(&attempt); err != nil {
		return nil, err
	}
	key, err := keyOf(attempt)
	if err != nil {
		return nil, err
	}
	if l.Durability == spool.Store {
		if err := l.flusher.admits(); err != nil {
			return nil, err
		}
	}
	h := &Hold{ledger: l, tally: tally, key: key, open: opening{attempt: attempt}}
	of := price.Target{Backend: attempt.Backend, BackendModel: attempt.BackendModel, Model: attempt.Model}
	if l.Provider != nil {
		of.Provider = l.Provider(attempt.Backend)
	}
	if p, ok := l.Prices().Find(of, attempt.Start); ok {
		h.price = p
	}
	return h, nil
}

// begin takes the room, and writes down that it has.
func (h *Hold) begin(ctx context.Context) error {
	l, tally, attempt := h.ledger, h.tally, &h.open.attempt
	book := l.Budgets()
	windows, perCall := book.Windows(attempt.Subject, attempt.Model, attempt.Start), book.PerCall(attempt.Subject)
	h.pinRates(windows, perCall)
	var room [4]accounting.Claim
	claims, err := h.claims(windows, room[:0])
	if err != nil {
		return h.unpriced(err)
	}
	bounds, err := h.bounds(perCall)
	if err != nil {
		return h.unpriced(err)
	}
	if h.tallied, err = h.open.worths(h.open.bound, h.open.cost); err != nil {
		return err
	}
	if h.excesses, err = tally.take(h, bounds); err != nil {
		return err
	}
	if err := h.take(ctx, claims); err != nil {
		tally.settle(h, worths{})
		return err
	}
	l.Watch.exceeded(h.room.Excesses())
	h.excesses = append(h.excesses, h.room.Excesses()...)
	h.note(claims, h.few[:0])
	record := records.Get().(*[]byte)
	*record = h.open.append((*record)[:0])
	err = l.Spool.WriteOpen(h.key, *record)
	records.Put(record)
	if err != nil {
		h.room.End()
		tally.settle(h, worths{})
	}
	return err
}

// records is the memory in which records are put together. The spool has copied
// one when it returns.
var records = sync.Pool{New: func() any { return new([]byte) }}

// limit sets the most that the attempt can use and cost.
func (h *Hold) limit(bound accounting.Usage) error {
	h.open.bound = bound
	if h.price == nil {
		return nil
	}
	cost, known, err := h.price.RateMost(bound, h.open.attempt.AskedClass)
	if err != nil {
		return fmt.Errorf("rate the bound of model %q: %w", h.open.attempt.Model, err)
	}
	if known {
		h.open.cost = &cost
	}
	return nil
}

// claims appends what the hold is worth in each window.
func (h *Hold) claims(windows []*accounting.Window, claims []accounting.Claim) ([]accounting.Claim, error) {
	for _, w := range windows {
		amount, err := h.open.worth(w.Budget, w.Unit, h.open.bound, h.open.cost)
		if err != nil {
			return nil, err
		}
		claims = append(claims, accounting.Claim{Window: w, Amount: amount})
	}
	return claims, nil
}

// take takes the room of all claims or of none. Where there is none in the
// window of a budget that cuts, or where that is tight already, it takes only what
// the beginning of the answer is worth of those that do.
func (h *Hold) take(ctx context.Context, claims []accounting.Claim) error {
	whole, _ := h.open.bound.Get(accounting.Output)
	if whole > firstOutput {
		for i := range claims {
			if claims[i].Window.Cut {
				h.cuts = append(h.cuts, i)
			}
		}
	}
	small := slices.ContainsFunc(h.cuts, func(i int) bool { return h.ledger.Leases.Tight(claims[i].Window.ID) })
	var err error
	if !small {
		if err = h.ledger.Leases.Take(ctx, &h.room, claims); err == nil {
			return nil
		}
		window := exhaustedWindow(err)
		small = window != nil && slices.ContainsFunc(h.cuts, func(i int) bool { return claims[i].Window.ID == window.ID })
	}
	if small {
		h.whole = whole
		if err := h.reduce(claims); err != nil {
			return err
		}
		err = h.ledger.Leases.Take(ctx, &h.room, claims)
	}
	if window := exhaustedWindow(err); window != nil {
		h.ledger.Watch.refused(window)
	}
	return err
}

// exhaustedWindow is the window without room where that is the error, else nil.
func exhaustedWindow(err error) *accounting.Window {
	var exhausted *accounting.ExhaustedError
	if err == nil || !errors.As(err, &exhausted) {
		return nil
	}
	return exhausted.Claim.Window
}

// note says in the opening what is held, in the memory of into.
func (h *Hold) note(claims []accounting.Claim, into []claimed) {
	for i, c := range claims {
		id, covered := h.room.Backing(i)
		into = append(into, claimed{c, id, covered})
	}
	h.open.claims = into
}

func keyOf(a accounting.Attempt) (spool.Key, error) {
	id, err := uuid.Parse(a.RequestID)
	if err != nil || a.Number < 1 || a.Number > 1<<30 {
		return spool.Key{}, fmt.Errorf("attempt %d of call %q: an attempt has a UUID and a number from 1", a.Number, a.RequestID)
	}
	return spool.Key{Request: id, Attempt: uint32(a.Number)}, nil
}

// A Hold is the room that one attempt has taken. It ends with the first Settle
// that is kept; later ones change nothing. It is safe for concurrent use.
type Hold struct {
	ledger *Ledger
	tally  *Tally
	key    spool.Key
	open   opening
	few    [4]claimed // the first claims, where there are no more
	price  *price.Price
	// known tells that the answer was known before: what it uses of budgets and
	// what it costs are those of the opening.
	known bool
	// excesses are fixed once the hold is made.
	excesses []accounting.Excess
	// tallied is what the tally was told that the attempt may come to.
	tallied worths
	// whole is the output that the attempt can have where the hold covers less,
	// else zero.
	whole int64
	// cuts are the claims in windows of budgets that cut, by index, where the
	// attempt can be covered in part at all.
	cuts []int

	mu      sync.Mutex
	room    lease.Hold
	tight   bool // a top-up was refused
	settled bool
	// position is that of the entry in the spool.
	position spool.Position
	cost     *accounting.Cost
}

// Excesses are what the hold was granted in excess of budgets' limits.
func (h *Hold) Excesses() []accounting.Excess { return h.excesses }

// Result is how an attempt ended.
type Result struct {
	Outcome  accounting.Outcome
	Usage    accounting.Usage
	Source   accounting.Source
	OwnUsage accounting.Usage
	// ServedClass is the class of service that the backend says has served, empty
	// where it says nothing.
	ServedClass accounting.ServiceClass
}

// Settle keeps the attempt's line and returns its cost, nil where no price is
// known. The cost is the line's, and not to be changed. The caller must not be told OK before it has returned without an error.
// After an error the line may be kept all the same, and is where only the
// waiting for it failed; Settle may be tried again.
func (h *Hold) Settle(ctx context.Context, r Result) (*accounting.Cost, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.settled {
		return h.cost, h.ledger.flusher.wrote(ctx, h.position, h.ledger.Durability == spool.Store)
	}
	line, err := h.line(r)
	if err != nil {
		return nil, err
	}
	entry, err := h.entry(line)
	if err != nil {
		return nil, err
	}
	var charged worths
	if line.Outcome.Charged() {
		if charged, err = h.open.worths(h.counted(&line), h.charged(&line)); err != nil {
			return nil, err
		}
	}
	record := records.Get().(*[]byte)
	*record = entry.append((*record)[:0])
	position, err := h.ledger.Spool.WriteClose(ctx, h.key, *record, entry, h.ledger.Durability)
	records.Put(record)
	if position == 0 {
		return nil, err
	}
	// It is written; what can fail from here on is the waiting.
	h.settled, h.position, h.cost = true, position, line.Cost
	h.room.End()
	h.tally.settle(h, charged)
	if err == nil {
		err = h.ledger.flusher.wrote(ctx, position, h.ledger.Durability == spool.Store)
	}
	return h.cost, err
}

// line is what a result makes of the attempt.
func (h *Hold) line(r Result) (accounting.Line, error) {
	if !believable(r.Usage) {
		r.Usage = accounting.Usage{}
	}
	if !r.Usage.Known() && r.Outcome.Charged() {
		// Nobody counted, so the held amount stands, as for a call in doubt.
		r.Usage, r.Source = h.open.bound, accounting.SourceReservation
	}
	line := accounting.Line{
		Attempt: h.open.attempt, End: h.ledger.Now(), Outcome: r.Outcome,
		Usage: r.Usage, Source: r.Source, OwnUsage: r.OwnUsage, ServedClass: r.ServedClass,
	}
	if h.known && h.open.cost != nil {
		cost := *h.open.cost
		line.Cost = &cost
	} else if h.price != nil && r.Usage.Known() {
		cost, known, err := h.rate(r)
		if err != nil {
			return line, fmt.Errorf("rate the usage of call %s: %w", h.open.attempt.RequestID, err)
		}
		if known { // else what was held stays taken
			line.Cost = &cost
		}
	} else if h.price != nil && !r.Outcome.Charged() {
		line.Cost = &accounting.Cost{
			ProviderCost: accounting.Money{Currency: h.price.Currency}, Charge: accounting.Money{Currency: h.price.Currency}, PriceVersion: h.price.Version,
		}
	}
	if line.Cost != nil && !r.Outcome.Charged() {
		line.Cost.Charge.Nanos = 0
	}
	return line, nil
}

// entry says what the line settles. What is not charged settles at nothing.
func (h *Hold) entry(line accounting.Line) (*Entry, error) {
	used := make([]int64, len(h.open.claims))
	for i := range h.open.claims {
		c := &h.open.claims[i]
		if !line.Outcome.Charged() {
			break
		}
		amount, err := h.open.worth(c.Window.Budget, c.Window.Unit, h.counted(&line), h.charged(&line))
		if err != nil {
			return nil, err
		}
		used[i] = amount
	}
	kept := &struct {
		Entry
		few [4]Settled // one piece of memory is less than two
	}{Entry: Entry{Line: line}}
	e := &kept.Entry
	if e.Settled = kept.few[:0]; len(used) > len(kept.few) {
		e.Settled = make([]Settled, 0, len(used))
	}
	var room [4]lease.Settlement
	for i, s := range h.room.Settle(used, room[:0]) {
		e.Settled = append(e.Settled, Settled{Window: h.open.claims[i].Window, Lease: s.Lease, Amount: s.Amount, Uncovered: s.Uncovered})
	}
	return e, nil
}

// inDoubt is the entry of an attempt that its process did not end: all that it
// was let have was used.
func (o *opening) inDoubt(now time.Time) (Entry, error) {
	e := Entry{Line: accounting.Line{
		Attempt: o.attempt, End: now, Outcome: accounting.OutcomeInDoubt,
		Usage: o.bound, Source: accounting.SourceReservation, Cost: o.cost,
	}}
	for _, c := range o.claims {
		amount, err := o.worth(c.Window.Budget, c.Window.Unit, o.bound, o.cost)
		if err != nil {
			return Entry{}, err
		}
		e.Settled = append(e.Settled, Settled{Window: c.Window, Lease: c.lease, Amount: amount, Uncovered: max(0, amount-c.covered)})
	}
	return e, nil
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
func (o *opening) worth(budget string, unit accounting.Unit, u accounting.Usage, cost *accounting.Cost) (int64, error) {
	switch unit {
	case accounting.UnitRequests:
		return 1, nil
	case accounting.UnitTokens:
		return u.Tokens(), nil
	}
	a := o.attempt
	if cost == nil {
		return 0, &UnpricedError{Model: a.Model, Backend: a.Backend, Budget: budget, Currency: string(unit)}
	}
	if cost.Charge.Currency == string(unit) {
		return cost.Charge.Nanos, nil
	}
	for _, r := range o.rates {
		if r.From == cost.Charge.Currency && r.To == string(unit) {
			return r.Convert(cost.Charge.Nanos)
		}
	}
	return 0, &UnpricedError{Model: a.Model, Backend: a.Backend, Budget: budget, Currency: string(unit), Priced: cost.Charge.Currency}
}
