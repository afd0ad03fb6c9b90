package storetest

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/ledger"
	"github.com/weir-gateway/weir/accounting/report"
	"github.com/weir-gateway/weir/server/store"
)

func ofDay(now time.Time, day, n int) string { return idOf(now.AddDate(0, 0, day), n) }

// fedLine is a line that feeds windows by 1 each.
func fedLine(id string, windows ...accounting.Window) ledger.Entry {
	e := ledger.Entry{Line: line(id, 0)}
	for _, w := range windows {
		e.Settled = append(e.Settled, ledger.Settled{Window: &w, Amount: 1, Uncovered: 1})
	}
	return e
}

// oldLinesGo has lines of many days, of which some are dropped for their age. The
// audit at its end agrees with what they fed.
func oldLinesGo(t *testing.T, open Opener) {
	s := one(t, open)
	now := time.Now()
	total, month := window("total", 1000), window("month", 1000)
	var ids []string
	for _, day := range []int{-400, -30, -10, -9, -8, -7, -2, -1, 0, 1, 2, 9} {
		ids = append(ids, ofDay(now, day, 1), ofDay(now, day, 2))
	}
	ids = append(ids, "a call")
	// Some before there is a place for their day, the others after.
	for i, id := range ids {
		if i == len(ids)/2 {
			if since, err := s.Tend(t.Context(), 0); err != nil || !since.IsZero() {
				t.Fatalf("kept since %s, %v", since, err)
			}
		}
		write(t, s, fedLine(id, total, month))
	}
	if _, err := s.Tend(t.Context(), store.LeastKeep-1); err == nil || !strings.Contains(err.Error(), "keep them for 168h0m0s or longer") {
		t.Errorf("lines are dropped too soon: %v", err)
	}
	horizon := store.DayOf(now.Add(-8 * store.Day))
	for _, keep := range []time.Duration{8 * store.Day, 8 * store.Day, 30 * store.Day, 0} {
		if since, err := s.Tend(t.Context(), keep); err != nil || !since.Equal(horizon) {
			t.Errorf("kept since %s, %v; want %s", since, err, horizon)
		}
	}
	var gone int
	for _, id := range ids {
		lines, err := s.Lines(t.Context(), id)
		must(t, err)
		want := 1
		if id < store.IDsFrom(horizon) {
			want, gone = 0, gone+1
		}
		if len(lines) != want {
			t.Errorf("call %s has %d lines; want %d", id, len(lines), want)
		}
	}
	if gone != 8 {
		t.Errorf("%d calls are beyond the horizon; want 8", gone)
	}
	expect(t, s, "total", int64(len(ids)), 0, 0)

	// A replay of what was dropped, or of what never came, is refused; what is in
	// the same batch can be written without it.
	for _, id := range []string{ids[0], ofDay(now, -9, 3)} {
		var archived *store.ArchivedError
		err := s.Write(t.Context(), []ledger.Entry{fedLine(ofDay(now, 0, 3), total), fedLine(id, total)})
		if refused(t, err); !errors.As(err, &archived) || archived.RequestID != id || !archived.Horizon.Equal(horizon) {
			t.Errorf("a line from before the horizon: %v", err)
		}
	}
	expect(t, s, "total", int64(len(ids)), 0, 0)
	write(t, s, fedLine(ofDay(now, -8, 3), total), fedLine(ofDay(now, 0, 3), total))
	expect(t, s, "total", int64(len(ids))+2, 0, 0)

	r, err := s.Sum(t.Context(), report.Query{})
	if err != nil || !r.Horizon.Equal(horizon) || r.Rows[0].Calls != int64(len(ids)-gone)+2 {
		t.Errorf("a report since %s: %+v, %v", r.Horizon, r.Rows, err)
	}
}

// dropRace drops lines while they are replayed: each has counted once.
func dropRace(t *testing.T, open Opener) {
	list := replicas(t, open, 3)
	now := time.Now()
	total := window("total", 1<<40)
	var batches [][]ledger.Entry
	var many int
	for day := -16; day <= 0; day++ {
		var batch []ledger.Entry
		for n := range 20 {
			batch = append(batch, fedLine(ofDay(now, day, n), total))
		}
		many += len(batch)
		batches = append(batches, batch)
		write(t, list[0], batch...)
	}
	var group sync.WaitGroup
	for i := range 6 {
		s := list[i%len(list)]
		group.Go(func() {
			for keep := 16; keep >= 8; keep-- {
				if i%2 == 0 {
					if _, err := s.Tend(t.Context(), time.Duration(keep)*store.Day); err != nil {
						t.Errorf("drop what is %d days old: %v", keep, err)
					}
					continue
				}
				for _, batch := range batches {
					var permanent *ledger.RefusedError
					if err := s.Write(t.Context(), slices.Clone(batch)); err != nil && !errors.As(err, &permanent) {
						t.Errorf("write again: %v", err)
					}
				}
			}
		})
	}
	group.Wait()
	expect(t, list[0], "total", int64(many), 0, 0)
	r, err := list[0].Sum(t.Context(), report.Query{})
	if err != nil || r.Rows[0].Calls != 9*20 {
		t.Errorf("%+v, %v; want 180 calls", r.Rows, err)
	}
}

// reportsOfDays asks for spans of ids that have a time, which is not quite that
// of the attempt: one begins long after its call, and clocks are set.
func reportsOfDays(t *testing.T, open Opener) {
	s := one(t, open)
	now := time.Now()
	_, err := s.Tend(t.Context(), 0)
	must(t, err)
	var starts []time.Time
	for day := -20; day <= 5; day++ {
		for n, late := range []time.Duration{0, 40 * time.Hour, -40 * time.Hour} {
			e := fedLine(ofDay(now, day, n))
			e.Line.Start = now.AddDate(0, 0, day).Add(late)
			starts = append(starts, e.Line.Start)
			write(t, s, e)
		}
	}
	for from := -21; from <= 5; from += 2 {
		for to := from + 1; to <= 6; to += 3 {
			q := report.Query{From: now.AddDate(0, 0, from), To: now.AddDate(0, 0, to)}
			var got, want int64
			for _, at := range starts {
				if !at.Before(q.From) && at.Before(q.To) {
					want++
				}
			}
			r, err := s.Sum(t.Context(), q)
			must(t, err)
			if len(r.Rows) > 0 {
				got = r.Rows[0].Calls
			}
			if got != want {
				t.Errorf("from %d to %d: %d calls; want %d", from, to, got, want)
			}
		}
	}
}
