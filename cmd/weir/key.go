package main

import (
	"context"
	"fmt"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
)

type keyCommand struct {
	Create keyCreateCommand `cmd:"" help:"Make an API key; its secret is shown once."`
}

type keyCreateCommand struct {
	connection
	Tenant  string `required:"" help:"Tenant that the key belongs to." placeholder:"NAME"`
	Project string `default:"default" help:"Project that the key belongs to." placeholder:"NAME"`
	Name    string `required:"" help:"Name of the key, for reports and logs." placeholder:"NAME"`
	Role    string `enum:"member,admin" default:"member" help:"member may call models and read its tenant's costs; admin may also apply its tenant's policies."`
	Output  string `short:"o" enum:"text,json" default:"text" help:"text or json."`
}

func (c *keyCreateCommand) Run(ctx context.Context, t terminal) error {
	ctx, conn, err := c.dial(ctx, t)
	if err != nil {
		return err
	}
	defer conn.Close()
	role := weirv1.KeyRole_KEY_ROLE_MEMBER
	if c.Role == "admin" {
		role = weirv1.KeyRole_KEY_ROLE_ADMIN
	}
	answer, err := weirv1.NewTenantServiceClient(conn).CreateKey(ctx, &weirv1.CreateKeyRequest{
		Parent: fmt.Sprintf("tenants/%s/projects/%s", c.Tenant, c.Project),
		KeyId:  c.Name,
		Key:    &weirv1.Key{Role: role},
	})
	if err != nil {
		return told(err)
	}
	if c.Output == "json" {
		return printJSON(t.out, struct {
			Key  string `json:"key"`
			Name string `json:"name"`
			Role string `json:"role"`
		}{answer.Secret, answer.Key.GetName(), c.Role})
	}
	fmt.Fprintln(t.out, answer.Secret)
	fmt.Fprintf(t.err, "This is the only time that the secret of %s is shown.\n", answer.Key.GetName())
	return nil
}
