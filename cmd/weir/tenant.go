package main

import (
	"context"
	"strconv"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
)

type tenantCommand struct {
	List tenantListCommand `cmd:"" help:"List the tenants that the key may see, with their projects."`
}

type tenantListCommand struct {
	connection
	listOutput
}

type tenantResult struct {
	Name        string          `json:"name"`
	DisplayName string          `json:"display_name,omitempty"`
	Revision    int64           `json:"revision"`
	Projects    []projectResult `json:"projects"`
}

type projectResult struct {
	Name        string `json:"name"`
	DisplayName string `json:"display_name,omitempty"`
}

func (c *tenantListCommand) Run(ctx context.Context, t terminal) error {
	ctx, conn, err := c.dial(ctx, t)
	if err != nil {
		return err
	}
	defer conn.Close()
	client := weirv1.NewTenantServiceClient(conn)
	tenants := []tenantResult{}
	if err := everyPage(func(token string) (string, error) {
		answer, err := client.ListTenants(ctx, &weirv1.ListTenantsRequest{PageToken: token})
		for _, known := range answer.GetTenants() {
			tenants = append(tenants, tenantResult{lastSegment(known.Name), known.DisplayName, known.Revision, []projectResult{}})
		}
		return answer.GetNextPageToken(), err
	}); err != nil {
		return err
	}
	l := list{
		header: []string{"tenant", "project", "display_name", "revision"}, empty: "there are no tenants: apply a document of kind Tenant",
		json: struct {
			Tenants *[]tenantResult `json:"tenants"`
		}{&tenants},
	}
	for i := range tenants {
		of := &tenants[i]
		l.rows = append(l.rows, []string{of.Name, "", of.DisplayName, strconv.FormatInt(of.Revision, 10)})
		if err := everyPage(func(token string) (string, error) {
			answer, err := client.ListProjects(ctx, &weirv1.ListProjectsRequest{Parent: "tenants/" + of.Name, PageToken: token})
			for _, p := range answer.GetProjects() {
				of.Projects = append(of.Projects, projectResult{lastSegment(p.Name), p.DisplayName})
				l.rows = append(l.rows, []string{of.Name, lastSegment(p.Name), p.DisplayName, strconv.FormatInt(p.Revision, 10)})
			}
			return answer.GetNextPageToken(), err
		}); err != nil {
			return err
		}
	}
	return c.print(t, l)
}
