package store

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
)

// Migrate brings a database's schema up to the newest of the migrations. The
// caller keeps others from doing it at the same time.
//
// Weirs of the version before run on while it works and after, and may start on
// its result: a migration only adds. One that cannot keep to that says so in
// the table compatibility, and earlier Weirs no longer start.
func Migrate(ctx context.Context, db *sql.DB, dialect goose.Dialect, migrations fs.FS) error {
	// Migrations need not arrive in the order of their numbers.
	p, err := goose.NewProvider(dialect, db, migrations, goose.WithTableName("migrations"), goose.WithDisableGlobalRegistry(true), goose.WithAllowOutofOrder(true))
	if err != nil {
		return err
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("bring the schema up to date: %w", err)
	}
	has, knows, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read the version of the schema: %w", err)
	}
	if has <= knows {
		return nil
	}
	var oldest int64
	if err := db.QueryRowContext(ctx, `SELECT oldest FROM compatibility WHERE id = 1`).Scan(&oldest); err != nil {
		return fmt.Errorf("read which weirs the schema is for: %w", err)
	}
	if oldest > knows {
		return fmt.Errorf("the database has schema version %d, which only a weir that knows version %d can use, and this one knows versions up to %d: start the newer weir that has migrated it, or restore a backup from before", has, oldest, knows)
	}
	return nil
}
