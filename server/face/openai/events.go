package openai

import (
	"net/http"
	"sync"
	"time"
)

// events writes server-sent events. The goroutine that answers and the timer
// that keeps the connection alive both write, one at a time. The status and
// the headers of the answer go out with the first of them.
type events struct {
	w       http.ResponseWriter
	control *http.ResponseController
	every   time.Duration

	mu    sync.Mutex
	begun bool
	ended bool
	err   error // of the first write that failed
	alive *time.Timer
}

// newEvents starts the timer. Its end must be called before the handler
// returns: after that, w is not ours.
func newEvents(w http.ResponseWriter, every time.Duration) *events {
	e := &events{w: w, control: http.NewResponseController(w), every: every}
	e.mu.Lock() // the timer may fire before it is assigned
	defer e.mu.Unlock()
	e.alive = time.AfterFunc(every, e.keepAlive)
	return e
}

// keepAlive sends a comment, which every decoder skips.
func (e *events) keepAlive() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended {
		return
	}
	_ = e.write(": keep-alive\n\n") // the next event fails as well
}

// send writes one event.
func (e *events) send(v any) error {
	data, err := marshal(v)
	if err != nil {
		return err
	}
	return e.data(string(data))
}

func (e *events) data(text string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.write("data: " + text + "\n\n")
}

// write needs the lock.
func (e *events) write(text string) error {
	if e.err != nil {
		return e.err
	}
	if !e.begun {
		e.begun = true
		h := e.w.Header()
		h.Set("Content-Type", "text/event-stream; charset=utf-8")
		h.Set("Cache-Control", "no-cache")
		h.Set("X-Accel-Buffering", "no") // nginx would hold what we flush
		e.w.WriteHeader(http.StatusOK)
	}
	if _, e.err = e.w.Write([]byte(text)); e.err == nil {
		e.err = e.control.Flush()
	}
	if !e.ended {
		e.alive.Reset(e.every)
	}
	return e.err
}

// end stops the timer and tells whether the client has got a status already.
// What is sent afterwards comes from the goroutine that answers alone.
func (e *events) end() (begun bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ended = true
	e.alive.Stop()
	return e.begun
}
