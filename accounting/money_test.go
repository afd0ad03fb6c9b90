package accounting_test

import (
	"errors"
	"math"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/accounting"
)

// drawEdge draws an int64, often one at the edge.
func drawEdge(t *rapid.T, name string) int64 {
	return rapid.OneOf(rapid.Int64(), rapid.Int64Range(-2000, 2000),
		rapid.SampledFrom([]int64{math.MinInt64, math.MinInt64 + 1, math.MaxInt64 - 1, math.MaxInt64, 999_999_999, 1_000_000_000})).Draw(t, name)
}

func drawNonNegative(t *rapid.T, name string) int64 {
	return rapid.OneOf(rapid.Int64Range(0, math.MaxInt64), rapid.Int64Range(0, 3000), rapid.SampledFrom([]int64{0, 500, 1500, math.MaxInt64})).Draw(t, name)
}

func TestMoneyGoesThroughTextUnchanged(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := accounting.Money{Currency: "USD", Nanos: drawEdge(t, "nanos")}
		text := m.Decimal()
		exact := new(big.Rat).SetFrac(big.NewInt(m.Nanos), big.NewInt(1_000_000_000))
		if read, ok := new(big.Rat).SetString(text); !ok || read.Cmp(exact) != 0 {
			t.Fatalf("%d nanos are written %q", m.Nanos, text)
		}
		if whole, frac, _ := strings.Cut(text, "."); whole == "" || len(frac) < 2 || len(frac) > 9 || len(frac) > 2 && frac[len(frac)-1] == '0' {
			t.Fatalf("%d nanos are written %q", m.Nanos, text)
		}
		back, err := accounting.ParseAmount(m.String())
		if m.Nanos == math.MinInt64 {
			return // reads as an overflow: its positive has no room
		}
		if err != nil || back != m {
			t.Fatalf("%q reads %+v, %v", m, back, err)
		}
		units, nanos := m.Units()
		if sum := new(big.Int).Add(new(big.Int).Mul(big.NewInt(units), big.NewInt(1_000_000_000)), big.NewInt(int64(nanos))); sum.Cmp(big.NewInt(m.Nanos)) != 0 {
			t.Fatalf("%d nanos are %d units and %d nanos", m.Nanos, units, nanos)
		}
		if units > 0 && nanos < 0 || units < 0 && nanos > 0 {
			t.Fatalf("%d nanos are %d units and %d nanos: two signs", m.Nanos, units, nanos)
		}
	})
}

func TestPricesGoThroughTextUnchanged(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := accounting.Pico(drawNonNegative(t, "picos"))
		back, err := accounting.ParsePerUnit(p.Decimal())
		if err != nil || back != p {
			t.Fatalf("price %q reads %d, %v; want %d", p.Decimal(), back, err, p)
		}
		// A price of a million units in six places is the same number.
		million := new(big.Rat).SetFrac(big.NewInt(int64(p)), big.NewInt(1_000_000)).FloatString(6)
		if back, err := accounting.ParsePerMillion(million); err != nil || back != p {
			t.Fatalf("%q per million reads %d, %v; want %d", million, back, err, p)
		}
	})
}

func TestMoneyIsNeverRoundedOnTheWayIn(t *testing.T) {
	for _, s := range []string{"", "-", ".", "1.", ".5", "1e3", "+1", "1,000", " 1", "0.0000000001", "1_000", "١", "--1", "1.2.3", "-.5", "0x1", "NaN"} {
		if m, err := accounting.ParseMoney(s, "USD"); err == nil {
			t.Errorf("%q reads %v", s, m)
		}
	}
	for s, want := range map[string]int64{"5": 5e9, "-1.5": -15e8, "0.000000001": 1, "0.0000000010": 1, "9223372036.854775807": math.MaxInt64, "-0": 0, "007": 7e9} {
		if m, err := accounting.ParseMoney(s, "USD"); err != nil || m.Nanos != want {
			t.Errorf("%q reads %+v, %v; want %d", s, m, err, want)
		}
	}
	if _, err := accounting.ParseMoney("9223372036.854775808", "USD"); !errors.Is(err, accounting.ErrOverflow) {
		t.Errorf("one nano too many: %v", err)
	}
	for _, s := range []string{"5", "5USD", "5 usd", "5 US", "5 USDT", "USD 5", "5 U$D"} {
		if m, err := accounting.ParseAmount(s); err == nil {
			t.Errorf("%q reads %v", s, m)
		}
	}
	for _, s := range []string{"-1", "0.0000001"} {
		if p, err := accounting.ParsePerMillion(s); err == nil {
			t.Errorf("%q per million reads %d", s, p)
		}
	}
	if p, err := accounting.ParsePerUnit("-1"); err == nil {
		t.Errorf("-1 per unit reads %d", p)
	}
}

func TestASumFitsOrIsAnError(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawEdge(t, "a"), drawEdge(t, "b")
		exact := new(big.Int).Add(big.NewInt(a), big.NewInt(b))
		got, ok := accounting.AddInt64(a, b)
		if ok != exact.IsInt64() || ok && got != exact.Int64() {
			t.Fatalf("%d + %d = %d, %t", a, b, got, ok)
		}
		sum, err := accounting.Money{Currency: "USD", Nanos: a}.Add(accounting.Money{Currency: "USD", Nanos: b})
		if ok != (err == nil) || !ok && !errors.Is(err, accounting.ErrOverflow) || ok && sum != (accounting.Money{Currency: "USD", Nanos: got}) {
			t.Fatalf("%d + %d = %v, %v", a, b, sum, err)
		}
	})
}

