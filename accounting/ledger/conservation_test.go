package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/lease"
	"github.com/weir-gateway/weir/accounting/ledger"
	"github.com/weir-gateway/weir/accounting/price"
	"github.com/weir-gateway/weir/server/store"
	"github.com/weir-gateway/weir/server/store/sqlite"
)

// The budgets of the property: a window for all, one per key, one per end
// user, in all three kinds of unit, small enough to be exhausted.
func tightBudgets() []lease.Budget {
	return []lease.Budget{
		budget("cap", lease.PerTenant, nanosOf(300, 300), "USD"),
		cutting(budget("t", lease.PerKey, 400, accounting.UnitTokens)),
		budget("r", lease.PerEndUser, 6, accounting.UnitRequests),
	}
}

func cutting(b lease.Budget) lease.Budget {
	b.Cut = true
	return b
}

var limits = map[string]int64{"cap": nanosOf(300, 300), "t": 400, "r": 6}

// A call is the model of one attempt: what it claims, and of which windows.
type call struct {
	attempt accounting.Attempt
	in, out int64 // its bound
	covered int64 // of the output, by its hold
	hold    *ledger.Hold
}

// held is what the call keeps from others: in the window that cuts, what it
// covers.
func (c *call) held() map[string]int64 {
	m := c.amounts(c.in, c.out)
	for id := range m {
		if strings.HasPrefix(id, "acme/t/") {
			m[id] = c.in + c.covered
		}
	}
	return m
}

// amounts is what a use is worth in each window, reckoned without the ledger.
func (c *call) amounts(in, out int64) map[string]int64 {
	m := map[string]int64{
		cap07: nanosOf(in, out),
		"acme/t/key/default/" + c.attempt.Subject.Key + "/2026-07": in + out,
	}
	if u := c.attempt.Subject.EndUser; u != "" {
		m["acme/r/end_user/"+u+"/2026-07"] = 1
	}
	return m
}

// world is the ledger, a crashing process around it, and the model beside it.
type world struct {
	dir     string
	store   *store.Store
	process *process
	prices  *price.Catalogue
	book    *lease.Book

	number, incarnation int64
	running             []*call
	spent               map[string]int64
	lines               int
}

// open runs a process on what the one before has left.
func (w *world) open(t *rapid.T) (inDoubt int) {
	w.incarnation++
	s, err := sqlite.Open(context.Background(), filepath.Join(w.dir, "weir.db"))
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	w.store = s
	if w.process, inDoubt, err = openLedger(s, s, filepath.Join(w.dir, "spool"), w.incarnation, w.prices, w.book); err != nil {
		t.Fatalf("open the ledger: %v", err)
	}
	return inDoubt
}

func (w *world) close(t *rapid.T) {
	w.process.stop()
	if err := w.store.Shutdown(); err != nil {
		t.Fatalf("shut down: %v", err)
	}
}

func (w *world) held() map[string]int64 {
	held := map[string]int64{}
	for _, c := range w.running {
		for id, n := range c.held() {
			held[id] += n
		}
	}
	return held
}

func (w *world) spend(amounts map[string]int64) {
	for id, n := range amounts {
		w.spent[id] += n
	}
	w.lines++
}

