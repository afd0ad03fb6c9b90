package storetest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weir-gateway/weir/server/admin"
	"github.com/weir-gateway/weir/server/auth"
)

func keysInPages(t *testing.T, open Opener) {
	s := one(t, open)
	apply(t, s, create(document("Tenant", "", "acme", "")), create(document("Project", "acme", "search", "")), create(document("Tenant", "", "other", "")))
	for _, k := range []auth.Key{
		apiKey("acme", "search", "a", auth.Member), apiKey("acme", "default", "b", auth.Viewer), apiKey("acme", "default", "a", auth.Billing), apiKey("other", "default", "a", auth.Admin),
	} {
		must(t, s.CreateKey(t.Context(), k, author))
	}
	list := func(q auth.KeyQuery) string {
		t.Helper()
		keys, err := s.Keys(t.Context(), q)
		must(t, err)
		var names []string
		for _, k := range keys {
			if k != apiKey(k.Tenant, k.Project, k.Name, k.Role) {
				t.Errorf("key %+v is not as it was made", k)
			}
			names = append(names, k.Tenant+"/"+k.Project+"/"+k.Name)
		}
		return strings.Join(names, " ")
	}
	for want, q := range map[string]auth.KeyQuery{
		"acme/default/a acme/default/b acme/search/a": {Tenant: "acme", Limit: 9},
		"acme/default/a acme/default/b":               {Tenant: "acme", Limit: 2},
		"acme/search/a":                               {Tenant: "acme", AfterProject: "default", AfterName: "b", Limit: 2},
		"acme/default/a":                              {Tenant: "acme", Project: "default", Name: "a", Limit: 1},
		"":                                            {Tenant: "nobody", Limit: 9},
	} {
		if got := list(q); got != want {
			t.Errorf("keys of %+v are %q, want %q", q, got, want)
		}
	}
}

