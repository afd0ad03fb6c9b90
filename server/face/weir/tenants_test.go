package weir

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/admin"
	"github.com/weir-gateway/weir/server/auth"
)

const ownProject = "tenants/acme/projects/default"

// withRoles adds a key of each role, and an admin of another tenant.
func withRoles(t *testing.T, documents string) *house {
	t.Helper()
	h := newHouse(t, documents)
	h.key("viewer", "acme", auth.Viewer)
	h.key("billing", "acme", auth.Billing)
	h.key("neighbour", "other", auth.Admin)
	return h
}

const (
	fine   = "OK"
	no     = "PermissionDenied PERMISSION_DENIED"
	absent = "NotFound RESOURCE_NOT_FOUND"
)

// rights tries a call as each of several keys.
func (h *house) rights(name string, call func(ctx context.Context) error, want map[string]string) {
	h.t.Helper()
	for who, outcome := range want {
		if got := failure(call(h.as(who))); got != outcome {
			h.t.Errorf("%s as %s: %s, want %s", name, who, got, outcome)
		}
	}
}

// alike proves that what another tenant has is told as what is not there: call
// asks for something of a tenant.
func (h *house) alike(name string, call func(ctx context.Context, tenant string) error) {
	h.t.Helper()
	theirs, none := status.Convert(call(h.as("admin"), "other")), status.Convert(call(h.as("admin"), "xxxxx"))
	if failure(theirs.Err()) != absent || strings.ReplaceAll(theirs.Message(), "other", "xxxxx") != none.Message() {
		h.t.Errorf("%s: another tenant is told as %v, none as %v", name, theirs, none)
	}
}

