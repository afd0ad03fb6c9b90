package main

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
)

type priceCommand struct {
	List   priceListCommand   `cmd:"" help:"Tell which prices there are, and where they are from."`
	Show   priceShowCommand   `cmd:"" help:"Tell of a price."`
	Import priceImportCommand `cmd:"" help:"Print Price documents of a public price file, and what of it is not to be believed."`
}

type priceListCommand struct {
	connection
	listOutput
	Model  string `short:"m" help:"Only those of this model." placeholder:"NAME"`
	Source string `enum:",document,default" default:"" help:"Only those from documents, or by default."`
}

type priceShowCommand struct {
	connection
	listOutput
	Version string `arg:"" help:"Version of the price, as costs name it."`
}

type priceResult struct {
	Version    string            `json:"version"`
	Source     string            `json:"source"`
	Model      string            `json:"model"`
	Backend    string            `json:"backend,omitempty"`
	Provider   string            `json:"provider,omitempty"`
	Currency   string            `json:"currency"`
	Effective  string            `json:"effective,omitempty"`
	UnitPrices map[string]string `json:"unit_prices"`
	Tiers      []priceTierResult `json:"tiers,omitempty"`
	TierMode   string            `json:"tier_mode,omitempty"`
	// Classes are those of other classes of service.
	Classes  []priceClassResult `json:"classes,omitempty"`
	AnyClass bool               `json:"any_class,omitempty"`
}

type priceClassResult struct {
	Class      string            `json:"service_class"`
	UnitPrices map[string]string `json:"unit_prices"`
	Tiers      []priceTierResult `json:"tiers,omitempty"`
}

type priceTierResult struct {
	Above      int64             `json:"above_input_tokens"`
	UnitPrices map[string]string `json:"unit_prices"`
}

func (c *priceListCommand) Run(ctx context.Context, t terminal) error {
	ctx, conn, err := c.dial(ctx, t)
	if err != nil {
		return err
	}
	defer conn.Close()
	client := weirv1.NewAccountingServiceClient(conn)
	source := weirv1.PriceSource(weirv1.PriceSource_value["PRICE_SOURCE_"+strings.ToUpper(c.Source)])
	var prices []*weirv1.Price
	if err := everyPage(func(token string) (string, error) {
		answer, err := client.ListPrices(ctx, &weirv1.ListPricesRequest{Model: c.Model, Source: source, PageToken: token})
		prices = append(prices, answer.GetPrices()...)
		return answer.GetNextPageToken(), err
	}); err != nil {
		return err
	}
	return printPrices(t, c.listOutput, prices, "there are no such prices")
}

func (c *priceShowCommand) Run(ctx context.Context, t terminal) error {
	ctx, conn, err := c.dial(ctx, t)
	if err != nil {
		return err
	}
	defer conn.Close()
	answer, err := weirv1.NewAccountingServiceClient(conn).GetPrice(ctx, &weirv1.GetPriceRequest{Name: "prices/" + c.Version})
	if err != nil {
		return told(err)
	}
	if c.Output == "json" {
		return printJSON(t.out, priceResultOf(answer.Price))
	}
	return printPrices(t, c.listOutput, []*weirv1.Price{answer.Price}, "")
}

// printPrices prints a line for each class of service and tier of each price.
func printPrices(t terminal, o listOutput, prices []*weirv1.Price, empty string) error {
	results := []priceResult{}
	var rows [][]string
	for _, p := range prices {
		r := priceResultOf(p)
		results = append(results, r)
		scope := "any"
		if r.Backend != "" {
			scope = "backend " + r.Backend
		} else if r.Provider != "" {
			scope = "provider " + r.Provider
		}
		add := func(class string, prices map[string]string, tiers []priceTierResult) {
			row := func(above string, prices map[string]string) {
				rows = append(rows, []string{r.Version, r.Source, scope, r.Currency, class, above, pricesText(prices)})
			}
			row("0", prices)
			for _, tier := range tiers {
				above := strconv.FormatInt(tier.Above, 10)
				if r.TierMode == "marginal" {
					above += " (marginal)"
				}
				row(above, tier.UnitPrices)
			}
		}
		standard := "standard"
		if r.AnyClass {
			standard = "any other"
		}
		add(standard, r.UnitPrices, r.Tiers)
		for _, class := range r.Classes {
			add(class.Class, class.UnitPrices, class.Tiers)
		}
	}
	return o.print(t, list{
		header: []string{"version", "source", "holds_for", "currency", "service_class", "above_input_tokens", "unit_prices"}, rows: rows, empty: empty,
		json: struct {
			Prices []priceResult `json:"prices"`
		}{results},
	})
}

// pricesText writes prices as weir model list does.
func pricesText(prices map[string]string) string {
	var parts []string
	for _, name := range slices.SortedFunc(maps.Keys(prices), func(a, b string) int { return cmp.Or(meterPlace(a)-meterPlace(b), cmp.Compare(a, b)) }) {
		parts = append(parts, name+" "+prices[name])
	}
	return strings.Join(parts, ", ")
}

// meterPlace has input before output, as people read prices.
func meterPlace(name string) int {
	switch {
	case strings.Contains(name, "input"):
		return 0
	case strings.Contains(name, "output"):
		return 2
	}
	return 1
}

func priceResultOf(p *weirv1.Price) priceResult {
	r := priceResult{
		Version: strings.TrimPrefix(p.Name, "prices/"), Source: enumWord(p.Source.String(), "PRICE_SOURCE_"), Model: p.Model, Backend: p.Backend,
		Provider: p.Provider, Currency: p.CurrencyCode, Effective: timeText(p.EffectiveTime), UnitPrices: p.UnitPrices,
	}
	r.Tiers, r.AnyClass = priceTiersOf(p.Tiers), p.AnyClass
	if p.TierMode != 0 {
		r.TierMode = enumWord(p.TierMode.String(), "PRICE_TIER_MODE_")
	}
	for _, c := range p.Classes {
		r.Classes = append(r.Classes, priceClassResult{enumWord(c.ServiceClass.String(), "SERVICE_CLASS_"), c.UnitPrices, priceTiersOf(c.Tiers)})
	}
	return r
}

func priceTiersOf(tiers []*weirv1.PriceTier) (out []priceTierResult) {
	for _, tier := range tiers {
		out = append(out, priceTierResult{tier.AboveInputTokens, tier.UnitPrices})
	}
	return out
}
