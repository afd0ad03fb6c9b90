package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// Document is one policy as it was written. It is data: nothing in it has been
// compiled, and whether its guards exist is known to [Compile].
type Document struct {
	Name   string
	Tenant string // "" is the platform's floor, which every tenant stands on
	Match  Match
	Safety Safety
	// Routing narrows where calls may go by what was found in them.
	Routing []Restriction
	Rates   []Rate

	// Outputs is what the output log may keep. The zero value (Mode "") says
	// that this policy does not speak about it.
	Outputs Outputs
}

// FullName is "name" for the platform's policies and "tenant/name" for the
// rest: what verdicts and problems call the policy.
func (d Document) FullName() string {
	if d.Tenant == "" {
		return d.Name
	}
	return d.Tenant + "/" + d.Name
}

// Match says where a policy applies, by globs in which * stands for any text.
// An empty list matches everything.
type Match struct {
	Models   []string `yaml:"models"`
	Projects []string `yaml:"projects"`
}

// Safety holds the rules in the order they were written.
type Safety struct{ Input, Output []Rule }

// Rule is one rule of a policy. What is common to all guards is read; the rest
// waits in the node for the guard's own [Factory].
type Rule struct {
	ID     string // as written, else output[1] and the like
	Guard  string
	Action Action

	// What a rule may say over its guard. Placeholder nil means the default, see
	// [Placeholder].
	Category    string
	Severity    Severity
	Placeholder *string

	// ToolArgs is what a rule that redacts does in the arguments of tool calls:
	// Redact, or Block as it does where nothing is said (Allow).
	ToolArgs Action

	Stage Stage
	Field string     // safety.output[1]
	Node  *yaml.Node // the guard's own keys, without the common ones
}

// Rate limits requests, their tokens and how many run. What it counts is scoped by the policy, the rule and
// the value of Per; policy only says how much, admission keeps count.
type Rate struct {
	ID  string // as written, else rates[0] and the like
	Per string // tenant, project, key or end_user

	// Requests, Tokens and Concurrent are nil where there is no such limit; at
	// least one is there. Burst is never nil where Requests is there, nor TokenBurst
	// where Tokens is: the default is the limit itself.
	Requests   *Quota
	Burst      *int64
	Tokens     *Quota
	TokenBurst *int64
	Concurrent *int64
}

// Outputs says what the output log may keep of a call.
type Outputs struct {
	Mode   string        // one of OutputModes; "" is unsaid
	Sample int64         // share of calls, in parts per million
	Keep   time.Duration // 0 is unsaid
}

// OutputModes is every mode, from the one that keeps least to the one that
// keeps most.
var OutputModes = []string{"none", "metadata", "redacted", "full"}

// Defaults where no policy speaks.
const (
	DefaultMode   = "metadata"
	DefaultSample = 1_000_000
)

// commonKeys are the keys of a rule that every guard shares.
var commonKeys = []string{"id", "guard", "action", "category", "severity", "placeholder", "tool_args"}

// RatePers is everything a rate can be counted per.
var RatePers = []string{"tenant", "project", "key", "end_user"}

// ParseDocument reads a mapping with kind: Policy. All problems are returned at
// once, as [Problems]. The node must not be changed afterwards: the document
// refers to parts of it.
func ParseDocument(node *yaml.Node) (Document, error) {
	var raw struct {
		Kind   string `yaml:"kind"`
		Name   string `yaml:"name"`
		Tenant string `yaml:"tenant"`
		Match  Match  `yaml:"match"`
		Safety struct {
			Input  []*yaml.Node `yaml:"input"`
			Output []*yaml.Node `yaml:"output"`
		} `yaml:"safety"`
		Routing []*yaml.Node `yaml:"routing"`
		Rates   []*yaml.Node `yaml:"rates"`
		Outputs *yaml.Node   `yaml:"outputs"`
	}
	node = content(node)
	ps := Within("", node, Decode(node, &raw))
	ps = append(ps, checkHead(node, "Policy", raw.Kind, raw.Name, raw.Tenant)...)
	d := Document{Name: raw.Name, Tenant: raw.Tenant, Match: raw.Match}
	for i, glob := range d.Match.Models {
		ps = append(ps, checkGlob(node, fmt.Sprintf("match.models[%d]", i), glob)...)
	}
	for i, glob := range d.Match.Projects {
		ps = append(ps, checkGlob(node, fmt.Sprintf("match.projects[%d]", i), glob)...)
	}
	ids := map[string]string{}
	rules := func(stage Stage, nodes []*yaml.Node) (out []Rule) {
		for i, n := range nodes {
			if n == nil {
				continue // Decode has said why
			}
			r, faults := parseRule(n, stage, i)
			ps = append(ps, faults...)
			ps = append(ps, claim(ids, n, r.Field, r.ID)...)
			out = append(out, r)
		}
		return out
	}
	d.Safety.Input = rules(Input, raw.Safety.Input)
	d.Safety.Output = rules(Output, raw.Safety.Output)
	for i, n := range raw.Routing {
		if n == nil {
			continue
		}
		r, faults := parseRestriction(n, fmt.Sprintf("routing[%d]", i))
		ps = append(ps, faults...)
		d.Routing = append(d.Routing, r)
	}
	for i, n := range raw.Rates {
		if n == nil {
			continue
		}
		field := fmt.Sprintf("rates[%d]", i)
		r, faults := parseRate(n, field)
		ps = append(ps, faults...)
		ps = append(ps, claim(ids, n, field, r.ID)...)
		d.Rates = append(d.Rates, r)
	}
	if raw.Outputs != nil {
		var faults Problems
		d.Outputs, faults = parseOutputs(raw.Outputs)
		ps = append(ps, faults...)
	}
	return d, ps.Err()
}