func TestTenantsAndProjects(t *testing.T) {
	h := withRoles(t, `---
kind: Tenant
name: big
display_name: 大公司
---
kind: Project
tenant: big
name: search
display_name: Search
---
kind: Project
tenant: big
name: ads
`)
	client := weirv1.NewTenantServiceClient(h.conn)
	get, err := client.GetTenant(h.as("platform"), &weirv1.GetTenantRequest{Name: "tenants/big"})
	if err != nil || get.Tenant.Name != "tenants/big" || get.Tenant.DisplayName != "大公司" || get.Tenant.Revision != 1 {
		t.Errorf("tenant is %v, %v", get, err)
	}
	project, err := client.GetProject(h.as("platform"), &weirv1.GetProjectRequest{Name: "tenants/big/projects/search"})
	if err != nil || project.Project.DisplayName != "Search" || project.Project.Revision != 1 {
		t.Errorf("project is %v, %v", project, err)
	}

	var names []string
	tenants := &weirv1.ListTenantsRequest{PageSize: 2}
	for more := true; more; more = tenants.PageToken != "" {
		page, err := client.ListTenants(h.as("platform"), tenants)
		if err != nil {
			t.Fatal(err)
		}
		for _, t := range page.Tenants {
			names = append(names, t.Name)
		}
		tenants.PageToken = page.NextPageToken
	}
	projects := &weirv1.ListProjectsRequest{Parent: "tenants/big", PageSize: 1}
	for more := true; more; more = projects.PageToken != "" {
		page, err := client.ListProjects(h.as("platform"), projects)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range page.Projects {
			names = append(names, p.Name)
		}
		projects.PageToken = page.NextPageToken
	}
	if got := strings.Join(names, " "); got != "tenants/acme tenants/big tenants/other tenants/big/projects/ads tenants/big/projects/default tenants/big/projects/search" {
		t.Errorf("lists are %s", got)
	}
	if own, err := client.ListTenants(h.as("viewer"), &weirv1.ListTenantsRequest{}); err != nil || len(own.Tenants) != 1 || own.Tenants[0].Name != "tenants/acme" {
		t.Errorf("a viewer sees %v, %v", own, err)
	}

	own := map[string]string{"platform": fine, "admin": fine, "viewer": fine, "member": no, "billing": no, "neighbour": absent}
	h.rights("GetTenant", func(ctx context.Context) error {
		_, err := client.GetTenant(ctx, &weirv1.GetTenantRequest{Name: "tenants/acme"})
		return err
	}, own)
	h.rights("GetProject", func(ctx context.Context) error {
		_, err := client.GetProject(ctx, &weirv1.GetProjectRequest{Name: ownProject})
		return err
	}, own)
	h.rights("ListProjects", func(ctx context.Context) error {
		_, err := client.ListProjects(ctx, &weirv1.ListProjectsRequest{Parent: "tenants/acme"})
		return err
	}, own)
	h.rights("ListTenants", func(ctx context.Context) error {
		_, err := client.ListTenants(ctx, &weirv1.ListTenantsRequest{})
		return err
	}, map[string]string{"platform": fine, "admin": fine, "viewer": fine, "member": no, "billing": no})
	h.alike("GetTenant", func(ctx context.Context, tenant string) error {
		_, err := client.GetTenant(ctx, &weirv1.GetTenantRequest{Name: "tenants/" + tenant})
		return err
	})
	h.alike("GetProject", func(ctx context.Context, tenant string) error {
		_, err := client.GetProject(ctx, &weirv1.GetProjectRequest{Name: "tenants/" + tenant + "/projects/default"})
		return err
	})
	h.alike("ListProjects", func(ctx context.Context, tenant string) error {
		_, err := client.ListProjects(ctx, &weirv1.ListProjectsRequest{Parent: "tenants/" + tenant})
		return err
	})
	for want, call := range map[string]func() error{
		"name=TENANT_NAME": func() error {
			_, err := client.GetTenant(h.as("admin"), &weirv1.GetTenantRequest{Name: "acme"})
			return err
		},
		"name=PROJECT_NAME": func() error {
			_, err := client.GetProject(h.as("admin"), &weirv1.GetProjectRequest{Name: "tenants/acme"})
			return err
		},
		"parent=PROJECTS_PARENT": func() error {
			_, err := client.ListProjects(h.as("admin"), &weirv1.ListProjectsRequest{Parent: "x"})
			return err
		},
		"page_size=INT32_GTE": func() error {
			_, err := client.ListTenants(h.as("admin"), &weirv1.ListTenantsRequest{PageSize: -1})
			return err
		},
		"page_token=": func() error {
			_, err := client.ListTenants(h.as("admin"), &weirv1.ListTenantsRequest{PageToken: "e30"})
			return err
		},
	} {
		if got := failure(call()); got != "InvalidArgument INVALID_REQUEST "+want {
			t.Errorf("%s: %s", want, got)
		}
	}
}

