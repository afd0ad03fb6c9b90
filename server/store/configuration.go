package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"

	"github.com/weir-gateway/weir/server/admin"
	"github.com/weir-gateway/weir/server/auth"
)

// Apply implements admin.Store.
func (s *Store) Apply(ctx context.Context, base int64, changes []admin.Change) (revision int64, err error) {
	err = s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if revision, err = bump(ctx, tx); err != nil {
			return err
		}
		if revision != base+1 {
			return admin.ErrConflict
		}
		for _, c := range changes {
			if err := applyChange(ctx, tx, c, revision); err != nil {
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

func applyChange(ctx context.Context, tx *sql.Tx, c admin.Change, revision int64) error {
	d := c.Document
	var n int64
	var err error
	var why string
	switch c.Action {
	case admin.Create:
		why = "it is there already"
		n, err = exec(ctx, tx, `INSERT INTO documents (kind, tenant, name, body, revision) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`, d.Kind, d.Tenant, d.Name, d.Body, revision)
	case admin.Update:
		why = "it is not there"
		n, err = exec(ctx, tx, `UPDATE documents SET body = $1, revision = $2 WHERE kind = $3 AND tenant = $4 AND name = $5`, d.Body, revision, d.Kind, d.Tenant, d.Name)
	case admin.Delete:
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
	return nil
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

// defaultProject is the project that every tenant has without a document.
const defaultProject = "default"

// CreateKey implements auth.Store.
func (s *Store) CreateKey(ctx context.Context, key auth.Key) error {
	return s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		// The lock comes first, so that no tenant goes while its key is made.
		if _, err := bump(ctx, tx); err != nil {
			return err
		}
		if err := checkProject(ctx, tx, key); err != nil {
			return err
		}
		n, err := insertKey(ctx, tx, key)
		if err != nil || n == 1 {
			return err
		}
		var same int
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM keys WHERE tenant = $1 AND project = $2 AND name = $3`, key.Tenant, key.Project, key.Name).Scan(&same); err != nil {
			return err
		}
		if same == 0 {
			return errors.New("another key has that secret already; make a new one")
		}
		return fmt.Errorf("key %q: %w", key.Name, auth.ErrKeyExists)
	})
}

func checkProject(ctx context.Context, tx *sql.Tx, key auth.Key) error {
	if key.Role == auth.Platform && key.Tenant == "" {
		return nil
	}
	var tenants, projects int
	err := tx.QueryRowContext(ctx, `SELECT COUNT(CASE WHEN kind = 'Tenant' AND name = $1 THEN 1 END), COUNT(CASE WHEN kind = 'Project' AND tenant = $1 AND name = $2 THEN 1 END)
		FROM documents WHERE kind IN ('Tenant', 'Project')`, key.Tenant, key.Project).Scan(&tenants, &projects)
	if err != nil {
		return err
	}
	if tenants == 0 || projects == 0 && key.Project != defaultProject {
		return fmt.Errorf("tenant %q, project %q: %w", key.Tenant, key.Project, auth.ErrNoProject)
	}
	return nil
}

// insertKey returns 0 where a key of that name or that secret is there.
func insertKey(ctx context.Context, tx *sql.Tx, key auth.Key) (int64, error) {
	return exec(ctx, tx, `INSERT INTO keys (tenant, project, name, role, hash, created, expires, revoked) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING`,
		key.Tenant, key.Project, key.Name, string(key.Role), key.Hash[:], micros(key.Created), nullMicros(key.Expires), nullMicros(key.Revoked))
}

// FirstKey implements auth.Store.
func (s *Store) FirstKey(ctx context.Context, key auth.Key) (bool, error) {
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		// The lock comes first: who waited for it sees the key of who had it.
		if _, err := bump(ctx, tx); err != nil {
			return err
		}
		var keys int
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM keys WHERE role = $1`, string(auth.Platform)).Scan(&keys); err != nil {
			return err
		}
		if keys > 0 {
			return errNothing
		}
		n, err := insertKey(ctx, tx, key)
		if err == nil && n == 0 {
			err = errors.New("the first key cannot be kept: another key has its name or its secret; choose another secret")
		}
		return err
	})
	if errors.Is(err, errNothing) {
		return false, nil
	}
	return err == nil, err
}

// KeyByHash implements auth.Store.
func (s *Store) KeyByHash(ctx context.Context, hash [sha256.Size]byte) (auth.Key, error) {
	key := auth.Key{Hash: hash}
	var created int64
	var expires, revoked sql.NullInt64
	err := s.engine.Read.QueryRowContext(ctx, `SELECT tenant, project, name, role, created, expires, revoked FROM keys WHERE hash = $1`, hash[:]).
		Scan(&key.Tenant, &key.Project, &key.Name, &key.Role, &created, &expires, &revoked)
	if errors.Is(err, sql.ErrNoRows) {
		return auth.Key{}, auth.ErrNoKey
	}
	if err != nil {
		return auth.Key{}, s.engine.Class(fmt.Errorf("find a key: %w", err))
	}
	key.Created, key.Expires, key.Revoked = timeOf(created), nullTime(expires), nullTime(revoked)
	return key, nil
}