func content(node *yaml.Node) *yaml.Node {
	if node != nil && node.Kind == yaml.DocumentNode && len(node.Content) == 1 {
		return node.Content[0]
	}
	return node
}

// checkHead is what documents of every kind must say.
func checkHead(node *yaml.Node, want, kind, name, tenant string) (ps Problems) {
	if node == nil || node.Kind != yaml.MappingNode {
		return nil // Decode has said so
	}
	if kind != want {
		ps = append(ps, Fault(node, "kind", "want kind: %s, got %q", want, kind))
	}
	if name == "" {
		ps = append(ps, Fault(node, "name", "a name is missing: what do verdicts and changes call this document?"))
	}
	for field, word := range map[string]string{"name": name, "tenant": tenant} {
		odd := func(r rune) bool { return r == '/' || !unicode.IsGraphic(r) || unicode.IsSpace(r) }
		if strings.ContainsFunc(word, odd) || len(word) > 200 {
			ps = append(ps, Fault(node, field, "want at most 200 bytes without spaces and slashes, got %q", word))
		}
	}
	return ps
}

func checkGlob(node *yaml.Node, field, glob string) Problems {
	if glob == "" {
		return Problems{Fault(node, field, `is empty and would match nothing: write "*" for everything, or remove it`)}
	}
	return nil
}

// claim keeps ids unique within a policy, for verdicts and limiter state are
// keyed by them.
func claim(ids map[string]string, n *yaml.Node, field, id string) Problems {
	if first, taken := ids[id]; taken {
		return Problems{Fault(n, field, "the id %q is taken by %s", id, first)}
	}
	ids[id] = field
	return nil
}

func parseRule(n *yaml.Node, stage Stage, i int) (Rule, Problems) {
	place := fmt.Sprintf("%s[%d]", stage, i)
	r := Rule{ID: place, Stage: stage, Field: "safety." + place}
	if n.Kind != yaml.MappingNode {
		return r, Problems{Fault(n, r.Field, "want a mapping, got %s", describe(n))}
	}
	// The common keys are cut out and decoded here; what is left is the guard's.
	common, own := *n, *n
	common.Content, own.Content = nil, nil
	for k := 0; k+1 < len(n.Content); k += 2 {
		if slices.Contains(commonKeys, n.Content[k].Value) {
			common.Content = append(common.Content, n.Content[k:k+2]...)
		} else {
			own.Content = append(own.Content, n.Content[k:k+2]...)
		}
	}
	var raw struct {
		ID          string   `yaml:"id"`
		Guard       string   `yaml:"guard"`
		Action      Action   `yaml:"action"`
		Category    string   `yaml:"category"`
		Severity    Severity `yaml:"severity"`
		Placeholder *string  `yaml:"placeholder"`
		ToolArgs    Action   `yaml:"tool_args"`
	}
	raw.ID = place
	ps := Within(r.Field, n, Decode(&common, &raw))
	r.ID, r.Guard, r.Action = raw.ID, raw.Guard, raw.Action
	r.Category, r.Severity, r.Placeholder, r.ToolArgs, r.Node = raw.Category, raw.Severity, raw.Placeholder, raw.ToolArgs, &own
	if r.ID == "" {
		ps = append(ps, Fault(n, r.Field+".id", "is empty: remove it to be called %s", place))
	}
	if r.Guard == "" && len(ps) == 0 {
		ps = append(ps, Fault(n, r.Field+".guard", "is missing: which guard looks at the text?"))
	}
	if r.Action == Allow && len(ps) == 0 {
		ps = append(ps, Fault(n, r.Field+".action", "is missing: shadow, flag, redact or block"))
	}
	if r.Placeholder != nil && r.Action != Redact && len(ps) == 0 {
		ps = append(ps, Fault(n, r.Field+".placeholder", "only action: redact puts a placeholder, not %s", r.Action))
	}
	if r.ToolArgs != Allow && len(ps) == 0 {
		switch {
		case r.ToolArgs != Redact && r.ToolArgs != Block:
			ps = append(ps, Fault(n, r.Field+".tool_args", "want redact or block, got %s", r.ToolArgs))
		case r.Action != Redact:
			ps = append(ps, Fault(n, r.Field+".tool_args", "only action: redact does something else there, not %s", r.Action))
		case stage != Output:
			ps = append(ps, Fault(n, r.Field+".tool_args", "is for output rules: no tool is called by what a caller sends"))
		}
	}
	return r, ps
}

