package admit

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/policy"
)

var ctx = context.Background()

type clock struct{ time.Time }

func (c *clock) now() time.Time { return c.Time }

func newClock() *clock { return &clock{time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)} }

func perMinute(n, burst int64) policy.BoundRate {
	return policy.BoundRate{Tenant: "acme", Policy: "base", Rate: policy.Rate{
		ID: "r", Per: "key", Requests: &policy.Quota{N: n, Per: time.Minute}, Burst: &burst,
	}}
}

func atOnce(n int64) policy.BoundRate {
	return policy.BoundRate{Tenant: "acme", Policy: "base", Rate: policy.Rate{ID: "c", Per: "tenant", Concurrent: &n}}
}

var k1 = policy.Subject{Tenant: "acme", Project: "default", Key: "k1"}

func TestARefusalSaysTrulyWhenToComeAgain(t *testing.T) {
	c := newClock()
	l := New(c.now)
	rates := []policy.BoundRate{perMinute(6, 2)}
	for range 2 {
		if _, err := l.Admit(ctx, k1, rates, Estimate{}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := l.Admit(ctx, k1, rates, Estimate{})
	var refused *LimitError
	if !errors.As(err, &refused) || refused.Rule != "r" || refused.RetryAfter <= 0 {
		t.Fatalf("%v", err)
	}
	c.Time = c.Add(refused.RetryAfter - time.Millisecond)
	if _, err := l.Admit(ctx, k1, rates, Estimate{}); err == nil {
		t.Error("there was a place before the time that was told")
	}
	c.Time = c.Add(time.Millisecond)
	if _, err := l.Admit(ctx, k1, rates, Estimate{}); err != nil {
		t.Errorf("there was no place at the time that was told: %v", err)
	}
}

func TestEachKeyHasItsOwnRate(t *testing.T) {
	l := New(newClock().now)
	rates := []policy.BoundRate{perMinute(1, 1)}
	for _, s := range []policy.Subject{k1, {Tenant: "acme", Project: "default", Key: "k2"}, {Tenant: "acme", Project: "lab", Key: "k1"}} {
		if _, err := l.Admit(ctx, s, rates, Estimate{}); err != nil {
			t.Errorf("%+v: %v", s, err)
		}
	}
	if _, err := l.Admit(ctx, k1, rates, Estimate{}); err == nil {
		t.Error("a second call had a place")
	}
}

func TestARefusalTakesNothing(t *testing.T) {
	l := New(newClock().now)
	rates := []policy.BoundRate{perMinute(2, 2), atOnce(1)}
	leave, err := l.Admit(ctx, k1, rates, Estimate{})
	if err != nil {
		t.Fatal(err)
	}
	for range 5 { // each finds a token of the rate and no place to run
		if _, err := l.Admit(ctx, k1, rates, Estimate{}); err == nil {
			t.Fatal("two calls run where one may")
		}
	}
	leave(0)
	if _, err := l.Admit(ctx, k1, rates, Estimate{}); err != nil {
		t.Errorf("the refused calls took the rate: %v", err)
	}
}

func TestAChangedLimitHoldsForWhatWasUsed(t *testing.T) {
	c := newClock()
	l := New(c.now)
	for range 10 {
		if _, err := l.Admit(ctx, k1, []policy.BoundRate{perMinute(10, 10)}, Estimate{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Admit(ctx, k1, []policy.BoundRate{perMinute(20, 20)}, Estimate{}); err == nil {
		t.Error("a raised limit gave back what was used")
	}
}

func TestIdlePlacesAreForgotten(t *testing.T) {
	c := newClock()
	l := New(c.now)
	rate := []policy.BoundRate{perMinute(60, 1)}
	for i := range firstSweep {
		leave, err := l.Admit(ctx, policy.Subject{Tenant: "acme", Key: fmt.Sprint(i)}, rate, Estimate{})
		if err != nil {
			t.Fatal(err)
		}
		leave(0)
	}
	c.Time = c.Add(time.Minute)
	l.Admit(ctx, k1, rate, Estimate{})
	if n := len(l.places); n != 1 {
		t.Errorf("%d places are kept of which one is in use", n)
	}
}

// In any span of time T, no more than rate*T + burst calls are admitted, and
// never more at once than may run.
func TestNoScheduleGetsMoreThanTheRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newClock()
		l := New(c.now)
		n := rapid.Int64Range(1, 100).Draw(t, "n")
		burst := rapid.Int64Range(1, 20).Draw(t, "burst")
		most := rapid.Int64Range(1, 10).Draw(t, "concurrent")
		rates := []policy.BoundRate{perMinute(n, burst), atOnce(most)}
		var running []Leave
		var admitted []time.Time
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			switch rapid.IntRange(0, 2).Draw(t, "step") {
			case 0:
				c.Time = c.Add(time.Duration(rapid.Int64Range(0, int64(20*time.Second)).Draw(t, "wait")))
			case 1:
				if leave, err := l.Admit(ctx, k1, rates, Estimate{}); err == nil {
					running = append(running, leave)
					admitted = append(admitted, c.Time)
				}
			case 2:
				if len(running) > 0 {
					running[0](0)
					running = running[1:]
				}
			}
			if int64(len(running)) > most {
				t.Fatalf("%d run at once, at most %d may", len(running), most)
			}
		}
		for i, from := range admitted {
			for j := i; j < len(admitted); j++ {
				span := admitted[j].Sub(from)
				if allowed := float64(n)*span.Minutes() + float64(burst); float64(j-i+1) > allowed+1e-6 {
					t.Fatalf("%d calls in %s, at most %.2f may", j-i+1, span, allowed)
				}
			}
		}
	})
}
