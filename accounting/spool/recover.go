package spool

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// A Report says what Open found.
type Report struct {
	// Closed is the number of CLOSEs that were not Done, or not yet deleted;
	// Abandoned that of OPENs without one. Pending returns them.
	Closed, Abandoned int
	// SameBoot tells that the process before ended well, or that the machine has
	// been running ever since, and that so it is for all that was found. Where
	// it is false there may have been a power cut: OPENs, TOP-UPs, and the
	// CLOSEs that nobody waited for, may be lost without a trace. Outside Linux
	// no process but one that ended well counts as of the same boot.
	SameBoot bool
	// Complete tells that all that earlier processes wrote has been read:
	// SameBoot, no Damage, and no disk that failed them. Once false it stays so
	// until a process has ended with Close.
	Complete bool
	// Incarnations are those that wrote what was found, oldest first.
	Incarnations []Incarnation
	// Damage is what could not be read.
	Damage []Damage
}

// An Incarnation is one process of a replica.
type Incarnation struct {
	Replica string
	Number  uint64
	BootID  string
}

// Damage is a stretch of a segment that cannot be read, though what stands
// behind it can.
type Damage struct {
	// File is the segment, Offset where the stretch begins in it and Bytes how
	// long it is: 0 where the file just ends too early.
	File          string
	Offset, Bytes int64
	// Missing is the number of records that are missing there: at least, where
	// none before it was read.
	Missing int
	// Read is the number of records that were read from the segment.
	Read int
	// Torn marks the end of what a process wrote that was killed while it
	// wrote, or lost power. It was cut off. Every other damage keeps its file,
	// as *.poison when all its entries are Done.
	Torn bool
}

func (d Damage) String() string {
	if d.Torn {
		return fmt.Sprintf("%s: %d bytes at offset %d were half written and are cut off, behind %d records that were read", d.File, d.Bytes, d.Offset, d.Read)
	}
	return fmt.Sprintf("%s: %d bytes at offset %d cannot be read, %d records are missing there, %d were read; it will be kept as *%s", d.File, d.Bytes, d.Offset, d.Missing, d.Read, poisonSuffix)
}

// abandoned is an OPEN without a CLOSE.
type abandoned struct {
	position Position
	home     *segment
	topUps   []place // without a segment where one is missing
}

// recovery is the state of reading a folder.
type recovery struct {
	spool  *Spool
	report Report
	last   Position
	before *segment // that the record at last is in
	torn   map[*segment]int64
	reads  map[string]int // by name
}

// recover reads every segment and prepares the entries that are in them.
func (s *Spool) recover() (Report, error) {
	files, err := os.ReadDir(s.config.Dir) // in order of name, which is order of number
	if err != nil {
		return Report{}, err
	}
	sameBoot, sound, err := s.before()
	if err != nil {
		return Report{}, err
	}
	r := recovery{spool: s, report: Report{SameBoot: sameBoot}, torn: map[*segment]int64{}, reads: map[string]int{}}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), segmentSuffix) {
			if number, _, err := parseSegmentName(strings.TrimSuffix(f.Name(), poisonSuffix) + segmentSuffix); err == nil {
				s.nextFile = max(s.nextFile, number+1)
			}
			continue
		}
		if err := r.segment(f.Name()); err != nil {
			return Report{}, err
		}
	}
	if err := r.settle(); err != nil {
		return Report{}, err
	}
	for i := range r.report.Damage {
		d := &r.report.Damage[i]
		d.Read = r.reads[d.File]
		d.File = s.path(d.File)
	}
	s.last, s.written, s.synced = r.last, r.last, r.last
	r.report.Complete = r.report.SameBoot && sound && len(r.report.Damage) == 0
	if err := errors.Join(s.sign(false, r.report.Complete), s.system.sync(s.lock)); err != nil {
		return Report{}, err
	}
	return r.report, s.reclaim()
}

// before tells from the lock file how the process before this one ended.
func (s *Spool) before() (sameBoot, sound bool, err error) {
	b, err := os.ReadFile(s.lock.Name())
	words := strings.Fields(string(b))
	return len(words) == 0 || len(words) > 1 && words[1] == s.bootID, len(words) < 3, err
}

// sign leaves word in the lock file that this process has not ended yet, and
// whether what it may have written can be read completely; or, that it has
// ended well.
func (s *Spool) sign(ended, sound bool) error {
	text := ""
	if !ended {
		text = fmt.Sprintf("%d %s", os.Getpid(), s.bootID)
	}
	if !sound {
		text += " incomplete"
	}
	_, err := s.lock.WriteAt(fmt.Appendf(nil, "%-119s\n", text), 0)
	return err
}

