package storetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-gateway/weir/accounting/ledger"
	"github.com/weir-gateway/weir/server/admin"
	"github.com/weir-gateway/weir/server/auth"
	"github.com/weir-gateway/weir/server/store"
)

// author makes all changes of these tests.
var author = auth.Author{Caller: auth.Caller{Tenant: "acme", Project: "default", Key: "boss", Role: auth.Admin}, RequestID: "r1", At: start}

func document(kind, tenant, name, body string) admin.Document {
	return admin.Document{Kind: kind, Tenant: tenant, Name: name, Body: body}
}

func create(d admin.Document) admin.Change { return admin.Change{Action: admin.Create, Document: d} }

func apply(t *testing.T, s *store.Store, changes ...admin.Change) int64 {
	t.Helper()
	base, err := s.Revision(t.Context())
	must(t, err)
	revision, err := s.Apply(t.Context(), base, changes, author)
	must(t, err)
	return revision
}

func revisionIs(t *testing.T, s *store.Store, want int64) {
	t.Helper()
	if got, err := s.Revision(t.Context()); err != nil || got != want {
		t.Errorf("revision %d, %v; want %d", got, err, want)
	}
}

func applyRevision(t *testing.T, open Opener) {
	s := one(t, open)
	revisionIs(t, s, 0)
	a, b := document("Tenant", "", "acme", "a: ü"), document("Budget", "acme", "cap", "b")
	if got := apply(t, s, create(b), create(a)); got != 1 {
		t.Errorf("revision %d after the first apply", got)
	}
	b.Body = "b2"
	if got := apply(t, s, admin.Change{Action: admin.Update, Document: b}); got != 2 {
		t.Errorf("revision %d after the second apply", got)
	}
	list, revision, err := s.Documents(t.Context())
	must(t, err)
	a.Revision, b.Revision = 1, 2
	if want := []admin.Document{b, a}; !reflect.DeepEqual(list, want) || revision != 2 {
		t.Errorf("documents %+v at %d; want %+v at 2", list, revision, want)
	}
	if got, err := s.Apply(t.Context(), 2, nil, author); err != nil || got != 2 {
		t.Errorf("nothing to apply: revision %d, %v", got, err)
	}
	if _, err := s.Apply(t.Context(), 1, nil, author); !errors.Is(err, admin.ErrConflict) {
		t.Errorf("nothing to apply on an old base: %v", err)
	}
	revisionIs(t, s, 2)
	if got := apply(t, s, admin.Change{Action: admin.Delete, Document: b}); got != 3 {
		t.Errorf("revision %d after a delete", got)
	}
	if list, _, err := s.Documents(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("%d documents after a delete, %v", len(list), err)
	}
}

func applyAllOrNothing(t *testing.T, open Opener) {
	s := one(t, open)
	a := document("Tenant", "", "acme", "a")
	apply(t, s, create(a))
	for name, wrong := range map[string]admin.Change{
		"creates what is there":     create(a),
		"updates what is not there": {Action: admin.Update, Document: document("Tenant", "", "other", "")},
		"deletes what is not there": {Action: admin.Delete, Document: document("Tenant", "", "other", "")},
		"has no action":             {Document: document("Tenant", "", "other", "")},
	} {
		if _, err := s.Apply(t.Context(), 1, []admin.Change{create(document("Budget", "acme", "cap", "")), wrong}, author); err == nil {
			t.Errorf("a change that %s was applied", name)
		}
	}
	if _, err := s.Apply(t.Context(), 0, []admin.Change{create(document("Budget", "acme", "cap", ""))}, author); !errors.Is(err, admin.ErrConflict) {
		t.Errorf("applied on an old base: %v", err)
	}
	if list, revision, err := s.Documents(t.Context()); err != nil || len(list) != 1 || revision != 1 {
		t.Errorf("%d documents at revision %d, %v; want what was there before", len(list), revision, err)
	}
}

func applyRace(t *testing.T, open Opener) {
	list := replicas(t, open, 2)
	for round := range int64(5) {
		var won atomic.Int64
		var group sync.WaitGroup
		for i := range 8 {
			s := list[i%len(list)]
			group.Go(func() {
				_, err := s.Apply(t.Context(), round, []admin.Change{create(document("Budget", "acme", fmt.Sprintf("%d-%d", round, i), ""))}, author)
				if err == nil {
					won.Add(1)
				} else if !errors.Is(err, admin.ErrConflict) {
					t.Errorf("apply: %v", err)
				}
			})
		}
		group.Wait()
		if won.Load() != 1 {
			t.Fatalf("%d applies won on base %d", won.Load(), round)
		}
	}
	revisionIs(t, list[0], 5)
}

// consistentDocuments reads while each apply rewrites all documents.
func consistentDocuments(t *testing.T, open Opener) {
	s := one(t, open)
	const rounds = 30
	rewrite := func(action admin.Action, revision int64) []admin.Change {
		var changes []admin.Change
		for i := range 5 {
			changes = append(changes, admin.Change{Action: action, Document: document("Budget", "acme", fmt.Sprint(i), fmt.Sprint(revision))})
		}
		return changes
	}
	apply(t, s, rewrite(admin.Create, 1)...)
	var writer sync.WaitGroup
	done := make(chan struct{})
	writer.Go(func() {
		defer close(done)
		for base := range int64(rounds) {
			if _, err := s.Apply(t.Context(), base+1, rewrite(admin.Update, base+2), author); err != nil {
				t.Errorf("apply: %v", err)
			}
		}
	})
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		list, revision, err := s.Documents(t.Context())
		must(t, err)
		for _, d := range list {
			if d.Body != fmt.Sprint(revision) || d.Revision != revision {
				t.Fatalf("document %+v in a read at revision %d", d, revision)
			}
		}
	}
	writer.Wait()
}

