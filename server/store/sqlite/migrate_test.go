package sqlite

import (
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/pressly/goose/v3"

	"github.com/weir-gateway/weir/server/store"
)

// TestALateMigrationIsMadeUpFor is a database that a Weir has migrated which
// lacked a migration of a lower number.
func TestALateMigrationIsMadeUpFor(t *testing.T) {
	db, err := pool(filepath.Join(t.TempDir(), "weir.db"), map[string][]string{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	table := func(name string) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte("-- +goose Up\nCREATE TABLE " + name + " (id INTEGER PRIMARY KEY);\n")}
	}
	early := fstest.MapFS{"00001_a.sql": table("a"), "00003_c.sql": table("c")}
	all := fstest.MapFS{"00001_a.sql": table("a"), "00002_b.sql": table("b"), "00003_c.sql": table("c")}
	for _, list := range []fstest.MapFS{early, all, all} {
		if err := store.Migrate(t.Context(), db, goose.DialectSQLite3, list); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.ExecContext(t.Context(), `SELECT a.id, b.id, c.id FROM a, b, c`); err != nil {
		t.Error(err)
	}
	delete(all, "00003_c.sql")
	if err := store.Migrate(t.Context(), db, goose.DialectSQLite3, all); err == nil {
		t.Error("a Weir opens a database that is newer than it knows")
	}
}
