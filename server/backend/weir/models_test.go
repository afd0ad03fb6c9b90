package weir_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/simulator"
	"github.com/weir-gateway/weir/server/backend/weir"
)

// A Weir tells its models to the one in front of it, over all pages, and a sidecar
// without that service tells none.
func TestModels(t *testing.T) {
	profiles, want := map[string][]simulator.Profile{}, []string{}
	for i := range 1200 {
		name := fmt.Sprintf("house/m%04d", i)
		profiles[name], want = []simulator.Profile{{}}, append(want, name)
	}
	d := open(t, tenant, profiles)
	at := func(key string) *weir.Backend {
		b, err := weir.New(weir.Config{Name: "inner", URL: "http://" + d.address, Key: key})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.Close() })
		return b
	}
	if got, err := at(d.secret).Models(t.Context()); err != nil || !slices.Equal(got, want) {
		t.Errorf("%d models, %v, want %d", len(got), err, len(want))
	}
	if _, err := at("weir_wrong").Models(t.Context()); backend.ClassOf(err) != backend.Credentials {
		t.Errorf("a wrong key: %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := at(d.secret).Models(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that is gone: %v", err)
	}
	sim, err := simulator.New(simulator.Config{})
	if err != nil {
		t.Fatal(err)
	}
	sidecar := listen(t, &server{sim: sim, key: testKey}, false, nil)
	if got, err := sidecar.Models(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("a sidecar: %v, %v", got, err)
	}
}