func TestKeysAreReadAndEnded(t *testing.T) {
	h := withRoles(t, "")
	client, reports := weirv1.NewTenantServiceClient(h.conn), weirv1.NewAccountingServiceClient(h.conn)
	works := func(secret string) string {
		_, err := reports.QueryCosts(h.bearer(secret), costsOf("tenants/acme"))
		return failure(err)
	}
	const refused = "Unauthenticated CREDENTIALS_INVALID"
	create := func(id string, role weirv1.KeyRole, expires *timestamppb.Timestamp) (*weirv1.CreateKeyResponse, error) {
		return client.CreateKey(h.as("admin"), &weirv1.CreateKeyRequest{Parent: ownProject, KeyId: id, Key: &weirv1.Key{Role: role, ExpireTime: expires}})
	}
	soon := timestamppb.New(time.Now().Add(time.Hour))
	made, err := create("k1", weirv1.KeyRole_KEY_ROLE_BILLING, soon)
	if err != nil {
		t.Fatal(err)
	}
	got, err := client.GetKey(h.as("viewer"), &weirv1.GetKeyRequest{Name: made.Key.Name})
	if err != nil {
		t.Fatal(err)
	}
	k := got.Key
	if k.Role != weirv1.KeyRole_KEY_ROLE_BILLING || k.ExpireTime.AsTime().Sub(soon.AsTime()).Abs() > time.Microsecond || k.RevokeTime != nil || k.OldSecretExpireTime != nil || k.Etag == "" || k.Etag != made.Key.Etag {
		t.Errorf("key is %v, made was %v", k, made.Key)
	}
	if _, err := create("late", weirv1.KeyRole_KEY_ROLE_MEMBER, timestamppb.New(time.Now().Add(-time.Second))); failure(err) != "InvalidArgument INVALID_REQUEST key.expire_time=" {
		t.Errorf("a key that has expired: %v", err)
	}

	// Rotated, both secrets are good; again, the first is not.
	first, err := client.RotateKey(h.as("admin"), &weirv1.RotateKeyRequest{Name: k.Name, Etag: k.Etag})
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(first.Key.OldSecretExpireTime.AsTime()); left < 23*time.Hour || left > 24*time.Hour {
		t.Errorf("the old secret is good for %s", left)
	}
	if a, b := works(made.Secret), works(first.Secret); a != fine || b != fine || made.Secret == first.Secret {
		t.Errorf("after a rotation: %s, %s", a, b)
	}
	if _, err := client.RotateKey(h.as("admin"), &weirv1.RotateKeyRequest{Name: k.Name, Etag: k.Etag}); failure(err) != "Aborted RESOURCE_CHANGED" {
		t.Errorf("a stale etag: %v", err)
	}
	second, err := client.RotateKey(h.as("admin"), &weirv1.RotateKeyRequest{Name: k.Name, Etag: first.Key.Etag, Overlap: durationpb.New(0)})
	if err != nil {
		t.Fatal(err)
	}
	if a, b, c := works(made.Secret), works(first.Secret), works(second.Secret); a != refused || b != refused || c != fine {
		t.Errorf("after a rotation without overlap: %s, %s, %s", a, b, c)
	}

	// Revoked, it is refused at once, also where this replica knew it.
	if _, err := client.RevokeKey(h.as("admin"), &weirv1.RevokeKeyRequest{Name: k.Name, Etag: first.Key.Etag}); failure(err) != "Aborted RESOURCE_CHANGED" {
		t.Errorf("a stale etag: %v", err)
	}
	revoked, err := client.RevokeKey(h.as("admin"), &weirv1.RevokeKeyRequest{Name: k.Name, Etag: second.Key.Etag})
	if err != nil || revoked.Key.RevokeTime == nil {
		t.Fatalf("revoked %v, %v", revoked, err)
	}
	if got := works(second.Secret); got != refused {
		t.Errorf("a revoked key: %s", got)
	}
	if again, err := client.RevokeKey(h.as("admin"), &weirv1.RevokeKeyRequest{Name: k.Name}); err != nil || again.Key.Etag != revoked.Key.Etag {
		t.Errorf("revoked again %v, %v", again, err)
	}
	if _, err := client.RotateKey(h.as("admin"), &weirv1.RotateKeyRequest{Name: k.Name}); failure(err) != "FailedPrecondition RESOURCE_STATE" {
		t.Errorf("a revoked key is rotated: %v", err)
	}

	// Pages have each key once.
	var names []string
	req := &weirv1.ListKeysRequest{Parent: "tenants/acme/projects/-", PageSize: 2}
	for more := true; more; more = req.PageToken != "" {
		page, err := client.ListKeys(h.as("viewer"), req)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range page.Keys {
			names = append(names, strings.TrimPrefix(k.Name, ownProject+"/keys/"))
		}
		req.PageToken = page.NextPageToken
	}
	if got := strings.Join(names, " "); got != "admin billing k1 member viewer" {
		t.Errorf("keys are %s", got)
	}
	page, _ := client.ListKeys(h.as("platform"), &weirv1.ListKeysRequest{Parent: "tenants/acme/projects/-", PageSize: 1})
	if _, err := client.ListKeys(h.as("platform"), &weirv1.ListKeysRequest{Parent: ownProject, PageToken: page.NextPageToken}); failure(err) != "InvalidArgument INVALID_REQUEST page_token=" {
		t.Errorf("a token of another list: %v", err)
	}

	read := map[string]string{"platform": fine, "admin": fine, "viewer": fine, "member": no, "billing": no, "neighbour": absent}
	const target = ownProject + "/keys/member"
	h.rights("GetKey", func(ctx context.Context) error {
		_, err := client.GetKey(ctx, &weirv1.GetKeyRequest{Name: target})
		return err
	}, read)
	h.rights("ListKeys", func(ctx context.Context) error {
		_, err := client.ListKeys(ctx, &weirv1.ListKeysRequest{Parent: ownProject})
		return err
	}, read)
	h.rights("RotateKey", func(ctx context.Context) error {
		_, err := client.RotateKey(ctx, &weirv1.RotateKeyRequest{Name: target})
		return err
	},
		map[string]string{"viewer": no, "billing": no, "neighbour": absent, "admin": fine})
	h.rights("RevokeKey", func(ctx context.Context) error {
		_, err := client.RevokeKey(ctx, &weirv1.RevokeKeyRequest{Name: k.Name})
		return err
	},
		map[string]string{"platform": fine, "admin": fine, "viewer": no, "billing": no, "neighbour": absent})
	for name, call := range map[string]func(ctx context.Context, name string) error{
		"GetKey": func(ctx context.Context, name string) error {
			_, err := client.GetKey(ctx, &weirv1.GetKeyRequest{Name: name})
			return err
		},
		"RotateKey": func(ctx context.Context, name string) error {
			_, err := client.RotateKey(ctx, &weirv1.RotateKeyRequest{Name: name})
			return err
		},
		"RevokeKey": func(ctx context.Context, name string) error {
			_, err := client.RevokeKey(ctx, &weirv1.RevokeKeyRequest{Name: name})
			return err
		},
	} {
		h.alike(name, func(ctx context.Context, tenant string) error {
			return call(ctx, "tenants/"+tenant+"/projects/default/keys/neighbour")
		})
		if got := failure(call(h.as("admin"), "tenants/acme/keys/k1")); got != "InvalidArgument INVALID_REQUEST name=KEY_NAME" {
			t.Errorf("%s of a bad name: %s", name, got)
		}
	}
	h.alike("ListKeys", func(ctx context.Context, tenant string) error {
		_, err := client.ListKeys(ctx, &weirv1.ListKeysRequest{Parent: "tenants/" + tenant + "/projects/default"})
		return err
	})
	if _, err := client.RotateKey(h.as("admin"), &weirv1.RotateKeyRequest{Name: k.Name, Overlap: durationpb.New(31 * 24 * time.Hour)}); failure(err) != "InvalidArgument INVALID_REQUEST overlap=DURATION_GTE_LTE" {
		t.Errorf("too long an overlap: %v", err)
	}
	if _, err := client.ListKeys(h.as("admin"), &weirv1.ListKeysRequest{Parent: "tenants/acme"}); failure(err) != "InvalidArgument INVALID_REQUEST parent=KEYS_PARENT" {
		t.Errorf("a bad parent: %v", err)
	}
}

