package main

import (
	"context"
	"fmt"
	"strings"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/policy"
)

type policyExplainCommand struct {
	connection
	File    []string `short:"f" help:"YAML file, folder, or - for standard input: the documents as they are applied. Without it a running Weir is asked." placeholder:"FILE"`
	Tenant  string   `help:"Tenant of the caller. Where it is absent, of a running Weir that of the key, and of files the platform's floor alone." placeholder:"NAME"`
	Project string   `default:"default" help:"Project of the caller." placeholder:"NAME"`
	Model   string   `short:"m" required:"" help:"Model that is called." placeholder:"NAME"`
	Output  string   `short:"o" enum:"text,json" default:"text" help:"text or json."`
}

type explained struct {
	Policies []string        `json:"policies"`
	Rules    []explainedRule `json:"rules"`
	Rates    []explainedRate `json:"rates"`
	// Routing says where calls may go, by what is found in them.
	Routing []explainedRestriction `json:"routing"`
	Outputs string                 `json:"outputs"`
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

type explainedRestriction struct {
	Policy string `json:"policy"`
	When   string `json:"when"`
	Only   string `json:"only"`
}

type explainedRate struct {
	Policy     string `json:"policy"`
	Rule       string `json:"rule"`
	Per        string `json:"per"`
	Requests   string `json:"requests,omitempty"`
	Burst      *int64 `json:"burst,omitempty"`
	Tokens     string `json:"tokens,omitempty"`
	TokenBurst *int64 `json:"token_burst,omitempty"`
	Concurrent *int64 `json:"concurrent,omitempty"`
}

func (c *policyExplainCommand) Run(ctx context.Context, t terminal) error {
	told, err := c.explain(ctx, t)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(t.out, told)
	}
	return c.print(t, told)
}

func (c *policyExplainCommand) explain(ctx context.Context, t terminal) (explained, error) {
	if len(c.File) > 0 {
		return c.explainFiles(t)
	}
	ctx, conn, err := c.dial(ctx, t)
	if err != nil {
		return explained{}, err
	}
	defer conn.Close()
	parent := ""
	if c.Tenant != "" {
		parent = "tenants/" + c.Tenant + "/projects/" + c.Project
	}
	answer, err := weirv1.NewPolicyServiceClient(conn).ExplainPolicy(ctx, &weirv1.ExplainPolicyRequest{Parent: parent, Model: c.Model})
	if err != nil {
		return explained{}, told(err)
	}
	e := explained{Policies: []string{}, Rules: []explainedRule{}, Rates: []explainedRate{}, Routing: []explainedRestriction{}, Outputs: answer.OutputsMode, HoldBack: wide(answer.HoldBackBytes)}
	for _, name := range answer.Policies {
		e.Policies = append(e.Policies, shortPolicy(name))
	}
	for _, r := range answer.Rules {
		e.Rules = append(e.Rules, explainedRule{
			shortPolicy(r.Policy), r.Rule, enumWord(r.Stage.String(), "STAGE_"), r.Guard, enumWord(r.Action.String(), "ACTION_"), append([]string{}, r.Categories...), wide(r.HoldBackBytes),
		})
	}
	for _, r := range answer.Rates {
		e.Rates = append(e.Rates, explainedRate{shortPolicy(r.Policy), r.Rule, r.Per, r.Requests, r.Burst, r.Tokens, r.TokenBurst, r.Concurrent})
	}
	for _, r := range answer.Restrictions {
		e.Routing = append(e.Routing, explainedRestriction{shortPolicy(r.Policy), r.When, r.Only})
	}
	return e, nil
}

func wide(n *int64) *int {
	if n == nil {
		return nil
	}
	all := int(*n)
	return &all
}

// explainFiles tells what holds where documents of files are applied.
func (c *policyExplainCommand) explainFiles(t terminal) (explained, error) {
	documents, lexicons, err := readPolicies(c.File, t.in)
	if err != nil {
		return explained{}, usageError(err)
	}
	set, err := policy.Compile(0, documents, lexicons, guards())
	if err != nil {
		return explained{}, usageError(err)
	}
	effective := set.Resolve(policy.Subject{Tenant: c.Tenant, Project: c.Project, Model: c.Model})
	told := explained{Policies: append([]string{}, effective.Policies...), Rules: []explainedRule{}, Rates: []explainedRate{}, Routing: []explainedRestriction{}, Outputs: effective.Outputs.Mode}
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
		rate := explainedRate{Policy: r.Policy, Rule: r.ID, Per: r.Per, Burst: r.Burst, TokenBurst: r.TokenBurst, Concurrent: r.Concurrent}
		if r.Requests != nil {
			rate.Requests = r.Requests.String()
		}
		if r.Tokens != nil {
			rate.Tokens = r.Tokens.String()
		}
		told.Rates = append(told.Rates, rate)
	}
	for _, r := range effective.Restrictions {
		told.Routing = append(told.Routing, explainedRestriction{r.Policy, r.When.String(), r.Only})
	}
	return told, nil
}

func (c *policyExplainCommand) print(t terminal, e explained) error {
	w := t.out
	if len(e.Policies) == 0 {
		fmt.Fprintf(w, "no policy applies to tenant %q, project %q, model %q\n", c.Tenant, c.Project, c.Model)
		return nil
	}
	fmt.Fprintf(w, "policies: %s\n", strings.Join(e.Policies, ", "))
	var rows [][]string
	for _, r := range e.Rules {
		rows = append(rows, []string{r.Stage, r.Rule, r.Policy, r.Guard, r.Action, bytesHeld(r.HoldBack), shortList(r.Categories)})
	}
	if len(rows) > 0 {
		if err := printTable(t, []string{"stage", "rule", "policy", "guard", "action", "holds_back", "categories"}, rows); err != nil {
			return err
		}
	}
	for _, r := range e.Rates {
		limits := ""
		if r.Requests != "" {
			limits += fmt.Sprintf(" %s, burst %d", r.Requests, *r.Burst)
		}
		if r.Tokens != "" {
			limits += fmt.Sprintf(" %s tokens, burst %d", r.Tokens, *r.TokenBurst)
		}
		if r.Concurrent != nil {
			limits += fmt.Sprintf(" %d at a time", *r.Concurrent)
		}
		fmt.Fprintf(w, "rate %s of %s per %s:%s\n", r.Rule, r.Policy, r.Per, limits)
	}
	for _, r := range e.Routing {
		fmt.Fprintf(w, "routing of %s: only to backends with the tag %q when %s\n", r.Policy, r.Only, r.When)
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
