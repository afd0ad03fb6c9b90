package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The tests of this file and its neighbours start the real thing: this test
// binary, run again, is weir.
func TestMain(m *testing.M) {
	if os.Getenv("WEIR_TEST_RUN") != "" {
		main()
	}
	os.Exit(m.Run())
}

// patience is how long a test waits for what must happen, before it gives up.
const patience = time.Minute

// process is a weir serve that runs.
type process struct {
	t     *testing.T
	data  string
	args  []string
	env   []string
	grpc  string
	http  string
	admin string
	cmd   *exec.Cmd
	log   *lockedBuffer
	ended chan error
}

// lockedBuffer gathers what a process prints.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

var readyLine = regexp.MustCompile(`ready: grpc (\S+), http (\S+), admin (\S+)`)

// serve starts weir serve on free ports and waits for its ready line.
func serve(t *testing.T, data string, args ...string) *process {
	t.Helper()
	p := &process{t: t, data: data, args: args}
	p.start()
	t.Cleanup(p.kill)
	return p
}

func (p *process) start() {
	p.t.Helper()
	args := append([]string{"serve", "--data", p.data, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"}, p.args...)
	p.cmd = weirCommand(args...)
	p.cmd.Env = append(p.cmd.Env, p.env...)
	p.log = &lockedBuffer{}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	ready := make(chan []string, 1)
	p.ended = make(chan error, 1)
	cmd, log, ended := p.cmd, p.log, p.ended
	go func() {
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			fmt.Fprintln(log, lines.Text())
			if m := readyLine.FindStringSubmatch(lines.Text()); m != nil {
				ready <- m
			}
		}
		ended <- cmd.Wait()
	}()
	select {
	case m := <-ready:
		p.grpc, p.http, p.admin = m[1], m[2], m[3]
	case err := <-p.ended:
		p.t.Fatalf("weir serve ended before it was ready: %v\n%s", err, p.log)
	case <-time.After(patience):
		p.t.Fatalf("weir serve is not ready after %s:\n%s", patience, p.log)
	}
}

// end sends a signal and returns how the process ended.
func (p *process) end(s syscall.Signal) error {
	p.t.Helper()
	p.cmd.Process.Signal(s)
	select {
	case err := <-p.ended:
		p.ended <- err
		return err
	case <-time.After(patience):
		p.t.Fatalf("weir serve goes on %s after %s:\n%s", patience, s, p.log)
		return nil
	}
}

func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.ended
}

func (p *process) key(name string) string {
	p.t.Helper()
	secret, err := os.ReadFile(filepath.Join(p.data, name))
	if err != nil {
		p.t.Fatal(err)
	}
	return strings.TrimSpace(string(secret))
}

// weirCommand is the command line as its own process.
func weirCommand(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "WEIR_TEST_RUN=1", "WEIR_KEY=", "WEIR_ADDR=", "WEIR_ADMIN_KEY=")
	return cmd
}

// run runs a command against the process, in this one, and returns its exit
// code and what it printed.
func (p *process) run(key, stdin string, args ...string) (code int, stdout, stderr string) {
	return runWith(map[string]string{"WEIR_ADDR": p.grpc, "WEIR_KEY": key}, stdin, args...)
}

func runWith(env map[string]string, stdin string, args ...string) (code int, stdout, stderr string) {
	var out, failed bytes.Buffer
	code = run(context.Background(), args, terminal{
		in: strings.NewReader(stdin), out: &out, err: &failed,
		getenv: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
	})
	return code, out.String(), failed.String()
}

// must runs a command that has to succeed, and decodes its JSON into v where
// there is one.
func (p *process) must(v any, key string, args ...string) string {
	p.t.Helper()
	code, out, failed := p.run(key, "", args...)
	if code != exitOK {
		p.t.Fatalf("weir %s: exit code %d: %s", strings.Join(args, " "), code, failed)
	}
	if v != nil {
		if err := json.Unmarshal([]byte(out), v); err != nil {
			p.t.Fatalf("weir %s: %v in %s", strings.Join(args, " "), err, out)
		}
	}
	return out
}

// apply applies documents as the platform.
func (p *process) apply(documents string) {
	p.t.Helper()
	if code, out, failed := p.run(p.key(adminKeyFile), documents, "apply", "-f", "-"); code != exitOK {
		p.t.Fatalf("weir apply: %d %s %s", code, out, failed)
	}
}

// createKey makes a key of a tenant.
func (p *process) createKey(tenant, name string) string {
	p.t.Helper()
	var made struct{ Key string }
	p.must(&made, p.key(adminKeyFile), "key", "create", "--tenant", tenant, "--name", name, "-o", "json")
	return made.Key
}

type reported struct {
	Rows  []map[string]any
	Total map[string]string
}

func (p *process) report(args ...string) reported {
	p.t.Helper()
	var r reported
	p.must(&r, p.key(adminKeyFile), append([]string{"report", "--since", "1h", "-o", "json"}, args...)...)
	return r
}

// freePort is one that nobody listens on at the moment.
func freePort(t *testing.T) (address string, taken io.Closer) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l.Addr().String(), l
}
