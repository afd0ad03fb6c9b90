package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"
	"time"
)

func keysWith(k Key, now time.Time) *Keys {
	return &Keys{
		Lookup: func(_ context.Context, hash [sha256.Size]byte) (Key, error) {
			if hash != k.Hash {
				return Key{}, ErrNoKey
			}
			return k, nil
		},
		Now: func() time.Time { return now },
	}
}

func TestAuthenticate(t *testing.T) {
	now := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	secret := NewSecret()
	good := Key{Tenant: "acme", Project: "default", Name: "k1", Role: Member, Hash: Hash(secret)}
	expired, revoked := good, good
	expired.Expires = now
	revoked.Revoked = now.Add(-time.Hour)
	for name, c := range map[string]struct {
		key    Key
		secret string
		why    string // "" where the caller is let in
	}{
		"good":    {good, secret, ""},
		"none":    {good, "", "no API key"},
		"other":   {good, NewSecret(), "unknown API key"},
		"expired": {expired, secret, "expired at 2026-01-02"},
		"revoked": {revoked, secret, "was revoked"},
	} {
		caller, err := keysWith(c.key, now).Authenticate(context.Background(), c.secret)
		var invalid *InvalidError
		switch {
		case c.why == "" && (err != nil || caller != Caller{"acme", "default", "k1", Member}):
			t.Errorf("%s: %+v %v", name, caller, err)
		case c.why != "" && (!errors.As(err, &invalid) || !strings.Contains(err.Error(), c.why)):
			t.Errorf("%s: %v, want %q", name, err, c.why)
		case err != nil && c.secret != "" && strings.Contains(err.Error(), c.secret):
			t.Errorf("%s: the error holds the secret", name)
		}
	}
}

func TestAStoreThatFailsIsNoWrongKey(t *testing.T) {
	k := &Keys{Lookup: func(context.Context, [sha256.Size]byte) (Key, error) { return Key{}, errors.New("away") }, Now: time.Now}
	_, err := k.Authenticate(context.Background(), "x")
	var invalid *InvalidError
	if err == nil || errors.As(err, &invalid) {
		t.Errorf("%v", err)
	}
}

func TestSecretsDiffer(t *testing.T) {
	a, b := NewSecret(), NewSecret()
	if a == b || !strings.HasPrefix(a, "weir_") || len(a) < 40 || CheckSecret(a) != nil {
		t.Errorf("%q %q", a, b)
	}
	for _, bad := range []string{"short", "with a space in the middle of it", " leading white space is a typo"} {
		if CheckSecret(bad) == nil {
			t.Errorf("%q passes", bad)
		}
	}
}

func TestBearer(t *testing.T) {
	for header, want := range map[string]string{"Bearer abc": "abc", "bearer  abc ": "abc", "Basic abc": "", "abc": "", "": ""} {
		if got := Bearer(header); got != want {
			t.Errorf("%q gives %q, want %q", header, got, want)
		}
	}
}

func TestRoles(t *testing.T) {
	if _, err := ParseRole("platform"); err == nil {
		t.Error("a tenant's key can be the platform's")
	}
	if r, err := ParseRole("admin"); r != Admin || err != nil {
		t.Errorf("%v %v", r, err)
	}
}

// The secret before a rotation ends with its overlap, and never after its key.
func TestTheOldSecretEnds(t *testing.T) {
	at := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct{ expires, want time.Time }{
		{time.Time{}, at}, {at.Add(time.Hour), at}, {at.Add(-time.Hour), at.Add(-time.Hour)},
	} {
		k := Key{Hash: Hash("new"), OldHash: Hash("old"), OldUntil: at, Expires: c.expires}
		if old := k.Old(); old.Hash != k.OldHash || !old.Expires.Equal(c.want) {
			t.Errorf("of a key that ends at %s: %+v", c.expires, old)
		}
	}
}

func TestWhatRolesMay(t *testing.T) {
	for role, want := range map[Role][4]bool{
		Platform: {false, true, true, true},
		Admin:    {true, true, true, true},
		Member:   {true, false, false, false},
		Viewer:   {false, false, true, true},
		Billing:  {false, false, false, true},
		"":       {},
	} {
		if got := [4]bool{role.Calls(), role.Configures(), role.Inspects(), role.Accounts()}; got != want {
			t.Errorf("%q: %v, want %v", role, got, want)
		}
	}
}
