//go:build realserver

package openai_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/backendtest"
	"github.com/weir-gateway/weir/server/backend/openai"
)

// TestRealServer runs the contract against the server at WEIR_TEST_OPENAI_URL
// with the model WEIR_TEST_OPENAI_MODEL and the key WEIR_TEST_OPENAI_KEY, if
// it wants one. Make test-real starts one; nothing here is skipped.
func TestRealServer(t *testing.T) {
	url, model := os.Getenv("WEIR_TEST_OPENAI_URL"), os.Getenv("WEIR_TEST_OPENAI_MODEL")
	if url == "" || model == "" {
		t.Fatal("set WEIR_TEST_OPENAI_URL and WEIR_TEST_OPENAI_MODEL to a server of OpenAI's API and one of its models")
	}
	key := os.Getenv("WEIR_TEST_OPENAI_KEY")
	open := func(t *testing.T) *openai.Backend {
		b, err := openai.New(openai.Config{Name: "real", Dialect: "llamacpp", URL: url, Key: key})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.Close() })
		return b
	}
	names, err := open(t).Models(context.Background())
	if err != nil || !slices.Contains(names, model) {
		t.Errorf("models are %v, %v, want %s among them", names, err, model)
	}
	backendtest.Run(t, func(t *testing.T) backendtest.Harness {
		h := backendtest.Harness{Backend: open(t), Model: model}
		if os.Getenv("WEIR_TEST_OPENAI_MANY_MODELS") != "" { // a server of one model takes any name
			h.Fails = map[string]backend.Class{"no-such-model": backend.ModelMissing}
		}
		return h
	})
	t.Run("context exceeded", func(t *testing.T) {
		req := hello()
		req.Model = model
		req.Messages[0].Parts[0].Text = strings.Repeat("river and mill and ", 20_000)
		if _, err := open(t).Generate(t.Context(), req); err == nil || backend.ClassOf(err) != backend.ContextExceeded {
			t.Errorf("error is %v, want class %s", err, backend.ContextExceeded)
		}
	})
	if key == "" {
		return
	}
	t.Run("wrong key", func(t *testing.T) {
		b, err := openai.New(openai.Config{Name: "real", Dialect: "llamacpp", URL: url, Key: "sk-wrong-key-1"})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		req := hello()
		req.Model = model
		if _, err := b.Generate(t.Context(), req); err == nil || backend.ClassOf(err) != backend.Credentials {
			t.Errorf("error is %v, want class %s", err, backend.Credentials)
		}
	})
}
