package gateway

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/weir-gateway/weir/accounting"
)

// A Hedge is what became of a hedge: a second attempt beside one whose backend
// had said nothing for the time that its model sets.
type Hedge string

// What becomes of a hedge.
const (
	// HedgeWon answered first.
	HedgeWon Hedge = "won"
	// HedgeLost did not, or the call ended before.
	HedgeLost Hedge = "lost"
	// HedgeServed went on alone, as a retry, since the first attempt failed.
	HedgeServed Hedge = "served"
	// HedgeFailed failed while the first attempt went on.
	HedgeFailed Hedge = "failed"
	// HedgeRefused was not made: the budget of retries was used up, no other target
	// could be had, it cannot do what is asked, or there was no room to hold.
	HedgeRefused Hedge = "refused"
)

// race runs an attempt, and beside it a hedge where its backend says nothing for
// too long. The one that begins to answer first is heard; the other is cancelled
// and ends as a hedge loser. Where one fails before that, the other goes on alone.
// It returns the attempt that decided, and how that failed.
//
// Only the waiting is done by other goroutines; all that attempts have in common
// stays with that of the call.
func (s *attempts) race(ctx context.Context, a *attempt) (*attempt, error) {
	defer a.leave()
	if err := a.hold(ctx, s.model.MaxOutputTokens); err != nil {
		return a, err
	}
	a.begin(ctx)
	defer a.abandon(ctx)
	holding, answered := context.WithCancel(ctx)
	defer answered()
	a.beside = beside(func() { defer answered(); a.await() })

	timer := time.NewTimer(s.model.HedgeAfter)
	defer timer.Stop()
	select {
	case <-a.beside.done:
		return a, a.conclude(ctx)
	case <-timer.C:
	}
	b := s.hedge(ctx, holding, a)
	if b == nil {
		s.answer.Hedges = append(s.answer.Hedges, HedgeRefused)
		return a, a.conclude(ctx)
	}
	defer b.leave()
	defer b.abandon(ctx)
	b.beside = beside(b.await)

	first, other := a, b
	select {
	case <-a.beside.done:
	case <-b.beside.done:
		first, other = b, a
	}
	switch {
	case ctx.Err() != nil:
		first, other = a, b // the call is over: it pays for one of them at most
	case first.unanswered() != nil:
		return s.alone(ctx, first, other, first == b)
	}
	if first == b {
		s.answer.Hedges = append(s.answer.Hedges, HedgeWon)
	} else {
		s.answer.Hedges = append(s.answer.Hedges, HedgeLost)
	}
	defer s.overtake(ctx, other).wait()
	if first.patience == nil {
		// There was no other target when it began; now there is the one that has lost.
		first.patience = first.wait(first.ctx, first.cancel)
	}
	return first, first.conclude(ctx)
}

// hedge begins an attempt beside another; nil where none can be made, which is no
// failure. What it waits for to hold money it does not wait for any longer once
// holding ends: the other attempt has an answer then.
func (s *attempts) hedge(ctx, holding context.Context, a *attempt) *attempt {
	try, ok := s.tries.Hedge(s.gateway.Now())
	if !ok {
		return nil
	}
	try.Reason += fmt.Sprintf(", hedge: %s had said nothing for %s", a.target.Name, s.model.HedgeAfter)
	b := s.at(&try)
	if err := b.hold(holding, s.model.MaxOutputTokens); err != nil {
		b.leave()
		s.tries.Return(b.try)
		s.tries.Refund()
		return nil
	}
	b.begin(ctx)
	return b
}

// alone ends the attempt of a race that has failed, and lets the other go on.
func (s *attempts) alone(ctx context.Context, failed, other *attempt, hedge bool) (*attempt, error) {
	failed.decided, failed.another = true, true
	err := failed.conclude(ctx)
	failed.abandon(ctx)
	failed.leave()
	if !hedge && !elsewhereHelps(err) {
		s.answer.Hedges = append(s.answer.Hedges, HedgeLost)
		s.overtake(ctx, other).wait()
		return failed, err
	}
	became := HedgeServed
	if hedge {
		became = HedgeFailed
	}
	s.answer.Hedges = append(s.answer.Hedges, became)
	s.failed(failed, err)
	s.goesOn(ctx, other.target.Name)
	return other, other.conclude(ctx)
}

// overtake cancels an attempt. Its target may be tried again. It is settled at
// once, but nobody waits for that: the answer of the other has begun.
func (s *attempts) overtake(ctx context.Context, a *attempt) *side {
	a.cancel()
	a.lost = true
	s.tries.Return(a.try)
	return beside(func() {
		defer a.leave()
		defer a.abandon(ctx)
		a.lose(ctx)
	})
}

// lose settles an attempt that was overtaken: at our own count of what its backend
// may bill. Where that had failed by itself it bills nothing.
func (a *attempt) lose(ctx context.Context) {
	a.beside.wait()
	a.hangUp()
	a.opening.count(a)
	a.sign = a.unanswered()
	outcome := accounting.OutcomeHedgeLoser
	if a.sign != nil && !errors.Is(a.sign, context.Canceled) && !errors.Is(a.sign, context.DeadlineExceeded) {
		outcome = accounting.OutcomeFailed
	}
	a.tried.Outcome, a.tried.End = outcome, a.gateway.Now()
	_ = a.settle(ctx, outcome) // logged; what is not settled is in doubt, and the answer is another's
}

// A side is something that runs beside a call.
type side struct {
	done     chan struct{}
	panicked error
}

func beside(f func()) *side {
	s := &side{done: make(chan struct{})}
	go func() {
		defer close(s.done)
		defer func() {
			if p := recover(); p != nil {
				s.panicked = fmt.Errorf("%v\n%s", p, debug.Stack())
			}
		}()
		f()
	}()
	return s
}

// wait waits until it has ended. Where it has panicked, so does its call: a panic
// of its own goroutine would end everybody's.
func (s *side) wait() {
	<-s.done
	if s.panicked != nil {
		panic(s.panicked)
	}
}
