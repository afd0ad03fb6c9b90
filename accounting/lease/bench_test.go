package lease

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/weir-gateway/weir/accounting"
)

// rich is a holder with more room in four windows than a benchmark uses.
func rich(b *testing.B) (*Holder, []accounting.Claim) {
	c := Defaults()
	c.Store, c.Replica, c.Incarnation = newModel(time.Now), "r", 1
	c.TTL = 24 * time.Hour
	h, err := NewHolder(c)
	if err != nil {
		b.Fatal(err)
	}
	var claims []accounting.Claim
	for i, scope := range []string{"tenant", "project/search", "key/search/k1", "key/search/k2"} {
		w := accounting.Window{ID: fmt.Sprintf("acme/budget-%d/%s/2026-07", i, scope), Scope: scope, Unit: "USD", Limit: 1 << 60}
		claims = append(claims, accounting.Claim{Window: &w, Amount: 1 << 55})
	}
	var hold Hold
	if err := h.Take(context.Background(), &hold, claims); err != nil {
		b.Fatal(err)
	}
	hold.End()
	for i := range claims {
		claims[i].Amount = 1000
	}
	return h, claims
}

func BenchmarkTakeAndSettle4(b *testing.B) {
	h, claims := rich(b)
	used := []int64{700, 700, 700, 700}
	var hold Hold
	var settlements [4]Settlement
	b.ReportAllocs()
	for b.Loop() {
		if err := h.Take(context.Background(), &hold, claims); err != nil {
			b.Fatal(err)
		}
		hold.Settle(used, settlements[:0])
		hold.End()
	}
}

func BenchmarkTakeAndSettle4Parallel(b *testing.B) {
	h, claims := rich(b)
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		used := []int64{700, 700, 700, 700}
		var hold Hold
		var settlements [4]Settlement
		for p.Next() {
			if err := h.Take(context.Background(), &hold, claims); err != nil {
				b.Error(err)
				return
			}
			hold.Settle(used, settlements[:0])
			hold.End()
		}
	})
}

func TestTakeAndSettleAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	b := newBench(t, nil)
	windows := []accounting.Window{capWindow("a", 1000), capWindow("b", 1000), capWindow("c", 1000), capWindow("d", 1000)}
	b.mustTake(100, windows...).End()
	var claims []accounting.Claim
	for _, w := range windows {
		claims = append(claims, accounting.Claim{Window: &w, Amount: 10})
	}
	used, more := []int64{12, 12, 12, 12}, []int64{5, 5, 5, 5}
	var hold Hold
	settlements := make([]Settlement, 0, 4)
	if n := testing.AllocsPerRun(5, func() {
		if err := b.holder.Take(context.Background(), &hold, claims); err != nil {
			t.Fatal(err)
		}
		if err := hold.TopUp(context.Background(), more); err != nil {
			t.Fatal(err)
		}
		settlements = hold.Settle(used, settlements[:0])
		hold.End()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if b.asked != 1 || !slices.ContainsFunc(settlements, func(s Settlement) bool { return s.Amount == 12 }) {
		t.Errorf("asked %d times, settlements %+v", b.asked, settlements)
	}
}
