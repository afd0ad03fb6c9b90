package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/weir-gateway/weir/server/admin"
	"github.com/weir-gateway/weir/server/auth"
)

// longText is from how many bytes on the audit log has the hash of a text in
// its place.
const longText = 64 << 10

// writeEvent keeps an event, in the transaction of its change.
func writeEvent(ctx context.Context, tx *sql.Tx, e admin.Event) error {
	_, err := exec(ctx, tx, `INSERT INTO audit (revision, number, made, author_tenant, author_project, author_key, author_role, request_id, action, kind, tenant, name, before_text, after_text)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
		e.Revision, e.Number, micros(e.At), e.Author.Tenant, e.Project, e.Key, string(e.Role), e.RequestID, e.Action, e.Kind, e.Tenant, e.Name, short(e.Before), short(e.After))
	return err
}

func short(text string) string {
	if len(text) <= longText {
		return text
	}
	return fmt.Sprintf("sha256:%x (%d bytes)", sha256.Sum256([]byte(text)), len(text))
}

// keyEvent is the event of a key's change; old is zero where the key is new.
func keyEvent(revision int64, by auth.Author, action string, old, key auth.Key) admin.Event {
	e := admin.Event{
		Position: admin.Position{Revision: revision, Number: 1}, Author: by, Action: action,
		Kind: "Key", Tenant: key.Tenant, Name: strings.TrimPrefix(key.Project+"/"+key.Name, "/"), After: keyText(key),
	}
	if old.Name != "" {
		e.Before = keyText(old)
	}
	return e
}

// keyText is all of a key that is no secret.
func keyText(key auth.Key) string {
	text := fmt.Sprintf("role: %s\n", key.Role)
	for _, at := range []struct {
		name string
		time time.Time
	}{{"expires", key.Expires}, {"revoked", key.Revoked}, {"old_secret_until", key.OldUntil}} {
		if !at.time.IsZero() {
			text += at.name + ": " + at.time.UTC().Format(time.RFC3339Nano) + "\n"
		}
	}
	return text
}

// Events implements admin.Store.
func (s *Store) Events(ctx context.Context, q admin.EventQuery) (list []admin.Event, err error) {
	where, args := []string{"TRUE"}, []any{q.Limit}
	arg := func(v any) string {
		args = append(args, v)
		return fmt.Sprintf("$%d", len(args))
	}
	if !q.All {
		where = append(where, "tenant = "+arg(q.Tenant))
	}
	if q.Before != (admin.Position{}) {
		where = append(where, "(revision, number) < ("+arg(q.Before.Revision)+", "+arg(q.Before.Number)+")")
	}
	query := `SELECT revision, number, made, author_tenant, author_project, author_key, author_role, request_id, action, kind, tenant, name, before_text, after_text
		FROM audit WHERE ` + strings.Join(where, " AND ") + ` ORDER BY revision DESC, number DESC LIMIT $1`
	err = s.read(ctx, func(ctx context.Context, tx *sql.Tx) error {
		list = nil
		return rows(ctx, tx, query, args, func(r *sql.Rows) error {
			var e admin.Event
			var made int64
			err := r.Scan(&e.Revision, &e.Number, &made, &e.Author.Tenant, &e.Project, &e.Key, &e.Role, &e.RequestID, &e.Action, &e.Kind, &e.Tenant, &e.Name, &e.Before, &e.After)
			e.At = timeOf(made)
			list = append(list, e)
			return err
		})
	})
	return list, err
}
