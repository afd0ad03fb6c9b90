package feed

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"

	"github.com/weir-gateway/weir/accounting"
)

// LiteLLM writes one object of models, each an object of fields; prices are in
// USD for one unit.

// fieldMeters are its fields that a Price can say.
var fieldMeters = map[string]accounting.Meter{
	"input_cost_per_token":                      accounting.Input,
	"output_cost_per_token":                     accounting.Output,
	"output_cost_per_reasoning_token":           accounting.Reasoning,
	"cache_read_input_token_cost":               accounting.CacheRead,
	"input_cost_per_token_cache_hit":            accounting.CacheRead, // an older name of it
	"cache_creation_input_token_cost":           accounting.CacheWrite5m,
	"cache_creation_input_token_cost_above_1hr": accounting.CacheWrite1h,
	"input_cost_per_request":                    accounting.Requests,
}

var (
	fieldTier  = regexp.MustCompile(`_above_(\d{1,6})k_tokens`)
	fieldClass = regexp.MustCompile(`_(batches|flex|priority)$`)
	fieldPrice = regexp.MustCompile(`cost|pric|dbu`)
)

// What LiteLLM calls modes: those of which Weir has all meters, and those that
// it does not.
var (
	tokenModes = map[string]bool{"chat": true, "completion": true, "responses": true, "embedding": true}
	otherModes = map[string]bool{
		"image_generation": true, "image_edit": true, "audio_transcription": true, "audio_speech": true, "video_generation": true,
		"realtime": true, "rerank": true, "search": true, "ocr": true, "moderation": true, "vector_store": true,
	}
)

func readLiteLLM(models []member) ([]Row, error) {
	var rows []Row
	for _, m := range models {
		if m.name == "sample_spec" {
			continue
		}
		fields, err := membersOf(m.value)
		if err != nil {
			r := newRow(m.name, "", m.name)
			r.refuse("it cannot be read: %v", err)
			rows = append(rows, r)
			continue
		}
		rows = append(rows, liteLLMRow(m.name, fields))
	}
	return rows, nil
}

func liteLLMRow(name string, fields []member) Row {
	var provider, mode string
	for _, f := range fields {
		switch f.name {
		case "litellm_provider":
			provider = textOf(f.value)
		case "mode":
			mode = textOf(f.value)
		}
	}
	r := newRow(name, providerOf(provider), strings.TrimPrefix(name, provider+"/"))
	r.embeds = mode == "embedding"
	switch {
	case provider == "":
		r.refuse("it names no provider")
	case mode == "":
		r.refuse("it names no mode")
	case otherModes[mode]:
		r.refuse("mode %s is priced by what Weir has no meter for", mode)
	case !tokenModes[mode]:
		r.refuse("unknown mode %s", shorten(mode))
	}
	for _, f := range fields {
		if f.name == "tiered_pricing" {
			r.readRanges(f.value)
		} else if fieldPrice.MatchString(f.name) {
			r.readField(f.name, f.value)
		}
	}
	return r
}

// readField reads a field that has a price, or says that it cannot be said.
func (r *Row) readField(name string, value json.RawMessage) {
	base, class := name, ""
	if m := fieldClass.FindStringSubmatch(base); m != nil {
		base, class = strings.TrimSuffix(base, m[0]), m[1]
	}
	var above int64
	if tier := fieldTier.FindStringSubmatch(base); tier != nil {
		base = strings.Replace(base, tier[0], "", 1)
		above, _ = strconv.ParseInt(tier[1], 10, 64) // at most six digits
		above *= 1000
	}
	meter, known := fieldMeters[base]
	n, isNumber, err := amount(value, perUnit)
	if !known || !isNumber {
		if !bytes.Equal(value, []byte("null")) && (!isNumber || n != 0 || err != nil) {
			r.Unsaid = append(r.Unsaid, name)
		}
		return
	}
	if class == "batches" {
		r.Unsaid = append(r.Unsaid, name)
		if above == 0 && err == nil {
			r.batches[meter] = n
		}
		return
	}
	table := r.table(accounting.ServiceClass(class), above)
	switch before, twice := table[meter]; {
	case err != nil:
		r.refuse("%s: %v", name, err)
	case twice && before != n:
		r.refuse("%s is %s, and under another name %s", name, n.Decimal(), before.Decimal())
	default:
		table[meter] = n
	}
}

// readRanges reads tiers as a list of ranges of input tokens.
func (r *Row) readRanges(value json.RawMessage) {
	var list []json.RawMessage
	if json.Unmarshal(value, &list) != nil {
		r.refuse("tiered_pricing is no list")
		return
	}
	for _, raw := range list {
		fields, err := membersOf(raw)
		if err != nil {
			r.refuse("tiered_pricing: %v", err)
			return
		}
		table := map[accounting.Meter]accounting.Pico{}
		from, ranged := int64(0), false
		for _, f := range fields {
			if f.name == "range" {
				var ends []json.Number
				if json.Unmarshal(f.value, &ends) == nil && len(ends) == 2 {
					from, err = scaled(ends[0].String(), 0)
					ranged = err == nil
				}
				continue
			}
			n, isNumber, err := amount(f.value, perUnit)
			meter, known := fieldMeters[f.name]
			switch {
			case !known && fieldPrice.MatchString(f.name):
				r.Unsaid = append(r.Unsaid, "tiered_pricing."+f.name)
			case known && (err != nil || !isNumber):
				r.refuse("tiered_pricing.%s: no exact price", f.name)
			case known:
				table[meter] = n
			}
		}
		if !ranged {
			r.refuse("tiered_pricing has an entry without a range of tokens")
			return
		}
		to := r.PerUnit
		if from > 0 {
			to = r.tier(from)
		}
		for m, n := range table {
			if before, twice := to[m]; twice && before != n {
				r.refuse("tiered_pricing: %s is priced twice", m)
			}
			to[m] = n
		}
	}
}
