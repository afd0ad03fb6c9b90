package weir

import (
	"github.com/weir-gateway/weir/accounting"
	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
)

// meters are the buckets of a usage. A bucket that is absent where its total is
// known is what the others leave of it; one that could not be is dropped.
func meters(u *weirv1.Usage) accounting.Usage {
	var out accounting.Usage
	if u == nil {
		return out
	}
	type detail struct {
		meter accounting.Meter
		n     *int64
	}
	side := func(total *int64, plain detail, details ...detail) {
		rest, fits := int64(0), total != nil && *total >= 0
		if fits {
			rest = *total
		}
		for _, d := range details {
			if d.n == nil || *d.n < 0 || fits && *d.n > rest {
				continue
			}
			rest -= *d.n
			out.Set(d.meter, *d.n)
		}
		switch {
		case fits: // the total counts: the meters sum to it
			out.Set(plain.meter, rest)
		case plain.n != nil && *plain.n >= 0:
			out.Set(plain.meter, *plain.n)
		}
	}
	side(u.InputTokens, detail{accounting.Input, u.UncachedInputTokens}, detail{accounting.CacheRead, u.CacheReadTokens},
		detail{accounting.CacheWrite5m, u.CacheWrite_5MTokens}, detail{accounting.CacheWrite1h, u.CacheWrite_1HTokens})
	side(u.OutputTokens, detail{accounting.Output, u.TextOutputTokens}, detail{accounting.Reasoning, u.ReasoningTokens})
	return out
}
