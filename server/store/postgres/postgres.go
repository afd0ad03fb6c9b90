// Package postgres opens the store in a PostgreSQL, which several Weirs share.
// It knows how PostgreSQL is reached, locked and migrated, and what its errors
// mean; what is kept is server/store's business.
package postgres

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/weir-gateway/weir/server/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

// The pool of one Weir. Transactions are short, so more connections would wait
// for each other in the server rather than here.
const (
	connections = 16
	idle        = 8
	lifetime    = 30 * time.Minute
	idleTime    = 5 * time.Minute
	dialTime    = 5 * time.Second
)

// Open opens the store at a URL, such as
// postgres://user:password@host:5432/database?sslmode=verify-full, and brings
// its schema up to date. Several may do that at once. Its errors say what is
// wrong and what to do, and never the password.
func Open(ctx context.Context, url string) (*store.Store, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		// The error of pgx quotes the URL, which is not for a log.
		return nil, errURL
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = dialTime
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "weir"
	}
	db := stdlib.OpenDB(*config)
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(idle)
	db.SetConnMaxLifetime(lifetime)
	db.SetConnMaxIdleTime(idleTime)

	err = db.PingContext(ctx)
	if err == nil {
		err = migrate(ctx, db)
	}
	if err != nil {
		db.Close()
		return nil, explain(config, err)
	}
	return store.New(store.Engine{
		Name: "PostgreSQL", Write: db, Read: db, Arrays: true,
		Copy: copyRows, Conflict: conflict,
		Snapshot: sql.LevelRepeatableRead,
		Clock:    `CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)`,
		ItemSum:  `(SELECT SUM(CAST(item ->> 'amount' AS BIGINT)) FROM jsonb_array_elements(CAST(NULLIF(items, 'null') AS JSONB)) AS list (item))`,
		Collate:  ` COLLATE "C"`,
		MakeDays: func(ctx context.Context, now time.Time) error { return makeDays(ctx, db, now) },
		DropDays: func(ctx context.Context, before time.Time, archive store.Archive) error {
			return dropDays(ctx, db, before, archive)
		},
		Again: again, Class: class, Close: db.Close,
	}), nil
}

// copyRows is store.Engine's Copy.
func copyRows(ctx context.Context, conn *sql.Conn, table string, columns []string, values []any) error {
	width := len(columns)
	return conn.Raw(func(driver any) error {
		_, err := driver.(*stdlib.Conn).Conn().CopyFrom(ctx, pgx.Identifier{table}, columns, pgx.CopyFromSlice(len(values)/width, func(i int) ([]any, error) {
			return values[i*width:][:width], nil
		}))
		return err
	})
}

// migrate lets one process migrate at a time; the others wait, and then find
// nothing to do. The lock is ours: goose takes its own only after it has made
// its table, and asks for it again and again where this waits in the server.
func migrate(ctx context.Context, db *sql.DB) (err error) {
	folder, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	session, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer session.Close()
	if err := lockSchema(ctx, session); err != nil {
		return err
	}
	defer func() {
		// Whatever becomes of ctx; a session that is lost has no lock.
		if e := unlockSchema(context.WithoutCancel(ctx), session); err == nil {
			err = e
		}
	}()
	return store.Migrate(ctx, db, goose.DialectPostgres, folder)
}

// schemaLock names the lock among the database's advisory locks: "weir".
const schemaLock int64 = 0x77656972

func lockSchema(ctx context.Context, session *sql.Conn) error {
	if _, err := session.ExecContext(ctx, `SELECT pg_advisory_lock($1)`, schemaLock); err != nil {
		return fmt.Errorf("lock the schema: %w", err)
	}
	return nil
}

func unlockSchema(ctx context.Context, session *sql.Conn) error {
	if _, err := session.ExecContext(ctx, `SELECT pg_advisory_unlock($1)`, schemaLock); err != nil {
		return fmt.Errorf("unlock the schema: %w", err)
	}
	return nil
}
