package weir

import (
	"context"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/price"
	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/face"
)

// maySeePrices refuses who may not see prices, which are no tenant's own.
func maySeePrices(ctx context.Context) error {
	caller, err := callerOf(ctx)
	if err == nil && !caller.Role.Accounts() {
		err = denied(caller, "see prices", "admin, viewer or billing")
	}
	return err
}

// ListPrices lists prices.
func (a *Accounting) ListPrices(ctx context.Context, req *weirv1.ListPricesRequest) (*weirv1.ListPricesResponse, error) {
	if err := maySeePrices(ctx); err != nil {
		return nil, err
	}
	page, err := openPage("prices "+req.GetSource().String()+" "+req.GetModel(), req, 1, mostPage)
	if err != nil {
		return nil, err
	}
	var wanted []*price.Price
	for _, p := range a.Prices().All() {
		if (req.GetModel() == "" || p.Model == req.GetModel()) && (req.GetSource() == 0 || req.GetSource() == sourceOf(p)) {
			wanted = append(wanted, p)
		}
	}
	out := &weirv1.ListPricesResponse{}
	listed, next, err := pageOf(page, wanted, func(p *price.Price) string { return p.Version })
	for _, p := range listed {
		out.Prices = append(out.Prices, priceMessage(p))
	}
	out.NextPageToken = next
	return out, err
}

// GetPrice returns a price.
func (a *Accounting) GetPrice(ctx context.Context, req *weirv1.GetPriceRequest) (*weirv1.GetPriceResponse, error) {
	if err := maySeePrices(ctx); err != nil {
		return nil, err
	}
	version := strings.TrimPrefix(req.GetName(), "prices/")
	for _, p := range a.Prices().All() {
		if p.Version == version {
			return &weirv1.GetPriceResponse{Price: priceMessage(p)}, nil
		}
	}
	return nil, missing(priceType, req.GetName())
}

func priceMessage(p *price.Price) *weirv1.Price {
	out := &weirv1.Price{
		Name: "prices/" + p.Version, Model: p.Model, Backend: p.Backend, Provider: p.Provider, CurrencyCode: p.Currency,
		UnitPrices: unitPrices(p.PerUnit), Source: sourceOf(p),
	}
	if !p.Effective.IsZero() {
		out.EffectiveTime = timestamppb.New(p.Effective)
	}
	out.Tiers, out.AnyClass = priceTiers(p.Tiers), p.AnyClass
	switch {
	case p.TierMode == price.TierMarginal:
		out.TierMode = weirv1.PriceTierMode_PRICE_TIER_MODE_MARGINAL
	case len(p.Tiers) > 0:
		out.TierMode = weirv1.PriceTierMode_PRICE_TIER_MODE_WHOLE
	}
	for _, c := range slices.Sorted(maps.Keys(p.Classes)) {
		of := p.Classes[c]
		out.Classes = append(out.Classes, &weirv1.PriceClass{ServiceClass: face.ServiceClass(c), UnitPrices: unitPrices(of.PerUnit), Tiers: priceTiers(of.Tiers)})
	}
	return out
}

func priceTiers(tiers []price.Tier) (out []*weirv1.PriceTier) {
	for _, t := range tiers {
		out = append(out, &weirv1.PriceTier{AboveInputTokens: t.Above, UnitPrices: unitPrices(t.PerUnit)})
	}
	return out
}

func sourceOf(p *price.Price) weirv1.PriceSource {
	if p.Default {
		return weirv1.PriceSource_PRICE_SOURCE_DEFAULT
	}
	return weirv1.PriceSource_PRICE_SOURCE_DOCUMENT
}

func unitPrices(table map[accounting.Meter]accounting.Pico) map[string]string {
	out := make(map[string]string, len(table))
	for m, n := range table {
		out[face.Meter(m)] = n.Decimal()
	}
	return out
}
