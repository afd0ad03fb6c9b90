package lease

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/weir-gateway/weir/accounting"
)

// A Mode says what a budget does where it has no room.
type Mode string

// The modes. The empty one is Enforce.
const (
	Enforce Mode = "enforce" // it refuses
	Shadow  Mode = "shadow"  // it lets the call pass, and tells that it would have refused
)

const (
	mostAlerts       = 10
	highestThreshold = 1000
	mostGrace        = 100
)

// ParsePercent reads a whole number of hundredths, such as "80%".
func ParsePercent(s string) (int, error) {
	digits, ok := strings.CutSuffix(strings.TrimSpace(s), "%")
	n, err := strconv.ParseUint(digits, 10, 31)
	if !ok || err != nil {
		return 0, fmt.Errorf("%q is not a whole percentage: write it as 80%%", s)
	}
	return int(n), nil
}

// checkMode tells what is wrong with how a budget deals with its limit.
func (b *Budget) checkMode() error {
	switch b.Mode {
	case "", Enforce, Shadow:
	default:
		return fmt.Errorf("%q is not a mode: use enforce or shadow", b.Mode)
	}
	if b.Grace < 0 || b.Grace > mostGrace {
		return fmt.Errorf("its grace is %d%%: use at most %d%%", b.Grace, mostGrace)
	}
	if _, fits := accounting.AddInt64(b.Limit, b.grace()); !fits {
		return fmt.Errorf("its limit and grace: %w", accounting.ErrOverflow)
	}
	if len(b.Alerts) > mostAlerts {
		return fmt.Errorf("it has %d alerts: use at most %d", len(b.Alerts), mostAlerts)
	}
	for i, percent := range b.Alerts {
		if percent < 1 || percent > highestThreshold {
			return fmt.Errorf("an alert at %d%%: use 1%% to %d%%", percent, highestThreshold)
		}
		if slices.Contains(b.Alerts[:i], percent) {
			return fmt.Errorf("two alerts at %d%%: keep one", percent)
		}
	}
	switch {
	case b.Per == PerCall && len(b.Alerts) > 0:
		return fmt.Errorf("a budget per call has no window to alert of: leave its alerts out")
	case b.Cut && b.Unit == accounting.UnitRequests:
		return fmt.Errorf("a request cannot be cut: leave cut out, or limit money or tokens")
	}
	return nil
}

// grace is what the budget lets pass above its limit, in the unit of that.
func (b *Budget) grace() int64 {
	n, _ := accounting.Percent(b.Limit, b.Grace) // at most the limit
	return n
}

// Alerts returns the percentages of its limit at which a budget alerts. The
// slice must not be changed.
func (k *Book) Alerts(tenant, budget string) []int {
	if k == nil {
		return nil
	}
	for i := range k.budgets[tenant] {
		if b := k.budgets[tenant][i]; b.Name == budget {
			return b.Budget.Alerts
		}
	}
	return nil
}
