package httpstream

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// readAll returns the data of all events, each with its name before it.
func readAll(r io.Reader, limit int) (events []string, err error) {
	e := newEventReader(r)
	e.limit = limit
	for {
		name, data, err := e.next()
		if err != nil {
			return events, err
		}
		events = append(events, string(name)+"|"+string(data))
	}
}

func TestEventReader(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want []string
	}{
		"LF":                   {"data: a\n\ndata: b\n\n", []string{"|a", "|b"}},
		"CRLF":                 {"data: a\r\n\r\ndata: b\r\n\r\n", []string{"|a", "|b"}},
		"CRLF in one event":    {"data: a\r\ndata: b\r\n\r\n", []string{"|a\nb"}},
		"CR":                   {"data: a\r\rdata: b\r\r", []string{"|a", "|b"}},
		"mixed":                {"data: a\r\n\ndata: b\n\rdata: c\r\r\n", []string{"|a", "|b", "|c"}},
		"no space":             {"data:a\n\n", []string{"|a"}},
		"one space only":       {"data:  a \n\n", []string{"| a "}},
		"many lines":           {"data: a\ndata\ndata: b\n\n", []string{"|a\n\nb"}},
		"comments":             {": x\n\n:\n\ndata: a\n:y\ndata: b\n\n", []string{"|a\nb"}},
		"names":                {"event: error\ndata: a\n\ndata: b\n\nevent: x\n\ndata: c\n\n", []string{"error|a", "|b", "|c"}},
		"other fields":         {"id: 1\nretry: 5\ndatax: no\n data: no\ndata: a\n\n", []string{"|a"}},
		"empty data":           {"data:\n\ndata\n\n", []string{"|", "|"}},
		"no event":             {"\n\n\nid: 1\n\n", nil},
		"end without a line":   {"data: a\n\ndata: b\n", []string{"|a", "|b"}},
		"end without newline":  {"data: a\n\ndata: b", []string{"|a", "|b"}},
		"byte order mark":      {"\ufeffdata: a\n\n\ufeffdata: no\n\n", []string{"|a"}},
		"colon in data":        {"data: {\"a\":\"b: c\"}\n\n", []string{`|{"a":"b: c"}`}},
		"longer than a buffer": {"data: " + strings.Repeat("x", 20<<10) + "\n\n", []string{"|" + strings.Repeat("x", 20<<10)}},
	} {
		for _, r := range []io.Reader{strings.NewReader(c.in), iotest.OneByteReader(strings.NewReader(c.in)), iotest.DataErrReader(strings.NewReader(c.in))} {
			got, err := readAll(r, maxEvent)
			if err != io.EOF || strings.Join(got, "§") != strings.Join(c.want, "§") {
				t.Errorf("%s: %q, %v, want %q", name, got, err, c.want)
			}
		}
	}
}

func TestEventReaderBreaks(t *testing.T) {
	broken := errors.New("reset")
	got, err := readAll(io.MultiReader(strings.NewReader("data: a\n\ndata: b\n"), iotest.ErrReader(broken)), maxEvent)
	if err != broken || len(got) != 1 {
		t.Errorf("events are %q, %v: what a break leaves unfinished is no event", got, err)
	}
}

func TestEventReaderLimits(t *testing.T) {
	for name, c := range map[string]struct {
		in  string
		err error
	}{
		"line":        {"data: " + strings.Repeat("x", 95) + "\n\n", errTooLong},
		"line fits":   {"data: " + strings.Repeat("x", 94) + "\n\n", io.EOF},
		"event":       {strings.Repeat("data: "+strings.Repeat("x", 30)+"\n", 4) + "\n", errTooLong},
		"event fits":  {strings.Repeat("data: "+strings.Repeat("x", 30)+"\n", 3) + "\n", io.EOF},
		"comment":     {":" + strings.Repeat("x", 100), errTooLong},
		"event name":  {"event:" + strings.Repeat("x", 100), errTooLong},
		"small many":  {strings.Repeat("data: x\n\n", 100), io.EOF},
		"comments ok": {strings.Repeat(":x\n", 100), io.EOF},
	} {
		if _, err := readAll(strings.NewReader(c.in), 100); err != c.err {
			t.Errorf("%s: %v, want %v", name, err, c.err)
		}
	}
}

// However the bytes arrive, the events are the same, and they are what was written.
func TestEventReaderDoesNotSeeChunks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		line := rapid.StringOf(rapid.Rune().Filter(func(r rune) bool { return r != '\n' && r != '\r' }))
		var in bytes.Buffer
		var want []string
		end := rapid.SampledFrom([]string{"\n", "\r\n", "\r"})
		for range rapid.IntRange(0, 5).Draw(t, "events") {
			lines := rapid.SliceOfN(line, 1, 4).Draw(t, "lines")
			for _, l := range lines {
				in.WriteString("data: " + l + end.Draw(t, "end"))
			}
			// After a CR a lone LF would be the rest of that line's end.
			in.WriteString(rapid.SampledFrom([]string{"\r\n", "\r"}).Draw(t, "blank"))
			want = append(want, "|"+strings.Join(lines, "\n"))
		}
		size := rapid.IntRange(1, 9).Draw(t, "size")
		got, err := readAll(&pieces{in.Bytes(), size}, maxEvent)
		if err != io.EOF || strings.Join(got, "§") != strings.Join(want, "§") {
			t.Fatalf("events are %q, %v, want %q", got, err, want)
		}
	})
}

// pieces reads at most n bytes at once.
type pieces struct {
	b []byte
	n int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.b) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.n)], p.b)
	p.b = p.b[n:]
	return n, nil
}

func FuzzEventReader(f *testing.F) {
	f.Add([]byte("data: a\r\n\r\n"), 1)
	f.Fuzz(func(t *testing.T, in []byte, n int) {
		n = 1 + (n&0x7fffffff)%16
		whole, err := readAll(bytes.NewReader(in), 1000)
		cut, again := readAll(&pieces{in, n}, 1000)
		if err != again || strings.Join(whole, "§") != strings.Join(cut, "§") {
			t.Fatalf("at once %q, %v; in pieces %q, %v", whole, err, cut, again)
		}
		if err != io.EOF && err != errTooLong {
			t.Fatal(err)
		}
		for _, e := range whole {
			if len(e) > 2001 || strings.ContainsRune(e, '\r') {
				t.Fatalf("event is %q", e)
			}
		}
	})
}
