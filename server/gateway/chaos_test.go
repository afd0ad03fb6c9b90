package gateway_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/server/backend/simulator"
	"github.com/weir-gateway/weir/server/gateway"
)

// virtual runs a test whose time passes only when everybody waits.
func virtual(t *testing.T, f func(*testing.T)) { synctest.Test(t, f) }

// faults are all that a backend can do wrong.
func faults(chance *rand.Rand) simulator.Profile {
	after := chance.IntN(6)
	all := []simulator.Profile{
		{Fault: simulator.FaultRefused},
		{Fault: simulator.FaultReset},
		{Fault: simulator.FaultError},
		{Fault: simulator.FaultOverloaded},
		{Fault: simulator.FaultOverloaded, RetryAfter: 5 * time.Second},
		{Fault: simulator.FaultRateLimited},
		{Fault: simulator.FaultRateLimited, RetryAfter: 10 * time.Second},
		{Fault: simulator.FaultStall, FaultAfter: after},
		{Fault: simulator.FaultCut, FaultAfter: after},
		{Fault: simulator.FaultGarbage, FaultAfter: after},
		{Fault: simulator.FaultUsage},
		{TimeToFirstToken: time.Hour},
	}
	return all[chance.IntN(len(all))]
}

// TestChaos lets four of five targets, always others, fail in every way there
// is. While one is well and the budget of retries lasts, which a call every five
// seconds cannot spend, each call is answered of which the caller has seen no
// byte; no byte comes twice or is lost; the ledger has every attempt; and who was
// ejected comes back.
func TestChaos(t *testing.T) { chaos(t, false) }

// TestHedgedChaos is the same where a second target is asked beside one that is
// slow, as those that are well are now and then.
func TestHedgedChaos(t *testing.T) { chaos(t, true) }

func chaos(t *testing.T, hedged bool) {
	const nodes, calls, spell, pace = 5, 400, 10, 5 * time.Second
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				chance := rand.New(rand.NewPCG(seed, 6))
				h := newHouse(t, pricedLongAgo, make([]simulator.Profile, nodes)...)
				h.reroute(targets(h, nodes)...)
				if hedged {
					h.hedgingAlike(targets(h, nodes)...)
				}
				var now [nodes]simulator.Profile // how the targets behave
				asked := 0
				var asking sync.Mutex
				speed := rand.New(rand.NewPCG(seed, 7))
				h.Behave = func(model string, _ simulator.Profile) simulator.Profile {
					asking.Lock()
					defer asking.Unlock()
					asked++
					i := 0
					if _, number, found := strings.Cut(model, "-"); found {
						fmt.Sscan(number, &i)
					}
					p := now[i]
					if hedged && p.TimeToFirstToken == 0 {
						p.TimeToFirstToken = time.Duration(speed.Int64N(int64(3 * hedgeAfter)))
					}
					return p
				}
				// The one that has been well stays so while a rest of the next can last.
				var well, before, broken, retried int
				hedges := map[gateway.Hedge]int{}
				for n := range calls {
					if n%spell == 0 {
						before, well = well, (well+1+chance.IntN(nodes-1))%nodes
						for i := range now {
							if now[i] = faults(chance); i == well || i == before {
								now[i] = simulator.Profile{}
							}
						}
					}
					want := fmt.Sprintf("第%d个答案 is one two three four five 六七八九十 and that is all", n)
					call := newCall("say: " + want)
					asked = 0
					var got string
					var answer *gateway.Answer
					var err error
					stream := chance.IntN(2) == 0
					if stream {
						answer, err = h.Generate(context.Background(), call, sink(func(d gateway.Delta) error { got += d.Text; return nil }))
					} else {
						got, answer, err = h.ask(context.Background(), call)
					}
					switch {
					case err == nil && got != want:
						t.Fatalf("call %d: %q, want %q", n, got, want)
					case err != nil && (!stream || got == ""):
						t.Fatalf("call %d failed although b%d is well and nothing was seen: %v (%s)", n, well, err, gateway.Logged(err))
					case err != nil && (!strings.HasPrefix(want, got) || reason(err) != gateway.StreamBroken && reason(err) != gateway.DeadlineExceeded):
						t.Fatalf("call %d: %q, %v", n, got, err)
					case err != nil:
						broken++
					}
					lines := h.lines(call)
					if len(lines) != asked || answer.Attempts != asked {
						t.Fatalf("call %d: %d lines and %d attempts of %d calls to a backend", n, len(lines), answer.Attempts, asked)
					}
					for i, l := range lines {
						if last := i == len(lines)-1; !hedged && (l.Outcome == accounting.OutcomeCompleted) != (last && err == nil) || l.Attempt.Number != i+1 {
							t.Fatalf("call %d: line %d of %d is %s, %v", n, i, len(lines), l.Outcome, err)
						}
						if l.Outcome == accounting.OutcomeHedgeLoser && l.Cost.ProviderCost.Nanos == 0 {
							t.Fatalf("call %d: line %d of %d is a loser that costs nothing", n, i, len(lines))
						}
					}
					// The caller pays for the one that is his answer, or for nothing.
					paid := slices.DeleteFunc(lines, func(l accounting.Line) bool { return l.Cost != nil && l.Cost.Charge.Nanos == 0 })
					if err == nil && (len(paid) != 1 || paid[0].Outcome != accounting.OutcomeCompleted || paid[0].Cost.Charge != answer.Cost.Charge || paid[0].Backend != answer.Target.Backend) ||
						err != nil && len(paid) > 1 {
						t.Fatalf("call %d: charged are %+v, %v", n, paid, err)
					}
					for _, h := range answer.Hedges {
						hedges[h]++
					}
					retried += asked - 1
					for len(h.Ended) > 0 {
						<-h.Ended
					}
					time.Sleep(pace)
				}
				t.Logf("%d calls, %d retries, %d streams broke after their first byte, hedges %v", calls, retried, broken, hedges)
				felt := hedges[gateway.HedgeWon] > 0 && hedges[gateway.HedgeLost] > 0 && hedges[gateway.HedgeServed] > 0 && hedges[gateway.HedgeFailed] > 0
				if retried == 0 || broken == 0 || felt != hedged {
					t.Error("the faults were not felt")
				}

				now = [nodes]simulator.Profile{}
				time.Sleep(10 * time.Minute)
				serving := map[string]bool{}
				for range 20 * nodes {
					_, answer, err := h.ask(context.Background(), newCall("say: hello"))
					if err != nil {
						t.Fatal(err)
					}
					serving[answer.Target.Backend] = true
				}
				if len(serving) != nodes {
					t.Errorf("only %v are back", serving)
				}
			})
		})
	}
}
