// Package lease is about room to spend: budgets, the windows of time they
// count in, and the leases by which replicas own slices of those windows. It
// knows no prices and no database: it says which windows a use feeds and what
// its Store has to keep, and the ledger's store keeps it.
//
// # Leases
//
// A lease is escrow: room that one replica owns, so that it can be held and
// settled there with a compare-and-swap, without asking anybody. Of each window
//
//	spent + leased <= limit + overrun
//
// where leased is the sum of what remains of its leases, and only Store.Grant
// adds to leased, and never past the limit. A replica can hold only what it
// owns, so no number of replicas together can hold more than the limit. (After
// a limit was lowered the only claim is that nothing is granted.)
//
// A Holder takes holds of its leases: Take, TopUp, Settle, End. Where a lease
// lacks room, one synchronous grant brings what is needed, and more where the
// pace of the window suggests it and the window has plenty. Near the limit a
// grant brings exactly what one hold lacks, and a hold that is refused gives
// back its fragment. Windows of end users and sessions are so many that a
// replica never has more of them than it holds. Tick renews the leases in use
// and gives back the idle ones; Close gives back all.
//
// # What may go wrong
//
// Requests and answers may be lost, late or doubled. Whatever the two sides
// tell each other is a total that only grows: granted, returned, settled. So
// the last word says everything, repeating it changes nothing, and no sequence
// of requests has to be remembered across a lost answer. A lease that is closed
// stays closed, also when its first grant is still on its way.
//
// A replica that the store does not hear of may be alive, so its lease is
// forfeited and not freed: what remains stays in leased, for the calls that are
// still running. It leaves by their settlements, by the replica's return, by
// Release when its spool was replayed, at the end of the window, or by Reclaim
// when its disk is lost. The holder takes no new hold at the end of its lease
// less the skew, by its own clock, and the store forfeits at the end and a
// grace more, by its own. Should a clock leave its bounds, such as that of a
// machine that was suspended, holds are taken of a forfeited lease: they are
// still covered by what remains of it, unless it was reclaimed.
//
// A crash between two steps counts nothing twice, since a hold is in the spool
// before its room is used, and its settlement before the rest is given back.
//
// Nothing is refused at settle. What a use takes beyond its hold comes from the
// free room of its lease, then from the window's, and what goes past the limit
// is overrun: zero unless a call used more than it held, or was let pass by a
// soft budget, or was reclaimed while it ran. A lease that was overdrawn pays the
// store of what comes free next, so that no hold is taken of room that is spent.
//
// All this is proven by a simulation of several replicas, their disks, clocks
// and network, which has to find each of a list of faults (TestSimulation,
// TestSimulationFindsFaults).
package lease

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/weir-gateway/weir/accounting"
)

// A Period says how long a window of a budget lasts.
type Period string

// The periods, beside those that Rolling makes. All but Total follow the
// calendar of the budget's time zone; weeks begin on Monday.
const (
	Total Period = "total"
	Hour  Period = "hour"
	Day   Period = "day"
	Week  Period = "week"
	Month Period = "month"
)

// A Budget limits what one tenant may spend in each window of each scope.
type Budget struct {
	// Name is unique in its Tenant.
	Name   string
	Tenant string
	// Project restricts the budget to one project; empty for all.
	Project string
	Per     Scope
	// Limit is in the smallest part of Unit: nanos for money, one for others.
	Limit int64
	// Unit is the code of a currency, tokens or requests.
	Unit accounting.Unit
	// Window is empty where the budget is per call.
	Window Period
	// TimeZone is the IANA name by whose calendar windows begin; empty for UTC.
	TimeZone string
	// Mode says what becomes of a claim that has no room. Grace is what may be
	// taken above the limit, and Alerts are the shares of the limit at which
	// somebody is told; both in hundredths of the limit.
	Mode   Mode
	Grace  int
	Alerts []int
	// Cut lets a call begin whose full hold has no room, and end where the room
	// ends.
	Cut bool
}

