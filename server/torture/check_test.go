//go:build torture

package torture

import (
	"context"
	"encoding/json"
	"fmt"
	"sort"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/weir-gateway/weir/server/store/postgres"
)

// line is a row of the ledger, as SQL tells it.
type line struct {
	request, client, outcome, source string
	input, output, charge            int64
	own                              int64 // output by the gateway's own count
}

// window is a row of windows.
type window struct {
	id, series                    string
	limit, spent, leased, overrun int64
}

// books are the three accounts that are compared, and what the database says
// of room.
type books struct {
	f       *fleet
	t       *testing.T
	told    map[string]*told // by the caller's id
	lines   map[string]line  // by request id
	served  map[string]served
	windows []window
	// leftover is what remains of the leases of a window, by replica.
	leftover map[[2]string]int64

	inDoubt, cut int
	widest       int64 // the most that was generated beyond the gateway's count
	fullest      int64 // the largest share of a limit that is spent, in hundredths
}

// read gathers the books. Nothing runs by then.
func (f *fleet) read(all []*told) *books {
	f.t.Helper()
	b := &books{f: f, t: f.t, told: map[string]*told{}, lines: map[string]line{}, served: f.models.account(), leftover: map[[2]string]int64{}}
	for _, h := range all {
		b.told[h.id] = h
	}
	ctx := bounded(f.t)
	db, err := pgx.Connect(ctx, f.database)
	if err != nil {
		f.t.Fatal(err)
	}
	defer db.Close(ctx)
	var l line
	var own string
	var attempt, number int
	b.each(ctx, db, `SELECT request_id, client_request_id, attempt, line, outcome, quantity_source, COALESCE(input, 0), COALESCE(output, 0), COALESCE(charge_nanos, 0), own_usage FROM lines`,
		[]any{&l.request, &l.client, &attempt, &number, &l.outcome, &l.source, &l.input, &l.output, &l.charge, &own}, func() {
			if _, twice := b.lines[l.request]; twice || attempt != 1 || number != 0 {
				b.t.Errorf("call %s has a line of attempt %d, number %d: one attempt and one line were expected", l.request, attempt, number)
			}
			var counts map[string]int64
			if err := json.Unmarshal([]byte(own), &counts); err != nil {
				b.t.Fatal(err)
			}
			l.own = counts["output"]
			b.lines[l.request] = l
		})
	var w window
	b.each(ctx, db, `SELECT id, series, limit_amount, spent, leased, overrun FROM windows ORDER BY id`,
		[]any{&w.id, &w.series, &w.limit, &w.spent, &w.leased, &w.overrun}, func() { b.windows = append(b.windows, w) })
	var replica string
	var rest int64
	b.each(ctx, db, `SELECT window_id, replica, SUM(granted - returned - settled)::BIGINT FROM leases GROUP BY window_id, replica`,
		[]any{&w.id, &replica, &rest}, func() { b.leftover[[2]string{w.id, replica}] = rest })
	var cause string
	b.each(ctx, db, `SELECT request_id, cause FROM dead_letters`, []any{&l.request, &cause}, func() {
		b.t.Errorf("call %s lies in dead_letters: %s", l.request, cause)
	})
	s, err := postgres.Open(ctx, f.database)
	if err != nil {
		f.t.Fatal(err)
	}
	defer s.Shutdown()
	if off, err := s.Audit(ctx); err != nil || len(off) > 0 {
		b.t.Errorf("audit: %v %s", err, strings.Join(off, "\n"))
	}
	return b
}

func (b *books) each(ctx context.Context, db *pgx.Conn, query string, into []any, do func()) {
	b.t.Helper()
	rows, err := db.Query(ctx, query)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := pgx.ForEachRow(rows, into, func() error { do(); return nil }); err != nil {
		b.t.Fatalf("%s: %v", query, err)
	}
}

// check compares all that must hold whatever was killed. What a lost disk took
// with it is returned: calls that got an OK and have no line, and the nanos that
// all calls without one have cost the backend.
func (b *books) check() (missingOKs int, missing int64) {
	clients := map[string]line{}
	for _, l := range b.lines {
		if other, twice := clients[l.client]; twice {
			b.t.Errorf("the caller's call %s is in the ledger as %s and as %s", l.client, other.request, l.request)
		}
		clients[l.client] = l
	}
	for id, h := range b.told {
		l, kept := clients[id]
		switch {
		case h.ok && !kept:
			missingOKs++
			if s := b.served[h.request]; s.Whole != 1 || s.Output != h.output {
				b.t.Errorf("call %s was told %d tokens out, and the backend served %+v", h.request, h.output, s)
			}
		case h.ok:
			if l.request != h.request || l.outcome != ended[h.cut] || l.input != h.input || l.output != h.output || l.charge != h.nanos {
				b.t.Errorf("call %s was told %d tokens in, %d out, %d nanos, and the ledger says %+v", h.request, h.input, h.output, h.nanos, l)
			}
		case kept && h.exhausted() != "":
			b.t.Errorf("call %s was refused for %s, and is in the ledger: %+v", l.request, h.exhausted(), l)
		}
	}
	for request, l := range b.lines {
		if b.told[l.client] == nil {
			b.t.Errorf("the ledger has call %s, which nobody made: %+v", request, l)
		}
		b.compare(l, b.served[request])
	}
	for request, s := range b.served {
		if _, kept := b.lines[request]; !kept {
			missing += nanosIn*s.Input + nanosOut*s.Output
		}
	}
	b.room()
	return missingOKs, missing
}

