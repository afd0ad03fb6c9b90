package admin

import (
	"context"
	"errors"
)

// A Document is one document as it is kept.
type Document struct {
	// Kind, Tenant and Name are its identity. Tenant is empty for what belongs
	// to the platform; a document of kind Tenant is found by its Name alone.
	Kind   string
	Tenant string
	Name   string
	// Body is the canonical text as it was applied.
	Body string
	// Revision is the store's revision at which it last changed. Apply sets it.
	Revision int64
}

// An Action is what a Change does.
type Action uint8

// The actions. The zero Action is none of them, and Apply refuses it.
const (
	Create Action = iota + 1 // the document must not be there yet
	Update                   // it must be there
	Delete                   // it must be there; its Body does not matter
)

// A Change is one step of an Apply.
type Change struct {
	Action   Action
	Document Document
}

// ErrConflict says that the store has moved on since the caller read it.
var ErrConflict = errors.New("the configuration was changed by someone else in the meantime; read it again and try once more")

// Store keeps documents of every kind under one integer revision. Its methods
// are safe for concurrent use, by several processes too.
type Store interface {
	// Apply makes all changes or none, in one transaction over all kinds, and
	// bumps the revision by one. It fails with ErrConflict where the store's
	// revision is no longer base; then the caller reads again, and decides
	// again. Without changes it changes nothing and returns base.
	Apply(ctx context.Context, base int64, changes []Change) (revision int64, err error)
	// Revision is cheap: every replica asks for it twice a second. It grows
	// with each change of a document or a key.
	Revision(ctx context.Context) (int64, error)
	// Documents returns all documents, ordered by kind, tenant and name, and
	// the revision at which they stood so, in one consistent read.
	Documents(ctx context.Context) ([]Document, int64, error)
}
