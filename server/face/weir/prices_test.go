package weir

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
)

const somePrices = `---
kind: Price
model: long
provider: openai
currency: CNY
effective: 2026-01-01
per_million: {input: 1, output: 2}
tiers: [{above: 200000, per_million: {input: 2, output: 4}}]
tier_mode: marginal
any_class: true
classes: {flex: {per_million: {input: 0.5, output: 1}, tiers: [{above: 200000, per_million: {input: 1, output: 2}}]}}
---
kind: Price
model: a/b
backend: local
currency: USD
effective: 2026-02-01T08:00:00+08:00
per_million: {input: 1}
per_unit: {requests: 0.01}
`

func TestPrices(t *testing.T) {
	h := withRoles(t, somePrices)
	client := weirv1.NewAccountingServiceClient(h.conn)
	var names []string
	for token := ""; ; {
		answer, err := client.ListPrices(h.as("platform"), &weirv1.ListPricesRequest{PageSize: 2, PageToken: token})
		if err != nil || len(answer.Prices) > 2 {
			t.Fatalf("%v, %v", answer, err)
		}
		for _, p := range answer.Prices {
			names = append(names, p.Name)
		}
		if token = answer.NextPageToken; token == "" {
			break
		}
	}
	want := []string{"prices/a/b@local@2026-02-01", "prices/long@provider:openai@2026-01-01", "prices/sim@2026-01-01"}
	if !slices.Equal(names, want) {
		t.Errorf("listed %q; want %q", names, want)
	}
	got, err := client.GetPrice(h.as("viewer"), &weirv1.GetPriceRequest{Name: want[1]})
	if err != nil {
		t.Fatal(err)
	}
	p := got.Price
	p.EffectiveTime = nil
	if whole := (&weirv1.Price{
		Name: want[1], Model: "long", Provider: "openai", CurrencyCode: "CNY", Source: weirv1.PriceSource_PRICE_SOURCE_DOCUMENT,
		UnitPrices: map[string]string{"uncached_input_tokens": "0.000001", "text_output_tokens": "0.000002"},
		Tiers:      []*weirv1.PriceTier{{AboveInputTokens: 200000, UnitPrices: map[string]string{"uncached_input_tokens": "0.000002", "text_output_tokens": "0.000004"}}},
		TierMode:   weirv1.PriceTierMode_PRICE_TIER_MODE_MARGINAL, AnyClass: true,
		Classes: []*weirv1.PriceClass{{
			ServiceClass: weirv1.ServiceClass_SERVICE_CLASS_FLEX, UnitPrices: map[string]string{"uncached_input_tokens": "0.0000005", "text_output_tokens": "0.000001"},
			Tiers: []*weirv1.PriceTier{{AboveInputTokens: 200000, UnitPrices: map[string]string{"uncached_input_tokens": "0.000001", "text_output_tokens": "0.000002"}}},
		}},
	}); !proto.Equal(p, whole) {
		t.Errorf("price %v; want %v", p, whole)
	}
	for model, n := range map[string]int{"long": 1, "none": 0} {
		if answer, err := client.ListPrices(h.as("billing"), &weirv1.ListPricesRequest{Model: model}); err != nil || len(answer.Prices) != n {
			t.Errorf("of %s: %v, %v", model, answer, err)
		}
	}
	if answer, err := client.ListPrices(h.as("billing"), &weirv1.ListPricesRequest{Source: weirv1.PriceSource_PRICE_SOURCE_DEFAULT}); err != nil || len(answer.Prices) != 0 {
		t.Errorf("defaults of a Weir without: %v, %v", answer, err)
	}
}

func TestWhoMaySeePrices(t *testing.T) {
	h := withRoles(t, somePrices)
	client := weirv1.NewAccountingServiceClient(h.conn)
	want := map[string]string{
		"platform": fine, "admin": fine, "viewer": fine, "billing": fine, "neighbour": fine, // they are the platform's, and alike for all
		"member": no, "nobody": "Unauthenticated CREDENTIALS_INVALID",
	}
	h.rights("ListPrices", func(ctx context.Context) error {
		_, err := client.ListPrices(ctx, &weirv1.ListPricesRequest{})
		return err
	}, want)
	h.rights("GetPrice", func(ctx context.Context) error {
		_, err := client.GetPrice(ctx, &weirv1.GetPriceRequest{Name: "prices/sim@2026-01-01"})
		return err
	}, want)
	const bad = "InvalidArgument"
	first, err := client.ListPrices(h.as("admin"), &weirv1.ListPricesRequest{PageSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"a negative page":         second(client.ListPrices(h.as("admin"), &weirv1.ListPricesRequest{PageSize: -1})),
		"a token of nobody":       second(client.ListPrices(h.as("admin"), &weirv1.ListPricesRequest{PageToken: "x"})),
		"a token of another list": second(client.ListPrices(h.as("admin"), &weirv1.ListPricesRequest{Model: "long", PageToken: first.NextPageToken})),
		"an unknown source":       second(client.ListPrices(h.as("admin"), &weirv1.ListPricesRequest{Source: 99})),
		"no name":                 second(client.GetPrice(h.as("admin"), &weirv1.GetPriceRequest{Name: "prices/"})),
		"a name of another kind":  second(client.GetPrice(h.as("admin"), &weirv1.GetPriceRequest{Name: "models/sim"})),
	} {
		if got := failure(err); len(got) < len(bad) || got[:len(bad)] != bad {
			t.Errorf("%s: %s", what, got)
		}
	}
	if got := failure(second(client.GetPrice(h.as("admin"), &weirv1.GetPriceRequest{Name: "prices/none"}))); got != absent {
		t.Errorf("a price that is not there: %s", got)
	}
}

func second[T any](_ T, err error) error {
	if err == nil {
		return fmt.Errorf("it was answered")
	}
	return err
}
