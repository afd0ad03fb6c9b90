package price_test

import (
	"errors"
	"math"
	"math/big"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/price"
)

// Convert against big.Int: one rounding, half to even, of one size for both
// signs, and never down while the amount goes up.
func TestConvertIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		amounts := rapid.OneOf(rapid.Int64(), rapid.Int64Range(-1e13, 1e13), rapid.Int64Range(-9, 9))
		rate := price.FxRate{From: "USD", To: "CNY", Rate: accounting.Pico(rapid.OneOf(rapid.Int64Range(1, math.MaxInt64), rapid.Int64Range(1, 1e14), rapid.Just[int64](5e11)).Draw(t, "rate"))}
		n := amounts.Draw(t, "nanos")
		q, r := new(big.Int).QuoRem(new(big.Int).Abs(new(big.Int).Mul(big.NewInt(n), big.NewInt(int64(rate.Rate)))), big.NewInt(1e12), new(big.Int))
		if c := r.Cmp(big.NewInt(5e11)); c > 0 || c == 0 && q.Bit(0) == 1 {
			q.Add(q, big.NewInt(1))
		}
		if n < 0 {
			q.Neg(q)
		}
		got, err := rate.Convert(n)
		switch fits := q.IsInt64() && q.Int64() != math.MinInt64; {
		case !fits && !errors.Is(err, accounting.ErrOverflow):
			t.Fatalf("%d, %v; want an overflow", got, err)
		case fits && (err != nil || got != q.Int64()):
			t.Fatalf("%d, %v; want %d", got, err, q)
		}
		// What is held covers what is settled in the other currency too.
		more := amounts.Draw(t, "more")
		if a, err := rate.Convert(min(n, more)); err == nil {
			if b, err := rate.Convert(max(n, more)); err == nil && a > b {
				t.Fatalf("%d is worth %d and %d is worth %d", min(n, more), a, max(n, more), b)
			}
		}
	})
}

func TestARateHoldsInItsDirectionFromItsMoment(t *testing.T) {
	rate := func(from, to string, n accounting.Pico, month time.Month) price.FxRate {
		return price.FxRate{From: from, To: to, Rate: n, Effective: day(month)}
	}
	x, err := price.NewExchange([]price.FxRate{rate("USD", "CNY", 1, 1), rate("USD", "CNY", 3, 3), rate("EUR", "USD", 9, 1)})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		from, to string
		at       time.Time
		want     accounting.Pico
	}{
		{"USD", "CNY", day(3), 3}, {"USD", "CNY", day(3).Add(-1), 1}, {"USD", "CNY", day(1).Add(-1), 0},
		{"CNY", "USD", day(5), 0}, {"EUR", "USD", day(5), 9}, {"EUR", "CNY", day(5), 0},
	} {
		if r, ok := x.Find(c.from, c.to, c.at); r.Rate != c.want || ok != (c.want > 0) {
			t.Errorf("%s to %s at %s: %v, %t; want %d", c.from, c.to, c.at, r, ok, c.want)
		}
	}
	usd := map[string]bool{"USD": true}
	if !x.Meets("USD", usd) || !x.Meets("CNY", usd) || x.Meets("EUR", usd) || x.Meets("CNY", nil) {
		t.Error("a currency is met where a price is in it, or a rate leads there from one")
	}
	var none *price.Exchange
	if _, ok := none.Find("USD", "CNY", day(5)); ok || none.Meets("CNY", usd) || !none.Meets("USD", usd) {
		t.Error("no exchange knows no rate")
	}
	for _, wrong := range [][]price.FxRate{
		{rate("USD", "USD", 1, 1)}, {rate("USD", "cny", 1, 1)}, {rate("USD", "CNY", 0, 1)}, {rate("USD", "CNY", -1, 1)},
		{rate("USD", "CNY", 1, 1), rate("USD", "CNY", 2, 1)},
	} {
		if _, err := price.NewExchange(wrong); err == nil {
			t.Errorf("%v was taken", wrong)
		}
	}
}
