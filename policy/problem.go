package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Problem is one thing that is wrong with a document. Its text names the line,
// the field and the way out.
type Problem struct {
	Line, Column int    // from 1; 0 where the place is unknown
	Document     string // such as `policy acme/base`; "" where the reader knows which one it gave
	Field        string // a path such as safety.output[0].action; "" for the document itself
	Message      string

	// An unknown field keeps its parts, so that whoever decodes a mapping in two
	// steps (the keys common to all rules, then a guard's own) can name all of
	// the known ones.
	unknown string
	known   []string
}

// Fault is a problem at a node. Field may be "".
func Fault(node *yaml.Node, field, format string, args ...any) Problem {
	p := Problem{Field: field, Message: fmt.Sprintf(format, args...)}
	if node != nil {
		p.Line, p.Column = node.Line, node.Column
	}
	return p
}

func (p Problem) Error() string {
	var b strings.Builder
	if p.Document != "" {
		b.WriteString(p.Document + ": ")
	}
	if p.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", p.Line)
	}
	if p.Field != "" {
		b.WriteString(p.Field + ": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// Problems is everything that is wrong, sorted by document, then line, then
// column. It is an error only when it is not empty: return [Problems.Err].
type Problems []Problem

// Error lists all problems, one a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Err sorts the problems and returns them as an error, or nil where there are
// none.
func (ps Problems) Err() error {
	if len(ps) == 0 {
		return nil
	}
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(strings.Compare(a.Document, b.Document), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return ps
}

// Within returns what err says about a part of a document as problems of the
// whole: fields get the prefix ("safety.output[0]"), and what has no line yet
// gets that of the node. A nil error gives none.
func Within(prefix string, node *yaml.Node, err error) Problems {
	if err == nil {
		return nil
	}
	var inner Problems
	switch e := err.(type) {
	case Problems:
		inner = slices.Clone(e)
	case Problem:
		inner = Problems{e}
	case *yaml.TypeError:
		for _, text := range e.Errors {
			inner = append(inner, Problem{Message: text})
		}
	default:
		inner = Problems{{Message: err.Error()}}
	}
	for i := range inner {
		p := &inner[i]
		p.Field = joinField(prefix, p.Field)
		if p.Line == 0 && node != nil {
			p.Line, p.Column = node.Line, node.Column
		}
	}
	return inner
}

func joinField(prefix, field string) string {
	switch {
	case prefix == "":
		return field
	case field == "":
		return prefix
	case strings.HasPrefix(field, "["):
		return prefix + field
	}
	return prefix + "." + field
}
