package price_test

import (
	"math/big"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/price"
)

type table = map[accounting.Meter]accounting.Pico

// classed has a standard class, one for half, one for double, and a tier above 100.
func classed(change func(*price.Price)) price.Price {
	rates := func(unit accounting.Pico) price.Rates {
		return price.Rates{PerUnit: table{accounting.Input: unit, accounting.Output: 4 * unit},
			Tiers: []price.Tier{{Above: 100, PerUnit: table{accounting.Input: 2 * unit, accounting.Output: 6 * unit}}}}
	}
	standard := rates(2000)
	p := price.Price{Model: "m", Currency: "USD", Effective: day(1), PerUnit: standard.PerUnit, Tiers: standard.Tiers,
		Classes: map[accounting.ServiceClass]price.Rates{accounting.ServiceFlex: rates(1000), accounting.ServicePriority: rates(4000)}}
	if change != nil {
		change(&p)
	}
	return p
}

func find(t testing.TB, p price.Price) *price.Price {
	t.Helper()
	found, ok := catalogue(t, p).Find(price.Target{Backend: "b", BackendModel: "m"}, day(2))
	if !ok {
		t.Fatal("no price")
	}
	return found
}

func TestEachClassHasItsPrice(t *testing.T) {
	p, anyClass := find(t, classed(nil)), find(t, classed(func(p *price.Price) { p.AnyClass = true }))
	short, long := usage(int64(accounting.Input), 100, int64(accounting.Output), 10), usage(int64(accounting.Input), 101, int64(accounting.Output), 10)
	for class, want := range map[accounting.ServiceClass][2]int64{
		"": {280, 524}, accounting.ServiceStandard: {280, 524}, accounting.ServiceFlex: {140, 262}, accounting.ServicePriority: {560, 1048},
	} {
		of, known := p.Of(class)
		for i, u := range []accounting.Usage{short, long} {
			cost, err := of.Rate(u)
			if !known || err != nil || cost.Charge.Nanos != want[i] || cost.PriceVersion != "m@2026-01-01" {
				t.Errorf("%q: %+v, %v; want %d", class, cost, err, want[i])
			}
		}
	}
	for _, class := range []accounting.ServiceClass{accounting.ServiceScale, accounting.ServiceBatch, accounting.ServiceOther} {
		if of, known := p.Of(class); known {
			t.Errorf("%s costs %+v; nobody knows what", class, of)
		}
		if of, known := anyClass.Of(class); !known || of.PerUnit[accounting.Input] != 2000 {
			t.Errorf("%s costs %+v, %t; want as the standard class", class, of, known)
		}
	}
	for asked, want := range map[accounting.ServiceClass]int64{
		"": 560, accounting.ServiceStandard: 280, accounting.ServiceFlex: 280, accounting.ServicePriority: 560, accounting.ServiceScale: -1,
	} {
		most, known, err := p.RateMost(short, asked)
		if err != nil || known != (want >= 0) || known && most.ProviderCost.Nanos != want {
			t.Errorf("asked for %q: at most %+v, %t, %v; want %d", asked, most, known, err, want)
		}
	}
	if most, known, err := anyClass.RateMost(short, accounting.ServiceScale); err != nil || !known || most.ProviderCost.Nanos != 280 {
		t.Errorf("asked for scale: at most %+v, %t, %v", most, known, err)
	}
}