// Another replica goes by what it knows of a key until it sees the revision, for
// which it asks twice a second.
func TestARevokedKeyEndsElsewhereWithTheRevision(t *testing.T) {
	h := withRoles(t, "")
	elsewhere := &admin.Live{Store: h.Store, Keys: h.Store, Factories: h.Live.Factories, Log: h.Logger}
	if err := elsewhere.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	keys := &auth.Keys{Lookup: elsewhere.Lookup, Now: time.Now}
	if _, err := keys.Authenticate(t.Context(), h.secrets["member"]); err != nil {
		t.Fatal(err)
	}
	if _, err := weirv1.NewTenantServiceClient(h.conn).RevokeKey(h.as("admin"), &weirv1.RevokeKeyRequest{Name: ownProject + "/keys/member"}); err != nil {
		t.Fatal(err)
	}
	if err := elsewhere.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	var invalid *auth.InvalidError
	if _, err := keys.Authenticate(t.Context(), h.secrets["member"]); !errors.As(err, &invalid) || !strings.Contains(invalid.Why, "revoked") {
		t.Errorf("a key that was revoked elsewhere: %v", err)
	}
}

// A key is refused from the moment on at which it ends.
func TestAKeyExpires(t *testing.T) {
	h := newHouse(t, "")
	at := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	h.Clock = func() time.Time { return at }
	made, err := weirv1.NewTenantServiceClient(h.conn).CreateKey(h.as("admin"), &weirv1.CreateKeyRequest{
		Parent: ownProject, KeyId: "short", Key: &weirv1.Key{Role: weirv1.KeyRole_KEY_ROLE_MEMBER, ExpireTime: timestamppb.New(at.Add(time.Hour))},
	})
	if err != nil {
		t.Fatal(err)
	}
	keys := &auth.Keys{Lookup: h.Live.Lookup, Now: func() time.Time { return at }}
	if _, err := keys.Authenticate(t.Context(), made.Secret); err != nil {
		t.Errorf("before its end: %v", err)
	}
	at = at.Add(time.Hour)
	if _, err := keys.Authenticate(t.Context(), made.Secret); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("at its end: %v", err)
	}
}

