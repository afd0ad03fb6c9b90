// Package spool is the local write-ahead log of the ledger: what an attempt
// holds and what became of it is on this machine's disk before anybody is told,
// and goes from there to the database. It knows calls by their keys and carries
// opaque bytes; it knows no money, no lease and no database.
//
// # What it guarantees
//
// An attempt is written as an OPEN before its backend is called, as TOP-UPs
// where its hold grows, and as a CLOSE when it has ended. A flusher reads the
// CLOSEs with Pending, keeps them in the database, and says Done.
//
//   - What a method has accepted survives the process, however it ends: it is
//     with the operating system when the method returns. A CLOSE that was
//     waited for with Commit survives a power cut too, with all that was
//     written before it. Other CLOSEs do after Config.SyncEvery.
//   - An entry comes back from Pending until it is Done, after a restart too:
//     at least once, and the database's keys make it once. An OPEN that no
//     process closed comes back as an entry without an outcome.
//   - Where an OPEN was accepted its CLOSE can be written, whatever the limit
//     and however full the disk: its room is reserved in segments that are
//     allocated already. Where there is no more room, OPENs are refused with a
//     FullError; nothing is dropped. (Where a file system copies on write, such
//     as btrfs or ZFS, allocating reserves nothing, and a full disk ends as a
//     failed write.)
//   - After a failed write or fsync the spool is broken for good: nobody knows
//     what the disk has, and asking again would be answered by a page cache
//     that has forgotten the failure. Those who wait get the error, nothing more
//     is accepted, and only a restart, which reads what is there, mends it.
//     Pending goes on, so that what was written still reaches the database.
//   - Damage is told, never passed over: Open reports each stretch that cannot
//     be read, reads on behind it, and knows from the positions how many
//     records are missing. A damaged segment is not deleted when its entries
//     are Done, but renamed to *.poison and left to the operator. Until then it
//     stays in its place, so that a second crash cannot lose what is readable.
//
// # Format
//
// A folder holds segments of Config.SegmentBytes, allocated when they are made.
// Their names are a running number and a random salt, NNNNNNNN-SSSSSSSSSSSSSSSS.wal
// in hexadecimal. A segment starts with a header of 256 bytes: the format's
// version, the machine's boot id, the replica and its incarnation. Records
// follow, without gaps; behind the last are zeros. Numbers are little-endian.
//
//	 0  marker, 4 bytes, where reading resumes behind damage
//	 4  CRC32C of the salt and of all that follows
//	 8  length of the payload
//	12  of a TOP-UP, which one of its call it is; of a CLOSE, the number of the segment with its OPEN
//	16  kind, 1 byte, and three zeros
//	20  number of the attempt
//	24  position, one more than the record's before it
//	32  time, Unix nanoseconds
//	40  request id, 16 bytes
//	56  payload
//
// The salt keeps bytes that a caller chose, inside a payload, from being taken
// for a record where reading resumes behind damage.
//
// Every process starts a segment of its own, so that nothing is ever written
// behind a torn tail. Segments are deleted from the front, when their CLOSEs are
// Done and so are those of their OPENs; what is still open in them is written
// again at the end first, so that one long call keeps no segment.
//
// # Why our own
//
// The logs that exist as libraries (tidwall/wal is the best kept of the small
// ones) sync each write or none, reserve nothing, know no open records to carry
// forward, and refuse a damaged file as a whole. What would be left of them is
// the framing, which is the file record.go.
package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// A Position numbers the records of a spool in the order they were written in,
// from 1.
type Position uint64

// Key names an attempt: the call's UUIDv7 and the number of the attempt.
type Key struct {
	Request [16]byte
	Attempt uint32
}

func (k Key) String() string {
	r := k.Request
	return fmt.Sprintf("%x-%x-%x-%x-%x/%d", r[:4], r[4:6], r[6:8], r[8:10], r[10:], k.Attempt)
}

// Durability is what the writer of a CLOSE waits for. In every mode the record
// is with the operating system when WriteClose returns without an error.
type Durability uint8

