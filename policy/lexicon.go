package policy

import (
	"fmt"

	"go.yaml.in/yaml/v3"
)

// Lexicon is a list of terms that rules refer to by name. A rule finds the list
// of its policy's tenant, else the platform's.
type Lexicon struct {
	Name   string
	Tenant string // "" is the platform's
	Terms  []string

	// What a finding of these terms is, unless the rule says otherwise.
	Category string
	Severity Severity
}

// FullName is "name" for the platform's lists and "tenant/name" for the rest.
func (l Lexicon) FullName() string {
	if l.Tenant == "" {
		return l.Name
	}
	return l.Tenant + "/" + l.Name
}

// ParseLexicon reads a mapping with kind: Lexicon. All problems are returned at
// once, as [Problems]. Terms are taken as written: spaces inside are part of a
// term, an empty one is refused.
func ParseLexicon(node *yaml.Node) (Lexicon, error) {
	var raw struct {
		Kind     string   `yaml:"kind"`
		Name     string   `yaml:"name"`
		Tenant   string   `yaml:"tenant"`
		Terms    []string `yaml:"terms"`
		Category string   `yaml:"category"`
		Severity Severity `yaml:"severity"`
	}
	node = content(node)
	ps := Within("", node, Decode(node, &raw))
	ps = append(ps, checkHead(node, "Lexicon", raw.Kind, raw.Name, raw.Tenant)...)
	if len(raw.Terms) == 0 && len(ps) == 0 {
		ps = append(ps, Fault(node, "terms", "no terms: a list that finds nothing is a mistake"))
	}
	if len(ps) == 0 { // else an entry that was refused is empty as well
		for i, term := range raw.Terms {
			if term == "" {
				ps = append(ps, Fault(node, fmt.Sprintf("terms[%d]", i), "is empty"))
			}
		}
	}
	return Lexicon{Name: raw.Name, Tenant: raw.Tenant, Terms: raw.Terms, Category: raw.Category, Severity: raw.Severity}, ps.Err()
}
