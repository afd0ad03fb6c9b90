package simulator

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/server/backend"
)

func answered(t *testing.T, b *Backend, model string, prompts ...string) (string, accounting.Usage, error) {
	t.Helper()
	req := &backend.Request{RequestID: "r", Model: model, Candidates: 1}
	for _, p := range prompts {
		req.Messages = append(req.Messages, backend.Message{Role: backend.User, Parts: []backend.Part{{Channel: backend.Content, Text: p}}})
	}
	s, err := b.Generate(context.Background(), req)
	if err != nil {
		return "", accounting.Usage{}, err
	}
	defer s.Close()
	var text string
	var usage accounting.Usage
	for {
		e, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return text, usage, nil
		}
		if err != nil {
			return text, usage, err
		}
		if text += e.Text; e.Kind == backend.Used {
			usage = e.Usage
		}
	}
}

func TestFaultsBeforeTheFirstToken(t *testing.T) {
	fault := FaultNone
	b, err := New(Config{Models: map[string]Profile{"m": {}}, Behave: func(_ string, p Profile) Profile {
		p.Fault, p.RetryAfter = fault, 3*time.Second
		return p
	}})
	if err != nil {
		t.Fatal(err)
	}
	for f, want := range map[Fault]backend.Error{
		FaultRefused:     {Class: backend.Unreachable},
		FaultReset:       {Class: backend.Broken},
		FaultError:       {Class: backend.Failed, Status: 500},
		FaultRateLimited: {Class: backend.RateLimited, Status: 429, RetryAfter: 3 * time.Second},
		FaultOverloaded:  {Class: backend.Overloaded, Status: 503, RetryAfter: 3 * time.Second},
	} {
		fault = f
		text, _, err := answered(t, b, "m", "say: hello")
		var e *backend.Error
		if !errors.As(err, &e) || e.Class != want.Class || e.Status != want.Status || e.RetryAfter != want.RetryAfter || text != "" {
			t.Errorf("%s: %q, %v", f, text, err)
		}
	}
	for after, want := range []string{"", "hell", "hello"} {
		garbled, err := New(Config{Models: map[string]Profile{"m": {Fault: FaultGarbage, FaultAfter: after}}})
		if err != nil {
			t.Fatal(err)
		}
		if text, _, err := answered(t, garbled, "m", "say: hello there"); backend.ClassOf(err) != backend.Protocol || text != want {
			t.Errorf("garbage after %d tokens: %q, %v", after, text, err)
		}
	}
	fault = FaultUsage
	text, usage, err := answered(t, b, "m", "say: hello there")
	if out, _ := usage.OutputTokens(); err != nil || text != "hello there" || out != int64(2*countTokens(text)) {
		t.Errorf("%q, %v, %v", text, usage, err)
	}
}

func TestThePromptCache(t *testing.T) {
	b, err := New(Config{Models: map[string]Profile{"m": {CacheTokens: 160}, "other": {CacheTokens: 160}}})
	if err != nil {
		t.Fatal(err)
	}
	cached := func(model string, prompts ...string) int64 {
		_, usage, err := answered(t, b, model, prompts...)
		if err != nil {
			t.Fatal(err)
		}
		n, _ := usage.Get(accounting.CacheRead)
		return n
	}
	system := strings.Repeat("水", 79) // with its role, five blocks
	for i, c := range []struct {
		model  string
		prompt []string
		want   int64
	}{
		{"m", []string{system, "one"}, 0},
		{"m", []string{system, "two"}, 80},
		{"other", []string{system, "two"}, 0},
		{"m", []string{"x" + system}, 0},
		{"m", []string{strings.Repeat("火", 159)}, 0}, // fills the cache
		{"m", []string{system, "three"}, 0},
	} {
		if got := cached(c.model, c.prompt...); got != c.want {
			t.Errorf("%d: %d tokens come from the cache, want %d", i, got, c.want)
		}
	}
}
