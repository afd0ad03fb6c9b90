package spool

import (
	"fmt"
	"time"
)

// A batch is what one writer writes for all who appended since the write
// before it: one system call, or one a segment.
type batch struct {
	number  uint64
	bytes   []byte
	pieces  []piece
	records int
	closes  int
}

// A piece is the part of a batch that goes to one segment.
type piece struct {
	segment *segment
	offset  int64 // in the segment
	from    int   // in the batch
}

// A round is those who wait for the same fsync.
type round struct {
	done    chan struct{}
	err     error // set before done is closed
	waiters uint64
}

// append puts a record behind the last, in memory, and says in it when and where
// that was; await has it written. There
// is room: makeRoom was asked, or the OPEN has reserved it. s.mu is held.
func (s *Spool) append(r *record) place {
	size := r.size()
	if s.active == nil || s.active.end+size > s.active.size {
		s.active, s.spares = s.spares[0], s.spares[1:]
		s.segments = append(s.segments, s.active)
	}
	g, b := s.active, &s.batch
	if n := len(b.pieces); n == 0 || b.pieces[n-1].segment != g {
		b.pieces = append(b.pieces, piece{segment: g, offset: g.end, from: len(b.bytes)})
	}
	s.last++
	r.position = s.last
	r.time = s.config.Now().UnixNano()
	b.bytes = appendRecord(b.bytes, g.seed, r)
	b.records++
	at := place{segment: g, offset: g.end, size: size}
	g.end += size
	return at
}

// await returns when the record is with the operating system. Whoever finds no
// writer writes for all. s.mu is held, and given back meanwhile. Who waits at a
// turn has a record in its batch, or the signal to write it would be lost.
func (s *Spool) await(position Position) error {
	number := s.batch.number
	if s.writing && position <= s.writes {
		number--
	}
	for s.written < position {
		switch {
		case s.err != nil:
			return s.err
		case s.writing:
			s.turn[number%2].Wait()
		default:
			s.write()
		}
	}
	return nil
}

// write writes the batch. s.mu is held, and given back meanwhile.
func (s *Spool) write() {
	b, last := s.batch, s.last
	s.batch, s.idle = s.idle, batch{}
	s.batch.number = b.number + 1
	s.writing, s.writes = true, last
	s.mu.Unlock()
	var err error
	for i, p := range b.pieces {
		to := len(b.bytes)
		if i+1 < len(b.pieces) {
			to = b.pieces[i+1].from
		}
		if _, err = s.system.writeAt(p.segment.file, b.bytes[p.from:to], p.offset); err != nil {
			err = fmt.Errorf("write %s: %w", p.segment.name, err)
			break
		}
	}
	s.mu.Lock()
	s.writing = false
	if err != nil {
		s.fail(err)
		return
	}
	for i, p := range b.pieces {
		to := len(b.bytes)
		if i+1 < len(b.pieces) {
			to = b.pieces[i+1].from
		}
		p.segment.written = p.offset + int64(to-p.from)
	}
	s.written = last
	s.counts.Records += uint64(b.records)
	s.counts.Writes += uint64(len(b.pieces))
	if b.closes > 0 {
		if s.unflushed == 0 {
			s.oldest = s.config.Now()
		}
		s.unflushed += b.closes
		signal(s.readable)
		if !s.dirty {
			s.dirty = true
			signal(s.wake)
		}
	}
	// The memory is used again, unless a crowd has made it large.
	if cap(b.bytes) <= 1<<20 {
		clear(b.pieces)
		s.idle = batch{bytes: b.bytes[:0], pieces: b.pieces[:0]}
	}
	s.turn[b.number%2].Broadcast()
	s.turn[s.batch.number%2].Signal() // one of the next batch writes it
}

// fail breaks the spool for good. s.mu is held.
func (s *Spool) fail(err error) {
	if s.err == nil {
		s.err = fmt.Errorf("spool %s is broken until a restart: %w", s.config.Dir, err)
		// The next process is not to think that it has read everything.
		_ = s.sign(false, false)
	}
	s.turn[0].Broadcast()
	s.turn[1].Broadcast()
	signal(s.wake)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// joinRound makes the caller one of those who wait for the next fsync. s.mu is
// held.
func (s *Spool) joinRound() *round {
	if s.round == nil {
		s.round = &round{done: make(chan struct{})}
	}
	s.round.waiters++
	signal(s.wake)
	return s.round
}

// syncer syncs at once where somebody waits, and else SyncEvery after the
// first CLOSE that is not synced.
func (s *Spool) syncer() {
	defer close(s.stopped)
	var later <-chan time.Time
	for {
		select {
		case <-s.quit:
			return
		case <-later:
		case <-s.wake:
			s.mu.Lock()
			now, soon := s.round != nil, s.dirty
			s.mu.Unlock()
			if !now {
				if soon && later == nil {
					later = time.After(s.config.SyncEvery)
				}
				continue
			}
		}
		later = nil
		_ = s.sync() // the round and Err tell
	}
}

// sync syncs what is written, and lets the round go that waits for it.
func (s *Spool) sync() error {
	s.syncing.Lock()
	defer s.syncing.Unlock()
	s.mu.Lock()
	r, target, err := s.round, s.written, s.err
	folder := s.dirDirty
	s.round, s.dirty, s.dirDirty = nil, false, false
	type unsynced struct {
		segment *segment
		written int64
	}
	var buffer [4]unsynced
	todo := buffer[:0]
	for _, g := range s.segments {
		if g.synced < g.written {
			todo = append(todo, unsynced{g, g.written})
		}
	}
	s.mu.Unlock()

	if err == nil && folder {
		err = s.system.sync(s.dir)
	}
	for i := 0; i < len(todo) && err == nil; i++ {
		if err = s.system.sync(todo[i].segment.file); err != nil {
			err = fmt.Errorf("sync %s: %w", todo[i].segment.name, err)
		}
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.fail(err)
		err = s.err
	} else {
		s.synced = max(s.synced, target)
		for _, u := range todo {
			u.segment.synced = u.written
		}
	}
	s.counts.Syncs++
	if r != nil {
		s.counts.SyncWaiters += r.waiters
		s.counts.LargestSync = max(s.counts.LargestSync, r.waiters)
		r.err = err
		close(r.done)
	}
	return err
}