// TestRoles: a viewer and a biller call nothing, and a biller sees money alone.
func TestRoles(t *testing.T) {
	h := withRoles(t, budgets)
	h.rights("Generate", func(ctx context.Context) error {
		_, err := weirv1.NewGenerationServiceClient(h.conn).Generate(ctx, ask("sim", "say: hi"))
		return err
	}, map[string]string{"admin": fine, "member": fine, "viewer": no, "billing": no})
	h.rights("ListBudgets", func(ctx context.Context) error {
		_, err := weirv1.NewAccountingServiceClient(h.conn).ListBudgets(ctx, &weirv1.ListBudgetsRequest{Parent: "tenants/acme"})
		return err
	}, map[string]string{"admin": fine, "member": no, "viewer": fine, "billing": fine, "neighbour": absent})
	h.rights("QueryCosts", func(ctx context.Context) error {
		_, err := weirv1.NewAccountingServiceClient(h.conn).QueryCosts(ctx, costsOf("tenants/acme"))
		return err
	}, map[string]string{"admin": fine, "member": fine, "viewer": fine, "billing": fine, "neighbour": absent})
	h.rights("ApplyDocuments", func(ctx context.Context) error {
		_, err := weirv1.NewAdminServiceClient(h.conn).ApplyDocuments(ctx, &weirv1.ApplyDocumentsRequest{
			Sources: []*weirv1.DocumentSource{{Name: "p", Content: "{kind: Project, tenant: acme, name: p}"}},
		})
		return err
	}, map[string]string{"admin": fine, "member": no, "viewer": no, "billing": no, "neighbour": no})
}

