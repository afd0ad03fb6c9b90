// Package accounting is the vocabulary of what a call cost: money, usage,
// ledger lines and holds. It knows no text, no vendor and no database.
//
// The invariants that every package below it keeps:
//
//   - Money is a whole number of nanos of one currency. No float touches it,
//     overflow is an error, and amounts of two currencies are never added.
//   - A price is a whole number of picos of a currency per unit. An item is
//     quantity times price in 128 bits, rounded half-even once, to nanos; a
//     total is the sum of its items.
//   - Usage is a vector of disjoint meters: no token is in two of them. Their
//     sum is what the provider calls the total.
//   - Every attempt at a backend is a Line, keyed by (request id, attempt,
//     line), whatever became of it. Lines never change; a correction is a new
//     line of the same attempt.
//   - Every Hold ends: settled or released, once.
//   - Absent is not zero: a meter that nobody counted and a price that nobody
//     knows are states of their own.
package accounting

import (
	"fmt"
	"time"
)

// A Source says where a quantity comes from.
type Source string

// The sources, from the most to the least trusted, and the corrections.
const (
	SourceProvider    Source = "provider"    // the backend reported it
	SourceGateway     Source = "gateway"     // our own exact count
	SourceEstimate    Source = "estimate"    // our own inexact count
	SourceReservation Source = "reservation" // the held amount of a call in doubt
	SourceReconciled  Source = "reconciled"  // a correction after the fact
)

// An Outcome says what became of an attempt. It decides who pays.
type Outcome string

// The outcomes of an attempt.
const (
	OutcomeCompleted Outcome = "completed"
	OutcomeCancelled Outcome = "cancelled" // the caller went away; what was generated is paid
	OutcomeBlocked   Outcome = "blocked"   // an output rule ended it; what was generated is paid
	OutcomeCut       Outcome = "cut"       // a budget had no room for more; what was generated is paid
	OutcomeDeadline  Outcome = "deadline"  // the deadline passed; what was generated is paid
	OutcomeFailed    Outcome = "failed"    // the backend failed before the first event; nobody pays
	OutcomeBroken    Outcome = "broken"    // the backend failed in mid-answer; we pay, the caller does not
	// OutcomeHedgeLoser is an attempt that was overtaken by another of its call; we
	// pay, the caller does not.
	OutcomeHedgeLoser Outcome = "hedge_loser"
	// OutcomeCacheHit is an answer that was generated for another call, and is given
	// again; no provider charges for it, the caller pays the share that is set.
	OutcomeCacheHit Outcome = "cache_hit"
	OutcomeInDoubt  Outcome = "in_doubt" // the gateway died; the held amount stands until it is corrected
)

// Outcomes returns all outcomes.
func Outcomes() []Outcome {
	return []Outcome{OutcomeCompleted, OutcomeCancelled, OutcomeBlocked, OutcomeCut, OutcomeDeadline, OutcomeFailed, OutcomeBroken, OutcomeHedgeLoser, OutcomeCacheHit, OutcomeInDoubt}
}

// Charged tells whether the caller pays for an attempt that ended so.
func (o Outcome) Charged() bool {
	switch o {
	case OutcomeFailed, OutcomeBroken, OutcomeHedgeLoser:
		return false
	}
	return true
}

// Subject is who an attempt is accounted to.
type Subject struct {
	Tenant  string
	Project string
	Key     string
	// EndUser and Session are the caller's own pseudonyms; empty where not given.
	EndUser string
	Session string
	// Labels are the caller's tags for cost reports. Never changed once set.
	Labels map[string]string
}

// An Attempt is one try of one call at one target. It names what a ledger
// line is about before anything is known of its outcome.
type Attempt struct {
	// RequestID is the gateway's own id of the call, a UUIDv7; Number counts
	// the attempts of the call from 1.
	RequestID string
	Number    int
	// ClientRequestID is the caller's own id of the call, if it sent one.
	ClientRequestID string
	// ParentRequestID and Purpose mark inner calls: a guard or a judge that
	// asks a model. Purpose is empty for a caller's own call.
	ParentRequestID string
	Purpose         string

	Subject Subject
	// Model is the name the caller asked for; Backend and BackendModel are
	// the target that was tried.
	Model        string
	Backend      string
	BackendModel string
	// Reason is why that target, in words for people.
	Reason string
	// AskedClass is the class of service that was asked for.
	AskedClass ServiceClass

	// Start is when the attempt began; Deadline is when it must have ended,
	// after which a hold without a line is in doubt.
	Start    time.Time
	Deadline time.Time
}

