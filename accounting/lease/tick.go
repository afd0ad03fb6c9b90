package lease

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// crowd is how many leases one transaction renews at most.
const crowd = 64

// Run calls Tick at intervals until ctx ends, and tells failed what fails. It
// is the holder's only loop; a tenth of the TTL is a good interval.
func (h *Holder) Run(ctx context.Context, every time.Duration, failed func(error)) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if err := h.Tick(ctx); err != nil && ctx.Err() == nil {
				failed(err)
			}
		}
	}
}

// Tick does what is due: it renews the leases that are in use, fits them to
// their pace, gives back what is idle, forgets windows that have ended, and
// has the store forfeit what other replicas have left. What fails is due again
// with the next Tick. Leases whose turn another call has are left to the next.
func (h *Holder) Tick(ctx context.Context) error {
	err := h.pass(ctx, false)
	now := h.elapsed()
	if last := time.Duration(h.swept.Load()); now-last >= h.config.TTL/2 && h.swept.CompareAndSwap(int64(last), int64(now)) {
		ctx, cancel := context.WithTimeout(ctx, h.config.Timeout)
		defer cancel()
		if _, e := h.config.Store.Sweep(ctx, Sweep{Grace: h.config.Grace, Keep: h.config.Keep}); e != nil {
			err = errors.Join(err, fmt.Errorf("sweep leases: %w", e))
		}
	}
	return err
}

// Close gives back everything that no open hold holds. Its caller has stopped
// taking holds; where some are still open, Tick keeps their leases, and Close
// can be called again.
func (h *Holder) Close(ctx context.Context) error { return h.pass(ctx, true) }

func (h *Holder) all() []*share {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.order)
}

func (h *Holder) pass(ctx context.Context, closing bool) error {
	shares := h.all()
	if closing {
		// It waits for turns, so it takes them in the order in which holds do.
		slices.SortFunc(shares, func(a, b *share) int { return cmp.Compare(a.id, b.id) })
	}
	var errs []error
	for batch := range slices.Chunk(shares, crowd) {
		err := h.maintain(ctx, batch, closing)
		errs = append(errs, err)
		if errors.Is(err, context.DeadlineExceeded) {
			break // the others would wait as long, and their calls for them
		}
	}
	h.mu.Lock()
	h.order = slices.DeleteFunc(h.order, func(s *share) bool {
		v, ok := h.shares.Load(s.id)
		return !ok || v != s
	})
	h.mu.Unlock()
	return errors.Join(errs...)
}

// maintain does what is due for a batch of shares, in two requests at most.
func (h *Holder) maintain(ctx context.Context, batch []*share, closing bool) error {
	var shares []*share
	var renewing []renewal
	defer func() {
		for _, s := range shares {
			s.unlock()
		}
	}()
	for _, s := range batch {
		if closing {
			if err := s.lock(ctx); err != nil {
				return err
			}
		} else if !s.tryLock() {
			continue
		}
		shares = append(shares, s)
		renewing = append(renewing, h.plan(s, closing)...)
	}
	err := h.renew(ctx, renewing)
	if errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	var leases []*lease
	for _, s := range shares {
		if l := s.current.Load(); l != nil {
			leases = append(leases, l)
		}
		for _, l := range s.old {
			l.release(most)
			leases = append(leases, l)
		}
	}
	if e := h.sendReturns(ctx, leases); e != nil {
		err = errors.Join(err, fmt.Errorf("return leases: %w", e))
	}
	for _, s := range shares {
		s.old = slices.DeleteFunc(s.old, func(l *lease) bool { return l.closed })
		if s.current.Load() == nil && len(s.old) == 0 {
			s.dropped = true
			h.shares.CompareAndDelete(s.id, s)
		}
	}
	return err
}

type renewal struct {
	share *share
	lease *lease
	want  Want
}

// plan decides what becomes of the leases of a share, and which to renew.
func (h *Holder) plan(s *share, closing bool) (renewing []renewal) {
	now := h.elapsed()
	s.measure(now)
	ended := closing || !s.window.End.IsZero() && !h.now().Before(s.window.End)
	due := func(l *lease) bool { return now-l.renewed >= h.config.TTL/2 }
	if l := s.current.Load(); l != nil {
		target := s.slice(h.config.TTL / 2)
		if ended {
			target = 0
		}
		// While the store has not heard of one end, another would only have to
		// be told too.
		telling := slices.ContainsFunc(s.old, func(l *lease) bool { return l.closing })
		if closing || !telling && (ended || s.single || now-s.active >= h.config.Idle) {
			// Only of a retired lease it is certain that none is open.
			if l.retire(); l.open() == 0 {
				s.current.Store(nil)
				s.old = append(s.old, l)
			} else {
				l.revive()
				l.release(most)
			}
		}
		if !l.retired {
			spare := l.spare()
			if due(l) && spare > 2*target {
				spare -= l.release(spare - target)
			}
			want := Want{Lease: l.id, Window: s.window, Need: l.granted, Wish: l.granted}
			if spare < target/2 {
				want.Need, want.Wish = l.granted+1, l.granted+target-spare // anything is welcome
			}
			if due(l) || want.Need > l.granted {
				renewing = append(renewing, renewal{s, l, want})
			}
		}
	}
	for _, l := range s.old {
		if l.open() > 0 && !l.forfeited && due(l) {
			renewing = append(renewing, renewal{s, l, Want{Lease: l.id, Window: s.window, Need: l.granted, Wish: l.granted}})
		}
	}
	return renewing
}

func (h *Holder) renew(ctx context.Context, renewing []renewal) error {
	if len(renewing) == 0 {
		return nil
	}
	wants := make([]Want, len(renewing))
	for i, r := range renewing {
		wants[i] = r.want
	}
	sent := h.elapsed()
	grants, err := h.grant(ctx, wants)
	if err != nil {
		for _, r := range renewing {
			r.share.failed = failure{at: h.elapsed(), err: err}
		}
		return fmt.Errorf("renew leases: %w", err)
	}
	for i, r := range renewing {
		if gain, alive := h.apply(r.share, r.lease, grants[i], sent); alive {
			r.lease.free.Add(gain)
		}
	}
	return nil
}
