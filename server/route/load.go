package route

import (
	"time"

	"github.com/weir-gateway/weir/server/backend"
)

// stale is for how long a report of load counts: a server that gets no calls
// reports none either, and must be asked again.
const stale = 10 * time.Second

// report is what a server has said of its load. It does not change.
type report struct {
	backend.Load
	at int64 // Unix nanoseconds
	// beside is what the server has to do beside our calls, and calls that wait
	// there a second time: they will take longer than those that do not.
	beside float64
	// factor is by how much what it has to do weighs more than with one that is
	// idle.
	factor float64
}

// maxUtilization keeps a server that counts in percent comparable.
const maxUtilization = 10

func newReport(l *backend.Load, outstanding int64, now time.Time) *report {
	value := func(v *float64) float64 {
		if v == nil {
			return 0
		}
		return *v
	}
	waiting := value(l.Waiting)
	return &report{
		Load: *l, at: now.UnixNano(),
		beside: max(0, value(l.Running)+waiting-float64(outstanding)) + waiting,
		factor: 1 + min(value(l.Utilization), maxUtilization),
	}
}

// work is what the target has to do with one more call, and whether it has said
// so itself.
func (s *state) work(at int64) (float64, bool) {
	work := float64(s.outstanding.Load() + 1)
	r := s.load.Load()
	if r == nil || at-r.at > int64(stale) {
		return work, false
	}
	return (work + r.beside) * r.factor, true
}

// hear takes what a server has said of itself.
func (s *state) hear(now time.Time, said backend.Signals) {
	if said.Spent > 0 {
		later(&s.spent, now.Add(said.Spent))
	}
	if said.Load != nil {
		s.load.Store(newReport(said.Load, s.outstanding.Load(), now))
	}
}

// Hear takes what the backend has said of itself beside the answer.
func (t *Try) Hear(now time.Time, said backend.Signals) { t.state.hear(now, said) }

// Hear takes how busy a backend says it is, for all its targets.
func (r *Router) Hear(name string, now time.Time, load *backend.Load) {
	for _, m := range r.models {
		for i := range m.Targets {
			if t := &m.Targets[i]; t.Name == name {
				t.state.hear(now, backend.Signals{Load: load})
			}
		}
	}
}

// Load is what the targets of a model have to do: calls in flight from here, what
// waits at them by their own word, and how full the emptiest is.
func (m *Model) Load(now time.Time) backend.Load {
	var running, waiting float64
	out := backend.Load{Running: &running}
	for i := range m.Targets {
		s := m.Targets[i].state
		running += float64(s.outstanding.Load())
		r := s.load.Load()
		if r == nil || now.UnixNano()-r.at > int64(stale) {
			continue
		}
		if r.Waiting != nil {
			waiting += *r.Waiting
			out.Waiting = &waiting
		}
		if u := r.Utilization; u != nil && (out.Utilization == nil || *u < *out.Utilization) {
			out.Utilization = u
		}
	}
	return out
}