// A Line is one row of the ledger: line 0 is what an attempt used and cost,
// higher numbers correct it.
type Line struct {
	Attempt
	Number int

	End     time.Time
	Outcome Outcome
	// Usage is what the line is rated by and Source where it comes from.
	// OwnUsage is the gateway's own count, kept beside the provider's so that
	// drift can be reported.
	Usage    Usage
	Source   Source
	OwnUsage Usage
	// ServedClass is the class of service that the provider says has served, by
	// which the line is rated; empty where it says nothing, which is rated as the
	// standard one.
	ServedClass ServiceClass

	// Cost is nil where no price is known. ProviderCost is what the provider
	// charges us, Charge what the caller pays.
	Cost *Cost
}

// Saved is what a cache hit has saved the caller: what it would have been charged
// for the answer, but for what it is. It is false of all other lines, and where no
// price is known.
func (l *Line) Saved() (Money, bool) {
	if l.Outcome != OutcomeCacheHit || l.Cost == nil {
		return Money{}, false
	}
	saved := Money{Currency: l.Cost.Charge.Currency, Nanos: -l.Cost.Charge.Nanos}
	for _, item := range l.Cost.Items {
		saved.Nanos += item.Amount.Nanos
	}
	return saved, true
}

// Cost is the price of one attempt in one currency.
type Cost struct {
	ProviderCost Money
	Charge       Money
	// Items sum to ProviderCost; those of a cache hit to what its provider would
	// have charged.
	Items []Item
	// PriceVersion pins the price by which the items were rated.
	PriceVersion string
}

// An Item is one priced meter: quantity times unit price, rounded to nanos.
type Item struct {
	Meter    Meter
	Quantity int64
	// Price is the price of one unit.
	Price  Pico
	Amount Money
}

// A Unit is what a budget counts.
type Unit string

// The units of budgets. A money unit is the code of its currency.
const (
	UnitTokens   Unit = "tokens"
	UnitRequests Unit = "requests"
)

// IsMoney tells whether the unit is a currency.
func (u Unit) IsMoney() bool { return u != UnitTokens && u != UnitRequests }

// A Claim asks for room in one budget window. Amount is in the smallest part
// of the window's unit: nanos for money, one for the others.
type Claim struct {
	// Window is never changed once a claim has it: other claims have it too.
	Window *Window
	Amount int64
}

// A Window is one period of one budget for one scope, for example July of
// budget "cap" for tenant acme.
type Window struct {
	// ID is unique over all budgets, scopes and periods.
	ID     string
	Budget string
	// Tenant owns the budget; Scope is whose use the window counts, such as
	// "key/k1".
	Tenant string
	Scope  string
	Unit   Unit
	Start  time.Time
	// End is zero for a window that never ends.
	End time.Time
	// Limit is the most that may be spent and held together.
	Limit int64
	// Series is what the buckets of one rolling window have in common, empty
	// where the window is whole by itself. A bucket has room where those of its
	// series that begin at Since or later have it together.
	Series string
	Since  time.Time
	// Grace is what may be spent and held above the limit, which is then an
	// Excess. Where Shadow is set everything may.
	Grace  int64
	Shadow bool
	// Cut lets a call begin for the whole of which there is no room, and ends it
	// where the room does.
	Cut bool
}

// An Allocation says how much of a line fed a budget window.
type Allocation struct {
	Window string
	Unit   Unit
	Amount int64
}

// WindowState is a window as it stands: Adjusted is the sum of its adjustments,
// Spent that of its allocations, Leased what replicas have of it for their
// calls, Overrun what was spent past the limit.
type WindowState struct {
	Window
	Adjusted int64
	Spent    int64
	Leased   int64
	Overrun  int64
}

// ExhaustedError says that a claim found no room. Nothing was held.
type ExhaustedError struct {
	Claim Claim
	Spent int64
	// Held is what replicas have of the window for their calls.
	Held int64
	// Adjusted is what raised or lowered the limit of the window.
	Adjusted int64
}

func (e *ExhaustedError) Error() string {
	adjusted := ""
	if e.Adjusted != 0 {
		adjusted = fmt.Sprintf(" adjusted by %s", FormatAmount(e.Claim.Window.Unit, e.Adjusted))
	}
	return fmt.Sprintf("budget %q of tenant %q has no room for this call: limit %s%s, spent %s, held for running calls %s, this call needs up to %s",
		e.Claim.Window.Budget, e.Claim.Window.Tenant,
		FormatAmount(e.Claim.Window.Unit, e.Claim.Window.Limit), adjusted, FormatAmount(e.Claim.Window.Unit, e.Spent),
		FormatAmount(e.Claim.Window.Unit, e.Held), FormatAmount(e.Claim.Window.Unit, e.Claim.Amount))
}

// FormatAmount writes an amount of a unit for people: "5.00 USD", "1200 tokens".
func FormatAmount(u Unit, amount int64) string {
	if !u.IsMoney() {
		return fmt.Sprintf("%d %s", amount, u)
	}
	m := Money{Currency: string(u), Nanos: amount}
	return m.Decimal() + " " + string(u)
}
