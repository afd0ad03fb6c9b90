package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/server/backend"
)

// A check compares what is released of an answer with the form that was asked
// for, once the answer is whole. It gathers the answer on its way to the sink.
type check struct {
	format *backend.Format
	schema *jsonschema.Schema // nil for any object
	said   Collector
}

// newCheck makes one and the sink to write to; nil where no form was asked for.
// A schema that cannot be checked by is no error of the call: the backend may
// know what to make of it. Nothing that a schema refers to is fetched.
func newCheck(format *backend.Format, sink Sink, answer *Answer) (*check, Sink) {
	if format == nil {
		return nil, sink
	}
	c := &check{format: format}
	if format.Schema != nil {
		var err error
		if c.schema, err = compile(format.Schema); err != nil {
			answer.warn(SchemaUnchecked, "config.response_format", "the gateway cannot check answers by this schema")
			return nil, sink
		}
	}
	if r, restarts := sink.(Restarter); restarts {
		return c, &checkedAgain{r, c}
	}
	return c, &checkedSink{sink, c}
}

func compile(schema json.RawMessage) (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(schema)))
	if err != nil {
		return nil, err
	}
	compiler := jsonschema.NewCompiler()
	compiler.UseLoader(noLoader{})
	const here = "weir:schema"
	if err := compiler.AddResource(here, doc); err != nil {
		return nil, err
	}
	return compiler.Compile(here)
}

// noLoader fetches nothing: the default one reads files of this machine.
type noLoader struct{}

func (noLoader) Load(string) (any, error) {
	return nil, errors.New("a schema must hold all that it refers to")
}

type checkedSink struct {
	Sink
	check *check
}

// Delta implements Sink.
func (s *checkedSink) Delta(d Delta) error {
	if err := s.Sink.Delta(d); err != nil {
		return err
	}
	return s.check.said.Delta(d)
}

type checkedAgain struct {
	Restarter
	check *check
}

// Delta implements Sink.
func (s *checkedAgain) Delta(d Delta) error {
	if err := s.Restarter.Delta(d); err != nil {
		return err
	}
	return s.check.said.Delta(d)
}

// Restart implements Restarter.
func (s *checkedAgain) Restart() {
	s.check.said.Restart()
	s.Restarter.Restart()
}

// maxProblem bounds what is told of what is wrong.
const maxProblem = 1 << 10

// mismatches warn of each candidate that came to its end and does not keep to
// the form. One that was cut, blocked, refused, or waits for a tool says so by
// its finish reason.
func (c *check) mismatches(answer *Answer) (all []Warning) {
	if c == nil {
		return nil
	}
	said := c.said.Candidates()
	for i, finish := range answer.Finish {
		if finish != backend.FinishStop {
			continue
		}
		var content string
		if i < len(said) {
			content = said[i].Content
		}
		w := Warning{Code: SchemaMismatch, Field: "config.response_format", Candidate: i}
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(content))
		_, object := value.(map[string]any)
		switch {
		case err != nil:
			w.Message = "the answer is not JSON"
		case c.schema == nil && !object:
			w.Message = "the answer is no JSON object"
		case c.schema == nil:
			continue
		case !affordable(c.schema, value):
			w.Code, w.Message = SchemaUnchecked, "to check the answer by this schema would take too long"
		default:
			if err := c.schema.Validate(value); err == nil {
				continue
			} else {
				_, w.Message, _ = strings.Cut(err.Error(), "\n")
				w.Message = "the answer does not keep to the schema: " + strings.ToValidUTF8(w.Message[:min(len(w.Message), maxProblem)], "")
			}
		}
		all = append(all, w)
	}
	return all
}

// repairable tells whether it makes sense to ask anew: there is one answer, the
// caller has seen nothing of it, and no rule has made it what it is.
func (c *check) repairable(sink Sink, answer *Answer, wrong []Warning) bool {
	_, restarts := sink.(Restarter)
	changed := slices.ContainsFunc(answer.Verdicts, func(v policy.Verdict) bool { return v.Stage == policy.Output && v.Action.Enforcing() })
	return restarts && !changed && len(answer.Finish) == 1 && len(wrong) == 1 && wrong[0].Code == SchemaMismatch
}

// repaired is a request that asks for the same again, and says what was wrong
// with the answer.
func (c *check) repaired(req backend.Request, wrong Warning) backend.Request {
	said := ""
	if all := c.said.Candidates(); len(all) > 0 {
		said = all[0].Content
	}
	text := func(role backend.Role, s string) backend.Message {
		return backend.Message{Role: role, Parts: []backend.Part{{Channel: backend.Content, Text: s}}}
	}
	req.Messages = slices.Concat(req.Messages, []backend.Message{
		text(backend.Assistant, said),
		text(backend.User, "This cannot be used: "+wrong.Message+"\nWrite the whole answer again, as JSON of the form that was asked for and nothing else."),
	})
	return req
}