// segment reads one file.
func (r *recovery) segment(name string) error {
	s := r.spool
	number, salt, err := parseSegmentName(name)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(s.path(name), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	g := &segment{name: name, number: number, file: file, seed: seed(salt), old: true, end: segmentHeader, flushed: segmentHeader}
	s.segments = append(s.segments, g)
	s.nextFile = max(s.nextFile, number+1)
	b, err := os.ReadFile(s.path(name))
	if err != nil {
		return err
	}
	g.size = int64(len(b))
	written := int64(lastByte(b))
	h, err := decodeHeader(b)
	if err == nil && h.number != number {
		err = errHeader
	}
	switch {
	case err != nil && !errors.Is(err, errHeader):
		return fmt.Errorf("%s: %w", name, err)
	case err != nil && written <= segmentHeader:
		// Nothing of it reached the disk before the power went; or the process
		// was killed while it made the file.
		r.report.SameBoot = false
		return nil
	case err != nil:
		r.report.SameBoot = false
		r.damage(g, 0, segmentHeader, 0)
	default:
		r.incarnation(h)
	}

	scan(b[min(segmentHeader, len(b)):], g.seed, func(offset int64, record record) bool {
		r.record(g, segmentHeader+offset, record)
		return true
	})
	if g.end < written {
		r.torn[g] = written - g.end
	}
	return nil
}

func (r *recovery) incarnation(h header) {
	if h.bootID == "" || h.bootID != r.spool.bootID {
		r.report.SameBoot = false
	}
	i := Incarnation{Replica: h.replica, Number: h.incarnation, BootID: h.bootID}
	if n := len(r.report.Incarnations); n == 0 || r.report.Incarnations[n-1] != i {
		r.report.Incarnations = append(r.report.Incarnations, i)
	}
}

func (r *recovery) damage(g *segment, offset, bytes int64, missing int) {
	g.poison = true
	r.report.Damage = append(r.report.Damage, Damage{File: g.name, Offset: offset, Bytes: bytes, Missing: missing})
}

// record takes a record that was read, and finds out whether any are missing
// before it.
func (r *recovery) record(g *segment, offset int64, record record) {
	missing := 0
	switch {
	case r.last > 0 && record.position > r.last+1:
		missing = int(record.position - r.last - 1)
	case r.last == 0 && offset > g.end:
		missing = 1 // or more: nothing before it tells
	}
	if before := r.before; missing > 0 && before != nil && before != g {
		// The end of the segment before was no torn tail.
		if offset == g.end {
			r.damage(before, before.end, r.torn[before], missing)
		} else if r.torn[before] > 0 {
			r.damage(before, before.end, r.torn[before], 0)
		}
		delete(r.torn, before)
	}
	if offset > g.end {
		r.damage(g, g.end, offset-g.end, missing)
	} else if missing > 0 && r.before == g {
		r.damage(g, offset, 0, missing)
	}
	r.last, r.before = max(r.last, record.position), g
	g.end = offset + record.size()
	r.reads[g.name]++

	s := r.spool
	if s.oldest.IsZero() {
		s.oldest = time.Unix(0, record.time)
	}
	a, known := s.abandoned[record.key]
	switch record.kind {
	case kindOpen:
		if !known { // else it was carried forward
			s.abandoned[record.key] = abandoned{position: record.position, home: g}
			g.entries++
		}
	case kindTopUp:
		// Without an OPEN it belongs to a call that was Done, and the segment of
		// its OPEN is deleted; or the OPEN is among what is missing.
		if i := int(record.reference); known && i > 0 && i <= maxTopUps {
			for len(a.topUps) < i {
				a.topUps = append(a.topUps, place{})
			}
			a.topUps[i-1] = place{segment: g, offset: offset, size: record.size()}
			s.abandoned[record.key] = a
		}
	case kindClose:
		if known {
			a.home.entries--
			delete(s.abandoned, record.key)
		}
		g.entries++
		if home := s.segment(record.reference); home != nil {
			home.closing++
		}
		r.report.Closed++
	}
}

// settle cuts off torn tails, gives back what is empty, and moves aside what
// has nothing readable.
func (r *recovery) settle() error {
	s := r.spool
	kept := s.segments[:0]
	for _, g := range s.segments {
		if bytes := r.torn[g]; bytes > 0 {
			if g.poison {
				r.damage(g, g.end, bytes, 0)
			} else {
				r.report.Damage = append(r.report.Damage, Damage{File: g.name, Offset: g.end, Bytes: bytes, Torn: true})
			}
		}
		if r.reads[g.name] == 0 {
			if err := errors.Join(g.file.Close(), s.discard(g)); err != nil {
				return err
			}
			continue
		}
		if !g.poison && g.size > g.end {
			if err := errors.Join(g.file.Truncate(g.end), s.system.sync(g.file)); err != nil {
				return err
			}
			g.size = g.end
		}
		if g.poison {
			g.end = g.size
		}
		g.written, g.synced = g.end, g.end
		s.bytes += g.size
		s.unflushed += g.entries
		kept = append(kept, g)
	}
	clear(s.segments[len(kept):])
	s.segments = kept
	r.report.Abandoned = len(s.abandoned)
	return s.system.sync(s.dir)
}
