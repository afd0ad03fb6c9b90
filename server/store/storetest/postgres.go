package storetest

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	embedded "github.com/fergusstrange/embedded-postgres"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"go.uber.org/goleak"
)

// serverVariable names a PostgreSQL in which tests may make databases.
const serverVariable = "WEIR_TEST_POSTGRES"

// One server serves all tests of a binary; Main stops it.
var server struct {
	once sync.Once
	url  *url.URL
	err  error
	stop func()
	// crash is nil where the server is not ours.
	crash func() error
}

var databases atomic.Int64

// Postgres returns the URL of a fresh, empty database in a real PostgreSQL,
// which is dropped when the test ends. The server is the one that
// WEIR_TEST_POSTGRES names, or one that is started for this test binary, whose
// TestMain must then call Main.
func Postgres(t testing.TB) string {
	t.Helper()
	server.once.Do(func() { server.url, server.stop, server.err = startServer() })
	if server.err != nil {
		t.Fatalf("no PostgreSQL to test against: %v\ninstall one (apt-get install postgresql, brew install postgresql), or set %s to the URL of a server where databases can be made", server.err, serverVariable)
	}
	name := fmt.Sprintf("weir_test_%d_%d", os.Getpid(), databases.Add(1))
	// A collation that is not that of bytes shows who forgot to ask for it.
	const foreign = ` TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LOCALE 'C' ENCODING 'UTF8'`
	if err := command(`CREATE DATABASE ` + name + foreign); err != nil {
		if err := command(`CREATE DATABASE ` + name + ` ENCODING 'UTF8' TEMPLATE template0`); err != nil {
			t.Fatalf("make a database for the test: %v", err)
		}
	}
	t.Cleanup(func() {
		if err := command(`DROP DATABASE ` + name + ` WITH (FORCE)`); err != nil {
			t.Errorf("drop the database of the test: %v", err)
		}
	})
	u := *server.url
	u.Path = "/" + name
	return u.String()
}

// Crash ends the server as a power cut would, and returns when it has started
// again and answers: sessions are lost, and so are commits that the session did
// not wait for (synchronous_commit=off, which holds where nothing else is said).
// It returns false where the server is not ours to end.
func Crash(ctx context.Context) (bool, error) {
	if server.crash == nil {
		return false, nil
	}
	before, err := startedAt(ctx)
	if err != nil {
		return false, err
	}
	if err := server.crash(); err != nil {
		return false, err
	}
	for {
		now, err := startedAt(ctx)
		if err == nil && !now.Equal(before) {
			return true, nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return false, fmt.Errorf("the server has not started again: %w", errors.Join(ctx.Err(), err))
		}
	}
}

func startedAt(ctx context.Context) (at time.Time, err error) {
	db, err := sql.Open("pgx", server.url.String())
	if err != nil {
		return at, err
	}
	defer db.Close()
	err = db.QueryRowContext(ctx, `SELECT pg_postmaster_start_time()`).Scan(&at)
	return at, err
}

// Main runs the tests of a package that uses Postgres, stops the server and
// looks for goroutines that were left behind. TestMain passes its result to
// os.Exit.
func Main(m *testing.M) int {
	code := m.Run()
	if server.stop != nil {
		server.stop()
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	return code
}

// command runs one statement in the server's own database.
func command(statement string) error {
	config, err := pgx.ParseConfig(server.url.String())
	if err != nil {
		return err
	}
	db := stdlib.OpenDB(*config)
	defer db.Close()
	_, err = db.ExecContext(context.Background(), statement)
	return err
}

func startServer() (*url.URL, func(), error) {
	if given := os.Getenv(serverVariable); given != "" {
		u, err := url.Parse(given)
		if err != nil {
			return nil, nil, fmt.Errorf("%s is not a URL", serverVariable)
		}
		db, err := sql.Open("pgx", given)
		if err != nil {
			return nil, nil, fmt.Errorf("%s is not a URL of PostgreSQL", serverVariable)
		}
		defer db.Close()
		return u, nil, db.Ping()
	}
	bin, err := binaries()
	if err != nil {
		return startEmbedded(err)
	}
	return startInstalled(bin)
}

// binaries finds the folder of an installed server, the newest first.
func binaries() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err
	}
	sort.Slice(found, func(i, j int) bool { // 9 before 15
		return len(found[i]) > len(found[j]) || len(found[i]) == len(found[j]) && found[i] > found[j]
	})
	if path, err := exec.LookPath("initdb"); err == nil {
		found = append(found, path)
	}
	for _, initdb := range found {
		bin := filepath.Dir(initdb)
		if _, err := os.Stat(filepath.Join(bin, "postgres")); err == nil {
			return bin, nil
		}
	}
	return "", errors.New("initdb and postgres are neither in /usr/lib/postgresql/*/bin nor in PATH")
}

