// Package route turns the name of a model into a plan: the targets that may
// serve the call, in order. It knows backends by their contract alone; what
// they say and what they cost is not its business.
package route

import (
	"fmt"
	"sort"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/tokens/bpe"
)

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
}

// A Model is a name that callers use and the targets behind it.
type Model struct {
	Name string
	// Targets are tried in order.
	Targets []Target
	// MaxOutputTokens is what a call gets that asks for no limit, per candidate.
	MaxOutputTokens int
}

// A Router knows all models. It is immutable and safe for concurrent use.
type Router struct {
	models map[string]*Model
	names  []string
}

// New makes a router. It fails where a name is taken twice or a model has no
// target.
func New(models []Model) (*Router, error) {
	r := &Router{models: make(map[string]*Model, len(models))}
	for i := range models {
		m := &models[i]
		if len(m.Targets) == 0 {
			return nil, fmt.Errorf("model %q has no target: give it at least one backend", m.Name)
		}
		if _, taken := r.models[m.Name]; taken {
			return nil, fmt.Errorf("model %q is there twice: give one of them another name", m.Name)
		}
		r.models[m.Name] = m
		r.names = append(r.names, m.Name)
	}
	sort.Strings(r.names)
	return r, nil
}

// Plan returns the model of that name, whose targets are to be tried in order.
func (r *Router) Plan(model string) (*Model, bool) {
	m, ok := r.models[model]
	return m, ok
}

// Models lists the names of all models, sorted.
func (r *Router) Models() []string { return r.names }
