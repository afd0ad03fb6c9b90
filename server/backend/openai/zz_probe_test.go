//go:build realserver

package openai_test

import (
	"context"
	"net/http/httptrace"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/weir-gateway/weir/server/backend/openai"
)

func TestProbe(t *testing.T) {
	b, _ := openai.New(openai.Config{Name: "real", URL: os.Getenv("WEIR_TEST_OPENAI_URL"), Key: os.Getenv("WEIR_TEST_OPENAI_KEY")})
	defer b.Close()
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 10 {
				var info httptrace.GotConnInfo
				start := time.Now()
				ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{GotConn: func(g httptrace.GotConnInfo) { info = g }})
				req := hello(); req.Model = "small"; m := 8; req.MaxOutputTokens = &m
				s, err := b.Generate(ctx, req)
				if err != nil { t.Logf("w%d i%d reused=%v wasIdle=%v idle=%v after=%v: %v", w, i, info.Reused, info.WasIdle, info.IdleTime, time.Since(start), err); continue }
				if i%3 != 2 { for err == nil { _, err = s.Recv() } }
				s.Close()
			}
		})
	}
	wg.Wait()
}
