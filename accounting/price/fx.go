package price

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"time"

	"github.com/weir-gateway/weir/accounting"
)

// An FxRate is what one unit of a currency is in another, from a moment on,
// until a later FxRate of the same two takes over. It holds in its direction
// alone: nobody's rates back and forth are each other's inverse.
type FxRate struct {
	// From and To are ISO 4217 codes.
	From, To string
	// Rate is 1e-12 of To for one of From.
	Rate accounting.Pico
	// Effective is from when on the rate holds.
	Effective time.Time
}

// Version names the rate: USD-CNY@2026-01-01.
func (r FxRate) Version() string { return r.From + "-" + r.To + "@" + dayOf(r.Effective) }

// Validate tells what is wrong with a rate.
func (r FxRate) Validate() error {
	for _, c := range [...]string{r.From, r.To} {
		if err := accounting.CheckCurrency(c); err != nil {
			return fmt.Errorf("exchange rate from %q to %q: %w", r.From, r.To, err)
		}
	}
	switch {
	case r.From == r.To:
		return fmt.Errorf("exchange rate from %s to itself: name two currencies", r.From)
	case r.Rate <= 0:
		return fmt.Errorf("exchange rate from %s to %s is %s: a rate is above zero", r.From, r.To, r.Rate.Decimal())
	}
	return nil
}

const picosPerUnit = 1_000_000_000_000

// Convert returns nanos of From in nanos of To: multiplied in 128 bits and
// rounded once, half to even. It fails with accounting.ErrOverflow.
func (r FxRate) Convert(nanos int64) (int64, error) {
	size := uint64(nanos)
	if nanos < 0 {
		size = -size
	}
	hi, lo := bits.Mul64(size, uint64(r.Rate))
	if hi >= picosPerUnit/2 { // the quotient has 64 bits or more
		return 0, accounting.ErrOverflow
	}
	quo, rem := bits.Div64(hi, lo, picosPerUnit)
	if rem > picosPerUnit/2 || rem == picosPerUnit/2 && quo&1 == 1 {
		quo++
	}
	switch {
	case quo > math.MaxInt64:
		return 0, accounting.ErrOverflow
	case nanos < 0:
		return -int64(quo), nil
	}
	return int64(quo), nil
}

// Exchange is a set of rates that never changes, so it is safe to share. A nil
// Exchange is empty.
type Exchange struct {
	// newest first
	rates map[[2]string][]FxRate
}

// NewExchange makes an exchange of rates. It fails where one is wrong, or where
// two are for the same currencies and moment.
func NewExchange(rates []FxRate) (*Exchange, error) {
	x := &Exchange{rates: map[[2]string][]FxRate{}}
	for _, r := range rates {
		if err := r.Validate(); err != nil {
			return nil, err
		}
		pair := [2]string{r.From, r.To}
		x.rates[pair] = append(x.rates[pair], r)
	}
	for _, list := range x.rates {
		slices.SortFunc(list, func(a, b FxRate) int { return b.Effective.Compare(a.Effective) })
		for i := 1; i < len(list); i++ {
			if list[i].Effective.Equal(list[i-1].Effective) {
				return nil, fmt.Errorf("exchange rate %s is there twice: give the later one a later effective time", list[i].Version())
			}
		}
	}
	return x, nil
}

// Find returns the rate from one currency to another at a time, the newest that
// is effective by then.
func (x *Exchange) Find(from, to string, at time.Time) (FxRate, bool) {
	if x != nil {
		for _, r := range x.rates[[2]string{from, to}] {
			if !r.Effective.After(at) {
				return r, true
			}
		}
	}
	return FxRate{}, false
}

// Meets tells whether an amount in one of the currencies can be had in another,
// at any time.
func (x *Exchange) Meets(to string, from map[string]bool) bool {
	if from[to] || x == nil {
		return from[to]
	}
	for pair := range x.rates {
		if pair[1] == to && from[pair[0]] {
			return true
		}
	}
	return false
}

// ParseRate reads a rate such as "7.1034". It fails where there are more than
// twelve decimal places.
func ParseRate(s string) (accounting.Pico, error) {
	rate, err := accounting.ParsePerUnit(s)
	if err == nil && rate == 0 {
		err = errors.New("a rate is above zero: write what one unit of the first currency is in the second, such as 7.1034")
	}
	return rate, err
}

// dayOf writes when something begins to hold, the day where it begins with it.
func dayOf(at time.Time) string {
	at = at.UTC()
	if at.Equal(at.Truncate(24 * time.Hour)) {
		return at.Format(time.DateOnly)
	}
	return at.Format(time.RFC3339Nano)
}
