package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"

	"github.com/weir-gateway/weir/server/auth"
)

// defaultProject is the project that every tenant has without a document.
const defaultProject = "default"

// CreateKey implements auth.Store.
func (s *Store) CreateKey(ctx context.Context, key auth.Key, by auth.Author) error {
	return s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		// The lock comes first, so that no tenant goes while its key is made.
		revision, err := bump(ctx, tx)
		if err != nil {
			return err
		}
		if err := checkProject(ctx, tx, key); err != nil {
			return err
		}
		n, err := insertKey(ctx, tx, key)
		if err != nil {
			return err
		}
		if n == 1 {
			return writeEvent(ctx, tx, keyEvent(revision, by, "create", auth.Key{}, key))
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
		revision, err := bump(ctx, tx)
		if err != nil {
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
		if err != nil {
			return err
		}
		return writeEvent(ctx, tx, keyEvent(revision, auth.Author{At: key.Created}, "create", auth.Key{}, key))
	})
	if errors.Is(err, errNothing) {
		return false, nil
	}
	return err == nil, err
}

// keyColumns are those of scanKey.
const keyColumns = `tenant, project, name, role, hash, created, expires, revoked, old_hash, old_until`

func scanKey(scan func(...any) error) (auth.Key, error) {
	var key auth.Key
	var created int64
	var expires, revoked, oldUntil sql.NullInt64
	var hash, oldHash []byte
	err := scan(&key.Tenant, &key.Project, &key.Name, &key.Role, &hash, &created, &expires, &revoked, &oldHash, &oldUntil)
	if err != nil {
		return auth.Key{}, err
	}
	copy(key.Hash[:], hash)
	copy(key.OldHash[:], oldHash)
	key.Created, key.Expires, key.Revoked, key.OldUntil = timeOf(created), nullTime(expires), nullTime(revoked), nullTime(oldUntil)
	return key, nil
}

// KeyByHash implements auth.Store.
func (s *Store) KeyByHash(ctx context.Context, hash [sha256.Size]byte) (auth.Key, error) {
	key, err := scanKey(s.engine.Read.QueryRowContext(ctx, `SELECT `+keyColumns+` FROM keys WHERE hash = $1 OR old_hash = $1`, hash[:]).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return auth.Key{}, auth.ErrNoKey
	}
	if err != nil {
		return auth.Key{}, s.engine.Class(fmt.Errorf("find a key: %w", err))
	}
	if key.Hash != hash {
		return key.Old(), nil
	}
	return key, nil
}

// Keys implements auth.Store.
func (s *Store) Keys(ctx context.Context, q auth.KeyQuery) (list []auth.Key, err error) {
	err = s.read(ctx, func(ctx context.Context, tx *sql.Tx) error {
		list = nil
		return rows(ctx, tx, `SELECT `+keyColumns+` FROM keys WHERE tenant = $1 AND ($2 = '' OR project = $2) AND ($3 = '' OR name = $3) AND (project, name) > ($4, $5)
			ORDER BY project, name LIMIT $6`, []any{q.Tenant, q.Project, q.Name, q.AfterProject, q.AfterName, q.Limit}, func(r *sql.Rows) error {
			key, err := scanKey(r.Scan)
			list = append(list, key)
			return err
		})
	})
	return list, err
}

// ChangeKey implements auth.Store.
func (s *Store) ChangeKey(ctx context.Context, tenant, project, name string, by auth.Author, action string, change func(auth.Key) (auth.Key, error)) (key auth.Key, err error) {
	err = s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		revision, err := bump(ctx, tx)
		if err != nil {
			return err
		}
		old, err := scanKey(tx.QueryRowContext(ctx, `SELECT `+keyColumns+` FROM keys WHERE tenant = $1 AND project = $2 AND name = $3`, tenant, project, name).Scan)
		if errors.Is(err, sql.ErrNoRows) {
			return auth.ErrNoKey
		}
		if err != nil {
			return err
		}
		if key, err = change(old); err != nil {
			return err
		}
		if key == old {
			return errNothing
		}
		var oldHash []byte
		if !key.OldUntil.IsZero() {
			oldHash = key.OldHash[:]
		}
		_, err = exec(ctx, tx, `UPDATE keys SET role = $1, hash = $2, expires = $3, revoked = $4, old_hash = $5, old_until = $6 WHERE tenant = $7 AND project = $8 AND name = $9`,
			string(key.Role), key.Hash[:], nullMicros(key.Expires), nullMicros(key.Revoked), oldHash, nullMicros(key.OldUntil), tenant, project, name)
		if err != nil {
			return err
		}
		return writeEvent(ctx, tx, keyEvent(revision, by, action, old, key))
	})
	if errors.Is(err, errNothing) {
		err = nil
	}
	return key, err
}
