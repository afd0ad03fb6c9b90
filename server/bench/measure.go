package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// measured is one row: a subject on one face, with a window for each round.
type measured struct {
	*subject
	face   string
	client client

	unary, stream []window
	held          float64 // bytes per open stream
	cancelled     []time.Duration
}

// window is what one measurement gives.
type window struct {
	cpu                float64 // microseconds a call
	rate               float64 // calls a second
	p50, p99           time.Duration
	firstP50, firstP99 time.Duration // until the first text, of streams
}

// warm is how long calls are made before they count.
const warm = 300 * time.Millisecond

func (m *measured) measure(ctx context.Context, s settings) error {
	unary, err := m.load(ctx, s, "unary", func(ctx context.Context, worker int, first func()) error {
		return m.client.unary(ctx, worker)
	})
	if err != nil {
		return fmt.Errorf("unary: %w", err)
	}
	stream, err := m.load(ctx, s, "stream", func(ctx context.Context, worker int, first func()) error {
		text, err := m.client.stream(ctx, worker, pieces, first)
		if err != nil {
			return err
		}
		return complete(text)
	})
	if err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	m.unary, m.stream = append(m.unary, unary), append(m.stream, stream)
	return nil
}

// load makes calls in a closed loop, as many at once as are wanted.
func (m *measured) load(ctx context.Context, s settings, kind string, call func(ctx context.Context, worker int, first func()) error) (w window, err error) {
	var counting, over atomic.Bool
	var ended atomic.Int64
	took, until := make([][]time.Duration, s.inFlight), make([][]time.Duration, s.inFlight)
	failed := make(chan error, s.inFlight+1)
	var workers sync.WaitGroup
	for worker := range s.inFlight {
		workers.Go(func() {
			for !over.Load() {
				counts := counting.Load()
				var first time.Duration
				start := time.Now()
				if err := call(ctx, worker, func() { first = time.Since(start) }); err != nil {
					failed <- err
					return
				}
				if counts && counting.Load() {
					ended.Add(1)
					took[worker] = append(took[worker], time.Since(start))
					until[worker] = append(until[worker], first)
				}
			}
		})
	}
	time.Sleep(warm)
	before, err := m.cpu()
	if err != nil {
		return w, err
	}
	if s.profiles != "" && m.admin != "" {
		workers.Go(func() {
			if err := m.profile(ctx, s, kind); err != nil {
				failed <- err
			}
		})
	}
	start := time.Now()
	counting.Store(true)
	// A window has at least as many calls as are in flight, however slow they are.
	for n := 0; n == 0 || n < 10 && ended.Load() < int64(s.inFlight) && len(failed) == 0; n++ {
		time.Sleep(s.window)
	}
	after, err := m.cpu()
	if err != nil {
		return w, err
	}
	counting.Store(false)
	elapsed := time.Since(start)
	over.Store(true)
	workers.Wait()
	select {
	case err := <-failed:
		return w, err
	default:
	}
	all, firsts := slices.Concat(took...), slices.Concat(until...)
	if len(all) == 0 {
		return w, errors.New("no call ended within the window")
	}
	slices.Sort(all)
	slices.Sort(firsts)
	at := func(sorted []time.Duration, share float64) time.Duration {
		return sorted[int(share*float64(len(sorted)-1))]
	}
	return window{
		cpu: float64((after - before).Microseconds()) / float64(len(all)), rate: float64(len(all)) / elapsed.Seconds(),
		p50: at(all, .5), p99: at(all, .99), firstP50: at(firsts, .5), firstP99: at(firsts, .99),
	}, nil
}

// profile has the subject profile itself for the length of a window.
func (m *measured) profile(ctx context.Context, s settings, kind string) error {
	seconds := max(1, int(s.window.Seconds()))
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", m.admin, seconds), nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	name := strings.Map(func(r rune) rune {
		if r == ' ' || r == ',' {
			return '-'
		}
		return r
	}, fmt.Sprintf("%s %s %s.pb.gz", m.name, m.face, kind))
	file, err := os.Create(filepath.Join(s.profiles, name))
	if err != nil {
		return err
	}
	_, err = io.Copy(file, answer.Body)
	return errors.Join(err, file.Close())
}