// Hold claims room, and is refused where and only where there is none. Nothing
// can be claimed of what is overrun.
func (w *world) Hold(t *rapid.T) {
	w.number++
	c := &call{attempt: attempt(fmt.Sprint("call-", w.number)), in: rapid.Int64Range(0, 60).Draw(t, "input"), out: rapid.Int64Range(0, 60).Draw(t, "output")}
	c.attempt.Subject.Key = rapid.SampledFrom([]string{"k1", "k2"}).Draw(t, "key")
	c.attempt.Subject.EndUser = rapid.SampledFrom([]string{"", "u1", "u2"}).Draw(t, "end user")
	w.sync(t)
	if rapid.IntRange(0, 3).Draw(t, "long") == 0 {
		c.out += 100
	}
	c.covered = c.out
	held := w.held()
	fits := func(id string) bool {
		n := c.held()[id]
		return n == 0 || w.spent[id]+held[id]+n <= limitOf(id)
	}
	var lacking []string
	for id := range c.held() {
		if !fits(id) {
			lacking = append(lacking, id)
		}
	}
	tight := w.process.Leases.Tight("acme/t/key/default/" + c.attempt.Subject.Key + "/2026-07")
	h, err := w.process.Hold(context.Background(), c.attempt, tokens(c.in, c.out), nil)
	var exhausted *accounting.ExhaustedError
	switch {
	case err == nil:
		c.covered, _ = h.Covers()
		// Where a window that cuts is short, others may be too: then the hold was
		// refused.
		for id := range c.held() {
			if !fits(id) {
				t.Fatalf("held with %d of %d covered, for which %s has no room: spent %d, held %d", c.covered, c.out, id, w.spent[id], held[id])
			}
		}
		if c.covered < c.out && !tight && (len(lacking) != 1 || !strings.HasPrefix(lacking[0], "acme/t/")) {
			t.Fatalf("%d of %d are covered; %q lack room for the whole", c.covered, c.out, lacking)
		}
		c.hold = h
		w.running = append(w.running, c)
	case errors.As(err, &exhausted) && len(lacking) > 0:
		id := exhausted.Claim.Window.ID
		if exhausted.Spent != w.spent[id] || exhausted.Held != held[id] {
			t.Fatalf("the refusal says %+v; spent is %d and held %d", exhausted, w.spent[id], held[id])
		}
	default:
		t.Fatalf("hold: %v; %q lack room", err, lacking)
	}
}

// Grow lets more of an answer through.
func (w *world) Grow(t *rapid.T) {
	if len(w.running) == 0 {
		t.Skip("nothing runs")
	}
	c := rapid.SampledFrom(w.running).Draw(t, "which")
	w.sync(t)
	id := "acme/t/key/default/" + c.attempt.Subject.Key + "/2026-07"
	output := min(c.out, c.covered+rapid.Int64Range(-60, 60).Draw(t, "more"))
	fits := output <= c.covered || w.spent[id]+w.held()[id]+output-c.covered <= limitOf(id)
	before := c.covered
	err := c.hold.Cover(context.Background(), output)
	c.covered, _ = c.hold.Covers()
	if (err == nil) != fits || c.covered < before || fits && c.covered < output {
		t.Fatalf("cover %d after %d: %v, %d covered; it fits: %t", output, before, err, c.covered, fits)
	}
}

// Shrink gives back what an answer does not need yet.
func (w *world) Shrink(t *rapid.T) {
	if len(w.running) == 0 {
		t.Skip("nothing runs")
	}
	c := rapid.SampledFrom(w.running).Draw(t, "which")
	output, before := rapid.Int64Range(0, 160).Draw(t, "output"), c.covered
	c.hold.Shrink(output)
	c.covered, _ = c.hold.Covers()
	if c.covered > before || c.covered < min(output, before) || before > output+100 && c.covered == before {
		t.Fatalf("shrunk to %d: %d are covered, and %d were", output, c.covered, before)
	}
}

func limitOf(id string) int64 { return limits[strings.Split(id, "/")[1]] }

// Settle ends a call as it may end: for less than it held, for more, or
// unpaid; and twice.
func (w *world) Settle(t *rapid.T) {
	if len(w.running) == 0 {
		t.Skip("nothing runs")
	}
	i := rapid.IntRange(0, len(w.running)-1).Draw(t, "which")
	c := w.running[i]
	w.running = slices.Delete(w.running, i, i+1)
	in, out := rapid.Int64Range(0, 90).Draw(t, "input"), rapid.Int64Range(0, 90).Draw(t, "output")
	r := ledger.Result{Outcome: rapid.SampledFrom([]accounting.Outcome{accounting.OutcomeCompleted, accounting.OutcomeCancelled, accounting.OutcomeFailed, accounting.OutcomeBroken}).Draw(t, "outcome"),
		Usage: tokens(in, out), Source: accounting.SourceProvider}
	if rapid.IntRange(0, 4).Draw(t, "nobody counted") == 0 {
		r.Usage, in, out = accounting.Usage{}, c.in, c.covered
	}
	if _, err := c.hold.Settle(context.Background(), r); err != nil {
		t.Fatalf("settle: %v", err)
	}
	if r.Outcome.Charged() {
		w.spend(c.amounts(in, out))
	} else {
		w.lines++
	}
	if _, err := c.hold.Settle(context.Background(), r); err != nil {
		t.Fatalf("settle again: %v", err)
	}
}

