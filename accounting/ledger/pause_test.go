package ledger

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// Entries gather for a while, but never while somebody waits for them.
func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flusher
		ctx := t.Context()
		took := func() time.Duration {
			start := time.Now()
			f.pause(ctx)
			return time.Since(start)
		}
		if d := took(); d != linger {
			t.Errorf("nobody waits, and the pause is %s", d)
		}
		wait := func() (end func()) {
			ctx, cancel := context.WithCancel(ctx)
			done := make(chan struct{})
			go func() { defer close(done); _ = f.await(ctx, 1) }()
			return func() { cancel(); <-done }
		}
		waits := make(chan func(), 1)
		time.AfterFunc(linger/2, func() { waits <- wait() })
		if d := took(); d != linger/2 {
			t.Errorf("somebody begins to wait, and the pause is %s", d)
		}
		if d := took(); d != 0 {
			t.Errorf("somebody waits, and the pause is %s", d)
		}
		(<-waits)()
		f.reached(1)
		if d := took(); d != linger {
			t.Errorf("nobody waits any more, and the pause is %s", d)
		}
	})
}
