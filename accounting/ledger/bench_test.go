package ledger_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/lease"
	"github.com/weir-gateway/weir/accounting/spool"
)

// What a call pays for its accounting under four budgets: claims, an opening and
// an entry in the spool, and what each durability waits for. Callers run side by
// side, as calls do.
func BenchmarkHoldAndSettle(b *testing.B) {
	for name, durability := range map[string]spool.Durability{"relaxed": spool.Relaxed, "commit": spool.Commit, "store": spool.Store} {
		b.Run(name, func(b *testing.B) {
			s := openStore(b)
			l := newLedger(b, s, budget("a", lease.PerTenant, 1e18, "USD"), budget("b", lease.PerProject, 1e15, accounting.UnitTokens),
				budget("c", lease.PerKey, 1e15, accounting.UnitTokens), budget("d", lease.PerTenant, 1e15, accounting.UnitRequests))
			l.Durability = durability
			ctx, stop := context.WithCancel(b.Context())
			var tending sync.WaitGroup
			tending.Go(func() { l.Leases.Run(ctx, 20*time.Millisecond, func(err error) { b.Log(err) }) })
			defer func() { stop(); tending.Wait() }()
			b.SetParallelism(16)
			b.ReportAllocs()
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					a := attempt("")
					a.RequestID = uuid.NewString()
					h, err := l.Hold(b.Context(), a, tokens(10, 20), nil)
					if err == nil {
						_, err = h.Settle(b.Context(), completed(tokens(9, 9)))
					}
					if err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
