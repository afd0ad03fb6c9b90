package guard

import (
	"go.yaml.in/yaml/v3"

	"github.com/weir-gateway/weir/policy"
)

// EntityForTest is an entity in the words of package guard_test, which checks
// entities against a specification of its own.
type EntityForTest struct {
	Expr                string
	NotAfter, NotBefore []string // digit, letter, underline, dash, decimal
	Valid               func(match string) bool
	Score, ContextScore float64
	Context             []string
	At                  float64
}

// WithEntities returns all guards, and one called entities that finds these.
func WithEntities(list []EntityForTest) map[string]policy.Factory {
	sets := map[string]neighbours{"digit": digit, "letter": letter, "underline": underline, "dash": dash, "decimal": decimal}
	union := func(names []string) (all neighbours) {
		for _, n := range names {
			all |= sets[n]
		}
		return all
	}
	var specs []entity
	var at []float64
	for _, e := range list {
		var valid func([]byte) bool
		if e.Valid != nil {
			valid = func(match []byte) bool { return e.Valid(string(match)) }
		}
		specs = append(specs, entity{
			kind: policy.Kind{Category: "test"}, expr: e.Expr, notAfter: union(e.NotAfter), notBefore: union(e.NotBefore),
			valid: valid, score: e.Score, contextScore: e.ContextScore, context: e.Context,
		})
		at = append(at, e.At)
	}
	all := All()
	all["entities"] = func(*yaml.Node, policy.Env) (policy.Guard, error) { return newEntities(specs, at) }
	return all
}
