package httpstream

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/weir-gateway/weir/server/backend"
)

// blocks is a body of which each read gets one block.
type blocks []string

func (b *blocks) Read(p []byte) (int, error) {
	if len(*b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, (*b)[0])
	if (*b)[0] = (*b)[0][n:]; (*b)[0] == "" {
		*b = (*b)[1:]
	}
	return n, nil
}

func (*blocks) Close() error { return nil }

// letters makes a Delta of each event.
type letters struct{ events []backend.Event }

func (l *letters) Decode(_, data []byte) (bool, error) {
	l.events = append(l.events, backend.Event{Kind: backend.Delta, Text: string(data)})
	return false, nil
}

func (*letters) Finished() bool              { return true }
func (*letters) End(bool) error              { return nil }
func (l *letters) Take() (e []backend.Event) { e, l.events = l.events, nil; return e }

func TestItTellsBeforeItWaits(t *testing.T) {
	read := &announced{ReadCloser: &blocks{
		"data: a\n\ndata: b\n\n",
		": still there\n\n", // nothing has come, so it waits again
		"data: c\n\ndata: ", // neither has the rest of the last one
		"d\n\n",
	}}
	ctx, cancel := context.WithCancel(context.Background())
	s := &stream{ctx: ctx, cancel: cancel, body: read, read: newEventReader(read), decode: &letters{}}
	var got strings.Builder
	backend.Waiter(s).BeforeWait(func() { got.WriteByte('|') })
	for {
		event, err := s.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got.WriteString(event.Text)
	}
	if want := "|ab||c|d|"; got.String() != want {
		t.Errorf("events and waits are %s, want %s", got.String(), want)
	}
	if err := s.Close(); err != nil || strings.Count(got.String(), "|") != 5 {
		t.Errorf("closing told of waits: %s, %v", got.String(), err)
	}
}
