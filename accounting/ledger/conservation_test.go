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
	"time"

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
		budget("t", lease.PerKey, 400, accounting.UnitTokens),
		budget("r", lease.PerEndUser, 6, accounting.UnitRequests),
	}
}

var limits = map[string]int64{"cap": nanosOf(300, 300), "t": 400, "r": 6}

// A call is the model of one attempt: what it claims, and of which windows.
type call struct {
	attempt accounting.Attempt
	in, out int64 // its bound
	hold    *ledger.Hold
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
	path   string
	store  *store.Store
	ledger *ledger.Ledger
	prices *price.Catalogue
	book   *lease.Book

	number int
	// Running have a hold in this process. Orphans had one in a process that
	// crashed. Doubted were settled in doubt while they ran.
	running, orphans, doubted []*call
	spent                     map[string]int64
	lines                     int
}

func (w *world) restart(t *rapid.T) {
	if w.store != nil {
		if err := w.store.Shutdown(); err != nil {
			t.Fatalf("shut down: %v", err)
		}
	}
	s, err := sqlite.Open(context.Background(), w.path)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	w.store = s
	w.ledger = &ledger.Ledger{
		Store: s, Prices: func() *price.Catalogue { return w.prices }, Budgets: func() *lease.Book { return w.book },
		Now: func() time.Time { return start },
	}
}

func (w *world) held() map[string]int64 {
	held := map[string]int64{}
	for _, c := range slices.Concat(w.running, w.orphans) {
		for id, n := range c.amounts(c.in, c.out) {
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

// Hold claims room, and is refused where and only where there is none.
func (w *world) Hold(t *rapid.T) {
	w.number++
	c := &call{attempt: attempt(fmt.Sprint("call-", w.number)), in: rapid.Int64Range(0, 60).Draw(t, "input"), out: rapid.Int64Range(0, 60).Draw(t, "output")}
	c.attempt.Subject.Key = rapid.SampledFrom([]string{"k1", "k2"}).Draw(t, "key")
	c.attempt.Subject.EndUser = rapid.SampledFrom([]string{"", "u1", "u2"}).Draw(t, "end user")
	c.attempt.Deadline = start.Add(time.Duration(rapid.IntRange(0, 10).Draw(t, "deadline")) * time.Second)
	held, fits := w.held(), true
	for id, n := range c.amounts(c.in, c.out) {
		fits = fits && w.spent[id]+held[id]+n <= limitOf(id)
	}
	h, err := w.ledger.Hold(context.Background(), c.attempt, tokens(c.in, c.out), nil)
	var exhausted *accounting.ExhaustedError
	switch {
	case err == nil && fits:
		c.hold = h
		w.running = append(w.running, c)
	case errors.As(err, &exhausted) && !fits:
		id := exhausted.Claim.Window.ID
		if exhausted.Spent != w.spent[id] || exhausted.Held != held[id] {
			t.Fatalf("the refusal says %+v; spent is %d and held %d", exhausted, w.spent[id], held[id])
		}
	default:
		t.Fatalf("hold: %v; it fits: %t", err, fits)
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
		r.Usage, in, out = accounting.Usage{}, c.in, c.out
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

// Crash ends the process: no hold of it will ever settle.
func (w *world) Crash(t *rapid.T) {
	w.orphans = append(w.orphans, w.running...)
	w.running = nil
	w.restart(t)
}

// Recover settles what is past its deadline, also what still runs.
func (w *world) Recover(t *rapid.T) {
	before := start.Add(time.Duration(rapid.IntRange(0, 11).Draw(t, "before")) * time.Second)
	want := 0
	due := func(list *[]*call, doubted *[]*call) {
		*list = slices.DeleteFunc(*list, func(c *call) bool {
			if !c.attempt.Deadline.Before(before) {
				return false
			}
			want++
			w.spend(c.amounts(c.in, c.out))
			if doubted != nil {
				*doubted = append(*doubted, c)
			}
			return true
		})
	}
	due(&w.orphans, nil)
	due(&w.running, &w.doubted)
	if n, err := w.ledger.Recover(context.Background(), before); n != want || err != nil {
		t.Fatalf("recovered %d, %v; want %d", n, err, want)
	}
	if n, err := w.ledger.Recover(context.Background(), before); n != 0 || err != nil {
		t.Fatalf("recovered %d more, %v", n, err)
	}
}

// SettleLate ends a call that was settled in doubt meanwhile.
func (w *world) SettleLate(t *rapid.T) {
	if len(w.doubted) == 0 {
		t.Skip("nothing is in doubt")
	}
	c := w.doubted[0]
	w.doubted = w.doubted[1:]
	if _, err := c.hold.Settle(context.Background(), completed(tokens(1, 1))); err == nil {
		t.Fatal("a call in doubt was settled again")
	}
}

// Check compares every window with the model.
func (w *world) Check(t *rapid.T) {
	if off, err := w.store.Audit(context.Background()); err != nil || len(off) > 0 {
		t.Fatalf("audit: %q, %v", off, err)
	}
	windows, err := w.store.Windows(context.Background(), "acme", start, 100)
	if err != nil {
		t.Fatal(err)
	}
	held, seen := w.held(), map[string]bool{}
	for _, s := range windows {
		seen[s.ID] = true
		if s.Spent != w.spent[s.ID] || s.Held != held[s.ID] {
			t.Fatalf("window %s: spent %d, held %d; want %d, %d", s.ID, s.Spent, s.Held, w.spent[s.ID], held[s.ID])
		}
		if s.Spent+s.Held > s.Limit+s.Overrun || s.Overrun < 0 || s.Limit != limitOf(s.ID) {
			t.Fatalf("window %+v breaks spent + held <= limit + overrun", s)
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
		w := &world{path: filepath.Join(dir, "weir.db"), spent: map[string]int64{}}
		if w.prices, err = price.New([]price.Price{{Model: "m", Currency: "USD", PerUnit: map[accounting.Meter]accounting.Pico{accounting.Input: inputNanos * 1000, accounting.Output: outputNanos * 1000}}}); err != nil {
			t.Fatal(err)
		}
		if w.book, err = lease.NewBook(tightBudgets()); err != nil {
			t.Fatal(err)
		}
		w.restart(t)
		defer func() { w.store.Shutdown() }()
		t.Repeat(map[string]func(*rapid.T){
			"": w.Check, "Hold": w.Hold, "HoldMore": w.Hold, "Settle": w.Settle, "Crash": w.Crash, "Recover": w.Recover, "SettleLate": w.SettleLate,
		})
		lines := 0
		for i := range w.number {
			found, err := w.store.Lines(context.Background(), fmt.Sprint("call-", i+1))
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
