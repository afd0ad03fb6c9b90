package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"time"
)

// An Entry is what the flusher takes to the database: how an attempt ended, or
// an attempt of an earlier process that nobody closed.
type Entry struct {
	Position Position
	Key      Key
	// Time is when the record was written.
	Time time.Time
	// Value is what WriteClose was given beside the payload, where this process
	// still has it; Payload is nil then.
	Value any
	// Payload is the CLOSE's. Of an abandoned attempt it is the OPEN's, and
	// TopUps are those that were found, in order.
	Payload   []byte
	Abandoned bool
	TopUps    [][]byte
}

// handed is an entry that Pending has returned, or can return without reading.
type handed struct {
	position  Position
	key       Key
	abandoned bool
	segment   *segment
	end       int64
	home      uint32
	time      time.Time
	value     any
}

// mostRecent is how many entries are remembered with their values.
const mostRecent = 4096

// remember keeps an entry with its value for the flusher. While there are entries
// without, or for which there was no memory, all are read from their segments.
// s.mu is held.
func (s *Spool) remember(h handed) {
	if h.value == nil {
		return
	}
	if len(s.recent) == mostRecent {
		s.recent = slices.Delete(s.recent, 0, mostRecent/2)
	}
	s.recent = append(s.recent, h)
}

// Pending waits until there are entries that are not Done, and returns the
// oldest of them, up to limit, in the order they were written in. Called again
// without Done it returns them again. It goes on when the spool is broken, and
// fails where the context has ended, the spool is closed, or what was written
// cannot be read back, which breaks the spool: a restart reads around it.
func (s *Spool) Pending(ctx context.Context, limit int) ([]Entry, error) {
	for {
		entries, err := s.pending(limit)
		if len(entries) > 0 || err != nil {
			return entries, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-s.quit:
			return nil, ErrClosed
		case <-s.readable:
		}
	}
}

func (s *Spool) pending(limit int) ([]Entry, error) {
	s.flushing.Lock()
	defer s.flushing.Unlock()
	type part struct {
		segment  *segment
		from, to int64
	}
	var parts []part
	s.handed = slices.Delete(s.handed, 0, len(s.handed))
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, ErrClosed
	}
	if n := after(s.recent, s.written); n == s.unflushed { // they are all there are
		s.handed = append(s.handed, s.recent[:min(n, limit)]...)
		s.mu.Unlock()
		entries := make([]Entry, len(s.handed))
		for i, h := range s.handed {
			entries[i] = Entry{Position: h.position, Key: h.key, Time: h.time, Value: h.value}
		}
		return entries, nil
	}
	for _, g := range s.segments {
		if g.entries > 0 {
			parts = append(parts, part{g, g.flushed, g.written})
		}
	}
	s.mu.Unlock()

	var entries []Entry
	for _, p := range parts {
		err := p.segment.read(p.from, p.to, func(end int64, r record) (bool, error) {
			e := Entry{Position: r.position, Key: r.key, Time: time.Unix(0, r.time), Payload: r.payload}
			h := handed{position: r.position, key: r.key, segment: p.segment, end: end, home: r.reference, time: e.Time}
			if r.kind != kindClose {
				// Only the flusher, which this is, changes s.abandoned.
				a, ok := s.abandoned[r.key]
				if !ok || a.position != r.position {
					return true, nil
				}
				e.Abandoned, h.abandoned = true, true
				for _, at := range a.topUps {
					if at.segment == nil {
						continue // lost, and reported
					}
					topUp, err := at.read()
					if err != nil {
						return false, err
					}
					e.TopUps = append(e.TopUps, topUp.payload)
				}
			}
			entries, s.handed = append(entries, e), append(s.handed, h)
			return len(entries) < limit, nil
		})
		if err != nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.fail(err)
			if len(entries) > 0 {
				return entries, nil // the error comes back when they are Done
			}
			return nil, s.err
		}
		if len(entries) >= limit {
			break
		}
	}
	return entries, nil
}

// read yields the records between two offsets, until yield returns false. It
// fails where there is something else, unless that is known.
func (g *segment) read(from, to int64, yield func(end int64, r record) (bool, error)) error {
	step := int64(256 << 10)
	if g.poison {
		step = to - from
	}
	for at := from; at < to; {
		b := make([]byte, min(step, to-at))
		if _, err := g.file.ReadAt(b, at); err != nil && !(errors.Is(err, io.EOF) && g.poison) {
			return fmt.Errorf("read %s: %w", g.name, err)
		}
		var used int64
		var err error
		more := true
		scan(b, g.seed, func(offset int64, r record) bool {
			if offset != used && !g.poison {
				return false
			}
			used = offset + r.size()
			more, err = yield(at+used, r)
			return more && err == nil
		})
		switch {
		case err != nil || !more || g.poison:
			return err
		case used == 0 && at+int64(len(b)) == to:
			return fmt.Errorf("%s cannot be read at offset %d, though it could be written", g.name, at)
		case used == 0:
			step *= 2 // the record is larger
		}
		at += used
	}
	return nil
}

