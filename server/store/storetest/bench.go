package storetest

import (
	"fmt"
	"testing"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/ledger"
)

// BenchWrite measures how many rows of the ledger a store takes a second, in
// batches as the ledger's flusher makes them: each row feeds four windows and
// has a cost of two items.
func BenchWrite(b *testing.B, open Opener) {
	s, err := open(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer s.Shutdown()
	const batch = 512
	usd := func(nanos int64) accounting.Money { return accounting.Money{Currency: "USD", Nanos: nanos} }
	cost := accounting.Cost{ProviderCost: usd(5), Charge: usd(5), PriceVersion: "m@2026-01-01", Items: []accounting.Item{
		{Meter: accounting.Input, Quantity: 3, Price: 1000, Amount: usd(3)}, {Meter: accounting.Output, Quantity: 1, Price: 2000, Amount: usd(2)},
	}}
	entries := make([]ledger.Entry, batch)
	rows := 0
	for b.Loop() {
		for i := range entries {
			rows++
			e := &entries[i]
			e.Line = line(fmt.Sprint("call-", rows), 1)
			e.Line.Cost = &cost
			e.Settled = e.Settled[:0]
			for w := range 4 {
				e.Settled = append(e.Settled, ledger.Settled{Window: window(fmt.Sprint("w", w), 1<<60), Amount: 5, Uncovered: 5})
			}
		}
		if err := s.Write(b.Context(), entries); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
}
