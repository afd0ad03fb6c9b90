package lease

import (
	"context"
	"fmt"
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
		claims = append(claims, accounting.Claim{Window: w, Amount: 1 << 55})
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
