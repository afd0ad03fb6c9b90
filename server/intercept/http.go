package intercept

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/weir-gateway/weir/server/face"
)

// tellFunc is an alias, so that a face can name the chain's type without
// knowing this package.
type tellFunc = func(w http.ResponseWriter, r *http.Request, err error)

// HTTP is the chain of one HTTP face: bounds, id, metrics and log, recovery,
// authentication. With tell the face says what fails before it is reached: it
// writes the error in its own words and notes it in the trail.
func (c *Chain) HTTP(tell func(w http.ResponseWriter, r *http.Request, err error)) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return c.boundHTTP(identifyHTTP(c.logHTTP(c.recoverHTTP(tell, c.authenticateHTTP(tell, next)))))
	}
}

// Web is the part of the chain that comes before a request over HTTP becomes a
// call of a gRPC server: bounds and id. The rest is the server's.
func (c *Chain) Web(next http.Handler) http.Handler { return c.boundHTTP(identifyHTTP(next)) }

func identifyHTTP(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, trail := identify(r.Context(), r.Header.Get(clientIDHeader))
		// x-request-id is where OpenAI's SDKs look for it.
		w.Header().Set(RequestIDHeader, trail.RequestID)
		w.Header().Set(clientIDHeader, trail.RequestID)
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// logHTTP counts and logs a call by its route, which only the face knows: the
// path of a stranger is no label.
func (c *Chain) logHTTP(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start, trail, answer := c.Now(), face.TrailOf(r.Context()), &recorder{ResponseWriter: w}
		ctx, end := c.begin(r.Context(), true, r.Header.Get)
		defer func() {
			route := trail.Route
			if route == "" {
				route = "other"
			}
			if why := stalled(r.Context()); why != nil {
				trail.Err = why
			}
			code := answer.code(trail)
			c.Metrics.observeHTTP(route, code, c.Now().Sub(start))
			end(route, code)
		}()
		next.ServeHTTP(answer, r.WithContext(ctx))
	})
}

func (c *Chain) recoverHTTP(tell tellFunc, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			value := recover()
			if value == nil {
				return
			}
			if err, ok := value.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(value)
			}
			err := c.recovered(r.Context(), value)
			if answer, ok := w.(*recorder); ok && answer.status != 0 {
				// The client has got the head of an answer. Breaking the
				// connection is the one way left to say that it is not whole.
				face.TrailOf(r.Context()).Err = err
				panic(http.ErrAbortHandler)
			}
			tell(w, r, err)
		}()
		next.ServeHTTP(w, r)
	})
}

func (c *Chain) authenticateHTTP(tell tellFunc, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, err := c.authenticate(r.Context(), r.Header.Get(authorizationHeader), r.Header.Get(apiKeyHeader))
		if err != nil {
			tell(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// recorder remembers the status of an answer. The ResponseController reaches
// what it wraps.
type recorder struct {
	http.ResponseWriter
	status int
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= 200 { // 1xx says nothing yet
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// FlushError is what http.ResponseController asks for.
func (w *recorder) FlushError() error {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Flush implements http.Flusher, for what asks for it by type.
func (w *recorder) Flush() { _ = w.FlushError() } // a writer that cannot sends at the end

// Unwrap leads http.ResponseController on.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// code is the status, or what it would have been for a client that has gone.
func (w *recorder) code(trail *face.Trail) string {
	status := w.status
	if status == 0 {
		status = http.StatusOK
		if trail.Err != nil {
			status = face.Explain(trail.Err, trail.RequestID).HTTP
		}
	}
	return strconv.Itoa(status)
}
