package weir

import (
	"context"
	"testing"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
)

// TestPlatformKeys is an operator that comes and one that goes.
func TestPlatformKeys(t *testing.T) {
	h := withRoles(t, "")
	client := weirv1.NewTenantServiceClient(h.conn)
	create := func(ctx context.Context, parent, id string, role weirv1.KeyRole) (*weirv1.CreateKeyResponse, error) {
		return client.CreateKey(ctx, &weirv1.CreateKeyRequest{Parent: parent, KeyId: id, Key: &weirv1.Key{Role: role}})
	}
	made, err := create(h.as("platform"), "", "second", weirv1.KeyRole_KEY_ROLE_PLATFORM)
	if err != nil || made.Key.Name != "keys/second" || made.Key.Role != weirv1.KeyRole_KEY_ROLE_PLATFORM {
		t.Fatal(made, err)
	}
	if _, err := create(h.as("platform"), "", "second", weirv1.KeyRole_KEY_ROLE_PLATFORM); failure(err) != "AlreadyExists RESOURCE_EXISTS" {
		t.Errorf("a name that is taken: %v", err)
	}
	for _, c := range []struct {
		parent string
		role   weirv1.KeyRole
	}{{"", weirv1.KeyRole_KEY_ROLE_ADMIN}, {ownProject, weirv1.KeyRole_KEY_ROLE_PLATFORM}} {
		if _, err := create(h.as("platform"), c.parent, "third", c.role); failure(err) != "InvalidArgument INVALID_REQUEST key.role=" {
			t.Errorf("%s in %q: %v", c.role, c.parent, err)
		}
	}
	if _, err := create(h.as("admin"), ownProject, "third", weirv1.KeyRole_KEY_ROLE_PLATFORM); failure(err) != "InvalidArgument INVALID_REQUEST key.role=" {
		t.Errorf("an admin that would be the platform: %v", err)
	}
	list, err := client.ListKeys(h.bearer(made.Secret), &weirv1.ListKeysRequest{PageSize: 1})
	if err != nil || len(list.Keys) != 1 || list.Keys[0].Name != "keys/platform" || list.NextPageToken == "" {
		t.Fatal(list, err)
	}
	list, err = client.ListKeys(h.bearer(made.Secret), &weirv1.ListKeysRequest{PageToken: list.NextPageToken})
	if err != nil || len(list.Keys) != 1 || list.Keys[0].Etag != made.Key.Etag || list.NextPageToken != "" {
		t.Fatal(list, err)
	}

	rotated, err := client.RotateKey(h.as("platform"), &weirv1.RotateKeyRequest{Name: "keys/second", Etag: made.Key.Etag})
	if err != nil || rotated.Key.OldSecretExpireTime == nil {
		t.Fatal(rotated, err)
	}
	for _, secret := range []string{made.Secret, rotated.Secret} {
		if _, err := client.ListTenants(h.bearer(secret), &weirv1.ListTenantsRequest{}); err != nil {
			t.Error(err)
		}
	}
	if _, err := client.RevokeKey(h.bearer(rotated.Secret), &weirv1.RevokeKeyRequest{Name: "keys/second"}); failure(err) != "FailedPrecondition RESOURCE_STATE" {
		t.Errorf("a key that ends itself: %v", err)
	}
	if _, err := client.RevokeKey(h.bearer(rotated.Secret), &weirv1.RevokeKeyRequest{Name: "keys/platform"}); err != nil {
		t.Error(err)
	}
	if _, err := client.ListTenants(h.as("platform"), &weirv1.ListTenantsRequest{}); failure(err) != "Unauthenticated CREDENTIALS_INVALID" {
		t.Errorf("a key that has ended: %v", err)
	}
	kept, err := client.GetKey(h.bearer(rotated.Secret), &weirv1.GetKeyRequest{Name: "keys/platform"})
	if err != nil || kept.Key.RevokeTime == nil {
		t.Error(kept, err)
	}

	// To a tenant's key of whatever role one is as one that is not there.
	for _, who := range []string{"admin", "member", "viewer", "billing"} {
		for name, call := range map[string]func(name string) error{
			"GetKey": func(name string) error {
				_, err := client.GetKey(h.as(who), &weirv1.GetKeyRequest{Name: name})
				return err
			},
			"RotateKey": func(name string) error {
				_, err := client.RotateKey(h.as(who), &weirv1.RotateKeyRequest{Name: name})
				return err
			},
			"RevokeKey": func(name string) error {
				_, err := client.RevokeKey(h.as(who), &weirv1.RevokeKeyRequest{Name: name})
				return err
			},
		} {
			exists, not := call("keys/second"), call("keys/absent")
			if failure(exists) != absent || told(exists, "keys/second") != told(not, "keys/absent") {
				t.Errorf("%s as %s: %v and %v", name, who, exists, not)
			}
		}
		if _, err := client.ListKeys(h.as(who), &weirv1.ListKeysRequest{}); failure(err) != no {
			t.Errorf("ListKeys as %s: %v", who, err)
		}
		if _, err := create(h.as(who), "", "mine", weirv1.KeyRole_KEY_ROLE_PLATFORM); failure(err) != no {
			t.Errorf("CreateKey as %s: %v", who, err)
		}
	}
}