// Validate tells what is wrong with a budget.
func (b *Budget) Validate() error {
	_, err := b.location()
	if err != nil {
		return err
	}
	wrong := func(format string, a ...any) error {
		return fmt.Errorf("budget %q: %w", b.Name, fmt.Errorf(format, a...))
	}
	switch {
	case b.Name == "":
		return errors.New("a budget has no name: give it one")
	case b.Tenant == "":
		return wrong("it has no tenant: say whose budget it is")
	case b.Limit < 0:
		return wrong("its limit is negative: %s", accounting.FormatAmount(b.Unit, b.Limit))
	}
	if !b.Per.known() {
		return wrong("%q is nothing to count per: use tenant, project, key, model, label:NAME, end_user, session or call", b.Per)
	}
	switch b.Window {
	case Total, Hour, Day, Week, Month:
		if b.Per == PerCall {
			return wrong("a budget per call bounds each call by itself: leave its window out")
		}
	case "":
		if b.Per != PerCall {
			return wrong("it has no window: use total, hour, day, week, month, or rolling and a length such as rolling 24h")
		}
	default:
		_, rolls, err := b.Window.rolling()
		switch {
		case err != nil:
			return wrong("%w", err)
		case !rolls:
			return wrong("%q is not a window: use total, hour, day, week, month, or rolling and a length such as rolling 24h", b.Window)
		case b.Per == PerCall:
			return wrong("a budget per call bounds each call by itself: leave its window out")
		case b.TimeZone != "":
			return wrong("a rolling window follows no calendar: leave time_zone out")
		}
	}
	switch b.Unit {
	case accounting.UnitTokens, accounting.UnitRequests:
	default:
		if err := accounting.CheckCurrency(string(b.Unit)); err != nil {
			return wrong("its limit is in %q: use a currency such as USD, tokens or requests", b.Unit)
		}
	}
	if err := b.checkMode(); err != nil {
		return wrong("%w", err)
	}
	return nil
}

func (b *Budget) location() (*time.Location, error) {
	if b.TimeZone == "Local" {
		return nil, fmt.Errorf("budget %q: time zone Local differs from machine to machine: write its name, such as Europe/Berlin", b.Name)
	}
	zone, err := time.LoadLocation(b.TimeZone)
	if err != nil {
		return nil, fmt.Errorf("budget %q: %q is not a time zone: use a name of the IANA database, such as Europe/Berlin", b.Name, b.TimeZone)
	}
	return zone, nil
}

// ParseLimit reads a limit such as "5 USD", "1M tokens" or "1000 requests" in
// the smallest part of its unit. Counts may end in k, M or B.
func ParseLimit(s string) (int64, accounting.Unit, error) {
	number, unit, ok := strings.Cut(strings.TrimSpace(s), " ")
	unit = strings.TrimSpace(unit)
	if !ok {
		return 0, "", fmt.Errorf("%q is not a limit: write it as 5 USD, 1M tokens or 1000 requests", s)
	}
	switch u := accounting.Unit(unit); u {
	case accounting.UnitTokens, accounting.UnitRequests:
		n, err := parseCount(number)
		if err != nil {
			return 0, "", fmt.Errorf("limit %q: %w", s, err)
		}
		return n, u, nil
	}
	m, err := accounting.ParseMoney(number, unit)
	if err != nil {
		return 0, "", fmt.Errorf("limit %q: %w; write it as 5 USD, 1M tokens or 1000 requests", s, err)
	}
	if m.Nanos < 0 {
		return 0, "", fmt.Errorf("limit %q is negative", s)
	}
	return m.Nanos, accounting.Unit(unit), nil
}

// parseCount reads "1000", "20k" or "1.5M".
func parseCount(s string) (int64, error) {
	bad := fmt.Errorf("%q is not a whole number: write it as 1000, 20k, 1.5M or 1B", s)
	places := 0
	for suffix, n := range map[string]int{"k": 3, "M": 6, "B": 9} {
		if cut, ok := strings.CutSuffix(s, suffix); ok {
			s, places = cut, n
			break
		}
	}
	whole, frac, dotted := strings.Cut(s, ".")
	if whole == "" || len(frac) > places || dotted && frac == "" {
		return 0, bad
	}
	var n int64
	for _, d := range whole + frac + strings.Repeat("0", places-len(frac)) {
		if d < '0' || d > '9' {
			return 0, bad
		}
		if n > (1<<63-1-int64(d-'0'))/10 {
			return 0, accounting.ErrOverflow
		}
		n = n*10 + int64(d-'0')
	}
	return n, nil
}

