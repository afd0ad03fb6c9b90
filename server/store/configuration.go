package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/weir-gateway/weir/server/admin"
	"github.com/weir-gateway/weir/server/auth"
)

// Apply implements admin.Store.
func (s *Store) Apply(ctx context.Context, base int64, changes []admin.Change, by auth.Author) (revision int64, err error) {
	err = s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if revision, err = bump(ctx, tx); err != nil {
			return err
		}
		if revision != base+1 {
			return admin.ErrConflict
		}
		for i, c := range changes {
			event := admin.Event{Position: admin.Position{Revision: revision, Number: int64(i + 1)}, Author: by}
			if err := applyChange(ctx, tx, c, event); err != nil {
				return err
			}
		}
		if len(changes) == 0 {
			return errNothing
		}
		return nil
	})
	if errors.Is(err, errNothing) {
		return base, nil
	}
	if err != nil {
		return 0, err
	}
	return revision, nil
}

// errNothing rolls back a bump for which there is no reason.
var errNothing = errors.New("nothing changed")

func applyChange(ctx context.Context, tx *sql.Tx, c admin.Change, event admin.Event) error {
	d := c.Document
	event.Kind, event.Tenant, event.Name, event.After = d.Kind, d.Tenant, d.Name, d.Body
	err := tx.QueryRowContext(ctx, `SELECT body FROM documents WHERE kind = $1 AND tenant = $2 AND name = $3`, d.Kind, d.Tenant, d.Name).Scan(&event.Before)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	var n int64
	var why string
	switch c.Action {
	case admin.Create:
		event.Action = "create"
		why = "it is there already"
		n, err = exec(ctx, tx, `INSERT INTO documents (kind, tenant, name, body, revision) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`, d.Kind, d.Tenant, d.Name, d.Body, event.Revision)
	case admin.Update:
		event.Action = "update"
		why = "it is not there"
		n, err = exec(ctx, tx, `UPDATE documents SET body = $1, revision = $2 WHERE kind = $3 AND tenant = $4 AND name = $5`, d.Body, event.Revision, d.Kind, d.Tenant, d.Name)
	case admin.Delete:
		event.Action, event.After = "delete", ""
		why = "it is not there"
		n, err = exec(ctx, tx, `DELETE FROM documents WHERE kind = $1 AND tenant = $2 AND name = $3`, d.Kind, d.Tenant, d.Name)
	default:
		why = fmt.Sprintf("action %d is none of create, update, delete", c.Action)
	}
	if err == nil && n != 1 {
		err = errors.New(why)
	}
	if err != nil {
		return fmt.Errorf("apply %s %q of tenant %q: %w", d.Kind, d.Name, d.Tenant, err)
	}
	return writeEvent(ctx, tx, event)
}

// Documents implements admin.Store.
func (s *Store) Documents(ctx context.Context) (list []admin.Document, revision int64, err error) {
	err = s.read(ctx, func(ctx context.Context, tx *sql.Tx) error {
		list = nil
		if err := tx.QueryRowContext(ctx, `SELECT value FROM revision WHERE id = 1`).Scan(&revision); err != nil {
			return err
		}
		return rows(ctx, tx, `SELECT kind, tenant, name, body, revision FROM documents ORDER BY kind, tenant, name`, nil, func(r *sql.Rows) error {
			var d admin.Document
			err := r.Scan(&d.Kind, &d.Tenant, &d.Name, &d.Body, &d.Revision)
			list = append(list, d)
			return err
		})
	})
	return list, revision, err
}
