package ledger_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/lease"
	"github.com/weir-gateway/weir/accounting/ledger"
	"github.com/weir-gateway/weir/accounting/spool"
	"github.com/weir-gateway/weir/server/store"
)

// unasked is a store that grants nothing since it cannot be reached.
type unasked struct{ *store.Store }

func (unasked) Grant(context.Context, time.Duration, []lease.Want) ([]lease.Grant, error) {
	return nil, store.ErrUnavailable
}

// What passed a budget in shadow while the store was away is told of then, and
// counted when it is back: settled, or in doubt where the process died.
func TestABudgetInShadowCountsWhatPassedItUnheld(t *testing.T) {
	s, dir := openStore(t), t.TempDir()
	tried := budget("cap", lease.PerTenant, nanosOf(0, 1000), "USD")
	tried.Mode = lease.Shadow
	start := func(incarnation int64) (*process, int) {
		t.Helper()
		p, inDoubt, err := openLedger(s, s, dir, incarnation, prices(t), book(t, tried))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.stop)
		return p, inDoubt
	}
	l, _ := start(1)
	c := lease.Defaults()
	c.Store, c.Replica, c.Incarnation = unasked{s}, "r", 1
	var err error
	if l.Leases, err = lease.NewHolder(c); err != nil {
		t.Fatal(err)
	}
	l.Watch = &ledger.Watch{Store: s, Tell: func(accounting.Alert) {}}
	h := hold(t, l, "settled", tokens(10, 20))
	if told := h.Excesses(); len(told) != 1 || !told[0].Unheld || !strings.Contains(told[0].String(), "does not answer") {
		t.Errorf("told of %v", told)
	}
	if _, err := h.Settle(t.Context(), completed(tokens(10, 15))); err != nil {
		t.Fatal(err)
	}
	hold(t, l, "killed", tokens(1, 2))
	if err := l.Watch.Flush(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	l.stop()
	next, inDoubt := start(2)
	if inDoubt != 1 {
		t.Errorf("%d calls are in doubt", inDoubt)
	}
	expect(t, s, next, cap07, nanosOf(11, 17), 0, 0)
}

// Where callers wait for the store no call begins while it takes nothing: it
// would be paid for, and end without an OK.
func TestNoCallBeginsThatCouldNotBeKept(t *testing.T) {
	for durability, begins := range map[spool.Durability]bool{spool.Commit: true, spool.Store: false} {
		s, asked, back := openStore(t), make(chan struct{}), make(chan struct{})
		l := runOn(t, &faulty{Store: s, before: func([]ledger.Entry) error {
			select {
			case asked <- struct{}{}:
				return store.ErrUnavailable
			case <-back:
				return nil
			}
		}})
		l.Durability = durability
		settle := func(h *ledger.Hold) <-chan error {
			done := make(chan error, 1)
			go func() {
				_, err := h.Settle(context.Background(), completed(tokens(1, 1)))
				done <- err
			}()
			return done
		}
		first := settle(hold(t, l, "first", tokens(1, 1))) // nobody knows yet
		<-asked
		<-asked // so the first answer has arrived
		h, err := l.Hold(t.Context(), attempt("second"), tokens(1, 1), nil)
		if begins != (err == nil) || !begins && !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("durability %v: a call begins while the store is away: %v", durability, err)
		}
		close(back)
		if err := <-first; err != nil {
			t.Errorf("durability %v: %v", durability, err)
		}
		if begins {
			if err := <-settle(h); err != nil {
				t.Error(err)
			}
		}
		if err := l.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-settle(hold(t, l, "third", tokens(1, 1))); err != nil {
			t.Errorf("durability %v, when the store is back: %v", durability, err)
		}
	}
}