func TestTwoCurrenciesAreNeverAdded(t *testing.T) {
	if m, err := (accounting.Money{Currency: "USD", Nanos: 1}).Add(accounting.Money{Currency: "CNY", Nanos: 1}); err == nil {
		t.Errorf("the sum is %v", m)
	}
	if m, err := (accounting.Money{Currency: "USD", Nanos: 1}).Add(accounting.Money{}); err == nil {
		t.Errorf("the sum with no currency is %v", m)
	}
}

// half rounds a/b half-even, the obvious way.
func half(a, b *big.Int) *big.Int {
	q, r := new(big.Int).QuoRem(a, b, new(big.Int))
	switch c := new(big.Int).Lsh(r, 1).Cmp(b); {
	case c > 0, c == 0 && q.Bit(0) == 1:
		q.Add(q, big.NewInt(1))
	}
	return q
}

func TestAnItemIsRoundedOnceHalfEven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, n := drawNonNegative(t, "price"), drawNonNegative(t, "quantity")
		if rapid.Bool().Draw(t, "tie") { // half a nano, which random numbers seldom hit
			p, n = 500, rapid.Int64Range(0, 1<<50).Draw(t, "quantity of halves")
		}
		exact := half(new(big.Int).Mul(big.NewInt(p), big.NewInt(n)), big.NewInt(1000))
		got, err := accounting.Pico(p).Times(n)
		if exact.IsInt64() {
			if err != nil || got != exact.Int64() {
				t.Fatalf("%d x %d = %d, %v; want %v", p, n, got, err, exact)
			}
		} else if !errors.Is(err, accounting.ErrOverflow) {
			t.Fatalf("%d x %d = %d, %v; want an overflow", p, n, got, err)
		}
	})
	for _, c := range []struct{ p, n, want int64 }{{500, 1, 0}, {500, 3, 2}, {1, 500, 0}, {1, 501, 1}, {1500, 1, 2}, {2500, 1, 2}} {
		if got, err := accounting.Pico(c.p).Times(c.n); err != nil || got != c.want {
			t.Errorf("%d picos x %d = %d, %v; want %d", c.p, c.n, got, err, c.want)
		}
	}
	// The edges of 64 and of 128 bits, which random numbers never hit.
	for _, c := range [][2]int64{
		{1000 << 31, 1 << 32},       // one nano too many
		{1000 << 32, 1 << 32},       // one bit too many
		{9209557700304319329, 2003}, // rounding up leaves 64 bits, unsigned too
		{9204962112629516774, 1002}, // rounding up leaves 63 bits
		{math.MaxInt64, math.MaxInt64},
	} {
		if got, err := accounting.Pico(c[0]).Times(c[1]); !errors.Is(err, accounting.ErrOverflow) {
			t.Errorf("%d picos x %d = %d, %v; want an overflow", c[0], c[1], got, err)
		}
	}
	for _, c := range [][2]int64{{-1, 1}, {1, -1}} {
		if got, err := accounting.Pico(c[0]).Times(c[1]); err == nil {
			t.Errorf("%d x %d = %d", c[0], c[1], got)
		}
	}
}

// Rating a use in two parts differs from rating it whole by one rounding, no more.
func TestSplittingAUseChangesAtMostOneNano(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := accounting.Pico(rapid.Int64Range(0, 1<<40).Draw(t, "price"))
		a, b := rapid.Int64Range(0, 1<<20).Draw(t, "a"), rapid.Int64Range(0, 1<<20).Draw(t, "b")
		whole, err := p.Times(a + b)
		if err != nil {
			t.Skip("overflows")
		}
		first, _ := p.Times(a)
		second, _ := p.Times(b)
		if d := first + second - whole; d < -1 || d > 1 {
			t.Fatalf("%d + %d at %d: %d and %d, together %d", a, b, p, first, second, whole)
		}
		if p%1000 == 0 && first+second != whole {
			t.Fatalf("nothing to round, and %d + %d != %d", first, second, whole)
		}
	})
}

func TestAmountsReadWell(t *testing.T) {
	for want, got := range map[string]string{
		"5.00 USD":      accounting.FormatAmount("USD", 5e9),
		"-0.000001 CNY": accounting.FormatAmount("CNY", -1000),
		"1200 tokens":   accounting.FormatAmount(accounting.UnitTokens, 1200),
		"1 requests":    accounting.FormatAmount(accounting.UnitRequests, 1),
		`budget "cap" of tenant "acme" has no room for this call: limit 5.00 USD, spent 4.00 USD, held for running calls 0.50 USD, this call needs up to 0.75 USD`: (&accounting.ExhaustedError{
			Claim: accounting.Claim{Amount: 75e7, Window: &accounting.Window{Budget: "cap", Tenant: "acme", Unit: "USD", Limit: 5e9}}, Spent: 4e9, Held: 5e8}).Error(),
	} {
		if got != want {
			t.Errorf("%q; want %q", got, want)
		}
	}
}
