package feed

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/weir-gateway/weir/accounting"
)

// genai-prices writes a list of providers with their models; a model has rules
// by which names match it, and prices in USD for a million units, or a list of
// such with what they are constrained to, the last that holds being the one.

var genAIUnits = map[string]struct {
	meter  accounting.Meter
	places int
}{
	"input_mtok":            {accounting.Input, perMillion},
	"output_mtok":           {accounting.Output, perMillion},
	"output_reasoning_mtok": {accounting.Reasoning, perMillion},
	"cache_read_mtok":       {accounting.CacheRead, perMillion},
	"cache_write_mtok":      {accounting.CacheWrite5m, perMillion},
	"cache_write_1h_mtok":   {accounting.CacheWrite1h, perMillion},
	"requests_kcount":       {accounting.Requests, perThousand},
}

// genAIPrices are prices by unit, which are constrained where they are one of
// several.
type genAIPrices struct {
	Constraint struct {
		StartDate string `json:"start_date"`
		StartTime string `json:"start_time"`
	} `json:"constraint"`
	Prices map[string]json.RawMessage `json:"prices"`
}

func readGenAIPrices(data []byte, day time.Time) ([]Row, error) {
	var list []struct {
		ID     string `json:"id"`
		Models []struct {
			ID     string          `json:"id"`
			Match  json.RawMessage `json:"match"`
			Prices json.RawMessage `json:"prices"`
		} `json:"models"`
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, err
	}
	var rows []Row
	for _, p := range list {
		if p.ID == "" {
			return nil, errors.New("a provider has no id")
		}
		for _, m := range p.Models {
			r := newRow(p.ID+"/"+m.ID, providerOf(p.ID), m.ID)
			rule, err := readMatch(m.Match, 0)
			if err != nil {
				r.refuse("its match: %v", err)
			}
			r.matches = rule
			r.readGenAI(m.Prices, day)
			rows = append(rows, r)
		}
	}
	return rows, nil
}

func (r *Row) readGenAI(raw json.RawMessage, day time.Time) {
	var flat map[string]json.RawMessage
	if json.Unmarshal(raw, &flat) == nil {
		r.readUnits(flat)
		return
	}
	var several []genAIPrices
	if err := json.Unmarshal(raw, &several); err != nil {
		r.refuse("its prices: %v", err)
		return
	}
	chosen := -1
	for i, p := range several {
		if start := p.Constraint.StartDate; start != "" {
			from, err := time.Parse(time.DateOnly, start)
			if err != nil {
				r.refuse("its prices: %s is no date", shorten(start))
				return
			}
			if from.After(day) {
				r.Changes = start
				continue
			}
		}
		if p.Constraint.StartTime != "" {
			r.refuse("its prices depend on the time of day, which a Price cannot say")
			return
		}
		chosen = i
	}
	if chosen < 0 {
		r.refuse("none of its prices holds yet")
		return
	}
	r.readUnits(several[chosen].Prices)
}

func (r *Row) readUnits(units map[string]json.RawMessage) {
	for name, raw := range units {
		unit, known := genAIUnits[name]
		if !known {
			r.Unsaid = append(r.Unsaid, name)
			continue
		}
		var tiered struct {
			Base  json.RawMessage `json:"base"`
			Tiers []struct {
				Start json.Number     `json:"start"`
				Price json.RawMessage `json:"price"`
			} `json:"tiers"`
		}
		if len(raw) > 0 && raw[0] == '{' {
			if err := json.Unmarshal(raw, &tiered); err != nil {
				r.refuse("%s: %v", name, err)
				continue
			}
			raw = tiered.Base
		}
		r.set(r.PerUnit, unit.meter, name, raw, unit.places)
		for _, t := range tiered.Tiers {
			above, err := scaled(t.Start.String(), 0)
			if err != nil || above <= 0 {
				r.refuse("%s: a tier begins at no number of tokens", name)
				continue
			}
			r.set(r.tier(above), unit.meter, name, t.Price, unit.places)
		}
	}
}

func (r *Row) set(table map[accounting.Meter]accounting.Pico, m accounting.Meter, name string, raw json.RawMessage, places int) {
	n, isNumber, err := amount(raw, places)
	switch {
	case err != nil:
		r.refuse("%s: %v", name, err)
	case !isNumber:
		r.refuse("%s is no number", name)
	default:
		table[m] = n
	}
}

// mostNested is how deep rules of names may go.
const mostNested = 8

func readMatch(raw json.RawMessage, depth int) (func(string) bool, error) {
	var rule map[string]json.RawMessage
	if err := json.Unmarshal(raw, &rule); err != nil {
		return nil, err
	}
	if len(rule) != 1 || depth > mostNested {
		return nil, errors.New("a rule is one of equals, starts_with, ends_with, contains, regex, or, and")
	}
	for kind, value := range rule {
		text := textOf(value)
		switch kind {
		case "equals":
			return func(s string) bool { return s == text }, nil
		case "starts_with":
			return func(s string) bool { return strings.HasPrefix(s, text) }, nil
		case "ends_with":
			return func(s string) bool { return strings.HasSuffix(s, text) }, nil
		case "contains":
			return func(s string) bool { return strings.Contains(s, text) }, nil
		case "regex":
			pattern, err := regexp.Compile(text)
			if err != nil {
				return nil, err
			}
			return pattern.MatchString, nil
		case "or", "and":
			return readMatches(value, kind == "or", depth)
		}
		return nil, fmt.Errorf("unknown rule %s", shorten(kind))
	}
	return nil, nil // there is one
}

// readMatches reads rules of which one is enough, or all are needed.
func readMatches(raw json.RawMessage, enough bool, depth int) (func(string) bool, error) {
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, err
	}
	var rules []func(string) bool
	for _, one := range list {
		rule, err := readMatch(one, depth+1)
		if err != nil {
			return nil, err
		}
		rules = append(rules, rule)
	}
	return func(s string) bool {
		for _, rule := range rules {
			if rule(s) == enough {
				return enough
			}
		}
		return !enough
	}, nil
}
