package weir

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/auth"
	"github.com/weir-gateway/weir/server/face"
)

// Tenants answers weir.v1.TenantService.
type Tenants struct {
	weirv1.UnimplementedTenantServiceServer

	// Create is CreateKey of an auth.Store. Where the store is away it fails
	// with *face.UnavailableError.
	Create func(context.Context, auth.Key) error
	Now    func() time.Time
}

// CreateKey makes a key. Its secret is in the answer and nowhere else.
func (t *Tenants) CreateKey(ctx context.Context, req *weirv1.CreateKeyRequest) (*weirv1.CreateKeyResponse, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	secret := auth.NewSecret()
	key := auth.Key{
		Tenant: segment(req.GetParent(), 1), Project: segment(req.GetParent(), 3), Name: req.GetKeyId(),
		Role: auth.Member, Hash: auth.Hash(secret), Created: t.Now(),
	}
	if req.GetKey().GetRole() == weirv1.KeyRole_KEY_ROLE_ADMIN {
		key.Role = auth.Admin
	}
	if err := mayCreate(caller, key, req.GetParent()); err != nil {
		return nil, err
	}
	name := req.GetParent() + "/keys/" + key.Name
	switch err := t.Create(ctx, key); {
	case errors.Is(err, auth.ErrNoProject):
		return nil, missing(projectType, req.GetParent())
	case errors.Is(err, auth.ErrKeyExists):
		return nil, &face.ExistsError{Resource: face.Resource{Type: keyType, Name: name}, Err: auth.ErrKeyExists}
	case err != nil:
		return nil, err
	}
	return &weirv1.CreateKeyResponse{
		Key:    &weirv1.Key{Name: name, Role: req.GetKey().GetRole(), CreateTime: timestamppb.New(key.Created)},
		Secret: secret,
	}, nil
}

// mayCreate tells whether a caller may make a key. Another tenant's project
// looks like one that is not there.
func mayCreate(caller auth.Caller, key auth.Key, parent string) error {
	switch {
	case caller.IsPlatform():
		return nil
	case caller.Tenant != key.Tenant:
		return missing(projectType, parent)
	case caller.Role != auth.Admin:
		return &face.DeniedError{Why: fmt.Sprintf("key %q is of role %s and may not make keys: use one of role admin", caller.Key, caller.Role)}
	}
	return nil
}
