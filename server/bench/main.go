// Command bench measures what a call through Weir costs beside the same call
// through nothing, a bare proxy in Go and nginx, all in one run: processor time
// per call and per chunk, latency, and memory per open stream. make bench runs
// it; docs/performance.md has its table and says how to read it.
//
// The gateway under test has the first core for itself, this program and the
// backend that it plays share the second. Rounds are interleaved and medians
// told, so that what else the machine does falls on all alike.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// settings are what the flags say.
type settings struct {
	weir        string
	before      string
	rounds      int
	window      time.Duration
	inFlight    int
	connections int
	open        int
	only        string
	profiles    string
}

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "backend":
			exit(serveBackend())
		case "grpc-proxy":
			exit(serveGRPCProxy(os.Args[2]))
		case "http-proxy":
			exit(serveHTTPProxy(os.Args[2]))
		}
	}
	var s settings
	flag.StringVar(&s.weir, "weir", "bin/weir", "the Weir to measure")
	flag.StringVar(&s.before, "before", "", "another Weir to measure in the same rounds, such as the one before a change")
	flag.IntVar(&s.rounds, "rounds", 3, "rounds, whose medians are told")
	flag.DurationVar(&s.window, "window", 1500*time.Millisecond, "how long one measurement takes")
	flag.IntVar(&s.inFlight, "in-flight", 32, "calls in flight")
	flag.IntVar(&s.connections, "connections", 4, "connections of the gRPC client")
	flag.IntVar(&s.open, "open", 2000, "streams open at once, for memory; 0 leaves it out")
	flag.StringVar(&s.only, "only", "", "only gateways whose name contains this, beside what they are compared with")
	flag.StringVar(&s.profiles, "profiles", "", "folder for a CPU profile of each load of a Weir; such a run's figures are a little high")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	exit(run(ctx, s))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func run(ctx context.Context, s settings) (err error) {
	loads, _ := os.ReadFile("/proc/loadavg") // empty where there is none
	load, _, _ := strings.Cut(string(loads), " ")
	folder, err := os.MkdirTemp("", "weir-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	var all []*subject
	defer func() {
		for _, g := range slices.Backward(all) {
			g.stop()
		}
	}()
	backend, err := start(ctx, secondCore, "direct", []string{os.Args[0], "backend"})
	if err != nil {
		return err
	}
	all = append(all, backend)
	subjects, err := s.subjects(ctx, folder, backend)
	all = append(all, subjects...)
	if err != nil {
		return err
	}
	runs := s.runs(subjects)
	// Memory before anything else has grown the processes, and of all of them
	// before the loads, since a Weir settles what was cut off for a while.
	for _, r := range runs {
		if s.open == 0 {
			break
		}
		if r.held, err = r.openStreams(ctx, s.open); err != nil {
			return fmt.Errorf("%s: open streams: %w", r.name, err)
		}
		if _, err := await(ctx, backend, s.open); err != nil {
			return err
		}
	}
	for _, r := range runs {
		if r.cancelled, err = r.cancelStreams(ctx, backend); err != nil {
			return fmt.Errorf("%s: cancelled streams: %w", r.name, err)
		}
	}
	order := slices.Clone(runs)
	for round := range s.rounds {
		// Each round the other way round: who follows whom makes a difference.
		slices.Reverse(order)
		for _, r := range order {
			if err := r.measure(ctx, s); err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			fmt.Fprintf(os.Stderr, "\rround %d of %d: %-40s", round+1, s.rounds, r.name)
		}
	}
	fmt.Fprint(os.Stderr, "\r", strings.Repeat(" ", 60), "\r")
	return report(os.Stdout, machine(load), s, runs)
}

// subjects starts everything that is measured. What has been started is
// returned with an error, too.
func (s settings) subjects(ctx context.Context, folder string, backend *subject) (all []*subject, err error) {
	add := func(name string, begin func() (*subject, error)) {
		if err != nil || s.only != "" && strings.HasPrefix(name, "Weir") && !strings.Contains(name, s.only) {
			return
		}
		var g *subject
		if g, err = begin(); err != nil {
			err = fmt.Errorf("%s: %w", name, err)
			return
		}
		g.name = name
		all = append(all, g)
	}
	// The backend is measured itself: what is direct is its own cost.
	all = append(all, &subject{name: "direct", grpc: backend.grpc, http: backend.http, pid: backend.pid})
	add("nginx", func() (*subject, error) { return startNginx(ctx, folder, backend) })
	add("bare proxy in Go", func() (*subject, error) {
		return start(ctx, firstCore, "", []string{os.Args[0], "grpc-proxy", backend.grpc})
	})
	add("bare proxy in Go", func() (*subject, error) {
		return start(ctx, firstCore, "", []string{os.Args[0], "http-proxy", backend.http})
	})
	for _, c := range []struct{ name, documents string }{
		{"Weir, no rules", plain}, {"Weir, all controls", controlled()},
	} {
		// One for each face, so that what one has done is not in the other's memory.
		for _, face := range []string{faceGRPC, faceHTTP} {
			begin := func(name, weir string) {
				add(name, func() (*subject, error) {
					g, err := startWeir(ctx, weir, filepath.Join(folder, name+", "+face), backend, c.documents)
					if err == nil && face == faceGRPC {
						g.http = ""
					} else if err == nil {
						g.grpc = ""
					}
					return g, err
				})
			}
			if s.before != "" {
				begin(c.name+", before", s.before)
			}
			begin(c.name, s.weir)
		}
	}
	if errors.Is(err, exec.ErrNotFound) {
		err = fmt.Errorf("%w: make bench installs it on Debian, as root", err)
	}
	return all, err
}

// runs are the rows of the table: each subject on each face that it has.
func (s settings) runs(subjects []*subject) (all []*measured) {
	for _, face := range []string{faceGRPC, faceHTTP} {
		for _, g := range subjects {
			if address := g.address(face); address != "" {
				all = append(all, &measured{subject: g, face: face, client: newClient(face, address, g.key, s)})
			}
		}
	}
	return all
}

// machine is what the figures depend on.
func machine(load string) string {
	model, cores := "an unknown processor", 0
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				cores++ // of the machine; this process may have one of them
			}
		}
	}
	return fmt.Sprintf("%d cores of %s, %s/%s, %s; load at the start %s", cores, model, runtime.GOOS, runtime.GOARCH, runtime.Version(), or(load, "unknown"))
}
