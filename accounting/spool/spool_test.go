package spool

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("SPOOL_TEST_KILL_ME"); dir != "" {
		appendUntilKilled(dir)
	}
	goleak.VerifyTestMain(m)
}

// Many callers and a flusher at once: every CLOSE reaches the flusher once, in
// order, and the disk does not grow with the calls.
func TestManyCallersAndAFlusher(t *testing.T) {
	config := Config{Dir: t.TempDir(), Replica: "a", SegmentBytes: 64 << 10, MaxBytes: 1 << 20, SyncEvery: time.Millisecond}
	s, _, err := Open(config)
	if err != nil {
		t.Fatal(err)
	}
	const callers, calls = 32, 200
	flushed := map[Key]string{}
	ctx, cancel := context.WithCancel(context.Background())
	var flusher, group sync.WaitGroup
	flusher.Go(func() {
		var last Position
		for {
			entries, err := s.Pending(ctx, 100)
			if err != nil {
				if !errors.Is(err, context.Canceled) {
					t.Errorf("pending: %v", err)
				}
				return
			}
			for _, e := range entries {
				if _, twice := flushed[e.Key]; twice || e.Position <= last || e.Abandoned {
					t.Errorf("%v comes twice, or out of order", e)
				}
				flushed[e.Key], last = string(e.Payload), e.Position
			}
			if err := s.Done(last); err != nil {
				t.Errorf("done: %v", err)
			}
			if len(flushed) == callers*calls {
				return
			}
		}
	})
	for i := range uint32(callers) {
		group.Go(func() {
			for j := range uint32(calls) {
				k := key(i*calls + j)
				for {
					err := s.WriteOpen(k, make([]byte, 300))
					var full *FullError
					if errors.As(err, &full) {
						continue // the flusher makes room
					}
					if err != nil {
						t.Errorf("open: %v", err)
						return
					}
					break
				}
				_ = s.WriteTopUp(k, []byte("more")) // or it is full
				if _, err := s.WriteClose(context.Background(), k, []byte(k.String()), nil, Durability(j%3)); err != nil {
					t.Errorf("close: %v", err)
					return
				}
			}
		})
	}
	group.Wait()
	flusher.Wait()
	cancel()
	for k, payload := range flushed {
		if payload != k.String() {
			t.Errorf("%s has the payload of %s", k, payload)
		}
	}
	stats := s.Stats()
	if len(flushed) != callers*calls || stats.Live != 0 || stats.Unflushed != 0 || stats.Reserved != 0 || stats.OldestUnflushed != 0 {
		t.Errorf("%d flushed, %+v", len(flushed), stats)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if left := files(t, config.Dir, segmentSuffix); len(left) > 0 {
		t.Errorf("segments %v are left, and nothing is in them", left)
	}
}

// Full: OPENs are refused, the CLOSEs of all that were accepted are written,
// the largest too, and what is flushed makes room again.
func TestAFullSpoolRefusesOpensAndNoClose(t *testing.T) {
	for range 20 {
		fillUp(t)
	}
}

func fillUp(t *testing.T) {
	for name, limit := range map[string]func(d *disk){
		"by MaxBytes": func(*disk) {},
		"by the disk": func(d *disk) {
			left := 4
			d.before = func(call string, f *os.File) error {
				if call == "allocate" {
					if left--; left < 0 {
						return syscall.ENOSPC
					}
				}
				return nil
			}
		},
	} {
		d := newDisk(t.TempDir())
		limit(d)
		s, _ := openDisk(t, d)
		var full *FullError
		var opened []uint32
		for i := uint32(1); ; i++ {
			size := rand.IntN(200)
			if err := s.WriteOpen(key(i), make([]byte, size)); err != nil {
				if !errors.As(err, &full) || full.Cause != nil && !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), d.dir) {
					t.Fatalf("%s: open: %v", name, err)
				}
				break
			}
			opened = append(opened, i)
			if s.room() < s.reserved || s.reserved < int64(len(opened))*s.closeRoom {
				t.Fatalf("%s: %d bytes are reserved for %d calls, and there is room for %d", name, s.reserved, len(opened), s.room())
			}
		}
		if (full.Cause != nil) != (name == "by the disk") || len(opened) < 20 || full.Unflushed != 0 {
			t.Errorf("%s: %d calls, then %+v", name, len(opened), full)
		}
		if stats := s.Stats(); stats.Refused != 1 || stats.Bytes > stats.MaxBytes || stats.Live != len(opened) {
			t.Errorf("%s: %+v", name, stats)
		}
		rand.Shuffle(len(opened), func(i, j int) { opened[i], opened[j] = opened[j], opened[i] })
		for _, i := range opened {
			mustClose(t, s, i, strings.Repeat("x", 150), Relaxed)
		}
		if n := len(pending(t, s)); n != len(opened) {
			t.Errorf("%s: %d of %d are pending", name, n, len(opened))
		}
		if err := s.Done(s.last); err != nil {
			t.Fatal(err)
		}
		d.before = nil
		mustOpen(t, s, 1<<20, "again")
	}
}

