package spool

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func openDisk(t testing.TB, d *disk) (*Spool, Report) {
	t.Helper()
	s, report, err := Open(smallConfig(d))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, report
}

func mustOpen(t testing.TB, s *Spool, n uint32, payload string) {
	t.Helper()
	if err := s.WriteOpen(key(n), []byte(payload)); err != nil {
		t.Fatal(err)
	}
}

func mustClose(t testing.TB, s *Spool, n uint32, payload string, d Durability) Position {
	t.Helper()
	position, err := s.WriteClose(context.Background(), key(n), []byte(payload), nil, d)
	if err != nil {
		t.Fatal(err)
	}
	return position
}

// written is a folder with calls 1 to n, of which the even ones are closed and
// every third has a top-up, as a killed process leaves it.
func written(t testing.TB, n uint32) (dir string) {
	t.Helper()
	d := newDisk(t.TempDir())
	s, _ := openDisk(t, d)
	for i := uint32(1); i <= n; i++ {
		mustOpen(t, s, i, fmt.Sprintf("open %d", i))
		if i%3 == 0 {
			if err := s.WriteTopUp(key(i), []byte("more")); err != nil {
				t.Fatal(err)
			}
		}
		if i%2 == 0 {
			mustClose(t, s, i, fmt.Sprintf("close %d", i), Store)
		}
	}
	dir = t.TempDir()
	d.kill(dir)
	return dir
}

func copyFolder(from, to string) { newDisk(from).kill(to) }

