// Package auth turns a credential into a Caller: who is calling, for which
// tenant and project, and what they may do. It knows API keys; it does not
// know what is called, nor what a tenant may spend.
package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
)

// A Role says what a key may do.
type Role string

// The roles.
const (
	// Platform may do everything for every tenant. Its keys belong to no tenant.
	Platform Role = "platform"
	// Admin may change and read what belongs to its tenant, and call models.
	Admin Role = "admin"
	// Member may call models, read its own tenant's costs, and read and rate its
	// outputs.
	Member Role = "member"
	// Viewer may read what its tenant has and what it costs, and call nothing.
	Viewer Role = "viewer"
	// Billing may read its tenant's costs and budgets, and nothing else.
	Billing Role = "billing"
)

// ParseRole reads a tenant's role; Platform cannot be given to a tenant's key.
func ParseRole(s string) (Role, error) {
	switch r := Role(s); r {
	case Admin, Member, Viewer, Billing:
		return r, nil
	}
	return "", fmt.Errorf("%q is not a role: use admin, member, viewer or billing", s)
}

// Calls tells whether a role may call models.
func (r Role) Calls() bool { return r == Admin || r == Member }

// Configures tells whether a role may change what is configured.
func (r Role) Configures() bool { return r == Platform || r == Admin }

// Inspects tells whether a role may read what is configured: projects, keys,
// policies.
func (r Role) Inspects() bool { return r.Configures() || r == Viewer }

// A Caller is who calls, proven by a credential.
type Caller struct {
	Tenant  string // empty for Platform
	Project string
	Key     string // the key's name, never its secret
	Role    Role
}

// IsPlatform tells whether the caller may act for every tenant.
func (c Caller) IsPlatform() bool { return c.Role == Platform }

// Accounts tells whether a role may read budgets.
func (r Role) Accounts() bool { return r.Inspects() || r == Billing }

// Reads tells whether a role may read what calls said.
func (r Role) Reads() bool { return r.Inspects() || r == Member }

// Judges tells whether a role may rate what calls said.
func (r Role) Judges() bool { return r.Configures() || r == Member }

// An Author is who changes what is kept, for the audit log.
type Author struct {
	Caller    // the zero Caller is Weir itself
	RequestID string
	At        time.Time
}

// A Key is an API key as it is kept: by hash, never by secret.
type Key struct {
	Tenant  string
	Project string
	Name    string
	Role    Role
	Hash    [sha256.Size]byte
	Created time.Time
	// Expires and Revoked are zero where the key does not expire or is not revoked.
	Expires time.Time
	Revoked time.Time
	// OldHash is of the secret before the last rotation, which is good until
	// OldUntil; both are zero where the key was never rotated.
	OldHash  [sha256.Size]byte
	OldUntil time.Time
}

// Old returns the key as its secret before the last rotation stands for it.
func (k Key) Old() Key {
	k.Hash = k.OldHash
	if k.Expires.IsZero() || k.OldUntil.Before(k.Expires) {
		k.Expires = k.OldUntil
	}
	return k
}

// A KeyQuery asks for keys of one tenant, by project and name.
type KeyQuery struct {
	Tenant  string
	Project string // empty for all
	Name    string // empty for all
	// AfterProject and AfterName are where the page before has ended, empty for
	// the first.
	AfterProject, AfterName string
	Limit                   int
}

// Store keeps keys. Its methods are safe for concurrent use.
type Store interface {
	// CreateKey keeps a new key and bumps the store's revision. It fails with
	// ErrKeyExists where the tenant's project has a key of that name and with
	// ErrNoProject where there is no such project.
	CreateKey(ctx context.Context, key Key, by Author) error
	// FirstKey keeps key if the store has no platform key yet, and tells
	// whether it did. Of several replicas that start at once, one does.
	FirstKey(ctx context.Context, key Key) (bool, error)
	// KeyByHash finds a key by its secret, or by its Old one, whose Hash the key
	// then has. It fails with ErrNoKey.
	KeyByHash(ctx context.Context, hash [sha256.Size]byte) (Key, error)
	// Keys lists keys, by project and name.
	Keys(ctx context.Context, q KeyQuery) ([]Key, error)
	// ChangeKey keeps what change makes of a key, under a lock, and bumps the
	// store's revision; what names the key stays. Where change returns it as it
	// was nothing happens. It fails with ErrNoKey, or as change does. The action
	// is what the audit log calls the change.
	ChangeKey(ctx context.Context, tenant, project, name string, by Author, action string, change func(Key) (Key, error)) (Key, error)
}