// A call that is open for long keeps no segment; its record moves on, with its
// top-ups, and a crash finds it.
func TestALongCallKeepsNoSegment(t *testing.T) {
	d := newDisk(t.TempDir())
	s, _ := openDisk(t, d)
	mustOpen(t, s, 1, "long")
	mustOpen(t, s, 2, "long, and ends")
	most := int64(0)
	for i := uint32(10); i < 2000; i++ {
		mustOpen(t, s, i, "short")
		if i%400 == 0 {
			if err := s.WriteTopUp(key(1), fmt.Appendf(nil, "%d", i)); err != nil {
				t.Fatal(err)
			}
		}
		mustClose(t, s, i, strings.Repeat("x", 100), Store)
		if i%20 == 0 {
			if err := s.Done(pending(t, s)[0].Position + 1<<20); err != nil {
				t.Fatal(err)
			}
		}
		most = max(most, s.Stats().Bytes)
	}
	if stats := s.Stats(); most > 4*s.config.SegmentBytes || stats.Carried == 0 {
		t.Errorf("%d bytes at most, %+v", most, stats)
	}
	mustClose(t, s, 2, "end", Commit)
	dir := t.TempDir()
	d.kill(dir)
	again, report := openDisk(t, newDisk(dir))
	if report.Abandoned != 1 || !report.Complete {
		t.Errorf("report %+v", report)
	}
	entries := pending(t, again)
	i := slices.IndexFunc(entries, func(e Entry) bool { return e.Abandoned })
	if e := entries[i]; e.Key != key(1) || string(e.Payload) != "long" || len(e.TopUps) != 4 || string(e.TopUps[3]) != "1600" {
		t.Errorf("the long call is %+v", e)
	}
	if j := slices.IndexFunc(entries, func(e Entry) bool { return e.Key == key(2) }); j < 0 || entries[j].Abandoned {
		t.Errorf("the call that ended is entry %d of %+v", j, entries)
	}
}

// All who wait while an fsync runs share the next one.
func TestCommitsShareAnFsync(t *testing.T) {
	d := newDisk(t.TempDir())
	synctest.Test(t, func(t *testing.T) { shareAnFsync(t, d) })
}

func shareAnFsync(t *testing.T, d *disk) {
	s, _ := openDisk(t, d)
	for i := range uint32(33) {
		mustOpen(t, s, i, "")
	}
	gate := make(chan struct{})
	d.before = func(call string, f *os.File) error {
		if call == "sync" {
			<-gate
		}
		return nil
	}
	before := s.Stats()
	var group sync.WaitGroup
	for i := range uint32(33) {
		group.Go(func() { mustClose(t, s, i, "", Commit) })
	}
	synctest.Wait()
	close(gate)
	group.Wait()
	after := s.Stats()
	if syncs := after.Syncs - before.Syncs; syncs > 3 || after.SyncWaiters-before.SyncWaiters != 33 || after.LargestSync < 16 {
		t.Errorf("%d fsyncs: %+v", syncs, after)
	}
}