// Whatever byte is the last that reached the disk, all records before it are
// read, and nothing else is said to be damaged.
func TestATornTailIsCutOff(t *testing.T) {
	dir := written(t, 4)
	paths := files(t, dir, segmentSuffix)
	whole, err := os.ReadFile(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	_, salt, err := parseSegmentName(filepath.Base(paths[0]))
	if err != nil {
		t.Fatal(err)
	}
	var ends []int
	scan(whole[segmentHeader:], seed(salt), func(offset int64, r record) bool {
		ends = append(ends, segmentHeader+int(offset+r.size()))
		return true
	})
	if len(ends) != 4+1+2 {
		t.Fatalf("%d records are written; want 7", len(ends))
	}
	used, root := ends[len(ends)-1], t.TempDir()
	for n := 0; n <= used; n++ {
		for _, zeros := range []bool{false, true} { // the file ends there, or only what was written into it
			cut := slices.Clone(whole[:n])
			if zeros {
				cut = append(cut, make([]byte, len(whole)-n)...)
			}
			to := filepath.Join(root, fmt.Sprint(n, zeros))
			if err := os.Mkdir(to, 0o700); err != nil {
				t.Fatal(err)
			}
			keep(to, filepath.Base(paths[0]), cut)
			s, report := openDisk(t, newDisk(to))
			want := 0
			for want < len(ends) && ends[want] <= n {
				want++
			}
			if int(s.last) != want {
				t.Fatalf("cut at %d of %d: %d records are read; want %d", n, used, s.last, want)
			}
			start := segmentHeader
			if want > 0 {
				start = ends[want-1]
			}
			torn := n > start && lastByte(whole[start:n]) > 0
			if n > segmentHeader && torn != (len(report.Damage) == 1 && report.Damage[0].Torn) || n > segmentHeader && !torn && len(report.Damage) > 0 {
				t.Fatalf("cut at %d of %d: %+v", n, used, report)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if !torn {
				continue
			}
			// What was cut off is told once.
			if again, report := openDisk(t, newDisk(to)); len(report.Damage) > 0 || int(again.last) != want {
				t.Fatalf("cut at %d, read again: %d records, %+v", n, again.last, report)
			}
		}
	}
}

// A flipped bit costs at most the record it is in, the loss is told, and the
// file is kept.
func TestAFlippedBitIsToldAndReadAround(t *testing.T) {
	dir := written(t, 120)
	paths := files(t, dir, segmentSuffix)
	if len(paths) < 3 {
		t.Fatalf("there are %d segments; want some", len(paths))
	}
	sound := t.TempDir()
	copyFolder(dir, sound)
	s, _ := openDisk(t, newDisk(sound))
	all := pending(t, s)
	root := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		to, err := os.MkdirTemp(root, "flip")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(to)
		copyFolder(dir, to)
		path := filepath.Join(to, filepath.Base(rapid.SampledFrom(paths).Draw(t, "file")))
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		at := rapid.IntRange(0, max(lastByte(b)-1, segmentHeader)).Draw(t, "byte")
		if rapid.IntRange(0, 9).Draw(t, "anywhere") == 0 {
			at = rapid.IntRange(0, len(b)-1).Draw(t, "byte of the file")
		}
		b[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		keep(to, filepath.Base(path), b)

		d := newDisk(to)
		s, report, err := Open(smallConfig(d))
		if err != nil {
			t.Fatalf("a flipped bit at %d keeps the rest from being read: %v", at, err)
		}
		defer func() { _ = s.Close() }()
		if len(report.Damage) == 0 && report.Complete {
			t.Fatalf("a flipped bit at %d of %s is not told: %+v", at, path, report)
		}
		lost := 0
		got := map[Key]Entry{}
		for _, e := range pending(t, s) {
			got[e.Key] = e
		}
		for _, want := range all {
			e, ok := got[want.Key]
			delete(got, want.Key)
			if !ok || e.Abandoned != want.Abandoned || !bytes.Equal(e.Payload, want.Payload) || len(e.TopUps) != len(want.TopUps) {
				if lost++; ok && !want.Abandoned && !e.Abandoned {
					t.Fatalf("entry %+v became %+v", want, e)
				}
				if !ok && !want.Abandoned {
					t.Fatalf("a call whose CLOSE was lost is not in doubt: %+v", want)
				}
			}
		}
		if lost > 1 || len(got) > 0 {
			t.Fatalf("one bit costs %d entries, and invents %v", lost, got)
		}
		if lost == 1 && len(report.Damage) == 0 {
			t.Fatalf("an entry is lost, and the report is %+v", report)
		}
		missing, poison := 0, false
		for _, d := range report.Damage {
			missing, poison = missing+d.Missing, poison || !d.Torn
			if d.File != path {
				t.Fatalf("%s was damaged, and the report says %+v", path, d)
			}
		}
		if poison && missing > 1 || lost == 1 && poison && missing != 1 {
			t.Fatalf("%d entries are lost, and the report says %+v", lost, report)
		}
		// When all is Done the damaged file stands aside, as it was.
		if err := s.Done(s.last); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if n := len(pending(t, s)); n > 0 {
				t.Fatalf("%d entries are pending after Done", n)
			}
		}
		aside, err := os.ReadFile(strings.TrimSuffix(path, segmentSuffix) + poisonSuffix)
		if poison != (err == nil) || poison && !bytes.Equal(aside, b) {
			t.Fatalf("poisoned %t, and the file aside: %v", poison, err)
		}
		if left, err := filepath.Glob(filepath.Join(to, "*"+segmentSuffix)); err != nil || len(left) > 0 {
			t.Fatalf("segments %v are left, %v", left, err)
		}
	})
}

// A segment that is gone, or ends before its last record, is missed by the one
// behind it.
func TestALostSegmentIsMissed(t *testing.T) {
	for name, harm := range map[string]func(path string) error{
		"deleted": os.Remove,
		"cut":     func(path string) error { return os.Truncate(path, 4000) },
		"emptied": func(path string) error { return os.Truncate(path, 0) },
	} {
		dir := written(t, 170)
		paths := files(t, dir, segmentSuffix)
		if err := harm(paths[1]); err != nil {
			t.Fatal(err)
		}
		s, report := openDisk(t, newDisk(dir))
		missing := 0
		for _, d := range report.Damage {
			missing += d.Missing
		}
		read := 0
		for _, d := range paths {
			b, err := os.ReadFile(d)
			if err != nil {
				continue
			}
			_, salt, _ := parseSegmentName(filepath.Base(d))
			scan(b[min(segmentHeader, len(b)):], seed(salt), func(int64, record) bool { read++; return true })
		}
		if missing == 0 || missing+read != int(s.last) || report.Complete {
			t.Errorf("%s: %d records read, %d missing, %d in all: %+v", name, read, missing, s.last, report)
		}
	}
}