// The modes of durability.
const (
	// Commit waits for an fsync, which all who wait at the time share.
	Commit Durability = iota
	// Relaxed waits for nothing more: the record is synced in the background.
	Relaxed
	// Store waits for nothing more here, since the caller waits for the
	// database. A database that is away keeps the record no less safe than Relaxed.
	Store
)

// ErrNotOpen says that a TOP-UP or a CLOSE has no OPEN.
var ErrNotOpen = errors.New("this process has not opened it, or has closed it already")

// ErrClosed says that the spool was closed.
var ErrClosed = errors.New("the spool is closed")

// A FullError says that there is no room for another OPEN or TOP-UP.
type FullError struct {
	Dir string
	// Bytes is what the segments take of MaxBytes.
	Bytes, MaxBytes int64
	// Live calls are open, and Unflushed entries are not in the database yet.
	Live, Unflushed int
	// Cause is why the disk gave no more room below MaxBytes; else nil.
	Cause error
}

func (e *FullError) Error() string {
	way := "room comes back as they get there; or raise the spool's MaxBytes"
	if e.Cause != nil {
		way = fmt.Sprintf("the disk gives no more (%v): free some of it", e.Cause)
	}
	return fmt.Sprintf("spool %s is full: %d of %d bytes are taken, for %d calls that run and %d that wait for the database; %s", e.Dir, e.Bytes, e.MaxBytes, e.Live, e.Unflushed, way)
}

func (e *FullError) Unwrap() error { return e.Cause }

// A Spool is the open log of one process. Its methods are safe for concurrent
// use; of flushers, which call Pending and Done, there is one at a time.
type Spool struct {
	config    Config
	system    *system
	lock      *os.File
	dir       *os.File
	maxRecord int64 // with its header
	closeRoom int64 // of the record that an OPEN reserves
	bootID    string

	wake     chan struct{} // to the syncer: somebody waits, or something is unsynced
	readable chan struct{} // to the flusher: CLOSEs were written
	quit     chan struct{}
	stopped  chan struct{}

	// syncing is held while files are synced or closed. It is taken before mu.
	syncing sync.Mutex
	// flushing is held by Pending and Done. It is taken before syncing.
	flushing sync.Mutex
	handed   []handed // what Pending returned last and is not Done

	mu     sync.Mutex
	err    error // broken for good
	closed bool

	segments []*segment // oldest first; of this process's, the last is written
	spares   []*segment // allocated, empty
	active   *segment   // nil before the first record
	nextFile uint32
	bytes    int64 // of segments and spares

	live     map[Key]call
	reserved int64 // for the CLOSEs of live, and for carrying live forward

	last    Position // appended
	written Position // with the operating system
	synced  Position

	batch   batch         // what the next write writes
	idle    batch         // whose memory the batch after that takes
	turn    [2]*sync.Cond // who waits for the write of batches of even and of odd number
	writing bool
	writes  Position // the last that the batch being written has

	round    *round // of those who wait for the next fsync
	dirty    bool   // a CLOSE was written and no fsync has begun since
	dirDirty bool

	abandoned map[Key]abandoned // OPENs of earlier processes without CLOSE
	recent    []handed          // the newest entries with values, appended
	unflushed int               // entries, as far as written
	oldest    time.Time         // when the oldest of them was written, at the latest
	counts    Stats
}

// A call is an attempt that is open.
type call struct {
	home   *segment // where its OPEN is
	open   place
	topUps []place
	bytes  int64    // of its records
	last   Position // of its records
}

// A place is where a record is.
type place struct {
	segment *segment
	offset  int64
	size    int64
}

