package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The key of a guard service comes from a file or a program as those of backends
// do, is fetched anew where the service refuses it, and stands in no error.
func TestKeysOfGuardServices(t *testing.T) {
	valid := "first-s3cret"
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+valid {
			w.WriteHeader(http.StatusUnauthorized)
			io.WriteString(w, r.Header.Get("Authorization"))
			return
		}
		io.WriteString(w, "judged")
	}))
	defer s.Close()
	file := filepath.Join(t.TempDir(), "mods.key")
	write := func(key string) {
		if err := os.WriteFile(file, []byte(key+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(valid)
	guard := func(c KeyConfig) GuardConfig {
		return GuardConfig{Name: "mods", Kind: "moderation", URL: s.URL + "/v1", KeyConfig: c}
	}
	for name, c := range map[string]KeyConfig{"file": {KeyFile: file}, "command": {KeyCommand: []string{"cat", file}}} {
		t.Run(name, func(t *testing.T) {
			valid = "first-s3cret"
			write(valid)
			all, err := services([]GuardConfig{guard(c)})
			if err != nil {
				t.Fatal(err)
			}
			ask := func() (string, error) {
				text, err := all["mods"].moderate(context.Background(), s.Client(), []byte(`{}`))
				return string(text), err
			}
			if text, err := ask(); err != nil || text != "judged" {
				t.Fatalf("%q, %v", text, err)
			}
			valid = "second-s3cret"
			if text, err := ask(); err == nil || strings.Contains(err.Error(), "s3cret") || text != "" {
				t.Fatalf("an old key: %q, %v", text, err)
			}
			write(valid)
			if text, err := ask(); err != nil || text != "judged" {
				t.Fatalf("after the key has changed: %q, %v", text, err)
			}
		})
	}
	if _, err := services([]GuardConfig{guard(KeyConfig{KeyFile: file + ".not"})}); err == nil || !strings.Contains(err.Error(), `guard service "mods": key_file`) {
		t.Errorf("no key file: %v", err)
	}
	if field, _ := guard(KeyConfig{Key: "k", KeyFile: file}).check(); field != "key" {
		t.Errorf("two keys: field is %q", field)
	}
}