// Bytes that a caller chose are no record, even where reading resumes.
func TestAPayloadIsNoRecord(t *testing.T) {
	d := newDisk(t.TempDir())
	s, _ := openDisk(t, d)
	forged := appendRecord(nil, seed(0), &record{kind: kindClose, key: key(9), position: 4, payload: []byte("nothing")})
	mustOpen(t, s, 1, string(forged))
	mustClose(t, s, 1, "", Store)
	dir := t.TempDir()
	d.kill(dir)
	path := files(t, dir, segmentSuffix)[0]
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[segmentHeader+40]++
	keep(dir, filepath.Base(path), b)
	again, report := openDisk(t, newDisk(dir))
	entries := pending(t, again)
	if len(entries) != 1 || entries[0].Key != key(1) || len(report.Damage) != 1 {
		t.Errorf("entries %+v, report %+v", entries, report)
	}
}

func TestAnotherVersionIsRefusedByName(t *testing.T) {
	dir := written(t, 1)
	path := files(t, dir, segmentSuffix)[0]
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	h := header{number: 1, bootID: "boot-1", replica: "a"}
	changed := h.encode()
	changed[8] = 2
	keep(dir, filepath.Base(path), append(reseal(changed), b[segmentHeader:]...))
	_, _, err = Open(smallConfig(newDisk(dir)))
	if err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("open: %v", err)
	}
	keep(dir, "notes.wal", nil)
	if _, _, err = Open(smallConfig(newDisk(dir))); err == nil {
		t.Error("a file of another's is taken for nothing")
	}
}

// reseal gives a header that was changed the checksum that it would have.
func reseal(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(b[:segmentHeader-4], crc32.Checksum(b[:segmentHeader-4], castagnoli))
}

// What is read tells who wrote it.
func TestTheReportNamesIncarnations(t *testing.T) {
	d := newDisk(t.TempDir())
	var want []Incarnation
	for i := range uint64(3) {
		config := smallConfig(d)
		config.Incarnation = i
		s, report, err := Open(config)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(report.Incarnations, want) || !report.SameBoot || !report.Complete {
			t.Errorf("incarnation %d: %+v; want %v", i, report, want)
		}
		mustOpen(t, s, uint32(i+1), "")
		want = append(want, Incarnation{Replica: "a", Number: i, BootID: "boot-1"})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	d.boot = "boot-2"
	if _, report := openDisk(t, d); report.SameBoot || report.Complete {
		t.Errorf("after another boot: %+v", report)
	}
}

// A power cut may leave nothing at all of a process that had accepted calls.
func TestNothingAtAllIsNotComplete(t *testing.T) {
	d := newDisk(t.TempDir())
	s, _ := openDisk(t, d)
	mustOpen(t, s, 1, "")
	dir := t.TempDir()
	d.powerCut(dir, func() bool { return true })
	if n := len(files(t, dir, segmentSuffix)); n > 0 {
		t.Fatalf("%d segments survived", n)
	}
	next := newDisk(dir)
	next.boot = "boot-2"
	if _, report := openDisk(t, next); report.SameBoot || report.Complete {
		t.Errorf("report %+v", report)
	}
}

func FuzzScan(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		const salt = 1
		end := int64(0)
		scan(b, seed(salt), func(offset int64, r record) bool {
			if offset < end || offset+r.size() > int64(len(b)) {
				t.Fatalf("a record of %d bytes at %d, behind %d, of %d", r.size(), offset, end, len(b))
			}
			end = offset + r.size()
			if again := appendRecord(nil, seed(salt), &r); !bytes.Equal(again, b[offset:end]) {
				t.Fatalf("%x reads %+v, which is written %x", b[offset:end], r, again)
			}
			return true
		})
		// A record behind anything is found.
		r := record{kind: kindOpen, key: key(1), position: 7, time: time.Unix(1, 2).UnixNano(), payload: b}
		found := false
		scan(appendRecord(slices.Clone(b), seed(salt+1), &r), seed(salt+1), func(_ int64, got record) bool {
			found = found || got.position == 7 && bytes.Equal(got.payload, b)
			return true
		})
		if !found {
			t.Fatalf("a record behind %x is not found", b)
		}
		if h, err := decodeHeader(b); err == nil {
			if again := h.encode(); !bytes.Equal(again[:24], b[:24]) {
				t.Fatalf("%x reads %+v", b, h)
			}
		}
	})
}