// Open takes the folder, reads what is in it, and reports what it found. Where
// another process has the folder, it fails.
func Open(config Config) (*Spool, Report, error) {
	if err := config.Validate(); err != nil {
		return nil, Report{}, err
	}
	config = config.withDefaults()
	if err := os.MkdirAll(config.Dir, 0o700); err != nil {
		return nil, Report{}, fmt.Errorf("make the spool's folder: %w", err)
	}
	lock, err := lockFolder(config.Dir)
	if err != nil {
		return nil, Report{}, err
	}
	dir, err := os.Open(config.Dir)
	if err != nil {
		return nil, Report{}, errors.Join(err, lock.Close())
	}
	s := &Spool{
		config: config, system: config.system, lock: lock, dir: dir, bootID: config.system.bootID(),
		maxRecord: config.SegmentBytes / recordShare, closeRoom: int64(recordHeader + config.CloseBytes),
		wake: make(chan struct{}, 1), readable: make(chan struct{}, 1), quit: make(chan struct{}), stopped: make(chan struct{}),
		live: map[Key]call{}, abandoned: map[Key]abandoned{}, nextFile: 1,
	}
	s.turn = [2]*sync.Cond{sync.NewCond(&s.mu), sync.NewCond(&s.mu)}
	report, err := s.recover()
	if err != nil {
		for _, g := range s.segments {
			err = errors.Join(err, g.file.Close())
		}
		return nil, Report{}, errors.Join(fmt.Errorf("read spool %s: %w", config.Dir, err), dir.Close(), lock.Close())
	}
	go s.syncer()
	return s, report, nil
}

// Err returns why the spool is broken, nil where it is not. Once it is, only a
// restart mends it.
func (s *Spool) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Close syncs what was written and gives the folder back. Calls that are open
// come back as entries without an outcome when it is opened again. Where every
// entry is Done and no call is open it leaves no segment.
func (s *Spool) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	err := s.await(s.last)
	s.mu.Unlock()
	close(s.quit)
	<-s.stopped
	if err == nil {
		err = s.sync()
	}

	s.flushing.Lock()
	defer s.flushing.Unlock()
	s.syncing.Lock()
	defer s.syncing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	var failed []error
	keep := s.err != nil || s.unflushed > 0 || len(s.live) > 0
	for _, g := range append(s.segments, s.spares...) {
		failed = append(failed, g.file.Close())
		if !keep {
			failed = append(failed, s.discard(g))
		}
	}
	if !keep {
		failed = append(failed, s.system.sync(s.dir))
	}
	if err == nil && s.err == nil {
		failed = append(failed, s.sign(true, true))
	}
	failed = append(failed, s.dir.Close(), s.lock.Close())
	return errors.Join(err, errors.Join(failed...))
}

// Stats are counters since Open and gauges of now.
type Stats struct {
	// Bytes is what the segments take on disk, of MaxBytes; Reserved is what of
	// it belongs to calls that are open.
	Bytes, MaxBytes, Reserved int64
	Segments                  int
	// Live is the number of calls that are open, Unflushed that of the entries
	// that are not Done, and OldestUnflushed the age of the oldest, or a little
	// more.
	Live, Unflushed int
	OldestUnflushed time.Duration

	// Records were written by Writes system calls. Syncs were made for
	// SyncWaiters, LargestSync of them at once.
	Records, Writes, Syncs, SyncWaiters, LargestSync uint64
	// Carried is the number of calls that were carried forward, Refused that of
	// OPENs and TOP-UPs that found no room.
	Carried, Refused uint64
}

// Stats returns the counters and gauges.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.counts
	stats.Bytes, stats.MaxBytes, stats.Reserved = s.bytes, s.config.MaxBytes, s.reserved
	stats.Segments, stats.Live, stats.Unflushed = len(s.segments)+len(s.spares), len(s.live), s.unflushed
	if s.unflushed > 0 {
		stats.OldestUnflushed = max(0, s.config.Now().Sub(s.oldest))
	}
	return stats
}

// WriteOpen records that an attempt begins, before its backend is called. The
// payload is copied. It fails with a *FullError where there is no room for the
// record, for its CLOSE, and for carrying it forward; or where the spool is
// broken. After another error than FullError nobody knows whether it is written.
func (s *Spool) WriteOpen(key Key, payload []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	size, err := s.admit(key, payload)
	if err != nil {
		return err
	}
	if _, ok := s.live[key]; ok {
		return fmt.Errorf("call %s is open already", key)
	}
	if err := s.makeRoom(2*size + s.closeRoom); err != nil {
		s.counts.Refused++
		return err
	}
	at := s.append(&record{kind: kindOpen, key: key, payload: payload})
	at.segment.live++
	s.live[key] = call{home: at.segment, open: at, bytes: size, last: s.last}
	s.reserved += size + s.closeRoom
	return s.await(s.last)
}

