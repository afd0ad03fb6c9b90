package admin

import (
	"context"
	"errors"

	"github.com/weir-gateway/weir/server/auth"
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
	// again. Without changes it changes nothing and returns base. Each change
	// leaves an Event of its author.
	Apply(ctx context.Context, base int64, changes []Change, by auth.Author) (revision int64, err error)
	// Revision is cheap: every replica asks for it twice a second. It grows
	// with each change of a document or a key.
	Revision(ctx context.Context) (int64, error)
	// Documents returns all documents, ordered by kind, tenant and name, and
	// the revision at which they stood so, in one consistent read.
	Documents(ctx context.Context) ([]Document, int64, error)
	// Events lists what was changed, newest first.
	Events(ctx context.Context, q EventQuery) ([]Event, error)
}

// An Event is one change of a document or a key. It holds no secret, and no
// hash of one.
type Event struct {
	Position
	auth.Author
	// Action is create, update or delete, of keys also revoke and rotate, and of
	// dead letters replay.
	Action             string
	Kind, Tenant, Name string // of a key the name is project/key
	// Before and After are what was and is kept, or where that is long its
	// SHA-256; empty where there was, or is, nothing.
	Before, After string
}

// A Position is the place of an Event in the audit log.
type Position struct {
	Revision int64 // of the store, at which the change was made
	Number   int64 // from 1 in each revision
}

// An EventQuery asks for a page of the audit log.
type EventQuery struct {
	// Tenant is whose events are wanted; All is those of all, and of the platform.
	Tenant string
	All    bool
	// Before is where the page before has ended, zero for the first.
	Before Position
	Limit  int
}
