package lease

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/weir-gateway/weir/accounting"
)

// Buckets is how many of them a rolling window is kept as, in a series. A use
// belongs to the bucket in which it began, and finds room only where that
// bucket, those that the window may still reach from it, and all later ones
// have some together. The oldest of them counts whole, although the window
// reaches only into it: no stretch of time of the window's length, wherever it
// begins, ever holds more than the limit, and up to a sixtieth of the length
// longer than needed it is full.
const Buckets = 60

const (
	shortestRolling = time.Hour
	longestRolling  = 90 * 24 * time.Hour
)

const rollingPrefix = "rolling "

// Rolling is the period of a window that reaches back from now by a length,
// from an hour to 90 days in whole minutes.
func Rolling(length time.Duration) Period { return Period(rollingPrefix + nameLength(length)) }

// rolling returns the length of a rolling period, and whether it is one.
func (p Period) rolling() (time.Duration, bool, error) {
	text, ok := strings.CutPrefix(string(p), rollingPrefix)
	if !ok {
		return 0, false, nil
	}
	length, err := parseLength(strings.TrimSpace(text))
	if err != nil || length < shortestRolling || length > longestRolling || length%time.Minute != 0 {
		return 0, true, fmt.Errorf("%q is not a rolling window: write a length from 1h to 90d in whole minutes, such as rolling 24h, rolling 90m or rolling 7d", p)
	}
	return length, true, nil
}

func parseLength(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err
	}
	return time.ParseDuration(s)
}

// nameLength gives one length one name, however it was written.
func nameLength(d time.Duration) string {
	if d%time.Hour == 0 {
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dm", d/time.Minute)
}

// bucketSpan is the span of the bucket that a time lies in.
func bucketSpan(length time.Duration, at time.Time) span {
	width := length / Buckets
	seconds := int64(width / time.Second)
	start := time.Unix(at.Unix()-(at.Unix()%seconds+seconds)%seconds, 0).UTC()
	return span{name: start.Format(time.RFC3339), start: start, end: start.Add(width)}
}

// bucket completes a window with a bucket of its series.
func bucket(w accounting.Window, length time.Duration, s *span) accounting.Window {
	w.Series = w.ID + "rolling-" + nameLength(length)
	w.ID = w.Series + "/" + s.name
	w.Start, w.End, w.Since = s.start, s.end, s.start.Add(-length)
	return w
}
