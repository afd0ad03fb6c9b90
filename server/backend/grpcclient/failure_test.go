package grpcclient

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weir-gateway/weir/server/backend"
)

func TestFailure(t *testing.T) {
	c, err := New(Config{Name: "gpu", URL: "http://127.0.0.1:1", Key: "key-0123456789"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	retry := &errdetails.RetryInfo{RetryDelay: durationpb.New(3 * time.Second)}
	for _, x := range []struct {
		code     codes.Code
		text     string
		detail   protoadapt.MessageV1
		received bool
		want     backend.Class
		after    time.Duration
	}{
		{codes.Unavailable, "connection refused", nil, false, backend.Unreachable, 0},
		{codes.Unavailable, "connection reset", nil, true, backend.Broken, 0},
		{codes.Unavailable, "The model is overloaded. Please try again later.", nil, false, backend.Overloaded, 0},
		{codes.Unavailable, "later", retry, false, backend.Overloaded, 3 * time.Second},
		{codes.Unavailable, "later", retry, true, backend.Broken, 3 * time.Second},
		{codes.ResourceExhausted, "quota", retry, false, backend.RateLimited, 3 * time.Second},
		{codes.ResourceExhausted, "quota", &errdetails.RetryInfo{RetryDelay: durationpb.New(1e6 * time.Hour)}, false, backend.RateLimited, maxRetryAfter},
		{codes.InvalidArgument, "top_k is wrong", nil, false, backend.Rejected, 0},
		{codes.InvalidArgument, "The input token count (9) exceeds the maximum number of tokens allowed (8).", nil, false, backend.ContextExceeded, 0},
		{codes.InvalidArgument, "API key not valid", &errdetails.ErrorInfo{Reason: "API_KEY_INVALID", Domain: "googleapis.com"}, false, backend.Credentials, 0},
		{codes.PermissionDenied, "no", nil, false, backend.Credentials, 0},
		{codes.NotFound, "no", nil, false, backend.ModelMissing, 0},
		{codes.Unimplemented, "no", nil, false, backend.Protocol, 0},
		{codes.Internal, "no", nil, false, backend.Failed, 0},
		{codes.Internal, "no", nil, true, backend.Broken, 0},
		{codes.DeadlineExceeded, "its own", nil, false, backend.Failed, 0},
	} {
		st := status.New(x.code, x.text+" key-0123456789")
		if x.detail != nil {
			if st, err = st.WithDetails(x.detail); err != nil {
				t.Fatal(err)
			}
		}
		var failed *backend.Error
		got := c.Failure(t.Context(), st.Err(), x.received)
		if !errors.As(got, &failed) || failed.Class != x.want || failed.RetryAfter != x.after || failed.Status != int(x.code) ||
			!strings.HasPrefix(failed.Detail, "gpu: ") || strings.Contains(failed.Detail, "key-0") {
			t.Errorf("%s %q: %+v, want class %s, retry after %s", x.code, x.text, got, x.want, x.after)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if got := c.Failure(ended, status.Error(codes.Canceled, ""), false); got != context.Canceled {
		t.Errorf("%v, want the context's error", got)
	}
	if got := c.Quote(strings.Repeat("水\n", 300)); len(got) > maxDetail+5 || strings.Contains(got, "\n") || strings.Contains(got, "\uFFFD") {
		t.Errorf("quoted %q", got)
	}
}

func TestCheck(t *testing.T) {
	for _, x := range []struct{ url, key, want string }{
		{"", "", "url is empty"}, {"ftp://h", "", "does not start with"}, {"http://u:secret@h", "", "holds a user"},
		{"http://h/v1", "", "more than a port"}, {"http://", "", "has no host"}, {"http://h:1", "a b", "key has a space"}, {"://secret", "", "cannot be read"},
	} {
		err := Config{URL: x.url, Key: x.key}.Check("https://example.org:443")
		if err == nil || !strings.Contains(err.Error(), x.want) || strings.Contains(err.Error(), "secret@") {
			t.Errorf("%q: %v, want %q", x.url, err, x.want)
		}
	}
	if err := (Config{URL: "https://h", Key: "k"}).Check(""); err != nil {
		t.Error(err)
	}
}
