package report

import (
	"time"

	"github.com/weir-gateway/weir/accounting"
)

// A LineQuery asks for lines of the ledger: calls from the newest to the oldest,
// by the time in their request ids, and the lines of a call by attempt and
// number. A field that is empty asks for all.
type LineQuery struct {
	Tenant string
	// RequestID is the one call that is asked for.
	RequestID string
	// From is the first instant that attempts began at, To the first one after
	// the span.
	From, To                     time.Time
	Project, Key, Model, Backend string
	Outcome                      accounting.Outcome
	// After is the line behind which the list goes on, zero for its beginning.
	After Place
	// Limit is the most lines to return.
	Limit int
}

// A Place is what tells a line from all others.
type Place struct {
	RequestID       string
	Attempt, Number int
}

// A Line is a line with what it fed of budget windows, by their ids.
type Line struct {
	accounting.Line
	Allocations []accounting.Allocation
}

// Place is that of the line.
func (l *Line) Place() Place { return Place{l.RequestID, l.Attempt.Number, l.Number} }
