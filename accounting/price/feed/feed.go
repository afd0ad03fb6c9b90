// Package feed reads the public files of models' prices, tells which of their
// rows are not to be believed, and whether two files agree. Such files are kept
// by hand: some of their prices are wrong by a factor of 10^5. It makes
// documents, and never a price that is in force: whoever applies them has seen
// them.
//
// The formats are those of LiteLLM (model_prices_and_context_window.json),
// genai-prices (v2) and models.dev. What a row says that a Price cannot is told
// in Unsaid, so that nothing is dropped silently.
package feed

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/price"
)

// A Row is what a file says of one model of one provider. Prices are in USD, as
// all three files have them.
type Row struct {
	// Name is as the file has it.
	Name string
	// Provider is by our name where we have one, Model the provider's name of it.
	Provider, Model string
	PerUnit         map[accounting.Meter]accounting.Pico
	Tiers           []price.Tier
	// Classes are the prices of other classes of service.
	Classes map[accounting.ServiceClass]price.Rates
	// Unsaid are the prices that a Price cannot say, by the names of the file.
	Unsaid []string
	// Changes is the day, as 2026-09-01, from which on the file has another price;
	// empty where it has none.
	Changes string
	// Notes tell what was understood in a way of our own.
	Notes []string
	// Refused tells why the row is not to be believed, or not understood; empty
	// where it is.
	Refused []string

	// embeds is for models that make no output.
	embeds bool
	// batches are prices of batches, which no call here is part of: the lint
	// compares them.
	batches map[accounting.Meter]accounting.Pico
	// matches tells whether the row is for a model of another name.
	matches func(model string) bool
}

func newRow(name, provider, model string) Row {
	return Row{
		Name: name, Provider: provider, Model: model,
		PerUnit: map[accounting.Meter]accounting.Pico{}, Classes: map[accounting.ServiceClass]price.Rates{}, batches: map[accounting.Meter]accounting.Pico{},
	}
}

func (r *Row) refuse(format string, args ...any) {
	r.Refused = append(r.Refused, fmt.Sprintf(format, args...))
}

func (r *Row) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// table returns the prices of a class of service above so many tokens of input;
// the standard class is the empty one, and the shortest input above 0.
func (r *Row) table(class accounting.ServiceClass, above int64) map[accounting.Meter]accounting.Pico {
	rates := price.Rates{PerUnit: r.PerUnit, Tiers: r.Tiers}
	if class != "" {
		if rates = r.Classes[class]; rates.PerUnit == nil {
			rates.PerUnit = map[accounting.Meter]accounting.Pico{}
		}
	}
	table := rates.PerUnit
	if above > 0 {
		at := slices.IndexFunc(rates.Tiers, func(t price.Tier) bool { return t.Above == above })
		if at < 0 {
			at = len(rates.Tiers)
			rates.Tiers = append(rates.Tiers, price.Tier{Above: above, PerUnit: map[accounting.Meter]accounting.Pico{}})
		}
		table = rates.Tiers[at].PerUnit
	}
	if class == "" {
		r.Tiers = rates.Tiers
	} else {
		r.Classes[class] = rates
	}
	return table
}

// tier returns the prices of the standard class above so many tokens of input.
func (r *Row) tier(above int64) map[accounting.Meter]accounting.Pico { return r.table("", above) }

// providers are our names of those that files name otherwise.
var providers = map[string]string{
	"gemini": "google", "dashscope": "alibaba", "moonshotai": "moonshot", "x-ai": "xai", "cohere_chat": "cohere",
	"fireworks_ai": "fireworks", "fireworks-ai": "fireworks", "together_ai": "together", "togetherai": "together",
}

func providerOf(name string) string {
	if ours, ok := providers[name]; ok {
		return ours
	}
	return name
}

// Read reads a file of any of the formats, as of a day, and lints every row.
// Rows are sorted by provider and model. It fails where the file is none of
// them.
func Read(data []byte, day time.Time) ([]Row, error) {
	var rows []Row
	var err error
	switch first := bytes.TrimLeft(data, " \t\r\n"); {
	case len(first) > 0 && first[0] == '[':
		rows, err = readGenAIPrices(data, day)
	case len(first) > 0 && first[0] == '{':
		var members []member
		if members, err = membersOf(data); err != nil {
			break
		}
		if isModelsDev(members) {
			rows, err = readModelsDev(members)
		} else {
			rows, err = readLiteLLM(members)
		}
	default:
		err = errors.New("it is no JSON object and no list")
	}
	if err != nil {
		return nil, fmt.Errorf("not a file of prices as LiteLLM, genai-prices or models.dev write it: %w", err)
	}
	for i := range rows {
		rows[i].lint()
	}
	slices.SortStableFunc(rows, func(a, b Row) int {
		return strings.Compare(a.Provider+"\x00"+a.Model, b.Provider+"\x00"+b.Model)
	})
	return single(rows), nil
}

// single leaves one row for a model that the file has under several names, where
// they agree; where they do not, none is to be believed.
func single(rows []Row) []Row {
	var out []Row
	for _, r := range rows {
		if len(out) == 0 || out[len(out)-1].Provider != r.Provider || out[len(out)-1].Model != r.Model {
			out = append(out, r)
			continue
		}
		last := &out[len(out)-1]
		switch {
		case len(last.Refused) > 0:
			*last = r
		case len(r.Refused) > 0, last.same(r):
		default:
			last.refuse("the file has other prices for it under the name %s", r.Name)
		}
	}
	return out
}

// same tells whether two rows have the same prices where both have one.
func (r *Row) same(o Row) bool {
	for m, n := range r.PerUnit {
		if other, ok := o.PerUnit[m]; ok && other != n {
			return false
		}
	}
	return true
}

// member is a member of a JSON object, in its place.
type member struct {
	name  string
	value json.RawMessage
}

// membersOf reads a JSON object. A name that is there twice is an error.
func membersOf(data []byte) ([]member, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	if t, err := decoder.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("it is no JSON object")
	}
	var all []member
	names := map[string]bool{}
	for decoder.More() {
		t, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		m := member{name: t.(string)} // the name of a member is a text
		if names[m.name] {
			return nil, fmt.Errorf("%q is there twice", m.name)
		}
		names[m.name] = true
		if err := decoder.Decode(&m.value); err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	if _, err := decoder.Token(); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something stands behind its end")
	}
	return all, nil
}

func textOf(raw json.RawMessage) (s string) {
	_ = json.Unmarshal(raw, &s) // what is no text is none
	return s
}

// sortedMeters are the meters of a table, in their order.
func sortedMeters(table map[accounting.Meter]accounting.Pico) []accounting.Meter {
	return slices.Sorted(maps.Keys(table))
}