// Crash ends the process in the middle of its calls. What was settled may be in
// the store by then or not.
func (w *world) Crash(t *rapid.T) {
	if rapid.Bool().Draw(t, "the store has everything") {
		w.sync(t)
	}
	w.close(t)
	for _, c := range w.running {
		w.spend(c.amounts(c.in, c.covered))
	}
	if n := w.open(t); n != len(w.running) {
		t.Fatalf("%d calls are in doubt; %d ran", n, len(w.running))
	}
	w.running = nil
}

// Rest gives back what no call holds.
func (w *world) Rest(t *rapid.T) {
	w.sync(t)
	if err := w.process.Leases.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	held := w.held()
	for _, s := range w.windows(t) {
		if s.Leased != held[s.ID] {
			t.Fatalf("window %s: %d leased; calls hold %d", s.ID, s.Leased, held[s.ID])
		}
	}
}

func (w *world) sync(t *rapid.T) {
	if err := w.process.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func (w *world) windows(t *rapid.T) []accounting.WindowState {
	windows, err := w.store.Windows(context.Background(), "acme", start, 100)
	if err != nil {
		t.Fatal(err)
	}
	return windows
}

// Check compares every window with the model.
func (w *world) Check(t *rapid.T) {
	w.sync(t)
	if off, err := w.store.Audit(context.Background()); err != nil || len(off) > 0 {
		t.Fatalf("audit: %q, %v", off, err)
	}
	held, seen := w.held(), map[string]bool{}
	for _, s := range w.windows(t) {
		seen[s.ID] = true
		if s.Spent != w.spent[s.ID] || s.Leased < held[s.ID] {
			t.Fatalf("window %s: spent %d, leased %d; want %d, and %d at least", s.ID, s.Spent, s.Leased, w.spent[s.ID], held[s.ID])
		}
		if s.Spent+s.Leased > s.Limit+s.Overrun || s.Overrun < 0 || s.Limit != limitOf(s.ID) {
			t.Fatalf("window %+v breaks spent + leased <= limit + overrun", s)
		}
	}
	for id := range w.spent {
		if !seen[id] {
			t.Fatalf("window %s is not there", id)
		}
	}
}

// Whatever happens in whatever order, not a nano is lost or made.
func TestMoneyIsConserved(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "weir-ledger-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		w := &world{dir: dir, spent: map[string]int64{}}
		if w.prices, err = price.New([]price.Price{{Model: "m", Currency: "USD", PerUnit: map[accounting.Meter]accounting.Pico{accounting.Input: inputNanos * 1000, accounting.Output: outputNanos * 1000}}}); err != nil {
			t.Fatal(err)
		}
		if w.book, err = lease.NewBook(tightBudgets()); err != nil {
			t.Fatal(err)
		}
		w.open(t)
		defer func() { w.close(t) }()
		t.Repeat(map[string]func(*rapid.T){
			"": w.Check, "Hold": w.Hold, "HoldMore": w.Hold, "Grow": w.Grow, "Shrink": w.Shrink, "Settle": w.Settle, "Crash": w.Crash, "Rest": w.Rest,
		})
		w.sync(t)
		lines := 0
		for i := range w.number {
			found, err := w.store.Lines(context.Background(), id(fmt.Sprint("call-", i+1)))
			if err != nil || len(found) > 1 {
				t.Fatalf("call %d has %d lines, %v", i+1, len(found), err)
			}
			lines += len(found)
		}
		if lines != w.lines {
			t.Fatalf("%d lines; want %d", lines, w.lines)
		}
	})
}
