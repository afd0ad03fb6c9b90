package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/weir-gateway/weir/policy/guard"
	"github.com/weir-gateway/weir/server/admin"
	"github.com/weir-gateway/weir/server/auth"
)

const (
	adminKeyFile = "admin.key"
	demoKeyFile  = "demo.key"
)

// demoDocuments is what a Weir without a configuration begins with.
const demoDocuments = `
kind: Tenant
name: demo
---
kind: Price
model: sim-text
currency: USD
effective: 2026-01-01
per_million: {input: 0.50, output: 1.50}
---
kind: Price
model: sim-embed
currency: USD
effective: 2026-01-01
per_million: {input: 0.02}
---
` + guard.DefaultPolicy

// firstKeys makes the platform's key where the store has none, and the tenant
// demo with its key where the store is new and demo is wanted. Of several
// replicas that start at once, one makes them.
func (w *weir) firstKeys(ctx context.Context, data, secret string, demo bool) error {
	if err := w.firstAdminKey(ctx, data, secret); err != nil {
		return err
	}
	if !demo {
		return nil
	}
	if documents, _, err := w.store.Documents(ctx); err != nil || len(documents) > 0 {
		return err
	}
	itself := auth.Author{Caller: auth.Caller{Role: auth.Platform}, At: time.Now()}
	if _, err := w.admin.Apply(ctx, itself, []admin.Source{{Name: "the defaults", Content: demoDocuments}}, false); err != nil {
		return err
	}
	return keepSecret(filepath.Join(data, demoKeyFile), func(secret string) (bool, error) {
		err := w.store.CreateKey(ctx, auth.Key{
			Tenant: "demo", Project: admin.DefaultProject, Name: "demo", Role: auth.Member, Hash: auth.Hash(secret), Created: time.Now(),
		}, itself)
		if errors.Is(err, auth.ErrKeyExists) {
			return false, nil // another replica was faster
		}
		return err == nil, err
	})
}

func (w *weir) firstAdminKey(ctx context.Context, data, secret string) error {
	first := func(secret string) (bool, error) {
		return w.store.FirstKey(ctx, auth.Key{Name: "admin", Role: auth.Platform, Hash: auth.Hash(secret), Created: time.Now()})
	}
	if secret == "" {
		return keepSecret(filepath.Join(data, adminKeyFile), first)
	}
	made, err := first(secret)
	if err != nil || made {
		return err
	}
	if _, err := w.store.KeyByHash(ctx, auth.Hash(secret)); errors.Is(err, auth.ErrNoKey) {
		return usageError(errors.New("WEIR_ADMIN_KEY is not the platform key of this store, which has another one: unset it, or set it to the key that the store was first started with"))
	}
	return err
}

// keepSecret makes a secret and writes it to a file that only its owner can
// read, before it counts: a key that nobody knows would lock everybody out.
func keepSecret(file string, made func(secret string) (bool, error)) error {
	secret := auth.NewSecret()
	draft := file + ".new"
	if err := os.WriteFile(draft, []byte(secret+"\n"), 0o600); err != nil {
		return usageError(fmt.Errorf("cannot write a key to the data folder: %w", err))
	}
	ok, err := made(secret)
	if err != nil || !ok {
		return errors.Join(err, os.Remove(draft))
	}
	return os.Rename(draft, file)
}
