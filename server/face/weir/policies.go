package weir

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/server/admin"
	"github.com/weir-gateway/weir/server/auth"
	"github.com/weir-gateway/weir/server/face"
)

// Policies answers weir.v1.PolicyService.
type Policies struct {
	weirv1.UnimplementedPolicyServiceServer

	// Snapshot returns what is in force now.
	Snapshot func() *admin.Snapshot
	// Delete is DeletePolicy of an admin.Admin. Where the store is away it fails
	// with *face.UnavailableError.
	Delete func(ctx context.Context, tenant, name string, revision int64) (int64, error)
}

// maySee refuses who has not a right on a tenant's policies; those of the
// platform have no tenant.
func (p *Policies) maySee(caller auth.Caller, tenant, kind, name string, right func(auth.Role) bool, do, who string) error {
	return allowed(caller, func(tenant string) bool { return tenant == "" || p.Snapshot().HasTenant(tenant) }, tenant, kind, name, right, do, who)
}

func (p *Policies) mayRead(caller auth.Caller, tenant, kind, name string) error {
	return p.maySee(caller, tenant, kind, name, auth.Role.Inspects, "read the configuration", "admin or viewer")
}

// GetPolicy tells of a policy.
func (p *Policies) GetPolicy(ctx context.Context, req *weirv1.GetPolicyRequest) (*weirv1.GetPolicyResponse, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	tenant, name := policyOf(req.GetName())
	if err := p.mayRead(caller, tenant, policyType, req.GetName()); err != nil {
		return nil, err
	}
	for _, d := range p.Snapshot().PolicyDocuments() {
		if d.Tenant == tenant && d.Name == name {
			return &weirv1.GetPolicyResponse{Policy: policyDocument(d)}, nil
		}
	}
	return nil, missing(policyType, req.GetName())
}

// ListPolicies lists policies.
func (p *Policies) ListPolicies(ctx context.Context, req *weirv1.ListPoliciesRequest) (*weirv1.ListPoliciesResponse, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	tenant, all := strings.TrimPrefix(req.GetParent(), "tenants/"), false
	if tenant == everyTenant {
		tenant, all = caller.Tenant, caller.IsPlatform()
	}
	if err := p.mayRead(caller, tenant, tenantType, req.GetParent()); err != nil {
		if tenant == "" && !caller.IsPlatform() {
			err = &face.DeniedError{Why: "only the platform's key may list the platform's policies: list those of a tenant, or ask ExplainPolicy what holds for your calls"}
		}
		return nil, err
	}
	page, err := openPage("policies "+req.GetParent(), req, 1, textPage)
	if err != nil {
		return nil, err
	}
	var some []admin.Document
	for _, d := range p.Snapshot().PolicyDocuments() {
		if all || d.Tenant == tenant {
			some = append(some, d)
		}
	}
	out := &weirv1.ListPoliciesResponse{}
	// A space goes before all that names have, so that the order is by tenant and
	// name.
	some, out.NextPageToken, err = pageOf(page, some, func(d admin.Document) string { return d.Tenant + " " + d.Name })
	for _, d := range some {
		out.Policies = append(out.Policies, policyDocument(d))
	}
	return out, err
}

// DeletePolicy deletes a policy.
func (p *Policies) DeletePolicy(ctx context.Context, req *weirv1.DeletePolicyRequest) (*weirv1.DeletePolicyResponse, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	tenant, name := policyOf(req.GetName())
	if err := p.maySee(caller, tenant, policyType, req.GetName(), auth.Role.Configures, "delete policies", "admin"); err != nil {
		return nil, err
	}
	revision := int64(0)
	if tag := req.GetEtag(); tag != "" {
		if revision, err = strconv.ParseInt(tag, 36, 64); err != nil || revision <= 0 {
			revision = -1 // of no policy
		}
	}
	after, err := p.Delete(ctx, tenant, name, revision)
	switch {
	case errors.Is(err, admin.ErrNoDocument):
		return nil, missing(policyType, req.GetName())
	case errors.Is(err, admin.ErrStale):
		return nil, &face.ChangedError{Resource: face.Resource{Type: policyType, Name: req.GetName()}}
	case err != nil:
		return nil, err
	}
	return &weirv1.DeletePolicyResponse{Revision: after}, nil
}

// ExplainPolicy tells what holds for calls.
func (p *Policies) ExplainPolicy(ctx context.Context, req *weirv1.ExplainPolicyRequest) (*weirv1.ExplainPolicyResponse, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	subject := policy.Subject{Tenant: caller.Tenant, Project: caller.Project, Model: req.GetModel()}
	snapshot := p.Snapshot()
	if parent := req.GetParent(); parent != "" {
		subject.Tenant, subject.Project = segment(parent, 1), segment(parent, 3)
	}
	if err := p.mayRead(caller, subject.Tenant, projectType, req.GetParent()); err != nil {
		return nil, err
	}
	if subject.Tenant != "" && !snapshot.HasProject(subject.Tenant, subject.Project) {
		return nil, missing(projectType, req.GetParent())
	}
	effective := snapshot.Policies.Resolve(subject)
	out := &weirv1.ExplainPolicyResponse{Policies: policyNames(effective), OutputsMode: effective.Outputs.Mode, Revision: effective.Revision}
	if n, bounded := effective.Gate("").Bound(); bounded {
		out.HoldBackBytes = proto.Int64(int64(n))
	}
	for _, r := range effective.Rules() {
		rule := &weirv1.EffectiveRule{Policy: policyName(r.Policy), Rule: r.Rule, Stage: face.Stage(r.Stage), Guard: r.Guard, Action: face.Action(r.Action)}
		for _, k := range r.Kinds {
			if k.Category != "" {
				rule.Categories = append(rule.Categories, k.Category)
			}
		}
		if r.Bounded {
			rule.HoldBackBytes = proto.Int64(int64(r.Bound))
		}
		out.Rules = append(out.Rules, rule)
	}
	for _, r := range effective.Rates {
		rate := &weirv1.EffectiveRate{Policy: policyName(policy.Document{Tenant: r.Tenant, Name: r.Policy}.FullName()), Rule: r.ID, Per: r.Per, Burst: r.Burst, TokenBurst: r.TokenBurst, Concurrent: r.Concurrent}
		if r.Requests != nil {
			rate.Requests = r.Requests.String()
		}
		if r.Tokens != nil {
			rate.Tokens = r.Tokens.String()
		}
		out.Rates = append(out.Rates, rate)
	}
	for _, r := range effective.Restrictions {
		out.Restrictions = append(out.Restrictions, &weirv1.EffectiveRestriction{Policy: policyName(r.Policy), When: r.When.String(), Only: r.Only})
	}
	return out, nil
}

// policyOf is tenant and name of the name of a policy.
func policyOf(name string) (tenant, policy string) {
	if parts := strings.Split(name, "/"); len(parts) == 4 {
		return parts[1], parts[3]
	}
	return "", segment(name, 1)
}

// policyName is the name of a policy by what verdicts call it.
func policyName(full string) string {
	if tenant, name, own := strings.Cut(full, "/"); own {
		return "tenants/" + tenant + "/policies/" + name
	}
	return "policies/" + full
}

func policyNames(e *policy.Effective) (names []string) {
	for _, full := range e.Policies {
		names = append(names, policyName(full))
	}
	return names
}

func policyDocument(d admin.Document) *weirv1.Policy {
	return &weirv1.Policy{
		Name: policyName(policy.Document{Tenant: d.Tenant, Name: d.Name}.FullName()), Document: d.Body,
		Revision: d.Revision, Etag: strconv.FormatInt(d.Revision, 36),
	}
}
