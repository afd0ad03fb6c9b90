package price_test

import (
	"errors"
	"math"
	"math/big"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/price"
)

func day(month time.Month) time.Time { return time.Date(2026, month, 1, 0, 0, 0, 0, time.UTC) }

func of(model, backend string, from time.Time) price.Price {
	return price.Price{Model: model, Backend: backend, Currency: "USD", Effective: from, PerUnit: map[accounting.Meter]accounting.Pico{accounting.Input: 500_000, accounting.Output: 1_500_000}}
}

func catalogue(t testing.TB, prices ...price.Price) *price.Catalogue {
	t.Helper()
	c, err := price.New(prices)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func usage(pairs ...int64) accounting.Usage {
	var u accounting.Usage
	for i := 0; i < len(pairs); i += 2 {
		u.Set(accounting.Meter(pairs[i]), pairs[i+1])
	}
	return u
}

func TestFindPrefersTheTargetAndThenTheNewest(t *testing.T) {
	all := []price.Price{of("bm", "b", day(3)), of("bm", "", day(2)), of("m", "b", day(2)), of("m", "", day(1)), of("m", "", day(4)), of("m", "b", day(5))}
	for _, c := range []struct {
		at   time.Time
		drop int // how many of the better ones are not there
		want string
	}{
		{day(6), 0, "bm@b@2026-03-01"},
		{day(3), 0, "bm@b@2026-03-01"},
		{day(3).Add(-1), 0, "bm@2026-02-01"},
		{day(6), 1, "bm@2026-02-01"},
		{day(6), 2, "m@b@2026-05-01"},
		{day(4), 2, "m@b@2026-02-01"},
		{day(2).Add(-1), 0, "m@2026-01-01"},
		{day(1).Add(-1), 0, ""},
	} {
		p, ok := catalogue(t, all[c.drop:]...).Find(price.Target{Backend: "b", BackendModel: "bm", Model: "m"}, c.at)
		if ok {
			if p.Version != c.want {
				t.Errorf("at %s without %d: %s; want %s", c.at, c.drop, p.Version, c.want)
			}
		} else if c.want != "" {
			t.Errorf("at %s without %d: none; want %s", c.at, c.drop, c.want)
		}
	}
	if p, ok := catalogue(t, all...).Find(price.Target{Backend: "other", BackendModel: "other", Model: "m"}, day(6)); !ok || p.Version != "m@2026-04-01" {
		t.Errorf("another backend: %v, %t", p, ok)
	}
	if p, ok := catalogue(t, all...).Find(price.Target{Backend: "b", Model: "other"}, day(6)); ok {
		t.Errorf("another model: %v", p)
	}
	var none *price.Catalogue
	if p, ok := none.Find(price.Target{Backend: "b", BackendModel: "bm", Model: "m"}, day(6)); ok {
		t.Errorf("in no catalogue: %v", p)
	}
}

// Find against a search of all prices.
func TestFindAgreesWithASearch(t *testing.T) {
	names := rapid.SampledFrom([]string{"a", "b", "c"})
	rapid.Check(t, func(t *rapid.T) {
		type id struct {
			model, backend string
			month          int
		}
		ids := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) id {
			return id{names.Draw(t, "model"), rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "backend"), rapid.IntRange(1, 4).Draw(t, "month")}
		}), 0, 12, rapid.ID[id]).Draw(t, "prices")
		var prices []price.Price
		for _, i := range ids {
			prices = append(prices, of(i.model, i.backend, day(time.Month(i.month))))
		}
		c, err := price.New(prices)
		if err != nil {
			t.Fatal(err)
		}
		backend, backendModel, model := rapid.SampledFrom([]string{"x", "y"}).Draw(t, "b"), names.Draw(t, "bm"), names.Draw(t, "m")
		at := day(time.Month(rapid.IntRange(1, 4).Draw(t, "at"))).Add(time.Duration(rapid.IntRange(-1, 1).Draw(t, "off")))
		want := ""
		var best time.Time
		for _, want1 := range [][2]string{{backendModel, backend}, {backendModel, ""}, {model, backend}, {model, ""}} {
			for _, p := range prices {
				if p.Model == want1[0] && p.Backend == want1[1] && !p.Effective.After(at) && (want == "" || p.Effective.After(best)) {
					version := p.Model + "@" + p.Effective.Format(time.DateOnly)
					if p.Backend != "" {
						version = p.Model + "@" + p.Backend + "@" + p.Effective.Format(time.DateOnly)
					}
					want, best = version, p.Effective
				}
			}
			if want != "" {
				break
			}
		}
		got := ""
		if p, ok := c.Find(price.Target{Backend: backend, BackendModel: backendModel, Model: model}, at); ok {
			got = p.Version
		}
		if got != want {
			t.Fatalf("found %q; want %q", got, want)
		}
	})
}

