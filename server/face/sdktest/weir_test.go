// Package sdktest runs clients that others have written, unmodified, against a
// real `weir serve`: grpcurl and buf curl with reflection, curl, a client in the
// manner of Google's for Go, a page in a browser, OpenAI's SDK for Go and the
// one for Node. It is a module of its own, so that their dependencies are not the
// product's. Of Weir it imports the generated stubs: a client has these and the
// wire, and no more.
package sdktest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// root is where the product's go.mod is.
const root = "../../.."

// weir is the server that all tests talk to.
var weir struct {
	binary     string
	data       string
	grpc, http string
	key        string // of tenant demo
	poor       string // of a tenant whose budget has room for nothing
}

// poorTenant has a budget that no call fits into.
const poorTenant = `
kind: Tenant
name: poor
---
kind: Budget
name: cap
tenant: poor
limit: 0.000001 USD
window: day
`

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "sdktest:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "weir-sdktest")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	weir.binary, weir.data = filepath.Join(dir, "weir"), filepath.Join(dir, "data")
	build := exec.Command("go", "build", "-o", weir.binary, "./cmd/weir")
	build.Dir, build.Stderr = root, os.Stderr
	if err := build.Run(); err != nil {
		return 1, fmt.Errorf("build weir: %w", err)
	}
	var stop func() error
	weir.grpc, weir.http, stop, err = serve(weir.data)
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if err := prepare(dir); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

var ready = regexp.MustCompile(`ready: grpc (\S+), http (\S+),`)

// serve starts a weir on free ports and waits until it says that it is ready.
func serve(data string, flags ...string) (grpc, http string, stop func() error, err error) {
	command := exec.Command(weir.binary, append([]string{"serve", "--data", data, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"}, flags...)...)
	command.Env = environment()
	stderr, err := command.StderrPipe()
	if err != nil {
		return "", "", nil, err
	}
	if err := command.Start(); err != nil {
		return "", "", nil, err
	}
	log := &bytes.Buffer{}
	lines := bufio.NewScanner(stderr)
	for grpc == "" && lines.Scan() {
		fmt.Fprintln(log, lines.Text())
		if m := ready.FindStringSubmatch(lines.Text()); m != nil {
			grpc, http = m[1], m[2]
		}
	}
	if grpc == "" {
		return "", "", nil, fmt.Errorf("weir ended before it was ready: %w\n%s", command.Wait(), log)
	}
	read := make(chan struct{})
	go func() { // else a full pipe would stop the server
		defer close(read)
		for lines.Scan() {
			fmt.Fprintln(log, lines.Text())
		}
	}()
	return grpc, http, func() error {
		if err := command.Process.Signal(syscall.SIGTERM); err != nil {
			return err
		}
		<-read
		if err := command.Wait(); err != nil {
			return fmt.Errorf("weir did not end well: %w\n%s", err, log)
		}
		return nil
	}, nil
}

// environment leaves out what would lead a client elsewhere.
func environment() []string {
	var env []string
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if strings.HasPrefix(name, "WEIR_") || strings.HasPrefix(name, "OPENAI_") || strings.HasSuffix(strings.ToLower(name), "_proxy") {
			continue
		}
		env = append(env, v)
	}
	return env
}

// prepare reads the keys that weir has written, and makes the poor tenant.
func prepare(dir string) error {
	key, err := os.ReadFile(filepath.Join(weir.data, "demo.key"))
	if err != nil {
		return err
	}
	weir.key = strings.TrimSpace(string(key))
	file := filepath.Join(dir, "poor.yaml")
	if err := os.WriteFile(file, []byte(poorTenant), 0o600); err != nil {
		return err
	}
	admin := []string{"--addr", weir.grpc, "--key-file", filepath.Join(weir.data, "admin.key")}
	if out, err := exec.Command(weir.binary, append([]string{"apply", "-f", file}, admin...)...).CombinedOutput(); err != nil {
		return fmt.Errorf("weir apply: %w\n%s", err, out)
	}
	create := exec.Command(weir.binary, append([]string{"key", "create", "--tenant", "poor", "--name", "k1"}, admin...)...)
	secret, err := create.Output()
	if err != nil {
		return fmt.Errorf("weir key create: %w", err)
	}
	weir.poor = strings.TrimSpace(string(secret))
	return nil
}

// output runs a command and returns what it prints.
func output(ctx context.Context, dir, name string, args ...string) (stdout, stderr string, err error) {
	command := exec.CommandContext(ctx, name, args...)
	command.Dir, command.Env = dir, environment()
	var out, errs bytes.Buffer
	command.Stdout, command.Stderr = &out, &errs
	err = command.Run()
	return out.String(), errs.String(), err
}
