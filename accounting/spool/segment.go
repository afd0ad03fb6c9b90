package spool

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	segmentSuffix = ".wal"
	poisonSuffix  = ".poison"
)

// system is what the spool asks of the operating system and can fail.
type system struct {
	writeAt  func(*os.File, []byte, int64) (int, error)
	sync     func(*os.File) error
	allocate func(*os.File, int64) error
	remove   func(string) error
	rename   func(from, to string) error
	bootID   func() string
}

var realSystem = &system{
	writeAt:  (*os.File).WriteAt,
	sync:     syncFile,
	allocate: allocate,
	remove:   os.Remove,
	rename:   os.Rename,
	bootID:   bootID,
}

// A segment is one file of the log. Its counters and offsets are guarded by
// the spool's mu.
type segment struct {
	name   string
	number uint32
	file   *os.File
	seed   uint32
	size   int64 // of the file

	end     int64 // behind the last record that was appended
	written int64 // behind the last record that is with the operating system
	synced  int64
	flushed int64 // behind the last entry that is Done

	live    int  // calls of this process that are open and whose OPEN is here
	closing int  // entries that are not Done and whose OPEN is here
	entries int  // entries that are here and not Done
	old     bool // written by an earlier process
	poison  bool // a part of it cannot be read
}

func segmentName(number uint32, salt uint64) string {
	return fmt.Sprintf("%08x-%016x%s", number, salt, segmentSuffix)
}

func parseSegmentName(name string) (number uint32, salt uint64, err error) {
	if _, err := fmt.Sscanf(name, "%08x-%016x"+segmentSuffix, &number, &salt); err != nil || segmentName(number, salt) != name {
		return 0, 0, fmt.Errorf("%s is not the name of a segment: it does not belong into this folder", name)
	}
	return number, salt, nil
}

func (s *Spool) path(name string) string { return filepath.Join(s.config.Dir, name) }

// room is how many bytes of records fit for certain into what is allocated,
// whatever their order: a segment may leave less than a record's size empty.
func (s *Spool) room() int64 {
	room := int64(len(s.spares)) * (s.config.SegmentBytes - segmentHeader - s.maxRecord)
	if s.active != nil {
		room += max(0, s.active.size-s.active.end-s.maxRecord)
	}
	return room
}

// makeRoom allocates segments until there is room for n bytes beyond what is
// reserved. It fails with a *FullError. s.mu is held.
func (s *Spool) makeRoom(n int64) error {
	for s.room() < s.reserved+n {
		full := &FullError{Dir: s.config.Dir, Bytes: s.bytes, MaxBytes: s.config.MaxBytes, Live: len(s.live), Unflushed: s.unflushed}
		if s.bytes+s.config.SegmentBytes > s.config.MaxBytes {
			return full
		}
		g, err := s.create()
		if err != nil {
			full.Cause = err
			return full
		}
		s.spares = append(s.spares, g)
	}
	return nil
}

// create makes a segment, with its disk. s.mu is held.
func (s *Spool) create() (*segment, error) {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	salt := binary.LittleEndian.Uint64(random[:])
	g := &segment{number: s.nextFile, name: segmentName(s.nextFile, salt), seed: seed(salt), size: s.config.SegmentBytes, end: segmentHeader, written: segmentHeader, flushed: segmentHeader}
	file, err := os.OpenFile(s.path(g.name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	g.file = file
	h := header{number: g.number, bootID: s.bootID, replica: s.config.Replica, incarnation: s.config.Incarnation}
	if err = s.system.allocate(file, g.size); err == nil {
		_, err = s.system.writeAt(file, h.encode(), 0)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("allocate %d bytes for %s: %w", g.size, g.name, err), file.Close(), s.system.remove(s.path(g.name)))
	}
	s.nextFile++
	s.bytes += g.size
	s.dirDirty = true
	return g, nil
}

// discard deletes the file of a segment, or keeps it aside where a part of it
// could not be read. The folder is still to be synced.
func (s *Spool) discard(g *segment) error {
	if g.poison {
		return s.system.rename(s.path(g.name), s.path(strings.TrimSuffix(g.name, segmentSuffix)+poisonSuffix))
	}
	return s.system.remove(s.path(g.name))
}

// fillWithZeros allocates by writing.
func fillWithZeros(f *os.File, size int64) error {
	var zeros [64 << 10]byte
	for at := int64(0); at < size; at += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-at)], at); err != nil {
			return err
		}
	}
	return nil
}