// openStreams holds streams open at once, each after its first word, and tells
// how many bytes of memory each costs.
func (m *measured) openStreams(ctx context.Context, n int) (perStream float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	before, err := m.memory()
	if err != nil {
		return 0, err
	}
	var streams sync.WaitGroup
	defer streams.Wait()
	defer cancel()
	begun, failed := make(chan struct{}, n), make(chan error, n)
	beginning := make(chan struct{}, 32) // a thousand connections at once are another test
	for worker := range n {
		streams.Go(func() {
			beginning <- struct{}{}
			var first sync.Once
			begin := func() { first.Do(func() { <-beginning }) }
			_, err := m.client.stream(ctx, worker, silent, func() { begin(); begun <- struct{}{} })
			begin()
			failed <- err
		})
	}
	for range n {
		select {
		case <-begun:
		case err := <-failed:
			return 0, fmt.Errorf("one ended: %w", err)
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	after, err := m.memory()
	return max(0, float64(after-before)) / float64(n), err
}

// median of the figures of all rounds.
func median[T any](all []T, of func(T) float64) float64 {
	var figures []float64
	for _, v := range all {
		figures = append(figures, of(v))
	}
	slices.Sort(figures)
	if len(figures) == 0 {
		return 0
	}
	return figures[len(figures)/2]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// report prints a table in Markdown.
func report(w io.Writer, machine string, s settings, runs []*measured) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n%d calls in flight, %d gRPC connections, %d rounds of %s, medians; %d B asked, %d B answered, streams in %d chunks.\n",
		machine, s.inFlight, s.connections, s.rounds, s.window, len(prompt), len(reply), chunks)
	for _, face := range []string{faceGRPC, faceHTTP} {
		fmt.Fprintf(&b, "\n| %s | CPU µs a call | x bare proxy | calls/s | p50 / p99 ms | CPU µs a stream | x bare proxy | CPU µs a chunk | first text p50 / p99 ms | cancel heard p50 / p99 ms | KiB an open stream |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n", face)
		cpu := func(w window) float64 { return w.cpu }
		var bare, bareStream float64
		for _, r := range runs {
			if r.face == face && strings.HasPrefix(r.name, "bare") {
				bare, bareStream = median(r.unary, cpu), median(r.stream, cpu)
			}
		}
		for _, r := range runs {
			if r.face != face {
				continue
			}
			ms := func(all []window, of func(window) time.Duration) float64 {
				return median(all, func(w window) float64 { return milliseconds(of(w)) })
			}
			unary, stream := median(r.unary, cpu), median(r.stream, cpu)
			held, left := "–", "–"
			if n := len(r.cancelled); n > 0 {
				left = fmt.Sprintf("%.2f / %.2f", milliseconds(r.cancelled[(n-1)/2]), milliseconds(r.cancelled[(n-1)*99/100]))
			}
			if r.held > 0 {
				held = fmt.Sprintf("%.1f", r.held/1024)
			}
			fmt.Fprintf(&b, "| %s | %.1f | %.2f | %.0f | %.2f / %.2f | %.0f | %.2f | %.2f | %.2f / %.2f | %s | %s |\n", r.name,
				unary, unary/bare, median(r.unary, func(w window) float64 { return w.rate }),
				ms(r.unary, func(w window) time.Duration { return w.p50 }), ms(r.unary, func(w window) time.Duration { return w.p99 }),
				stream, stream/bareStream, (stream-unary)/(chunks-1),
				ms(r.stream, func(w window) time.Duration { return w.firstP50 }), ms(r.stream, func(w window) time.Duration { return w.firstP99 }),
				left, held)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
