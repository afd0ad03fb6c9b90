// Package openai is the face that OpenAI's SDKs and everything built on them
// can talk to unmodified: chat completions, streamed or whole, embeddings, moderations and the
// list of models. It turns OpenAI's JSON into the neutral form and back. What it cannot
// carry, such as a bias on tokens, it refuses by name, since an answer to half
// of a request is worse than none; what it does not know it ignores, since
// clients add fields of their own.
//
// It decides nothing about a call, knows no backend and no gRPC.
package openai

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/weir-gateway/weir/server/auth"
	"github.com/weir-gateway/weir/server/face"
	"github.com/weir-gateway/weir/server/gateway"
	"github.com/weir-gateway/weir/server/route"
)

// Config is what stands behind the face.
type Config struct {
	Gateway *gateway.Gateway
	// Router returns the models that there are now.
	Router func() *route.Router
	// Chain is the one that every call on every face goes through. It is told
	// how this face says an error.
	Chain interface {
		HTTP(tell func(w http.ResponseWriter, r *http.Request, err error)) func(http.Handler) http.Handler
	}
}

const (
	// maxBody is what gRPC takes too.
	maxBody = 32 << 20
	// bodyTime bounds how slowly a body may come.
	bodyTime = 2 * time.Minute
	// aliveEvery is how long a stream may be silent: proxies cut connections
	// that are so for a minute.
	aliveEvery = 15 * time.Second
)

type server struct{ Config }

// New makes the handler of all paths below /v1.
func New(c Config) http.Handler {
	s := &server{c}
	mux := http.NewServeMux()
	for _, path := range []struct {
		method, path string
		handle       func(w http.ResponseWriter, r *http.Request) error
	}{
		{http.MethodPost, "/v1/chat/completions", s.chat},
		{http.MethodPost, "/v1/embeddings", s.embed},
		{http.MethodPost, "/v1/moderations", s.moderate},
		{http.MethodGet, "/v1/models", s.models},
		{http.MethodGet, "/v1/models/{id...}", s.model},
	} {
		route := path.method + " " + path.path
		mux.HandleFunc(route, func(w http.ResponseWriter, r *http.Request) {
			face.TrailOf(r.Context()).Route = route
			if err := path.handle(w, r); err != nil {
				writeError(w, r, err)
			}
		})
		mux.HandleFunc(path.path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", path.method)
			writeError(w, r, &httpError{
				status: http.StatusMethodNotAllowed, code: "method_not_allowed",
				error: face.Invalid("", "%s takes %s: see the method of the request", path.path, path.method),
			})
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, r, &httpError{
			status: http.StatusNotFound, code: "unknown_url",
			error: face.Invalid("", "there is nothing at this path: this Weir has POST /v1/chat/completions, POST /v1/embeddings, POST /v1/moderations, GET /v1/models and GET /v1/models/{id}; check the base URL, which ends in /v1"),
		})
	})
	return c.Chain.HTTP(writeError)(mux)
}

// chat answers POST /v1/chat/completions.
func (s *server) chat(w http.ResponseWriter, r *http.Request) error {
	body, err := readBody(w, r)
	if err != nil {
		return err
	}
	req, err := decode(body)
	if err != nil {
		return err
	}
	call, err := face.NewCall(r.Context(), r.Header, req.about)
	if err != nil {
		return err
	}
	call.Model, call.Request = req.model, req.request
	if req.stream {
		return s.stream(w, r.Context(), call, req.includeUsage, req.audio)
	}
	return s.whole(w, r.Context(), call, req.audio)
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	control := http.NewResponseController(w)
	// Deadlines are of the connection, and writers in tests have none.
	_ = control.SetReadDeadline(time.Now().Add(bodyTime))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	// The server goes on reading, to see when the client leaves.
	_ = control.SetReadDeadline(time.Time{})
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, &httpError{
			status: http.StatusRequestEntityTooLarge, code: "request_too_large",
			error: face.Invalid("", "the request is larger than %d MiB: send less text", maxBody>>20),
		}
	case err != nil:
		return nil, &httpError{
			status: http.StatusBadRequest, code: "incomplete_body",
			error: face.Invalid("", "the request broke off, or took longer than %s: send it again", bodyTime),
		}
	}
	return body, nil
}

