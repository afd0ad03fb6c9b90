package feed

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/weir-gateway/weir/accounting"
)

// The decimal places of a pico in a price of one unit, of a thousand, and of a
// million.
const (
	perUnit     = 12
	perThousand = 9
	perMillion  = 6
)

// mostDigits is more than any price has, and few enough to be read at once.
const mostDigits = 64

var errNotExact = errors.New("it has more decimal places than a price keeps: 12 for one unit, 6 for a million")

// scaled reads a number as JSON writes it, such as 2.5e-06, as a whole number
// of 10^-places. No float is on the way: what is not exact is an error.
func scaled(literal string, places int) (int64, error) {
	mantissa, exponent := literal, 0
	if i := strings.IndexAny(literal, "eE"); i >= 0 {
		var err error
		if exponent, err = strconv.Atoi(literal[i+1:]); err != nil || exponent < -mostDigits || exponent > mostDigits {
			return 0, fmt.Errorf("%s has no exponent of a price", shorten(literal))
		}
		mantissa = literal[:i]
	}
	mantissa, negative := strings.CutPrefix(mantissa, "-")
	whole, fraction, dotted := strings.Cut(mantissa, ".")
	digits := whole + fraction
	if whole == "" || dotted && fraction == "" || len(digits) > mostDigits || strings.Trim(digits, "0123456789") != "" {
		return 0, fmt.Errorf("%s is not a number", shorten(literal))
	}
	switch shift := exponent + places - len(fraction); {
	case shift >= 0:
		digits += strings.Repeat("0", shift)
	case strings.Trim(digits[max(0, len(digits)+shift):], "0") != "":
		return 0, errNotExact
	default:
		digits = digits[:max(0, len(digits)+shift)]
	}
	digits = strings.TrimLeft(digits, "0")
	if digits == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil { // digits they are, so there are too many
		return 0, fmt.Errorf("%s: %w", shorten(literal), accounting.ErrOverflow)
	}
	if negative {
		n = -n
	}
	return n, nil
}

func shorten(literal string) string {
	if len(literal) > 40 {
		literal = literal[:40] + "…"
	}
	return strconv.Quote(literal)
}

// amount reads a price where the JSON is a number. Anything else is none.
func amount(raw json.RawMessage, places int) (n accounting.Pico, is bool, err error) {
	if len(raw) == 0 || raw[0] != '-' && (raw[0] < '0' || raw[0] > '9') {
		return 0, false, nil
	}
	v, err := scaled(string(raw), places)
	return accounting.Pico(v), true, err
}
