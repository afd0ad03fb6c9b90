package spool

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func openReal(b testing.TB, flush bool) *Spool {
	b.Helper()
	s, _, err := Open(Config{Dir: b.TempDir(), Replica: "a"})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var flusher sync.WaitGroup
	if flush {
		flusher.Go(func() {
			for {
				entries, err := s.Pending(ctx, 4096)
				if err != nil {
					return
				}
				if err := s.Done(entries[len(entries)-1].Position); err != nil {
					b.Error(err)
				}
			}
		})
	}
	b.Cleanup(func() {
		cancel()
		flusher.Wait()
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

func benchKey(n uint64) (k Key) {
	binary.BigEndian.PutUint64(k.Request[:], n)
	k.Attempt = 1
	return k
}

// BenchmarkCall is the OPEN and the CLOSE of one call, of 400 and 600 bytes,
// by so many callers, with a flusher beside them whose database takes no time.
func BenchmarkCall(b *testing.B) {
	for _, mode := range []struct {
		name string
		Durability
	}{{"commit", Commit}, {"relaxed", Relaxed}, {"store", Store}} {
		for _, callers := range []int{1, 32, 256} {
			b.Run(fmt.Sprintf("%s/callers=%d", mode.name, callers), func(b *testing.B) {
				s := openReal(b, true)
				opening, closing := make([]byte, 400), make([]byte, 600)
				opens, closes := make([]time.Duration, b.N), make([]time.Duration, b.N)
				var next atomic.Int64
				var group sync.WaitGroup
				b.ReportAllocs()
				b.ResetTimer()
				for range callers {
					group.Go(func() {
						for n := next.Add(1) - 1; n < int64(b.N); n = next.Add(1) - 1 {
							k := benchKey(uint64(n))
							start := time.Now()
							if err := s.WriteOpen(k, opening); err != nil {
								b.Error(err)
								return
							}
							opened := time.Now()
							if _, err := s.WriteClose(context.Background(), k, closing, nil, mode.Durability); err != nil {
								b.Error(err)
								return
							}
							opens[n], closes[n] = opened.Sub(start), time.Since(opened)
						}
					})
				}
				group.Wait()
				b.StopTimer()
				report(b, "open", opens)
				report(b, "close", closes)
				stats := s.Stats()
				b.ReportMetric(float64(stats.Records)/float64(stats.Writes), "records/write")
				if stats.Syncs > 0 {
					b.ReportMetric(float64(stats.SyncWaiters)/float64(stats.Syncs), "closes/fsync")
				}
			})
		}
	}
}

func report(b *testing.B, name string, times []time.Duration) {
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Nanoseconds())/1e3, name+"-p50-µs")
	b.ReportMetric(float64(times[len(times)*99/100].Nanoseconds())/1e3, name+"-p99-µs")
}

// BenchmarkRecover reads a folder of b.N closed calls and hands them out.
func BenchmarkRecover(b *testing.B) {
	dir := b.TempDir()
	s, _, err := Open(Config{Dir: dir, Replica: "a", MaxBytes: 1 << 34})
	if err != nil {
		b.Fatal(err)
	}
	for n := range b.N {
		if err := s.WriteOpen(benchKey(uint64(n)), make([]byte, 400)); err != nil {
			b.Fatal(err)
		}
		if _, err := s.WriteClose(context.Background(), benchKey(uint64(n)), make([]byte, 600), nil, Relaxed); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	s, _, err = Open(Config{Dir: dir, Replica: "a", MaxBytes: 1 << 34})
	if err != nil {
		b.Fatal(err)
	}
	for n := 0; n < b.N; {
		entries, err := s.Pending(context.Background(), 1000)
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Done(entries[len(entries)-1].Position); err != nil {
			b.Fatal(err)
		}
		n += len(entries)
	}
	b.StopTimer()
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

// What a record costs beside its payload is no memory.
func TestWritingAllocatesNothing(t *testing.T) {
	s := openReal(t, false)
	payload := make([]byte, 400)
	n := uint64(0)
	allocations := testing.AllocsPerRun(5000, func() {
		n++
		if err := s.WriteOpen(benchKey(n), payload); err != nil {
			t.Fatal(err)
		}
		if _, err := s.WriteClose(context.Background(), benchKey(n), payload, nil, Store); err != nil {
			t.Fatal(err)
		}
	})
	if allocations > 0 {
		t.Errorf("a call allocates %v times", allocations)
	}
}
