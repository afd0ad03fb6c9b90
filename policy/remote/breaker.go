package remote

import (
	"sync"
	"time"
)

// breaker spares a judge that is down, and those who would wait for it: after
// so many failures in a row nothing is asked for a while, then one question
// tries. It is safe for concurrent use.
type breaker struct {
	mu       sync.Mutex
	failures int
	until    time.Time // nothing is asked before
	probing  bool
}

const (
	breakAfter = 5
	breakFor   = 10 * time.Second
)

// how a question ended, for a breaker.
type ending int

const (
	answered  ending = iota // whatever the answer was: its writer may have been led to talk nonsense
	failed                  // no answer
	blameless               // no answer, and that was not the judge's fault
)

// enter tells whether a question may be asked. If so, leave must be called once
// with how it ended, and with what enter said of its being a probe.
func (b *breaker) enter(now time.Time) (probe, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures < breakAfter {
		return false, true
	}
	if b.probing || now.Before(b.until) {
		return false, false
	}
	b.probing = true
	return true, true
}

func (b *breaker) leave(now time.Time, how ending, probe bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if probe {
		b.probing = false
	}
	switch how {
	case answered:
		b.failures = 0
	case failed:
		if b.failures++; b.failures == breakAfter || probe {
			b.until = now.Add(breakFor)
		}
	}
}
