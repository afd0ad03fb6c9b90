package store

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/ledger"
)

// What is written as JSON by hand reads as what it was.
func TestItemsAndAllocationsAreJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var items []accounting.Item
		for range rapid.IntRange(0, 3).Draw(t, "items") {
			items = append(items, accounting.Item{
				Meter: rapid.SampledFrom(accounting.Meters()).Draw(t, "meter"), Quantity: rapid.Int64().Draw(t, "quantity"),
				Price: accounting.Pico(rapid.Int64().Draw(t, "price")), Amount: accounting.Money{Currency: "USD", Nanos: rapid.Int64().Draw(t, "amount")},
			})
		}
		var list []itemBody
		if err := json.Unmarshal(appendItems(nil, items), &list); err != nil {
			t.Fatal(err)
		}
		if got, err := itemsOf(list, "USD"); err != nil || !reflect.DeepEqual(got, items) {
			t.Fatalf("read %v, %v; want %v", got, err, items)
		}

		e, want := ledger.Entry{Line: accounting.Line{Outcome: accounting.OutcomeCompleted}}, map[string]int64{}
		for range rapid.IntRange(0, 5).Draw(t, "windows") {
			id, amount := rapid.SampledFrom([]string{"a/b", "a\"b", "\\", "<\n>", "预算", "\u2028"}).Draw(t, "id"), rapid.Int64().Draw(t, "amount")
			if _, twice := want[id]; twice {
				continue
			}
			want[id] = amount
			e.Settled = append(e.Settled, ledger.Settled{Window: &accounting.Window{ID: id}, Amount: amount})
		}
		quoted := map[string][]byte{}
		for range 2 { // the second time the ids are known
			text, err := allocations(&e, quoted)
			if err != nil {
				t.Fatal(err)
			}
			fed := map[string]int64{}
			if err := json.Unmarshal([]byte(text), &fed); err != nil || !maps.Equal(fed, want) {
				t.Fatalf("%s reads as %v, %v; want %v", text, fed, err, want)
			}
		}
		if len(e.Settled) > 0 {
			e.Settled = append(e.Settled, e.Settled[0])
			if text, err := allocations(&e, quoted); err == nil {
				t.Fatalf("a window is fed twice: %s", text)
			}
		}
	})
}

// BenchmarkValues is what making the values of a line costs before the engine has
// them.
func BenchmarkValues(b *testing.B) {
	usd := func(nanos int64) accounting.Money { return accounting.Money{Currency: "USD", Nanos: nanos} }
	e := ledger.Entry{Line: accounting.Line{
		Attempt: accounting.Attempt{RequestID: "call", Number: 1, Start: time.UnixMicro(1), Deadline: time.UnixMicro(2)}, Outcome: accounting.OutcomeCompleted,
		Cost: &accounting.Cost{ProviderCost: usd(5), Charge: usd(5), Items: []accounting.Item{
			{Meter: accounting.Input, Quantity: 3, Price: 1000, Amount: usd(3)}, {Meter: accounting.Output, Quantity: 1, Price: 2000, Amount: usd(2)},
		}},
	}}
	for i := range 4 {
		e.Settled = append(e.Settled, ledger.Settled{Window: &accounting.Window{ID: fmt.Sprint("acme/cap/project/default/2026-07-", i)}, Amount: 5})
	}
	entries := make([]ledger.Entry, 512)
	for i := range entries {
		entries[i] = e
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := values(entries); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(entries)), "ns/line")
}
