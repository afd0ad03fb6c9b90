package weir

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/auth"
	"github.com/weir-gateway/weir/server/face"
)

// defaultOverlap is how long the secret of before is good after a rotation that
// does not say.
const defaultOverlap = 24 * time.Hour

var keyRoles = map[weirv1.KeyRole]auth.Role{
	weirv1.KeyRole_KEY_ROLE_ADMIN:   auth.Admin,
	weirv1.KeyRole_KEY_ROLE_MEMBER:  auth.Member,
	weirv1.KeyRole_KEY_ROLE_VIEWER:  auth.Viewer,
	weirv1.KeyRole_KEY_ROLE_BILLING: auth.Billing,
	// Of keys of the platform alone.
	weirv1.KeyRole_KEY_ROLE_PLATFORM: auth.Platform,
}

// CreateKey makes a key. Its secret is in the answer and nowhere else.
func (t *Tenants) CreateKey(ctx context.Context, req *weirv1.CreateKeyRequest) (*weirv1.CreateKeyResponse, error) {
	by, err := authorOf(ctx, t.Now)
	if err != nil {
		return nil, err
	}
	secret := auth.NewSecret()
	key := auth.Key{Name: req.GetKeyId(), Role: keyRoles[req.GetKey().GetRole()], Hash: auth.Hash(secret), Created: by.At}
	key.Tenant, key.Project = projectOf(req.GetParent())
	if err := t.mayChange(by.Caller, key.Tenant, projectType, req.GetParent(), "make keys"); err != nil {
		return nil, err
	}
	if (key.Role == auth.Platform) != (key.Tenant == "") {
		return nil, face.Invalid("key.role", "keys of the platform have the role KEY_ROLE_PLATFORM, and those of tenants have not")
	}
	if at := req.GetKey().GetExpireTime(); at != nil {
		if key.Expires = at.AsTime(); at.CheckValid() != nil || !key.Expires.After(by.At) {
			return nil, face.Invalid("key.expire_time", "it is not in the future, so the key would be good for nothing: give a later time, or none")
		}
	}
	switch err := t.Keys.CreateKey(ctx, key, by); {
	case errors.Is(err, auth.ErrNoProject):
		return nil, missing(projectType, req.GetParent())
	case errors.Is(err, auth.ErrKeyExists):
		return nil, &face.ExistsError{Resource: face.Resource{Type: keyType, Name: keyName(key)}, Err: auth.ErrKeyExists}
	case err != nil:
		return nil, t.Away(err)
	}
	return &weirv1.CreateKeyResponse{Key: apiKey(key), Secret: secret}, nil
}

func (t *Tenants) mayChange(caller auth.Caller, tenant, kind, name, do string) error {
	if tenant == "" {
		return platformsKeys(caller, name)
	}
	return allowed(caller, t.hasTenant, tenant, kind, name, auth.Role.Configures, do, "admin")
}

// maySeeKeys refuses who may not read the keys of a tenant, or of the platform.
func (t *Tenants) maySeeKeys(caller auth.Caller, tenant, kind, name string) error {
	if tenant == "" {
		return platformsKeys(caller, name)
	}
	return t.maySee(caller, tenant, kind, name)
}

// platformsKeys refuses all but the platform what is its own: one key as if it
// were not there.
func platformsKeys(caller auth.Caller, name string) error {
	switch {
	case caller.IsPlatform():
		return nil
	case name == "":
		return &face.DeniedError{Why: "the platform's keys are the platform's: use one of them, or name the project whose keys are meant"}
	}
	return missing(keyType, name)
}

// projectOf is tenant and project of the parent of keys, both empty for the
// platform.
func projectOf(parent string) (tenant, project string) {
	if parent == "" {
		return "", ""
	}
	return segment(parent, 1), segment(parent, 3)
}

// keyOf is tenant, project and name of the name of a key.
func keyOf(name string) (tenant, project, key string) {
	if parent, key, ok := strings.Cut(name, "/keys/"); ok {
		tenant, project = projectOf(parent)
		return tenant, project, key
	}
	return "", "", segment(name, 1)
}

// GetKey tells of a key.
func (t *Tenants) GetKey(ctx context.Context, req *weirv1.GetKeyRequest) (*weirv1.GetKeyResponse, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	tenant, project, name := keyOf(req.GetName())
	if err := t.maySeeKeys(caller, tenant, keyType, req.GetName()); err != nil {
		return nil, err
	}
	keys, err := t.Keys.Keys(ctx, auth.KeyQuery{Tenant: tenant, Project: project, Name: name, Limit: 1})
	switch {
	case err != nil:
		return nil, t.Away(err)
	case len(keys) == 0:
		return nil, missing(keyType, req.GetName())
	}
	return &weirv1.GetKeyResponse{Key: apiKey(keys[0])}, nil
}

// everyProject is what AIP-159 calls all projects.
const everyProject = "-"

