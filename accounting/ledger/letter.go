package ledger

import (
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/spool"
)

// A DeadLetter is a record of the spool that could not become an entry.
type DeadLetter struct {
	// ID is the store's, 0 before it has the letter.
	ID        int64
	RequestID string
	Attempt   int
	// Time is when the record was written, or its attempt ended.
	Time    time.Time
	Payload []byte
	Cause   string
}

// ErrNoLetter says that no dead letter has an id: it was replayed, or never
// there.
var ErrNoLetter = errors.New("there is no such dead letter")

// LetterOf is the letter of an entry that a store refuses.
func LetterOf(e *Entry, cause error) DeadLetter {
	return DeadLetter{RequestID: e.Line.RequestID, Attempt: e.Line.Attempt.Number, Time: e.Line.End, Payload: e.append(nil), Cause: cause.Error()}
}

// unreadable is the letter of a record that is no entry. Of an attempt that its
// process did not end it has the newest opening, which is what is in doubt.
func unreadable(r *spool.Entry, cause error) DeadLetter {
	return DeadLetter{RequestID: uuid.UUID(r.Key.Request).String(), Attempt: int(r.Key.Attempt), Time: r.Time, Payload: lastOf(r), Cause: cause.Error()}
}

// Entry is what a letter says, as it would have been kept. It fails where this
// Weir cannot read it either. Now is the end of an attempt that is in doubt.
//
// A letter does not tell whether it is an entry or an opening, but no opening
// reads as an entry with an outcome: where that has one, an opening has a meter
// or the middle of a window's id.
func (d DeadLetter) Entry(now time.Time) (Entry, error) {
	e, err := readEntry(d.Payload, new(knownWindows))
	if err != nil || !slices.Contains(accounting.Outcomes(), e.Line.Outcome) {
		o, wrong := readOpening(d.Payload)
		if wrong == nil {
			e, err = o.inDoubt(now)
		}
	}
	if err != nil {
		return Entry{}, err
	}
	if !slices.Contains(accounting.Outcomes(), e.Line.Outcome) || e.Line.RequestID != d.RequestID {
		return Entry{}, errRecord
	}
	return e, nil
}
