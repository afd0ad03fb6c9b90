package admin

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/lease"
	"github.com/weir-gateway/weir/accounting/price"
	"github.com/weir-gateway/weir/policy"
)

// The kinds of documents.
const (
	kindTenant  = "Tenant"
	kindProject = "Project"
	kindPrice   = "Price"
	kindFxRate  = "FxRate"
	kindBudget  = "Budget"
	kindPolicy  = "Policy"
	kindLexicon = "Lexicon"
)

// DefaultProject is the project that every tenant has.
const DefaultProject = "default"

var kinds = []string{kindTenant, kindProject, kindPrice, kindFxRate, kindBudget, kindPolicy, kindLexicon}

// parsed is a document with what it means and where it stands.
type parsed struct {
	Document
	source   string
	line     int
	warnings []string

	// What its kind has of these.
	displayName string
	price       price.Price
	fxRate      price.FxRate
	budget      lease.Budget
	policy      policy.Document
	lexicon     policy.Lexicon
}

func (p parsed) at() string {
	if p.source == "" {
		return fmt.Sprintf("line %d", p.line)
	}
	return fmt.Sprintf("%s: line %d", p.source, p.line)
}

func (p parsed) violation(field, message string) Violation {
	return Violation{p.source, policy.Problem{Line: p.line, Field: field, Message: message}}
}

type key struct{ kind, tenant, name string }

func keyOf(d Document) key { return key{d.Kind, d.Tenant, d.Name} }

func (k key) less(l key) bool {
	if k.kind != l.kind {
		return k.kind < l.kind
	}
	if k.tenant != l.tenant {
		return k.tenant < l.tenant
	}
	return k.name < l.name
}

// parse reads every document of every source. It fails with *InvalidError that
// lists all problems.
func parse(sources []Source) ([]parsed, error) {
	var all []parsed
	var wrong []Violation
	first := map[key]parsed{}
	for _, s := range sources {
		decoder := yaml.NewDecoder(strings.NewReader(s.Content))
		for {
			var root yaml.Node
			err := decoder.Decode(&root)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				wrong = append(wrong, Violation{s.Name, syntaxProblem(err)})
				break
			}
			if root.Kind != yaml.DocumentNode || isEmpty(root.Content[0]) {
				continue
			}
			p, err := parseOne(root.Content[0])
			p.source = s.Name
			var problems policy.Problems
			switch {
			case errors.As(err, &problems):
				for _, problem := range problems {
					wrong = append(wrong, Violation{s.Name, problem})
				}
				continue
			case err != nil:
				wrong = append(wrong, p.violation("", err.Error()))
				continue
			}
			if other, twice := first[keyOf(p.Document)]; twice {
				wrong = append(wrong, p.violation("name", fmt.Sprintf("%s %q is there twice, also at %s: keep one", p.Kind, p.Name, other.at())))
				continue
			}
			first[keyOf(p.Document)] = p
			all = append(all, p)
		}
	}
	if len(wrong) > 0 {
		return nil, &InvalidError{wrong}
	}
	return all, nil
}

func isEmpty(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

func syntaxProblem(err error) policy.Problem {
	p := policy.Problem{Message: err.Error()}
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		p.Line, _ = strconv.Atoi(m[1]) // digits, or nothing
		p.Message = "not YAML: " + m[2]
	}
	return p
}

// text is a scalar as it is written: amounts never pass through a float.
type text string

func (t *text) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.ScalarNode {
		return errors.New("must be a single value")
	}
	*t = text(n.Value)
	return nil
}

func parseOne(n *yaml.Node) (parsed, error) {
	p := parsed{line: n.Line}
	if n.Kind != yaml.MappingNode {
		return p, errors.New("a document is a mapping that begins with its kind, such as `kind: Tenant`")
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == "kind" {
			p.Kind = n.Content[i+1].Value
		}
	}
	var err error
	switch p.Kind {
	case kindTenant:
		var d struct {
			Kind        string `yaml:"kind"`
			Name        string `yaml:"name"`
			DisplayName string `yaml:"display_name"`
		}
		err = policy.Decode(n, &d)
		p.Name, p.displayName = d.Name, d.DisplayName
	case kindProject:
		var d struct {
			Kind        string `yaml:"kind"`
			Tenant      string `yaml:"tenant"`
			Name        string `yaml:"name"`
			DisplayName string `yaml:"display_name"`
		}
		err = policy.Decode(n, &d)
		p.Tenant, p.Name, p.displayName = d.Tenant, d.Name, d.DisplayName
		if err == nil && d.Tenant == "" {
			err = problem(n, "tenant", "missing: a project belongs to a tenant")
		}
	case kindPrice:
		p.price, err = parsePrice(n)
		p.Name = p.price.Version
	case kindFxRate:
		p.fxRate, err = parseFxRate(n)
		p.Name = p.fxRate.Version()
	case kindBudget:
		p.budget, err = parseBudget(n)
		p.Tenant, p.Name = p.budget.Tenant, p.budget.Name
	case kindPolicy:
		p.policy, err = policy.ParseDocument(n)
		p.Tenant, p.Name = p.policy.Tenant, p.policy.Name
	case kindLexicon:
		p.lexicon, err = policy.ParseLexicon(n)
		p.Tenant, p.Name = p.lexicon.Tenant, p.lexicon.Name
	case "":
		return p, problem(n, "kind", "missing: a document begins with its kind, one of "+strings.Join(kinds, ", "))
	default:
		return p, problem(n, "kind", fmt.Sprintf("unknown kind %q: known are %s", p.Kind, strings.Join(kinds, ", ")))
	}
	if err != nil {
		return p, err
	}
	if !p.appends() {
		if err := checkName(n, "name", p.Name); err != nil {
			return p, err
		}
	}
	if p.Tenant != "" {
		if err := checkName(n, "tenant", p.Tenant); err != nil {
			return p, err
		}
	}
	p.Body, err = canonical(n)
	return p, err
}

