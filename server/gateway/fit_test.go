package gateway

import (
	"testing"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/server/backend"
)

func TestAHintHoldsThePriceOfAWrite(t *testing.T) {
	part := func(ttl time.Duration) *backend.Request {
		return &backend.Request{Messages: []backend.Message{{Parts: []backend.Part{{Cache: &backend.CacheHint{TTL: ttl}}}}}}
	}
	both := part(time.Hour)
	both.Tools = []backend.Tool{{Cache: &backend.CacheHint{}}}
	for i, c := range []struct {
		req  *backend.Request
		want accounting.Meter
	}{
		{&backend.Request{}, accounting.Input}, {part(0), accounting.CacheWrite5m}, {part(5 * time.Minute), accounting.CacheWrite5m},
		{part(time.Hour), accounting.CacheWrite1h}, {both, accounting.CacheWrite1h},
	} {
		if got := inputMeter(c.req); got != c.want {
			t.Errorf("%d: %v, want %v", i, got, c.want)
		}
	}
}
