package weir

import (
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/backend"
)

// domain is that of a Weir's reasons.
const domain = "weir.v1"

// reasons sort a Weir's failures. One that a policy of its own has blocked is
// Rejected: another target must not be tried for it.
var reasons = map[weirv1.ErrorReason]backend.Class{
	weirv1.ErrorReason_ERROR_REASON_INVALID_REQUEST:         backend.Rejected,
	weirv1.ErrorReason_ERROR_REASON_UNSUPPORTED_FEATURE:     backend.Rejected,
	weirv1.ErrorReason_ERROR_REASON_INPUT_BLOCKED:           backend.Rejected,
	weirv1.ErrorReason_ERROR_REASON_CONTEXT_LENGTH_EXCEEDED: backend.ContextExceeded,
	weirv1.ErrorReason_ERROR_REASON_MODEL_NOT_FOUND:         backend.ModelMissing,
	weirv1.ErrorReason_ERROR_REASON_CREDENTIALS_INVALID:     backend.Credentials,
	weirv1.ErrorReason_ERROR_REASON_PERMISSION_DENIED:       backend.Credentials,
	weirv1.ErrorReason_ERROR_REASON_RATE_LIMIT_EXCEEDED:     backend.RateLimited,
	weirv1.ErrorReason_ERROR_REASON_BUDGET_EXHAUSTED:        backend.RateLimited,
	weirv1.ErrorReason_ERROR_REASON_BACKEND_OVERLOADED:      backend.Overloaded,
	weirv1.ErrorReason_ERROR_REASON_STREAM_BROKEN:           backend.Broken,
	weirv1.ErrorReason_ERROR_REASON_CANCELLED:               backend.Broken,
	weirv1.ErrorReason_ERROR_REASON_READER_STALLED:          backend.Broken,
	weirv1.ErrorReason_ERROR_REASON_UNPRICED_MODEL:          backend.Failed,
	weirv1.ErrorReason_ERROR_REASON_BACKEND_UNAVAILABLE:     backend.Failed,
	weirv1.ErrorReason_ERROR_REASON_BACKEND_PROTOCOL:        backend.Failed,
	weirv1.ErrorReason_ERROR_REASON_BACKEND_CREDENTIALS:     backend.Failed,
	weirv1.ErrorReason_ERROR_REASON_DEADLINE_EXCEEDED:       backend.Failed,
	weirv1.ErrorReason_ERROR_REASON_ACCOUNTING_UNAVAILABLE:  backend.Failed,
	weirv1.ErrorReason_ERROR_REASON_STORE_UNAVAILABLE:       backend.Failed,
	weirv1.ErrorReason_ERROR_REASON_IDEMPOTENCY_KEY_TAKEN:   backend.Rejected,
	weirv1.ErrorReason_ERROR_REASON_ANSWER_NOT_KEPT:         backend.Rejected,
	weirv1.ErrorReason_ERROR_REASON_CALL_RUNNING:            backend.Overloaded,
	weirv1.ErrorReason_ERROR_REASON_INTERNAL:                backend.Failed,
}

// failed turns a status into the context's error or a *backend.Error.
func (s *stream) failed(err error) error {
	if ended := s.ctx.Err(); ended != nil {
		return ended
	}
	st := status.Convert(err)
	e := &backend.Error{Status: int(st.Code())}
	reason := ""
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			if d.GetDomain() == domain {
				reason = d.GetReason()
			}
		case *errdetails.RetryInfo:
			e.RetryAfter = min(max(0, d.GetRetryDelay().AsDuration()), maxRetryAfter)
		}
	}
	class, known := reasons[weirv1.ErrorReason(weirv1.ErrorReason_value["ERROR_REASON_"+reason])]
	if !known {
		class = s.classOf(st.Code())
	}
	e.Class, e.Detail = class, s.detail(reason, st)
	return e
}

// maxRetryAfter bounds what a server can ask for.
const maxRetryAfter = 24 * time.Hour

// classOf sorts a status that no Weir has given: gRPC's own, or a proxy's.
func (s *stream) classOf(code codes.Code) backend.Class {
	switch code {
	case codes.Unavailable:
		if s.received {
			return backend.Broken
		}
		return backend.Unreachable
	case codes.Unauthenticated, codes.PermissionDenied:
		return backend.Credentials
	case codes.ResourceExhausted:
		return backend.RateLimited
	case codes.InvalidArgument, codes.FailedPrecondition, codes.OutOfRange:
		return backend.Rejected
	case codes.NotFound:
		return backend.ModelMissing
	case codes.Unimplemented:
		return backend.Protocol // no Weir stands at the URL
	case codes.Canceled, codes.Aborted:
		return backend.Broken
	}
	if s.received {
		return backend.Broken
	}
	return backend.Failed
}

// maxDetail bounds what an error says in the server's words, in bytes.
const maxDetail = 500

// detail is what the server says, for the operator's log. A server may repeat
// the key that it refuses.
func (s *stream) detail(reason string, st *status.Status) string {
	text := s.backend.hidden.Replace(strings.TrimPrefix(reason+": "+st.Message(), ": "))
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > maxDetail {
		text = strings.ToValidUTF8(text[:maxDetail], "") + " …"
	}
	if text == "" {
		text = "server gave no reason"
	}
	return s.backend.config.Name + ": " + strings.ToLower(st.Code().String()) + ": " + text
}
