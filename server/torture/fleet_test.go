//go:build torture

package torture

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/weir-gateway/weir/server/store/storetest"
)

// patience is how long a test waits for what must happen, before it gives up.
const patience = time.Minute

// binary is weir, built by TestMain.
var binary string

func TestMain(m *testing.M) {
	if os.Getenv(modelServer) != "" {
		if err := serveModels(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "weir-torture-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "weir")
	build := exec.Command("go", "build", "-o", binary, "../../cmd/weir")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build weir:", err)
		return 1
	}
	return storetest.Main(m)
}

// adminKey is the platform's key of every fleet.
const adminKey = "a-key-of-the-torture-tests-alone"

// fleet is replicas on one PostgreSQL, in front of one server of models.
type fleet struct {
	t        *testing.T
	dir      string
	database string // without a proxy
	models   *models
	replicas []*replica
	key      string // of tenant acme
}

// tenant acme, and what a model costs it by the million tokens.
const tenant = `
kind: Tenant
name: acme
---
kind: Price
model: %s
currency: USD
effective: 2026-01-01
per_million: {%s}
---
`

// startFleet starts replicas under a durability, with documents in force on all
// of them.
func startFleet(t *testing.T, n int, durability, documents string) *fleet {
	t.Helper()
	database, err := url.Parse(storetest.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	// A commit that was told is one that a crash of the server leaves.
	query := database.Query()
	query.Set("synchronous_commit", "on")
	database.RawQuery = query.Encode()
	f := &fleet{t: t, dir: t.TempDir(), database: database.String(), models: startModels(t)}
	config := "durability: " + durability + "\nbackends:\n- {name: far, kind: openai, url: " + f.models.url + "/v1}\nmodels:\n"
	for name := range profiles {
		config += fmt.Sprintf("- {name: %s, targets: [{backend: far, model: %[1]s, tokenizer: cl100k}]}\n", name)
	}
	f.write("weir.yaml", config)
	for i := range n {
		r := &replica{fleet: f, number: i, proxy: startProxy(t, database.Host)}
		through := *database
		through.Host = r.proxy.address()
		r.store = through.String()
		r.data = filepath.Join(f.dir, fmt.Sprint("data-", i))
		f.replicas = append(f.replicas, r)
	}
	t.Cleanup(func() {
		for _, r := range f.replicas {
			r.kill()
		}
	})
	f.replicas[0].start()
	f.write("documents.yaml", documents)
	f.weir("apply", "-f", filepath.Join(f.dir, "documents.yaml"))
	f.key = strings.TrimSpace(f.weir("key", "create", "--tenant", "acme", "--name", "k1"))
	f.every(f.replicas[1:], (*replica).run)
	return f
}

func (f *fleet) write(name, text string) {
	f.t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, name), []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// weir runs a command as the platform, against the first replica.
func (f *fleet) weir(args ...string) string {
	f.t.Helper()
	command := exec.Command(binary, args...)
	command.Env = append(os.Environ(), "WEIR_ADDR="+f.replicas[0].address, "WEIR_KEY="+adminKey)
	var out, failed bytes.Buffer
	command.Stdout, command.Stderr = &out, &failed
	if err := command.Run(); err != nil {
		f.t.Fatalf("weir %s: %v\n%s", args[0], err, failed.String())
	}
	return out.String()
}

// settle starts every replica anew, so that it replays its spool, and ends it
// in order. Then nothing runs.
func (f *fleet) settle() {
	f.t.Helper()
	f.every(f.replicas, func(r *replica) error {
		r.proxy.cut(false)
		return errors.Join(r.signal(syscall.SIGTERM), r.run(), r.signal(syscall.SIGTERM))
	})
}

// every does something with replicas at the same time.
func (f *fleet) every(replicas []*replica, do func(*replica) error) {
	f.t.Helper()
	failed := make([]error, len(replicas))
	var all sync.WaitGroup
	for i, r := range replicas {
		all.Go(func() { failed[i] = do(r) })
	}
	all.Wait()
	if err := errors.Join(failed...); err != nil {
		f.t.Fatal(err)
	}
}

// replica is a weir serve.
type replica struct {
	fleet   *fleet
	number  int
	data    string
	store   string
	proxy   *proxy
	address string
	command *exec.Cmd
	ended   chan struct{}
	// client leads to the process of now.
	client atomic.Pointer[grpc.ClientConn]
}

var readyLine = regexp.MustCompile(`ready: grpc (\S+), http`)

func (r *replica) log() string { return filepath.Join(r.fleet.dir, fmt.Sprintf("log-%d", r.number)) }

func (r *replica) start() {
	r.fleet.t.Helper()
	if err := r.run(); err != nil {
		r.fleet.t.Fatal(err)
	}
}

// run starts the process and returns when it is ready.
func (r *replica) run() error {
	r.command = exec.Command(binary, "serve", "--config", filepath.Join(r.fleet.dir, "weir.yaml"), "--data", r.data, "--store", r.store,
		"--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0")
	r.command.Env = append(os.Environ(), "WEIR_ADMIN_KEY="+adminKey)
	stderr, err := r.command.StderrPipe()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(r.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := r.command.Start(); err != nil {
		return err
	}
	ready, ended := make(chan string, 1), make(chan struct{})
	r.ended = ended
	command := r.command
	go func() {
		defer close(ended)
		defer log.Close()
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			fmt.Fprintln(log, lines.Text())
			if m := readyLine.FindStringSubmatch(lines.Text()); m != nil {
				ready <- m[1]
			}
		}
		command.Wait()
	}()
	select {
	case r.address = <-ready:
	case <-ended:
		return fmt.Errorf("replica %d ended before it was ready:\n%s", r.number, r.tail())
	case <-time.After(patience):
		return fmt.Errorf("replica %d is not ready:\n%s", r.number, r.tail())
	}
	client, err := grpc.NewClient(r.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	if old := r.client.Swap(client); old != nil {
		old.Close()
	}
	return nil
}

// tail is the end of what the replica has logged.
func (r *replica) tail() string {
	text, _ := os.ReadFile(r.log())
	return string(text[max(0, len(text)-4000):])
}

func (r *replica) end(s syscall.Signal) {
	r.fleet.t.Helper()
	if err := r.signal(s); err != nil {
		r.fleet.t.Fatal(err)
	}
}

// signal returns when the signal has ended the process.
func (r *replica) signal(s syscall.Signal) error {
	r.command.Process.Signal(s)
	select {
	case <-r.ended:
		return nil
	case <-time.After(patience):
		return fmt.Errorf("replica %d goes on after %s:\n%s", r.number, s, r.tail())
	}
}

// kill is also what ends the replica with its test.
func (r *replica) kill() {
	if r.command == nil || r.command.Process == nil {
		return
	}
	r.command.Process.Kill()
	<-r.ended
	if client := r.client.Swap(nil); client != nil {
		client.Close()
	}
}

// lose kills the replica, deletes its disk and starts it on an empty one. It
// returns the name that the replica had.
func (r *replica) lose() (name string) {
	t := r.fleet.t
	t.Helper()
	r.end(syscall.SIGKILL)
	text, err := os.ReadFile(filepath.Join(r.data, "replica"))
	if err != nil {
		t.Fatal(err)
	}
	name, _, _ = strings.Cut(string(text), " ")
	if err := os.RemoveAll(r.data); err != nil {
		t.Fatal(err)
	}
	r.proxy.cut(false)
	r.start()
	return name
}

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}
