package simulator

import (
	"sync"
	"sync/atomic"
)

// An Ending says how a call ended.
type Ending string

// The endings of a call.
const (
	EndedWhole     Ending = "whole"
	EndedCancelled Ending = "cancelled" // the context ended it, or Close before the last event
	EndedFaulted   Ending = "faulted"   // a fault of the profile ended it
)

// A Tally counts calls and the tokens that they really generated, sent or not.
type Tally struct {
	Calls     int64
	Whole     int64
	Cancelled int64
	Faulted   int64
	Tokens    int64
}

// An Account is the simulator's own book of what it has done. It is what a
// gateway's ledger is compared with.
type Account struct {
	Tally
	// Requests holds the newest request ids. Several attempts with one id are
	// one tally. A call that runs has been counted in Calls and is in none of
	// the endings.
	Requests map[string]Tally
}

// Account returns the book as it stands.
func (b *Backend) Account() Account {
	b.book.mu.Lock()
	defer b.book.mu.Unlock()
	a := Account{Tally: b.book.total.read(), Requests: make(map[string]Tally, len(b.book.lines))}
	for id, l := range b.book.lines {
		a.Requests[id] = l.read()
	}
	return a
}

// line is a Tally under way.
type line struct {
	calls, whole, cancelled, faulted, tokens atomic.Int64
}

func (l *line) read() Tally {
	return Tally{Calls: l.calls.Load(), Whole: l.whole.Load(), Cancelled: l.cancelled.Load(), Faulted: l.faulted.Load(), Tokens: l.tokens.Load()}
}

type book struct {
	keep  int
	total line

	mu    sync.Mutex
	lines map[string]*line
	// order holds the ids of lines as they came; next is the place of the oldest.
	order []string
	next  int
}

// entry is one call in the book.
type entry struct {
	total, own *line
	requestID  string
}

func (b *book) open(requestID string) entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	own := b.lines[requestID]
	if own == nil {
		own = new(line)
		if b.lines == nil {
			b.lines = map[string]*line{}
		}
		if len(b.order) < b.keep {
			b.order = append(b.order, requestID)
		} else {
			delete(b.lines, b.order[b.next])
			b.order[b.next] = requestID
			b.next = (b.next + 1) % b.keep
		}
		b.lines[requestID] = own
	}
	e := entry{total: &b.total, own: own, requestID: requestID}
	for _, l := range e.both() {
		l.calls.Add(1)
	}
	return e
}

func (e entry) both() [2]*line { return [2]*line{e.total, e.own} }

func (e entry) token() {
	e.total.tokens.Add(1)
	e.own.tokens.Add(1)
}

func (e entry) end(how Ending, tell func(string, Ending)) {
	for _, l := range e.both() {
		switch how {
		case EndedWhole:
			l.whole.Add(1)
		case EndedCancelled:
			l.cancelled.Add(1)
		case EndedFaulted:
			l.faulted.Add(1)
		}
	}
	if tell != nil {
		tell(e.requestID, how)
	}
}
