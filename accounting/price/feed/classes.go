package feed

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/price"
)

func (r *Row) standard() price.Rates { return price.Rates{PerUnit: r.PerUnit, Tiers: r.Tiers} }

// completeClasses has every class of service name the meters of the standard one:
// what a file leaves out costs what it does there. A class that lacks what is no
// detail is left out.
func (r *Row) completeClasses() {
	for _, class := range slices.Sorted(maps.Keys(r.Classes)) {
		of := r.Classes[class]
		slices.SortFunc(of.Tiers, func(a, b price.Tier) int { return cmp.Compare(a.Above, b.Above) })
		if lacks := r.lacks(of); lacks != "" {
			r.checkClass(string(class), "", of.PerUnit, r.PerUnit)
			r.note("%s is left out: it has no price for %s", class, lacks)
			delete(r.Classes, class)
			continue
		}
		r.completeTable(string(class), of.PerUnit, r.PerUnit, nil)
		below := of.PerUnit
		for i, t := range of.Tiers {
			r.completeTable(fmt.Sprintf("%s above %s", class, tokens(t.Above)), t.PerUnit, r.Tiers[i].PerUnit, below)
			below = t.PerUnit
		}
	}
}

// lacks tells what a class has to have and has not.
func (r *Row) lacks(of price.Rates) string {
	for _, m := range [...]accounting.Meter{accounting.Input, accounting.Output} {
		_, standard := r.PerUnit[m]
		if _, named := of.PerUnit[m]; standard && !named {
			return m.String()
		}
	}
	for i := range max(len(r.Tiers), len(of.Tiers)) {
		switch {
		case i >= len(of.Tiers):
			return "input above " + tokens(r.Tiers[i].Above)
		case i >= len(r.Tiers) || r.Tiers[i].Above != of.Tiers[i].Above:
			return "input as the standard class has it, but above " + tokens(of.Tiers[i].Above)
		}
		for _, m := range [...]accounting.Meter{accounting.Input, accounting.Output} {
			_, standard := r.Tiers[i].PerUnit[m]
			if _, named := of.Tiers[i].PerUnit[m]; standard && !named {
				return fmt.Sprintf("%s above %s", m, tokens(of.Tiers[i].Above))
			}
		}
	}
	return ""
}

// completeTable fills in what a table of a class leaves out: what the standard
// one has, and no less than the class below a tier.
func (r *Row) completeTable(what string, table, standard, below map[accounting.Meter]accounting.Pico) {
	for _, m := range sortedMeters(table) {
		if _, named := standard[m]; !named {
			r.note("%s of %s is left out: the standard class has no price for it", m, what)
			delete(table, m)
		}
	}
	for _, m := range sortedMeters(standard) {
		if _, named := table[m]; !named {
			r.note("%s has no price as %s: that of the standard class stands", m, what)
			table[m] = max(standard[m], below[m])
		}
	}
}

// checkClasses checks other classes of service beside the standard one: batch
// and flex are for less, priority for more.
func (r *Row) checkClasses() {
	r.checkClass("batches", "", r.batches, r.PerUnit)
	for _, class := range slices.Sorted(maps.Keys(r.Classes)) {
		of := r.Classes[class]
		r.checkTable(of.PerUnit, " as "+string(class))
		r.checkClass(string(class), "", of.PerUnit, r.PerUnit)
		for i, t := range of.Tiers {
			where := " above " + tokens(t.Above)
			r.checkTable(t.PerUnit, " as "+string(class)+where)
			r.checkClass(string(class), where, t.PerUnit, r.Tiers[i].PerUnit)
		}
	}
}

func (r *Row) checkClass(class, where string, table, beside map[accounting.Meter]accounting.Pico) {
	for _, m := range sortedMeters(table) {
		n := table[m]
		standard, ok := beside[m]
		switch {
		case !ok:
		case class == string(accounting.ServicePriority) && n < standard:
			r.refuse("%s%s costs less with priority than without", m, where)
		case class != string(accounting.ServicePriority) && n > standard && m != accounting.CacheRead: // rounded up to cents by some
			r.refuse("%s%s costs more as %s than without", m, where, class)
		}
	}
}
