package route_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/simulator"
	"github.com/weir-gateway/weir/server/route"
)

// BenchmarkPromptCache tells which share of the input comes from the targets'
// caches: 200 agents, each with a system prompt of its own, on five targets whose
// caches hold about a third of all prompts each. Without affinity a call goes to
// whichever is less busy.
func BenchmarkPromptCache(b *testing.B) {
	for _, how := range []string{"round robin", "least busy", "session", "prefix"} {
		b.Run(strings.ReplaceAll(how, " ", "-"), func(b *testing.B) {
			share := 0.0
			for b.Loop() {
				share = cachedShare(b, how)
			}
			b.ReportMetric(100*share, "%cached")
		})
	}
}

func TestPrefixAffinityFindsMoreInTheCache(t *testing.T) {
	turns, prefix := cachedShare(t, "round robin"), cachedShare(t, "prefix")
	if prefix < 1.5*turns {
		t.Errorf("%.2f of the input come from caches by prefix affinity, %.2f by round robin", prefix, turns)
	}
}

func cachedShare(t testing.TB, how string) float64 {
	const agents, calls, nodes, systemTokens = 200, 4000, 5, 400
	var targets []route.Target
	for i := range nodes {
		sim, err := simulator.New(simulator.Config{Models: map[string]simulator.Profile{"m": {CacheTokens: agents * systemTokens / 3}}})
		if err != nil {
			t.Fatal(err)
		}
		targets = append(targets, route.Target{Name: fmt.Sprint(i), Model: "m", Backend: sim})
	}
	affinity := map[string]route.Affinity{"session": route.SessionAffinity, "prefix": route.PrefixAffinity}[how]
	router, err := route.New([]route.Model{{Name: "m", Targets: targets, Affinity: affinity}})
	if err != nil {
		t.Fatal(err)
	}
	model, _ := router.Plan("m")
	chance := rand.New(rand.NewPCG(7, 7))
	var input, cached int64
	for i := range calls {
		agent := chance.IntN(agents)
		system := strings.Repeat(fmt.Sprintf("第%d条规则：请简短回答。", agent), systemTokens/12)
		req := &backend.Request{Model: "m", Candidates: 1, Messages: []backend.Message{
			{Role: backend.System, Parts: []backend.Part{{Channel: backend.Content, Text: system}}},
			{Role: backend.User, Parts: []backend.Part{{Channel: backend.Content, Text: fmt.Sprintf("say: %d", i)}}},
		}}
		target := &targets[i%nodes]
		if how != "round robin" {
			tries, err := model.Tries(&route.Call{Subject: policy.Subject{Session: fmt.Sprint(agent)}, Request: req})
			if err != nil {
				t.Fatal(err)
			}
			try, err := tries.Next(time.Now())
			if err != nil {
				t.Fatal(err)
			}
			target = try.Target
			try.Done(time.Now(), nil)
		}
		s, err := target.Backend.Generate(context.Background(), req)
		if err != nil {
			t.Fatal(err)
		}
		for {
			e, err := s.Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if e.Kind == backend.Used {
				all, _ := e.Usage.InputTokens()
				hit, _ := e.Usage.Get(accounting.CacheRead)
				input, cached = input+all, cached+hit
			}
		}
	}
	return float64(cached) / float64(input)
}
