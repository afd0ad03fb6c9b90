package anthropic

import (
	"encoding/json"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/server/backend/httpstream"
)

// A tally is what a server says was used.
// Source: anthropic-sdk-python @ 009b035 (7 Aug 2026), types/usage.py,
// cache_creation.py and output_tokens_details.py.
type tally struct {
	Input      httpstream.Count `json:"input_tokens"`
	CacheRead  httpstream.Count `json:"cache_read_input_tokens"`
	CacheWrite httpstream.Count `json:"cache_creation_input_tokens"`
	OfWrite    struct {
		For5m httpstream.Count `json:"ephemeral_5m_input_tokens"`
		For1h httpstream.Count `json:"ephemeral_1h_input_tokens"`
	} `json:"cache_creation"`
	Output   httpstream.Count `json:"output_tokens"`
	OfOutput struct {
		// Thinking is counted from the text again, and at most the output.
		Thinking httpstream.Count `json:"thinking_tokens"`
	} `json:"output_tokens_details"`
	// Tier is which service tier has served.
	Tier json.RawMessage `json:"service_tier"`
}

// served is the class of service that has served, empty where that is not said.
func (t *tally) served() accounting.ServiceClass {
	return accounting.ServedClass(httpstream.StringOf(t.Tier)) // the words are the same
}

// add reads a usage object over what is known. The figures are running totals,
// of which the last one counts; the first object has those of the input, the
// last one always has the output.
func (t *tally) add(raw json.RawMessage) {
	if !httpstream.Present(raw) {
		return
	}
	var u tally
	// What could be read counts; a wrong figure must not fail an answer.
	_ = json.Unmarshal(raw, &u)
	for _, c := range []struct{ to, from *httpstream.Count }{
		{&t.Input, &u.Input}, {&t.CacheRead, &u.CacheRead}, {&t.Output, &u.Output}, {&t.OfOutput.Thinking, &u.OfOutput.Thinking},
	} {
		if c.from.Known {
			*c.to = *c.from
		}
	}
	if httpstream.Present(u.Tier) {
		t.Tier = u.Tier
	}
	if u.CacheWrite.Known || u.OfWrite.For5m.Known || u.OfWrite.For1h.Known {
		if !u.OfWrite.For5m.Known && !u.OfWrite.For1h.Known && u.CacheWrite == t.CacheWrite {
			return // the same again without its details
		}
		t.CacheWrite, t.OfWrite = u.CacheWrite, u.OfWrite
	}
}

// meters are disjoint as the figures are. A write whose details are missing or
// contradict the total was for five minutes, which is the API's default.
func (t *tally) meters() accounting.Usage {
	var u accounting.Usage
	set := func(m accounting.Meter, c httpstream.Count) {
		if c.Known {
			u.Set(m, c.N)
		}
	}
	set(accounting.Input, t.Input)
	set(accounting.CacheRead, t.CacheRead)
	if thinking := t.OfOutput.Thinking; thinking.Known && t.Output.Known && thinking.N <= t.Output.N {
		u.Set(accounting.Reasoning, thinking.N)
		u.Set(accounting.Output, t.Output.N-thinking.N)
	} else {
		set(accounting.Output, t.Output)
	}
	if d := t.OfWrite; t.CacheWrite.Known && d.For5m.N+d.For1h.N != t.CacheWrite.N {
		set(accounting.CacheWrite5m, t.CacheWrite)
	} else {
		set(accounting.CacheWrite5m, d.For5m)
		set(accounting.CacheWrite1h, d.For1h)
		if !d.For5m.Known && !d.For1h.Known {
			set(accounting.CacheWrite5m, t.CacheWrite) // zero
		}
	}
	return u
}
