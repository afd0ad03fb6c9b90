package price_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/price"
)

func TestDefaultPrices(t *testing.T) {
	all, err := price.Defaults()
	if err != nil {
		t.Fatal(err)
	}
	c := catalogue(t, all...)
	providers := map[string]int{}
	for _, p := range all {
		providers[p.Provider]++
		if !p.Default || p.Provider == "" || p.Currency != "USD" || !strings.HasPrefix(p.Version, "default/"+p.Effective.Format(time.DateOnly)+"/"+p.Provider+"/") {
			t.Errorf("%+v", p)
		}
	}
	for _, name := range []string{"openai", "anthropic", "google", "deepseek", "alibaba", "mistral"} {
		if providers[name] == 0 {
			t.Errorf("none of %s", name)
		}
	}
	now := all[0].Effective
	// OpenAI's list price of gpt-4o: 2.50 and 10.00 USD for a million.
	p, ok := c.Find(price.Target{Backend: "b", Provider: "openai", BackendModel: "gpt-4o", Model: "big"}, now)
	if !ok || p.PerUnit[accounting.Input] != 2_500_000 || p.PerUnit[accounting.Output] != 10_000_000 {
		t.Errorf("gpt-4o: %+v, %t", p, ok)
	}
	for why, of := range map[string]price.Target{
		"a server that nobody knows":  {Backend: "b", BackendModel: "gpt-4o", Model: "gpt-4o"},
		"another provider":            {Backend: "b", Provider: "groq", BackendModel: "gpt-4o", Model: "gpt-4o"},
		"the name that callers use":   {Backend: "b", Provider: "openai", BackendModel: "mine", Model: "gpt-4o"},
		"a model that is not in it":   {Backend: "b", Provider: "openai", BackendModel: "gpt-4o-mine"},
		"a backend named like it all": {Backend: "openai", BackendModel: "gpt-4o"},
	} {
		if p, ok := c.Find(of, now); ok {
			t.Errorf("%s is priced by %s", why, p.Version)
		}
	}
}

// A document goes before a default, however old it is and whatever it is for.
func TestADocumentOverridesADefault(t *testing.T) {
	byDefault := of("m", "", day(6))
	byDefault.Provider, byDefault.Default, byDefault.Version = "openai", true, "default"
	providers := of("m", "", day(1))
	providers.Provider = "openai"
	target := price.Target{Backend: "b", Provider: "openai", BackendModel: "m", Model: "name"}
	for want, list := range map[string][]price.Price{
		"default":                      {byDefault},
		"m@provider:openai@2026-01-01": {byDefault, providers, of("m", "", day(5)), of("name", "", day(5))},
		"m@b@2026-01-01":               {byDefault, providers, of("m", "b", day(1))},
		"m@2026-05-01":                 {byDefault, of("m", "", day(5))},
		"name@2026-05-01":              {byDefault, of("name", "", day(5))},
	} {
		if p, ok := catalogue(t, list...).Find(target, day(7)); !ok || p.Version != want {
			t.Errorf("%v, %t; want %s", p, ok, want)
		}
	}
	target.Provider = ""
	if p, ok := catalogue(t, byDefault, providers).Find(target, day(7)); ok {
		t.Errorf("a backend of no provider is priced by %s", p.Version)
	}
}

func tiered() price.Price {
	p := of("m", "", day(1))
	p.Tiers = []price.Tier{
		{Above: 100, PerUnit: map[accounting.Meter]accounting.Pico{accounting.Input: 1_000_000, accounting.Output: 1_500_000}},
		{Above: 1000, PerUnit: map[accounting.Meter]accounting.Pico{accounting.Input: 2_000_000, accounting.Output: 3_000_000}},
	}
	return p
}

func TestALongInputPricesTheWholeCall(t *testing.T) {
	p := tiered()
	for _, c := range []struct {
		input, cached, nanos int64
	}{
		{100, 0, 100*500 + 10*1500}, {101, 0, 101*1000 + 10*1500}, {60, 41, 101*1000 + 10*1500}, {1000, 0, 1000*1000 + 10*1500}, {1001, 0, 1001*2000 + 10*3000},
	} {
		cost, err := p.Rate(usage(int64(accounting.Input), c.input, int64(accounting.CacheRead), c.cached, int64(accounting.Output), 10))
		if err != nil || cost.Charge.Nanos != c.nanos {
			t.Errorf("%d + %d tokens: %d, %v; want %d", c.input, c.cached, cost.Charge.Nanos, err, c.nanos)
		}
	}
}

// What is held for a longer prompt and answer covers what a shorter one costs.
func TestTiersOnlyRise(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := tiered()
		counts := rapid.Int64Range(0, 2000)
		in, out := counts.Draw(t, "in"), counts.Draw(t, "out")
		u := usage(int64(accounting.Input), in, int64(accounting.Output), out)
		bound := usage(int64(accounting.Input), in+counts.Draw(t, "more in"), int64(accounting.Output), out+counts.Draw(t, "more out"))
		used, err := p.Rate(u)
		if err != nil {
			t.Fatal(err)
		}
		held, err := p.Rate(bound)
		if err != nil || held.Charge.Nanos < used.Charge.Nanos {
			t.Fatalf("held %v, %v; used %v", held.Charge, err, used.Charge)
		}
	})
	for why, change := range map[string]func(*price.Price){
		"cheaper":       func(p *price.Price) { p.Tiers[1].PerUnit[accounting.Input] = 999_999 },
		"out of order":  func(p *price.Price) { p.Tiers[1].Above = 100 },
		"above nothing": func(p *price.Price) { p.Tiers[0].Above = 0 },
		"a meter more":  func(p *price.Price) { p.Tiers[0].PerUnit[accounting.CacheRead] = 1 },
		"a meter less":  func(p *price.Price) { delete(p.Tiers[0].PerUnit, accounting.Output) },
		"two owners":    func(p *price.Price) { p.Backend, p.Provider = "b", "openai" },
	} {
		p := tiered()
		change(&p)
		if p.Validate() == nil {
			t.Errorf("%s: taken", why)
		}
	}
}
