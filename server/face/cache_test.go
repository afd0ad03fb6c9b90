package face

import (
	"testing"

	"github.com/weir-gateway/weir/server/auth"
	"github.com/weir-gateway/weir/server/gateway"
)

func TestACallerDeclinesTheCache(t *testing.T) {
	ctx := auth.WithCaller(t.Context(), auth.Caller{Tenant: "acme", Project: "default", Key: "k1", Role: auth.Member})
	for said, want := range map[string]gateway.CacheControl{
		"": gateway.CacheAllowed, "max-age=0": gateway.CacheAllowed, "no-transform": gateway.CacheAllowed,
		"no-cache": gateway.CacheRenewed, " No-Cache , max-age=0": gateway.CacheRenewed,
		"no-store": gateway.CacheForbidden, "no-store, no-cache": gateway.CacheForbidden, "no-cache,no-store": gateway.CacheForbidden,
	} {
		for name, headers := range map[string]map[string][]string{
			"HTTP": {"Cache-Control": {said}}, "gRPC": {"cache-control": {said}}, "twice": {"cache-control": {"max-age=1", said}},
		} {
			call, err := NewCall(ctx, headers, About{})
			if err != nil || call.CacheControl != want {
				t.Errorf("%s %q: %v, want %v, %v", name, said, call.CacheControl, want, err)
			}
		}
	}
}
