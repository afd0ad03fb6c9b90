package lease

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/weir-gateway/weir/accounting"
)

// model is a Store in the simplest code that keeps its contract, with the part
// of a ledger that feeds windows. Its faults are those of a careless store: the
// simulation has to find each.
type model struct {
	mu      sync.Mutex
	now     func() time.Time
	windows map[string]*modelWindow
	leases  map[ID]*modelLease
	fences  map[string]int64
	lines   map[string]bool
	faults  faults
}

type modelWindow struct {
	Balance
	window    accounting.Window
	allocated int64 // the sum of the allocations
	// forgiven is set where a lease was ended without its holder: from then on
	// a settlement may be uncovered.
	forgiven bool
}

type modelLease struct {
	window                     string
	granted, returned, settled int64
	expires                    time.Time
	state                      State
}

type faults struct {
	grantsAgain, forfeitFrees, returnsAgain, settlesAgain, noTombstone, noFence, forgetsUnknown,
	ignoresLeased, settledStaysLeased, overrunIgnored, returnSettled bool
}

func (l *modelLease) remainder() int64 { return l.granted - l.returned - l.settled }

func newModel(now func() time.Time) *model {
	return &model{now: now, windows: map[string]*modelWindow{}, leases: map[ID]*modelLease{}, fences: map[string]int64{}, lines: map[string]bool{}}
}

func (m *model) window(w accounting.Window) *modelWindow {
	if m.windows[w.ID] == nil {
		m.windows[w.ID] = &modelWindow{window: w}
	}
	return m.windows[w.ID]
}

func (m *model) fence(replica string, incarnation int64) error {
	if newest := m.fences[replica]; newest > incarnation && !m.faults.noFence {
		return &FencedError{Replica: replica, Incarnation: newest}
	}
	m.fences[replica] = max(m.fences[replica], incarnation)
	return nil
}

func (m *model) Grant(_ context.Context, ttl time.Duration, wants []Want) ([]Grant, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range wants {
		if err := m.fence(w.Lease.Replica, w.Lease.Incarnation); err != nil {
			return nil, err
		}
	}
	grants := make([]Grant, len(wants))
	for i, want := range wants {
		w := m.window(want.Window)
		l := m.leases[want.Lease]
		if l == nil {
			l = &modelLease{window: want.Window.ID, state: Live}
			m.leases[want.Lease] = l
		}
		if l.state == Live {
			if until := m.now().Add(ttl); until.After(l.expires) {
				l.expires = until
			}
			need, wish := want.Need-l.granted, want.Wish-l.granted
			if m.faults.grantsAgain && need <= 0 {
				need, wish = 1, 10
			}
			room := want.Window.Limit - w.Spent - w.Leased
			if m.faults.ignoresLeased {
				room = want.Window.Limit - w.Spent
			}
			if need > 0 && need <= room {
				grow := max(need, min(wish, room/(2*m.live(want.Window.ID))))
				l.granted += grow
				w.Leased += grow
				w.window = want.Window
			}
		}
		grants[i] = Grant{State: l.state, Granted: l.granted, Spent: w.Spent, Leased: w.Leased}
	}
	return grants, nil
}

func (m *model) live(window string) (n int64) {
	for _, l := range m.leases {
		if l.window == window && l.state == Live {
			n++
		}
	}
	return max(n, 1)
}

func (m *model) Return(_ context.Context, returns []Return) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range returns {
		l := m.leases[r.Lease]
		if l == nil {
			if r.Close && !m.faults.noTombstone {
				m.leases[r.Lease] = &modelLease{window: r.Window, expires: m.now(), state: Closed}
			}
			continue
		}
		if l.state == Closed {
			continue
		}
		back := max(0, r.Returned-l.returned)
		if m.faults.returnsAgain {
			back = min(r.Returned, l.remainder())
		}
		if r.Close {
			l.state = Closed
			if !m.faults.forgetsUnknown {
				back += max(0, l.granted-r.Granted)
			}
			if m.faults.returnSettled {
				back = l.remainder()
			}
		}
		m.giveBack(l, back)
	}
	return nil
}