// ended is the outcome of a call that got its OK, by whether it was cut.
var ended = map[bool]string{false: "completed", true: "cut"}

// compare holds a line against what the backend did.
func (b *books) compare(l line, s served) {
	off := func(format string, args ...any) {
		b.t.Errorf("call %s: %s; the ledger says %+v, the backend %+v", l.request, fmt.Sprintf(format, args...), l, s)
	}
	if s.Calls > 1 {
		off("the backend was asked more than once")
	}
	if cost := nanosIn*l.input + nanosOut*l.output; l.charge != cost && l.charge != 0 {
		off("charged %d nanos for what costs %d", l.charge, cost)
	}
	switch l.outcome {
	case "completed":
		// Where a call is cut between the end of the text and the usage, which comes
		// last, our own count stands in for that.
		if s.Input != l.input || s.Output != l.output || (s.Whole == 1) != (l.source == "provider") && l.source != "estimate" {
			off("what was completed is not what was served")
		}
		if l.own != s.Output {
			off("our own count of a whole answer is off, so that of cut ones says nothing")
		}
	case "cancelled", "deadline", "cut":
		b.cut++
		if l.output > s.Output || s.Output > l.output+margin {
			off("generated %d tokens, counted %d, with a margin of %d", s.Output, l.output, margin)
		}
		b.widest = max(b.widest, s.Output-l.output)
	case "failed": // cut before the backend's answer began
		b.cut++
		if l.charge != 0 || s.Output > margin {
			off("nothing of it was heard")
		}
		b.widest = max(b.widest, s.Output)
	case "in_doubt":
		b.inDoubt++
		b.t.Logf("in doubt: call %s (%s): held for %d tokens in, %d out, %d nanos; really %d in, %d out", l.request, l.client, l.input, l.output, l.charge, s.Input, s.Output)
		if s.Input > l.input || s.Output > l.output || l.source != "reservation" {
			off("more was used than is charged")
		}
	default:
		off("no backend has failed here")
	}
}

// room tells where a window was spent past its limit. A hold is never less
// than a call can use here, so there is no overrun to excuse it.
func (b *books) room() {
	series := map[string]window{}
	for _, w := range b.windows {
		if w.overrun != 0 {
			b.t.Errorf("window %s has an overrun of %d", w.id, w.overrun)
		}
		name := w.series
		if name == "" {
			name = w.id
		}
		s := series[name]
		s.id, s.limit, s.spent, s.leased = name, w.limit, s.spent+w.spent, s.leased+w.leased
		series[name] = s
	}
	for _, w := range series { // all buckets of this hour lie in one stretch
		if w.spent+w.leased > w.limit {
			b.t.Errorf("%s: spent %d and leased %d of %d", w.id, w.spent, w.leased, w.limit)
		}
		b.fullest = max(b.fullest, w.spent*100/w.limit)
	}
	b.t.Logf("%d windows, the fullest spent to %d %%", len(series), b.fullest)
}

// summary tells what the run was, by what callers heard and what the ledger has.
func (b *books) summary() {
	heard, outcomes := map[string]int{}, map[string]int{}
	for _, h := range b.told {
		switch {
		case h.ok:
			heard["OK"]++
		case h.exhausted() != "":
			heard["BUDGET_EXHAUSTED"]++
		default:
			heard[h.code().String()]++
		}
	}
	for _, l := range b.lines {
		outcomes[l.outcome]++
	}
	b.t.Logf("%d calls were told: %s", len(b.told), tally(heard))
	b.t.Logf("%d lines: %s; the backend was asked %d times; beyond our count of cut calls at most %d tokens", len(b.lines), tally(outcomes), len(b.served), b.widest)
}

func tally(counts map[string]int) string {
	var all []string
	for name, n := range counts {
		all = append(all, fmt.Sprintf("%d %s", n, name))
	}
	sort.Strings(all)
	return strings.Join(all, ", ")
}
