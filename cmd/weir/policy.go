package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"text/tabwriter"

	"go.yaml.in/yaml/v3"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/policy/guard"
)

type policyCommand struct {
	Scan    policyScanCommand    `cmd:"" help:"Run the rules of a policy over texts, without a server."`
	Explain policyExplainCommand `cmd:"" help:"Tell which rules hold for a caller and a model, and what they hold back."`
	Default policyDefaultCommand `cmd:"" help:"Print the policy that a Weir without a configuration begins with."`
}

type policyDefaultCommand struct{}

func (policyDefaultCommand) Run(t terminal) error {
	_, err := io.WriteString(t.out, guard.DefaultPolicy)
	return err
}

type policyScanCommand struct {
	Policy string `required:"" help:"YAML file or folder with documents of kind Policy and Lexicon; all of them apply." placeholder:"FILE"`
	Stage  string `required:"" enum:"input,output" help:"Which rules: input or output."`
	Chunk  string `help:"How output arrives: N bytes at a time, or random:SEED; whole where it is absent." placeholder:"N|random:SEED"`
}

// scanned is what `weir policy scan` tells of one text. Offsets are bytes of
// the text.
type scanned struct {
	ID       any           `json:"id"`
	Action   string        `json:"action"`
	Findings []scanFinding `json:"findings"`
	Released []string      `json:"released"`
}

type scanFinding struct {
	Guard    string   `json:"guard"`
	Rule     string   `json:"rule"`
	Category string   `json:"category"`
	Severity string   `json:"severity,omitempty"`
	Start    int64    `json:"start"`
	End      int64    `json:"end"`
	Score    *float64 `json:"score"`
	Action   string   `json:"action"`
}

// maxLine bounds one line of a corpus.
const maxLine = 64 << 20

func (c *policyScanCommand) Run(t terminal) error {
	cut, err := parseChunk(c.Chunk)
	if err != nil {
		return usageError(err)
	}
	documents, lexicons, err := readPolicies([]string{c.Policy}, t.in)
	if err != nil {
		return usageError(err)
	}
	// A scan asks what the rules find, not for whom: every document applies.
	for i := range documents {
		documents[i].Tenant, documents[i].Match = "", policy.Match{}
	}
	for i := range lexicons {
		lexicons[i].Tenant = ""
	}
	set, err := policy.Compile(0, documents, lexicons, guards())
	if err != nil {
		return usageError(fmt.Errorf("%s: %w", c.Policy, err))
	}
	effective := set.Resolve(policy.Subject{})
	if stage := map[string]policy.Stage{"input": policy.Input, "output": policy.Output}[c.Stage]; effective.Asks(stage) {
		return usageError(fmt.Errorf("%s: a rule with guard: remote asks a model or a service, and a scan has neither: remove the rule from the file, or ask a running Weir with `weir call`", c.Policy))
	}
	scan := func(text string) ([]string, []policy.Verdict, bool) { return scanOutput(effective, text, cut) }
	if c.Stage == "input" {
		scan = func(text string) ([]string, []policy.Verdict, bool) { return scanInput(effective, text) }
	}

	lines := bufio.NewScanner(t.in)
	lines.Buffer(make([]byte, 1<<20), maxLine)
	out := bufio.NewWriter(t.out)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	for n := 1; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var in struct {
			ID   any
			Text *string
		}
		decoder := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		decoder.UseNumber() // an id comes back as it was written
		if err := decoder.Decode(&in); err != nil {
			return usageError(fmt.Errorf("line %d is not JSON: %w: each line is {\"id\": …, \"text\": \"…\"}", n, err))
		}
		if in.Text == nil {
			return usageError(fmt.Errorf("line %d has no text: each line is {\"id\": …, \"text\": \"…\"}", n))
		}
		released, verdicts, blocked := scan(*in.Text)
		if err := encoder.Encode(tell(in.ID, released, verdicts, blocked)); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return usageError(fmt.Errorf("read the texts: %w", err))
	}
	return out.Flush()
}

func tell(id any, released []string, verdicts []policy.Verdict, blocked bool) scanned {
	s := scanned{ID: id, Findings: []scanFinding{}, Released: append([]string{}, released...)}
	strictest := policy.Allow
	for _, v := range verdicts {
		f := scanFinding{Guard: v.Guard, Rule: v.Rule, Category: v.Category, Start: v.Start, End: v.End, Score: v.Score, Action: v.Action.String()}
		if v.Severity != policy.Unspecified {
			f.Severity = v.Severity.String()
		}
		s.Findings = append(s.Findings, f)
		if v.Action > policy.Shadow { // a shadow rule changes nothing
			strictest = max(strictest, v.Action)
		}
	}
	if blocked {
		strictest = policy.Block
	}
	s.Action = strictest.String()
	return s
}

