package weir

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/admin"
	"github.com/weir-gateway/weir/server/auth"
	"github.com/weir-gateway/weir/server/face"
	"github.com/weir-gateway/weir/server/route"
)

// Admin answers weir.v1.AdminService.
type Admin struct {
	weirv1.UnimplementedAdminServiceServer

	// Apply is that of an admin.Admin, and Events that of its Store. Where the
	// store is away they fail with *face.UnavailableError.
	Apply  func(ctx context.Context, by auth.Author, sources []admin.Source, validateOnly bool) (admin.Result, error)
	Events func(context.Context, admin.EventQuery) ([]admin.Event, error)
	// HasTenant tells whether there is a tenant of that name.
	HasTenant func(name string) bool
	// Router returns the router in force, whose backends are listed.
	Router func() *route.Router
	Now    func() time.Time
}

// ApplyDocuments applies documents. Who may apply which is asked of package
// admin, which has read them.
func (a *Admin) ApplyDocuments(ctx context.Context, req *weirv1.ApplyDocumentsRequest) (*weirv1.ApplyDocumentsResponse, error) {
	by, err := authorOf(ctx, a.Now)
	if err != nil {
		return nil, err
	}
	sources := make([]admin.Source, len(req.GetSources()))
	for i, s := range req.GetSources() {
		sources[i] = admin.Source{Name: s.GetName(), Content: s.GetContent()}
	}
	result, err := a.Apply(ctx, by, sources, req.GetValidateOnly())
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

// ListAuditEvents tells who changed what.
func (a *Admin) ListAuditEvents(ctx context.Context, req *weirv1.ListAuditEventsRequest) (*weirv1.ListAuditEventsResponse, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	q := admin.EventQuery{Tenant: segment(req.GetParent(), 1)}
	if q.Tenant == everyTenant {
		q.Tenant, q.All = caller.Tenant, caller.IsPlatform()
	}
	if !q.All {
		if err := allowed(caller, a.HasTenant, q.Tenant, tenantType, req.GetParent(), auth.Role.Configures, "read the audit log", "admin"); err != nil {
			return nil, err
		}
	}
	page, err := openPage("audit "+req.GetParent(), req, 2, textPage)
	if err != nil {
		return nil, err
	}
	if page.after[0] != "" {
		revision, wrong := strconv.ParseInt(page.after[0], 10, 64)
		number, also := strconv.ParseInt(page.after[1], 10, 64)
		if wrong != nil || also != nil {
			return nil, face.Invalid("page_token", "it is not of this list: send next_page_token of the page before")
		}
		q.Before = admin.Position{Revision: revision, Number: number}
	}
	q.Limit = page.size + 1 // one more tells whether there is another page
	events, err := a.Events(ctx, q)
	if err != nil {
		return nil, err
	}
	out := &weirv1.ListAuditEventsResponse{}
	if len(events) > page.size {
		events = events[:page.size]
		last := events[page.size-1].Position
		if out.NextPageToken, err = page.token(strconv.FormatInt(last.Revision, 10), strconv.FormatInt(last.Number, 10)); err != nil {
			return nil, err
		}
	}
	for _, e := range events {
		out.Events = append(out.Events, auditEvent(e))
	}
	return out, nil
}

func auditEvent(e admin.Event) *weirv1.AuditEvent {
	by := e.Author
	return &weirv1.AuditEvent{
		Revision: e.Revision, Number: e.Number, CreateTime: timestamppb.New(e.At), RequestId: by.RequestID,
		Author: &weirv1.AuditAuthor{Tenant: by.Tenant, Project: by.Project, Key: by.Key, Role: string(by.Role)},
		Action: e.Action, Kind: e.Kind, Tenant: e.Tenant, Name: e.Name, Before: e.Before, After: e.After,
	}
}
