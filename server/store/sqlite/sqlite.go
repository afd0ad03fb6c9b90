// Package sqlite opens the store in one file, for one Weir: the engine when
// one machine is enough. It knows how SQLite is to be opened, locked and
// migrated, and what its errors mean; what is kept is server/store's business.
package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/server/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

// readers is how many reads run at once. They never wait for the writer.
const readers = 4

// Open opens the store in a file, which it makes, with its folder, where it is
// not there. The folder is this process's alone until Shutdown: a second Weir
// on it fails with store.ErrInUse.
func Open(ctx context.Context, path string) (*store.Store, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory: %w; choose another path for the store", err)
	}
	unlock, err := lock(filepath.Join(dir, "lock"))
	if errors.Is(err, store.ErrInUse) {
		return nil, fmt.Errorf("%w: another weir runs on %s; stop it, give this one another directory, or keep both in one PostgreSQL", err, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("lock the data directory: %w; this user must be able to write to %s", err, dir)
	}
	s, err := open(ctx, path, unlock)
	if err != nil {
		return nil, errors.Join(err, unlock())
	}
	return s, nil
}

func open(ctx context.Context, path string, unlock func() error) (*store.Store, error) {
	// SQLite gives its other files the mode of this one; hashes of keys and
	// what tenants spend are nobody else's.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	f.Close()

	// FULL: what was committed survives a power cut. One writer takes its lock
	// at once, so that no transaction finds out half way that it cannot.
	write, err := pool(path, url.Values{"_txlock": {"immediate"}, "_journal_mode": {"WAL"}, "_synchronous": {"FULL"}, "_foreign_keys": {"1"}}, 1)
	if err != nil {
		return nil, err
	}
	read, err := pool(path, url.Values{"_query_only": {"1"}}, readers)
	if err != nil {
		write.Close()
		return nil, err
	}
	closeAll := func() error { return errors.Join(read.Close(), write.Close()) }
	folder, err := fs.Sub(migrations, "migrations")
	if err == nil {
		// No lock of its own: the folder is locked.
		err = store.Migrate(ctx, write, goose.DialectSQLite3, folder)
	}
	if err != nil {
		_ = closeAll() // what failed is told
		return nil, fmt.Errorf("open the store %s: %w", path, class(err))
	}
	return store.New(store.Engine{
		Name: "SQLite", Write: write, Read: read, Grouped: true,
		ItemSum: `(SELECT SUM(json_extract(value, '$.amount')) FROM json_each(items))`,
		Again:   func(error) bool { return false },
		Class:   class,
		Close:   func() error { return errors.Join(closeAll(), unlock()) },
	}), nil
}

func pool(path string, options url.Values, size int) (*sql.DB, error) {
	options.Set("_busy_timeout", "5000")
	options.Set("_dqs", "0")
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: options.Encode()}).String())
	if err != nil {
		return nil, fmt.Errorf("open the store %s: %w", path, err)
	}
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return db, nil
}

// class says what an error of SQLite means to a caller.
func class(err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT:
		return fmt.Errorf("%w: the file is damaged or not a store of weir; restore it from a backup", err)
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("%w: the disk is full: %w", store.ErrUnavailable, err)
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT:
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	case sqlite3.SQLITE_ERROR:
		// SUM says it in words only.
		if e.Error() == "SQL logic error: integer overflow (1)" {
			return fmt.Errorf("%w: %w", accounting.ErrOverflow, err)
		}
	}
	if e.Code() == sqlite3.SQLITE_CONSTRAINT_DATATYPE {
		// Beyond 64 bits SQLite goes on in floating point, which the STRICT
		// tables refuse.
		return fmt.Errorf("%w: %w", accounting.ErrOverflow, err)
	}
	return err
}