// A caller that gives up undoes nothing.
func TestWhoGivesUpUndoesNothing(t *testing.T) {
	d := newDisk(t.TempDir())
	s, _ := openDisk(t, d)
	mustOpen(t, s, 1, "")
	gate := make(chan struct{})
	d.before = func(call string, f *os.File) error {
		if call == "sync" {
			<-gate
		}
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	position, err := s.WriteClose(ctx, key(1), []byte("end"), nil, Commit)
	if !errors.Is(err, context.Canceled) || position == 0 {
		t.Errorf("position %d, %v", position, err)
	}
	if _, err := s.WriteClose(ctx, key(1), []byte("end"), nil, Commit); !errors.Is(err, ErrNotOpen) {
		t.Errorf("again: %v", err)
	}
	close(gate)
	if entries := pending(t, s); len(entries) != 1 || entries[0].Position != position {
		t.Errorf("pending %+v", entries)
	}
}

func TestWhatNobodyWaitsForIsSyncedSoon(t *testing.T) {
	for _, durability := range []Durability{Relaxed, Store} {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			config := smallConfig(newDisk(dir))
			config.SyncEvery = 100 * time.Millisecond
			s, _, err := Open(config)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			mustOpen(t, s, 1, "")
			time.Sleep(time.Second)
			if n := s.Stats().Syncs; n != 0 {
				t.Errorf("%d fsyncs for an OPEN", n)
			}
			mustOpen(t, s, 2, "")
			mustClose(t, s, 1, "", durability)
			mustClose(t, s, 2, "", durability)
			time.Sleep(99 * time.Millisecond)
			synctest.Wait()
			if stats := s.Stats(); stats.Syncs != 0 || stats.OldestUnflushed != 99*time.Millisecond {
				t.Errorf("after 99 ms: %+v", stats)
			}
			time.Sleep(time.Millisecond)
			synctest.Wait()
			if n := s.Stats().Syncs; n != 1 {
				t.Errorf("%d fsyncs after 100 ms; want 1", n)
			}
			time.Sleep(time.Second)
			if n := s.Stats().Syncs; n != 1 {
				t.Errorf("%d fsyncs with nothing to sync; want 1", n)
			}
		})
	}
}

func TestPendingWaits(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, _, err := Open(smallConfig(newDisk(dir)))
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			time.Sleep(time.Hour)
			mustOpen(t, s, 1, "")
			mustClose(t, s, 1, "end", Relaxed)
		}()
		start := time.Now()
		entries, err := s.Pending(context.Background(), 1)
		if err != nil || len(entries) != 1 || time.Since(start) != time.Hour {
			t.Errorf("%+v, %v, after %s", entries, err, time.Since(start))
		}
		if err := s.Done(entries[0].Position); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if _, err := s.Pending(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("pending: %v", err)
		}
		go func() {
			time.Sleep(time.Minute)
			_ = s.Close()
		}()
		if _, err := s.Pending(context.Background(), 1); !errors.Is(err, ErrClosed) {
			t.Errorf("pending: %v", err)
		}
		if err := s.WriteOpen(key(2), nil); !errors.Is(err, ErrClosed) {
			t.Errorf("open: %v", err)
		}
	})
}