func scanInput(e *policy.Effective, text string) ([]string, []policy.Verdict, bool) {
	judged := e.JudgeInput([]policy.InputText{{Text: text}})
	if judged.Blocked {
		return nil, judged.Verdicts, true
	}
	return judged.Texts, judged.Verdicts, false
}

// scanOutput streams a text through the screen in pieces; released is what left
// at each of them that let something go.
func scanOutput(e *policy.Effective, text string, cut func(rest int) int) (released []string, _ []policy.Verdict, _ bool) {
	screen := e.Screen()
	var pieces []policy.Piece
	take := func() {
		if len(pieces) == 0 {
			return
		}
		var all strings.Builder
		for _, p := range pieces {
			all.WriteString(p.Text)
		}
		released = append(released, all.String())
	}
	for text != "" {
		n := min(cut(len(text)), len(text))
		pieces = screen.Write(pieces[:0], policy.Piece{Channel: policy.Content, Text: text[:n]})
		text = text[n:]
		take()
	}
	pieces = screen.End(pieces[:0], 0)
	take()
	return released, screen.Verdicts(), screen.Blocked(0)
}

// parseChunk reads --chunk as a func that says how many bytes come next.
func parseChunk(s string) (func(rest int) int, error) {
	if s == "" {
		return func(rest int) int { return rest }, nil
	}
	if seed, random := strings.CutPrefix(s, "random:"); random {
		n, err := strconv.ParseUint(seed, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("--chunk %s: %q is not a seed: write it as random:7", s, seed)
		}
		source := rand.New(rand.NewPCG(n, 0))
		return func(int) int { return 1 + source.IntN(16) }, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return nil, fmt.Errorf("--chunk %s: write a number of bytes, such as 4, or random:7", s)
	}
	return func(int) int { return n }, nil
}

// readPolicies reads the policies and lexicons of files and folders; documents
// of other kinds are passed over.
func readPolicies(names []string, in io.Reader) (documents []policy.Document, lexicons []policy.Lexicon, err error) {
	sources, err := readSources(names, in)
	if err != nil {
		return nil, nil, err
	}
	for _, s := range sources {
		if err := eachDocument(s, func(kind string, n *yaml.Node) error {
			switch kind {
			case "Policy":
				d, err := policy.ParseDocument(n)
				documents = append(documents, d)
				return err
			case "Lexicon":
				l, err := policy.ParseLexicon(n)
				lexicons = append(lexicons, l)
				return err
			}
			return nil
		}); err != nil {
			return nil, nil, err
		}
	}
	if len(documents) == 0 {
		return nil, nil, fmt.Errorf("there is no document of kind Policy in %s", strings.Join(names, ", "))
	}
	return documents, lexicons, nil
}

func eachDocument(s *weirv1.DocumentSource, do func(kind string, n *yaml.Node) error) error {
	decoder := yaml.NewDecoder(strings.NewReader(s.Content))
	for {
		var root yaml.Node
		err := decoder.Decode(&root)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: not YAML: %s", s.Name, strings.TrimPrefix(err.Error(), "yaml: "))
		}
		if len(root.Content) == 0 {
			continue
		}
		var head struct{ Kind string }
		if err := root.Content[0].Decode(&head); err != nil || head.Kind == "" {
			return fmt.Errorf("%s: line %d: a document is a mapping that begins with its kind, such as kind: Policy", s.Name, root.Content[0].Line)
		}
		if err := do(head.Kind, root.Content[0]); err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
	}
}

type policyExplainCommand struct {
	File    []string `short:"f" required:"" help:"YAML file, folder, or - for standard input: the documents as they are applied." placeholder:"FILE"`
	Tenant  string   `help:"Tenant of the caller; the platform's floor alone where it is absent." placeholder:"NAME"`
	Project string   `default:"default" help:"Project of the caller." placeholder:"NAME"`
	Model   string   `short:"m" required:"" help:"Model that is called." placeholder:"NAME"`
	Output  string   `short:"o" enum:"text,json" default:"text" help:"text or json."`
}