// repair asks anew where an answer does not keep to its form, as often as the
// request allows, and settles for the last answer that there is. The caller is
// told, and pays for, all of them.
func (g *Gateway) repair(ctx context.Context, c *check, request backend.Request, sink Sink, answer *Answer, ask func(context.Context, backend.Request) error) {
	for attempt := 0; ; attempt++ {
		wrong := c.mismatches(answer)
		if attempt >= c.format.Repairs || !c.repairable(sink, answer, wrong) {
			answer.Warnings = append(answer.Warnings, wrong...)
			return
		}
		before, said := *answer, c.said
		again := c.repaired(request, wrong[0])
		answer.Verdicts, answer.UnjudgedBytes, answer.FirstOutput, answer.Finish = nil, 0, time.Time{}, nil
		sink.(Restarter).Restart()
		if err := ask(ctx, again); err != nil {
			g.Log.WarnContext(ctx, "an answer that breaks its schema could not be asked for anew", "request_id", answer.RequestID, "error", Logged(err))
			attempts, used, hedges := answer.Attempts, answer.used, answer.Hedges
			*answer = before
			answer.Attempts, answer.used, answer.Hedges = attempts, used, hedges
			sink.(Restarter).Restart()
			said.replay(sink)
			answer.Warnings = append(answer.Warnings, wrong...)
			return
		}
		answer.Usage, answer.OwnUsage = sum(before.Usage, answer.Usage), sum(before.OwnUsage, answer.OwnUsage)
		answer.Cost = sumCost(before.Cost, answer.Cost)
	}
}

// replay gives a sink what was collected.
func (c *Collector) replay(sink Sink) {
	for i, said := range c.Candidates() {
		call := 0
		for _, p := range said.Parts {
			d := Delta{Candidate: i, Channel: p.Channel, Text: p.Text, Logprobs: p.Logprobs}
			if p.Channel == backend.Arguments {
				_ = sink.Delta(Delta{Candidate: i, Channel: p.Channel, Call: call, CallID: p.CallID, Tool: p.Tool})
				d.Call = call
				call++
			}
			_ = sink.Delta(d) // a sink that restarts keeps its text, and cannot fail
			if p.Signature != nil {
				_ = sink.Delta(Delta{Candidate: i, Channel: p.Channel, Call: d.Call, Signature: p.Signature})
			}
		}
	}
}

func sum(a, b accounting.Usage) accounting.Usage {
	for _, m := range accounting.Meters() {
		if n, known := a.Get(m); known {
			more, _ := b.Get(m)
			b.Set(m, n+more)
		}
	}
	return b
}

// sumCost is nil where one of them is unknown: then so is the sum.
func sumCost(a, b *accounting.Cost) *accounting.Cost {
	if a == nil || b == nil {
		return nil
	}
	out := *b
	var err, also error
	out.Charge, err = a.Charge.Add(b.Charge)
	out.ProviderCost, also = a.ProviderCost.Add(b.ProviderCost)
	if err != nil || also != nil {
		return nil
	}
	out.Items = slices.Concat(a.Items, b.Items)
	return &out
}

// most is how many comparisons of a value with a part of a schema a check may
// take: a schema of a few lines can ask for more than there are seconds.
const most = 200_000

// affordable tells whether a check takes at most so many.
func affordable(s *jsonschema.Schema, value any) bool {
	left := most
	weigh(s, value, &left)
	return left > 0
}

func weigh(s *jsonschema.Schema, value any, left *int) {
	if s == nil || *left <= 0 {
		return
	}
	*left--
	each := func(value any, all ...*jsonschema.Schema) {
		for _, other := range all {
			weigh(other, value, left)
		}
	}
	of := func(value any, schema any) {
		switch schema := schema.(type) {
		case *jsonschema.Schema:
			weigh(schema, value, left)
		case []*jsonschema.Schema:
			each(value, schema...)
		}
	}
	each(value, s.Ref, s.RecursiveRef, s.Not, s.If, s.Then, s.Else)
	if s.DynamicRef != nil {
		weigh(s.DynamicRef.Ref, value, left)
	}
	each(value, slices.Concat(s.AllOf, s.AnyOf, s.OneOf)...)
	for _, other := range s.DependentSchemas {
		weigh(other, value, left)
	}
	for _, other := range s.Dependencies {
		of(value, other)
	}
	if s.Enum != nil {
		*left -= len(s.Enum.Values)
	}
	switch v := value.(type) {
	case map[string]any:
		for name, child := range v {
			each(child, s.Properties[name], s.UnevaluatedProperties)
			of(child, s.AdditionalProperties)
			weigh(s.PropertyNames, name, left)
			for _, other := range s.PatternProperties {
				weigh(other, child, left)
			}
		}
	case []any:
		for i, child := range v {
			if *left--; *left <= 0 {
				return
			}
			each(child, s.Contains, s.Items2020, s.UnevaluatedItems)
			of(child, s.Items)
			of(child, s.AdditionalItems)
			if i < len(s.PrefixItems) {
				weigh(s.PrefixItems[i], child, left)
			}
		}
	case string:
		*left -= len(v) >> 10
	}
}