func apiKey(tenant, project, name string, role auth.Role) auth.Key {
	return auth.Key{Tenant: tenant, Project: project, Name: name, Role: role, Hash: auth.Hash(tenant + "/" + project + "/" + name), Created: start}
}

func keyByHash(t *testing.T, open Opener) {
	s := one(t, open)
	apply(t, s, create(document("Tenant", "", "acme", "")))
	key := apiKey("acme", "default", "k1", auth.Member)
	if _, err := s.KeyByHash(t.Context(), key.Hash); !errors.Is(err, auth.ErrNoKey) {
		t.Errorf("a key that is not there: %v", err)
	}
	must(t, s.CreateKey(t.Context(), key, author))
	revisionIs(t, s, 2)
	if got, err := s.KeyByHash(t.Context(), key.Hash); err != nil || got != key {
		t.Errorf("key %+v, %v; want %+v", got, err, key)
	}
	ended := apiKey("acme", "default", "k2", auth.Admin)
	ended.Expires, ended.Revoked = start.Add(time.Hour), start.Add(time.Minute)
	must(t, s.CreateKey(t.Context(), ended, author))
	if got, err := s.KeyByHash(t.Context(), ended.Hash); err != nil || got != ended {
		t.Errorf("key %+v, %v; want %+v", got, err, ended)
	}

	again := key
	again.Hash = auth.Hash("another secret")
	if err := s.CreateKey(t.Context(), again, author); !errors.Is(err, auth.ErrKeyExists) {
		t.Errorf("a second key of one name: %v", err)
	}
	again.Name, again.Hash = "k3", key.Hash
	if err := s.CreateKey(t.Context(), again, author); err == nil || errors.Is(err, auth.ErrKeyExists) {
		t.Errorf("a second key of one secret: %v", err)
	}
	revisionIs(t, s, 3)
}

func keyNeedsProject(t *testing.T, open Opener) {
	s := one(t, open)
	apply(t, s, create(document("Tenant", "", "acme", "")), create(document("Project", "acme", "search", "")), create(document("Tenant", "", "other", "")))
	for _, c := range []struct {
		key  auth.Key
		want error
	}{
		{apiKey("acme", "default", "k", auth.Member), nil},
		{apiKey("acme", "search", "k", auth.Member), nil},
		{apiKey("acme", "nowhere", "k", auth.Member), auth.ErrNoProject},
		{apiKey("other", "search", "k", auth.Member), auth.ErrNoProject},
		{apiKey("nobody", "default", "k", auth.Member), auth.ErrNoProject},
		{apiKey("", "", "k", auth.Member), auth.ErrNoProject},
		{apiKey("nobody", "default", "k", auth.Platform), auth.ErrNoProject},
		{apiKey("", "", "k", auth.Platform), nil},
	} {
		if err := s.CreateKey(t.Context(), c.key, author); !errors.Is(err, c.want) {
			t.Errorf("key for %q/%q as %s: %v; want %v", c.key.Tenant, c.key.Project, c.key.Role, err, c.want)
		}
	}
}

func firstKey(t *testing.T, open Opener) {
	list := replicas(t, open, 2)
	apply(t, list[0], create(document("Tenant", "", "acme", "")))
	must(t, list[0].CreateKey(t.Context(), apiKey("acme", "default", "k", auth.Admin), author))
	var made atomic.Int64
	var group sync.WaitGroup
	for i := range 8 {
		s := list[i%len(list)]
		group.Go(func() {
			ok, err := s.FirstKey(t.Context(), apiKey("", "", fmt.Sprintf("admin-%d", i), auth.Platform))
			if err != nil {
				t.Errorf("first key: %v", err)
			}
			if ok {
				made.Add(1)
			}
		})
	}
	group.Wait()
	if made.Load() != 1 {
		t.Errorf("%d first keys", made.Load())
	}
	revisionIs(t, list[0], 3)
}

func manyOpen(t *testing.T, open Opener) {
	var group sync.WaitGroup
	opened := make(chan *store.Store, 6)
	for range cap(opened) {
		group.Go(func() {
			s, err := open(t.Context())
			if errors.Is(err, store.ErrInUse) {
				if !strings.Contains(err.Error(), "another weir runs on ") {
					t.Errorf("the refusal does not say which directory: %v", err)
				}
				return
			}
			if err != nil {
				t.Errorf("open: %v", err)
				return
			}
			opened <- s
		})
	}
	group.Wait()
	close(opened)
	if len(opened) == 0 {
		t.Error("nobody opened the database")
	}
	for s := range opened {
		revisionIs(t, s, 0)
		must(t, s.Ping(t.Context()))
		must(t, s.Shutdown())
		if err := s.Ping(t.Context()); err == nil {
			t.Error("a store that was shut down answers")
		}
	}
}

func restart(t *testing.T, open Opener) {
	s, err := open(t.Context())
	must(t, err)
	apply(t, s, create(document("Tenant", "", "acme", "")))
	w := window("w", 10)
	take(t, s, 1, w, 4)
	must(t, s.Shutdown())
	s = one(t, open)
	revisionIs(t, s, 1)
	expect(t, s, "w", 0, 4, 0)
	write(t, s, entry("call", 1, w, 2))
	// A caller that has gone cannot be served.
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Write(gone, []ledger.Entry{entry("gone", 1, w, 1)}); !errors.Is(err, context.Canceled) {
		t.Errorf("written for a caller that has gone: %v", err)
	}
	expect(t, s, "w", 2, 2, 0)
}
