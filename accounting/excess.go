package accounting

import (
	"fmt"
	"time"
)

// An Excess says that a budget granted what it had no room for, or may have had
// none for.
type Excess struct {
	// Window has no id where the budget is per call.
	Window Window
	// Taken is what was spent and held before, Amount what was granted.
	Taken, Amount int64
	// Shadow tells that the budget would have refused it if it were enforced;
	// else its grace covers it.
	Shadow bool
	// Unheld tells that the store, which knows what was taken, could not be asked:
	// Taken is zero, and nothing is held.
	Unheld bool
}

func (e Excess) String() string {
	how := "under its grace"
	if e.Shadow {
		how = "in shadow"
	}
	w := e.Window
	if e.Unheld {
		return fmt.Sprintf("budget %q of tenant %q let %s pass %s, and nothing is held: the database, which knows what is left of %s, does not answer",
			w.Budget, w.Tenant, FormatAmount(w.Unit, e.Amount), how, FormatAmount(w.Unit, w.Limit))
	}
	return fmt.Sprintf("budget %q of tenant %q let %s pass %s: its limit is %s, and %s was taken before",
		w.Budget, w.Tenant, FormatAmount(w.Unit, e.Amount), how, FormatAmount(w.Unit, w.Limit), FormatAmount(w.Unit, e.Taken))
}

// An Alert says that the spending of a window has reached a share of its limit.
// There is one for each window and percentage; of a rolling window, one within
// its length.
type Alert struct {
	// Window is the id of the window, or of the series of a rolling one.
	Window                string
	Tenant, Budget, Scope string
	Unit                  Unit
	Percent               int
	// Spent and Limit are as they stood when it was raised.
	Spent, Limit int64
	Raised       time.Time
}

func (a Alert) String() string {
	return fmt.Sprintf("budget %q of tenant %q has spent %s, which is %d%% or more of %s",
		a.Budget, a.Tenant, FormatAmount(a.Unit, a.Spent), a.Percent, FormatAmount(a.Unit, a.Limit))
}
