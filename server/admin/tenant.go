package admin

import (
	"cmp"
	"maps"
	"slices"
)

// A Tenant is a document of kind Tenant that is in force.
type Tenant struct {
	Name, DisplayName string
	// Revision is that at which the document last changed.
	Revision int64
}

// A Project is a document of kind Project that is in force, or the project that
// every tenant has.
type Project struct {
	Tenant, Name, DisplayName string
	Revision                  int64 // 0 where there is no document
}

// HasTenant tells whether there is a tenant of that name.
func (s *Snapshot) HasTenant(name string) bool {
	_, ok := s.tenants[name]
	return ok
}

// HasProject tells whether the tenant has a project of that name.
func (s *Snapshot) HasProject(tenant, name string) bool {
	_, ok := s.projects[key{kindProject, tenant, name}]
	return s.HasTenant(tenant) && (name == DefaultProject || ok)
}

// Tenants lists the tenants by name.
func (s *Snapshot) Tenants() []Tenant {
	return slices.SortedFunc(maps.Values(s.tenants), func(a, b Tenant) int { return cmp.Compare(a.Name, b.Name) })
}

// Projects lists a tenant's projects by name.
func (s *Snapshot) Projects(tenant string) []Project {
	if !s.HasTenant(tenant) {
		return nil
	}
	var all []Project
	if _, documented := s.projects[key{kindProject, tenant, DefaultProject}]; !documented {
		all = append(all, Project{Tenant: tenant, Name: DefaultProject})
	}
	for _, p := range s.projects {
		if p.Tenant == tenant {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(a, b Project) int { return cmp.Compare(a.Name, b.Name) })
	return all
}
