package spool

import (
	"errors"
	"fmt"
	"time"
)

// Config says where and how much. Zero fields but Dir and Replica take their
// defaults.
type Config struct {
	// Dir is the folder, made where it is missing. One process at a time has it.
	Dir string
	// Replica and Incarnation say who writes. They are kept in the header of
	// each segment, and Open reports those that it finds. Replica has up to
	// 128 bytes.
	Replica     string
	Incarnation uint64

	// MaxBytes is how much disk the segments may take; by default 1 GiB. It is
	// at least four segments.
	MaxBytes int64
	// SegmentBytes is the size of a segment, by default 8 MiB, at least 4 KiB
	// and at most 1 GiB. A record may take a 32nd of it.
	SegmentBytes int64
	// CloseBytes is how large the payload of a CLOSE can be without asking for
	// more room than its OPEN has reserved; by default 4 KiB, or what a record
	// has room for.
	CloseBytes int
	// SyncEvery is how long a CLOSE that nobody waits for may stay without
	// fsync, by default 100 ms.
	SyncEvery time.Duration
	// Now is by default time.Now.
	Now func() time.Time

	system *system // set by tests that make the disk fail
}

func (c Config) withDefaults() Config {
	if c.MaxBytes == 0 {
		c.MaxBytes = 1 << 30
	}
	if c.SegmentBytes == 0 {
		c.SegmentBytes = 8 << 20
	}
	if c.CloseBytes == 0 {
		c.CloseBytes = min(4096, int(c.SegmentBytes/recordShare)-recordHeader)
	}
	if c.SyncEvery == 0 {
		c.SyncEvery = 100 * time.Millisecond
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.system == nil {
		c.system = realSystem
	}
	return c
}

// Validate tells what is wrong with the configuration.
func (c Config) Validate() error {
	c = c.withDefaults()
	most := c.SegmentBytes / recordShare
	switch {
	case c.Dir == "":
		return errors.New("the spool has no folder: set Dir")
	case c.Replica == "" || len(c.Replica) > maxReplica:
		return fmt.Errorf("the spool's Replica %q is empty or longer than %d bytes", c.Replica, maxReplica)
	case c.SegmentBytes < 4<<10 || c.SegmentBytes > 1<<30:
		return fmt.Errorf("the spool's SegmentBytes are %d: set 4 KiB to 1 GiB", c.SegmentBytes)
	case c.MaxBytes < 4*c.SegmentBytes:
		return fmt.Errorf("the spool's MaxBytes are %d, less than four segments of %d: raise MaxBytes or lower SegmentBytes", c.MaxBytes, c.SegmentBytes)
	case c.CloseBytes < 0 || int64(recordHeader+c.CloseBytes) > most:
		return fmt.Errorf("the spool's CloseBytes are %d, and a record may take %d: lower CloseBytes or raise SegmentBytes", c.CloseBytes, most)
	case c.SyncEvery < 0:
		return fmt.Errorf("the spool's SyncEvery is %s, which is negative", c.SyncEvery)
	}
	return nil
}
