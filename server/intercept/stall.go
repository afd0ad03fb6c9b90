package intercept

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/tap"
	"google.golang.org/protobuf/proto"

	"github.com/weir-gateway/weir/server/face"
)

// bounded gives a call its last moment, and a way to end it that says why.
func (c *Chain) bounded(ctx context.Context) (context.Context, context.CancelCauseFunc) {
	ctx, end := context.WithCancelCause(ctx)
	if c.MaxDuration == 0 {
		return ctx, end
	}
	ctx, cancel := context.WithTimeout(ctx, c.MaxDuration)
	return ctx, func(cause error) { end(cause); cancel() }
}

// stalled returns why a call was ended whose reader did not read, or nil.
func stalled(ctx context.Context) error {
	var why *face.StalledError
	if errors.As(context.Cause(ctx), &why) {
		return why
	}
	return nil
}

// looks is how often a watch looks in the time that a write may take.
const looks = 4

// A watch ends a call whose reader has not taken what is written for the
// chain's StallTimeout, and at most a quarter longer. What it costs a write is
// two atomic additions: a timer of the call looks now and then whether the same
// write is still under way. Writes come one at a time.
type watch struct {
	writes atomic.Uint64 // odd while one is under way
	after  time.Duration
	stall  func(error)

	mu    sync.Mutex
	timer *time.Timer
	over  bool
	seen  uint64 // writes when it last looked
	times int    // how often in a row the same write was under way
}

// watch starts to watch a call; stall is called once, from a goroutine of its
// own, and never after stop has returned.
func (c *Chain) watch(stall func(error)) *watch {
	w := &watch{after: c.StallTimeout, stall: stall}
	if w.after <= 0 {
		return w
	}
	w.mu.Lock() // the timer may fire before it is assigned
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(w.after/looks, w.look)
	return w
}

func (w *watch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return
	}
	switch n := w.writes.Load(); {
	case n%2 == 0 || n != w.seen:
		w.seen, w.times = n, 0
	default:
		w.times++
	}
	if w.times == looks {
		w.over = true
		w.stall(&face.StalledError{After: w.after})
		return
	}
	w.timer.Reset(w.after / looks)
}

func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	if w.timer != nil {
		w.timer.Stop()
	}
}

type endKey struct{}

// tap bounds a call where it enters. It stands at the transport since gRPC's
// flow control waits by the transport's context: in a handler, nothing wakes a
// Send whose reader stalls.
func (c *Chain) tap(ctx context.Context, info *tap.Info) (context.Context, error) {
	if !ours(info.FullMethodName) {
		return ctx, nil
	}
	ctx, end := c.bounded(ctx)
	context.AfterFunc(ctx, func() { end(nil) }) // the transport cancels its own context when the call ends
	return context.WithValue(ctx, endKey{}, end), nil
}

// watchStream watches the messages of a stream. One that comes over HTTP has
// not passed the tap, and is watched as bytes.
func (c *Chain) watchStream(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	end, tapped := stream.Context().Value(endKey{}).(context.CancelCauseFunc)
	if !tapped {
		return next(srv, stream)
	}
	w := c.watch(func(why error) {
		// The Send that wakes sends a status of its own, before anything here can
		// say more; but it keeps a trailer with the details of one.
		id := face.TrailOf(stream.Context()).RequestID
		if told, err := proto.Marshal(face.Explain(why, id).Status(id).Proto()); err == nil {
			stream.SetTrailer(metadata.Pairs("grpc-status-details-bin", string(told)))
		}
		end(why)
	})
	defer w.stop()
	return next(srv, &watchedStream{stream, w})
}

type watchedStream struct {
	grpc.ServerStream
	watch *watch
}

func (s *watchedStream) SendMsg(m any) error {
	s.watch.writes.Add(1)
	defer s.watch.writes.Add(1)
	return s.ServerStream.SendMsg(m)
}

// boundHTTP bounds a call over HTTP: its whole time, and each of its writes.
func (c *Chain) boundHTTP(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, end := c.bounded(r.Context())
		defer end(nil)
		control := http.NewResponseController(w)
		writer := &watchedWriter{w, c.watch(func(why error) {
			end(why)
			_ = control.SetWriteDeadline(time.Unix(1, 0)) // wakes the write; writers in tests have no deadlines
		})}
		next.ServeHTTP(writer, r.WithContext(ctx))
		writer.watch.stop()
		if c.StallTimeout > 0 { // for what net/http has still to send
			_ = control.SetWriteDeadline(time.Now().Add(c.StallTimeout))
		}
	})
}

// watchedWriter is what a call writes its answer to. The ResponseController
// reaches what it wraps.
type watchedWriter struct {
	http.ResponseWriter
	watch *watch
}

func (w *watchedWriter) Write(b []byte) (int, error) {
	w.watch.writes.Add(1)
	defer w.watch.writes.Add(1)
	return w.ResponseWriter.Write(b)
}

// FlushError is what http.ResponseController asks for.
func (w *watchedWriter) FlushError() error {
	w.watch.writes.Add(1)
	defer w.watch.writes.Add(1)
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Flush implements http.Flusher, for what asks for it by type.
func (w *watchedWriter) Flush() { _ = w.FlushError() } // the next write fails as well

// Unwrap leads http.ResponseController on.
func (w *watchedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