// password is that of the servers started here. They listen on the loopback
// only and have nothing to hide, but one test gets it wrong.
const password = "a-secret-of-the-tests"

// keeper runs the server and ends it when its standard input closes: with
// Main, or with this process, however that ends. Nothing is left behind. For
// each line it ends the server at once and starts it again.
const keeper = `dir=$1; shift
"$@" & server=$!
while read -r _; do
	kill -QUIT $server
	wait $server
	"$@" & server=$!
done
kill -INT $server
wait $server
cd / && rm -rf "$dir"`

func startInstalled(bin string) (u *url.URL, stop func(), err error) {
	dir, err := os.MkdirTemp("", "weir-postgres-")
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(dir)
		}
	}()
	secret := filepath.Join(dir, "password")
	if err := os.WriteFile(secret, []byte(password), 0o600); err != nil {
		return nil, nil, err
	}
	// initdb and postgres refuse to run as root.
	attributes, err := lesserUser(dir, secret)
	if err != nil {
		return nil, nil, err
	}
	data := filepath.Join(dir, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "weir", "-A", "scram-sha-256", "--pwfile", secret, "-E", "UTF8", "--no-locale", "--no-sync", "--no-instructions")
	initdb.SysProcAttr, initdb.Dir = attributes, dir
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	// A port that is free now may be taken a moment later.
	for range 5 {
		var port int
		if port, err = freePort(); err != nil {
			return nil, nil, err
		}
		if stop, err = launch(bin, dir, data, port, initdb); err == nil {
			return serverURL(port), stop, nil
		}
	}
	return nil, nil, err
}

func launch(bin, dir, data string, port int, like *exec.Cmd) (func(), error) {
	run := exec.Command("/bin/sh", "-c", keeper, "keeper", dir, filepath.Join(bin, "postgres"), "-D", data,
		"-h", "127.0.0.1", "-p", fmt.Sprint(port), "-k", "", "-F",
		"-c", "full_page_writes=off", "-c", "synchronous_commit=off", "-c", "max_connections=300", "-c", "shared_buffers=64MB", "-c", "log_statement=none")
	run.SysProcAttr, run.Dir = like.SysProcAttr, dir
	run.Env = append(os.Environ(), "LC_ALL=C")
	hold, err := run.StdinPipe()
	if err != nil {
		return nil, err
	}
	log, err := run.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := run.Start(); err != nil {
		return nil, err
	}
	ready, ended := make(chan bool, 1), make(chan struct{})
	var said bytes.Buffer
	go func() {
		defer close(ended)
		lines := bufio.NewScanner(log)
		for lines.Scan() {
			if said.Len() < 1<<16 {
				fmt.Fprintln(&said, lines.Text())
			}
			if strings.Contains(lines.Text(), "ready to accept connections") {
				ready <- true
				break
			}
			if strings.Contains(lines.Text(), "FATAL") {
				ready <- false
				break
			}
		}
		io.Copy(io.Discard, log)
	}()
	stop := func() {
		hold.Close()
		<-ended
		run.Wait()
		os.RemoveAll(dir)
	}
	select {
	case ok := <-ready:
		if ok {
			server.crash = func() error {
				_, err := io.WriteString(hold, "crash\n")
				return err
			}
			return stop, nil
		}
	case <-ended:
	case <-time.After(time.Minute):
	}
	hold.Close()
	<-ended
	run.Wait()
	return nil, fmt.Errorf("the server did not start:\n%s", said.String())
}

func startEmbedded(why error) (*url.URL, func(), error) {
	if os.Geteuid() == 0 {
		return nil, nil, fmt.Errorf("%w, and the embedded one does not run as root", why)
	}
	port, err := freePort()
	if err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp("", "weir-postgres-")
	if err != nil {
		return nil, nil, err
	}
	pg := embedded.NewDatabase(embedded.DefaultConfig().Port(uint32(port)).Username("weir").Password(password).Database("postgres").
		RuntimePath(filepath.Join(dir, "run")).Logger(io.Discard).StartParameters(map[string]string{"fsync": "off", "max_connections": "300"}))
	if err := pg.Start(); err != nil {
		os.RemoveAll(dir)
		return nil, nil, fmt.Errorf("%w, and the embedded one does not start: %w", why, err)
	}
	// It has been downloaded by now, and tests look for goroutines that are left.
	http.DefaultClient.CloseIdleConnections()
	return serverURL(port), func() {
		pg.Stop()
		os.RemoveAll(dir)
	}, nil
}

func serverURL(port int) *url.URL {
	return &url.URL{Scheme: "postgres", User: url.UserPassword("weir", password), Host: fmt.Sprintf("127.0.0.1:%d", port), Path: "/postgres", RawQuery: "sslmode=disable"}
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
