package openai

import (
	"bytes"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/weir-gateway/weir/server/gateway"
)

// events writes server-sent events. The goroutine that answers and the timer
// that keeps the connection alive both write, one at a time. The status and
// the headers of the answer go out with the first of them.
type events struct {
	w       http.ResponseWriter
	control *http.ResponseController
	every   time.Duration

	mu     sync.Mutex
	frame  bytes.Buffer  // the event that is written; reused
	encode *json.Encoder // into it
	begun  bool
	ended  bool
	err    error // of the first write that failed
	alive  *time.Timer
}

// newEvents starts the timer. Its end must be called before the handler
// returns: after that, w is not ours.
func newEvents(w http.ResponseWriter, every time.Duration) *events {
	e := &events{w: w, control: http.NewResponseController(w), every: every}
	e.encode = json.NewEncoder(&e.frame)
	e.encode.SetEscapeHTML(false)
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
	if e.write([]byte(": keep-alive\n\n")) == nil { // else the next event fails as well
		_ = e.push()
	}
}

// send writes one event. Like all that is written it may wait for the next flush.
func (e *events) send(v any) error { return e.around("", v, "") }

// tell puts what an answer has for the headers into them, unless they are gone.
func (e *events) tell(a *gateway.Answer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.begun {
		tellCache(e.w, a)
	}
}

// around writes one event: v, between JSON that is there already.
func (e *events) around(before string, v any, after string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.frame.Reset()
	e.frame.WriteString("data: ")
	e.frame.WriteString(before)
	if err := e.encode.Encode(v); err != nil {
		return err
	}
	e.frame.Truncate(e.frame.Len() - 1) // the encoder ends its line
	e.frame.WriteString(after)
	e.frame.WriteString("\n\n")
	return e.write(e.frame.Bytes())
}

// done is the event that ends a stream.
func (e *events) done() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.write([]byte("data: [DONE]\n\n"))
}

// write needs the lock.
func (e *events) write(event []byte) error {
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
	_, e.err = e.w.Write(event)
	return e.err
}

// flush sends what was written.
func (e *events) flush() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.push()
}

// push needs the lock.
func (e *events) push() error {
	if e.err == nil {
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