func (p place) read() (record, error) {
	b := make([]byte, p.size)
	if _, err := p.segment.file.ReadAt(b, p.offset); err != nil {
		return record{}, fmt.Errorf("read %s: %w", p.segment.name, err)
	}
	r, ok := parseRecord(b, p.segment.seed)
	if !ok {
		return record{}, fmt.Errorf("%s cannot be read at offset %d, though it could be written", p.segment.name, p.offset)
	}
	return r, nil
}

// Done tells that the entries that Pending returned last are in the database,
// up to and with the one at a position. Segments that nothing needs any more
// are deleted; where that fails the error says so, and the entries are Done.
func (s *Spool) Done(upTo Position) error {
	s.flushing.Lock()
	defer s.flushing.Unlock()
	s.mu.Lock()
	n := after(s.handed, upTo)
	for i := range s.handed[:n] {
		h := &s.handed[i]
		h.segment.entries--
		h.segment.flushed = h.end
		s.unflushed--
		s.oldest = h.time
		if h.abandoned {
			delete(s.abandoned, h.key)
		} else if g := s.segment(h.home); g != nil {
			g.closing--
		}
	}
	s.handed = slices.Delete(s.handed, 0, n)
	s.recent = slices.Delete(s.recent, 0, after(s.recent, upTo))
	if len(s.handed) > 0 {
		s.oldest = s.handed[0].time
	}
	s.mu.Unlock()
	return s.reclaim()
}

// after is the index of the first entry behind a position.
func after(entries []handed, position Position) int {
	return sort.Search(len(entries), func(i int) bool { return entries[i].position > position })
}

// segment finds a segment by its number, nil where it is gone. s.mu is held.
func (s *Spool) segment(number uint32) *segment {
	i := sort.Search(len(s.segments), func(i int) bool { return s.segments[i].number >= number })
	if i < len(s.segments) && s.segments[i].number == number {
		return s.segments[i]
	}
	return nil
}

// reclaim deletes segments from the front, as far as nothing needs them. A
// broken spool keeps them for its restart.
func (s *Spool) reclaim() error {
	for {
		s.mu.Lock()
		if s.err != nil || s.closed || len(s.segments) == 0 {
			s.mu.Unlock()
			return nil
		}
		g := s.segments[0]
		live := g.live
		needed := g == s.active || g.entries > 0 || g.closing > 0 || g.written < g.end
		s.mu.Unlock()
		if needed {
			return nil
		}
		if live > 0 {
			if carried, err := s.carry(g); err != nil || !carried {
				return err
			}
			continue
		}
		if err := s.drop(g); err != nil {
			return err
		}
	}
}

// drop deletes the first segment. The folder is synced before the next is
// deleted, so that no crash leaves a gap.
func (s *Spool) drop(g *segment) error {
	s.syncing.Lock()
	defer s.syncing.Unlock()
	s.mu.Lock()
	s.segments = slices.Delete(s.segments, 0, 1)
	s.mu.Unlock()
	if err := errors.Join(g.file.Close(), s.discard(g)); err != nil {
		return fmt.Errorf("delete a segment of which all is in the database: %w", err)
	}
	err := s.system.sync(s.dir)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytes -= g.size
	if err != nil {
		s.fail(fmt.Errorf("sync %s: %w", s.config.Dir, err))
		return s.err
	}
	return nil
}

// carry writes the calls that are open and have their OPEN in a segment again
// at the end, and syncs them: what was on disk must not be less so. It returns
// false where there is no room for it now.
func (s *Spool) carry(g *segment) (bool, error) {
	s.mu.Lock()
	var keys []Key
	for key, c := range s.live {
		if c.home == g {
			keys = append(keys, key)
		}
	}
	s.mu.Unlock()
	for some := range slices.Chunk(keys, 64) { // others get the lock between
		if carried, err := s.carryCalls(g, some); err != nil || !carried {
			return carried, err
		}
	}
	return true, s.sync()
}

func (s *Spool) carryCalls(g *segment, keys []Key) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range keys {
		c, ok := s.live[key]
		for ok && c.last > s.written && s.err == nil { // a top-up of it is on its way
			_ = s.await(c.last)
			c, ok = s.live[key]
		}
		switch {
		case s.err != nil:
			return false, s.err
		case s.closed:
			return false, nil
		case !ok || c.home != g:
			continue
		}
		// What was reserved for carrying may be used up until the segment is
		// deleted; what is reserved for CLOSEs may not.
		if s.makeRoom(c.bytes) != nil && s.room()-c.bytes < int64(len(s.live))*s.closeRoom {
			return false, nil
		}
		var records []record
		for _, at := range append([]place{c.open}, c.topUps...) {
			r, err := at.read()
			if err != nil {
				s.fail(err)
				return false, s.err
			}
			records = append(records, r)
		}
		c.open = s.append(&records[0])
		for i := range c.topUps {
			c.topUps[i] = s.append(&records[i+1])
		}
		c.home.live--
		c.home = c.open.segment
		c.home.live++
		c.last = s.last
		s.live[key] = c
		s.counts.Carried++
	}
	return true, s.await(s.last)
}
