package backend

import "time"

// Signals are what a server says of itself beside an answer.
type Signals struct {
	// Load is how busy it is; nil where it says nothing.
	Load *Load
	// Spent is for how long nothing is left of a limit that the server sets us; 0
	// where something is, or it says nothing.
	Spent time.Duration
}

// Load is how busy a server is by its own word. What it does not say is nil.
type Load struct {
	// Running and Waiting are requests in its hands, of all its callers: those
	// that it works on, and those in its queue.
	Running, Waiting *float64
	// Utilization is how full the scarcest of its resources is, such as the memory
	// for keys and values: 0 is idle, 1 is full.
	Utilization *float64
}

// A Signaller is a Stream that tells what its server says of itself. The
// interface is optional: ask for it by a type assertion.
type Signaller interface {
	// Signals returns what has come since they were asked for last. It is called
	// between calls of Recv.
	Signals() Signals
}
