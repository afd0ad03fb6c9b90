package policy

import (
	"go.yaml.in/yaml/v3"
)

// Lexicon is a list of terms that rules refer to by name. A rule finds the list
// of its policy's tenant, else the platform's.
type Lexicon struct {
	Name   string
	Tenant string // "" is the platform's
	Terms  []Term

	// What a finding is whose term does not say it, unless the rule does.
	Category string
	Severity Severity
}

// MaxTerm is the most bytes of a term: as much may have to be held back for it.
const MaxTerm = 1024

// Term is a word or phrase that is looked for. In a document it is text, or a
// mapping of the text and what sets it apart from the other terms of its list:
//
//	{term: zorblatt, category: safety/violence, severity: high, whole_word: true}
type Term struct {
	Text string

	// What a finding of it is; "" and Unspecified leave that to the list.
	Category string
	Severity Severity

	// Whether it matches only as a whole word; nil leaves that to the rule.
	WholeWord *bool
}

// UnmarshalYAML reads a term strictly, as [Decode] does.
func (t *Term) UnmarshalYAML(node *yaml.Node) error {
	var raw struct {
		Term      string   `yaml:"term"`
		Category  string   `yaml:"category"`
		Severity  Severity `yaml:"severity"`
		WholeWord *bool    `yaml:"whole_word"`
	}
	field := ""
	if node.Kind == yaml.MappingNode {
		field = "term"
		if err := Decode(node, &raw); err != nil {
			return err
		}
	} else if err := Decode(node, &raw.Term); err != nil {
		return err
	}
	switch {
	case raw.Term == "" && field != "":
		return Fault(node, field, "is empty: write the word or phrase to look for")
	case raw.Term == "":
		return Fault(node, field, "is empty")
	case len(raw.Term) > MaxTerm:
		return Fault(node, field, "want at most %d bytes, got %d", MaxTerm, len(raw.Term))
	}
	*t = Term{raw.Term, raw.Category, raw.Severity, raw.WholeWord}
	return nil
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
//
// A document may name a file of terms, which is read where the document lies,
// before it gets here: nothing that comes over a network opens a file.
func ParseLexicon(node *yaml.Node) (Lexicon, error) {
	var raw struct {
		Kind     string     `yaml:"kind"`
		Name     string     `yaml:"name"`
		Tenant   string     `yaml:"tenant"`
		Terms    []Term     `yaml:"terms"`
		File     *yaml.Node `yaml:"file"`
		Category string     `yaml:"category"`
		Severity Severity   `yaml:"severity"`
	}
	node = content(node)
	ps := Within("", node, Decode(node, &raw))
	ps = append(ps, checkHead(node, "Lexicon", raw.Kind, raw.Name, raw.Tenant)...)
	switch {
	case raw.File != nil:
		ps = append(ps, Fault(raw.File, "file", "is read by weir apply and weir policy from beside the document: send the terms themselves"))
	case len(raw.Terms) == 0 && len(ps) == 0:
		ps = append(ps, Fault(node, "terms", "no terms: a list that finds nothing is a mistake"))
	}
	return Lexicon{Name: raw.Name, Tenant: raw.Tenant, Terms: raw.Terms, Category: raw.Category, Severity: raw.Severity}, ps.Err()
}
