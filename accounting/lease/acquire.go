package lease

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/weir-gateway/weir/accounting"
)

// A need is what one hold or top-up lacks in one window.
type need struct {
	index  int // of the claim
	amount int64
	share  *share
	// window is as the claim has it. A top-up has none: it has the only lease
	// that it may come from.
	window *accounting.Window
	only   *lease

	// lease is where the amount comes from; nil after acquire where a soft
	// budget let it pass. Part is what has been taken of it until done.
	lease *lease
	part  int64
	done  bool
	// excess is set where the window had no room and granted it all the same.
	excess *accounting.Excess
	// tight says that its window had less than was wished.
	tight bool
}

// acquire gets all needs or none. It waits for the turn of each share, so that
// those who lack room in one window ask one after the other, and most find what
// the first has brought.
func (h *Holder) acquire(ctx context.Context, needs []need) error {
	arrived := h.elapsed()
	// All wait for turns in one order, so no two wait for each other.
	slices.SortFunc(needs, func(a, b need) int { return cmp.Compare(a.share.id, b.share.id) })
	for i := range needs[1:] {
		if needs[i].share.id == needs[i+1].share.id {
			return fmt.Errorf("window %s is claimed twice by one hold: claim the sum", needs[i].share.id)
		}
	}
	for i := range needs {
		n := &needs[i]
		if err := h.lock(ctx, n); err != nil {
			return err
		}
		defer func() { n.share.unlock() }()
	}
	err := h.ask(ctx, needs, arrived)
	if err != nil {
		for i := range needs {
			if n := &needs[i]; n.done && n.lease != nil {
				n.lease.put(n.amount)
			}
		}
	}
	if exhausted := (*accounting.ExhaustedError)(nil); errors.As(err, &exhausted) {
		h.giveWay(ctx, needs)
	}
	return err
}

// lock waits for the turn of a need's share, and finds the share again where
// it was dropped meanwhile.
func (h *Holder) lock(ctx context.Context, n *need) error {
	for {
		n.share.waiting.Add(n.amount)
		err := n.share.lock(ctx)
		n.share.waiting.Add(-n.amount)
		if err != nil {
			return err
		}
		if !n.share.dropped || n.window == nil {
			return nil
		}
		n.share.unlock()
		n.share = h.share(n.window)
	}
}

// ask gets the needs of shares whose turn this is, and again those whose lease
// turns out to be lost: the next one takes its place.
func (h *Holder) ask(ctx context.Context, needs []need, arrived time.Duration) error {
	for range 3 {
		asking, wants, err := h.wants(ctx, needs, arrived)
		if err != nil || len(asking) == 0 {
			return err
		}
		sent := h.elapsed()
		grants, err := h.grant(ctx, wants)
		if err != nil {
			for _, n := range asking {
				if ctx.Err() == nil { // else it says nothing of the store
					n.share.failed = failure{at: h.elapsed(), err: err}
				}
			}
			return h.without(ctx, asking, err)
		}
		var refused error
		for i, n := range asking {
			gain, alive := h.apply(n.share, n.lease, grants[i], sent)
			missing := n.amount - n.part
			n.tight = alive && grants[i].Granted < wants[i].Wish
			n.share.tight.Store(n.tight)
			switch {
			case !alive:
				n.drop()
			case gain >= missing:
				n.lease.free.Add(gain - missing)
				n.done, n.excess = true, grants[i].Excess
			default:
				n.share.refused = refusal{at: h.elapsed(), grant: grants[i], room: room(n.share.window, grants[i])}
				if refused == nil {
					refused = n.exhausted(grants[i], n.part+gain)
				}
				n.lease.free.Add(gain)
				n.drop()
			}
		}
		if refused != nil {
			return refused
		}
	}
	return fmt.Errorf("%w: the store loses each lease as it is made", ErrUnavailable)
}

// wants takes what is free, and says what to ask the store for the rest. Where
// it fails nothing is taken of the needs that are not done.
func (h *Holder) wants(ctx context.Context, needs []need, arrived time.Duration) (asking []*need, wants []Want, err error) {
	now := h.elapsed()
	var down error
	for i := range needs {
		n := &needs[i]
		if n.done {
			continue
		}
		s := n.share
		if n.window != nil && n.window.Limit != s.window.Limit {
			h.move(ctx, s, *n.window)
		}
		l := s.current.Load()
		if n.only != nil && n.only != l {
			err = ErrCut
			break
		}
		if l != nil && l.granted > most { // totals stay far from the end of 64 bits
			s.leave()
			l = nil
		}
		if l == nil {
			l = h.begin(s)
		}
		n.lease = l
		n.part = l.grab(n.amount)
		if n.part == n.amount && int64(now) < l.until.Load() {
			n.done = true
			continue
		}
		asking = append(asking, n)
		missing := n.amount - n.part
		if paid := l.repay(); paid > 0 { // the store may grant it
			s.refused.room += paid
			_ = h.sendReturns(ctx, []*lease{l}) // as in giveWay
		}
		// What the store said while this one waited is an answer to it too.
		if s.failed.at > arrived {
			down = s.failed.err
		}
		if r := &s.refused; r.at > arrived && missing > r.room {
			err = n.exhausted(r.grant, n.part)
			break
		}
		extra := int64(0)
		if !s.single {
			// What went out since the pace was measured may well go out again: a
			// window that wakes up asks for twice as much each time.
			extra = min(max(s.slice(h.config.TTL/2), s.waiting.Load(), l.out()-s.out), most)
		}
		wants = append(wants, Want{Lease: l.id, Window: s.window, Need: l.granted + missing, Wish: l.granted + max(missing, extra)})
	}
	if err != nil {
		for _, n := range asking {
			n.drop()
		}
		return nil, nil, err
	}
	if down != nil {
		return nil, nil, h.without(ctx, asking, down)
	}
	return asking, wants, nil
}