func TestOneProcessHasTheFolder(t *testing.T) {
	d := newDisk(t.TempDir())
	s, _ := openDisk(t, d)
	_, _, err := Open(smallConfig(d))
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) || !strings.Contains(err.Error(), d.dir) {
		t.Errorf("a second spool: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	openDisk(t, d)
}

func TestWhatIsMisconfiguredSaysSo(t *testing.T) {
	good := Config{Dir: "x", Replica: "a"}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*Config){
		"Dir":          func(c *Config) { c.Dir = "" },
		"Replica":      func(c *Config) { c.Replica = strings.Repeat("a", 129) },
		"SegmentBytes": func(c *Config) { c.SegmentBytes = 1 << 10 },
		"MaxBytes":     func(c *Config) { c.MaxBytes = 3 * 8 << 20 },
		"CloseBytes":   func(c *Config) { c.CloseBytes = 1 << 20 },
		"SyncEvery":    func(c *Config) { c.SyncEvery = -1 },
	} {
		c := good
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if _, _, err := Open(Config{}); err == nil {
		t.Error("a spool without a folder is opened")
	}
}

// A record that is too large is refused, and a CLOSE that is larger than what
// its OPEN reserved asks for more.
func TestLargeRecords(t *testing.T) {
	s, _ := openDisk(t, newDisk(t.TempDir()))
	if err := s.WriteOpen(key(1), make([]byte, 201)); err == nil || !strings.Contains(err.Error(), "SegmentBytes") {
		t.Errorf("open: %v", err)
	}
	mustOpen(t, s, 1, strings.Repeat("x", 200))
	mustClose(t, s, 1, strings.Repeat("x", 200), Store)
	if entries := pending(t, s); len(entries) != 1 || len(entries[0].Payload) != 200 {
		t.Errorf("pending %+v", entries)
	}
}

// The real disk: allocation, boot id, names.
func TestTheRealDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	config := Config{Dir: dir, Replica: "a"}
	s, report, err := Open(config)
	if err != nil {
		t.Fatal(err)
	}
	if report.Closed+report.Abandoned > 0 || !report.Complete {
		t.Errorf("report of an empty folder: %+v", report)
	}
	mustOpen(t, s, 1, "")
	mustOpen(t, s, 2, "")
	mustClose(t, s, 2, "", Commit)
	var stat syscall.Stat_t
	if err := syscall.Stat(files(t, dir, segmentSuffix)[0], &stat); err != nil || stat.Blocks*512 < s.config.SegmentBytes {
		t.Errorf("a segment of %d bytes has %d on disk, %v", s.config.SegmentBytes, stat.Blocks*512, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, report, err = Open(config)
	if err != nil {
		t.Fatal(err)
	}
	if report.Closed != 1 || report.Abandoned != 1 || !report.Complete || !report.SameBoot {
		t.Errorf("report %+v", report)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// What was just written comes back as it was given, and need not be read; what the
// flusher is too far behind with is read, and nothing is missed between the two.
func TestValuesComeBackWithoutReading(t *testing.T) {
	s, _, err := Open(Config{Dir: t.TempDir(), Replica: "r", Incarnation: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	write := func(n uint32, value any) {
		mustOpen(t, s, n, "")
		if _, err := s.WriteClose(t.Context(), key(n), fmt.Append(nil, n), value, Relaxed); err != nil {
			t.Fatal(err)
		}
	}
	const calls = mostRecent + 100
	for n := range uint32(calls) {
		write(n, n)
	}
	write(calls, nil)
	write(calls+1, uint32(calls+1))
	next, read := uint32(0), 0
	for next < calls+2 {
		entries, err := s.Pending(t.Context(), max(1, min(100, int(calls+1-next))))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Value == nil {
				read++
			}
			if e.Key != key(next) || e.Value != nil && e.Value != next || (e.Value == nil) != (string(e.Payload) == fmt.Sprint(next)) {
				t.Fatalf("entry %+v; want that of call %d", e, next)
			}
			next++
		}
		if err := s.Done(entries[len(entries)-1].Position); err != nil {
			t.Fatal(err)
		}
	}
	if read != calls+1 {
		t.Errorf("%d entries were read; want all but the last, which is the only one behind the one without a value", read)
	}
	for n := uint32(calls + 2); n < 2*calls; n++ {
		write(n, n)
	}
	for next < 2*calls {
		entries, err := s.Pending(t.Context(), 512)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Key != key(next) || e.Value == nil && int(next) > 2*calls-mostRecent/2 {
				t.Fatalf("entry %+v; want the value of call %d", e, next)
			}
			next++
		}
		if err := s.Done(entries[len(entries)-1].Position); err != nil {
			t.Fatal(err)
		}
	}
}