func always() bool { return true }

// Power goes, and of what was not synced nothing is left.
func afterPowerCut(t *testing.T, d *disk) map[Key]Entry {
	t.Helper()
	dir := t.TempDir()
	d.powerCut(dir, always)
	next := newDisk(dir)
	next.boot = "boot-2"
	s, _ := openDisk(t, next)
	entries := map[Key]Entry{}
	for _, e := range pending(t, s) {
		entries[e.Key] = e
	}
	return entries
}

// A commit covers what was written before it, in the segments before too.
func TestACommitCoversAllBeforeIt(t *testing.T) {
	d := newDisk(t.TempDir())
	s, _ := openDisk(t, d)
	n := uint32(0)
	for len(s.segments) < 3 {
		n++
		mustOpen(t, s, n, "open")
		mustClose(t, s, n, strings.Repeat("x", 100), Relaxed)
	}
	if entries := afterPowerCut(t, d); len(entries) > 0 {
		t.Errorf("%d entries survive a power cut, and nothing was synced: the test proves nothing", len(entries))
	}
	mustOpen(t, s, n+1, "last")
	mustClose(t, s, n+1, "last", Commit)
	if entries := afterPowerCut(t, d); len(entries) != int(n+1) {
		t.Errorf("%d of %d entries survive", len(entries), n+1)
	}
}

// An OPEN that was on disk still is when it has been carried forward.
func TestWhatIsCarriedForwardStaysOnDisk(t *testing.T) {
	d := newDisk(t.TempDir())
	s, _ := openDisk(t, d)
	mustOpen(t, s, 1, "long")
	mustOpen(t, s, 2, "")
	mustClose(t, s, 2, "", Commit)
	both := t.TempDir() // the folder when the call stands in it twice
	d.before = func(call string, f *os.File) error {
		if call == "remove" {
			d.kill(both)
		}
		return nil
	}
	for n := uint32(3); s.Stats().Carried == 0; n++ {
		mustOpen(t, s, n, "open")
		mustClose(t, s, n, strings.Repeat("x", 100), Relaxed)
		if err := s.Done(pending(t, s)[0].Position); err != nil {
			t.Fatal(err)
		}
	}
	if e, ok := afterPowerCut(t, d)[key(1)]; !ok || !e.Abandoned || string(e.Payload) != "long" {
		t.Errorf("the long call is %+v, %t", e, ok)
	}
	again, report := openDisk(t, newDisk(both))
	if n := len(pending(t, again)); report.Abandoned != 1 || n != report.Closed+1 || again.Stats().Unflushed != n {
		t.Errorf("%d entries, %+v, %+v", n, report, again.Stats())
	}
}

// The segment of an OPEN stays until its CLOSE is Done: were the CLOSE damaged,
// the call would be forgotten.
func TestAnOpenStaysUntilItsCloseIsDone(t *testing.T) {
	d := newDisk(t.TempDir())
	s, _ := openDisk(t, d)
	mustOpen(t, s, 1, "long")
	first := s.segments[0]
	d.before = func(call string, f *os.File) error {
		if call == "remove" && len(d.removed) > 0 {
			t.Error("a segment is deleted before it is on disk that the one before it was: a power cut leaves a gap")
		}
		return nil
	}
	for n := uint32(2); len(s.segments) < 3; n++ {
		mustOpen(t, s, n, "open")
		mustClose(t, s, n, strings.Repeat("x", 100), Relaxed)
	}
	last := mustClose(t, s, 1, "end", Commit)
	pending(t, s)
	if err := s.Done(last - 1); err != nil {
		t.Fatal(err)
	}
	if s.segments[0] != first {
		t.Error("the segment of an OPEN is gone, and its CLOSE is not Done")
	}
	if err := s.Done(last); err != nil {
		t.Fatal(err)
	}
	if len(s.segments) != 1 {
		t.Errorf("%d segments are left; want the one that is written", len(s.segments))
	}
}
