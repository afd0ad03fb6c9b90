package grpcclient

import (
	"context"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weir-gateway/weir/server/backend"
)

// maxRetryAfter bounds what a server can ask for.
const maxRetryAfter = 24 * time.Hour

// maxDetail bounds what an error says in the server's words, in bytes.
const maxDetail = 500

// Error is a failure that names the server.
func (c *Client) Error(class backend.Class, format string, args ...any) *backend.Error {
	return &backend.Error{Class: class, Detail: c.config.Name + ": " + fmt.Sprintf(format, args...)}
}

// Failure turns what a call returned into the context's error or an *Error.
// Received tells that an answer had begun.
func (c *Client) Failure(ctx context.Context, err error, received bool) error {
	if ended := ctx.Err(); ended != nil {
		return ended
	}
	st := status.Convert(err)
	class, retry := classOf(st.Code(), received), time.Duration(0)
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.RetryInfo:
			retry = min(max(0, d.GetRetryDelay().AsDuration()), maxRetryAfter)
		case *errdetails.ErrorInfo:
			if strings.HasPrefix(d.GetReason(), "API_KEY_") { // Google's, of the code for bad requests
				class = backend.Credentials
			}
		}
	}
	switch {
	case st.Code() == codes.Unavailable && !received && (retry > 0 || Overloaded(st.Message())):
		class = backend.Overloaded // the connection itself asks for nothing
	case class == backend.Rejected && TooLong(st.Message()):
		class = backend.ContextExceeded
	}
	e := c.Error(class, "%s: %s", strings.ToLower(st.Code().String()), c.Quote(st.Message()))
	e.Status, e.RetryAfter = int(st.Code()), retry
	return e
}

func classOf(code codes.Code, received bool) backend.Class {
	switch code {
	case codes.Unauthenticated, codes.PermissionDenied:
		return backend.Credentials
	case codes.ResourceExhausted:
		return backend.RateLimited
	case codes.InvalidArgument, codes.FailedPrecondition, codes.OutOfRange:
		return backend.Rejected
	case codes.NotFound:
		return backend.ModelMissing
	case codes.Unimplemented:
		return backend.Protocol // another service stands at the URL
	case codes.Canceled, codes.Aborted:
		return backend.Broken
	}
	switch {
	case received:
		return backend.Broken
	case code == codes.Unavailable:
		return backend.Unreachable
	}
	return backend.Failed
}

// Overloaded tells whether a server's words say that it sheds load. There is no
// code for it: UNAVAILABLE is also what a lost connection is.
func Overloaded(text string) bool {
	return containsAny(text, "overloaded", "exceeds maximum queue size", "high demand")
}

// TooLong tells whether a server's words say that the prompt does not fit.
func TooLong(text string) bool {
	return containsAny(text, "context length", "maximum model length", "input token count", "maximum number of tokens", "max_input_len", "prompt is too long")
}

func containsAny(text string, words ...string) bool {
	text = strings.ToLower(text)
	for _, w := range words {
		if strings.Contains(text, w) {
			return true
		}
	}
	return false
}

// Quote is what a server says, for the operator's log. It may have repeated the
// key that it refuses.
func (c *Client) Quote(text string) string {
	text = strings.Join(strings.Fields(c.hidden.Replace(text)), " ")
	if len(text) > maxDetail {
		text = strings.ToValidUTF8(text[:maxDetail], "") + " …"
	}
	if text == "" {
		text = "server gave no reason"
	}
	return text
}
