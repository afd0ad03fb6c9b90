package lease

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// A span is one window of time, from start up to but not including end, which
// is zero where it never ends.
type span struct {
	name       string
	start, end time.Time
}

// holds tells whether a time lies in the span.
func (s *span) holds(at time.Time) bool {
	return !at.Before(s.start) && (s.end.IsZero() || at.Before(s.end))
}

// span returns the window that a time lies in. The windows of a period follow
// each other without a gap or an overlap, whatever the zone does to its
// clocks.
func (p Period) span(at time.Time, zone *time.Location) span {
	local := at.In(zone)
	y, m, d := local.Date()
	switch p {
	case Hour:
		return hour(local)
	case Day:
		return calendar(at, zone, date{y, m, d}, func(x date) date { return date{x.y, x.m, x.d + 1} }, func(x date) string {
			return x.utc().Format(time.DateOnly)
		})
	case Week:
		monday := date{y, m, d - (int(local.Weekday())+6)%7}
		return calendar(at, zone, monday, func(x date) date { return date{x.y, x.m, x.d + 7} }, func(x date) string {
			year, week := x.utc().ISOWeek()
			return fmt.Sprintf("%04d-W%02d", year, week)
		})
	case Month:
		return calendar(at, zone, date{y, m, 1}, func(x date) date { return date{x.y, x.m + 1, 1} }, func(x date) string {
			return x.utc().Format("2006-01")
		})
	}
	return span{name: string(Total)}
}

// hour ends early where the clocks change inside it, so that an hour that is
// lived twice is two windows, told apart by their offset from UTC.
func hour(local time.Time) span {
	start := local.Add(-time.Duration(local.Minute())*time.Minute - time.Duration(local.Second())*time.Second - time.Duration(local.Nanosecond()))
	end := start.Add(time.Hour)
	_, offset := local.Zone()
	// The time zone database has borders at which no clock changes, such as the
	// end of 32-bit time in 2038: those do not count.
	changed := func(at time.Time) bool {
		_, other := at.Zone()
		return other != offset
	}
	from, to := local.ZoneBounds()
	for !from.IsZero() && start.Before(from) {
		if changed(from.Add(-1)) {
			start = from
			break
		}
		from, _ = from.Add(-1).ZoneBounds()
	}
	for !to.IsZero() && end.After(to) {
		if changed(to) {
			end = to
			break
		}
		_, to = to.ZoneBounds()
	}
	return span{name: local.Format("2006-01-02T15Z0700"), start: start.UTC(), end: end.UTC()}
}

// A date may lie outside its month; utc brings it back.
type date struct {
	y int
	m time.Month
	d int
}

func (x date) utc() time.Time { return time.Date(x.y, x.m, x.d, 0, 0, 0, 0, time.UTC) }

// calendar returns the span that begins with a date and ends with the next.
func calendar(at time.Time, zone *time.Location, first date, next func(date) date, name func(date) string) span {
	end := midnight(next(first), zone)
	if !at.Before(end) {
		// The clocks went back over midnight: this date began before, and for
		// budgets a date begins once.
		first = next(first)
		end = midnight(next(first), zone)
	}
	return span{name: name(first), start: midnight(first, zone), end: end}
}

// midnight is the first instant at which a zone's calendar shows the date or
// a later one. It is not time.Date, which does not say which instant it takes
// where the clocks skip or repeat midnight.
func midnight(x date, zone *time.Location) time.Time {
	wall := x.utc()
	// No zone is further from UTC than that, so the date has not begun yet.
	for t := wall.Add(-26 * time.Hour); ; {
		local := t.In(zone)
		_, offset := local.Zone()
		_, until := local.ZoneBounds()
		first := wall.Add(-time.Duration(offset) * time.Second)
		if first.Before(t) {
			first = t // the clocks skipped midnight
		}
		if until.IsZero() || first.Before(until) {
			return first.UTC()
		}
		t = until
	}
}

// longest is the longest name that stands in a window's id as it is; ids are
// keys of an index, which has its limits.
const longest = 128

// escape makes a name fit between the slashes of a window's id. No two names
// come out the same.
func escape(name string) string {
	if len(name) > longest || len(name) > 0 && name[0] == '~' {
		sum := sha256.Sum256([]byte(name))
		return "~" + hex.EncodeToString(sum[:])
	}
	return url.PathEscape(name)
}

// isHash tells whether a name of an id stands for one that does not fit it.
func isHash(name string) bool {
	digits, ok := strings.CutPrefix(name, "~")
	sum, err := hex.DecodeString(digits)
	return ok && err == nil && len(sum) == sha256.Size
}
