package accounting

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strings"
)

// ErrOverflow says that an amount does not fit. No amount is ever clipped.
var ErrOverflow = errors.New("amount overflows 64 bits")

// Money is an exact amount: Nanos billionths of one unit of Currency. It
// spans about plus and minus 9.2 billion units.
type Money struct {
	// Currency is the ISO 4217 code, such as "USD" or "CNY".
	Currency string
	Nanos    int64
}

// Pico is a price of one unit of something: billionths of a nano, that is
// 1e-12 of a currency. Prices per million tokens are whole picos per token
// down to six decimal places.
type Pico int64

const (
	nanosPerUnit = 1_000_000_000
	picosPerNano = 1_000
)

// Add returns m + n. It fails with ErrOverflow, or where the currencies differ.
func (m Money) Add(n Money) (Money, error) {
	if m.Currency != n.Currency {
		return Money{}, fmt.Errorf("cannot add %s to %s: convert one of them first", n.Currency, m.Currency)
	}
	sum, ok := AddInt64(m.Nanos, n.Nanos)
	if !ok {
		return Money{}, ErrOverflow
	}
	return Money{m.Currency, sum}, nil
}

// AddInt64 returns a + b and whether it fits.
func AddInt64(a, b int64) (int64, bool) {
	s := a + b
	return s, (s > a) == (b > 0)
}

// Units returns the whole units and the remaining nanos, both of one sign, as
// google.type.Money wants them.
func (m Money) Units() (units int64, nanos int32) {
	return m.Nanos / nanosPerUnit, int32(m.Nanos % nanosPerUnit)
}

// Decimal writes the amount without its currency, exactly, with at least two
// and at most nine decimal places: "5.00", "0.000123".
func (m Money) Decimal() string {
	return formatScaled(m.Nanos, 9, 2)
}

// String writes the amount with its currency: "0.000123 USD".
func (m Money) String() string { return m.Decimal() + " " + m.Currency }

// Decimal writes the price of one unit without its currency, exactly.
func (p Pico) Decimal() string { return formatScaled(int64(p), 12, 2) }

// ParseMoney reads an amount such as "5", "0.25" or "-1.5" of a currency. It
// fails where there are more than nine decimal places: money is never rounded
// on the way in.
func ParseMoney(amount, currency string) (Money, error) {
	if err := checkCurrency(currency); err != nil {
		return Money{}, err
	}
	n, err := parseScaled(amount, 9)
	if err != nil {
		return Money{}, err
	}
	return Money{currency, n}, nil
}

// ParseAmount reads an amount with its currency, such as "5 USD".
func ParseAmount(s string) (Money, error) {
	amount, currency, ok := strings.Cut(strings.TrimSpace(s), " ")
	if !ok {
		return Money{}, fmt.Errorf("%q is not an amount of money: write it as 5 USD", s)
	}
	return ParseMoney(amount, strings.TrimSpace(currency))
}

// ParsePerMillion reads the price of a million units, such as "0.50", as the
// price of one. At most six decimal places are exact, so more are an error.
func ParsePerMillion(s string) (Pico, error) {
	n, err := parseScaled(s, 6)
	if err != nil {
		return 0, err
	}
	if n < 0 {
		return 0, fmt.Errorf("%q is a negative price", s)
	}
	return Pico(n), nil
}

// ParsePerUnit reads the price of one unit, such as "0.04" for an image.
func ParsePerUnit(s string) (Pico, error) {
	n, err := parseScaled(s, 12)
	if err != nil {
		return 0, err
	}
	if n < 0 {
		return 0, fmt.Errorf("%q is a negative price", s)
	}
	return Pico(n), nil
}

// Times returns quantity units at price p in nanos, rounded half-even. Both
// must not be negative. It fails with ErrOverflow.
func (p Pico) Times(quantity int64) (int64, error) {
	if p < 0 || quantity < 0 {
		return 0, fmt.Errorf("price %d and quantity %d must not be negative", int64(p), quantity)
	}
	hi, lo := bits.Mul64(uint64(p), uint64(quantity))
	if hi >= picosPerNano/2 { // the quotient has 64 bits or more
		return 0, ErrOverflow
	}
	quo, rem := bits.Div64(hi, lo, picosPerNano)
	if rem > picosPerNano/2 || (rem == picosPerNano/2 && quo&1 == 1) {
		quo++
	}
	if quo > math.MaxInt64 {
		return 0, ErrOverflow
	}
	return int64(quo), nil
}

func checkCurrency(c string) error {
	if len(c) == 3 && strings.ToUpper(c) == c && strings.IndexFunc(c, func(r rune) bool { return r < 'A' || r > 'Z' }) < 0 {
		return nil
	}
	return fmt.Errorf("%q is not a currency: write its ISO 4217 code, such as USD or CNY", c)
}

// CheckCurrency tells whether c is written as an ISO 4217 code.
func CheckCurrency(c string) error { return checkCurrency(c) }

// parseScaled reads a plain decimal as an integer of 10^-places.
func parseScaled(s string, places int) (int64, error) {
	bad := func(why string) (int64, error) {
		return 0, fmt.Errorf("%q is not a plain decimal: %s", s, why)
	}
	digits, neg := strings.CutPrefix(s, "-")
	whole, frac, dotted := strings.Cut(digits, ".")
	if whole == "" || (dotted && frac == "") {
		return bad("write it as 0.50")
	}
	if len(frac) > places {
		if strings.Trim(frac[places:], "0") != "" {
			return bad(fmt.Sprintf("more than %d decimal places cannot be kept exactly", places))
		}
		frac = frac[:places]
	}
	var n int64
	for _, d := range whole + frac + strings.Repeat("0", places-len(frac)) {
		if d < '0' || d > '9' {
			return bad("only digits and one point are allowed")
		}
		if n > (math.MaxInt64-int64(d-'0'))/10 {
			return 0, fmt.Errorf("%q: %w", s, ErrOverflow)
		}
		n = n*10 + int64(d-'0')
	}
	if neg {
		n = -n
	}
	return n, nil
}

func formatScaled(n int64, places, least int) string {
	sign := ""
	u := uint64(n)
	if n < 0 {
		sign, u = "-", -u
	}
	s := fmt.Sprintf("%0*d", places+1, u)
	whole, frac := s[:len(s)-places], s[len(s)-places:]
	for len(frac) > least && frac[len(frac)-1] == '0' {
		frac = frac[:len(frac)-1]
	}
	return sign + whole + "." + frac
}
