package lease

import (
	"cmp"
	"fmt"
	"math/big"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/weir-gateway/weir/accounting"
)

// A Listing says which windows of a budget count at a time, for whoever keeps
// them.
type Listing struct {
	Budget Budget
	// Scope is that of all of them, or, where Many is set, what theirs begin
	// with: "key/".
	Scope string
	Many  bool
	// Start and End are those of a calendar's window, zero for one that counts
	// all ever. Of a rolling one they are the first and last moment that count,
	// and Bucket is how long its buckets are.
	Start, End time.Time
	Bucket     time.Duration
}

// Listings returns what to list of a tenant's budgets at a time, sorted by
// name. One per call has no windows, and neither Scope nor times.
func (k *Book) Listings(tenant string, at time.Time) []Listing {
	if k == nil {
		return nil
	}
	var list []Listing
	for i := range k.budgets[tenant] {
		list = append(list, k.budgets[tenant][i].listing(at))
	}
	slices.SortFunc(list, func(a, b Listing) int { return cmp.Compare(a.Budget.Name, b.Budget.Name) })
	return list
}

func (e *entry) listing(at time.Time) Listing {
	l := Listing{Budget: e.Budget}
	if e.Per == PerCall {
		return l
	}
	l.Scope, l.Many = e.scopePrefix()
	w := e.window(l.Scope, at)
	l.Start, l.End = w.Start, w.End
	if e.length > 0 {
		l.Start, l.Bucket = w.Since, e.length/Buckets
	}
	return l
}

// scopePrefix is what the scopes of the budget's windows begin with, and
// whether there are many.
func (b *Budget) scopePrefix() (string, bool) {
	if b.Per == PerTenant {
		return string(PerTenant), false
	}
	if label, ok := strings.CutPrefix(string(b.Per), labelScope); ok {
		return "label/" + label + "/", true
	}
	return string(b.Per) + "/", true
}

// WindowOf returns the window of one scope of a budget at a time, whose names may
// stand as they are or escaped as in a window's id, the empty
// scope being "tenant". It fails where the budget has no such scope.
func (k *Book) WindowOf(tenant, budget, scope string, at time.Time) (accounting.Window, error) {
	scope = cmp.Or(scope, string(PerTenant))
	if k != nil {
		for i := range k.budgets[tenant] {
			if e := k.budgets[tenant][i]; e.Name == budget {
				return e.windowOf(scope, at)
			}
		}
	}
	return accounting.Window{}, fmt.Errorf("there is no budget %q of tenant %q", budget, tenant)
}

func (e *entry) windowOf(scope string, at time.Time) (accounting.Window, error) {
	if e.Per == PerCall {
		return accounting.Window{}, fmt.Errorf("budget %q is per call and has no window: change its limit", e.Name)
	}
	prefix, many := e.scopePrefix()
	segments := 1 // behind the prefix
	if e.Per == PerKey {
		segments = 2
	}
	rest, ok := strings.CutPrefix(scope, prefix)
	if !many {
		ok = scope == string(PerTenant)
	} else if strings.Count(rest, "/") != segments-1 || len(scope) > 4*longest {
		ok = false
	}
	if !ok {
		want := string(PerTenant)
		if many {
			want = prefix + strings.TrimSuffix(strings.Repeat("NAME/", segments), "/")
		}
		return accounting.Window{}, fmt.Errorf("budget %q has no window of scope %q: its scopes are %s", e.Name, scope, want)
	}
	return e.window(strings.TrimSuffix(scope, rest)+escaped(rest), at), nil
}

// escaped writes names as the ids of windows have them, where people write them
// as they are: 搜索 as %E6%90%9C%E7%B4%A2. What is written so already stays.
func escaped(names string) string {
	all := strings.Split(names, "/")
	for i, name := range all {
		if isHash(name) {
			continue
		}
		if plain, err := url.PathUnescape(name); err == nil {
			name = plain
		}
		all[i] = escape(name)
	}
	return strings.Join(all, "/")
}

// A Standing is how one window of a budget stands, the buckets of a rolling one
// together. Amounts are in the smallest part of the budget's unit.
type Standing struct {
	Scope string
	// Start and End are zero where all ever counts. Rolls tells that the window
	// never ends.
	Start, End time.Time
	Rolls      bool
	// Limit is the budget's, Adjusted the sum of the window's adjustments.
	Limit, Adjusted      int64
	Spent, Held, Overrun int64
	// Refused and Exceeded count claims.
	Refused, Exceeded int64
}

// Effective is what may be taken: the limit with the adjustments.
func (s Standing) Effective() int64 {
	n, fits := accounting.AddInt64(s.Limit, s.Adjusted)
	if !fits { // only upwards, as limits are not negative
		return 1<<63 - 1
	}
	return n
}

// Percent is how many hundredths of what may be taken are spent, rounded down.
// There is none where nothing may be taken.
func (s Standing) Percent() (int64, bool) {
	limit := s.Effective()
	if limit <= 0 {
		return 0, false
	}
	return ratio(s.Spent, 100, limit)
}

// Forecast is what will be spent at the end of the window if it goes on as it
// has until now, and how many hundredths of the window that rests on. There is
// none for a window without an end, nor at its first moment.
func (s Standing) Forecast(at time.Time) (amount, elapsed int64, ok bool) {
	past, whole := at.Sub(s.Start), s.End.Sub(s.Start)
	if s.Rolls || s.Start.IsZero() || s.End.IsZero() || past <= 0 || past > whole {
		return 0, 0, false
	}
	elapsed, _ = ratio(int64(past), 100, int64(whole)) // at most 100
	amount, ok = ratio(s.Spent, int64(whole), int64(past))
	return amount, elapsed, ok
}

// ratio is a*b/c rounded down, and whether it fits.
func ratio(a, b, c int64) (int64, bool) {
	n := new(big.Int).Mul(big.NewInt(a), big.NewInt(b))
	n.Div(n, big.NewInt(c))
	return n.Int64(), n.IsInt64()
}
