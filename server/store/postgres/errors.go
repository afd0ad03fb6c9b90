package postgres

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/server/store"
)

var errURL = errors.New("the URL of the store cannot be read: write it as postgres://USER:PASSWORD@HOST:5432/DATABASE, with special characters of the password in percent form")

// The codes that are told apart, from PostgreSQL's appendix A.
const (
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
	uniqueViolation      = "23505"
	numericOutOfRange    = "22003"
	invalidPassword      = "28P01"
	invalidAuthorization = "28000"
	noDatabase           = "3D000"
	insufficientRights   = "42501"
	undefinedTable       = "42P01"
	undefinedColumn      = "42703"
)

// again tells whether two transactions got in each other's way. Both codes say
// that nothing of this one was kept.
func again(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && (e.Code == serializationFailure || e.Code == deadlockDetected)
}

// conflict tells whether a row is there already.
func conflict(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.Code == uniqueViolation
}

// class says what an error of PostgreSQL means to a caller.
func class(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	var e *pgconn.PgError
	if errors.As(err, &e) {
		switch {
		case e.Code == numericOutOfRange:
			return fmt.Errorf("%w: %w", accounting.ErrOverflow, err)
		case e.Code == undefinedTable, e.Code == undefinedColumn:
			return fmt.Errorf("the schema is not the one this weir has made; restart weir, and see that no one else changes its tables: %w", err)
		case again(err), transient(e.Code):
			return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
		}
		return err
	}
	if lost(err) {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return err
}

// transient tells the codes of a server that is away or overloaded: broken
// connections (08), no resources (53), operator intervention (57) and errors
// of its machine (58); and a server that is read-only, such as a standby.
func transient(code string) bool {
	switch code[:2] {
	case "08", "53", "57", "58":
		return true
	}
	return code == "25006"
}

// lost tells whether the connection broke or never was.
func lost(err error) bool {
	var connect *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &connect) || errors.As(err, &network) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) || pgconn.SafeToRetry(err)
}

// explain makes one line of why the store did not open, and says what to do.
// It names host, user and database; it never holds the password.
func explain(c *pgx.ConnConfig, err error) error {
	where := fmt.Sprintf("PostgreSQL at %s:%d", c.Host, c.Port)
	var e *pgconn.PgError
	if errors.As(err, &e) {
		switch e.Code {
		case invalidPassword:
			return fmt.Errorf("%s does not accept the password of user %q: correct it in the store's URL (%s)", where, c.User, e.Code)
		case invalidAuthorization:
			return fmt.Errorf("%s does not let user %q in: create the user, or allow it in pg_hba.conf (%s: %s)", where, c.User, e.Code, e.Message)
		case noDatabase:
			return fmt.Errorf("%s has no database %q: make it with createdb %s, or correct the store's URL (%s)", where, c.Database, c.Database, e.Code)
		case insufficientRights:
			return fmt.Errorf("%s: user %q may not make tables in database %q: GRANT CREATE ON SCHEMA public TO %s (%s: %s)", where, c.User, c.Database, c.User, e.Code, e.Message)
		}
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	if lost(err) || errors.Is(err, context.DeadlineExceeded) {
		cause := err
		var connect *pgconn.ConnectError
		if errors.As(err, &connect) && connect.Unwrap() != nil {
			cause = connect.Unwrap()
		}
		return fmt.Errorf("%w: %s does not answer: see that it runs and that host and port are right (%w)", store.ErrUnavailable, where, oneLine{cause})
	}
	return fmt.Errorf("open the store in %s: %w", where, class(err))
}

// oneLine writes an error that lists its causes in one line.
type oneLine struct{ error }

func (e oneLine) Error() string { return strings.Join(strings.Fields(e.error.Error()), " ") }
func (e oneLine) Unwrap() error { return e.error }