type explained struct {
	Policies []string        `json:"policies"`
	Rules    []explainedRule `json:"rules"`
	Rates    []explainedRate `json:"rates"`
	Outputs  string          `json:"outputs"`
	// HoldBack is the most bytes of a channel that are held back, null where
	// there is no bound.
	HoldBack *int `json:"hold_back_bytes"`
}

type explainedRule struct {
	Policy     string   `json:"policy"`
	Rule       string   `json:"rule"`
	Stage      string   `json:"stage"`
	Guard      string   `json:"guard"`
	Action     string   `json:"action"`
	Categories []string `json:"categories"`
	HoldBack   *int     `json:"hold_back_bytes"`
}

type explainedRate struct {
	Policy     string `json:"policy"`
	Rule       string `json:"rule"`
	Per        string `json:"per"`
	Requests   string `json:"requests,omitempty"`
	Burst      *int64 `json:"burst,omitempty"`
	Concurrent *int64 `json:"concurrent,omitempty"`
}

func (c *policyExplainCommand) Run(t terminal) error {
	documents, lexicons, err := readPolicies(c.File, t.in)
	if err != nil {
		return usageError(err)
	}
	set, err := policy.Compile(0, documents, lexicons, guards())
	if err != nil {
		return usageError(err)
	}
	effective := set.Resolve(policy.Subject{Tenant: c.Tenant, Project: c.Project, Model: c.Model})
	told := explained{Policies: append([]string{}, effective.Policies...), Rules: []explainedRule{}, Rates: []explainedRate{}, Outputs: effective.Outputs.Mode}
	if n, bounded := effective.Gate("").Bound(); bounded {
		told.HoldBack = &n
	}
	for _, r := range effective.Rules() {
		rule := explainedRule{Policy: r.Policy, Rule: r.Rule, Stage: r.Stage.String(), Guard: r.Guard, Action: r.Action.String(), Categories: []string{}}
		for _, k := range r.Kinds {
			if k.Category != "" {
				rule.Categories = append(rule.Categories, k.Category)
			}
		}
		if r.Bounded {
			rule.HoldBack = &r.Bound
		}
		told.Rules = append(told.Rules, rule)
	}
	for _, r := range effective.Rates {
		rate := explainedRate{Policy: r.Policy, Rule: r.ID, Per: r.Per, Burst: r.Burst, Concurrent: r.Concurrent}
		if r.Requests != nil {
			rate.Requests = r.Requests.String()
		}
		told.Rates = append(told.Rates, rate)
	}
	if c.Output == "json" {
		return printJSON(t.out, told)
	}
	return c.print(t.out, told)
}

func (c *policyExplainCommand) print(w io.Writer, e explained) error {
	if len(e.Policies) == 0 {
		fmt.Fprintf(w, "no policy applies to tenant %q, project %q, model %q\n", c.Tenant, c.Project, c.Model)
		return nil
	}
	fmt.Fprintf(w, "policies: %s\n", strings.Join(e.Policies, ", "))
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(e.Rules) > 0 {
		fmt.Fprintln(table, "STAGE\tRULE\tPOLICY\tGUARD\tACTION\tHOLDS BACK\tCATEGORIES")
	}
	for _, r := range e.Rules {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Stage, r.Rule, r.Policy, r.Guard, r.Action, bytesHeld(r.HoldBack), shortList(r.Categories))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, r := range e.Rates {
		limits := ""
		if r.Requests != "" {
			limits += fmt.Sprintf(" %s, burst %d", r.Requests, *r.Burst)
		}
		if r.Concurrent != nil {
			limits += fmt.Sprintf(" %d at a time", *r.Concurrent)
		}
		fmt.Fprintf(w, "rate %s of %s per %s:%s\n", r.Rule, r.Policy, r.Per, limits)
	}
	fmt.Fprintf(w, "an answer's channel is held back by at most %s\n", bytesHeld(e.HoldBack))
	return nil
}

func bytesHeld(n *int) string {
	switch {
	case n == nil:
		return "no bound"
	case *n == 0:
		return "nothing"
	}
	return fmt.Sprintf("%d bytes", *n)
}

func shortList(all []string) string {
	const shown = 4
	if len(all) > shown {
		return strings.Join(all[:shown], ", ") + fmt.Sprintf(" and %d more", len(all)-shown)
	}
	return strings.Join(all, ", ")
}