func parseRate(n *yaml.Node, field string) (Rate, Problems) {
	var raw struct {
		ID         string `yaml:"id"`
		Per        string `yaml:"per"`
		Requests   *Quota `yaml:"requests"`
		Burst      *int64 `yaml:"burst"`
		Tokens     *Quota `yaml:"tokens"`
		TokenBurst *int64 `yaml:"token_burst"`
		Concurrent *int64 `yaml:"concurrent"`
	}
	raw.ID = field
	ps := Within(field, n, Decode(n, &raw))
	if len(ps) > 0 {
		return Rate{ID: raw.ID}, ps
	}
	r := Rate{
		ID: raw.ID, Per: raw.Per, Requests: raw.Requests, Burst: raw.Burst,
		Tokens: raw.Tokens, TokenBurst: raw.TokenBurst, Concurrent: raw.Concurrent,
	}
	fault := func(key, format string, args ...any) {
		ps = append(ps, Fault(n, field+"."+key, format, args...))
	}
	if r.ID == "" {
		fault("id", "is empty: remove it to be called %s", field)
	}
	if !slices.Contains(RatePers, r.Per) {
		fault("per", "unknown scope %q%s", r.Per, suggest(r.Per, RatePers))
	}
	if r.Requests == nil && r.Tokens == nil && r.Concurrent == nil {
		ps = append(ps, Fault(n, field, "limits nothing: say requests, tokens or concurrent"))
	}
	if r.Burst != nil && r.Requests == nil {
		fault("burst", "needs requests: it is how many of them may come at once (that of tokens is token_burst)")
	}
	if r.Burst != nil && *r.Burst < 1 {
		fault("burst", "want at least 1, got %d: nothing would ever pass", *r.Burst)
	}
	if r.TokenBurst != nil && r.Tokens == nil {
		fault("token_burst", "needs tokens: it is how many of them may be used at once")
	}
	if r.TokenBurst != nil && *r.TokenBurst < 1 {
		fault("token_burst", "want at least 1, got %d: nothing would ever pass", *r.TokenBurst)
	}
	if r.Concurrent != nil && *r.Concurrent < 1 {
		fault("concurrent", "want at least 1, got %d: nothing would ever pass", *r.Concurrent)
	}
	if r.Burst == nil && r.Requests != nil {
		burst := r.Requests.N
		r.Burst = &burst
	}
	if r.TokenBurst == nil && r.Tokens != nil {
		burst := r.Tokens.N
		r.TokenBurst = &burst
	}
	return r, ps
}

func parseOutputs(n *yaml.Node) (Outputs, Problems) {
	var raw struct {
		Mode   string         `yaml:"mode"`
		Sample *yaml.Node     `yaml:"sample"`
		Keep   *time.Duration `yaml:"keep"`
	}
	raw.Mode = DefaultMode
	ps := Within("outputs", n, Decode(n, &raw))
	o := Outputs{Mode: raw.Mode, Sample: DefaultSample}
	if !slices.Contains(OutputModes, o.Mode) {
		ps = append(ps, Fault(n, "outputs.mode", "unknown mode %q%s", o.Mode, suggest(o.Mode, OutputModes)))
	}
	if raw.Sample != nil {
		share, err := parseShare(raw.Sample.Value)
		ps = append(ps, Within("outputs.sample", raw.Sample, err)...)
		o.Sample = share
	}
	if raw.Keep != nil {
		if o.Keep = *raw.Keep; o.Keep == 0 {
			ps = append(ps, Fault(n, "outputs.keep", "want more than nothing: mode: none keeps nothing"))
		}
	}
	return o, ps
}
