package weir

import (
	"cmp"
	"context"
	"slices"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/admin"
	"github.com/weir-gateway/weir/server/auth"
)

// Admin answers weir.v1.AdminService.
type Admin struct {
	weirv1.UnimplementedAdminServiceServer

	// Apply is that of an admin.Admin. Where the store is away it fails with
	// *face.UnavailableError.
	Apply func(ctx context.Context, caller auth.Caller, sources []admin.Source, validateOnly bool) (admin.Result, error)
}

// ApplyDocuments applies documents. Who may apply which is asked of package
// admin, which has read them.
func (a *Admin) ApplyDocuments(ctx context.Context, req *weirv1.ApplyDocumentsRequest) (*weirv1.ApplyDocumentsResponse, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	sources := make([]admin.Source, len(req.GetSources()))
	for i, s := range req.GetSources() {
		sources[i] = admin.Source{Name: s.GetName(), Content: s.GetContent()}
	}
	result, err := a.Apply(ctx, caller, sources, req.GetValidateOnly())
	if err != nil {
		return nil, err
	}
	out := &weirv1.ApplyDocumentsResponse{Revision: result.Revision, Warnings: result.Warnings}
	for _, c := range result.Changes {
		out.Changes = append(out.Changes, &weirv1.DocumentChange{
			Kind: c.Kind, Tenant: c.Tenant, Name: c.Name, Action: changeAction(c.Action), Diff: c.Diff,
		})
	}
	slices.SortFunc(out.Changes, func(a, b *weirv1.DocumentChange) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	return out, nil
}

func changeAction(a admin.Action) weirv1.ChangeAction {
	switch a {
	case admin.Create:
		return weirv1.ChangeAction_CHANGE_ACTION_CREATED
	case admin.Update:
		return weirv1.ChangeAction_CHANGE_ACTION_UPDATED
	}
	return weirv1.ChangeAction_CHANGE_ACTION_UNCHANGED
}
