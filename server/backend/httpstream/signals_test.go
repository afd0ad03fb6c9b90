package httpstream

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weir-gateway/weir/server/backend"
)

func header(lines string) http.Header {
	h := http.Header{}
	for line := range strings.SplitSeq(lines, "\n") {
		if name, value, ok := strings.Cut(line, ": "); ok {
			h.Add(name, value)
		}
	}
	return h
}

func TestWhatIsSpentOfALimit(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for lines, want := range map[string]time.Duration{
		"": 0,
		"x-ratelimit-limit-requests: 60\nx-ratelimit-remaining-requests: 59\nx-ratelimit-reset-requests: 1s":                                        0,
		"x-ratelimit-remaining-requests: 0\nx-ratelimit-reset-requests: 1s":                                                                         time.Second,
		"x-ratelimit-remaining-tokens: 0\nx-ratelimit-reset-tokens: 6m0s\nx-ratelimit-remaining-requests: 0\nx-ratelimit-reset-requests: 12ms":      6 * time.Minute,
		"x-ratelimit-remaining-tokens: 149984\nx-ratelimit-reset-tokens: 6m0s\nx-ratelimit-remaining-requests: 0\nx-ratelimit-reset-requests: 12ms": 12 * time.Millisecond,
		"x-ratelimit-remaining-requests: 0\nx-ratelimit-reset-requests: 7.5":                                                                        7500 * time.Millisecond,
		"x-ratelimit-remaining-requests: -3\nx-ratelimit-reset-requests: 1m26.4s":                                                                   86400 * time.Millisecond,
		"x-ratelimit-remaining-requests: 0":                                                                                                                                   0,
		"x-ratelimit-remaining-requests: none\nx-ratelimit-reset-requests: 1s":                                                                                                0,
		"x-ratelimit-remaining-requests: 0\nx-ratelimit-reset-requests: soon":                                                                                                 0,
		"x-ratelimit-remaining-requests: 0\nx-ratelimit-reset-requests: -5s":                                                                                                  0,
		"x-ratelimit-remaining-requests: 0\nx-ratelimit-reset-requests: 9000h":                                                                                                maxRetryAfter,
		"anthropic-ratelimit-requests-remaining: 0\nanthropic-ratelimit-requests-reset: 2026-01-01T00:00:20Z":                                                                 20 * time.Second,
		"anthropic-ratelimit-output-tokens-remaining: 0\nanthropic-ratelimit-output-tokens-reset: 2026-01-01T00:00:20Z\ndate: Thu, 01 Jan 2026 00:00:15 GMT":                  5 * time.Second,
		"anthropic-ratelimit-input-tokens-remaining: 0\nanthropic-ratelimit-input-tokens-reset: 2025-12-31T23:59:59Z\nanthropic-ratelimit-tokens-remaining: 5":                0,
		"anthropic-ratelimit-tokens-remaining: 0\nanthropic-ratelimit-tokens-reset: 2026-01-01T08:01:00+08:00\nanthropic-ratelimit-tokens-limit: 80000\nx-other-remaining: 0": time.Minute,
	} {
		if got := spent(header(lines), now); got != want {
			t.Errorf("%s\nis spent for %v, want %v", lines, got, want)
		}
	}
}

// A 429 that names no time of its own is obeyed by its limits' headers.
func TestALimitIsItsOwnRetryAfter(t *testing.T) {
	spent := "x-ratelimit-remaining-requests: 0\nx-ratelimit-reset-requests: 20s"
	for _, c := range []struct {
		status int
		lines  string
		want   time.Duration
	}{
		{429, spent, 20 * time.Second}, {429, spent + "\nRetry-After: 3", 3 * time.Second}, {429, "", 0},
		{500, spent, 0}, {503, spent, 0},
	} {
		client := New(Config{Name: "b", URL: "http://127.0.0.1"})
		resp := &http.Response{StatusCode: c.status, Header: header(c.lines), Body: http.NoBody}
		e, is := client.Failure(resp).(*backend.Error)
		if !is || e.RetryAfter != c.want {
			t.Errorf("%d %q: %+v, want a rest of %v", c.status, c.lines, e, c.want)
		}
	}
}
