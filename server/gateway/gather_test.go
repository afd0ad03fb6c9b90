package gateway_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/gateway"
	"github.com/weir-gateway/weir/server/route"
)

// lumps is a backend whose events come so many at a time.
type lumps struct {
	backend.Backend
	size int
	wait func() // called where it waits for the next
}

func (b *lumps) Generate(ctx context.Context, req *backend.Request) (backend.Stream, error) {
	s, err := b.Backend.Generate(ctx, req)
	return &lump{Stream: s, backend: b}, err
}

type lump struct {
	backend.Stream
	backend *lumps
	events  int
	before  func()
}

func (s *lump) BeforeWait(f func()) { s.before = f }

func (s *lump) Recv() (backend.Event, error) {
	if s.events%s.backend.size == 0 && s.before != nil {
		s.before()
		s.backend.wait()
	}
	s.events++
	return s.Stream.Recv()
}

// desk is a sink that keeps what it gets until it is flushed.
type desk struct {
	t               *testing.T
	deltas, flushes int
	kept            int
	fails           int // the flush from which on nobody reads; 0 is none
}

func (d *desk) Start(*gateway.Answer) error { return nil }

func (d *desk) Delta(gateway.Delta) error {
	if d.deltas == 1 && d.flushes == 0 {
		d.t.Error("the first piece did not leave at once")
	}
	d.deltas++
	d.kept++
	return nil
}

func (d *desk) Flush() error {
	d.flushes++
	d.kept = 0
	if d.fails > 0 && d.flushes >= d.fails {
		return errors.New("nobody reads")
	}
	return nil
}

// settling looks at the desk when the call is settled.
type settling struct{ look func() }

func (settling) Input(ctx context.Context, _ *gateway.Call) (context.Context, func(error)) {
	return ctx, func(error) {}
}

func (settling) Attempt(ctx context.Context, _ *gateway.Call, _ gateway.Try) (context.Context, func(gateway.Tried)) {
	return ctx, func(gateway.Tried) {}
}

func (s settling) Settle(ctx context.Context) (context.Context, func(error)) {
	s.look()
	return ctx, func(error) {}
}

const words = "say: one two three four five six seven eight nine ten eleven twelve"

// What comes together leaves together, and nothing stays while the gateway waits,
// be it for the backend or for the store.
func TestNothingStaysWhileTheBackendIsWaitedFor(t *testing.T) {
	for _, hedged := range []bool{false, true} {
		for _, size := range []int{1, 2, 3, 5, 100} {
			h := newHouse(t, "")
			d := &desk{t: t}
			waits := 0
			inLumps(h, hedged, size, func() {
				waits++
				if d.kept > 0 {
					t.Errorf("lumps of %d: %d pieces stayed while the backend was waited for", size, d.kept)
				}
			})
			h.Follower = settling{func() {
				if d.kept > 0 {
					t.Errorf("lumps of %d: %d pieces stayed while the call was settled", size, d.kept)
				}
			}}
			if _, err := h.Generate(context.Background(), newCall(words), d); err != nil {
				t.Fatal(err)
			}
			if d.deltas < 12 || d.flushes > waits+2 {
				t.Errorf("lumps of %d: %d pieces left in %d flushes, and the backend was waited for %d times", size, d.deltas, d.flushes, waits)
			}
		}
	}
}

func TestACallerWhoIsGoneWhenPiecesLeave(t *testing.T) {
	for _, fails := range []int{1, 2} {
		h := newHouse(t, "")
		d := &desk{t: t, fails: fails}
		inLumps(h, false, 4, func() {})
		call := newCall(words)
		if _, err := h.Generate(context.Background(), call, d); reason(err) != gateway.Cancelled {
			t.Errorf("flush %d fails, and the call ends with %v", fails, err)
		}
		if l := h.lines(call); len(l) != 1 || l[0].Outcome != accounting.OutcomeCancelled {
			t.Errorf("flush %d fails, and the ledger has %+v", fails, l)
		}
		if d.deltas > 8 || d.flushes != fails {
			t.Errorf("flush %d fails, and the caller got %d pieces in %d flushes", fails, d.deltas, d.flushes)
		}
	}
}

// inLumps puts a backend of lumps before the one of a house.
func inLumps(h *house, hedged bool, size int, wait func()) {
	h.t.Helper()
	target := targets(h, 1)[0]
	target.Backend = &lumps{target.Backend, size, wait}
	model := route.Model{Name: "sim", MaxOutputTokens: 100, Targets: []route.Target{target}}
	if hedged {
		second := target
		second.Name, second.Priority = "second", 1
		model.Targets = append(model.Targets, second)
		model.HedgeAfter = time.Hour
	}
	router, err := route.New([]route.Model{model})
	if err != nil {
		h.t.Fatal(err)
	}
	h.Router = func() *route.Router { return router }
}