func TestVersionsAreStable(t *testing.T) {
	zone := time.FixedZone("east", 8*3600)
	for want, p := range map[string]price.Price{
		"m1@2026-01-01":                of("m1", "", day(1)),
		"m1@local@2026-01-01":          of("m1", "local", time.Date(2026, 1, 1, 8, 0, 0, 0, zone)),
		"m1@2025-12-31T16:00:00Z":      of("m1", "", time.Date(2026, 1, 1, 0, 0, 0, 0, zone)),
		"m1@0001-01-01":                of("m1", "", time.Time{}),
		"contract-7":                   {Model: "m1", Currency: "CNY", PerUnit: map[accounting.Meter]accounting.Pico{accounting.Input: 0}, Version: "contract-7"},
		"m1@2026-01-01T00:00:00.0001Z": of("m1", "", day(1).Add(100*time.Microsecond)),
	} {
		if got, ok := catalogue(t, p).Find(price.Target{Backend: "local", Model: "m1"}, day(12)); !ok || got.Version != want {
			t.Errorf("version %v, %t; want %s", got, ok, want)
		}
	}
}

func TestWrongPricesAreRefused(t *testing.T) {
	with := func(change func(*price.Price)) price.Price {
		p := of("m1", "", day(1))
		change(&p)
		return p
	}
	for want, list := range map[string][]price.Price{
		"has no model":         {with(func(p *price.Price) { p.Model = "" })},
		"is not a currency":    {with(func(p *price.Price) { p.Currency = "usd" })},
		"names no meter":       {with(func(p *price.Price) { p.PerUnit = nil })},
		"input is negative":    {with(func(p *price.Price) { p.PerUnit[accounting.Input] = -1 })},
		"names no provider":    {with(func(p *price.Price) { p.Default = true })},
		"unknown meter":        {with(func(p *price.Price) { p.PerUnit[200] = 1 })},
		"is there twice":       {of("m1", "", day(1)), of("m1", "", day(1))},
		"from the same moment": {of("m1", "", day(1)), with(func(p *price.Price) { p.Version = "other" })},
	} {
		if _, err := price.New(list); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q in it", err, want)
		}
	}
}

func TestACatalogueDoesNotChange(t *testing.T) {
	p := of("m1", "", day(1))
	c := catalogue(t, p)
	p.PerUnit[accounting.Input] = 9
	if found, _ := c.Find(price.Target{Model: "m1"}, day(2)); found.PerUnit[accounting.Input] != 500_000 {
		t.Errorf("the price changed to %d", found.PerUnit[accounting.Input])
	}
}

// 100 prompt tokens of which 80 came from the cache are 20 at the price of
// input and 80 at that of the cache.
func TestCacheTokensAreNotChargedTwice(t *testing.T) {
	p := of("m1", "", day(1))
	p.PerUnit[accounting.CacheRead] = 50_000
	cost, err := p.Rate(usage(int64(accounting.Input), 20, int64(accounting.CacheRead), 80))
	if err != nil || cost.Charge.Nanos != (20*500_000+80*50_000)/1000 {
		t.Errorf("cost %+v, %v; want 14000 nanos", cost, err)
	}
}

