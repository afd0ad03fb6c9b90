package route

import (
	"sync/atomic"
	"time"
)

// What retries a model may have: a fifth of its calls, saved up to a hundred,
// and beside that one a second, saved up to ten. So a backend that has trouble
// does not get a multiple of its calls on top, and a model that is hardly used
// has retries all the same. In thousandths of a retry.
const (
	aRetry    = 1000
	perCall   = aRetry / 5
	mostSaved = 100 * aRetry
	perSecond = aRetry
	least     = 10 * aRetry
)

// budget is how many retries there are. It takes no lock.
type budget struct {
	saved  atomic.Int64
	filled atomic.Int64 // when perSecond was last added, in Unix milliseconds
}

func newBudget() *budget {
	b := &budget{}
	b.saved.Store(least)
	return b
}

// call adds what a call is worth.
func (b *budget) call() {
	if b.saved.Load() < mostSaved {
		b.saved.Add(perCall)
	}
}

// take takes one retry, if there is one.
func (b *budget) take(now time.Time) bool {
	at, last := now.UnixMilli(), b.filled.Load()
	if at > last && b.filled.CompareAndSwap(last, at) && last != 0 {
		if saved := b.saved.Load(); saved < least {
			b.saved.Add(min(least-saved, min(at-last, least)*perSecond/1000))
		}
	}
	for {
		saved := b.saved.Load()
		if saved < aRetry {
			return false
		}
		if b.saved.CompareAndSwap(saved, saved-aRetry) {
			return true
		}
	}
}
