package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

type kind uint8

const (
	kindOpen kind = iota + 1
	kindTopUp
	kindClose
)

const (
	recordHeader  = 56
	segmentHeader = 256
	maxReplica    = 128
	maxBootID     = 64
	recordShare   = 32 // a record takes at most this part of a segment
	maxTopUps     = 1 << 16
	version       = 1
)

var (
	marker     = []byte{0xf5, 0x57, 0x52, 0xec} // no UTF-8 text has it
	magic      = []byte("WEIRWAL\n")
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

type record struct {
	kind      kind
	reference uint32
	key       Key
	position  Position
	time      int64
	payload   []byte
}

func (r *record) size() int64 { return int64(recordHeader + len(r.payload)) }

// seed is the checksum of a segment's salt, with which those of its records
// begin.
func seed(salt uint64) uint32 {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], salt)
	return crc32.Update(0, castagnoli, b[:])
}

func appendRecord(b []byte, seed uint32, r *record) []byte {
	start := len(b)
	b = append(b, marker...)
	b = append(b, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(r.payload)))
	b = binary.LittleEndian.AppendUint32(b, r.reference)
	b = append(b, byte(r.kind), 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, r.key.Attempt)
	b = binary.LittleEndian.AppendUint64(b, uint64(r.position))
	b = binary.LittleEndian.AppendUint64(b, uint64(r.time))
	b = append(b, r.key.Request[:]...)
	b = append(b, r.payload...)
	binary.LittleEndian.PutUint32(b[start+4:], crc32.Update(seed, castagnoli, b[start+8:]))
	return b
}

// recordSize is how many bytes the record at the start of b claims to have, 0
// where there is none.
func recordSize(b []byte) int64 {
	if len(b) < recordHeader || !bytes.HasPrefix(b, marker) {
		return 0
	}
	return recordHeader + int64(binary.LittleEndian.Uint32(b[8:]))
}

// parseRecord reads the record at the start of b. Its payload is part of b.
func parseRecord(b []byte, seed uint32) (record, bool) {
	size := recordSize(b)
	if size == 0 || size > int64(len(b)) {
		return record{}, false
	}
	b = b[:size]
	if crc32.Update(seed, castagnoli, b[8:]) != binary.LittleEndian.Uint32(b[4:]) {
		return record{}, false
	}
	r := record{
		reference: binary.LittleEndian.Uint32(b[12:]),
		kind:      kind(b[16]),
		position:  Position(binary.LittleEndian.Uint64(b[24:])),
		time:      int64(binary.LittleEndian.Uint64(b[32:])),
		payload:   b[recordHeader:size:size],
	}
	r.key.Attempt = binary.LittleEndian.Uint32(b[20:])
	copy(r.key.Request[:], b[40:])
	known := r.kind >= kindOpen && r.kind <= kindClose && b[17] == 0 && b[18] == 0 && b[19] == 0
	return r, known
}

// scan yields every record of b that can be read, in order, with its offset,
// until yield returns false. Where there is none, it looks for the next marker.
func scan(b []byte, seed uint32, yield func(offset int64, r record) bool) {
	for at := 0; at < len(b); {
		if r, ok := parseRecord(b[at:], seed); ok {
			if !yield(int64(at), r) {
				return
			}
			at += int(r.size())
			continue
		}
		next := bytes.Index(b[at+1:], marker)
		if next < 0 {
			return
		}
		at += 1 + next
	}
}

// header is what a segment says of itself.
type header struct {
	number      uint32
	bootID      string
	replica     string
	incarnation uint64
}

func (h *header) encode() []byte {
	b := make([]byte, 0, segmentHeader)
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint32(b, version)
	b = binary.LittleEndian.AppendUint32(b, h.number)
	b = binary.LittleEndian.AppendUint64(b, h.incarnation)
	b = append(b, byte(len(h.bootID)))
	b = append(b, h.bootID...)
	b = append(b, byte(len(h.replica)))
	b = append(b, h.replica...)
	b = b[:segmentHeader-4]
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

var errHeader = errors.New("the header is damaged")

// decodeHeader fails with errHeader where the header cannot be read, and with
// another error where it can and is of another version.
func decodeHeader(b []byte) (header, error) {
	if len(b) < segmentHeader || !bytes.HasPrefix(b, magic) ||
		crc32.Checksum(b[:segmentHeader-4], castagnoli) != binary.LittleEndian.Uint32(b[segmentHeader-4:]) {
		return header{}, errHeader
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != version {
		return header{}, fmt.Errorf("its format is version %d, and this program reads version %d: let the program that wrote it flush it", v, version)
	}
	h := header{number: binary.LittleEndian.Uint32(b[12:]), incarnation: binary.LittleEndian.Uint64(b[16:])}
	boot, rest, ok := cutString(b[24 : segmentHeader-4])
	if !ok {
		return header{}, errHeader
	}
	replica, _, ok := cutString(rest)
	if !ok {
		return header{}, errHeader
	}
	h.bootID, h.replica = boot, replica
	return h, nil
}

func cutString(b []byte) (text string, rest []byte, ok bool) {
	if len(b) == 0 || len(b)-1 < int(b[0]) {
		return "", nil, false
	}
	n := 1 + int(b[0])
	return string(b[1:n]), b[n:], true
}

// lastByte is the offset behind the last byte of b that is not zero.
func lastByte(b []byte) int {
	var zeros [4096]byte
	for len(b) >= len(zeros) && bytes.Equal(b[len(b)-len(zeros):], zeros[:]) {
		b = b[:len(b)-len(zeros)]
	}
	for len(b) > 0 && b[len(b)-1] == 0 {
		b = b[:len(b)-1]
	}
	return len(b)
}