// Book is a set of budgets that never changes, so it is safe to share. A nil
// Book is empty.
type Book struct {
	budgets map[string][]*entry // by tenant
}

type entry struct {
	Budget
	zone *time.Location
	// length is that of a rolling window, 0 for the others.
	length time.Duration
	// prefix begins the ids of its windows.
	prefix string
	// made is what was last asked for: most often the next is the same.
	made atomic.Pointer[made]
}

// made are windows of a budget that were made in one span of time. It never
// changes.
type made struct {
	span    span
	windows map[names]*accounting.Window
}

// mostMade is how many windows of one budget are kept for those who ask next.
// More scopes than that have theirs made each time.
const mostMade = 256

// NewBook makes a book of budgets. It fails where a budget is wrong, or where
// a tenant has two of one name.
func NewBook(budgets []Budget) (*Book, error) {
	k := &Book{budgets: make(map[string][]*entry)}
	seen := make(map[[2]string]bool, len(budgets))
	for _, b := range budgets {
		if err := b.Validate(); err != nil {
			return nil, err
		}
		name := [2]string{b.Tenant, b.Name}
		if seen[name] {
			return nil, fmt.Errorf("budget %q of tenant %q is there twice: give one of them another name", b.Name, b.Tenant)
		}
		seen[name] = true
		zone, err := b.location()
		if err != nil {
			return nil, err
		}
		length, _, err := b.Window.rolling()
		if err != nil {
			return nil, err
		}
		k.budgets[b.Tenant] = append(k.budgets[b.Tenant], &entry{
			Budget: b, zone: zone, length: length, prefix: escape(b.Tenant) + "/" + escape(b.Name) + "/",
		})
	}
	return k, nil
}

// Windows returns the windows that a use of a model by s at a time feeds,
// sorted by id:
// whoever claims several takes them in one order, so that two that claim the
// same ones never wait for each other. Others are given the same windows, so
// nobody may change them.
func (k *Book) Windows(s accounting.Subject, model string, at time.Time) []*accounting.Window {
	if k == nil {
		return nil
	}
	budgets := k.budgets[s.Tenant]
	windows := make([]*accounting.Window, 0, len(budgets))
	for _, b := range budgets {
		if n, ok := b.names(&s, model); ok {
			windows = append(windows, b.windowFor(n, at))
		}
	}
	slices.SortFunc(windows, func(a, b *accounting.Window) int { return cmp.Compare(a.ID, b.ID) })
	return windows
}

// windowFor is the window with these names that a time lies in. It is made once,
// as far as there is room to keep it: to spell ids and to ask the calendar is
// most of what it costs.
func (e *entry) windowFor(n names, at time.Time) *accounting.Window {
	last := e.made.Load()
	now := last
	if now == nil || !now.span.holds(at) {
		now = &made{span: e.span(at)}
	}
	if w, ok := now.windows[n]; ok {
		return w
	}
	w := e.windowIn(e.scope(n), &now.span)
	if len(now.windows) < mostMade {
		next := made{now.span, map[names]*accounting.Window{n: &w}}
		maps.Copy(next.windows, now.windows)
		// Who is overtaken here is not kept, and made again by the next.
		e.made.CompareAndSwap(last, &next)
	}
	return &w
}

// window is the one of a scope that a time lies in.
func (e *entry) window(scope string, at time.Time) accounting.Window {
	s := e.span(at)
	return e.windowIn(scope, &s)
}

func (e *entry) windowIn(scope string, s *span) accounting.Window {
	w := accounting.Window{
		Budget: e.Name, Tenant: e.Tenant, Scope: scope, Unit: e.Unit, Limit: e.Limit,
		Grace: e.grace(), Shadow: e.Mode == Shadow, Cut: e.Cut,
	}
	if e.length > 0 {
		w.ID = e.prefix + scope + "/"
		return bucket(w, e.length, s)
	}
	w.ID = e.prefix + scope + "/" + s.name
	w.Start, w.End = s.start, s.end
	return w
}

// span is the one that a time lies in.
func (e *entry) span(at time.Time) span {
	if e.length > 0 {
		return bucketSpan(e.length, at)
	}
	return e.Window.span(at, e.zone)
}