// whole answers at once.
func (s *server) whole(w http.ResponseWriter, ctx context.Context, call *gateway.Call, audio string) error {
	var said gateway.Collector
	answer, err := s.Gateway.Generate(ctx, call, &said)
	if err != nil {
		return err
	}
	tellCost(w, answer)
	tellCache(w, answer)
	return writeJSON(w, http.StatusOK, beside(completionOf(answer, said.Candidates(), audio), answer.Extras, true))
}

func tellCost(w http.ResponseWriter, answer *gateway.Answer) {
	if cost := answer.Cost; cost != nil {
		w.Header().Set("x-weir-cost", cost.Charge.Decimal())
		w.Header().Set("x-weir-cost-currency", cost.Charge.Currency)
	}
}

// tellCache says whether the cache had the answer, and for how long (RFC 9111, 5.1).
// It has to come before the first text.
func tellCache(w http.ResponseWriter, answer *gateway.Answer) {
	if answer.Cache == "" {
		return
	}
	w.Header().Set("x-weir-cache", string(answer.Cache))
	if answer.Cache == gateway.CacheHit {
		w.Header().Set("Age", strconv.FormatInt(int64(answer.CacheAge/time.Second), 10))
	}
}

// stream answers as the text is released.
func (s *server) stream(w http.ResponseWriter, ctx context.Context, call *gateway.Call, includeUsage bool, audio string) error {
	out := newEvents(w, aliveEvery)
	defer out.end() // also where the gateway panics
	chunks := newChunks(out, call, includeUsage, audio)
	answer, err := s.Gateway.Generate(ctx, call, chunks)
	if err == nil {
		err = chunks.finish(answer)
	}
	if err == nil || !out.end() {
		return err
	}
	// The client has got a 200, so the failure stands in the stream. Without
	// [DONE] behind it the answer is not whole.
	face.TrailOf(ctx).Err = err
	if out.send(errorBody(ctx, err)) == nil { // a client that has gone learns nothing
		_ = out.flush()
	}
	return nil
}

// models answers GET /v1/models.
func (s *server) models(w http.ResponseWriter, r *http.Request) error {
	if err := maySeeModels(r); err != nil {
		return err
	}
	list := modelList{Object: "list", Data: []model{}}
	for _, name := range s.Router().Models() {
		list.Data = append(list.Data, modelOf(name))
	}
	return writeJSON(w, http.StatusOK, list)
}

// model answers GET /v1/models/{id}.
func (s *server) model(w http.ResponseWriter, r *http.Request) error {
	if err := maySeeModels(r); err != nil {
		return err
	}
	name := r.PathValue("id")
	if _, known := s.Router().Plan(name); !known {
		return &gateway.Error{Reason: gateway.ModelNotFound, Subject: name, Message: fmt.Sprintf("there is no model %q: GET /v1/models lists those that there are", name)}
	}
	return writeJSON(w, http.StatusOK, modelOf(name))
}

// maySeeModels refuses keys that see money alone.
func maySeeModels(r *http.Request) error {
	if caller, ok := auth.FromContext(r.Context()); ok && caller.Role == auth.Billing {
		return &face.DeniedError{Why: fmt.Sprintf("key %q is of role %s and may not see models: use one of role member, viewer or admin", caller.Key, caller.Role)}
	}
	return nil
}

type modelList struct {
	Object string  `json:"object"`
	Data   []model `json:"data"`
}

// model has no date of its own, and SDKs want one.
type model struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
}

func modelOf(name string) model { return model{ID: name, Object: "model", OwnedBy: "weir"} }
