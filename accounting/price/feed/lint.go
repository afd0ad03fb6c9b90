package feed

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/price"
)

// What no provider has asked for yet, so that a row which says so is wrong: the
// dearest published prices of 2026 are some 600 USD for a million tokens, an
// output costs up to 18 times the input where the model reasons, and hardly
// less than it, and a cache that keeps for an hour twice the input.
const (
	mostPerToken   accounting.Pico = 1_000_000_000 // 1000 USD for a million
	mostPerRequest accounting.Pico = 1_000_000_000_000
	mostOutput                     = 40 // times the input
	leastOutput                    = 2  // the input is at most so many times the output
	mostCacheWrite                 = 4  // times the input
)

// lint refuses a row that is not to be believed, and notes what of it is not
// taken.
func (r *Row) lint() {
	defer r.clean()
	slices.Sort(r.Unsaid)
	slices.SortFunc(r.Tiers, func(a, b price.Tier) int { return cmp.Compare(a.Above, b.Above) })
	if len(r.Refused) > 0 {
		return
	}
	r.completeTiers()
	r.completeClasses()
	r.checkTable(r.PerUnit, "")
	for _, t := range r.Tiers {
		r.checkTable(t.PerUnit, " above "+tokens(t.Above))
	}
	r.checkClasses()
	if len(r.Refused) > 0 {
		return
	}
	r.dropCheapWrites()
	if r.embeds {
		r.drop(accounting.Output, accounting.Reasoning)
	}
	p := r.price()
	if err := p.Validate(); err != nil {
		r.refuse("%v", err)
	}
}

// clean keeps what a file calls things on one line: they come to stand in
// comments of documents and in tables.
func (r *Row) clean() {
	for _, s := range [...]string{r.Name, r.Provider, r.Model} {
		if oneLine(s) != s {
			r.refuse("its name or provider has control characters")
			break
		}
	}
	for _, list := range [...][]string{r.Unsaid, r.Notes, r.Refused} {
		for i := range list {
			list[i] = oneLine(list[i])
		}
	}
	r.Name, r.Provider, r.Model = oneLine(r.Name), oneLine(r.Provider), oneLine(r.Model)
}

func oneLine(s string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) || c == '\u2028' || c == '\u2029' {
			return unicode.ReplacementChar
		}
		return c
	}, s)
}

func (r *Row) price() price.Price {
	return price.Price{Model: r.Model, Provider: r.Provider, Currency: "USD", PerUnit: r.PerUnit, Tiers: r.Tiers, Classes: r.Classes}
}

// checkTable checks the prices of a tier beside each other.
func (r *Row) checkTable(table map[accounting.Meter]accounting.Pico, where string) {
	for _, m := range sortedMeters(table) {
		most := mostPerToken
		if m == accounting.Requests {
			most = mostPerRequest
		}
		switch n := table[m]; {
		case n < 0:
			r.refuse("%s%s is negative: %s", m, where, n.Decimal())
		case n > most:
			r.refuse("%s%s costs %s USD for one, more than anybody asks for", m, where, n.Decimal())
		}
	}
	input, priced := table[accounting.Input]
	output, answers := table[accounting.Output]
	switch {
	case !priced:
		r.refuse("input%s has no price", where)
	case !answers && !r.embeds:
		r.refuse("output%s has no price", where)
	case input == 0 && output == 0:
		r.refuse("input and output%s cost 0: if it is free, say so in a Price of your own", where)
	case len(r.Refused) > 0: // the rest would say it again
	case !r.embeds && output > input*mostOutput:
		r.refuse("output%s costs %s", where, times(output, input, "input"))
	case !r.embeds && input > output*leastOutput:
		r.refuse("input%s costs %s", where, times(input, output, "output"))
	case table[accounting.CacheRead] > input:
		r.refuse("cache_read%s costs %s", where, times(table[accounting.CacheRead], input, "input"))
	case table[accounting.CacheWrite5m] > input*mostCacheWrite, table[accounting.CacheWrite1h] > input*mostCacheWrite:
		r.refuse("cache_write%s costs more than %d times the input", where, mostCacheWrite)
	}
}

// completeTiers has every tier name the meters of the one below: what a file
// leaves out stands as it is.
func (r *Row) completeTiers() {
	below := r.PerUnit
	for _, t := range r.Tiers {
		for _, m := range sortedMeters(t.PerUnit) {
			if _, ok := r.PerUnit[m]; !ok {
				r.note("%s above %s is left out: it has no price below", m, tokens(t.Above))
				delete(t.PerUnit, m)
			}
		}
		for _, m := range sortedMeters(below) {
			n, ok := t.PerUnit[m]
			if !ok {
				r.note("%s has no price above %s: that below stands", m, tokens(t.Above))
				t.PerUnit[m] = below[m]
			} else if n < below[m] {
				r.refuse("%s above %s is cheaper than below", m, tokens(t.Above))
			}
		}
		below = t.PerUnit
	}
}

// dropCheapWrites leaves out prices of a cache's writes that are below the
// input's: files write 0 where writing is not priced apart, and a write is rated
// as input where nothing is said.
func (r *Row) dropCheapWrites() {
	for _, m := range [...]accounting.Meter{accounting.CacheWrite5m, accounting.CacheWrite1h} {
		if n, ok := r.PerUnit[m]; ok && n < r.PerUnit[accounting.Input] {
			r.note("%s at %s is left out: it is rated as input", m, n.Decimal())
			r.drop(m)
		}
	}
}

func (r *Row) drop(meters ...accounting.Meter) {
	for _, m := range meters {
		for _, rates := range append(slices.Collect(maps.Values(r.Classes)), r.standard()) {
			delete(rates.PerUnit, m)
			for _, t := range rates.Tiers {
				delete(t.PerUnit, m)
			}
		}
	}
}
