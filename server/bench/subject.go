package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// The cores: what is measured has the first for itself.
const (
	firstCore  = "0"
	secondCore = "1"
)

// The faces of what is measured.
const (
	faceGRPC = "gRPC"
	faceHTTP = "OpenAI HTTP"
)

// subject is a process that is measured.
type subject struct {
	name       string
	grpc, http string // where it listens, "" where it does not
	admin      string // where it gives profiles, "" where it does not
	key        string // what it wants of its callers
	pid        int
	end        func()
}

func (g *subject) address(face string) string {
	if face == faceGRPC {
		return g.grpc
	}
	return g.http
}

func (g *subject) stop() {
	if g.end != nil {
		g.end()
	}
}

// onCore is a command that stays on a core, where that can be had.
func onCore(ctx context.Context, core string, args []string) *exec.Cmd {
	if _, err := exec.LookPath("taskset"); err == nil && runtime.NumCPU() > 1 {
		args = append([]string{"taskset", "-c", core}, args...)
	}
	return exec.CommandContext(ctx, args[0], args[1:]...)
}

var readyLine = regexp.MustCompile(`ready: grpc (\S+), http (\S+), admin (\S+)`)

// readyTime is how long anything may take until it is ready.
const readyTime = 30 * time.Second

// start starts a process and waits until it says where it listens.
func start(ctx context.Context, core, name string, args []string) (*subject, error) {
	cmd := onCore(ctx, core, args)
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = write, write
	err = cmd.Start()
	write.Close()
	if err != nil {
		read.Close()
		return nil, err
	}
	g := &subject{name: name, pid: cmd.Process.Pid}
	g.end = func() {
		_ = cmd.Process.Kill() // it may have ended already
		_ = cmd.Wait()
	}
	ready := make(chan error, 1)
	go func() {
		var said bytes.Buffer
		for lines := bufio.NewScanner(read); lines.Scan(); {
			fmt.Fprintln(&said, lines.Text())
			if m := readyLine.FindStringSubmatch(lines.Text()); m != nil {
				g.grpc, g.http = given(m[1]), given(m[2])
				g.admin = given(m[3])
				ready <- nil
				_, _ = io.Copy(io.Discard, read)
				return
			}
		}
		ready <- errors.New("it ended before it was ready: " + said.String())
	}()
	select {
	case err = <-ready:
	case <-time.After(readyTime):
		err = fmt.Errorf("it is not ready after %s", readyTime)
	}
	if err != nil {
		g.end()
		return nil, err
	}
	return g, nil
}

// given is an address of a ready line.
func given(address string) string { return strings.TrimSuffix(address, "none") }

// startNginx starts an nginx with one worker, as careful operators of gRPC set
// it up: connections kept, nothing buffered, nothing logged.
func startNginx(ctx context.Context, folder string, backend *subject) (*subject, error) {
	g := &subject{}
	for _, at := range []*string{&g.grpc, &g.http} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		*at = l.Addr().String()
		l.Close()
	}
	config := fmt.Sprintf(`daemon off; worker_processes 1; pid %[1]s/nginx.pid; error_log stderr error;
events { worker_connections 16384; }
http {
  access_log off; tcp_nodelay on; keepalive_requests 1000000000; client_body_buffer_size 64k;
  client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  upstream calls { server %[2]s; keepalive 512; keepalive_requests 1000000000; }
  upstream web { server %[3]s; keepalive 512; keepalive_requests 1000000000; }
  server { listen %[4]s http2; http2_max_concurrent_streams 4096; grpc_read_timeout 10m; location / { grpc_pass grpc://calls; } }
  server { listen %[5]s; location / { proxy_pass http://web; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; proxy_read_timeout 10m; } }
}
`, folder, backend.grpc, backend.http, g.grpc, g.http)
	file := filepath.Join(folder, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	if _, err := exec.LookPath("nginx"); err != nil {
		return nil, err
	}
	cmd := onCore(ctx, firstCore, []string{"nginx", "-p", folder, "-e", "stderr", "-c", file})
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	g.pid = cmd.Process.Pid
	g.end = func() {
		_ = cmd.Process.Signal(os.Interrupt) // its worker ends with it
		_ = cmd.Wait()
	}
	for late := time.Now().Add(readyTime); ; time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("tcp", g.http); err == nil {
			conn.Close()
			return g, nil
		}
		if time.Now().After(late) {
			g.end()
			return nil, errors.New("nginx does not listen")
		}
	}
}

// pids are a process and its children, which are nginx's workers.
func (g *subject) pids() []string {
	pid := strconv.Itoa(g.pid)
	children, _ := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children") // no file, no children
	return append([]string{pid}, strings.Fields(string(children))...)
}

// tick is the unit of /proc's times: Linux tells 100 a second on every machine
// that Go runs on.
const tick = 10 * time.Millisecond

// cpu is the processor time that the process has used, of user and system.
func (g *subject) cpu() (used time.Duration, err error) {
	for _, pid := range g.pids() {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil {
			return 0, err
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])) // from the third on
		for _, f := range fields[11:13] {                                         // utime and stime
			n, err := strconv.ParseInt(f, 10, 64)
			if err != nil {
				return 0, err
			}
			used += time.Duration(n) * tick
		}
	}
	return used, nil
}

// memory is what the process has resident, in bytes.
func (g *subject) memory() (resident int64, err error) {
	for _, pid := range g.pids() {
		statm, err := os.ReadFile("/proc/" + pid + "/statm")
		if err != nil {
			return 0, err
		}
		pages, err := strconv.ParseInt(strings.Fields(string(statm))[1], 10, 64)
		if err != nil {
			return 0, err
		}
		resident += pages * int64(os.Getpagesize())
	}
	return resident, nil
}
