package httpstream

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/load"
)

// Signals implements backend.Signaller: what the header of the answer says.
func (s *stream) Signals() backend.Signals {
	h := s.header
	s.header = nil
	if h == nil {
		return backend.Signals{}
	}
	out := backend.Signals{Spent: spent(h, time.Now())}
	if report := h.Get(load.Header); report != "" {
		out.Load = load.ParseHeader(report)
	}
	return out
}

// limits are the headers by which providers tell what is left of a limit, and
// when it is whole again: OpenAI's, which many servers have, with durations, and
// Anthropic's with times.
var limits = [...]struct{ remaining, reset string }{
	{"X-Ratelimit-Remaining-Requests", "X-Ratelimit-Reset-Requests"},
	{"X-Ratelimit-Remaining-Tokens", "X-Ratelimit-Reset-Tokens"},
	{"Anthropic-Ratelimit-Requests-Remaining", "Anthropic-Ratelimit-Requests-Reset"},
	{"Anthropic-Ratelimit-Tokens-Remaining", "Anthropic-Ratelimit-Tokens-Reset"},
	{"Anthropic-Ratelimit-Input-Tokens-Remaining", "Anthropic-Ratelimit-Input-Tokens-Reset"},
	{"Anthropic-Ratelimit-Output-Tokens-Remaining", "Anthropic-Ratelimit-Output-Tokens-Reset"},
}

// spent is how long it takes until each limit of which nothing is left is whole
// again; 0 where something is left of all.
func spent(h http.Header, now time.Time) (longest time.Duration) {
	for _, l := range limits {
		remaining := h[l.remaining]
		if len(remaining) == 0 {
			continue
		}
		if n, err := strconv.ParseFloat(strings.TrimSpace(remaining[0]), 64); err != nil || n > 0 {
			continue
		}
		longest = max(longest, until(h.Get(l.reset), h, now))
	}
	return min(longest, maxRetryAfter)
}

// until reads a duration such as 6m0s or 12ms, a number of seconds, or a time.
// That is by the server's clock, which the header Date tells.
func until(text string, h http.Header, now time.Time) time.Duration {
	text = strings.TrimSpace(text)
	if d, err := time.ParseDuration(text); err == nil {
		return max(0, d)
	}
	if d, ok := units(text, time.Second); ok {
		return d
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		if date, err := http.ParseTime(h.Get("Date")); err == nil {
			now = date
		}
		return max(0, t.Sub(now))
	}
	return 0
}