func keyChanges(t *testing.T, open Opener) {
	s := one(t, open)
	apply(t, s, create(document("Tenant", "", "acme", "")))
	first := apiKey("acme", "default", "k", auth.Member)
	must(t, s.CreateKey(t.Context(), first, author))
	second := auth.Hash("second")
	until := start.Add(time.Hour)
	rotate := func(k auth.Key) (auth.Key, error) {
		k.OldHash, k.OldUntil, k.Hash = k.Hash, until, second
		return k, nil
	}
	rotated, err := s.ChangeKey(t.Context(), "acme", "default", "k", author, "rotate", rotate)
	must(t, err)
	revisionIs(t, s, 3)
	if got, err := s.KeyByHash(t.Context(), second); err != nil || got != rotated || !got.Expires.IsZero() {
		t.Errorf("by the new secret: %+v, %v", got, err)
	}
	if got, err := s.KeyByHash(t.Context(), first.Hash); err != nil || got.Hash != first.Hash || !got.Expires.Equal(until) {
		t.Errorf("by the old secret: %+v, %v", got, err)
	}
	same := func(k auth.Key) (auth.Key, error) { return k, nil }
	if got, err := s.ChangeKey(t.Context(), "acme", "default", "k", author, "revoke", same); err != nil || got != rotated {
		t.Errorf("a change of nothing: %+v, %v", got, err)
	}
	refused := errors.New("refused")
	if _, err := s.ChangeKey(t.Context(), "acme", "default", "k", author, "revoke", func(k auth.Key) (auth.Key, error) { k.Role = auth.Admin; return k, refused }); !errors.Is(err, refused) {
		t.Errorf("a change that is refused: %v", err)
	}
	if _, err := s.ChangeKey(t.Context(), "acme", "default", "none", author, "revoke", same); !errors.Is(err, auth.ErrNoKey) {
		t.Errorf("a key that is not there: %v", err)
	}
	revisionIs(t, s, 3)
	third := auth.Hash("third")
	if _, err := s.ChangeKey(t.Context(), "acme", "default", "k", author, "rotate", func(k auth.Key) (auth.Key, error) {
		k.OldHash, k.OldUntil, k.Hash, k.Revoked = k.Hash, until, third, start
		return k, nil
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.KeyByHash(t.Context(), first.Hash); !errors.Is(err, auth.ErrNoKey) {
		t.Errorf("the secret before the last: %v", err)
	}
	if got, err := s.KeyByHash(t.Context(), second); err != nil || !got.Revoked.Equal(start) {
		t.Errorf("the old secret of a revoked key: %+v, %v", got, err)
	}
}

func auditLog(t *testing.T, open Opener) {
	s := one(t, open)
	base := document("Policy", "acme", "base", "a: 1")
	apply(t, s, create(document("Tenant", "", "acme", "t")), create(base))
	base.Body = strings.Repeat("x", 100_000)
	apply(t, s, admin.Change{Action: admin.Update, Document: base})
	apply(t, s, admin.Change{Action: admin.Delete, Document: admin.Document{Kind: base.Kind, Tenant: base.Tenant, Name: base.Name}})
	key := apiKey("acme", "default", "k", auth.Member)
	must(t, s.CreateKey(t.Context(), key, author))
	_, err := s.ChangeKey(t.Context(), "acme", "default", "k", author, "revoke", func(k auth.Key) (auth.Key, error) { k.Revoked = start; return k, nil })
	must(t, err)
	if _, err := s.FirstKey(t.Context(), apiKey("", "", "admin", auth.Platform)); err != nil {
		t.Fatal(err)
	}
	// What fails leaves no event.
	if err := s.CreateKey(t.Context(), key, author); !errors.Is(err, auth.ErrKeyExists) {
		t.Fatal(err)
	}

	read := func(q admin.EventQuery) (all []admin.Event) {
		t.Helper()
		for {
			page, err := s.Events(t.Context(), q)
			must(t, err)
			if len(page) == 0 {
				return all
			}
			if len(page) > q.Limit {
				t.Fatalf("%d events in a page of %d", len(page), q.Limit)
			}
			all = append(all, page...)
			q.Before = page[len(page)-1].Position
		}
	}
	tell := func(all []admin.Event) string {
		var lines []string
		for _, e := range all {
			lines = append(lines, fmt.Sprintf("%d.%d %s %s %s/%s by %q", e.Revision, e.Number, e.Action, e.Kind, e.Tenant, e.Name, e.Key))
		}
		return strings.Join(lines, "\n")
	}
	all := read(admin.EventQuery{All: true, Limit: 2})
	want := `6.1 create Key /admin by ""
5.1 revoke Key acme/default/k by "boss"
4.1 create Key acme/default/k by "boss"
3.1 delete Policy acme/base by "boss"
2.1 update Policy acme/base by "boss"
1.2 create Policy acme/base by "boss"
1.1 create Tenant /acme by "boss"`
	if got := tell(all); got != want {
		t.Errorf("events are\n%s", got)
	}
	if got, want := tell(read(admin.EventQuery{Tenant: "acme", Limit: 3})), strings.Join(strings.Split(want, "\n")[1:6], "\n"); got != want {
		t.Errorf("events of acme are\n%s", got)
	}
	if e := all[1]; e.Author != author || e.Before != "role: member\n" || !strings.Contains(e.After, "revoked: ") {
		t.Errorf("revoke is %+v", e)
	}
	if e := all[4]; e.Before != "a: 1" || !strings.HasPrefix(e.After, "sha256:") || !strings.HasSuffix(e.After, "(100000 bytes)") {
		t.Errorf("update is %+v", e)
	}
	if e := all[3]; !strings.HasPrefix(e.Before, "sha256:") || e.After != "" {
		t.Errorf("delete is %+v", e)
	}
	if all := fmt.Sprintf("%+v", all); strings.Contains(all, fmt.Sprintf("%x", key.Hash)) || strings.Contains(all, fmt.Sprint(key.Hash)) {
		t.Error("the log has the hash of a secret")
	}
}