func TestWrongClassesAreRefused(t *testing.T) {
	set := func(class accounting.ServiceClass, change func(*price.Rates)) func(*price.Price) {
		return func(p *price.Price) {
			rates := p.Classes[class]
			change(&rates)
			p.Classes[class] = rates
		}
	}
	for want, change := range map[string]func(*price.Price){
		"no class of service":        set("express", func(*price.Rates) {}),
		`"standard" is no class`:     set(accounting.ServiceStandard, func(*price.Rates) {}),
		"output is named by one":     set(accounting.ServiceFlex, func(r *price.Rates) { r.PerUnit = table{accounting.Input: 1} }),
		"negative":                   set(accounting.ServiceFlex, func(r *price.Rates) { r.PerUnit[accounting.Input] = -1 }),
		"0 tiers and the standard":   set(accounting.ServiceFlex, func(r *price.Rates) { r.Tiers = nil }),
		"above 200 and those of the": set(accounting.ServiceFlex, func(r *price.Rates) { r.Tiers[0].Above = 200 }),
		"cheaper than below":         set(accounting.ServiceFlex, func(r *price.Rates) { r.Tiers[0].PerUnit[accounting.Input] = 1 }),
		`not "steep"`:                func(p *price.Price) { p.TierMode = "steep" },
		"says how tiers count":       func(p *price.Price) { p.TierMode, p.Tiers, p.Classes = price.TierMarginal, nil, nil },
	} {
		if _, err := price.New([]price.Price{classed(change)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q in it", err, want)
		}
	}
	p := classed(nil)
	c := catalogue(t, p)
	p.Classes[accounting.ServiceFlex].PerUnit[accounting.Input] = 9
	delete(p.Classes, accounting.ServicePriority)
	found, _ := c.Find(price.Target{BackendModel: "m"}, day(2))
	if found.Classes[accounting.ServiceFlex].PerUnit[accounting.Input] != 1000 || len(found.Classes) != 2 {
		t.Error("a catalogue changed with what it was made of")
	}
}

func TestMarginalTiers(t *testing.T) {
	marginal := func(p *price.Price) { p.TierMode, p.Classes = price.TierMarginal, nil }
	p := find(t, classed(marginal))
	for u, want := range map[accounting.Usage]int64{
		usage(int64(accounting.Input), 100, int64(accounting.Output), 1):                                    200 + 8,
		usage(int64(accounting.Input), 101, int64(accounting.Output), 1):                                    200 + 4 + 12,
		usage(int64(accounting.Input), 50, int64(accounting.CacheRead), 60, int64(accounting.Reasoning), 1): 120 + 80 + 40 + 12, // what a cache has is the prompt's beginning
		usage(int64(accounting.CacheRead), 150):                                                             200 + 200,
	} {
		if cost, err := p.Rate(u); err != nil || cost.Charge.Nanos != want {
			t.Errorf("%+v costs %+v, %v; want %d", u, cost, err, want)
		}
	}
	for _, n := range []int64{-1, 1 << 62} {
		if cost, err := p.Rate(usage(int64(accounting.Input), n)); err == nil {
			t.Errorf("%d tokens cost %+v", n, cost)
		}
	}
}

// Marginal tiers against a count of each token by itself, and their items against
// their sum. A longer input never costs less, so what is held covers what is used.
func TestMarginalTiersAreExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pico := rapid.Int64Range(0, 3_000_000)
		p := price.Price{Model: "m", Currency: "USD", Effective: time.Time{}, TierMode: price.TierMarginal,
			PerUnit: table{accounting.Input: accounting.Pico(pico.Draw(t, "input")), accounting.CacheRead: accounting.Pico(pico.Draw(t, "cached")), accounting.Output: accounting.Pico(pico.Draw(t, "output"))}}
		below := p.PerUnit
		for above := int64(0); len(p.Tiers) < 3 && (len(p.Tiers) == 0 || rapid.Bool().Draw(t, "another tier")); {
			above += rapid.Int64Range(1, 40).Draw(t, "above")
			next := table{}
			for m, n := range below {
				next[m] = n + accounting.Pico(pico.Draw(t, "dearer"))
			}
			p.Tiers = append(p.Tiers, price.Tier{Above: above, PerUnit: next})
			below = next
		}
		c, err := price.New([]price.Price{p})
		if err != nil {
			t.Fatal(err)
		}
		found, _ := c.Find(price.Target{BackendModel: "m"}, day(1))
		count := rapid.Int64Range(0, 100)
		cached, input, output := count.Draw(t, "cached tokens"), count.Draw(t, "input tokens"), count.Draw(t, "output tokens")
		of := func(cached, input int64) accounting.Cost {
			cost, err := found.Rate(usage(int64(accounting.CacheRead), cached, int64(accounting.Input), input, int64(accounting.Output), output))
			if err != nil {
				t.Fatal(err)
			}
			return cost
		}
		got := of(cached, input)

		at := func(position int64) table { // of the token with so many before it
			rates := p.PerUnit
			for _, tier := range p.Tiers {
				if position >= tier.Above {
					rates = tier.PerUnit
				}
			}
			return rates
		}
		exact := new(big.Int)
		add := func(n accounting.Pico) { exact.Add(exact, big.NewInt(int64(n))) }
		for i := range cached + input {
			if i < cached {
				add(at(i)[accounting.CacheRead])
			} else {
				add(at(i)[accounting.Input])
			}
		}
		for range output {
			add(at(max(0, cached+input-1))[accounting.Output])
		}
		sum, off := int64(0), new(big.Int)
		for _, item := range got.Items {
			sum += item.Amount.Nanos
		}
		off.Sub(off.Mul(big.NewInt(got.Charge.Nanos), big.NewInt(1000)), exact)
		if sum != got.Charge.Nanos || off.CmpAbs(big.NewInt(500*int64(len(got.Items)))) > 0 {
			t.Fatalf("%+v; want %s picos, half a nano off for each item at the most", got, exact)
		}
		if longer := of(cached, input+1); longer.Charge.Nanos < got.Charge.Nanos {
			t.Fatalf("a token more costs %v and not %v", longer.Charge, got.Charge)
		}
	})
}
