package admit

import (
	"context"
	"time"
)

const (
	// TTL is for how long a store sets aside what a replica holds, and Skew how
	// much earlier the replica stops using it: in TTL the clocks of the two may
	// differ by that much.
	TTL  = 30 * time.Second
	Skew = 2 * time.Second
	// renewAt is how near its end a share with running calls is renewed.
	renewAt = 20 * time.Second

	tickEvery  = time.Second
	sweepEvery = time.Minute

	// flightTime is how long the store is waited for, and batch how many shares
	// it is told of at once.
	flightTime = 2 * time.Second
	batch      = 100

	// The store is asked again this much later where it did not answer, twice
	// that the next time, and so on.
	firstPause   = 250 * time.Millisecond
	longestPause = 4 * time.Second
)

// Run asks the store for what is wanted and tells it what was used, until the
// context ends. It tells of failures, each the first in a row. Who counts for
// itself has nothing to run.
func (l *Limiter) Run(ctx context.Context, failed func(error)) {
	if l.store == nil {
		return
	}
	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()
	swept := l.now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
		case <-ticker.C:
			l.tick()
			if now := l.now(); now.Sub(swept) >= sweepEvery {
				swept = now
				if err := l.store.SweepRates(ctx); err != nil && ctx.Err() == nil {
					failed(err)
				}
			}
		}
		for ctx.Err() == nil && l.ask(ctx, failed) {
		}
	}
}

// ask makes one flight, and tells whether there may be another.
func (l *Limiter) ask(ctx context.Context, failed func(error)) bool {
	l.air.Lock()
	defer l.air.Unlock()
	if l.closed {
		return false
	}
	flying := l.depart()
	if flying == nil {
		return false
	}
	limited, cancel := context.WithTimeout(ctx, flightTime)
	defer cancel()
	answers, err := l.store.ShareRates(limited, TTL, flying.asks)
	if first := l.arrive(flying, answers, err); first && ctx.Err() == nil {
		failed(err)
	}
	return err == nil
}

// Close gives back everything that is free. Nothing is to be admitted after it.
func (l *Limiter) Close(ctx context.Context) error {
	if l.store == nil {
		return nil
	}
	l.air.Lock()
	defer l.air.Unlock()
	l.closed = true
	l.mu.Lock()
	now := l.now()
	var asks []Ask
	for _, c := range l.places {
		for _, sh := range c {
			if sh == nil {
				continue
			}
			sh.sum.Returned += max(0, sh.free(now, false))
			a := sh.ask(now)
			a.Want = 0
			asks = append(asks, a)
		}
	}
	l.mu.Unlock()
	for len(asks) > 0 {
		n := min(batch, len(asks))
		if _, err := l.store.ShareRates(ctx, TTL, asks[:n]); err != nil {
			return err
		}
		asks = asks[n:]
	}
	return nil
}

// enqueue makes sure that the store hears of a share soon. What it returns is
// closed when it has, or did not answer.
func (l *Limiter) enqueue(sh *share) <-chan struct{} {
	if sh.flight == nil {
		sh.flight = make(chan struct{})
		l.queue = append(l.queue, sh)
	}
	select {
	case l.wake <- struct{}{}:
	default: // Run knows
	}
	return sh.flight
}

// A flight is what the store is told at once. One is in the air at a time.
type flight struct {
	at   time.Time
	asks []Ask
	told []told
}

// depart takes what is queued, or nothing where the store is not to be asked.
func (l *Limiter) depart() *flight {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if len(l.queue) == 0 || now.Before(l.away) {
		return nil
	}
	f := &flight{at: now}
	n := min(batch, len(l.queue))
	for _, sh := range l.queue[:n] {
		if !now.Before(sh.expires) {
			sh.drop()
		}
		f.asks = append(f.asks, sh.ask(now))
		f.told = append(f.told, told{sh, sh.sum, sh.flight})
		sh.flight, sh.waiting = nil, 0
	}
	l.queue = append(l.queue[:0], l.queue[n:]...)
	return f
}

// arrive does what the store answered. Where it did not answer, nobody waits
// any longer; it tells whether that is new.
func (l *Limiter) arrive(f *flight, answers []Answer, err error) (first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	defer func() {
		for _, t := range f.told {
			close(t.flight)
		}
	}()
	if err != nil {
		l.away = now.Add(min(longestPause, firstPause<<min(l.fails, 10)))
		l.fails++
		for _, sh := range l.queue {
			close(sh.flight)
			sh.flight, sh.waiting = nil, 0
		}
		l.queue = nil
		return l.fails == 1
	}
	l.fails = 0
	for i, t := range f.told {
		sh, a := t.share, answers[i]
		sh.granted, sh.left, sh.told = a.Granted, a.Left, t.sum
		sh.expires = f.at.Add(TTL - Skew)
		sh.askAt = time.Time{}
		if a.Left <= 0 {
			sh.askAt = now.Add(max(a.Wait, sh.poll()))
		}
	}
	return false
}

// tick looks at every share: it forgets those that have ended and renews, or
// gives back, what is held.
func (l *Limiter) tick() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	since := now.Sub(l.ticked)
	if since <= 0 {
		return
	}
	l.ticked = now
	for p, c := range l.places {
		live := false
		for kind, sh := range c {
			if sh == nil {
				continue
			}
			if !now.Before(sh.expires) {
				sh.drop()
				if sh.idle() {
					c[kind] = nil
					continue
				}
			}
			live = true
			if sh.tick(now, since) {
				l.enqueue(sh)
			}
		}
		if !live {
			delete(l.places, p)
		}
	}
}