func valueOf(n *yaml.Node, field string) (*yaml.Node, bool) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == field {
			return n.Content[i+1], true
		}
	}
	return nil, false
}

// problem is what is wrong with a field, at the line where it stands.
func problem(n *yaml.Node, field, message string) error {
	p := policy.Problem{Line: n.Line, Column: n.Column, Field: field, Message: message}
	if v, ok := valueOf(n, field); ok {
		p.Line, p.Column = v.Line, v.Column
	}
	return policy.Problems{p}
}

var name = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

func checkName(n *yaml.Node, field, value string) error {
	if value == "" {
		return problem(n, field, "missing: give it a name such as acme")
	}
	if !name.MatchString(value) {
		return problem(n, field, fmt.Sprintf("%q is not a name: use at most 63 lower-case letters, digits and dashes, no dash first or last", value))
	}
	return nil
}

// appends tells whether documents of this kind are known by what they are for
// and from when on, and never change.
func (p parsed) appends() bool { return p.Kind == kindPrice || p.Kind == kindFxRate }

func parseFxRate(n *yaml.Node) (price.FxRate, error) {
	var d struct {
		Kind      string `yaml:"kind"`
		From      string `yaml:"from"`
		To        string `yaml:"to"`
		Rate      text   `yaml:"rate"`
		Effective text   `yaml:"effective"`
	}
	if err := policy.Decode(n, &d); err != nil {
		return price.FxRate{}, err
	}
	r := price.FxRate{From: d.From, To: d.To}
	var err error
	for _, c := range []struct{ field, value string }{{"from", d.From}, {"to", d.To}} {
		if err = accounting.CheckCurrency(c.value); err != nil {
			return r, problem(n, c.field, err.Error())
		}
	}
	if r.Rate, err = price.ParseRate(string(d.Rate)); err != nil {
		return r, problem(n, "rate", err.Error())
	}
	if r.Effective, err = parseTime(string(d.Effective)); err != nil {
		return r, problem(n, "effective", err.Error())
	}
	if err = r.Validate(); err != nil {
		return r, problem(n, "to", err.Error())
	}
	return r, nil
}

func parseTime(s string) (time.Time, error) {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a date: write it as 2026-01-01, or as 2026-01-01T08:00:00+08:00", s)
}

func parseBudget(n *yaml.Node) (lease.Budget, error) {
	var d struct {
		Kind     string `yaml:"kind"`
		Name     string `yaml:"name"`
		Tenant   string `yaml:"tenant"`
		Project  string `yaml:"project"`
		Per      string `yaml:"per"`
		Limit    text   `yaml:"limit"`
		Window   string `yaml:"window"`
		TimeZone string `yaml:"time_zone"`
		Mode     string `yaml:"mode"`
		Alerts   []text `yaml:"alerts"`
		Grace    text   `yaml:"grace"`
		Cut      bool   `yaml:"cut"`
	}
	if err := policy.Decode(n, &d); err != nil {
		return lease.Budget{}, err
	}
	b := lease.Budget{Name: d.Name, Tenant: d.Tenant, Project: d.Project, Per: lease.Scope(d.Per), Window: lease.Period(d.Window), TimeZone: d.TimeZone, Mode: lease.Mode(d.Mode), Cut: d.Cut}
	if d.Tenant == "" {
		return b, problem(n, "tenant", "missing: name the tenant whose spending the budget limits")
	}
	if b.Per == "" {
		b.Per = lease.PerTenant
	}
	var err error
	if b.Limit, b.Unit, err = lease.ParseLimit(string(d.Limit)); err != nil {
		return b, problem(n, "limit", err.Error())
	}
	for _, a := range d.Alerts {
		percent, err := lease.ParsePercent(string(a))
		if err != nil {
			return b, problem(n, "alerts", err.Error())
		}
		b.Alerts = append(b.Alerts, percent)
	}
	if d.Grace != "" {
		if b.Grace, err = lease.ParsePercent(string(d.Grace)); err != nil {
			return b, problem(n, "grace", err.Error())
		}
	}
	if err := b.Validate(); err != nil {
		return b, problem(n, "", err.Error())
	}
	return b, nil
}

// canonical is the text of a document without comments and styles, by which
// it is kept and compared.
func canonical(n *yaml.Node) (string, error) {
	plain := strip(n)
	out, err := yaml.Marshal(plain)
	return string(out), err
}

func strip(n *yaml.Node) *yaml.Node {
	c := *n
	c.HeadComment, c.LineComment, c.FootComment = "", "", ""
	if c.Style&(yaml.FlowStyle|yaml.TaggedStyle) != 0 {
		c.Style &^= yaml.FlowStyle | yaml.TaggedStyle
	}
	c.Content = make([]*yaml.Node, len(n.Content))
	for i, child := range n.Content {
		c.Content[i] = strip(child)
	}
	return &c
}
