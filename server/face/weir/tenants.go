package weir

import (
	"context"
	"time"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/admin"
	"github.com/weir-gateway/weir/server/auth"
)

// Tenants answers weir.v1.TenantService.
type Tenants struct {
	weirv1.UnimplementedTenantServiceServer

	Keys auth.Store
	// Live has the tenants and projects, and is refreshed where a key changes, so
	// that this replica no longer takes what has ended.
	Live *admin.Live
	// Away returns an error of Keys as *face.UnavailableError where the store is
	// away.
	Away func(error) error
	Now  func() time.Time
}

func (t *Tenants) hasTenant(name string) bool { return t.Live.Snapshot().HasTenant(name) }

// maySee refuses who may not read what a tenant has.
func (t *Tenants) maySee(caller auth.Caller, tenant, kind, name string) error {
	return allowed(caller, t.hasTenant, tenant, kind, name, auth.Role.Inspects, "read the configuration", "admin or viewer")
}

// GetTenant tells of a tenant.
func (t *Tenants) GetTenant(ctx context.Context, req *weirv1.GetTenantRequest) (*weirv1.GetTenantResponse, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	name := segment(req.GetName(), 1)
	if err := t.maySee(caller, name, tenantType, req.GetName()); err != nil {
		return nil, err
	}
	for _, known := range t.Live.Snapshot().Tenants() {
		if known.Name == name {
			return &weirv1.GetTenantResponse{Tenant: tenant(known)}, nil
		}
	}
	return nil, missing(tenantType, req.GetName())
}

// ListTenants lists the tenants that the caller may see.
func (t *Tenants) ListTenants(ctx context.Context, req *weirv1.ListTenantsRequest) (*weirv1.ListTenantsResponse, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	if !caller.Role.Inspects() {
		return nil, denied(caller, "read the configuration", "admin or viewer")
	}
	page, err := openPage("tenants", req, 1, mostPage)
	if err != nil {
		return nil, err
	}
	var mine []admin.Tenant
	for _, known := range t.Live.Snapshot().Tenants() {
		if caller.IsPlatform() || known.Name == caller.Tenant {
			mine = append(mine, known)
		}
	}
	out := &weirv1.ListTenantsResponse{}
	some, next, err := pageOf(page, mine, func(t admin.Tenant) string { return t.Name })
	for _, known := range some {
		out.Tenants = append(out.Tenants, tenant(known))
	}
	out.NextPageToken = next
	return out, err
}

// GetProject tells of a project.
func (t *Tenants) GetProject(ctx context.Context, req *weirv1.GetProjectRequest) (*weirv1.GetProjectResponse, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	of := segment(req.GetName(), 1)
	if err := t.maySee(caller, of, projectType, req.GetName()); err != nil {
		return nil, err
	}
	for _, p := range t.Live.Snapshot().Projects(of) {
		if p.Name == segment(req.GetName(), 3) {
			return &weirv1.GetProjectResponse{Project: project(p)}, nil
		}
	}
	return nil, missing(projectType, req.GetName())
}

// ListProjects lists a tenant's projects.
func (t *Tenants) ListProjects(ctx context.Context, req *weirv1.ListProjectsRequest) (*weirv1.ListProjectsResponse, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	of := segment(req.GetParent(), 1)
	if err := t.maySee(caller, of, tenantType, req.GetParent()); err != nil {
		return nil, err
	}
	page, err := openPage("projects "+req.GetParent(), req, 1, mostPage)
	if err != nil {
		return nil, err
	}
	out := &weirv1.ListProjectsResponse{}
	some, next, err := pageOf(page, t.Live.Snapshot().Projects(of), func(p admin.Project) string { return p.Name })
	for _, p := range some {
		out.Projects = append(out.Projects, project(p))
	}
	out.NextPageToken = next
	return out, err
}

func tenant(t admin.Tenant) *weirv1.Tenant {
	return &weirv1.Tenant{Name: "tenants/" + t.Name, DisplayName: t.DisplayName, Revision: t.Revision}
}

func project(p admin.Project) *weirv1.Project {
	return &weirv1.Project{Name: "tenants/" + p.Tenant + "/projects/" + p.Name, DisplayName: p.DisplayName, Revision: p.Revision}
}
