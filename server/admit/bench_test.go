package admit

import (
	"testing"
	"time"

	"github.com/weir-gateway/weir/policy"
)

func BenchmarkAdmit(b *testing.B) {
	plenty := int64(1 << 40)
	rates := []policy.BoundRate{perMinute(plenty, plenty), atOnce(1000)}
	b.ReportAllocs()
	l := New(time.Now)
	for b.Loop() {
		leave, err := l.Admit(ctx, k1, rates)
		if err != nil {
			b.Fatal(err)
		}
		leave()
	}
}
