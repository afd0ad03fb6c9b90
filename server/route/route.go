// Package route decides which target serves a call: the targets of a model in
// the order in which they are tried, chosen by tier, load, affinity and health.
// It knows backends by their contract alone; what they say and what they cost
// is not its business. It starts nothing and reads no clock: the time is given.
//
// A choice takes no lock and allocates nothing, unless conditions have to be
// asked; locks are for failures.
package route

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"time"

	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/tokens/bpe"
)

// MaxTargets is the most targets of one model.
const MaxTargets = 256

// A Target is one backend's model that can serve calls.
type Target struct {
	// Name is the backend's name in the configuration.
	Name string
	// Kind is the kind of the backend in the configuration, such as "openai".
	Kind    string
	Backend backend.Backend
	// Model is the name by which the backend knows the model.
	Model string
	// Tokenizer is the model's, nil where it is not known.
	Tokenizer *bpe.Tokenizer
	// Tags say what the backend is, for example "private".
	Tags []string
	// Region is where the backend is, "" where nobody has said.
	Region string

	// Edition is of the backend's configuration: with another one, what is known
	// of the target is forgotten.
	Edition uint64

	// Priority is the tier of the target: those of a higher number are for when
	// none of a lower one can be had.
	Priority int
	// Weight is its share of the calls of its tier, at least 1; 0 is 1.
	Weight int
	// When tells which calls it takes; nil is all.
	When *policy.Condition

	state *state
	seed  uint64  // of its place in rendezvous hashing
	share float64 // 1/Weight
}

// An Affinity says which calls go to the same target while it can serve them.
type Affinity string

// The affinities. Session is for calls of the same session, where they name
// one, and Prefix for calls whose prompts begin alike, whose beginning a target
// may have in its cache.
const (
	NoAffinity      Affinity = ""
	SessionAffinity Affinity = "session"
	PrefixAffinity  Affinity = "prefix"
)

// A Model is a name that callers use and the targets behind it.
type Model struct {
	Name    string
	Targets []Target
	// MaxOutputTokens is what a call gets that asks for no limit, per candidate.
	MaxOutputTokens int
	Affinity        Affinity
	// HedgeAfter is how long a target may say nothing before another is asked
	// beside it; 0 is never.
	HedgeAfter time.Duration
	// Cache is which answers are kept, to be given again.
	Cache Cache

	tiers       []tier
	conditional bool // a target has a condition
	retries     *budget
	random      func() uint64
}

// tier is a stretch of a model's targets, which are sorted by priority.
type tier struct{ from, to int }

// A Cache says which answers of a model are given again to calls that ask for
// the same.
type Cache struct {
	// TTL is for how long; 0 keeps none.
	TTL time.Duration
	// Sampled takes in those that ask for neither temperature 0 nor a seed.
	Sampled bool
	// ChargePercent is how many hundredths of what it would cost a call pays.
	ChargePercent int
}

// A Router knows all models. What it consists of is immutable; what it knows of
// targets changes with every call. It is safe for concurrent use.
type Router struct {
	models map[string]*Model
	names  []string
	fleet  *fleet
	random func() uint64
}

// New makes a router. It fails where a name is taken twice or a model has no
// target, or too many.
func New(models []Model) (*Router, error) {
	return (&Router{fleet: &fleet{}, random: rand.Uint64}).Renew(models)
}

// Renew makes a router of other models that goes on with what this one knows of
// the targets that both have. Calls of this one may still run.
func (r *Router) Renew(models []Model) (*Router, error) {
	next := &Router{models: make(map[string]*Model, len(models)), fleet: r.fleet, random: r.random}
	for i := range models {
		given := &models[i]
		// A model is known by its address, and its count of retries is its own.
		m := &Model{
			Name: given.Name, Targets: slices.Clone(given.Targets), MaxOutputTokens: given.MaxOutputTokens,
			Affinity: given.Affinity, HedgeAfter: given.HedgeAfter, Cache: given.Cache, retries: newBudget(), random: r.random,
		}
		switch {
		case len(m.Targets) == 0:
			return nil, fmt.Errorf("model %q has no target: give it at least one backend", m.Name)
		case len(m.Targets) > MaxTargets:
			return nil, fmt.Errorf("model %q has %d targets: give it at most %d", m.Name, len(m.Targets), MaxTargets)
		}
		if _, taken := next.models[m.Name]; taken {
			return nil, fmt.Errorf("model %q is there twice: give one of them another name", m.Name)
		}
		m.arrange()
		next.models[m.Name] = m
		next.names = append(next.names, m.Name)
	}
	sort.Strings(next.names)
	r.fleet.join(next)
	return next, nil
}

// arrange sorts the targets into tiers.
func (m *Model) arrange() {
	slices.SortStableFunc(m.Targets, func(a, b Target) int { return a.Priority - b.Priority })
	for i := range m.Targets {
		t := &m.Targets[i]
		t.Weight = max(1, t.Weight)
		t.share = 1 / float64(t.Weight)
		t.seed = hash(hash(0, t.Name), t.Model)
		m.conditional = m.conditional || t.When != nil
		if i == 0 || t.Priority != m.Targets[i-1].Priority {
			m.tiers = append(m.tiers, tier{from: i})
		}
		m.tiers[len(m.tiers)-1].to = i + 1
	}
}

// Plan returns the model of that name; its Tries are the plan of a call.
func (r *Router) Plan(model string) (*Model, bool) {
	m, ok := r.models[model]
	return m, ok
}

// Models lists the names of all models, sorted.
func (r *Router) Models() []string { return r.names }
