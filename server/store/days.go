package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/weir-gateway/weir/accounting/ledger"
)

// Day is the time that ids are sorted into.
const Day = 24 * time.Hour

// DayOf is the beginning of the day of a time, in UTC.
func DayOf(t time.Time) time.Time { return t.UTC().Truncate(Day) }

// IDsFrom is how request ids begin that are made at a time, to the millisecond:
// all later ids sort after it, and all earlier ones before. An id is a UUIDv7
// (RFC 9562, 5.7), whose first 48 bits are the milliseconds of Unix time.
func IDsFrom(t time.Time) string {
	ms := max(t.UnixMilli(), 0)
	text := hex.EncodeToString([]byte{byte(ms >> 40), byte(ms >> 32), byte(ms >> 24), byte(ms >> 16), byte(ms >> 8), byte(ms)})
	return text[:8] + "-" + text[8:]
}

// TimeOf is when ids are made that begin so, the reverse of IDsFrom; the zero
// time where that is not how an id begins.
func TimeOf(prefix string) time.Time {
	ms, err := strconv.ParseInt(strings.ReplaceAll(prefix, "-", ""), 16, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// timeless is what ids without a time sort behind, such as a name: the times of
// UUIDv7 begin with a zero until the year 2527.
const timeless = "1"

// madeAt is when an id was made, and false where it does not tell.
func madeAt(id string) (time.Time, bool) {
	u, err := uuid.Parse(id)
	if err != nil || u.Version() != 7 {
		return time.Time{}, false
	}
	sec, nsec := u.Time().UnixTime()
	return time.Unix(sec, nsec).UTC(), true
}

// drift is how far apart the beginning of an attempt and the time in its
// request's id may be: the longest call, and what a clock was wrong by.
const drift = 2 * Day

// between is a condition for the ids of calls of which an attempt can have begun
// in a span; a zero time leaves its side open. It is for the engine to look at
// fewer days: what began in the span is for another condition to say.
func between(from, to time.Time, arg func(any) string) string {
	var where []string
	if !from.IsZero() {
		where = append(where, "request_id >= "+arg(IDsFrom(from.Add(-drift))))
	}
	if !to.IsZero() {
		where = append(where, "(request_id < "+arg(IDsFrom(to.Add(drift)))+" OR request_id >= '"+timeless+"')")
	}
	return strings.Join(append(where, "1 = 1"), " AND ")
}

// Horizon is the time before which lines were dropped, by when their request id
// was made; zero where none were.
func (s *Store) Horizon(ctx context.Context) (t time.Time, err error) {
	err = s.read(ctx, func(ctx context.Context, tx *sql.Tx) error {
		t, err = horizon(ctx, tx)
		return err
	})
	return t, err
}

func horizon(ctx context.Context, tx *sql.Tx) (time.Time, error) {
	var before int64
	err := tx.QueryRowContext(ctx, `SELECT before FROM horizon WHERE id = 1`).Scan(&before)
	if err != nil || before == 0 {
		return time.Time{}, err
	}
	return timeOf(before), nil
}

// recent is the age up to which an id is surely not beyond the horizon.
const recent = Day

// refuseArchived fails where one of the lines that were just written is of a day
// that was dropped: whether it was there before nobody knows. Since it asks
// after the lines are written, no day is dropped in between unseen.
func refuseArchived(ctx context.Context, tx *sql.Tx, entries []*ledger.Entry) error {
	var oldest *ledger.Entry
	least := IDsFrom(time.Now().Add(-recent))
	for _, e := range entries {
		if id := e.Line.RequestID; id < least {
			oldest, least = e, id
		}
	}
	if oldest == nil {
		return nil
	}
	before, err := horizon(ctx, tx)
	if err != nil || oldest.Line.RequestID >= IDsFrom(before) {
		return err
	}
	return &ArchivedError{RequestID: oldest.Line.RequestID, Horizon: before}
}

// An ArchivedError says that a line is of a day that the ledger has dropped.
type ArchivedError struct {
	RequestID string
	Horizon   time.Time
}

func (e *ArchivedError) Error() string {
	made := "an unknown time"
	if t, known := madeAt(e.RequestID); known {
		made = t.Format(time.RFC3339)
	}
	return fmt.Sprintf("call %s is of %s, and the ledger has dropped what is from before %s (ledger.keep): whether it had this line is not known", e.RequestID, made, e.Horizon.Format(time.DateOnly))
}