// WriteTopUp records that an attempt's hold grows, before what it pays for is
// let through. The payload is copied. It fails as WriteOpen does, and with
// ErrNotOpen.
func (s *Spool) WriteTopUp(key Key, payload []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	size, err := s.admit(key, payload)
	if err != nil {
		return err
	}
	c, ok := s.live[key]
	if !ok {
		return fmt.Errorf("call %s cannot be topped up: %w", key, ErrNotOpen)
	}
	if len(c.topUps) == maxTopUps {
		return fmt.Errorf("call %s was topped up %d times, which is the most: top it up by larger amounts", key, maxTopUps)
	}
	if err := s.makeRoom(2 * size); err != nil {
		s.counts.Refused++
		return err
	}
	at := s.append(&record{kind: kindTopUp, key: key, reference: uint32(len(c.topUps) + 1), payload: payload})
	c.topUps = append(c.topUps, at)
	c.bytes += size
	c.last = s.last
	s.live[key] = c
	s.reserved += size
	return s.await(s.last)
}

// WriteClose records how an attempt ended, and waits for what the durability
// says. The payload is copied. Up to Config.CloseBytes there is room for it
// where its OPEN was accepted; a larger one may fail with a *FullError. It fails
// with ErrNotOpen where the attempt is not open, which it is not after the first
// WriteClose that wrote.
//
// The value, where it is not nil, is what the payload says. Pending returns it in
// place of the payload where the flusher is not far behind, so that what was just
// written need not be read. It is not to be changed.
//
// The context ends the waiting for the disk and nothing else: where it has
// ended, the record is written, the position is that of the record, and the
// error is the context's.
func (s *Spool) WriteClose(ctx context.Context, key Key, payload []byte, value any, durability Durability) (Position, error) {
	s.mu.Lock()
	size, err := s.admit(key, payload)
	if err == nil {
		err = s.appendClose(key, payload, value, size)
	}
	if err != nil {
		s.mu.Unlock()
		return 0, err
	}
	position := s.last
	if err := s.await(position); err != nil {
		s.mu.Unlock()
		return 0, err
	}
	if durability != Commit || s.synced >= position {
		s.mu.Unlock()
		return position, nil
	}
	r := s.joinRound()
	s.mu.Unlock()
	select {
	case <-r.done:
		return position, r.err
	case <-ctx.Done():
		return position, ctx.Err()
	}
}

func (s *Spool) appendClose(key Key, payload []byte, value any, size int64) error {
	c, ok := s.live[key]
	if !ok {
		return fmt.Errorf("call %s cannot be closed: %w", key, ErrNotOpen)
	}
	if size > s.closeRoom {
		if err := s.makeRoom(size - s.closeRoom); err != nil {
			return err
		}
	}
	r := record{kind: kindClose, key: key, reference: c.home.number, payload: payload}
	at := s.append(&r)
	s.remember(handed{position: r.position, key: key, segment: at.segment, end: at.offset + at.size, home: r.reference, time: time.Unix(0, r.time), value: value})
	at.segment.entries++
	c.home.live--
	c.home.closing++
	delete(s.live, key)
	s.reserved -= c.bytes + s.closeRoom
	s.batch.closes++
	return nil
}

// admit tells whether anything may be written, and how many bytes it takes.
func (s *Spool) admit(key Key, payload []byte) (int64, error) {
	size := int64(recordHeader + len(payload))
	switch {
	case s.err != nil:
		return 0, s.err
	case s.closed:
		return 0, ErrClosed
	case size > s.maxRecord:
		return 0, fmt.Errorf("a record of call %s has %d bytes, and may have %d: raise the spool's SegmentBytes", key, size, s.maxRecord)
	}
	return size, nil
}
