package feed

import (
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"

	"github.com/weir-gateway/weir/accounting"
)

// An Agreement is what other files say of a row.
type Agreement struct {
	// Sources are the names of the files that have the model at a price that is
	// believed, and Agree those whose prices are the same.
	Sources, Agree []string
	Differences    []Difference
	// Changes is from when on another file has another price, "" where none has.
	Changes string
}

// A Difference is a price that is another one in another file.
type Difference struct {
	Source      string
	Class       accounting.ServiceClass // empty for the standard one
	Meter       accounting.Meter
	Here, There accounting.Pico
}

// Factor is the dearer price by the cheaper one, to two decimal places, or ""
// where that is 0.
func (d Difference) Factor() string { return factor(max(d.Here, d.There), min(d.Here, d.There)) }

func (d Difference) String() string {
	what := d.Meter.String()
	if d.Class != "" {
		what += " as " + string(d.Class)
	}
	s := fmt.Sprintf("%s costs %s here and %s in %s", what, PerMillion(d.Here), PerMillion(d.There), d.Source)
	if f := d.Factor(); f != "" {
		s += ", a factor of " + f
	}
	return s
}

// Differs tells whether other files have the model and none agrees.
func (a Agreement) Differs() bool { return len(a.Sources) > 0 && len(a.Agree) == 0 }

func (a Agreement) String() string {
	switch {
	case len(a.Agree) > 0:
		return "agrees with " + strings.Join(a.Agree, ", ")
	case len(a.Sources) > 0:
		return "differs"
	}
	return "nowhere else"
}

// A Source is another file.
type Source struct {
	// Name is how the file is told of.
	Name string
	rows map[string][]*Row // by provider
	of   map[[2]string]*Row
}

// NewSource makes a source of rows.
func NewSource(name string, rows []Row) *Source {
	s := &Source{Name: name, rows: map[string][]*Row{}, of: map[[2]string]*Row{}}
	for i := range rows {
		if r := &rows[i]; len(r.Refused) == 0 {
			s.rows[r.Provider] = append(s.rows[r.Provider], r)
			s.of[[2]string{r.Provider, r.Model}] = r
		}
	}
	return s
}

// find returns the row of a model: the one of its name, else the only one whose
// rule matches it.
func (s *Source) find(provider, model string) (*Row, bool) {
	if r, ok := s.of[[2]string{provider, model}]; ok {
		return r, true
	}
	var found *Row
	for _, r := range s.rows[provider] {
		if r.matches != nil && r.matches(model) {
			if found != nil {
				return nil, false
			}
			found = r
		}
	}
	return found, found != nil
}

// compared are the meters in which files agree or differ: the others are
// missing in one or the other too often.
var compared = [...]accounting.Meter{accounting.Input, accounting.Output, accounting.CacheRead}

// Compare tells what other files say of a row that is believed.
func Compare(r Row, others []*Source) Agreement {
	var a Agreement
	for _, s := range others {
		there, ok := s.find(r.Provider, r.Model)
		if !ok {
			continue
		}
		a.Sources = append(a.Sources, s.Name)
		if there.Changes != "" {
			a.Changes = there.Changes
		}
		before := len(a.Differences)
		compare := func(class accounting.ServiceClass, ours, theirs map[accounting.Meter]accounting.Pico) {
			for _, m := range compared {
				n, here := ours[m]
				o, known := theirs[m]
				if here && known && n != o {
					a.Differences = append(a.Differences, Difference{s.Name, class, m, n, o})
				}
			}
		}
		compare("", r.PerUnit, there.PerUnit)
		for _, class := range slices.Sorted(maps.Keys(r.Classes)) {
			compare(class, r.Classes[class].PerUnit, there.Classes[class].PerUnit)
		}
		if len(a.Differences) == before {
			a.Agree = append(a.Agree, s.Name)
		}
	}
	return a
}

// times says how many times b a is.
func times(a, b accounting.Pico, what string) string {
	if b == 0 {
		return a.Decimal() + " USD for one, and the " + what + " 0"
	}
	return factor(a, b) + " times the " + what
}

// factor is a/b to two decimal places, "" where b is 0.
func factor(a, b accounting.Pico) string {
	if b == 0 {
		return ""
	}
	return big.NewRat(int64(a), int64(b)).FloatString(2)
}

func tokens(n int64) string {
	if n%1000 == 0 {
		return fmt.Sprintf("%dk tokens", n/1000)
	}
	return fmt.Sprintf("%d tokens", n)
}

// PerMillion writes a price of one as that of a million: a pico more is a
// millionth.
func PerMillion(n accounting.Pico) string {
	whole, rest := int64(n)/1_000_000, int64(n)%1_000_000
	s := strings.TrimRight(fmt.Sprintf("%d.%06d", whole, rest), "0")
	for len(s)-strings.IndexByte(s, '.') < 3 {
		s += "0"
	}
	return s
}