// drop gives back what was taken for a need that is not met.
func (n *need) drop() {
	n.lease.put(n.part)
	n.part = 0
}

// exhausted is the refusal of a need whose window is as a grant says. What this
// replica had free of it was no obstacle, so it is not called held.
func (n *need) exhausted(g Grant, free int64) error {
	window := n.share.window // which another turn may change
	return &accounting.ExhaustedError{Claim: accounting.Claim{Window: &window, Amount: n.amount}, Spent: g.Spent, Held: max(0, g.Leased-free), Adjusted: g.Adjusted}
}

// room is what a window has left to grant.
func room(w accounting.Window, g Grant) int64 {
	return w.Limit + w.Grace + g.Adjusted - g.Spent - g.Leased
}

// without meets needs of soft budgets without room, where the store has failed.
func (h *Holder) without(ctx context.Context, asking []*need, err error) error {
	for _, n := range asking {
		n.drop()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if fenced := (*FencedError)(nil); errors.As(err, &fenced) {
		return err
	}
	for _, n := range asking {
		if h.config.Soft == nil || !h.config.Soft(n.share.window) {
			return fmt.Errorf("window %s: %w: %w", n.share.id, ErrUnavailable, err)
		}
	}
	for _, n := range asking {
		n.lease, n.done = nil, true
		n.excess = &accounting.Excess{Window: n.share.window, Amount: n.amount, Shadow: n.share.window.Shadow, Unheld: true}
	}
	return nil
}

// giveWay gives back what is free in those windows of a refused hold that had
// little left. A fragment that is too small for this replica's calls may be
// what a call on another one lacks.
func (h *Holder) giveWay(ctx context.Context, needs []need) {
	var leases []*lease
	for i := range needs {
		n := &needs[i]
		if l := n.share.current.Load(); n.tight && l != nil {
			n.share.refused.room += l.release(most)
			leases = append(leases, l)
		}
	}
	// Where it fails, the next Tick tries again.
	_ = h.sendReturns(ctx, leases)
}

// move follows a window whose limit was changed. Where it was lowered, what was
// free under the old limit has to be granted anew.
func (h *Holder) move(ctx context.Context, s *share, w accounting.Window) {
	lowered := w.Limit < s.window.Limit
	s.window, s.refused.at = w, never
	s.tight.Store(false)
	s.limit.Store(w.Limit)
	if l := s.current.Load(); l != nil && lowered {
		l.release(most)
		_ = h.sendReturns(ctx, []*lease{l}) // as in giveWay
	}
}

// begin makes the next lease of a share. It has nothing until the store has
// answered.
func (h *Holder) begin(s *share) *lease {
	l := &lease{id: ID{Replica: h.config.Replica, Incarnation: h.config.Incarnation, Number: h.number.Add(1)}, window: s.id, renewed: h.elapsed()}
	s.current.Store(l)
	s.out, s.active = 0, l.renewed
	return l
}

// grant asks the store.
func (h *Holder) grant(ctx context.Context, wants []Want) ([]Grant, error) {
	ctx, cancel := context.WithTimeout(ctx, h.config.Timeout)
	defer cancel()
	grants, err := h.config.Store.Grant(ctx, h.config.TTL, wants)
	if fenced := (*FencedError)(nil); errors.As(err, &fenced) {
		h.stop()
	}
	if err == nil && len(grants) != len(wants) {
		err = fmt.Errorf("the store answered %d of %d wants", len(grants), len(wants))
	}
	return grants, err
}

// apply learns what the store says of a lease. What the lease has gained is the
// caller's to distribute, and nothing where the lease is lost.
func (h *Holder) apply(s *share, l *lease, g Grant, sent time.Duration) (gain int64, alive bool) {
	// The total says it all: an answer that was lost, or comes twice, changes
	// nothing.
	gain = max(0, g.Granted-l.granted)
	l.granted += gain
	if g.State != Live {
		l.forfeited = true
		l.free.Add(gain)
		if s.current.Load() == l {
			s.leave()
		}
		return 0, false
	}
	// The store counts from when it was asked, or later.
	l.renewed = sent
	if !l.retired {
		l.until.Store(int64(sent + h.config.TTL - h.config.Skew))
	}
	return gain, true
}

// stop ends all leases, after a newer process has taken over.
func (h *Holder) stop() {
	for _, s := range h.all() {
		if l := s.current.Load(); l != nil {
			l.until.Store(0)
		}
	}
}

// sendReturns tells the store what leases have returned that it has not
// confirmed. Those whose last hold has ended while they were retired it closes.
func (h *Holder) sendReturns(ctx context.Context, leases []*lease) error {
	var returns []Return
	for _, l := range leases {
		l.repay()
		l.closing = l.retired && l.open() == 0
		if l.closing {
			l.release(most)
		}
		if l.closing || l.returned > l.acked {
			returns = append(returns, Return{Lease: l.id, Window: l.window, Returned: l.returned, Close: l.closing, Granted: l.granted})
		}
	}
	if len(returns) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, h.config.Timeout)
	defer cancel()
	if err := h.config.Store.Return(ctx, returns); err != nil {
		return err
	}
	for _, l := range leases {
		l.acked, l.closed = l.returned, l.closing
	}
	return nil
}
