package admit

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-gateway/weir/policy"
)

// Whoever waits as long as it was told to, while nothing else happens, is
// admitted: under one rate or several, of requests or of tokens, by a process
// for itself and by replicas. What others have taken since a replica last asked
// the store it does not know, so with others it may have to say it twice.
func TestWhoWaitsAsToldIsAdmitted(t *testing.T) {
	for _, c := range []struct{ replicas, refusals int }{{0, 1}, {1, 1}, {2, 2}, {3, 2}} {
		t.Run(fmt.Sprintf("replicas=%d", c.replicas), func(t *testing.T) {
			waited := 0
			for seed := range uint64(100) {
				synctest.Test(t, func(t *testing.T) { waited += waitAsTold(t, c.replicas, c.refusals, seed+1) })
				if t.Failed() {
					t.Fatalf("seed %d", seed+1)
				}
			}
			if waited < 300 {
				t.Errorf("only %d calls were told to wait", waited)
			}
		})
	}
}

// waitAsTold has calls come by chance to replicas, or to a process for itself
// where there are none, and returns how many had to wait.
func waitAsTold(t *testing.T, replicas, refusals int, seed uint64) (waited int) {
	chance := rand.New(rand.NewPCG(seed, 0xe72a))
	list := []*Limiter{New(time.Now)}
	if replicas > 0 {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		list = nil
		b := &book{}
		for i := range replicas {
			list = append(list, NewReplica(time.Now, b, fmt.Sprint("r", i)))
			go list[i].Run(ctx, func(err error) { t.Error(err) })
		}
	}
	var rates []policy.BoundRate
	for i := range 1 + chance.IntN(3) {
		r := perMinute(1+chance.Int64N(120), 1+chance.Int64N(20))
		if chance.IntN(3) == 0 {
			r = tokensPerMinute(1+chance.Int64N(6000), 1+chance.Int64N(2000))
		}
		r.Rate.ID = fmt.Sprint("r", i)
		if chance.IntN(2) == 0 {
			r.Rate.Per = "tenant"
		}
		rates = append(rates, r)
	}
	spans := []time.Duration{time.Microsecond, time.Second, 20 * time.Second}
	for range 60 {
		time.Sleep(time.Duration(chance.Int64N(int64(spans[chance.IntN(len(spans))]))))
		l, who := list[chance.IntN(len(list))], k1
		who.Key = []string{"k1", "k2"}[chance.IntN(2)]
		e := Estimate{Input: 1 + chance.Int64N(300), MaxOutput: chance.Int64N(300)}
		leave, err := l.Admit(t.Context(), who, rates, e)
		if err != nil {
			waited++
		}
		for again := 0; err != nil; again++ {
			if again == refusals {
				t.Errorf("there was no place at the time that was told: %v", err)
				return waited
			}
			time.Sleep(refusalOf(t, err).RetryAfter)
			leave, err = l.Admit(t.Context(), who, rates, e)
		}
		time.Sleep(time.Duration(chance.Int64N(int64(time.Second))))
		leave(chance.Int64N(2 * (e.Input + e.MaxOutput)))
	}
	return waited
}
