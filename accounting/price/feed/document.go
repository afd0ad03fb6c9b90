package feed

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/price"
)

// Document writes a row that is believed as a document of kind Price, for the
// provider's backends, or where one is named for that backend.
func (r Row) Document(effective time.Time, backend string) string {
	var b strings.Builder
	b.WriteString("---\n")
	for _, note := range r.Notes {
		fmt.Fprintf(&b, "# %s\n", note)
	}
	if r.Changes != "" {
		fmt.Fprintf(&b, "# there is another price from %s on\n", r.Changes)
	}
	if len(r.Unsaid) > 0 {
		fmt.Fprintf(&b, "# not in a Price: %s\n", strings.Join(r.Unsaid, ", "))
	}
	fmt.Fprintf(&b, "kind: Price\nmodel: %s\n", scalar(r.Model))
	if backend != "" {
		fmt.Fprintf(&b, "backend: %s\n", scalar(backend))
	} else {
		fmt.Fprintf(&b, "provider: %s\n", scalar(r.Provider))
	}
	fmt.Fprintf(&b, "currency: USD\neffective: %s\n", effective.UTC().Format(time.DateOnly))
	writeRates(&b, "", r.standard())
	if len(r.Classes) > 0 {
		b.WriteString("classes:\n")
	}
	for _, class := range slices.Sorted(maps.Keys(r.Classes)) {
		fmt.Fprintf(&b, "  %s:\n", class)
		writeRates(&b, "    ", r.Classes[class])
	}
	return b.String()
}

func writeRates(b *strings.Builder, indent string, rates price.Rates) {
	writeTable(b, indent, rates.PerUnit)
	if len(rates.Tiers) > 0 {
		b.WriteString(indent + "tiers:\n")
	}
	for _, t := range rates.Tiers {
		fmt.Fprintf(b, "%s  - above: %d\n", indent, t.Above)
		writeTable(b, indent+"    ", t.PerUnit)
	}
}

func writeTable(b *strings.Builder, indent string, table map[accounting.Meter]accounting.Pico) {
	var tokens []string
	request := ""
	for _, m := range sortedMeters(table) {
		if m == accounting.Requests {
			request = fmt.Sprintf("%sper_unit: {requests: %s}\n", indent, table[m].Decimal())
			continue
		}
		tokens = append(tokens, fmt.Sprintf("%s: %s", m, PerMillion(table[m])))
	}
	fmt.Fprintf(b, "%sper_million: {%s}\n%s", indent, strings.Join(tokens, ", "), request)
}

// scalar writes a text so that YAML reads it as one.
func scalar(s string) string {
	out, err := yaml.Marshal(s)
	if err != nil {
		return fmt.Sprintf("%q", s)
	}
	return strings.TrimSuffix(string(out), "\n")
}
