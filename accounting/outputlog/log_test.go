package outputlog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-gateway/weir/accounting/outputlog"
)

// drawer is a store that can be shut, so that writes wait, or broken, so that
// they fail.
type drawer struct {
	outputlog.Store // what the log does not use

	mu      sync.Mutex
	shut    chan struct{} // nil while it is open
	broken  bool
	ids     map[string]bool
	batches int
	swept   []time.Time
	expired int64
}

func (d *drawer) WriteOutputs(ctx context.Context, records []outputlog.Redacted) error {
	d.mu.Lock()
	shut := d.shut
	d.mu.Unlock()
	if shut != nil {
		select {
		case <-shut:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken {
		return errors.New("the drawer is broken")
	}
	d.batches++
	for _, r := range records {
		d.ids[r.Record().RequestID] = true
	}
	return nil
}

func (d *drawer) SweepOutputs(_ context.Context, at time.Time, limit int) (int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.swept = append(d.swept, at)
	n := min(d.expired, int64(limit))
	d.expired -= n
	return n, nil
}

func (d *drawer) set(broken bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.broken = broken
}

func (d *drawer) has() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.ids)
}

func (d *drawer) commits() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.batches
}

// sweeps returns when it was swept, and how much is left.
func (d *drawer) sweeps() ([]time.Time, int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.swept), d.expired
}

// bench is a log that runs on a drawer.
type bench struct {
	*outputlog.Log
	drawer *drawer
	lines  *bytes.Buffer
	mu     sync.Mutex
	fates  map[outputlog.Fate]int
}

func newBench(t *testing.T) *bench {
	b := &bench{drawer: &drawer{ids: map[string]bool{}}, lines: &bytes.Buffer{}, fates: map[outputlog.Fate]int{}}
	count := func(f outputlog.Fate, n int) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.fates[f] += n
	}
	b.Log = outputlog.New(b.drawer, newRedactor(t), count, slog.New(slog.NewTextHandler(b.lines, nil)), time.Now)
	return b
}

func (b *bench) counted() map[outputlog.Fate]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.fates)
}

func (b *bench) expect(t *testing.T, want map[outputlog.Fate]int) {
	t.Helper()
	if got := b.counted(); !maps.Equal(got, want) {
		t.Errorf("fates %v; want %v", got, want)
	}
}

func record(i int) outputlog.Record {
	return outputlog.Record{RequestID: fmt.Sprint("r", i), Mode: outputlog.ModeMetadata}
}

func TestRecordsShareABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		ctx, cancel := context.WithCancel(t.Context())
		go b.Run(ctx)
		for i := range 10 {
			b.Record(record(i))
		}
		b.Record(outputlog.Record{RequestID: "none", Mode: outputlog.ModeNone})
		time.Sleep(time.Second)
		synctest.Wait()
		if b.drawer.has() != 10 || b.drawer.commits() != 1 {
			t.Errorf("%d records in %d batches", b.drawer.has(), b.drawer.commits())
		}
		// Who reads next need not wait.
		b.Record(record(10))
		start := time.Now()
		if err := b.Flush(t.Context()); err != nil || b.drawer.has() != 11 || time.Since(start) > 0 {
			t.Errorf("flush: %v, %d records after %s", err, b.drawer.has(), time.Since(start))
		}
		cancel()
		synctest.Wait()
		b.expect(t, map[outputlog.Fate]int{outputlog.Written: 11})
	})
}

func TestAFullQueueDropsAndCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.drawer.shut = make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		go b.Run(ctx)
		const calls = 10_000
		start := time.Now()
		for i := range calls {
			b.Record(record(i))
		}
		if waited := time.Since(start); waited > 0 {
			t.Errorf("calls waited %s for the log", waited)
		}
		dropped := b.counted()[outputlog.DroppedQueue]
		if dropped == 0 || dropped == calls {
			t.Fatalf("%d of %d calls were dropped", dropped, calls)
		}
		close(b.drawer.shut)
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := b.counted()[outputlog.Written]; got+dropped != calls || b.drawer.has() != got {
			t.Errorf("%d written, %d dropped, %d there, of %d", got, dropped, b.drawer.has(), calls)
		}
		cancel()
		synctest.Wait()
	})
}

// The queue is bounded in bytes too, and what was written makes room again.
func TestLongTextsFillTheQueueSooner(t *testing.T) {
	b := newBench(t)
	long := outputlog.Record{Mode: outputlog.ModeMetadata, Messages: []outputlog.Message{{Parts: []outputlog.Part{{Text: strings.Repeat("x", 20<<20)}}}}}
	for i := range 7 {
		long.RequestID = fmt.Sprint("r", i)
		b.Record(long)
	}
	b.expect(t, map[outputlog.Fate]int{outputlog.DroppedQueue: 4})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b.Run(ctx) // writes what waits
	b.Record(long)
	b.Run(ctx)
	b.expect(t, map[outputlog.Fate]int{outputlog.DroppedQueue: 4, outputlog.Written: 4})
}

func TestABrokenStoreIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.drawer.set(true)
		ctx, cancel := context.WithCancel(t.Context())
		go b.Run(ctx)
		b.Record(record(1))
		time.Sleep(time.Hour)
		within, stop := context.WithTimeout(t.Context(), time.Second)
		if err := b.Flush(within); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("flush: %v", err)
		}
		stop()
		b.drawer.set(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		b.expect(t, map[outputlog.Fate]int{outputlog.Written: 1})
		if n := strings.Count(b.lines.String(), "\n"); n != 1 {
			t.Errorf("an hour without a store is worth one line, not %d", n)
		}
		// What is left at the end gets one more try.
		b.drawer.set(true)
		b.Record(record(2))
		cancel()
		synctest.Wait()
		b.expect(t, map[outputlog.Fate]int{outputlog.Written: 1, outputlog.DroppedStore: 1})
	})
}

func TestTheEndWritesWhatWaits(t *testing.T) {
	b := newBench(t)
	for i := range 1000 {
		b.Record(record(i))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b.Run(ctx)
	b.expect(t, map[outputlog.Fate]int{outputlog.Written: 1000})
}

func TestWhatHasExpiredIsSweptEveryMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.drawer.expired = 450
		ctx, cancel := context.WithCancel(t.Context())
		start := time.Now()
		go b.Sweep(ctx)
		synctest.Wait()
		if swept, left := b.drawer.sweeps(); left != 0 || len(swept) != 3 {
			t.Errorf("%d are left after sweeps at %v", left, swept)
		}
		time.Sleep(3*time.Minute + time.Second)
		cancel()
		synctest.Wait()
		if swept, _ := b.drawer.sweeps(); len(swept) != 6 || !swept[5].Equal(start.Add(3*time.Minute)) {
			t.Errorf("sweeps at %v", swept)
		}
	})
}
