package anthropic_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"testing"

	"github.com/weir-gateway/weir/server/backend"
)

// Models come in pages, each from where the one before ended.
func TestModels(t *testing.T) {
	pages := map[string]string{
		"limit=1000":                   `{"data":[{"id":"claude-opus-5"},{"id":"claude b"}],"has_more":true,"last_id":"claude b"}`,
		"limit=1000&after_id=claude+b": `{"data":[{"id":"claude-haiku-5-5"},{"type":"model"}],"has_more":false,"last_id":"x"}`,
	}
	b := to(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Path != "/v1/models" || r.Header.Get("X-Api-Key") != testKey {
			t.Errorf("%s %s with key %q", r.Method, r.URL, r.Header.Get("X-Api-Key"))
		}
		io.WriteString(w, pages[r.URL.RawQuery])
	}, nil)
	got, err := b.Models(t.Context())
	if want := []string{"claude b", "claude-haiku-5-5", "claude-opus-5"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("models are %v, %v, want %v", got, err, want)
	}
	pages["limit=1000"] = `no`
	if _, err := b.Models(t.Context()); backend.ClassOf(err) != backend.Protocol {
		t.Errorf("no list: %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Models(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that is gone: %v", err)
	}
	refuses := to(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusUnauthorized) }, nil)
	if _, err := refuses.Models(t.Context()); backend.ClassOf(err) != backend.Credentials {
		t.Errorf("a wrong key: %v", err)
	}
}
