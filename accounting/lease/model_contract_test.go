package lease

import (
	"testing"
	"time"

	"github.com/weir-gateway/weir/accounting"
)

// modelRig is the model with a clock that the test moves.
type modelRig struct {
	*model
	at time.Time
}

func newModelRig() *modelRig {
	r := &modelRig{at: simEpoch}
	r.model = newModel(func() time.Time { return r.at })
	return r
}

func (r *modelRig) later(d time.Duration) { r.at = r.at.Add(d) }

func (r *modelRig) row(window string) Balance {
	if w := r.windows[window]; w != nil {
		return w.Balance
	}
	return Balance{}
}

// ModelRig is it as leasetest sees a store.
type ModelRig struct{ *modelRig }

// NewModelRig makes an empty one.
func NewModelRig() ModelRig { return ModelRig{newModelRig()} }

func (r ModelRig) Later(d time.Duration)              { r.later(d) }
func (r ModelRig) Check() error                       { return r.check() }
func (r ModelRig) Row(window string) (Balance, error) { return r.row(window), nil }
func (r ModelRig) Settle(line string, windows []accounting.Window, settlements []Settlement) (bool, error) {
	return r.settle(line, windows, settlements)
}

func id(replica string, incarnation, number int64) ID { return ID{replica, incarnation, number} }

func contractWindow(limit int64) accounting.Window {
	return accounting.Window{ID: "acme/cap/tenant/2026-07", Budget: "cap", Tenant: "acme", Scope: "tenant", Unit: accounting.UnitTokens,
		Start: simEpoch, End: simEpoch.AddDate(0, 1, 0), Limit: limit}
}

func balance(t *testing.T, s interface{ row(string) Balance }, w accounting.Window, want Balance) {
	t.Helper()
	if got := s.row(w.ID); got != want {
		t.Fatalf("window has %+v; want %+v", got, want)
	}
}
