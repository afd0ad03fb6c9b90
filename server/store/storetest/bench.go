package storetest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/ledger"
)

// BenchWrite measures how many rows of the ledger a store takes a second, from
// one writer, as a replica is, and from several side by side. They write
// batches as the ledger's flusher makes them: each row feeds four windows,
// which are the same for all, and has a cost of two items.
func BenchWrite(b *testing.B, open Opener) {
	s, err := open(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer s.Shutdown()
	if _, err := s.Tend(b.Context(), 0); err != nil { // as a Weir does first
		b.Fatal(err)
	}
	const batch = 512
	usd := func(nanos int64) accounting.Money { return accounting.Money{Currency: "USD", Nanos: nanos} }
	cost := accounting.Cost{ProviderCost: usd(5), Charge: usd(5), PriceVersion: "m@2026-01-01", Items: []accounting.Item{
		{Meter: accounting.Input, Quantity: 3, Price: 1000, Amount: usd(3)}, {Meter: accounting.Output, Quantity: 1, Price: 2000, Amount: usd(2)},
	}}
	var windows []accounting.Window
	for w := range 4 {
		windows = append(windows, window(fmt.Sprint("w", w), 1<<60))
	}
	for _, writers := range []int{1, 4} {
		b.Run(fmt.Sprint("writers=", writers), func(b *testing.B) {
			var batches atomic.Int64
			var group sync.WaitGroup
			for range writers {
				group.Go(func() {
					entries := make([]ledger.Entry, batch)
					for batches.Add(1) <= int64(b.N) {
						for i := range entries {
							e := &entries[i]
							e.Line = line(uuid.Must(uuid.NewV7()).String(), 1)
							e.Line.Cost = &cost
							e.Settled = e.Settled[:0]
							for _, w := range windows {
								e.Settled = append(e.Settled, ledger.Settled{Window: &w, Amount: 5, Uncovered: 5})
							}
						}
						if err := s.Write(b.Context(), entries); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			group.Wait()
			b.ReportMetric(float64(b.N*batch)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
