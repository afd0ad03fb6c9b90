package feed

import (
	"encoding/json"

	"github.com/weir-gateway/weir/accounting"
)

// models.dev writes an object of providers, each with an object of models, which
// have a cost in USD for a million tokens.

var modelsDevMeters = map[string]accounting.Meter{
	"input": accounting.Input, "output": accounting.Output, "reasoning": accounting.Reasoning,
	"cache_read": accounting.CacheRead, "cache_write": accounting.CacheWrite5m,
}

type modelsDevProvider struct {
	Models map[string]struct {
		Cost map[string]json.RawMessage `json:"cost"`
		// Experimental has other ways to be served, some of which are classes of
		// service.
		Experimental struct {
			Modes map[string]struct {
				Cost     map[string]json.RawMessage `json:"cost"`
				Provider struct {
					Body struct {
						ServiceTier string `json:"service_tier"`
					} `json:"body"`
				} `json:"provider"`
			} `json:"modes"`
		} `json:"experimental"`
	} `json:"models"`
}

// isModelsDev tells its objects from LiteLLM's: they have models.
func isModelsDev(members []member) bool {
	if len(members) == 0 {
		return false
	}
	var p modelsDevProvider
	return json.Unmarshal(members[0].value, &p) == nil && len(p.Models) > 0
}

func readModelsDev(members []member) ([]Row, error) {
	var rows []Row
	for _, m := range members {
		var p modelsDevProvider
		if err := json.Unmarshal(m.value, &p); err != nil {
			return nil, err
		}
		for name, model := range p.Models {
			r := newRow(m.name+"/"+name, providerOf(m.name), name)
			r.readModelsDevCost("", "cost", model.Cost)
			for mode, m := range model.Experimental.Modes {
				if class, err := accounting.ParsePricedClass(m.Provider.Body.ServiceTier); err == nil {
					r.readModelsDevCost(class, "modes."+mode, m.Cost)
				} else if len(m.Cost) > 0 {
					r.Unsaid = append(r.Unsaid, "modes."+mode)
				}
			}
			rows = append(rows, r)
		}
	}
	return rows, nil
}

func (r *Row) readModelsDevCost(class accounting.ServiceClass, name string, cost map[string]json.RawMessage) {
	for field, raw := range cost {
		if field == "tiers" {
			r.readModelsDevTiers(class, name, raw)
		} else if meter, known := modelsDevMeters[field]; known {
			r.set(r.table(class, 0), meter, name+"."+field, raw, perMillion)
		} else {
			r.Unsaid = append(r.Unsaid, name+"."+field)
		}
	}
}

func (r *Row) readModelsDevTiers(class accounting.ServiceClass, name string, raw json.RawMessage) {
	var list []map[string]json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		r.refuse("%s.tiers: %v", name, err)
		return
	}
	for _, fields := range list {
		var tier struct {
			Size json.Number `json:"size"`
		}
		above := int64(0)
		if json.Unmarshal(fields["tier"], &tier) == nil {
			above, _ = scaled(tier.Size.String(), 0) // zero is refused
		}
		if above <= 0 {
			r.refuse("%s.tiers has one without a size", name)
			return
		}
		for field, raw := range fields {
			if meter, known := modelsDevMeters[field]; known {
				r.set(r.table(class, above), meter, name+".tiers."+field, raw, perMillion)
			} else if field != "tier" {
				r.Unsaid = append(r.Unsaid, name+".tiers."+field)
			}
		}
	}
}