func TestAuditLog(t *testing.T) {
	h := withRoles(t, "")
	client := weirv1.NewAdminServiceClient(h.conn)
	keys := weirv1.NewTenantServiceClient(h.conn)
	if _, err := client.ApplyDocuments(h.as("admin"), &weirv1.ApplyDocumentsRequest{Sources: []*weirv1.DocumentSource{{Name: "p", Content: "{kind: Project, tenant: acme, name: ads}"}}}); err != nil {
		t.Fatal(err)
	}
	made, err := keys.CreateKey(h.as("admin"), &weirv1.CreateKeyRequest{Parent: "tenants/acme/projects/ads", KeyId: "k", Key: &weirv1.Key{Role: weirv1.KeyRole_KEY_ROLE_MEMBER}})
	if err != nil {
		t.Fatal(err)
	}
	rotated, err := keys.RotateKey(h.as("platform"), &weirv1.RotateKeyRequest{Name: made.Key.Name})
	if err != nil {
		t.Fatal(err)
	}
	read := func(who, parent string, size int32) (all []*weirv1.AuditEvent) {
		t.Helper()
		req := &weirv1.ListAuditEventsRequest{Parent: parent, PageSize: size}
		for {
			page, err := client.ListAuditEvents(h.as(who), req)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, page.Events...)
			if req.PageToken = page.NextPageToken; req.PageToken == "" {
				return all
			}
		}
	}
	var lines []string
	for _, e := range read("admin", "tenants/acme", 2) {
		lines = append(lines, fmt.Sprintf("%s %s %s/%s by %s %s", e.Action, e.Kind, e.Tenant, e.Name, e.Author.Role, e.Author.Key))
		if e.Author.Key != "" && e.RequestId == "" || e.CreateTime == nil {
			t.Errorf("event is %v", e)
		}
	}
	want := []string{
		"rotate Key acme/ads/k by platform platform", "create Key acme/ads/k by admin admin", "create Project acme/ads by admin admin",
		"create Key acme/default/billing by  ", "create Key acme/default/viewer by  ", "create Key acme/default/admin by  ", "create Key acme/default/member by  ",
		"create Policy acme/base by platform ",
	}
	if strings.Join(lines, "\n") != strings.Join(want, "\n") {
		t.Errorf("events are\n%s", strings.Join(lines, "\n"))
	}
	if own := read("admin", "tenants/-", 100); len(own) != len(want) {
		t.Errorf("for all an admin gets %d events", len(own))
	}
	all := read("platform", "tenants/-", 3)
	if len(all) <= len(want) || all[0].Revision < all[1].Revision {
		t.Errorf("the platform gets %d events", len(all))
	}
	for _, secret := range []string{made.Secret, rotated.Secret, h.secrets["admin"]} {
		hash := auth.Hash(secret)
		if text := fmt.Sprint(all); strings.Contains(text, secret) || strings.Contains(text, string(hash[:])) || strings.Contains(text, fmt.Sprintf("%x", hash)) {
			t.Error("a secret is in the audit log")
		}
	}

	h.rights("ListAuditEvents", func(ctx context.Context) error {
		_, err := client.ListAuditEvents(ctx, &weirv1.ListAuditEventsRequest{Parent: "tenants/acme"})
		return err
	}, map[string]string{"platform": fine, "admin": fine, "viewer": no, "member": no, "billing": no, "neighbour": absent})
	h.rights("ListAuditEvents of all", func(ctx context.Context) error {
		_, err := client.ListAuditEvents(ctx, &weirv1.ListAuditEventsRequest{Parent: "tenants/-"})
		return err
	}, map[string]string{"platform": fine, "admin": fine, "viewer": no, "neighbour": fine})
	h.alike("ListAuditEvents", func(ctx context.Context, tenant string) error {
		_, err := client.ListAuditEvents(ctx, &weirv1.ListAuditEventsRequest{Parent: "tenants/" + tenant})
		return err
	})
	for want, req := range map[string]*weirv1.ListAuditEventsRequest{
		"parent=AUDIT_EVENTS_PARENT": {Parent: "acme"}, "page_token=": {Parent: "tenants/acme", PageToken: "e30"}, "page_size=INT32_GTE": {Parent: "tenants/acme", PageSize: -1},
	} {
		if _, err := client.ListAuditEvents(h.as("admin"), req); failure(err) != "InvalidArgument INVALID_REQUEST "+want {
			t.Errorf("%v: %v", req, err)
		}
	}
}