// ListKeys lists keys.
func (t *Tenants) ListKeys(ctx context.Context, req *weirv1.ListKeysRequest) (*weirv1.ListKeysResponse, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	var q auth.KeyQuery
	q.Tenant, q.Project = projectOf(req.GetParent())
	if err := t.maySeeKeys(caller, q.Tenant, projectType, req.GetParent()); err != nil {
		return nil, err
	}
	if q.Project == everyProject {
		q.Project = ""
	} else if q.Tenant != "" && !t.Live.Snapshot().HasProject(q.Tenant, q.Project) {
		return nil, missing(projectType, req.GetParent())
	}
	page, err := openPage("keys "+req.GetParent(), req, 2, mostPage)
	if err != nil {
		return nil, err
	}
	q.AfterProject, q.AfterName, q.Limit = page.after[0], page.after[1], page.size+1
	keys, err := t.Keys.Keys(ctx, q)
	if err != nil {
		return nil, t.Away(err)
	}
	out := &weirv1.ListKeysResponse{}
	if len(keys) > page.size {
		keys = keys[:page.size]
		last := keys[page.size-1]
		if out.NextPageToken, err = page.token(last.Project, last.Name); err != nil {
			return nil, err
		}
	}
	for _, k := range keys {
		out.Keys = append(out.Keys, apiKey(k))
	}
	return out, nil
}

// RevokeKey ends a key.
func (t *Tenants) RevokeKey(ctx context.Context, req *weirv1.RevokeKeyRequest) (*weirv1.RevokeKeyResponse, error) {
	key, err := t.change(ctx, req, "revoke", func(key auth.Key, by auth.Author) (auth.Key, error) {
		if key.Role == auth.Platform && by.IsPlatform() && key.Name == by.Key {
			return key, &face.StateError{Why: fmt.Sprintf("%s cannot end itself, lest the platform is left without a key: make another one, and revoke it with that", keyName(key))}
		}
		if key.Revoked.IsZero() {
			key.Revoked = by.At
		}
		return key, nil
	})
	if err != nil {
		return nil, err
	}
	return &weirv1.RevokeKeyResponse{Key: apiKey(key)}, nil
}

// RotateKey gives a key a new secret, which is in the answer and nowhere else.
func (t *Tenants) RotateKey(ctx context.Context, req *weirv1.RotateKeyRequest) (*weirv1.RotateKeyResponse, error) {
	overlap := defaultOverlap
	if req.Overlap != nil {
		overlap = req.GetOverlap().AsDuration()
	}
	secret := auth.NewSecret()
	key, err := t.change(ctx, req, "rotate", func(key auth.Key, by auth.Author) (auth.Key, error) {
		now := by.At
		if !key.Revoked.IsZero() || !key.Expires.IsZero() && !now.Before(key.Expires) {
			return key, &face.StateError{Why: fmt.Sprintf("%s has ended, and a new secret would not bring it back: make another key", keyName(key))}
		}
		key.OldHash, key.OldUntil, key.Hash = key.Hash, now.Add(overlap), auth.Hash(secret)
		return key, nil
	})
	if err != nil {
		return nil, err
	}
	return &weirv1.RotateKeyResponse{Key: apiKey(key), Secret: secret}, nil
}

// change changes the key that a request names, and returns when this replica
// goes by it.
func (t *Tenants) change(ctx context.Context, req interface {
	GetName() string
	GetEtag() string
}, action string, to func(key auth.Key, by auth.Author) (auth.Key, error)) (auth.Key, error) {
	by, err := authorOf(ctx, t.Now)
	if err != nil {
		return auth.Key{}, err
	}
	name := req.GetName()
	tenant, project, id := keyOf(name)
	if err := t.mayChange(by.Caller, tenant, keyType, name, action+" keys"); err != nil {
		return auth.Key{}, err
	}
	by.At = by.At.Truncate(time.Microsecond) // as it is kept, so that the etag is the same when it is read
	key, err := t.Keys.ChangeKey(ctx, tenant, project, id, by, action, func(key auth.Key) (auth.Key, error) {
		if tag := req.GetEtag(); tag != "" && tag != keyTag(key) {
			return key, &face.ChangedError{Resource: face.Resource{Type: keyType, Name: name}}
		}
		return to(key, by)
	})
	if errors.Is(err, auth.ErrNoKey) {
		return auth.Key{}, missing(keyType, name)
	}
	if err == nil {
		err = t.Live.Refresh(ctx)
	}
	return key, t.Away(err)
}

func keyName(k auth.Key) string {
	if k.Tenant == "" {
		return "keys/" + k.Name
	}
	return fmt.Sprintf("tenants/%s/projects/%s/keys/%s", k.Tenant, k.Project, k.Name)
}

// keyTag is the etag of a key. It tells nothing of what it is made of.
func keyTag(k auth.Key) string {
	sum := sha256.Sum256(fmt.Append(nil, k.Role, k.Hash, k.Created.UnixMicro(), unixMicro(k.Expires), unixMicro(k.Revoked), unixMicro(k.OldUntil)))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

func unixMicro(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// apiKey is a key as weir.v1 tells it.
func apiKey(k auth.Key) *weirv1.Key {
	out := &weirv1.Key{
		Name: keyName(k), CreateTime: timestamp(k.Created), ExpireTime: timestamp(k.Expires), RevokeTime: timestamp(k.Revoked),
		OldSecretExpireTime: timestamp(k.OldUntil), Etag: keyTag(k),
	}
	for role, is := range keyRoles {
		if is == k.Role {
			out.Role = role
		}
	}
	return out
}

// timestamp is a moment as weir.v1 tells it, absent where there is none.
func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