func (m *model) giveBack(l *modelLease, amount int64) {
	if amount == 0 {
		return // the window of a lease that was closed unseen may be unknown
	}
	l.returned += amount
	m.windows[l.window].Leased -= amount
}

func (m *model) Sweep(_ context.Context, after Sweep) (forfeited int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	for id, l := range m.leases {
		w := m.windows[l.window]
		if l.state == Live && l.expires.Add(after.Grace).Before(now) {
			if l.state = Closed; l.remainder() > 0 {
				l.state = Forfeited
				forfeited++
				if m.faults.forfeitFrees {
					m.giveBack(l, l.remainder())
				}
			}
		}
		if l.state != Live && w != nil && !w.window.End.IsZero() && w.window.End.Add(after.Keep).Before(now) && l.remainder() > 0 {
			w.forgiven = true
			m.giveBack(l, l.remainder())
			l.state = Closed
		}
		if l.state == Closed && l.remainder() == 0 && l.expires.Add(after.Keep).Before(now) {
			delete(m.leases, id)
		}
	}
	return forfeited, nil
}

func (m *model) Release(_ context.Context, replica string, incarnation int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.fence(replica, incarnation); err != nil {
		return err
	}
	for id, l := range m.leases {
		if id.Replica == replica && id.Incarnation < incarnation {
			m.giveBack(l, l.remainder())
			l.state = Closed
		}
	}
	return nil
}

func (m *model) Reclaim(_ context.Context, id ID, charge *accounting.Line) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.leases[id]
	if l == nil || l.state == Live {
		return 0, fmt.Errorf("lease %s: %w", id, ErrLive)
	}
	rest := l.remainder()
	l.state = Closed
	if rest == 0 {
		return 0, nil
	}
	w := m.windows[l.window]
	if charge == nil {
		m.giveBack(l, rest)
		return rest, nil
	}
	l.settled += rest
	w.Leased -= rest
	w.Spent += rest
	w.allocated += rest
	m.lines[charge.RequestID] = true
	return rest, nil
}

// settle writes a line, once, and what it settles. Windows are those of the
// line's claims, for a call that was let pass where none was leased.
func (m *model) settle(line string, windows []accounting.Window, settlements []Settlement) (wrote bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lines[line] && !m.faults.settlesAgain {
		return false, nil
	}
	m.lines[line] = true
	for i, s := range settlements {
		w := m.window(windows[i])
		var remainder int64
		l := m.leases[s.Lease]
		if l != nil {
			remainder = l.remainder()
		}
		after, covered, err := s.Apply(w.Balance, remainder, w.window.Limit)
		if err != nil {
			return false, err
		}
		if m.faults.settledStaysLeased && l != nil && l.state != Live {
			after.Leased, covered = w.Leased, 0
		}
		if m.faults.overrunIgnored {
			after.Overrun = w.Overrun
		}
		w.Balance = after
		w.allocated += s.Amount
		if l != nil {
			l.settled += covered
		}
	}
	return true, nil
}

// check recomputes what the rows say of each other.
func (m *model) check() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	leased := map[string]int64{}
	for id, l := range m.leases {
		leased[l.window] += l.remainder()
		if l.remainder() < 0 {
			return fmt.Errorf("lease %s: %d granted, %d returned and %d settled: less than nothing remains", id, l.granted, l.returned, l.settled)
		}
	}
	for _, w := range m.windows {
		if w.Spent != w.allocated {
			return fmt.Errorf("window %s has spent %d, and its allocations sum to %d", w.window.ID, w.Spent, w.allocated)
		}
		if w.Leased != leased[w.window.ID] {
			return fmt.Errorf("window %s has leased %d, and the remainders of its leases sum to %d", w.window.ID, w.Leased, leased[w.window.ID])
		}
	}
	return nil
}

// sortedLeases is for whoever must do things in one order.
func (m *model) sortedLeases() []ID {
	return slices.SortedFunc(maps.Keys(m.leases), func(a, b ID) int {
		return cmp.Or(cmp.Compare(a.Replica, b.Replica), cmp.Compare(a.Incarnation, b.Incarnation), cmp.Compare(a.Number, b.Number))
	})
}
