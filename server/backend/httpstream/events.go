package httpstream

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// maxEvent bounds one line and one event of a stream. It is far above what a
// server sends and far below what would hurt.
const maxEvent = 16 << 20

// errTooLong says that a server sent more than maxEvent without an end.
var errTooLong = errors.New("line of the stream is too long")

// An eventReader reads server-sent events as the HTML standard defines them:
// lines end in LF, CR or CRLF, comments and unknown fields are skipped, data
// lines of one event are joined by LF. It is lenient in one thing: data at a
// clean end of the stream counts without the empty line that should follow.
type eventReader struct {
	r     *bufio.Reader
	limit int

	line   []byte // good until the next one is read
	whole  []byte // of a line that did not come at once
	data   []byte
	name   []byte
	has    bool // data has been seen since the last event
	begun  bool // the first line has been read
	skipLF bool // the last line ended in CR
	cut    bool // the last event lacked its empty line
}

func newEventReader(r io.Reader) *eventReader {
	return &eventReader{r: bufio.NewReaderSize(r, 4<<10), limit: maxEvent}
}

// next returns the next event that has data. Both slices are good until the
// next call. The error is io.EOF at a clean end.
func (e *eventReader) next() (name, data []byte, err error) {
	e.data, e.name, e.has = e.data[:0], e.name[:0], false
	for {
		err := e.readLine()
		if err != nil && !(err == io.EOF && len(e.line) > 0) {
			if err == io.EOF && e.has {
				e.cut = true
				return e.name, e.data, nil
			}
			return nil, nil, err
		}
		line := e.line
		if !e.begun {
			e.begun = true
			line = bytes.TrimPrefix(line, []byte("\ufeff"))
		}
		if len(line) == 0 {
			if e.has {
				return e.name, e.data, nil
			}
			e.name = e.name[:0]
			continue
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "data":
			if e.has {
				e.data = append(e.data, '\n')
			}
			if len(e.data)+len(value) > e.limit {
				return nil, nil, errTooLong
			}
			e.data = append(e.data, value...)
			e.has = true
		case "event":
			e.name = append(e.name[:0], value...)
		}
	}
}

// readLine reads a line without its end into e.line, which lies in the buffer
// of the reader where the line came at once. At the end of the stream it returns
// io.EOF with what stood there.
func (e *eventReader) readLine() error {
	e.line, e.whole = nil, e.whole[:0]
	for {
		if _, err := e.r.Peek(1); err != nil {
			return err
		}
		b, _ := e.r.Peek(e.r.Buffered())
		if e.skipLF {
			e.skipLF = false
			if b[0] == '\n' {
				e.r.Discard(1)
				continue
			}
		}
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			end = len(b)
		}
		if cr := bytes.IndexByte(b[:end], '\r'); cr >= 0 {
			end = cr
		}
		if len(e.whole)+end > e.limit {
			return errTooLong
		}
		e.line = b[:end]
		if len(e.whole) > 0 || end == len(b) {
			e.whole = append(e.whole, b[:end]...)
			e.line = e.whole
		}
		if end == len(b) {
			e.r.Discard(end)
			continue
		}
		e.skipLF = b[end] == '\r'
		e.r.Discard(end + 1)
		return nil
	}
}