// The errors of a Store and of Authenticate.
var (
	ErrNoKey     = errors.New("no such key")
	ErrKeyExists = errors.New("the project has a key of that name already; choose another name")
	ErrNoProject = errors.New("no such tenant or project; apply a document of kind Tenant or Project first")
)

const secretPrefix = "weir_"

// NewSecret makes a secret of 256 random bits. It is shown once and never kept.
func NewSecret() string {
	var b [32]byte
	rand.Read(b[:]) // never fails, by its documentation
	return secretPrefix + base64.RawURLEncoding.EncodeToString(b[:])
}

// Hash is how a secret is kept and found. A fast hash is enough: secrets are
// 256 random bits, so there is nothing to guess.
func Hash(secret string) [sha256.Size]byte { return sha256.Sum256([]byte(secret)) }

// CheckSecret tells what is wrong with a secret that a person chose, such as
// the one in WEIR_ADMIN_KEY.
func CheckSecret(secret string) error {
	if len(secret) < 24 {
		return errors.New("the key is too short to be safe: use at least 24 characters, such as the output of openssl rand -hex 24")
	}
	if strings.TrimSpace(secret) != secret || strings.ContainsAny(secret, " \t\r\n") {
		return errors.New("the key holds white space")
	}
	return nil
}

// Bearer returns the secret of an Authorization header, or "" where there is none.
func Bearer(header string) string {
	scheme, secret, ok := strings.Cut(header, " ")
	if !ok || !strings.EqualFold(scheme, "bearer") {
		return ""
	}
	return strings.TrimSpace(secret)
}

// Keys finds callers by secret. Lookup is called for each call, so it answers
// from memory where it can.
type Keys struct {
	// Lookup finds a key by the hash of its secret, or fails with ErrNoKey.
	Lookup func(ctx context.Context, hash [sha256.Size]byte) (Key, error)
	Now    func() time.Time
}

// An InvalidError says why a credential was not taken. Its text is for the caller.
type InvalidError struct{ Why string }

func (e *InvalidError) Error() string { return e.Why }

// Authenticate returns who holds the secret. It fails with an *InvalidError,
// or with the error of a store that could not be asked.
func (k *Keys) Authenticate(ctx context.Context, secret string) (Caller, error) {
	if secret == "" {
		return Caller{}, &InvalidError{"no API key: send it as metadata or header `authorization: Bearer KEY`"}
	}
	hash := Hash(secret)
	key, err := k.Lookup(ctx, hash)
	if errors.Is(err, ErrNoKey) || (err == nil && subtle.ConstantTimeCompare(key.Hash[:], hash[:]) != 1) {
		return Caller{}, &InvalidError{"unknown API key: check that it is whole and belongs to this Weir"}
	}
	if err != nil {
		return Caller{}, err
	}
	now := k.Now()
	if !key.Revoked.IsZero() {
		return Caller{}, &InvalidError{fmt.Sprintf("API key %q was revoked: ask your administrator for a new one", key.Name)}
	}
	if !key.Expires.IsZero() && !now.Before(key.Expires) {
		return Caller{}, &InvalidError{fmt.Sprintf("API key %q expired at %s: ask your administrator for a new one", key.Name, key.Expires.UTC().Format(time.RFC3339))}
	}
	return Caller{Tenant: key.Tenant, Project: key.Project, Key: key.Name, Role: key.Role}, nil
}

type callerKey struct{}

// WithCaller returns a context that carries the caller.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// FromContext returns the caller that the chain has authenticated.
func FromContext(ctx context.Context) (Caller, bool) {
	c, ok := ctx.Value(callerKey{}).(Caller)
	return c, ok
}
