package accounting

import "time"

// An Adjustment raises or lowers the limit of one window: a top-up or a
// correction. It is an entry of the ledger like a line: never changed, never
// deleted, and taken back by another one.
type Adjustment struct {
	// ID is the client's, unique in its budget.
	ID     string
	Window Window
	// Amount is in the smallest part of the window's unit, below zero where the
	// limit is lowered.
	Amount int64
	// Reason says why, and Key is the name of the platform's key that made it.
	Reason string
	Key    string
	Made   time.Time
}
