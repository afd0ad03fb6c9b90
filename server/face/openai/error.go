package openai

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/weir-gateway/weir/server/face"
	"github.com/weir-gateway/weir/server/gateway"
)

// httpError is a failure of HTTP itself, which no other face knows: the row of
// the error inside, with a status and a code of its own.
type httpError struct {
	status int
	code   string
	error
}

func (e *httpError) Unwrap() error { return e.error }

// failureOf is an error in the words of this face.
func failureOf(ctx context.Context, err error) face.Failure {
	f := face.Explain(err, face.TrailOf(ctx).RequestID)
	var own *httpError
	if errors.As(err, &own) {
		f.HTTP, f.OpenAI = own.status, own.code
	}
	return f
}

type errorAnswer struct {
	Error wireError `json:"error"`
}

// wireError has the four keys that every error of OpenAI has, and ours.
type wireError struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    *string `json:"code"`
	// Weir says which findings blocked the input.
	Weir *extension `json:"weir,omitempty"`
}

func errorBody(ctx context.Context, err error) errorAnswer {
	f := failureOf(ctx, err)
	e := wireError{Message: f.Message, Type: f.Type, Param: param(f)}
	if f.OpenAI != "" {
		e.Code = &f.OpenAI
	}
	if len(f.Verdicts) > 0 {
		e.Weir = &extension{Verdicts: verdictsOf(f.Verdicts)}
	}
	return errorAnswer{e}
}

// param is the first field that is wrong, as OpenAI calls it.
func param(f face.Failure) *string {
	if f.Reason == gateway.ModelNotFound {
		name := "model"
		return &name
	}
	if len(f.Fields) == 0 || f.Fields[0].Path == "" {
		return nil
	}
	name := f.Fields[0].Path
	if ours, ok := params[name]; ok {
		name = ours
	}
	return &name
}

// params are OpenAI's names of fields that weir.v1 calls otherwise.
var params = map[string]string{
	"config.candidate_count":   "n",
	"config.seed":              "seed",
	"config.service_class":     "service_tier",
	"config.top_k":             "top_k",
	"config.max_output_tokens": "max_completion_tokens",
	"config.stop_sequences":    "stop",
	"context.labels":           "metadata",
	"config.response_format":   "response_format",
}

// writeError answers with an error, before anything else was said.
func writeError(w http.ResponseWriter, r *http.Request, err error) {
	face.TrailOf(r.Context()).Err = err
	f := failureOf(r.Context(), err)
	if f.Reason == gateway.Cancelled {
		return // nobody is there to read it
	}
	h := w.Header()
	h.Set("x-should-retry", strconv.FormatBool(f.Retry))
	if f.Retry {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(f.RetryAfter.Seconds()))))
		h.Set("retry-after-ms", strconv.FormatInt(f.RetryAfter.Milliseconds(), 10))
	}
	if rate := f.Rate; rate != nil {
		of := "requests"
		if rate.Tokens {
			of = "tokens"
		}
		h.Set("x-ratelimit-limit-"+of, strconv.FormatInt(rate.Limit, 10))
		h.Set("x-ratelimit-remaining-"+of, strconv.FormatInt(rate.Remaining, 10))
		h.Set("x-ratelimit-reset-"+of, rate.Reset.Round(time.Millisecond).String())
	}
	if f.HTTP == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="weir"`)
	}
	if err := writeJSON(w, f.HTTP, errorBody(r.Context(), err)); err != nil {
		face.TrailOf(r.Context()).Err = err
	}
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	body, err := marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)+1))
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // a client that has gone learns nothing
	return nil
}

// marshal leaves <, > and & as they are: they are text, not markup.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
