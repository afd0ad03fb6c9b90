package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
)

type policyListCommand struct {
	connection
	listOutput
	Tenant string `default:"-" help:"Tenant whose policies they are; all that the key may see where it is absent." placeholder:"NAME"`
}

type policyResult struct {
	Tenant   string `json:"tenant,omitempty"`
	Name     string `json:"name"`
	Revision int64  `json:"revision"`
	Etag     string `json:"etag"`
}

func (c *policyListCommand) Run(ctx context.Context, t terminal) error {
	ctx, conn, err := c.dial(ctx, t)
	if err != nil {
		return err
	}
	defer conn.Close()
	client := weirv1.NewPolicyServiceClient(conn)
	policies := []policyResult{}
	if err := everyPage(func(token string) (string, error) {
		answer, err := client.ListPolicies(ctx, &weirv1.ListPoliciesRequest{Parent: "tenants/" + c.Tenant, PageToken: token})
		for _, p := range answer.GetPolicies() {
			tenant, name, own := strings.Cut(shortPolicy(p.Name), "/")
			if !own {
				tenant, name = "", tenant
			}
			policies = append(policies, policyResult{tenant, name, p.Revision, p.Etag})
		}
		return answer.GetNextPageToken(), err
	}); err != nil {
		return err
	}
	l := list{
		header: []string{"tenant", "name", "revision", "etag"}, empty: "there are no policies",
		json: struct {
			Policies []policyResult `json:"policies"`
		}{policies},
	}
	for _, p := range policies {
		l.rows = append(l.rows, []string{p.Tenant, p.Name, strconv.FormatInt(p.Revision, 10), p.Etag})
	}
	return c.print(t, l)
}

// policyPlace names a policy.
type policyPlace struct {
	Name   string `arg:"" help:"Name of the policy."`
	Tenant string `help:"Tenant that the policy belongs to; the platform where it is absent." placeholder:"NAME"`
}

func (p policyPlace) full() string {
	if p.Tenant == "" {
		return "policies/" + p.Name
	}
	return "tenants/" + p.Tenant + "/policies/" + p.Name
}

// shortPolicy is a policy as verdicts call it: tenant/name, or its name.
func shortPolicy(name string) string {
	if parts := strings.Split(name, "/"); len(parts) == 4 {
		return parts[1] + "/" + parts[3]
	}
	return lastSegment(name)
}

type policyGetCommand struct {
	connection
	policyPlace
}

func (c *policyGetCommand) Run(ctx context.Context, t terminal) error {
	ctx, conn, err := c.dial(ctx, t)
	if err != nil {
		return err
	}
	defer conn.Close()
	answer, err := weirv1.NewPolicyServiceClient(conn).GetPolicy(ctx, &weirv1.GetPolicyRequest{Name: c.full()})
	if err != nil {
		return told(err)
	}
	return printText(t, answer.Policy.GetDocument())
}

type policyDeleteCommand struct {
	connection
	policyPlace
	Etag string `help:"Delete it only as it was read: the etag of weir policy list." placeholder:"ETAG"`
}

func (c *policyDeleteCommand) Run(ctx context.Context, t terminal) error {
	ctx, conn, err := c.dial(ctx, t)
	if err != nil {
		return err
	}
	defer conn.Close()
	answer, err := weirv1.NewPolicyServiceClient(conn).DeletePolicy(ctx, &weirv1.DeletePolicyRequest{Name: c.full(), Etag: c.Etag})
	if err != nil {
		return told(err)
	}
	_, err = fmt.Fprintf(t.out, "%s holds no more; revision %d is in force\n", c.full(), answer.Revision)
	return err
}
