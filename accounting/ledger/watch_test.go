package ledger_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/lease"
	"github.com/weir-gateway/weir/accounting/ledger"
	"github.com/weir-gateway/weir/server/store"
)

// away is a store of notes that cannot be asked at times.
type away struct {
	*store.Store
	gone bool
}

func (a *away) Note(ctx context.Context, notes []ledger.Note, at time.Time) ([]accounting.Alert, error) {
	if a.gone {
		return nil, store.ErrUnavailable
	}
	return a.Store.Note(ctx, notes, at)
}

func TestAWatchAlertsOnce(t *testing.T) {
	s := openStore(t)
	alerting := budget("cap", lease.PerTenant, nanosOf(0, 100), "USD")
	alerting.Alerts = []int{50, 100}
	l := newLedger(t, s, alerting, budget("quiet", lease.PerTenant, 1e9, accounting.UnitTokens))
	db := &away{Store: s}
	var told []int
	l.Watch = &ledger.Watch{Store: db, Tell: func(a accounting.Alert) { told = append(told, a.Percent) }}
	flush := func(want ...int) {
		t.Helper()
		told = nil
		l.rest(t)
		if err := l.Watch.Flush(t.Context(), start); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(told, want) {
			t.Errorf("told of %v; want %v", told, want)
		}
	}
	use := func(call string, out int64, outcome accounting.Outcome) {
		t.Helper()
		r := completed(tokens(0, out))
		r.Outcome = outcome
		if _, err := hold(t, l, call, tokens(0, out)).Settle(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	flush()
	use("a", 40, accounting.OutcomeCompleted)
	flush()
	use("b", 50, accounting.OutcomeFailed) // nobody pays
	flush()
	use("c", 20, accounting.OutcomeCompleted)
	l.rest(t)
	db.gone = true
	if err := l.Watch.Flush(t.Context(), start); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("flush: %v", err)
	}
	db.gone = false
	flush(50)
	flush()
	// Refusals are counted as well.
	for _, call := range []string{"d", "e"} {
		var exhausted *accounting.ExhaustedError
		if _, err := l.Hold(t.Context(), attempt(call), tokens(0, 41), nil); !errors.As(err, &exhausted) {
			t.Fatal(err)
		}
	}
	use("f", 40, accounting.OutcomeCancelled)
	flush(100)
}

func TestALenientBudgetPerCallLetsPassAndTells(t *testing.T) {
	s := openStore(t)
	shadow, graced := perCall("shadow", 10, accounting.UnitTokens), perCall("graced", 100, accounting.UnitTokens)
	shadow.Mode, graced.Grace = lease.Shadow, 20
	l := newLedger(t, s, shadow, graced)
	for call, want := range map[string]struct {
		tokens  int64
		exceeds []string
	}{"a": {10, nil}, "b": {11, []string{"shadow true"}}, "c": {120, []string{"shadow true", "graced false"}}} {
		h, err := l.Hold(t.Context(), attempt(call), tokens(0, want.tokens), nil)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range h.Excesses() {
			how := " false"
			if e.Shadow {
				how = " true"
			}
			got = append(got, e.Window.Budget+how)
		}
		if !slices.Equal(got, want.exceeds) {
			t.Errorf("%d tokens exceed %q; want %q", want.tokens, got, want.exceeds)
		}
	}
	var bound *ledger.BoundError
	if _, err := l.Hold(t.Context(), attempt("d"), tokens(0, 121), nil); !errors.As(err, &bound) || bound.Budget != "graced" {
		t.Errorf("121 tokens: %v", err)
	}
}
