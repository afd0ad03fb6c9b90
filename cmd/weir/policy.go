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

	"go.yaml.in/yaml/v3"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/policy/guard"
)

type policyCommand struct {
	Scan    policyScanCommand    `cmd:"" help:"Run the rules of a policy over texts, without a server."`
	Explain policyExplainCommand `cmd:"" help:"Tell which rules hold for a caller and a model, and what they hold back: of files with -f, else of what is in force."`
	List    policyListCommand    `cmd:"" help:"List the policies that are in force."`
	Get     policyGetCommand     `cmd:"" help:"Print a policy that is in force, as a document."`
	Delete  policyDeleteCommand  `cmd:"" help:"Delete a policy."`
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
