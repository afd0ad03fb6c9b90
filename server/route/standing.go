package route

import (
	"cmp"
	"math/bits"
	"slices"
	"time"

	"github.com/weir-gateway/weir/server/backend"
)

// A Standing is how a target is doing.
type Standing struct {
	Target
	// Serves are the models that have it.
	Serves []string
	// Outstanding is its calls in flight.
	Outstanding int64
	// Calls is how many of its last calls are remembered, 63 at most, and Failures
	// how many of those failed.
	Calls, Failures int
	// Latency is the time until a first sign of an answer, smoothed; 0 where there
	// was none yet.
	Latency time.Duration
	// EjectedUntil is when an ejected target is tested, zero where it is not
	// ejected, and Why the class of the last failure.
	EjectedUntil time.Time
	Why          string
	// RestsUntil is until when it has asked to be left alone; zero where it has
	// not.
	RestsUntil time.Time
	// SpentUntil is until when nothing is left of its provider's rate limit; zero
	// where something is, or it does not say.
	SpentUntil time.Time
	// Load is how busy it has said it is, at LoadTime; nil where it has not.
	Load     *backend.Load
	LoadTime time.Time
}

// Standings tell how all targets are doing, by backend and its model.
func (r *Router) Standings(now time.Time) []Standing {
	r.fleet.mu.Lock()
	defer r.fleet.mu.Unlock()
	at := map[*state]int{}
	var all []Standing
	for _, name := range r.names {
		m := r.models[name]
		for _, t := range m.Targets {
			i, known := at[t.state]
			if !known {
				i = len(all)
				at[t.state] = i
				all = append(all, t.standing(now))
			}
			if !slices.Contains(all[i].Serves, name) {
				all[i].Serves = append(all[i].Serves, name)
			}
		}
	}
	slices.SortFunc(all, func(a, b Standing) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Model, b.Model)) })
	return all
}

// standing is told under the fleet's lock.
func (t *Target) standing(now time.Time) Standing {
	s := t.state
	history := s.history.Load()
	out := Standing{
		Target: *t, Outstanding: s.outstanding.Load(), Latency: time.Duration(s.latency.Load()),
		Calls: bits.Len64(history) - 1, Failures: bits.OnesCount64(history) - 1, Why: s.why,
	}
	if until := s.until.Load(); until != 0 {
		out.EjectedUntil = time.Unix(0, until)
	}
	if rest := s.rest.Load(); rest > now.UnixNano() {
		out.RestsUntil = time.Unix(0, rest)
	}
	if spent := s.spent.Load(); spent > now.UnixNano() {
		out.SpentUntil = time.Unix(0, spent)
	}
	if r := s.load.Load(); r != nil {
		out.Load, out.LoadTime = &r.Load, time.Unix(0, r.at)
	}
	return out
}
