package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
)

// Facts are what a condition may ask about.
type Facts struct {
	Subject Subject
	// Region and Tags are those of the target in question.
	Region string
	Tags   []string
	// Price tells what the target costs; it is asked where a condition asks. Nil
	// and false are that nobody knows.
	Price func() (Price, bool)
	// Found are the categories of what was found in the call.
	Found []string
}

// Price is what a target costs, as a number to compare with: per million tokens,
// in its currency. Nothing is ever charged by it.
type Price struct {
	Input, Output float64
	Currency      string
}

// Condition is an expression in CEL (the Common Expression Language,
// github.com/google/cel-spec) that holds of a call or not. It is compiled once,
// immutable and safe for concurrent use. It reads no clock and no text of a
// call, and what it may cost to evaluate is bounded.
type Condition struct {
	text    string
	program cel.Program
}

// maxCost bounds an evaluation, in units of CEL: about the number of values that
// it looks at.
const maxCost = 10_000

// callNames are what every condition may ask about.
var callNames = map[string]*cel.Type{
	"labels":         cel.MapType(cel.StringType, cel.StringType),
	"caller.tenant":  cel.StringType,
	"caller.project": cel.StringType,
	"caller.key":     cel.StringType,
	"model":          cel.StringType,
}

// NewTargetCondition compiles a condition on who may be sent to a target: over
// labels, caller.tenant, caller.project, caller.key, model, and the target's
// region, tags and price: price.input and price.output per million tokens, in
// price.currency. Its error tells where in the text it is wrong.
func NewTargetCondition(text string) (*Condition, error) {
	return newCondition(text, map[string]*cel.Type{
		"region": cel.StringType, "tags": cel.ListType(cel.StringType),
		"price.input": cel.DoubleType, "price.output": cel.DoubleType, "price.currency": cel.StringType,
	}, cel.CrossTypeNumericComparisons(true)) // so that 3 will do for 3.0
}

// newFoundCondition compiles a condition on what was found: over verdict beside
// what is known of every call. verdict.has('pii') holds for the category pii
// and all below it.
func newFoundCondition(text string) (*Condition, error) {
	list := cel.ListType(cel.StringType)
	has := cel.Function("has", cel.MemberOverload("categories_has", []*cel.Type{list, cel.StringType}, cel.BoolType, cel.BinaryBinding(hasCategory)))
	return newCondition(text, map[string]*cel.Type{"verdict": list}, has)
}

func newCondition(text string, names map[string]*cel.Type, options ...cel.EnvOption) (*Condition, error) {
	known := make([]string, 0, len(names)+len(callNames))
	for _, all := range []map[string]*cel.Type{callNames, names} {
		for name, kind := range all {
			known = append(known, name)
			options = append(options, cel.Variable(name, kind))
		}
	}
	slices.Sort(known)
	env, err := cel.NewEnv(options...)
	if err != nil {
		return nil, fmt.Errorf("the language of conditions: %w", err)
	}
	ast, issues := env.Compile(text)
	if issues.Err() != nil {
		first := issues.Errors()[0]
		message, _, _ := strings.Cut(first.Message, " (in container")
		return nil, fmt.Errorf("character %d: %s (known: %s)", first.Location.Column()+1, message, strings.Join(known, ", "))
	}
	if ast.OutputType().Kind() != types.BoolKind {
		return nil, fmt.Errorf("want a condition that is true or false, got one of type %s", ast.OutputType())
	}
	program, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(maxCost))
	if err != nil {
		return nil, err
	}
	return &Condition{text: text, program: program}, nil
}

// String is the text of the condition.
func (c *Condition) String() string { return c.text }

// Holds tells whether the condition is true. It fails where the expression does,
// for example at a label that the call does not have; then nothing is known.
func (c *Condition) Holds(f *Facts) (bool, error) {
	out, _, err := c.program.Eval((*activation)(f))
	if err != nil {
		return false, err
	}
	holds, is := out.Value().(bool)
	if !is {
		return false, errors.New("the condition is neither true nor false")
	}
	return holds, nil
}

// activation gives a program the facts under their names.
type activation Facts

// ResolveName implements interpreter.Activation.
func (a *activation) ResolveName(name string) (any, bool) {
	switch name {
	case "labels":
		return a.Subject.Labels, true
	case "caller.tenant":
		return a.Subject.Tenant, true
	case "caller.project":
		return a.Subject.Project, true
	case "caller.key":
		return a.Subject.Key, true
	case "model":
		return a.Subject.Model, true
	case "region":
		return a.Region, true
	case "tags":
		return a.Tags, true
	case "verdict":
		return a.Found, true
	case "price.input", "price.output", "price.currency":
		return a.price(name)
	}
	return nil, false
}

// price is not there where nobody knows it, so that the condition fails: what is
// absent is not cheap.
func (a *activation) price(name string) (any, bool) {
	if a.Price == nil {
		return nil, false
	}
	p, known := a.Price()
	switch name {
	case "price.input":
		return p.Input, known
	case "price.output":
		return p.Output, known
	}
	return p.Currency, known
}

// Parent implements interpreter.Activation.
func (*activation) Parent() interpreter.Activation { return nil }

func hasCategory(categories, want ref.Val) ref.Val {
	list, isList := categories.(traits.Lister)
	category, isText := want.(types.String)
	if !isList || !isText {
		return types.MaybeNoSuchOverloadErr(want)
	}
	for it := list.Iterator(); it.HasNext() == types.True; {
		if found, is := it.Next().(types.String); is && (found == category || strings.HasPrefix(string(found), string(category)+"/")) {
			return types.True
		}
	}
	return types.False
}
