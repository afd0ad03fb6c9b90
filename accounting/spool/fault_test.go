package spool

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
)

// fsync fails: who waits gets the error, nothing more is accepted, it is not
// tried again, and what was written still reaches the flusher.
func TestAFailedSyncBreaksTheSpoolForGood(t *testing.T) {
	d := newDisk(t.TempDir())
	synctest.Test(t, func(t *testing.T) { breakBySync(t, d) })
	d.before = nil
	again, report := openDisk(t, d)
	if report.Complete || !report.SameBoot || report.Closed < 5 || report.Abandoned != 3 {
		t.Errorf("report %+v", report)
	}
	mustOpen(t, again, 100, "")
}

func breakBySync(t *testing.T, d *disk) {
	s, _ := openDisk(t, d)
	for i := range uint32(9) {
		mustOpen(t, s, i, "")
	}
	mustClose(t, s, 8, "", Commit)
	if err := s.Done(pending(t, s)[0].Position); err != nil {
		t.Fatal(err)
	}
	gate, syncs := make(chan struct{}), atomic.Int32{}
	d.before = func(call string, f *os.File) error {
		if call == "sync" {
			<-gate
			syncs.Add(1)
			return syscall.EIO
		}
		return nil
	}
	var group sync.WaitGroup
	for i := range uint32(5) {
		group.Go(func() {
			if _, err := s.WriteClose(context.Background(), key(i), []byte("end"), nil, Commit); !errors.Is(err, syscall.EIO) {
				t.Errorf("close: %v", err)
			}
		})
	}
	synctest.Wait()
	close(gate)
	group.Wait()
	if err := s.Err(); !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "restart") {
		t.Errorf("the spool says %v", err)
	}
	if err := s.WriteOpen(key(9), nil); !errors.Is(err, syscall.EIO) {
		t.Errorf("open: %v", err)
	}
	if err := s.WriteTopUp(key(5), nil); !errors.Is(err, syscall.EIO) {
		t.Errorf("top-up: %v", err)
	}
	if _, err := s.WriteClose(context.Background(), key(5), nil, nil, Store); !errors.Is(err, syscall.EIO) {
		t.Errorf("close: %v", err)
	}
	if n := len(pending(t, s)); n != 5 {
		t.Errorf("%d entries are pending; want 5", n)
	}
	if err := s.Close(); !errors.Is(err, syscall.EIO) {
		t.Errorf("closing it says %v", err)
	}
	if syncs.Load() != 1 {
		t.Errorf("fsync was called %d times", syncs.Load())
	}
}

// A write fails, in the middle of a record: nothing is accepted any more, and
// the next process reads what is whole.
func TestAFailedWriteBreaksTheSpoolForGood(t *testing.T) {
	d := newDisk(t.TempDir())
	s, _ := openDisk(t, d)
	mustOpen(t, s, 1, "one")
	fail := true
	d.before = func(call string, f *os.File) error {
		if call == "write" && fail {
			fail = false
			return syscall.EIO
		}
		return nil
	}
	if _, err := s.WriteClose(context.Background(), key(1), []byte("end"), nil, Relaxed); !errors.Is(err, syscall.EIO) {
		t.Errorf("close: %v", err)
	}
	if err := s.WriteOpen(key(2), nil); !errors.Is(err, syscall.EIO) {
		t.Errorf("open: %v", err)
	}
	if err := s.Close(); !errors.Is(err, syscall.EIO) {
		t.Errorf("closing it says %v", err)
	}
	_, report := openDisk(t, d)
	if report.Abandoned != 1 || report.Closed != 0 || report.Complete || len(report.Damage) != 1 || !report.Damage[0].Torn {
		t.Errorf("report %+v", report)
	}
}

// What cannot be read back, though it was written, breaks the spool; what
// stands before it is handed out first.
func TestWhatCannotBeReadBackIsToldAtOnce(t *testing.T) {
	d := newDisk(t.TempDir())
	s, _ := openDisk(t, d)
	var second Position
	for i := range uint32(3) {
		mustOpen(t, s, i, "")
		if p := mustClose(t, s, i, "end", Store); i == 1 {
			second = p
		}
	}
	at := segmentHeader + int64(second-1)*recordHeader + 3 + 20
	if _, err := s.active.file.WriteAt([]byte{0xff}, at); err != nil {
		t.Fatal(err)
	}
	entries, err := s.Pending(context.Background(), 10)
	if err != nil || len(entries) != 1 {
		t.Fatalf("%d entries, %v; want the first", len(entries), err)
	}
	if err := s.Done(entries[0].Position); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Pending(context.Background(), 10); err == nil || s.Err() == nil {
		t.Errorf("pending: %v, the spool says %v", err, s.Err())
	}
	_ = s.Close()
	again, report := openDisk(t, d)
	if report.Closed != 2 || report.Abandoned != 1 || len(report.Damage) != 1 || report.Damage[0].Missing != 1 || again.Err() != nil {
		t.Errorf("report %+v", report)
	}
}
