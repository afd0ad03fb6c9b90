package admit

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/weir-gateway/weir/policy"
)

// A call of a process that counts for itself, and of a replica whose shares have
// room.
func BenchmarkAdmit(b *testing.B) {
	b.Run("alone", func(b *testing.B) { benchmarkAdmit(b, New(time.Now)) })
	b.Run("replica", func(b *testing.B) {
		l := NewReplica(time.Now, &book{}, "r")
		ctx, stop := context.WithCancel(b.Context())
		var running sync.WaitGroup
		running.Go(func() { l.Run(ctx, func(error) {}) })
		defer running.Wait()
		defer stop()
		benchmarkAdmit(b, l)
	})
}

func benchmarkAdmit(b *testing.B, l *Limiter) {
	plenty := int64(1 << 40)
	rates := []policy.BoundRate{perMinute(plenty, plenty), atOnce(1000)}
	b.ReportAllocs()
	for b.Loop() {
		leave, err := l.Admit(ctx, k1, rates, Estimate{})
		if err != nil {
			b.Fatal(err)
		}
		leave(0)
	}
}