func TestAMeterWithoutAPriceIsRatedAtItsKins(t *testing.T) {
	p := of("m1", "", day(1))
	for m, unit := range map[accounting.Meter]accounting.Pico{
		accounting.CacheRead: 500_000, accounting.CacheWrite5m: 500_000, accounting.CacheWrite1h: 500_000, accounting.Reasoning: 1_500_000, accounting.Requests: 0,
	} {
		cost, err := p.Rate(usage(int64(m), 3))
		if err != nil || len(cost.Items) != 1 || cost.Items[0].Price != unit || cost.Charge.Nanos != 3*int64(unit)/1000 {
			t.Errorf("3 of %s: %+v, %v; want price %d", m, cost, err, unit)
		}
	}
	// A price of its own, 0 too, goes before the kin's.
	p.PerUnit[accounting.CacheRead], p.PerUnit[accounting.Requests] = 0, 1e9
	cost, err := p.Rate(usage(int64(accounting.CacheRead), 3, int64(accounting.Requests), 1))
	if err != nil || cost.Charge.Nanos != 1e6 {
		t.Errorf("own prices: %+v, %v", cost, err)
	}
	// What has neither is unknown, not free.
	delete(p.PerUnit, accounting.Output)
	for _, m := range []accounting.Meter{accounting.Output, accounting.Reasoning} {
		if cost, err := p.Rate(usage(int64(m), 1)); err == nil || !strings.Contains(err.Error(), m.String()) {
			t.Errorf("unpriced %s: %+v, %v", m, cost, err)
		}
		if cost, err := p.Rate(usage(int64(m), 0)); err != nil || cost.Charge != (accounting.Money{Currency: "USD"}) || cost.Items != nil {
			t.Errorf("none of unpriced %s: %+v, %v", m, cost, err)
		}
	}
}

// Rate against big.Int: every item, and the total as their sum.
func TestRateIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := price.Price{Model: "m", Currency: "CNY", Version: "v", PerUnit: map[accounting.Meter]accounting.Pico{}}
		for _, m := range accounting.Meters() {
			p.PerUnit[m] = accounting.Pico(rapid.OneOf(rapid.Int64Range(0, math.MaxInt64), rapid.Int64Range(0, 5000)).Draw(t, "price"))
		}
		var u accounting.Usage
		total, fits := new(big.Int), true
		var want []accounting.Item
		for _, m := range accounting.Meters() {
			if rapid.IntRange(0, 3).Draw(t, "known") == 0 {
				continue
			}
			n := rapid.OneOf(rapid.Int64Range(0, 1<<45), rapid.Int64Range(0, 3)).Draw(t, "quantity")
			u.Set(m, n)
			q, r := new(big.Int).QuoRem(new(big.Int).Mul(big.NewInt(n), big.NewInt(int64(p.PerUnit[m]))), big.NewInt(1000), new(big.Int))
			if c := r.Cmp(big.NewInt(500)); c > 0 || c == 0 && q.Bit(0) == 1 {
				q.Add(q, big.NewInt(1))
			}
			total.Add(total, q)
			fits = fits && q.IsInt64() && total.IsInt64()
			if n > 0 {
				want = append(want, accounting.Item{Meter: m, Quantity: n, Price: p.PerUnit[m], Amount: accounting.Money{Currency: "CNY", Nanos: q.Int64()}})
			}
		}
		cost, err := p.Rate(u)
		if !fits {
			if !errors.Is(err, accounting.ErrOverflow) {
				t.Fatalf("cost %+v, %v; want an overflow", cost, err)
			}
			return
		}
		if err != nil || cost.ProviderCost != (accounting.Money{Currency: "CNY", Nanos: total.Int64()}) || cost.Charge != cost.ProviderCost || cost.PriceVersion != "v" {
			t.Fatalf("cost %+v, %v; want %v", cost, err, total)
		}
		if len(cost.Items) != len(want) {
			t.Fatalf("items %+v; want %+v", cost.Items, want)
		}
		for i := range want {
			if cost.Items[i] != want[i] {
				t.Fatalf("item %+v; want %+v", cost.Items[i], want[i])
			}
		}
	})
	p := of("m", "", day(1))
	if cost, err := p.Rate(usage(int64(accounting.Input), -1)); err == nil {
		t.Errorf("a negative usage costs %+v", cost)
	}
}

func TestRateMakesOneAllocation(t *testing.T) {
	p := of("m", "", day(1))
	u := usage(int64(accounting.Input), 100, int64(accounting.CacheRead), 50, int64(accounting.Output), 20)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := p.Rate(u); err != nil {
			t.Fatal(err)
		}
	}); n != 1 {
		t.Errorf("%v allocations; want one, of the items", n)
	}
}

func BenchmarkRate(b *testing.B) {
	p := of("m", "", day(1))
	u := usage(int64(accounting.Input), 100, int64(accounting.CacheRead), 50, int64(accounting.Output), 20)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Rate(u); err != nil {
			b.Fatal(err)
		}
	}
}
