package gateway_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/weir-gateway/weir/accounting/lease"
	"github.com/weir-gateway/weir/server/gateway"
	"github.com/weir-gateway/weir/server/store"
)

// mute is a store that answers no grant, as behind a network that loses packets.
type mute struct{ *store.Store }

func (mute) Grant(ctx context.Context, _ time.Duration, _ []lease.Want) ([]lease.Grant, error) {
	<-ctx.Done()
	return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, ctx.Err())
}

// A call whose own deadline is far away is told to come again where the store
// does not answer in its time, and one that has none left that it has none.
func TestAStoreThatDoesNotAnswerIsNoDeadline(t *testing.T) {
	h := newHouse(t, fmt.Sprintf(cap, "5 USD"))
	ask := func(timeout, within time.Duration) error {
		c := lease.Defaults()
		c.Store, c.Replica, c.Incarnation, c.Timeout = mute{h.Store}, "house", 1, timeout
		var err error
		if h.Ledger.Leases, err = lease.NewHolder(c); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		_, _, err = h.ask(ctx, newCall("hello"))
		return err
	}
	if err := ask(time.Millisecond, time.Minute); reason(err) != gateway.AccountingUnavailable || err.(*gateway.Error).RetryAfter <= 0 {
		t.Errorf("the store does not answer: %v", err)
	}
	if err := ask(time.Minute, time.Millisecond); reason(err) != gateway.DeadlineExceeded {
		t.Errorf("the deadline has passed: %v", err)
	}
}
